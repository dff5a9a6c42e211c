"""The Docker backend on an engine that is slow, away, full, or breaks off in the middle.

Every call then says that the backend is unavailable, or why it can never succeed; nothing is left that the inventory
does not show, which the end of each test checks; and everything works as soon as the engine does.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from structlog.testing import capture_logs

from backends.base import BackendError, BackendRejected, BackendUnavailable
from daemon.sandboxes.reconciler import Reconciler
from tests.backends import support
from tests.backends.kinds import SOCKET
from tests.backends.support import WORKSPACE, A, B, run_inside, spec, until, works
from tests.standins.engine_proxy import Answer, Cut, Delay, EngineProxy, Hang, Hold, Refuse, Rule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from backends.base import Backend
    from tests.backends.kinds import Docker
    from tests.standins.engine_proxy import Deed

pytestmark = [
    pytest.mark.needs("docker"),
    # docker-py leaves a socket that could not be connected to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
]
EVERYTHING: Final = (".*", ".*")
FULL: Final = "mkdir /var/lib/docker/overlay2/0123-init: no space left on device"

CALLS: Final[dict[str, Callable[[Backend], Awaitable[Any]]]] = {
    "fetch": lambda backend: backend.fetch(lambda words: None),
    **support.CALLS,
}
# What changes something when a sandbox is started for the first time.
CHANGES: Final = ["/networks/create", "/volumes/create", "/containers/create", "/containers/[0-9a-f]+/start"]


@pytest.fixture
async def proxy(docker_kind: Docker, tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[EngineProxy]:
    """Stands before the engine of ``docker_kind``."""
    made = EngineProxy(SOCKET, tmp_path / "engine.sock")
    docker_kind.host = made.host
    await nursery.start(made.serve)
    yield made
    made.rules.clear()
    gc.collect()  # see filterwarnings above


@pytest.mark.parametrize(
    "deed",
    [
        Refuse(),
        Answer(500, "something is broken"),
        Answer(502, "<html>Bad Gateway</html>", raw=True),
        Answer(200, "no JSON", raw=True),
        Cut(9),
        Cut(150),
    ],
    ids=repr,
)
async def test_an_engine_that_fails_every_request(docker_kind: Docker, proxy: EngineProxy, deed: Deed) -> None:
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        working = docker_kind.at_work()
        proxy.rules.append(Rule(*EVERYTHING, deed))
        for name, call in CALLS.items():
            with pytest.raises(BackendUnavailable) as caught:
                await call(backend)
            assert str(caught.value), name
        assert docker_kind.at_work() == working
        proxy.rules.clear()
        await works(backend)


async def test_an_engine_that_is_away(docker_kind: Docker, proxy: EngineProxy) -> None:
    """It is away when the daemon starts, comes, goes in the middle, and comes again."""
    proxy.go_away()
    backend = docker_kind.backend()
    async with backend.serve():
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match="engine"):
                await call(backend)
        proxy.come_back()
        await backend.ensure_running(spec())
        proxy.go_away()
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match="engine"):
                await call(backend)
        proxy.come_back()
        await works(backend)


async def test_an_engine_that_is_away_is_told_once(
    docker_kind: Docker, proxy: EngineProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once that it is away, once that it is back, by whoever keeps the sandboxes; whatever else meets it is silent."""
    monkeypatch.setattr("backends.docker._AGAIN_SECONDS", 0.01)
    monkeypatch.setattr("daemon.sandboxes.reconciler.LOOK_SECONDS", 0.01)
    backend = docker_kind.backend()
    proxy.go_away()
    with capture_logs() as logs:

        def told() -> list[str]:
            return [entry["log_level"] for entry in logs if entry["log_level"] != "debug"]

        def missed(event: str) -> int:
            return sum(entry["event"].startswith(event) for entry in logs)

        async with backend.serve(), trio.open_nursery() as nursery:
            nursery.start_soon(Reconciler(_NoRows(), backend).run)  # type: ignore[arg-type]  # a database is no part of it
            await until(lambda: missed("the Docker engine is away") > 5 and missed("nothing is reconciled") > 5)
            assert told() == ["warning"]
            assert "cannot be reached" in logs[0].get("reason", "") + logs[1].get("reason", "")
            proxy.come_back()
            await until(lambda: missed("what runs is reconciled again") == 1)
            met = missed("nothing is reconciled")
            proxy.go_away()
            await until(lambda: missed("nothing is reconciled") > met + 5)
            proxy.come_back()
            await until(lambda: missed("what runs is reconciled again") == 2)
            assert told() == ["warning", "info", "warning", "info"]
            nursery.cancel_scope.cancel()


class _NoRows:
    async def run(self, op: object, *args: object) -> list[object]:
        await trio.lowlevel.checkpoint()
        return []


async def test_what_an_engine_refuses_while_it_is_made_ready_is_told_once(
    docker_kind: Docker, proxy: EngineProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, and the inventory may well work: nobody else would say it."""
    monkeypatch.setattr("backends.docker._AGAIN_SECONDS", 0.01)
    proxy.rules.append(Rule("GET", "/networks", Answer(500, "something is broken")))
    with capture_logs() as logs:
        async with docker_kind.backend().serve():
            await until(lambda: len(logs) > 5)
            assert {entry["log_level"] for entry in logs[1:]} == {"debug"}
            proxy.rules.clear()
            await until(lambda: logs[-1]["event"] == "the Docker engine is ready")
    assert (logs[0]["log_level"], "something is broken" in logs[0]["reason"]) == ("warning", True)


async def test_an_engine_that_goes_while_its_image_is_looked_for(docker_kind: Docker, proxy: EngineProxy) -> None:
    """That, too, is told by whoever keeps the sandboxes."""
    proxy.rules.append(Rule("GET", "/images/.*", Refuse()))
    with capture_logs() as logs:
        async with docker_kind.backend().serve():
            await until(lambda: logs)
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [("debug", "the Docker engine is away")]


async def test_an_engine_that_was_restarted_is_not_noticed(docker_kind: Docker, proxy: EngineProxy) -> None:
    """The connections that were kept are dead then, and nobody is told about it."""
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        for call in CALLS.values():
            proxy.reset()
            with suppress(BackendUnavailable):
                await call(backend)
                continue
            assert call is CALLS["destroy_workspace"]


@pytest.mark.parametrize("deed", [Hang(), Hang(done=True)], ids=repr)
async def test_an_engine_that_never_answers(
    docker_kind: Docker, proxy: EngineProxy, monkeypatch: pytest.MonkeyPatch, deed: Deed
) -> None:
    """Each call has its end, also if many wait."""
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        with monkeypatch.context() as patience:
            for name in ("engine.LOOK_SECONDS", "engine.CHANGE_SECONDS", "enginestream.LOOK_SECONDS"):
                patience.setattr(f"backends.{name}", 0.3)
            proxy.rules.append(Rule(*EVERYTHING, deed))
            for name, call in CALLS.items():
                with trio.fail_after(30):
                    assert "not answer" in await _outcome(call, backend), name
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    for _ in range(20):
                        nursery.start_soon(_unavailable, backend)
            proxy.rules.clear()
            proxy.reset()
        await works(backend)


async def _outcome(call: Callable[[Backend], Awaitable[Any]], backend: Backend) -> str:
    """Why it is unavailable; for a size that is not known, too, which is no error."""
    try:
        assert await call(backend) is None
    except BackendUnavailable as error:
        return str(error)
    return "it does not answer"


async def _unavailable(backend: Backend) -> None:
    with pytest.raises(BackendUnavailable):
        await backend.inventory()


async def test_an_engine_that_is_slow(docker_kind: Docker, proxy: EngineProxy) -> None:
    """Lesson: lookups waited behind something slow. Nobody waits for the stop of another's sandbox."""
    backend = docker_kind.backend()
    gate = trio.Event()
    proxy.rules += [Rule("POST", "/containers/.*/stop", Hold(gate), times=1), Rule(*EVERYTHING, Delay(0.05))]
    async with backend.serve():
        await backend.ensure_running(spec())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.pause, A)
            await until(lambda: any(asked.endswith("/stop") for asked in proxy.requests))
            with trio.fail_after(30):
                assert (await backend.inventory())[A].running
                await backend.ensure_running(spec(B))
                await backend.pause(B)
                await backend.destroy(B, WORKSPACE)
                assert await backend.address(A) is not None
            gate.set()
        assert await backend.address(A) is None


@pytest.mark.parametrize("name", ["start", "start anew", "pause", "destroy"])
async def test_an_engine_that_goes_at_each_step(docker_kind: Docker, proxy: EngineProxy, name: str) -> None:
    """From the nth request on it is away; when it is back, what was begun is shown, and the same call ends it well."""
    call = CALLS[name]
    backend = docker_kind.backend()
    subject = B if name == "start" else A
    async with backend.serve():
        step = 0
        while True:
            if subject == A:
                await backend.ensure_running(spec())
            else:
                await backend.destroy(B, WORKSPACE)
                await backend.destroy_workspace(WORKSPACE)
            rule = Rule(*EVERYTHING, Refuse(), skip=step)
            proxy.rules.append(rule)
            try:
                await call(backend)
            except BackendUnavailable:
                assert rule.applied
            proxy.rules.clear()
            shown = await backend.inventory()
            assert shown.keys() == docker_kind.homes() | _with_container(docker_kind), step
            assert any(seen.running for seen in shown.values()) == bool(docker_kind.at_work()), step
            if not rule.applied:
                break
            step += 1
        assert step >= 2
        await call(backend)


def _with_container(kind: Docker) -> set[str]:
    return {found["Labels"]["cli-server.sandbox"] for found in kind.containers()}


@pytest.mark.parametrize("after", [0, 20])
async def test_an_answer_that_is_lost(docker_kind: Docker, proxy: EngineProxy, after: int) -> None:
    """The engine did what it was asked, and nobody learned of it: asking again is no conflict with oneself."""
    backend = docker_kind.backend()
    async with backend.serve():
        for path in CHANGES:
            rule = Rule("POST", path, Cut(after), times=1)
            proxy.rules.append(rule)
            try:
                address = await backend.ensure_running(spec())
            except BackendUnavailable:
                address = await backend.ensure_running(spec())
            assert rule.applied == 1, path
            assert await run_inside(address, "echo here") == "here\n", path
            assert len(docker_kind.containers()) == len(docker_kind.networks()) == 1, path
            for method, ending, call in (
                ("POST", "/containers/[^/]+/stop", partial(backend.pause, A)),
                ("DELETE", "/containers/[^/]+", partial(backend.destroy, A, WORKSPACE)),
                ("DELETE", "/networks/[^/]+", partial(backend.destroy_workspace, WORKSPACE)),
                ("DELETE", "/volumes/.+-disk-.*", partial(backend.destroy_workspace, WORKSPACE)),
            ):
                proxy.rules[:] = [Rule(method, ending, Cut(after), times=1)]
                with suppress(BackendUnavailable):
                    await call()
                await call()
            assert docker_kind.named() == set(), path
            proxy.rules.clear()


@pytest.mark.parametrize("path", CHANGES)
async def test_a_disk_that_is_full(docker_kind: Docker, proxy: EngineProxy, path: str) -> None:
    """It says so, and what to do; and what exists goes on."""
    backend = docker_kind.backend()
    async with backend.serve():
        rule = Rule("POST", path, Answer(500, FULL))
        proxy.rules.append(rule)
        with pytest.raises(BackendUnavailable, match=r"disk is full; make room .*no space left"):
            await backend.ensure_running(spec())
        assert rule.applied
        await backend.pause(A)
        await backend.inventory()
        proxy.rules.clear()
        await backend.ensure_running(spec())


@pytest.mark.parametrize("path", CHANGES)
async def test_what_the_engine_refuses_is_told(docker_kind: Docker, proxy: EngineProxy, path: str) -> None:
    """Text of the engine reaches a person, and repeating it is known to be useless."""
    backend = docker_kind.backend()
    async with backend.serve():
        proxy.rules.append(Rule("POST", path, Answer(400, "unknown runtime specified runsc")))
        with pytest.raises(BackendRejected, match="unknown runtime specified runsc"):
            await backend.ensure_running(spec())
        proxy.rules[:] = [Rule("POST", path, Answer(403, "authorization denied by plugin"))]
        with pytest.raises(BackendRejected, match="authorization denied by plugin"):
            await backend.ensure_running(spec())
        proxy.rules.clear()
        await backend.ensure_running(spec())


async def test_an_image_that_is_missing(docker_kind: Docker, proxy: EngineProxy) -> None:
    """It says what to do; what was started from it before it was removed can still be paused and resumed."""
    name = "127.0.0.1:1/nobody/none:latest"  # nothing listens there
    docker_kind.image, image = name, docker_kind.image
    backend = docker_kind.backend()
    async with backend.serve():
        for call in (
            backend.check,
            partial(backend.ensure_running, spec()),
            partial(backend.fetch, lambda words: None),
        ):
            with pytest.raises(BackendError, match=f"{name} is not on the Docker engine.*AGENT_IMAGE"):
                await call()
        assert docker_kind.containers() == []
    docker_kind.image = image
    backend = docker_kind.backend()
    async with backend.serve():
        address = await backend.ensure_running(spec())
        await run_inside(address, "echo kept > ~/kept")
        await backend.pause(A)
        proxy.rules.append(Rule("GET", "/images/.*", Answer(404, "no such image")))
        address = await backend.ensure_running(spec())
        assert await run_inside(address, "cat ~/kept") == "kept\n"
        with pytest.raises(BackendRejected, match="is not on the Docker engine"):
            await backend.ensure_running(spec(B))
        with pytest.raises(BackendRejected, match="is not on the Docker engine"):
            await backend.ensure_running(spec(MORE="1"))


async def test_an_inventory_in_doubt_is_none(docker_kind: Docker, proxy: EngineProxy) -> None:
    """Lesson: with a hiccup the list was empty, and the clean-up deleted everything, disks included."""
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        for path in ("/containers/json", "/volumes"):
            for deed in (
                Answer(500, "hiccup"),
                Answer(404, "page not found"),
                Cut(200),
                Answer(200, "no JSON", raw=True),
            ):
                proxy.rules[:] = [Rule("GET", path, deed)]
                with pytest.raises(BackendError):
                    assert await backend.inventory() is None, (path, deed)
        proxy.rules.clear()
        assert (await backend.inventory())[A].running
