"""What was made once is kept: rendered by helm against a cluster, which has something already or has not."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import kubernetes
import pytest
import trustme
import yaml

from tests.chart.support import CHART, LEAST, NAMESPACE, RELEASE, HelmError, Rendered, helm
from tests.conftest import require
from tests.standins.kubernetes import Cluster
from tests.standins.kubernetes.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("helm")

ALONE: Final = {"agentSandbox": {"install": False}}
BUNDLED: Final = {"baseDomain": "agents.example.com", "postgresql": {"enabled": True}} | ALONE
# The stand-in has no objects of these; helm only looks up whether there are such kinds.
MORE_KINDS: Final = (
    Kind("apps", "v1", "deployments", "Deployment"),
    Kind("apps", "v1", "statefulsets", "StatefulSet"),
    Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    Kind("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy",
         namespaced=False),
    Kind("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding",
         namespaced=False),
)  # fmt: skip
KEY: Final = f"{RELEASE}-cli-server-key"
LOGIN: Final = f"{RELEASE}-cli-server-postgresql"


@contextmanager
def with_tls(port: int, authority: trustme.CA) -> Iterator[int]:
    """A port at which a local port is reached by TLS: helm hands no token to a cluster without it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, port), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_exchange, args=(client, context, port), daemon=True).start()


def _exchange(client: socket.socket, context: ssl.SSLContext, port: int) -> None:
    """helm asks one question after the other, so that what comes belongs to one direction at a time."""
    with (
        suppress(OSError),
        context.wrap_socket(client, server_side=True) as secured,
        socket.create_connection(("127.0.0.1", port)) as plain,
    ):
        back = threading.Thread(target=_copy, args=(plain, secured), daemon=True)
        back.start()
        _copy(secured, plain)
        plain.shutdown(socket.SHUT_WR)
        back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """A cluster that has Agent Sandbox and the release's namespace: an administrator's client, helm's kubeconfig."""
    require("helm")
    folder = tmp_path_factory.mktemp("cluster")
    authority = trustme.CA()
    with Cluster(folder / "data") as made, with_tls(made.port, authority) as port:
        made.world.kinds.extend(MORE_KINDS)
        given = yaml.safe_load(made.kubeconfig.read_text())
        given["clusters"][0]["cluster"] = {
            "server": f"https://127.0.0.1:{port}",
            "certificate-authority-data": base64.b64encode(authority.cert_pem.bytes()).decode(),
        }
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(given))
        api = made.client()
        client: Any = kubernetes.client.CoreV1Api(api)
        client.create_namespace({"metadata": {"name": NAMESPACE}})
        yield client, kubeconfig
        api.close()


def in_cluster(kubeconfig: Path, values: dict[str, Any]) -> Rendered:
    """What an installation or an upgrade would send to this cluster."""
    where = ("--namespace", NAMESPACE, "--dry-run=server", "--disable-openapi-validation")
    arguments = ("template", RELEASE, str(CHART), *where)
    return Rendered(helm(*arguments, given=values, kubeconfig=str(kubeconfig)), values)


def put(client: Any, rendered: Rendered) -> None:
    """Make the secrets that were rendered, with the marks that helm gives them."""
    for one in rendered.kinds("Secret"):
        marks = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE}
        one["metadata"].setdefault("annotations", {}).update(marks)
        client.create_namespaced_secret(NAMESPACE, one)


@pytest.fixture
def no_secrets(cluster: tuple[Any, Path]) -> Iterator[None]:
    """A namespace without secrets, before and after."""
    yield
    client, _ = cluster
    for one in client.list_namespaced_secret(NAMESPACE).items:
        client.delete_namespaced_secret(one.metadata.name, NAMESPACE)


@pytest.mark.usefixtures("no_secrets")
def test_an_upgrade_keeps_the_key_and_the_databases_password(cluster: tuple[Any, Path]) -> None:
    client, kubeconfig = cluster
    first = in_cluster(kubeconfig, BUNDLED).secrets()
    again = in_cluster(kubeconfig, BUNDLED)
    assert first[KEY] != again.secrets()[KEY]  # nothing is there yet: each time another one
    assert len(first[KEY]["secret.key"]) == 32
    put(client, again)
    upgraded = in_cluster(kubeconfig, BUNDLED | {"idleTimeout": "1h", "anthropicApiKey": "new"}).secrets()
    assert {name: upgraded[name] for name in (KEY, LOGIN)} == again.secrets()
    assert all(one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for one in again.kinds("Secret"))


@pytest.mark.usefixtures("no_secrets")
def test_a_password_that_is_given_goes_before_the_one_that_is_kept(cluster: tuple[Any, Path]) -> None:
    client, kubeconfig = cluster
    put(client, in_cluster(kubeconfig, BUNDLED))
    given = {"postgresql": {"enabled": True, "password": "mine"}}
    found = in_cluster(kubeconfig, BUNDLED | given).secrets()[LOGIN]
    assert found["password"] == b"mine"
    assert found["url"].startswith(b"postgresql://cli-server:mine@")


def test_agent_sandbox_of_somebody_else_is_left_alone(cluster: tuple[Any, Path]) -> None:
    """The cluster has its definition, without the marks of a release."""
    _, kubeconfig = cluster
    with pytest.raises(HelmError, match=r"this cluster has Agent Sandbox .* Set agentSandbox\.install=false\."):
        in_cluster(kubeconfig, LEAST)
    assert in_cluster(kubeconfig, LEAST | ALONE).kinds("CustomResourceDefinition") == []
