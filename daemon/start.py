"""What has to be right before the parts can be put together: addresses, keys, the schema. All failures are one line."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
import trio

from backends.base import BackendError
from backends.containers import DockerOptions
from backends.docker import DockerBackend
from backends.manifests import KubernetesOptions
from backends.process import ProcessBackend
from daemon.config import SETTINGS, Endpoint
from daemon.datadir import DataDirError
from daemon.db.cluster import EmbeddedPostgresError
from daemon.db.database import DatabaseUnavailable
from daemon.db.migrate import MigrationError, migrate
from daemon.gateway.listener import open_sockets
from daemon.secret import load_keyring, read_keyring

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from socket import socket

    from backends.base import Backend
    from daemon.config import Settings
    from daemon.secret import Keyring
    from daemon.systemd import Inherited

log = structlog.get_logger(__name__)

_DATABASE_SECONDS = 60.0  # how long a start waits for a database that is still starting; compose and systemd race
_DATABASE_PAUSE = 1.0
_DEFAULT_LISTEN = next(each.parse(each.default or "") for each in SETTINGS if each.variable == "LISTEN")


class StartError(Exception):
    """The daemon cannot start as it is set up. One line for the operator."""


def make_backend(settings: Settings, installation: str) -> Backend:
    """The backend that the settings ask for."""
    if settings.backend == "k8s":
        from backends.kubernetes import KubernetesBackend  # the official client takes half a second and 40 MB

        return KubernetesBackend(kubernetes_options(settings), installation)
    if settings.backend == "docker":
        options = DockerOptions(
            image=settings.agent_image,
            host=settings.docker_host,
            egress=settings.agent_egress,
            runtime=settings.agent_runtime,
            networks=settings.agent_networks,
        )
        return DockerBackend(options, installation)
    return ProcessBackend(settings.data_dir, installation, settings.opencode_bin)


def kubernetes_options(settings: Settings) -> KubernetesOptions:
    """How sandboxes are run in a cluster."""
    return KubernetesOptions(
        image=settings.agent_image,
        server_namespace=settings.k8s_server_namespace or "",  # daemon/config.py has seen to it
        server_labels=settings.k8s_server_labels,
        server_port=(settings.agent_listen or settings.listen).port,
        kubeconfig=settings.kubeconfig,
        prefix=settings.k8s_namespace_prefix,
        service_account=settings.k8s_service_account,
        workspace_role=settings.k8s_workspace_role,
        runtime=settings.agent_runtime,
        egress=settings.agent_egress,
        egress_allow=settings.k8s_egress_allow,
        storage_class=settings.k8s_storage_class,
        home_bytes=settings.k8s_home_size,
        disk_bytes=settings.k8s_disk_size,
        access_mode=settings.k8s_disk_access_mode,
        ephemeral_bytes=settings.k8s_ephemeral_limit,
        cpu_request=settings.k8s_cpu_request,
        memory_request=settings.k8s_memory_request,
        node_selector=settings.k8s_node_selector,
        tolerations=settings.k8s_tolerations,
    )


@contextmanager
def start_errors() -> Iterator[None]:
    """What keeps the daemon from starting, as one line."""
    try:
        yield
    except (DataDirError, EmbeddedPostgresError, MigrationError, BackendError) as error:
        raise StartError(str(error)) from error


def bind(settings: Settings, inherited: Sequence[Inherited] = ()) -> tuple[Settings, list[socket]]:
    """Open the public listener first: a port that is taken is the commonest mistake. Port 0 becomes the real one.

    Sockets that a service manager opened are taken in place of ``LISTEN``.
    """
    where = settings.listen
    if inherited:
        sockets = _adopt(inherited)
        found = [Endpoint(*sock.getsockname()[:2]) for sock in sockets]
        # One that was not set looks like the default, and is no contradiction.
        if where != _DEFAULT_LISTEN and where not in found:
            log.warning("LISTEN is not used: the service manager opened another socket", sockets=_shown(*found))
        return settings.listening_at(found[0]), sockets
    # METRICS_LISTEN is left to its own supervised service: a port that is taken costs the metrics, not the product.
    sockets = _open("LISTEN", where, "choose another one")
    return settings.listening_at(Endpoint(where.host, sockets[0].getsockname()[1])), sockets


def bind_inside(settings: Settings) -> tuple[list[socket], list[socket]]:
    """What only our own reach, each where it is set: for other replicas, and for sandboxes."""
    replicas, sandboxes = settings.replica_listen, settings.agent_listen
    opened = [] if replicas is None else _open("REPLICA_LISTEN", replicas, "choose another one")
    try:
        return opened, [] if sandboxes is None else _open("AGENT_LISTEN", sandboxes, "choose another one")
    except StartError:
        for sock in opened:
            sock.close()
        raise


def _adopt(inherited: Sequence[Inherited]) -> list[socket]:
    try:
        return [each.listening() for each in inherited]
    except ValueError as error:
        raise StartError(f"LISTEN_FDS: {error}; correct ListenStream= of the socket unit") from None


def _open(variable: str, where: Endpoint, remedy: str) -> list[socket]:
    try:
        return open_sockets(where.host, where.port)
    except OSError as error:
        # Python adds the address to its words. A resolver's numbers are negative, and have words of their own.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise StartError(f"{variable} {_shown(where)} cannot be used ({reason}); {remedy}") from None


def _shown(*places: Endpoint) -> str:
    hosts = (f"[{where.host}]" if ":" in where.host else where.host for where in places)
    return ", ".join(f"{host}:{where.port}" for host, where in zip(hosts, places, strict=True))


def open_keyring(settings: Settings, data_dir: Path) -> Keyring:
    """The installation's key, made at the first start unless it was given. Raises :class:`StartError`."""
    given = settings.secret_key_file
    path = data_dir / "secret.key" if given is None else given
    try:
        return load_keyring(path) if given is None else read_keyring(path)
    except ValueError as error:
        raise StartError(str(error)) from None
    except OSError as error:
        remedy = "restore it from a backup" if given is None else "SECRET_KEY_FILE names it"
        raise StartError(f"{path} cannot be read ({error.strerror}); {remedy}") from None


async def migrated(conninfo: str) -> None:
    """Bring the schema up to date; a database that is still starting is waited for."""
    with trio.move_on_after(_DATABASE_SECONDS):
        while True:
            try:
                applied = await trio.to_thread.run_sync(migrate, conninfo)
            except DatabaseUnavailable as error:
                log.warning("waiting for the database", reason=str(error))
                reason = str(error)
                await trio.sleep(_DATABASE_PAUSE)
            else:
                log.info("database is up to date", applied=applied)
                return
    raise StartError(f"DATABASE_URL: no database after {_DATABASE_SECONDS:g} s: {reason}")
