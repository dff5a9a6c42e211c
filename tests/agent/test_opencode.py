"""opencode at the agent's side: finding one, starting one, keeping it, ending it, and sharing it."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel

from daemon.agent import program
from daemon.agent.addresses import parse_opencode
from daemon.agent.errors import AgentError
from daemon.agent.health import Login, State, find, look_at
from daemon.agent.locks import try_lock
from daemon.agent.opencode import Local, Opencode
from daemon.agent.record import Record, read_record, write_record
from daemon.agent.requests import Requests
from daemon.agent.voice import Voice
from daemon.wire.exchange import UpstreamError
from protocol.messages import RequestHead
from tests.agent.running import quick
from tests.agent.standin import HEALTHY, http, http_at
from tests.backends.support import fake_program
from tests.support.product import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    monkeypatch.setattr(program, "GRACE", 1.0)


class Party:
    """One agent's opencode part, with what it said."""

    def __init__(
        self, folder: Path, port: int, env: dict[str, str] | None = None, *, host: str = "localhost", may: bool = True
    ) -> None:
        self.lines: list[str] = []
        self.folder = folder / ".cli-server"
        self.port = port
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})}
        address = parse_opencode(f"http://{host}:{port}")
        voice = Voice(lambda line: self.lines.append(line[20:]))
        self.opencode = Opencode(
            address, environ, self.folder, voice,
            auto_start=may, random=lambda: 0.5, start_seconds=20, watch_seconds=0.05,
        )  # fmt: skip

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Local]:
        """Prepared and running."""
        await self.opencode.prepare()
        async with self.opencode.running() as local:
            yield local

    async def refusal(self) -> str:
        """What is said to somebody whose opencode cannot be used."""
        with pytest.raises((AgentError, ExceptionGroup)) as caught:
            async with self.running():
                pass
        error: BaseException = caught.value
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, AgentError)
        return str(error)

    async def until_said(self, text: str, times: int = 1) -> str:
        """Wait for a line. The real opencode may need a minute to start on a busy machine."""
        with trio.fail_after(60):
            while len(found := [line for line in self.lines if text in line]) < times:  # noqa: ASYNC110
                await trio.sleep(0.01)
        return found[-1]

    def started_after(self, before: Record) -> Record | None:
        """What was written down of a later opencode than that one, if there is one."""
        found = read_record(self.folder / f"opencode-{self.port}.json")
        return None if found == before else found

    @property
    def record(self) -> Record:
        """What was written down."""
        found = read_record(self.folder / f"opencode-{self.port}.json")
        assert found is not None
        return found


def _lives(pid: int) -> bool:
    """Whether the process runs; one that only waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def _state(local: Local, login: Login | None) -> State:
    """What is there. A busy machine may need longer for an answer than the agent waits for one."""
    with trio.fail_after(20):
        while (look := await look_at(local.host, local.port, login)).state is State.SILENT:
            pass
        return look.state


@pytest.fixture
def fake(tmp_path: Path) -> str:
    """The program of a fake opencode."""
    (tmp_path / "bin").mkdir()
    return str(fake_program(tmp_path / "bin"))


async def test_one_that_runs_is_used_with_a_warning_if_it_has_no_password(tmp_path: Path) -> None:
    async with http_at(HEALTHY) as port:
        party = Party(tmp_path, port)
        async with party.running() as local:
            assert (local.host, local.port, local.authorization) == ("127.0.0.1", port, None)
    (said,) = party.lines
    assert said.startswith(f"warning: opencode at http://localhost:{port} has no password: every program there")
    assert "CVE-2026-22812" in said
    assert not (tmp_path / ".cli-server").exists()


async def test_localhost_may_be_either_address(tmp_path: Path) -> None:
    async with http_at(HEALTHY, "::1") as port, Party(tmp_path, port).running() as local:
        assert local.host == "::1"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (http(200, "<!doctype html>", "text/html"), "is no working opencode (its /global/health has status 200"),
        (http(404, "{}"), "is no working opencode (its /global/health has status 404"),
        (http(200, '{"healthy":false}'), "is no working opencode (it says that it is not healthy)"),
        (http(302, ""), "is no working opencode (its /global/health has status 302"),
        (b"SSH-2.0-x\r\n\r\n", "is no working opencode (the answer is not HTTP/1.1"),
        (http(401), "wants a password; set OPENCODE_SERVER_PASSWORD to it (and OPENCODE_SERVER_USERNAME if"),
    ],
)
async def test_what_cannot_be_used(tmp_path: Path, answer: bytes, says: str) -> None:
    async with http_at(answer) as port:
        said = await Party(tmp_path, port).refusal()
    assert f"http://localhost:{port}" in said
    assert says in said


async def test_one_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.agent.health.ATTEMPT_SECONDS", 0.02)
    async with http_at(None) as port:
        said = await Party(tmp_path, port).refusal()
    assert said == f"something listens at http://localhost:{port} and does not answer; if it is opencode, start it anew"


async def test_a_wrong_password(tmp_path: Path) -> None:
    async with http_at(http(401)) as port:
        said = await Party(tmp_path, port, {"OPENCODE_SERVER_PASSWORD": "x"}).refusal()
    assert "does not take the user and the password that were given" in said


async def test_nothing_there_and_none_to_be_started(tmp_path: Path) -> None:
    port = free_port()
    said = await Party(tmp_path, port, may=False).refusal()
    assert said == (
        f"nothing answers at http://localhost:{port}, and the agent was told not to start one; start opencode there"
    )


async def test_nothing_there_and_it_is_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(host: str, port: int) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("daemon.agent.health.connect_tcp", refuse)
    said = await Party(tmp_path, 4096, host="192.0.2.1").refusal()
    assert said == "nothing answers at http://192.0.2.1:4096, and it is not this machine; start opencode there"


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"PATH": "/nowhere"}, "opencode was not found on PATH; install it (npm install -g opencode-ai), or set"),
        ({"OPENCODE_BIN": "/nowhere/opencode"}, "OPENCODE_BIN names /nowhere/opencode, which is no program"),
    ],
)
async def test_no_program(tmp_path: Path, env: dict[str, str], says: str) -> None:
    assert says in await Party(tmp_path, free_port(), env).refusal()


async def test_a_password_is_sent_only_to_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """First without; and a second one only if the first was wrong."""
    seen: list[bytes] = []

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            head = bytes(await stream.receive_some())
            seen.append(head)
            await stream.send_all(http(401) if b"Basic dTpi" not in head and b"basic" not in head else HEALTHY)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        address = parse_opencode(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        look = await find(address, [Login("u", "a"), Login("u", "b"), Login("u", "c")])
        nursery.cancel_scope.cancel()
    assert (look.state, look.login) == (State.HEALTHY, Login("u", "b"))
    assert [b"authorization" in head.lower() for head in seen] == [False, True, True]


async def test_it_is_started_with_a_password_and_ended(tmp_path: Path, fake: str) -> None:
    port = free_port()
    party = Party(tmp_path, port, {"OPENCODE_BIN": fake})
    async with party.running() as local:
        record = party.record
        assert local.authorization == record.login.header
        assert len(record.login.password) >= 32
        assert await _state(local, None) is State.LOCKED
        assert await _state(local, record.login) is State.HEALTHY
        command = (await trio.Path(f"/proc/{record.pid}/cmdline").read_bytes()).split(b"\0")
        assert command[-6:-1] == [b"serve", b"--hostname", b"127.0.0.1", b"--port", str(port).encode()]
        assert record.login.password.encode() not in b"".join(command)
        path = party.folder / f"opencode-{port}.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert party.lines == [
            f"started opencode at http://localhost:{port}; its output is in {path.with_suffix('.log')}"
        ]
    assert not _lives(record.pid)
    assert not path.exists()
    assert record.login.password not in "".join(party.lines)


async def test_a_given_password_is_what_it_is_started_with(tmp_path: Path, fake: str) -> None:
    party = Party(tmp_path, free_port(), {"OPENCODE_BIN": fake, "OPENCODE_SERVER_PASSWORD": "given"})
    async with party.running() as local:
        assert await _state(local, Login("opencode", "given")) is State.HEALTHY


async def test_it_is_started_again_when_it_dies(tmp_path: Path, fake: str) -> None:
    party = Party(tmp_path, free_port(), {"OPENCODE_BIN": fake})
    async with party.running() as local:
        for count in (1, 2):
            before = party.record
            os.kill(before.pid, signal.SIGKILL)
            said = await party.until_said("opencode ended by itself", count)
            assert said == "opencode ended by itself (signal SIGKILL); it is started again"
            with trio.fail_after(20):
                while party.started_after(before) is None:  # noqa: ASYNC110 - the file tells nobody
                    await trio.sleep(0.001)
            assert not local.up
            await party.until_said("started opencode", count + 1)
            assert party.record.login != before.login
            assert local.authorization == party.record.login.header
            assert local.up
            assert await _state(local, party.record.login) is State.HEALTHY
        last = party.record.pid
    assert not _lives(last)


async def test_nothing_is_asked_of_one_that_is_being_started() -> None:
    """The real one may take a request then and never answer it."""
    port = free_port()
    local = Local("127.0.0.1", port, up=False)
    requests = Requests(local)

    async def status() -> int:
        async with requests._upstream.exchange() as exchange:
            await exchange.send_head(RequestHead(b"GET", b"/", [(b"host", b"x")]))
            return (await exchange.receive_head()).status

    async with http_at(HEALTHY, port=port):
        with pytest.raises(UpstreamError, match="being started"):
            await status()
        local.up = True
        assert await status() == 200
    requests.close()


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (
            {"FAKE_EXIT": "3", "FAKE_SAY": "no \x1b[31mdisk"},
            "opencode does not start (status 3: no disk); its output is in",
        ),
        ({"FAKE_HEALTH": "html"}, "opencode did not answer within 0.5 s; its output is in"),
    ],
)
async def test_one_that_does_not_come_up(tmp_path: Path, fake: str, env: dict[str, str], says: str) -> None:
    party = Party(tmp_path, free_port(), {"OPENCODE_BIN": fake, **env})
    if "FAKE_HEALTH" in env:
        party.opencode._start_seconds = 0.5
    assert says in await party.refusal()
    assert read_record(party.folder / f"opencode-{party.port}.json") is None


async def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    path = tmp_path / "opencode"
    path.write_text("#!/nowhere/interpreter\n")
    path.chmod(0o755)
    assert (
        f"{path} cannot be started: No such file"
        in await Party(tmp_path, free_port(), {"OPENCODE_BIN": str(path)}).refusal()
    )


async def test_one_that_does_not_want_to_end_is_killed_with_its_children(tmp_path: Path) -> None:
    path = tmp_path / "opencode"
    path.write_text(
        f"#!{sys.executable}\n"
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"child = subprocess.Popen(['sleep', '1000'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "from http.server import *\n"
        "class H(BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(b'{\"healthy\":true}')\n"
        "    def log_message(self, *a): pass\n"
        "ThreadingHTTPServer(('127.0.0.1', int(sys.argv[-1])), H).serve_forever()\n"
    )
    path.chmod(0o755)
    party = Party(tmp_path, free_port(), {"OPENCODE_BIN": str(path)})
    async with party.running():
        pids = [party.record.pid, int((tmp_path / "child").read_text())]
        assert all(map(_lives, pids))
    with trio.fail_after(20):
        while any(map(_lives, pids)):  # noqa: ASYNC110 - the child's reaper is not us
            await trio.sleep(0.01)


@asynccontextmanager
async def _left_behind(folder: Path, port: int, fake: str) -> AsyncIterator[Record]:
    """An opencode whose agent was killed: it runs, and is written down; nobody holds the lock."""
    login = Login("opencode", "random-of-the-dead-agent")
    environ = program.environment_of({"PATH": os.environ["PATH"]}, login)
    place = folder / ".cli-server"
    place.mkdir(mode=0o700)
    process = await program.start(program.command_of(fake, "127.0.0.1", port), environ, place / "log")
    try:
        with trio.fail_after(20):
            while (await look_at("127.0.0.1", port, login)).state is not State.HEALTHY:  # noqa: ASYNC110
                await trio.sleep(0.02)
        record = Record(process.pid, login)
        write_record(place / f"opencode-{port}.json", record)
        yield record
        with trio.fail_after(20):
            await process.wait()
    finally:
        await program.end(process)


async def test_what_a_killed_agent_left_behind_is_taken_over(tmp_path: Path, fake: str) -> None:
    """Its password is known to nobody else, so without this the next agent would find a locked door."""
    port = free_port()
    async with _left_behind(tmp_path, port, fake) as record:
        party = Party(tmp_path, port, {"OPENCODE_BIN": fake})
        async with party.running() as local:
            assert local.authorization == record.login.header
            assert party.lines == []
        assert not (party.folder / f"opencode-{port}.json").exists()


async def test_what_was_taken_over_is_replaced_when_it_dies(tmp_path: Path, fake: str) -> None:
    port = free_port()
    async with _left_behind(tmp_path, port, fake) as record:
        party = Party(tmp_path, port, {"OPENCODE_BIN": fake})
        async with party.running() as local:
            os.kill(record.pid, signal.SIGKILL)
            await party.until_said("started opencode")
            assert party.record.login != record.login
            assert local.authorization == party.record.login.header


async def test_two_agents_share_one_opencode(tmp_path: Path, fake: str) -> None:
    port = free_port()
    first, second = (Party(tmp_path, port, {"OPENCODE_BIN": fake}) for _ in range(2))
    async with second_after_first(first, second) as (one, two, end_first):
        assert one.authorization == two.authorization
        pid = first.record.pid
        assert second.lines == []
        await end_first()
        assert not _lives(pid)
        await second.until_said("started opencode")
        assert two.authorization == second.record.login.header


async def test_one_that_comes_back_between_two_looks_is_used_by_the_other_agent_too(tmp_path: Path, fake: str) -> None:
    """It has a new password then; whoever went on with the old one would be refused for ever."""
    port = free_port()
    first, second = (Party(tmp_path, port, {"OPENCODE_BIN": fake}) for _ in range(2))
    second.opencode._watch_seconds = 0.5  # it is back sooner; if it is not, the other way is taken and all is well, too
    async with second_after_first(first, second) as (one, two, end_first):
        os.kill(first.record.pid, signal.SIGKILL)
        await first.until_said("started opencode", 2)
        with trio.fail_after(20):
            while two.authorization != one.authorization:  # noqa: ASYNC110 - agents tell each other nothing
                await trio.sleep(0.01)
        assert await _state(two, first.record.login) is State.HEALTHY
        await end_first()


Both = tuple[Local, Local, "Callable[[], Awaitable[None]]"]


@asynccontextmanager
async def second_after_first(first: Party, second: Party) -> AsyncIterator[Both]:
    """Both run; the third is a function that ends the first."""
    end, ended = trio.Event(), trio.Event()
    locals_: list[Local] = []

    async def run_first(task_status: trio.TaskStatus[None]) -> None:
        async with first.running() as local:
            locals_.append(local)
            task_status.started()
            await end.wait()
        ended.set()

    async def end_first() -> None:
        end.set()
        await ended.wait()

    async with trio.open_nursery() as nursery:
        await nursery.start(run_first)
        async with second.running() as local:
            yield locals_[0], local, end_first


async def test_two_agents_that_start_together_start_one_opencode(tmp_path: Path, fake: str) -> None:
    """The second finds nothing at the port and the lock taken: it waits for what the first one starts."""
    port = free_port()
    party = Party(tmp_path, port, {"OPENCODE_BIN": fake})
    await party.opencode.prepare()
    party.folder.mkdir(exist_ok=True)
    lock = try_lock(party.folder / f"opencode-{port}.lock")
    assert lock is not None
    async with trio.open_nursery() as nursery:
        ready = trio.Event()

        async def run() -> None:
            async with party.opencode.running():
                ready.set()

        nursery.start_soon(run)
        await trio.lowlevel.checkpoint()
        login = Login("opencode", "of-the-other")
        environ = program.environment_of({"PATH": os.environ["PATH"]}, login)
        process = await program.start(program.command_of(fake, "127.0.0.1", port), environ, party.folder / "log")
        write_record(party.folder / f"opencode-{port}.json", Record(process.pid, login))
        with trio.fail_after(20):
            await ready.wait()
        assert party.lines == []
        assert party.opencode.local.authorization == login.header
    assert _lives(process.pid)  # it is the other's to end it
    await program.end(process)
    os.close(lock)


async def test_another_agent_that_never_gets_it_to_run(tmp_path: Path, fake: str) -> None:
    port = free_port()
    party = Party(tmp_path, port, {"OPENCODE_BIN": fake})
    party.folder.mkdir()
    party.opencode._start_seconds = 0.1
    lock = try_lock(party.folder / f"opencode-{port}.lock")
    assert lock is not None
    assert "another agent on this machine does not get opencode to run" in await party.refusal()
    os.close(lock)


async def test_one_of_somebody_else_that_goes_and_comes_back(tmp_path: Path, fake: str) -> None:
    """It is not ours to start it, and what comes back may be at the other address."""
    port = free_port()
    party = Party(tmp_path, port, {"OPENCODE_BIN": fake})
    async with trio.open_nursery() as nursery:
        ready, end = trio.Event(), trio.Event()

        async def theirs() -> None:
            async with http_at(HEALTHY, port=port):
                ready.set()
                await end.wait()

        nursery.start_soon(theirs)
        await ready.wait()
        async with party.running() as local:
            end.set()
            await party.until_said(f"nothing answers at http://localhost:{port} any more; pages fail until")
            async with http_at(HEALTHY, "::1", port):
                await party.until_said(f"opencode is back at http://localhost:{port}")
                assert local.host == "::1"
    assert not any("started" in line for line in party.lines)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"pid":1,"user":"u","password":"p"}', '{"pid":"x","user":"u","password":"p"}']
)
def test_a_record_that_is_nonsense_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    assert read_record(tmp_path / "r.json") is None
    assert read_record(tmp_path / "none.json") is None


def test_a_record_comes_back(tmp_path: Path) -> None:
    record = Record(77, Login("u", "p"))
    write_record(tmp_path / "r.json", record)
    assert read_record(tmp_path / "r.json") == record
    assert json.loads((tmp_path / "r.json").read_text()) == {"pid": 77, "user": "u", "password": "p"}


@pytest.mark.needs("opencode")
async def test_the_real_one(tmp_path: Path, opencode_program: Path) -> None:
    """Started, locked for those without the password, restarted after SIGKILL, and gone at the end."""
    port = free_port()
    env = {
        "OPENCODE_BIN": str(opencode_program),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
    }
    party = Party(tmp_path, port, env)
    party.opencode._start_seconds = 60
    async with party.running() as local:
        assert await _state(local, None) is State.LOCKED
        assert await _state(local, party.record.login) is State.HEALTHY
        os.kill(party.record.pid, signal.SIGKILL)
        await party.until_said("opencode ended by itself (signal SIGKILL")
        await party.until_said("started opencode", 2)
        assert await _state(local, party.record.login) is State.HEALTHY
        pid = party.record.pid
    assert not _lives(pid)
