"""Programs that are run inside a pod, and what they say: within bounds in bytes and time, as a stranger's word."""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import certifi
import trio
import websocket

from backends.base import BackendUnavailable
from backends.containerports import served
from backends.kubeanswers import from_answer
from backends.kubecluster import PODS, away
from backends.manifests import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubernetes.client.configuration import Configuration

    from backends.kubecluster import Cluster

# Exec over WebSocket: the first byte of a message is its channel. v5 adds an end of input, which we have not.
_PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDOUT: Final = 1
_MOST_BYTES: Final = 2**20  # of the kernel's tables: 150 for each socket
_SECONDS: Final = 5.0  # a tenth of one on an idle machine
_AT_ONCE: Final = 8  # each starts a program
_BELIEVED: Final = 1.0  # seconds; pages that ask again and again share one look
_REMEMBERED: Final = 1024  # pods
_TABLES: Final = ("/bin/cat", "/proc/net/tcp", "/proc/net/tcp6")


class Inside:
    """Asks pods."""

    def __init__(self, cluster: Cluster, hidden: int) -> None:
        self._cluster = cluster
        self._hidden = hidden
        self._limiter = trio.CapacityLimiter(_AT_ONCE)
        self._turns: dict[str, trio.Lock] = {}
        self._found: dict[str, tuple[float, Sequence[int]]] = {}

    async def ports(self, namespace: str, pod: str, uid: str) -> Sequence[int]:
        """What is served in a pod that runs, as of a moment ago."""
        turn = self._turns.setdefault(uid, trio.Lock())
        try:
            async with turn:
                until, ports = self._found.get(uid, (float("-inf"), ()))
                if trio.current_time() < until:
                    return ports
                tables = await self.run(namespace, pod, _TABLES)
                if len(self._found) >= _REMEMBERED:
                    self._found.clear()
                ports = served(tables.decode("ascii", "replace"), self._hidden)
                self._found[uid] = (trio.current_time() + _BELIEVED, ports)
                return ports
        finally:
            if not turn.statistics().tasks_waiting and not turn.locked():
                self._turns.pop(uid, None)

    async def run(self, namespace: str, pod: str, command: Sequence[str], seconds: float = _SECONDS) -> bytes:
        """What a program writes to its output. Raises :class:`~backends.base.BackendError`."""
        call = partial(_run, self._cluster, namespace, pod, command, seconds)
        with trio.move_on_after(seconds + 1):
            return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)
        raise _late()


def _late() -> BackendUnavailable:
    return BackendUnavailable("the sandbox did not answer in time")


def _run(cluster: Cluster, namespace: str, pod: str, command: Sequence[str], seconds: float) -> bytes:
    """In a thread."""
    until = time.monotonic() + seconds
    said = bytearray()
    try:
        sock = _connect(cluster, namespace, pod, command, seconds)
        try:
            while piece := _message(sock, until):
                if piece[0] == _STDOUT:
                    said += piece[1:]
                if len(said) > _MOST_BYTES:
                    raise BackendUnavailable("the sandbox says too much")
        finally:
            sock.shutdown()  # type: ignore[no-untyped-call]
    except websocket.WebSocketBadStatusException as error:
        headers = {str(name).lower(): str(text) for name, text in (error.resp_headers or {}).items()}
        raise from_answer(error.status_code, error.resp_body or b"", headers) from error
    except (websocket.WebSocketTimeoutException, TimeoutError) as error:
        raise _late() from error
    except websocket.WebSocketException as error:
        raise BackendUnavailable(f"the connection to the sandbox broke: {error}") from error
    except OSError as error:
        raise away(error) from error
    return bytes(said)


def _message(sock: websocket.WebSocket, until: float) -> bytes:
    """The next message; empty at the end. An empty message says nothing, and is passed over."""
    while True:
        sock.settimeout(max(0.05, until - time.monotonic()))
        kind, data = sock.recv_data()
        if kind == websocket.ABNF.OPCODE_CLOSE:
            return b""
        if data:
            return bytes(data)


def _connect(cluster: Cluster, namespace: str, pod: str, command: Sequence[str], seconds: float) -> websocket.WebSocket:
    configuration = cluster.client().configuration
    base = urlsplit(configuration.host)
    words = [("command", word) for word in command]
    query = urlencode([("container", CONTAINER), ("stdout", "true"), ("stderr", "false"), *words])
    path = PODS.path(namespace, pod, "exec")
    scheme = "wss" if base.scheme == "https" else "ws"
    sock = websocket.WebSocket(sslopt=_tls(configuration), enable_multithread=False)
    headers = [f"{name}: {text}" for name, text in cluster.credentials().items()]
    sock.connect(  # type: ignore[no-untyped-call]
        f"{scheme}://{base.netloc}{base.path}{path}?{query}",
        header=headers,
        subprotocols=list(_PROTOCOLS),
        timeout=seconds,
        redirect_limit=0,
        **_proxy(configuration),
    )
    return sock


def _proxy(configuration: Configuration) -> dict[str, Any]:
    """What a kubeconfig says, and not the environment."""
    if not configuration.proxy:
        return {"http_no_proxy": ["*"]}
    proxy = urlsplit(configuration.proxy)
    return {"http_proxy_host": proxy.hostname, "http_proxy_port": proxy.port, "proxy_type": proxy.scheme or "http"}


def _tls(configuration: Configuration) -> dict[str, Any]:
    """As the official client has it."""
    if not configuration.verify_ssl:
        return {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    found: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": configuration.ssl_ca_cert or certifi.where()}
    for name, value in (
        ("certfile", configuration.cert_file),
        ("keyfile", configuration.key_file),
        ("server_hostname", configuration.tls_server_name),
    ):
        if value:
            found[name] = value
    return found
