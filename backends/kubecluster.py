"""Calls to a Kubernetes API: the official client in worker threads, a deadline for each, and its errors in our words.

The client finds and renews the credentials, and speaks TLS; its generated models are left out, and objects are plain
dicts as they come. What goes on for long is in :mod:`backends.kubestream`.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import trio
import urllib3.exceptions
from kubernetes import config
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration

from backends.base import BackendError, BackendRejected, SandboxGone
from backends.kubeanswers import Busy, ClusterAway, Failed, from_answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Manifest = dict[str, Any]

# Questions take a cluster milliseconds; one whose leader has just changed, some seconds.
LOOK_SECONDS: Final = 10.0
CHANGE_SECONDS: Final = 30.0  # admission webhooks may use up to 30 s each, and mostly use none
_CONNECT_SECONDS: Final = 5.0
_LOOKS_AT_ONCE: Final = 16  # a question is mostly waiting; each new connection to a sandbox asks two
_CHANGES_AT_ONCE: Final = 16
_TRIES: Final = 3  # of what the cluster was too busy for
_LONGEST_PAUSE: Final = 3.0  # seconds before one of them; people wait
_SHORT_PAUSE: Final = 0.1  # seconds before a question is put again that the cluster failed at
_MOST_BYTES: Final = 256 * 2**20  # of an answer: a list of 10,000 sandboxes has a tenth of it
_PIECE: Final = 65536


class Resource:
    """One kind of object in the API: its path, with and without a namespace."""

    def __init__(self, plural: str, group: str = "", version: str = "v1") -> None:
        self._root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        self.plural = plural

    def path(self, namespace: str | None = None, name: str | None = None, part: str | None = None) -> str:
        """``/api/v1/namespaces/x/pods/y/log``."""
        inside = [] if namespace is None else ["namespaces", namespace]
        parts = [*inside, self.plural, *(each for each in (name, part) if each is not None)]
        return "/".join([self._root, *(quote(each, safe="") for each in parts)])


NAMESPACES: Final = Resource("namespaces")
PODS: Final = Resource("pods")
SECRETS: Final = Resource("secrets")
EVENTS: Final = Resource("events")
CLAIMS: Final = Resource("persistentvolumeclaims")
POLICIES: Final = Resource("networkpolicies", "networking.k8s.io")
BINDINGS: Final = Resource("rolebindings", "rbac.authorization.k8s.io")
STORAGE_CLASSES: Final = Resource("storageclasses", "storage.k8s.io")
RUNTIME_CLASSES: Final = Resource("runtimeclasses", "node.k8s.io")


class Cluster:
    """One cluster. ``kubeconfig``: how it is reached; ``None``: by the service account of this pod."""

    def __init__(self, kubeconfig: Path | None) -> None:
        self._kubeconfig = kubeconfig
        self._client: ApiClient | None = None
        self._making = threading.Lock()
        self._looks = trio.CapacityLimiter(_LOOKS_AT_ONCE)
        self._changes = trio.CapacityLimiter(_CHANGES_AT_ONCE)

    async def configured(self) -> None:
        """Raises :class:`BackendRejected` if what it was given leads to no cluster, whether or not one answers."""
        with suppress(urllib3.exceptions.HTTPError):  # whoever gives out tokens is away: that is no wrong setting
            await trio.to_thread.run_sync(self.client, limiter=self._looks)

    async def look(self, path: str, **query: str) -> Manifest:
        """Ask something that changes nothing. The deadline bounds the wait for a turn, too."""
        return await self.question("GET", path, None, query)

    async def question(
        self, method: str, path: str, body: Manifest | None, query: Mapping[str, str] | None = None
    ) -> Manifest:
        """As :meth:`look`, for questions that are posted."""
        call = partial(self._patiently, method, path, body, query or {}, LOOK_SECONDS)
        with trio.move_on_after(LOOK_SECONDS + 1):
            return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._looks)
        raise ClusterAway(f"the cluster does not answer within {LOOK_SECONDS:g} s")

    async def find(self, path: str) -> Manifest | None:
        """An object, or ``None`` if there is none."""
        try:
            return await self.look(path)
        except SandboxGone:
            return None

    async def create(self, path: str, body: Manifest) -> Manifest:
        """Make an object. Cancelling waits for the end: nothing happens afterwards."""
        return await self._change("POST", path, body)

    async def replace(self, path: str, body: Manifest) -> Manifest:
        """Put ``body``, with its resource version, in an object's place. Raises :class:`Conflict` if it has another."""
        return await self._change("PUT", path, body)

    async def delete(self, path: str, found: Manifest, *, after_parts: bool = False) -> None:
        """Have this very object removed; gone is success. ``after_parts``: it goes when what it owns is gone."""
        order: Manifest = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": found["metadata"]["uid"]},
            "propagationPolicy": "Foreground" if after_parts else "Background",
        }
        try:
            await self._change("DELETE", path, order)
        except SandboxGone:
            return

    async def _change(self, method: str, path: str, body: Manifest) -> Manifest:
        call = partial(self._patiently, method, path, body, {}, CHANGE_SECONDS)
        return await trio.to_thread.run_sync(call, limiter=self._changes)

    # In threads

    def _patiently(
        self, method: str, path: str, body: Manifest | None, query: Mapping[str, str], seconds: float
    ) -> Manifest:
        """A request that the cluster was too busy for was not done, and is made again."""
        until = time.monotonic() + seconds
        for left in reversed(range(_TRIES)):
            try:
                return self._call(method, path, body, query, until)
            except Busy as busy:
                pause = min(busy.seconds, _LONGEST_PAUSE)
                if not left or time.monotonic() + pause >= until:
                    raise
                time.sleep(pause)
            except (Broken, Failed):
                # A cluster that was restarted since has closed the connections that we kept. What changes nothing may
                # be asked for twice.
                if not left or method != "GET" or time.monotonic() + _SHORT_PAUSE >= until:
                    raise
                time.sleep(_SHORT_PAUSE)
        raise AssertionError("unreachable")

    def _call(self, method: str, path: str, body: Manifest | None, query: Mapping[str, str], until: float) -> Manifest:
        try:
            response = self.send(method, path, query, body, max(0.05, until - time.monotonic()))
            try:
                whole = _read(response, until)
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise away(error) from error
        if response.status >= 300:
            raise refusal(response, whole)
        try:
            found = json.loads(whole)
        except ValueError as error:
            raise ClusterAway("what answers is no Kubernetes API, or a proxy in front of it") from error
        if not isinstance(found, dict):
            raise ClusterAway("what answers is no Kubernetes API")
        return found

    def send(
        self, method: str, path: str, query: Mapping[str, str], body: Manifest | None, silence: float | None
    ) -> urllib3.HTTPResponse:
        """Blocking: the head of an answer, whose body is to be read. ``silence``: the most seconds without a byte."""
        client = self.client()
        url = f"{client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": "cli-server", **self.credentials()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        patience = (_CONNECT_SECONDS if silence is None else min(_CONNECT_SECONDS, silence), silence)
        answer = client.call_api(method, url, header_params=headers, body=body, _request_timeout=patience)
        response: urllib3.HTTPResponse = answer.response
        return response

    def credentials(self) -> dict[str, str]:
        """Blocking: what shows the cluster who we are, renewed if it is time; but for certificates."""
        found = {}
        for one in self.client().configuration.auth_settings().values():
            if one["value"] and one["in"] == "header":
                found[str(one["key"])] = str(one["value"])
        return found

    def client(self) -> ApiClient:
        """Blocking. Made at the first call, and again as long as there is nothing to make it of."""
        with self._making:
            return self._made()

    def _made(self) -> ApiClient:
        if self._client is None:
            try:
                self._client = ApiClient(self._configuration())
            except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
                raise BackendRejected(self._unusable(error)) from error
        return self._client

    def _unusable(self, error: Exception) -> str:
        """In one line, whatever the client says."""
        said = " ".join(str(error).split())
        if self._kubeconfig is None:
            return f"KUBECONFIG is unset, and this is no pod with a service account ({said}); accepted is one of both"
        return f"KUBECONFIG {self._kubeconfig} cannot be used ({said}); accepted is a file as kubectl has it"

    def _configuration(self) -> Configuration:
        made = Configuration()
        made.proxy = made.no_proxy = None  # it looks for them in the environment; a kubeconfig may name one
        if self._kubeconfig is None:
            config.load_incluster_config(client_configuration=made)  # type: ignore[no-untyped-call]
        else:
            path = str(self._kubeconfig)
            config.load_kube_config(path, client_configuration=made, persist_config=False)  # type: ignore[no-untyped-call]
        made.retries = urllib3.Retry(0, connect=1, redirect=0)  # we know better what may be repeated
        made.connection_pool_maxsize = _LOOKS_AT_ONCE + _CHANGES_AT_ONCE
        made.keep_alive = True  # watches notice a peer that vanished
        return made

    def close(self) -> None:
        """Let go of the connections that were kept."""
        if self._client is not None:
            self._client.rest_client.close()
            self._client = None


def _read(response: urllib3.HTTPResponse, until: float) -> bytes:
    pieces, size = [], 0
    while piece := response.read(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_BYTES:
            raise ClusterAway("the cluster's answer is too long")
        if time.monotonic() > until:
            raise ClusterAway("the cluster does not answer in time")
    return b"".join(pieces)


class Broken(ClusterAway):
    """The connection ended before an answer."""


def refusal(response: urllib3.HTTPResponse, body: bytes) -> BackendError:
    """What an answer says that is no success."""
    return from_answer(response.status, body, {name.lower(): text for name, text in response.headers.items()})


def away(error: Exception) -> ClusterAway:
    """Why nobody could be reached, as far as the system tells."""
    reason: BaseException = getattr(error, "reason", None) or error
    late = isinstance(reason, urllib3.exceptions.TimeoutError | TimeoutError)
    if late and not isinstance(reason, urllib3.exceptions.NewConnectionError):
        return ClusterAway("the cluster does not answer in time")
    if isinstance(reason, urllib3.exceptions.ProtocolError):
        return Broken("the connection to the cluster broke")
    found: BaseException | None = reason
    while found is not None:
        if isinstance(found, OSError) and found.strerror:
            return ClusterAway(f"the cluster cannot be reached ({found.strerror})")
        found = found.__cause__ or found.__context__
    return ClusterAway("the cluster cannot be reached")
