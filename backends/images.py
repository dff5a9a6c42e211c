"""The sandbox image on a Docker engine: is it there, and fetching it from its registry if it is not."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import structlog
import trio
from docker import APIClient
from docker.auth import get_config_header, resolve_repository_name
from docker.errors import DockerException
from docker.utils import parse_repository_tag

from backends.base import BackendError, BackendRejected, BackendUnavailable, SandboxGone
from backends.enginestream import answer, objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.engine import Engine

log = structlog.get_logger(__name__)

# A registry that says nothing for so long will not: the engine reports several times a second while bytes come.
_SILENCE_SECONDS: Final = 120.0
_TELL_SECONDS: Final = 1.0  # between two words about the progress: a person reads no faster
_MIB: Final = 2**20


class Image:
    """The image ``name`` on ``engine``."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = name
        self._engine = engine
        self._pulling = trio.Lock()
        self._failure = ""  # of the last attempt to fetch it

    async def id(self) -> str | None:
        """What the name means now; ``None`` if the engine has no such image."""
        try:
            found = await self._engine.look(APIClient.inspect_image, self.name)
        except SandboxGone:
            return None
        return str(found["Id"])

    async def require(self) -> str:
        """As :meth:`id`; raises :class:`BackendRejected` with what to do if there is none."""
        found = await self.id()
        if found is None:
            raise self.missing()
        return found

    def missing(self) -> BackendRejected:
        """What to do about an image that is not there."""
        why = f" and cannot be fetched: {self._failure}" if self._failure else ""
        return BackendRejected(
            f"the image {self.name} is not on the Docker engine{why}; "
            "the operator builds it (make images) or names another one by AGENT_IMAGE"
        )

    async def fetch(self, progress: Callable[[str], None]) -> None:
        """Have the engine pull it, unless it is there. Several callers share one pull.

        Raises :class:`BackendRejected` if there is no such image, :class:`BackendUnavailable` if the registry or the
        engine is not to be reached.
        """
        if await self.id() is not None:
            return
        progress(f"waiting for the image {self.name}")
        async with self._pulling:
            if await self.id() is not None:
                return
            try:
                await self._pull(progress)
                self._failure = ""
            except BackendError as error:
                self._failure = str(error)
                raise type(_refusal(str(error)))(str(self.missing())) from error
            log.info("sandbox image fetched", image=self.name)

    async def _pull(self, progress: Callable[[str], None]) -> None:
        log.info("fetching the sandbox image", image=self.name)
        repository, tag = parse_repository_tag(self.name)
        params = {"fromImage": repository, "tag": tag or "latest"}
        told, layers = -_TELL_SECONDS, Layers()
        header = await self._engine.look(_credentials, repository)
        headers = {"X-Registry-Auth": header} if header else {}
        request = answer(
            self._engine.host, "POST", "/images/create", params=params, headers=headers, silence=_SILENCE_SECONDS
        )
        async with request as pieces, aclosing(objects(pieces)) as messages:
            async for message in messages:
                if "error" in message:
                    raise BackendUnavailable(" ".join(str(message["error"]).split()))
                layers.hear(message)
                if trio.current_time() - told >= _TELL_SECONDS:
                    told = trio.current_time()
                    progress(f"fetching the image {self.name}{layers.words()}")


def _refusal(words: str) -> BackendError:
    """What the registry said: no for good, or not now."""
    final = ("unknown", "not found", "denied", "unauthorized", "no basic auth", "does not exist")
    return (BackendRejected if any(word in words.lower() for word in final) else BackendUnavailable)(words)


class Layers:
    """Adds up the progress of an image's layers. Pure."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    def hear(self, message: dict[str, Any]) -> None:
        """Take in one message of the engine."""
        detail, layer = message.get("progressDetail"), message.get("id")
        if message.get("status") == "Downloading" and isinstance(detail, dict) and isinstance(layer, str):
            current, total = detail.get("current"), detail.get("total")
            if isinstance(current, int) and isinstance(total, int):
                self._layers[layer] = (current, max(total, current))
        elif message.get("status") in ("Download complete", "Pull complete") and layer in self._layers:
            self._layers[layer] = (self._layers[layer][1],) * 2

    def words(self) -> str:
        """ ": 40 of 120 MiB"; nothing while no size is known."""
        if not self._layers:
            return ""
        current = sum(done for done, _ in self._layers.values())
        total = sum(whole for _, whole in self._layers.values())
        return f": {current // _MIB} of {-(-total // _MIB)} MiB"


def _credentials(client: APIClient, repository: str) -> str | None:
    """What ``docker login`` of the daemon's user left for this registry."""
    registry, _ = resolve_repository_name(repository)
    try:
        header: bytes | None = get_config_header(client, registry)
    except DockerException as error:  # a damaged file, a helper that is not there
        log.warning("registry credentials cannot be read", registry=registry, reason=str(error))
        return None
    return None if header is None else header.decode()
