"""The agent's loop against a server that a test directs: registering, coming back, stopping, and what is said of it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from daemon.agent import voice
from daemon.agent.credentials import Credentials, Registration
from daemon.agent.errors import AgentError
from daemon.agent.serving import Ending, SessionEnded
from daemon.agent.voice import Voice
from tests.agent.running import Running, agent, quick
from tests.agent.standin import HEALTHY, SANDBOX, TOKEN, Answer, StandIn, http_at, stand_in
from tests.agent.test_dial import _server_tls
from tests.support.product import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.fixture
async def opencode() -> AsyncIterator[int]:
    """The port of an opencode without a password."""
    async with http_at(HEALTHY) as port:
        yield port


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    """A server that takes everything."""
    async with stand_in(StandIn()) as made:
        yield made


def _saved(folder: Path, server: StandIn | str, **changes: str) -> Registration:
    url = server if isinstance(server, str) else server.url
    registration = Registration(
        url, changes.get("sandbox_id", SANDBOX), changes.get("token", TOKEN), "w1", changes.get("name", "laptop")
    )
    Credentials(folder).put_first(registration)
    return registration


async def test_the_first_run_registers_and_connects(tmp_path: Path, server: StandIn, opencode: int) -> None:
    async with agent(tmp_path, server.url, opencode, code="the-code", host_name="host") as running:
        await running.until_connected()
    assert [asked.target for asked in server.asked] == ["/api/agent/register", f"/api/tunnel/{SANDBOX}"]
    assert server.asked[0].json == {"code": "the-code", "name": "host"}
    assert server.asked[1].headers["authorization"] == f"Bearer {TOKEN}"
    (saved,) = Credentials(tmp_path).load()
    assert saved == Registration(server.url, SANDBOX, TOKEN, "w123456789abcdef", "host")
    (said,) = (line for line in running.said if line.startswith("registered as host; "))
    assert f"the credentials are in {tmp_path / 'agent.json'}, and from now on this is enough" in said
    assert TOKEN not in "".join(running.lines)
    assert "the-code" not in "".join(running.lines)


async def test_the_command_of_the_first_run_given_again(tmp_path: Path, server: StandIn, opencode: int) -> None:
    """The next day people look for it in their shell's history. Its code was used, but they need none."""
    _saved(tmp_path, server)
    server.registration = Answer(401, {"code": "invalid_code", "detail": "This code is wrong. Get another."})
    async with agent(tmp_path, server.url, opencode, code="used") as running:
        error = await running.until_ended()
    assert str(error) == (
        "the code is wrong, was used already, or is older than ten minutes; get a new code on the workspace's page; "
        "it works once and for ten minutes. This machine is registered there as laptop; without --code it connects as "
        "that"
    )


async def test_a_later_run_uses_what_was_saved(tmp_path: Path, server: StandIn, opencode: int) -> None:
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode) as running:
        await running.until_connected()
    assert [asked.target for asked in server.asked] == [f"/api/tunnel/{SANDBOX}"]


async def test_a_code_always_registers_anew(tmp_path: Path, server: StandIn, opencode: int) -> None:
    _saved(tmp_path, server, sandbox_id="old", token="old-token", name="desk")
    async with agent(tmp_path, server.url, opencode, code="c", name="desk") as running:
        await running.until_connected()
    assert server.asked[-1].headers["authorization"] == f"Bearer {TOKEN}"
    assert [one.sandbox_id for one in Credentials(tmp_path).load()] == [SANDBOX, "old"]


async def test_which_registration_is_used(tmp_path: Path, server: StandIn, opencode: int) -> None:
    _saved(tmp_path, server, sandbox_id="first", name="one")
    _saved(tmp_path, server, sandbox_id="second", name="two")
    for name, target in ((None, "second"), ("one", "first"), (None, "first"), ("second", "second")):
        async with agent(tmp_path, server.url, opencode, name=name) as running:
            await running.until_connected()
        assert server.asked[-1].target == f"/api/tunnel/{target}"


async def test_without_a_server_the_last_one_is_used(tmp_path: Path, server: StandIn, opencode: int) -> None:
    _saved(tmp_path, server)
    async with agent(tmp_path, None, opencode) as running:
        await running.until_connected()


@pytest.mark.parametrize(
    ("code", "server_url", "says"),
    [
        (None, "http://127.0.0.1:1", "this machine is not registered with http://127.0.0.1:1; get a code"),
        ("c", None, "a code is for one server; name it with --server"),
    ],
)
async def test_nothing_to_connect_with(
    tmp_path: Path, opencode: int, code: str | None, server_url: str | None, says: str
) -> None:
    async with agent(tmp_path, server_url, opencode, code=code) as running:
        error = await running.until_ended()
    assert isinstance(error, AgentError)
    assert says in str(error)


async def test_a_wrong_code_ends_it(tmp_path: Path, server: StandIn, opencode: int) -> None:
    server.registration = Answer(401, {"detail": "The code is not valid."})
    async with agent(tmp_path, server.url, opencode, code="wrong") as running:
        error = await running.until_ended()
    assert "the code is wrong, was used already, or is older than ten minutes" in str(error)
    assert Credentials(tmp_path).load() == []
    assert len(server.asked) == 1


async def test_a_code_is_not_used_up_by_what_this_machine_lacks(tmp_path: Path, server: StandIn) -> None:
    async with agent(tmp_path, server.url, free_port(), code="c", auto_start=False) as running:
        assert "nothing answers at" in str(await running.until_ended())
    (tmp_path / "agent.json").write_text("{")
    async with http_at(HEALTHY) as port, agent(tmp_path, server.url, port, code="c") as running:
        assert "move it away" in str(await running.until_ended())
    assert not server.asked


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (2, ""),
        (1, "; the server is older (tunnel version 1): terminals do not work until it is updated"),
    ],
)
async def test_connected_says_where(tmp_path: Path, server: StandIn, opencode: int, version: int, says: str) -> None:
    server.host = "team.localhost"
    if version == 1:
        server.answers = [Answer(subprotocol=None)]
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode) as running:
        said = await running.until_connected()
    assert said == f"connected: laptop is open at http://oc-{SANDBOX}.team.localhost:{server.port}/{says}"


async def test_connected_to_an_address_that_is_no_name(tmp_path: Path, server: StandIn, opencode: int) -> None:
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode) as running:
        said = await running.until_connected()
    assert said == f"connected: laptop is open on {server.url} as sandbox {SANDBOX}"


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "does not know the token of laptop any more: it was revoked (Sorry); to connect again get a code"),
        (403, "does not allow laptop to connect any more: whoever registered it lost the right to (Sorry); to"),
        (404, "laptop was removed from http://127.0.0.1:"),
    ],
)
@pytest.mark.parametrize("before", [0, 2])
async def test_what_is_final(
    tmp_path: Path, server: StandIn, opencode: int, status: int, says: str, before: int
) -> None:
    """Contract: stops with a clear message on 401/403/404, at the first attempt and later."""
    server.answers = [*[Answer()] * before, Answer(status, {"detail": "Sorry."})]
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode, running=Running(endings=[None] * before)) as running:
        error = await running.until_ended()
    assert isinstance(error, AgentError)
    assert says in str(error)
    assert len(server.handshakes) == before + 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(500, b"<html>"), "does not open the tunnel (status 500); trying again"),
        (Answer(503, {"detail": "Starting."}), "does not open the tunnel (status 503) (Starting); trying again"),
        (Answer(429, b""), "does not open the tunnel (status 429); trying again"),
        (Answer(200, b"<html>"), "does not open the tunnel (status 200); trying again"),
        (
            Answer(302, b"", {"Location": "https://b.example/x"}),
            "wants us to go to https://b.example/x; the agent",
        ),
        (Answer(None), "broke off: the connection was closed before an answer; trying again"),
        (Answer(accept="x"), "answered a handshake that is not ours"),
    ],
)
async def test_everything_else_is_tried_again_and_said_once(
    tmp_path: Path, server: StandIn, opencode: int, answer: Answer, says: str
) -> None:
    server.answers = [answer] * 4 + [Answer()]
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode) as running:
        await running.until_connected()
    assert len([line for line in running.said if says in line]) == 1
    assert len(server.handshakes) == 5
    assert all(asked.target == f"/api/tunnel/{SANDBOX}" for asked in server.asked)  # no redirect is followed


async def test_a_server_that_is_away_and_comes(tmp_path: Path, opencode: int) -> None:
    port = free_port()
    _saved(tmp_path, f"http://localhost:{port}")
    async with agent(tmp_path, None, opencode) as running:
        said = await running.until_said("cannot reach")
        assert said == f"cannot reach http://localhost:{port}: connection refused; trying again"
        server = StandIn()
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, server.handle, listeners)
            await running.until_said("connected: laptop is open at http://oc-")
            nursery.cancel_scope.cancel()


async def test_a_certificate_that_nobody_trusts_is_said_and_tried_again(tmp_path: Path, opencode: int) -> None:
    async with stand_in(StandIn(host="localhost"), _server_tls(trustme.CA())) as server:
        _saved(tmp_path, server)
        async with agent(tmp_path, server.url, opencode) as running:
            said = await running.until_said("is not trusted")
            assert "set SSL_CERT_FILE" in said
            assert not running.ended.is_set()


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        (None, "the tunnel ended: the server closed it; connecting again"),
        (SessionEnded("no sign of life for 40 s"), "the tunnel ended: no sign of life for 40 s; connecting again"),
        (SessionEnded("the server restarts", Ending.SHUTDOWN), "the tunnel ended: the server restarts; connecting"),
        (ConnectionResetError(104, "Connection reset by peer"), "the tunnel ended: it broke off ("),
    ],
)
async def test_it_comes_back(
    tmp_path: Path, server: StandIn, opencode: int, ending: Exception | None, says: str
) -> None:
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode, running=Running(endings=[ending] * 3)) as running:
        await running.until_connected(4)
        assert len([line for line in running.said if line.startswith(says)]) == 3
        assert len(running.served) == 4
        for dialed in running.served[:3]:  # each connection was closed
            with pytest.raises(OSError, match="descriptor"):
                await dialed.stream.send(b"x")


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        (SessionEnded("the sandbox was deleted", Ending.REMOVED), "ended the tunnel for good: the sandbox was deleted"),
        (SessionEnded("replaced", Ending.REPLACED), "another agent has connected as laptop, and this one ends"),
    ],
)
async def test_endings_that_are_final(
    tmp_path: Path, server: StandIn, opencode: int, ending: SessionEnded, says: str
) -> None:
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode, running=Running(endings=[ending])) as running:
        error = await running.until_ended()
    assert isinstance(error, AgentError)
    assert says in str(error)
    assert len(server.handshakes) == 1


async def test_a_server_that_shuts_down_is_left_for_another(tmp_path: Path, server: StandIn, opencode: int) -> None:
    """The newer tunnel begins beside the older one, whose streams go on until they are done."""
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode, running=Running(leaving=2)) as running:
        await running.until_said("the server shuts down; another one takes over", times=2)
        await running.until_connected(3)
        assert len(running.served) == 3
        for dialed in running.served[:2]:  # open all the time
            await dialed.stream.send(b"x")
        assert "connecting again" not in "".join(running.said)
        running.stopping.drain()
        assert await running.until_ended() is None
    for dialed in running.served:
        with pytest.raises(OSError, match="descriptor"):
            await dialed.stream.send(b"x")


async def test_what_nobody_foresaw_is_not_hidden(tmp_path: Path, server: StandIn, opencode: int) -> None:
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode, running=Running(endings=[ValueError("bug")])) as running:
        assert isinstance(await running.until_ended(), ValueError)


async def test_a_signal_drains(tmp_path: Path, server: StandIn, opencode: int) -> None:
    """A session that ends by itself when asked to is waited for, and no new connection is made."""
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode, running=Running()) as running:
        await running.until_connected()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running.until_ended() is None
    assert running.stopping.draining.is_set()
    assert len(server.handshakes) == 1


async def test_draining_has_an_end(tmp_path: Path, server: StandIn, opencode: int) -> None:
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode, running=Running(stubborn=True)) as running:
        await running.until_connected()
        os.kill(os.getpid(), signal.SIGINT)
        assert await running.until_ended(5) is None
    assert "ending; requests under way get 0.2 s, a second signal (Ctrl-C) ends it at once" in running.said


async def test_a_second_signal_does_not_wait(tmp_path: Path, server: StandIn, opencode: int) -> None:
    _saved(tmp_path, server)
    running = Running(stubborn=True)
    running.stopping.drain_seconds = 1000
    async with agent(tmp_path, server.url, opencode, running=running):
        await running.until_connected()
        os.kill(os.getpid(), signal.SIGTERM)
        await running.stopping.draining.wait()
        assert not running.ended.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert isinstance(await running.until_ended(), KeyboardInterrupt)


async def test_a_signal_while_nothing_is_open_ends_it_at_once(tmp_path: Path, server: StandIn, opencode: int) -> None:
    server.answers = [Answer(silent=True)]
    _saved(tmp_path, server)
    async with agent(tmp_path, server.url, opencode) as running:
        await server.until(lambda: len(server.asked) == 1)
        running.stopping.drain_seconds = 1000
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running.until_ended() is None


async def test_an_unencrypted_server_is_warned_of(tmp_path: Path, opencode: int) -> None:
    environ = {"HTTP_PROXY": f"http://127.0.0.1:{free_port()}"}
    async with agent(tmp_path, "http://a.test", opencode, code="c", environ=environ) as running:
        await running.until_ended()
    assert running.said[0].startswith("warning: http://a.test is not encrypted")


async def test_credentials_that_others_could_read_are_mentioned(tmp_path: Path, server: StandIn, opencode: int) -> None:
    _saved(tmp_path, server)
    (tmp_path / "agent.json").chmod(0o644)
    async with agent(tmp_path, server.url, opencode) as running:
        await running.until_said("could be read by other users")


async def test_trouble_is_said_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    lines: list[str] = []
    mouth = Voice(lambda line: lines.append(line[20:]))
    for text in ("a", "a", "b", "a", "b"):
        mouth.trouble(text)
    assert lines == ["a", "b"]
    await trio.sleep(voice.AGAIN_SECONDS - 1)
    mouth.trouble("a")
    assert lines == ["a", "b"]
    await trio.sleep(1)
    mouth.trouble("a")
    mouth.over()
    mouth.trouble("a")
    mouth.say("two\nlines")
    assert lines == ["a", "b", "a", "a", "two lines"]
