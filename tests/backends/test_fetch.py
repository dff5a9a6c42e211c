"""Fetching the sandbox image from a registry, by a real engine."""

from __future__ import annotations

import io
import json
import secrets
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import docker
import docker.errors
import pytest
import trio

from backends.base import BackendError, BackendRejected
from tests.backends.kinds import SOCKET
from tests.backends.support import until
from tests.standins.registry import Registry, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.backends.kinds import Docker

pytestmark = pytest.mark.needs("docker")
SIZE: Final = 3_000_000  # bytes of a layer that cannot be compressed: enough pieces to be cut in the middle
REPOSITORY: Final = "team/sandbox"


@dataclass
class Made:
    """An image of this test alone, as ``docker save`` gives it; the engine does not have it. ``layer``: its digest."""

    saved: bytes
    id: str


@pytest.fixture
def made() -> Iterator[Made]:
    """A new image. Its content is random, or the engine would have parts of it."""
    client: Any = docker.APIClient(base_url=f"unix://{SOCKET}", timeout=60)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = SIZE
        archive.addfile(member, io.BytesIO(secrets.token_bytes(SIZE)))
    answer = client.import_image_from_data(content.getvalue(), repository=f"cli-server-tests-{secrets.token_hex(4)}")
    image_id = json.loads(answer.splitlines()[-1])["status"]
    saved = b"".join(client.get_image(image_id))
    client.remove_image(image_id, force=True)
    yield Made(saved, image_id)
    with suppress(docker.errors.ImageNotFound):
        client.remove_image(image_id, force=True)
    client.close()


@pytest.fixture
async def registry(nursery: trio.Nursery, made: Made) -> Registry:
    """A registry that has the image."""
    found = Registry()
    await nursery.start(found.serve)
    found.add(f"{REPOSITORY}:1", made.saved)
    return found


def layers_asked(registry: Registry) -> int:
    """How often the engine asked for a layer. Each image has two blobs: its configuration and its layer."""
    return sum("/blobs/" in asked for asked in registry.asked) - 1


async def test_fetch_once_for_all(docker_kind: Docker, registry: Registry, made: Made) -> None:
    """With progress; several who need it share one pull, and afterwards nobody asks the registry."""
    docker_kind.image = registry.name(f"{REPOSITORY}:1")
    registry.trouble = Trouble(held_after=SIZE // 2)
    backend = docker_kind.backend()
    said: list[str] = []
    with pytest.raises(BackendRejected, match="is not on the Docker engine"):
        await backend.check()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(backend.fetch, said.append)
            await until(lambda: layers_asked(registry) == 1)
            registry.trouble.gate.set()
    assert docker_kind.client.inspect_image(docker_kind.image)["Id"] == made.id
    await backend.check()
    assert layers_asked(registry) == 1
    assert said
    assert all(docker_kind.image in words for words in said)
    asked = len(registry.asked)
    await backend.fetch(said.append)
    assert len(registry.asked) == asked


async def test_progress_says_how_much(docker_kind: Docker, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.images._TELL_SECONDS", 0)
    docker_kind.image = registry.name(f"{REPOSITORY}:1")
    registry.trouble = Trouble(held_after=SIZE // 2)
    backend = docker_kind.backend()
    said: list[str] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.fetch, said.append)
            await until(lambda: any(words.endswith(" of 3 MiB") for words in said))
            registry.trouble.gate.set()


async def test_an_image_that_the_registry_does_not_have(docker_kind: Docker, registry: Registry) -> None:
    docker_kind.image = registry.name(f"{REPOSITORY}:2")
    backend = docker_kind.backend()
    with pytest.raises(BackendRejected, match=r":2 is not on the Docker engine and cannot be fetched: .*unknown"):
        await backend.fetch(lambda words: None)
    with pytest.raises(BackendRejected, match=r"cannot be fetched: .*unknown"):
        await backend.check()
    assert layers_asked(registry) < 1


async def test_a_registry_that_wants_to_know_who_it_is(docker_kind: Docker, registry: Registry) -> None:
    registry.credentials = ("team", "secret-of-the-registry")
    docker_kind.image = registry.name(f"{REPOSITORY}:1")
    with pytest.raises(BackendRejected, match=r"cannot be fetched: .*no basic auth credentials"):
        await docker_kind.backend().fetch(lambda words: None)


async def test_credentials_of_docker_login_are_used(
    docker_kind: Docker, registry: Registry, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.credentials = ("team", "secret-of-the-registry")
    entry = {"auth": "dGVhbTpzZWNyZXQtb2YtdGhlLXJlZ2lzdHJ5"}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {f"127.0.0.1:{registry.port}": entry}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    docker_kind.image = registry.name(f"{REPOSITORY}:1")
    await docker_kind.backend().fetch(lambda words: None)
    assert docker_kind.client.inspect_image(docker_kind.image)["Id"] == made.id


async def test_a_registry_that_is_away(docker_kind: Docker, registry: Registry, made: Made) -> None:
    """It says so; the next attempt, when it is there, works."""
    docker_kind.image = "127.0.0.1:1/team/sandbox:1"
    with pytest.raises(BackendError, match=r"cannot be fetched: .*connection refused"):
        await docker_kind.backend().fetch(lambda words: None)


async def test_a_transfer_that_breaks_off(docker_kind: Docker, registry: Registry, made: Made) -> None:
    """The engine tries several times by itself, and then says so; nothing looks like an image until it is whole."""
    docker_kind.image = registry.name(f"{REPOSITORY}:1")
    registry.trouble = Trouble(cut_after=SIZE // 3)
    backend = docker_kind.backend()
    async with trio.open_nursery() as nursery:
        failed = trio.Event()

        async def fetch() -> None:
            with pytest.raises(BackendError, match=r"cannot be fetched: .*EOF"):
                await backend.fetch(lambda words: None)
            failed.set()

        nursery.start_soon(fetch)
        await until(lambda: layers_asked(registry) >= 1)
        with trio.move_on_after(0.5):  # the engine's pauses between its attempts grow to 25 s
            await failed.wait()
        with pytest.raises(docker.errors.ImageNotFound):
            docker_kind.client.inspect_image(docker_kind.image)
        nursery.cancel_scope.cancel()
    registry.trouble = Trouble()
    with trio.fail_after(60):
        await backend.fetch(lambda words: None)
    assert docker_kind.client.inspect_image(docker_kind.image)["Id"] == made.id


async def test_a_fetch_that_is_cancelled(docker_kind: Docker, registry: Registry, made: Made) -> None:
    """It ends at once, and who has waited for it does it instead."""
    docker_kind.image = registry.name(f"{REPOSITORY}:1")
    registry.trouble = Trouble(held_after=SIZE // 3)
    backend = docker_kind.backend()
    scope = trio.CancelScope()
    ended = trio.Event()
    said: list[str] = []

    async def first() -> None:
        with scope:
            await backend.fetch(lambda words: None)
        ended.set()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await until(lambda: layers_asked(registry) == 1)
            nursery.start_soon(backend.fetch, said.append)
            await until(lambda: said)
            scope.cancel()
            await ended.wait()
            assert scope.cancelled_caught
            registry.trouble.gate.set()
    assert docker_kind.client.inspect_image(docker_kind.image)["Id"] == made.id


async def test_a_registry_that_says_nothing(
    docker_kind: Docker, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence has an end."""
    docker_kind.image = registry.name(f"{REPOSITORY}:1")
    registry.trouble = Trouble(silent=True)
    monkeypatch.setattr("backends.images._SILENCE_SECONDS", 0.5)
    with trio.fail_after(20), pytest.raises(BackendError, match=r"cannot be fetched: .*does not answer in time"):
        await docker_kind.backend().fetch(lambda words: None)
    registry.trouble.gate.set()
