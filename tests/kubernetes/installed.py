"""The product as the chart installs it, in the stand-in for a cluster: the chart's settings and rights, real processes.

Not shown: a container of the server's own (the daemon runs on this machine, and keeps files in the test's folder), the
network policies, which the stand-in does not enforce, and TLS.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.chart.support import NAMESPACE, RELEASE, Json, render
from tests.conftest import find_nss_wrapper, find_opencode
from tests.standins.kubernetes import Cluster, Image
from tests.support.opencode_page import OPERATOR_KEY
from tests.support.product import Product, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST: Final = f"{RELEASE}-cli-server.{NAMESPACE}.svc"
PORT: Final = 8082  # where sandboxes find the proxy
# What our image's entrypoint does that is seen from outside (docker/sandbox/entrypoint.sh).
_ENTRYPOINT: Final = '#!/bin/sh\nmkdir -p "$HOME/project"\ncd "$HOME/project"\nexec "$@"\n'
_VALUES: Final[Json] = {
    "baseDomain": "localhost",
    "opencode": {"image": "registry.example/sandbox:1"},
    "database": {"existingSecret": {"name": "database"}},
}
# Where the container and the machine differ.
_OURS: Final = {
    "LISTEN", "DATA_DIR", "METRICS_LISTEN", "REPLICA_LISTEN", "REPLICA_URL", "SECRET_KEY_FILE", "BASE_DOMAIN",
    "BASE_SCHEME", "PUBLIC_PORT", "AGENT_LISTEN", "ANTHROPIC_BASE_URL", "LOG_LEVEL", "DATABASE_URL_FILE",
}  # fmt: skip


@dataclass
class Installed:
    """A running server, and its cluster."""

    server: Product
    cluster: Cluster

    def pod(self, sandbox_id: str) -> Json | None:
        """A sandbox's."""
        return self.cluster.object("pods", self.namespace(sandbox_id), f"oc-{sandbox_id}")

    def namespace(self, sandbox_id: str) -> str:
        """Where a sandbox is."""
        (found,) = (
            one["metadata"]["namespace"]
            for one in self.cluster.objects("sandboxes", group="agents.x-k8s.io")
            if one["metadata"]["name"] == f"oc-{sandbox_id}"
        )
        return str(found)

    def home(self, sandbox_id: str) -> Path:
        """The files of a sandbox's home."""
        namespace = self.namespace(sandbox_id)
        (claim,) = (
            one["metadata"]["name"]
            for one in self.cluster.objects("persistentvolumeclaims", namespace)
            if one["metadata"]["name"].endswith(sandbox_id)
        )
        return self.cluster.disk(namespace, claim)


@contextmanager
def prepared(folder: Path, door: int) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """A cluster with what the chart puts into it, and the server's settings; sandboxes reach ``door`` as the server."""
    opencode, names = find_opencode(), find_nss_wrapper()
    assert opencode is not None
    assert names is not None
    rendered = render(_VALUES)
    with Cluster(folder / "cluster") as cluster:
        cluster.storage_class("shared")
        cluster.image(_VALUES["opencode"]["image"], _image(folder, opencode))
        cluster.reach(HOST, PORT, ("127.0.0.1", door))
        cluster.allow_from(rendered.manifests)
        account = rendered.one("ServiceAccount")["metadata"]
        yield (
            cluster,
            {name: value for name, value in rendered.env.items() if name not in _OURS}
            | {
                "KUBECONFIG": str(cluster.account(account["namespace"], account["name"])),
                "LD_PRELOAD": str(names),
                "NSS_WRAPPER_HOSTS": str(cluster.hosts),
            },
        )


@contextmanager
def installed(folder: Path, database_url: str, upstream: str) -> Iterator[Installed]:
    """An installation of one server, ready; ``upstream`` is the Messages API."""
    door = free_port()
    with prepared(folder, door) as (cluster, env):
        more = {
            "DATABASE_URL": database_url,
            "AGENT_LISTEN": f"127.0.0.1:{door}",
            "ANTHROPIC_BASE_URL": upstream,
            "ANTHROPIC_API_KEY": OPERATOR_KEY,
        }
        server = Product(folder, env | more)
        try:
            server.start()
            yield Installed(server, cluster)
        finally:
            server.close()


def _image(folder: Path, opencode: Path) -> Image:
    entrypoint = folder / "entrypoint.sh"
    entrypoint.write_text(_ENTRYPOINT)
    entrypoint.chmod(0o755)
    program = Image.of(opencode, "opencode")
    return Image(("/opt/entrypoint.sh",), program.cmd, (*program.binds, (str(entrypoint), "/opt/entrypoint.sh")))
