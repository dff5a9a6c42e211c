"""SPEC.md and the code say the same: its examples, its numbers, and its codes."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from daemon.wire import limits
from protocol import credit, frames, heads, lanes, liveness, session, version1, version2, websocket
from protocol.messages import RequestHead, ResponseHead
from protocol.session import local_hello
from protocol.version2 import AgentSession, ServerSession
from tests.protocol.peers import End, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
SPEC: Final = ROOT.joinpath("protocol", "SPEC.md").read_text()
_ROW: Final = re.compile(r"^    ((?:[0-9a-f]{2} )+)(?:x ([0-9,]+)| .*)$")


# Examples


def examples(section: str) -> list[tuple[str, bytes]]:
    """Who says it, and the payload of the WebSocket message, as section 6 has them."""
    found: list[tuple[str, bytes]] = []
    text = SPEC.partition("## 6. Examples")[2].partition(f"### {section}")[2].partition("###")[0]
    for line in text.splitlines():
        said = re.match(r"(server|agent): ", line)
        row = _ROW.match(line)
        if said is not None:
            found.append((said[1], b""))
        elif row is not None:
            times = int((row[2] or "1").replace(",", ""))
            found[-1] = (found[-1][0], found[-1][1] + bytes.fromhex(row[1]) * times)
    return found


class Told:
    """A pair whose messages are written down in their order."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.said: list[tuple[str, bytes]] = []

    def moves(self, end: End) -> None:
        """An end says what it has to say, message by message."""
        name, other = ("server" if end is self.pair.server else "agent"), self.pair.other(end)
        before = len(other.messages)
        end.flush(other)
        other.deliver(1 << 20, self.pair.now)
        self.said += [(name, message) for message in other.messages[before:]]


def version_1() -> list[tuple[str, bytes]]:
    told = Told(Pair(1))
    pair = told.pair
    flow = pair.open(RequestHead(b"GET", b"/session?limit=1", [(b"accept", b"*/*")]), end=True)
    told.moves(pair.server)
    head = ResponseHead(200, b"OK", [(b"content-type", b"text/plain")], 5)
    pair.agent.answer(pair.agent.flows[1], head, b"hello", end=True)
    told.moves(pair.agent)
    assert flow.came == b"hello"
    return told.said


def version_2() -> list[tuple[str, bytes]]:
    pair = Pair()
    pair.server = End(ServerSession(local_hello("cli-server/0.1.0"), pair.now), client=False)
    hello = local_hello("cli-server-agent/0.1.0", {"hostname": "laptop", "os": "Linux"})
    pair.agent = End(AgentSession(hello, pair.now), client=True)
    told = Told(pair)
    server, agent = pair.ends
    told.moves(server)
    told.moves(agent)
    told.moves(server)
    told.moves(agent)
    small = pair.open(RequestHead(b"GET", b"/session?limit=1", [(b"host", b"oc-a1"), (b"accept", b"*/*")]), end=True)
    told.moves(server)
    head = ResponseHead(200, b"OK", [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")], 5)
    agent.answer(agent.flows[1], head, b"hello", end=True)
    told.moves(agent)
    upload = pair.open(RequestHead(b"POST", b"/file", [(b"host", b"oc-a1")], None))
    server.send(upload, b"a" * frames.MAX_CHUNK)
    told.moves(server)
    agent.read(agent.flows[2], frames.MAX_CHUNK, pair.now)
    told.moves(agent)
    server.send(upload, b"the end", end=True)
    told.moves(server)
    agent.answer(agent.flows[2], ResponseHead(204, b"No Content", [], None), end=True)
    told.moves(agent)
    events = pair.open(RequestHead(b"GET", b"/event", [(b"host", b"oc-a1")]), end=True)
    told.moves(server)
    agent.answer(agent.flows[3], ResponseHead(200, b"OK", [(b"content-type", b"text/event-stream")], None))
    told.moves(agent)
    server.session.reset(events.number, "cancelled", "the browser left", pair.now)
    told.moves(server)
    told.moves(agent)
    server.session.shut_down("the server restarts")
    told.moves(server)
    assert (bytes(small.came), small.ended, upload.ended) == (b"hello", True, True)
    assert agent.flows[3].broken == "cancelled"
    return told.said


@pytest.mark.parametrize(("section", "made"), [("Version 1", version_1), ("Version 2", version_2)])
def test_the_examples_are_what_the_code_says(section: str, made: object) -> None:
    """Made anew by real ends, which read each other's: so each example is decoded, too."""
    assert callable(made)
    wanted = made()
    assert examples(section) == wanted
    assert len(wanted) >= 4


# Numbers

NUMBERS: Final = [
    f"| payload | {frames.MAX_CHUNK:,} | {frames.MAX_CHUNK:,} |",
    f"| JSON header | {version1._MOST_HEADER:,} | {frames.MAX_HEADER:,} |",
    f"| whole message | {frames.MAX_MESSAGE_V1:,} | {frames.MAX_MESSAGE:,} |",
    f"| request target | | {heads.MAX_TARGET:,} |",
    f"A request that does not fit into {frames.MAX_MESSAGE_V1:,} bytes",
    f"more\n  than {version1.MOST_UNWANTED:,} answers",
    f"`hello` that does not come within {session.HELLO_SECONDS:g} s",
    f"at most {session._SOFTWARE} characters",
    f'"window":{credit.FIRST_WINDOW},"maxChunk":{frames.MAX_CHUNK},"maxStreams":{session.MOST_STREAMS}',
    f"| `window` | {frames.MAX_CHUNK} … 1048576 |",
    f"| `maxChunk` | 1024 … {frames.MAX_CHUNK} |",
    f"1xx but {heads.SWITCHING} may come up to {version2.MOST_INTERIM} times",
    f"after {session.RESET_SECONDS:g} s without, it ends the session",
    f"a code has at most {session._CODE} characters",
    f"cut\nafter {session._TEXT} characters",
    f"Every stream has a window, at first {credit.FIRST_WINDOW // 1024} KiB",
    f"is at most {credit.MOST_GROWTH // 2**20} MiB, given back",
    f"With {session.MOST_STREAMS} streams of {credit.FIRST_WINDOW // 1024} KiB an end therefore buffers at most "
    f"{(credit.MOST_GROWTH + session.MOST_STREAMS * credit.FIRST_WINDOW) // 2**20} MiB",
    f"A sender that has {lanes.QUEUE // 1024} KiB of a stream queued",
    f"With the read of {limits.READ_SIZE // 1024} KiB that ends above it, and the last one, which does not wait, "
    f"an end holds at most {session.MOST_STREAMS * (lanes.QUEUE + 2 * limits.READ_SIZE) // 2**20} MiB",
    f"An `id` has at most {version1._MOST_ID} characters",
    f"or what else there is; {session._INFO_ITEMS} of them count",
    f"with more than {session.FLOOD:,} messages other than `data`",
    f"then every {liveness.PING_SECONDS:g} s",
    f"nothing at all for {liveness.SILENCE_SECONDS:g} s ends the session",
    f"nothing arrived for {liveness.SILENCE_SECONDS:g} s",
    f"a `reset` was not answered for {session.RESET_SECONDS:g} s",
    f"later than {liveness._LATE_SECONDS:g} s",
    f"{websocket.NORMAL} after `shutdown`, `replaced` and `removed`, {websocket.TOO_LARGE} after `too_large`, "
    f"else {websocket.BROKE_RULE}",
    f"Sec-WebSocket-Protocol: {websocket.SUBPROTOCOL_V2}",
]


def plain(text: str) -> str:
    """However the lines are broken."""
    return " ".join(text.split())


@pytest.mark.parametrize("words", NUMBERS)
def test_the_numbers_are_those_of_the_code(words: str) -> None:
    assert plain(words) in plain(SPEC)


def test_the_bounds_that_the_page_writes_as_powers() -> None:
    assert (credit.MOST_CREDIT, session.MOST_ID, heads.MOST_LENGTH) == (2**31 - 1, 2**31 - 1, 2**53 - 1)
    assert credit.LARGEST_WINDOW == 4 * 2**20
    assert liveness.BUSY_PING_SECONDS == liveness.TICK_SECONDS == 1
    assert credit._SAMPLES == 4
    assert "the greatest of the last four" in plain(SPEC)
    assert "at most to 4 MiB (40 MB/s at 100 ms)" in plain(SPEC)
    assert credit.LARGEST_WINDOW / 0.1 >= 40_000_000


# Codes


def table(heading: str) -> set[str]:
    """The codes of a table."""
    rows = SPEC.partition(f"| `code` of `{heading}` |")[2].partition("\n\n")[0]
    return set(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE))


def constants(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.IfExp):
            yield from constants([node.body, node.orelse])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch("[a-z_]+", node.value):
            yield node.value


def calls(*folders: str) -> Iterator[tuple[str, ast.Call]]:
    """The name of what is called, and the call."""
    for folder in folders:
        for path in sorted(ROOT.joinpath(folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield ast.unparse(node.func).rpartition(".")[2], node


def test_every_fault_has_a_code_of_the_page() -> None:
    used: set[str] = set()
    for name, call in calls("protocol"):
        if name == "RemoteProtocolError":
            used.update(constants(call.args[:1]))
        used.update(constants([word.value for word in call.keywords if word.arg == "code"]))
    used.add("bad_hello")
    assert used == table("go_away") - {"shutdown", "replaced", "removed"}, "neither more nor less"


def test_every_reset_has_a_code_of_the_page() -> None:
    used = {"closed"}
    for name, call in calls("protocol", "daemon/wire", "daemon/agent", "daemon/tunnel"):
        if name == "reset":
            used.update(constants(call.args[:2]))
    assert used == table("reset"), "neither more nor less"


def test_every_end_has_a_code_of_the_page() -> None:
    for name, call in calls("daemon/wire", "daemon/agent", "daemon/tunnel"):
        if name == "end":
            assert set(constants(call.args[:1])) <= table("go_away") | table("reset")
