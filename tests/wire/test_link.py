"""The two ends of a tunnel with nothing between them but the test, which carries bytes when it likes."""

from __future__ import annotations

import tracemalloc

import pytest
import trio
import trio.testing

from daemon.wire import link
from daemon.wire.link import FRAMES_AT_ONCE, AgentLink, ServerLink
from daemon.wire.streams import LinkBroken, LinkStream
from protocol.credit import FIRST_WINDOW
from protocol.messages import RequestHead, ResponseHead
from protocol.version1 import AgentSession1
from tests.tunnel.hostile import frame, hello, message

GET = RequestHead(b"GET", b"/", [(b"host", b"x")], 0)
POST = RequestHead(b"POST", b"/", [(b"host", b"x")], 1000)
OK = ResponseHead(200, b"OK", [], None)


class Pair:
    """A server's and an agent's link. ``opened`` has the agent's streams."""

    def __init__(self, version: int = 2) -> None:
        self.opened: list[LinkStream] = []
        self.server = ServerLink(version, "server")
        self.agent = AgentLink(version, "agent", {}, lambda stream, head: self.opened.append(stream))

    async def carry(self) -> None:
        """Carry bytes until neither end has any."""
        moved = True
        while moved:
            moved = False
            for source, sink in ((self.server, self.agent), (self.agent, self.server)):
                while data := await _outgoing(source):
                    sink.feed(data)
                    moved = True

    async def open(self, head: RequestHead, data: bytes = b"") -> tuple[LinkStream, LinkStream]:
        """A stream, and its other end."""
        await self.carry()
        stream = self.server.open(head, data, end=head.body_length == len(data))
        await self.carry()
        return stream, self.opened[-1]


async def _outgoing(link: AgentLink | ServerLink) -> bytes:
    """What is there to be sent; empty if nothing is."""
    data = b""
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            nonlocal data
            data = await link.outgoing()
            nursery.cancel_scope.cancel()

        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return data


async def _all(pair: Pair, stream: LinkStream) -> bytes:
    """The whole body, read bit by bit."""
    body = b""
    with trio.fail_after(30):
        while not stream.drained:
            body += stream.receive_nowait()
            await pair.carry()
        return body


async def test_who_drains_sends_what_is_queued() -> None:
    """An agent that was told to stop must not drop what its last answers still have to send."""
    pair = Pair()
    stream, other = await pair.open(GET)
    body = bytes(FIRST_WINDOW) + b"the tail"
    pair.agent.answer(other, OK)
    other.send_end(body)
    other.close()  # its task has ended
    pair.agent.shut_down("it ends")
    await pair.carry()
    assert stream.held == FIRST_WINDOW  # and for the rest there is no credit
    assert not pair.agent.idle.is_set()
    await stream.receive_head()
    assert await _all(pair, stream) == body
    stream.close()
    await pair.carry()
    assert pair.agent.idle.is_set()


async def test_an_answer_before_the_whole_request_is_whole() -> None:
    pair = Pair()
    stream, other = await pair.open(POST, b"x")
    body = bytes(FIRST_WINDOW) + b"the tail"
    pair.agent.answer(other, OK)
    other.send_end(body)
    other.reset("enough", "nobody reads on")
    other.close()
    await pair.carry()
    await stream.receive_head()
    assert await _all(pair, stream) == body
    with pytest.raises(LinkBroken, match="nobody reads on"):
        await stream.send(b"x")
    stream.close()
    await pair.carry()
    assert not pair.server.session.streams  # type: ignore[union-attr]
    assert not pair.agent.session.streams  # type: ignore[union-attr]


async def test_a_planned_end_is_not_taken_for_a_broken_connection() -> None:
    for said in (True, False):
        pair = Pair()
        await pair.carry()
        pair.server.shut_down("it restarts")
        await pair.carry()
        if said:
            pair.server.end("shutdown", "it restarts")
            await pair.carry()
        else:
            pair.agent.lost("the connection broke")
        assert (pair.agent.failure.code, str(pair.agent.failure)) == ("shutdown", "it restarts")


async def test_the_end_is_heard_behind_much_else() -> None:
    """The last word is said whole, however much waits before it."""
    pair = Pair()
    await pair.carry()
    head = RequestHead(b"GET", b"/", [(b"x", b"y" * 30_000)], 0)
    for _ in range(20):
        pair.server.open(head, end=True)
    pair.server.end("removed", "it was deleted")
    await pair.carry()
    assert (pair.agent.failure.code, str(pair.agent.failure)) == ("removed", "it was deleted")
    assert pair.server.parted.is_set()
    assert pair.agent.parted.is_set()


async def test_each_end_breaks_every_stream() -> None:
    pair = Pair()
    stream, other = await pair.open(GET)
    told: list[str] = []
    other.on_failure = lambda: told.append("other")
    pair.agent.on_over = lambda: told.append("over")
    pair.server.end("timeout", "nothing came")
    with pytest.raises(LinkBroken, match="nothing came"):
        await stream.receive_head()
    await pair.carry()
    assert told == ["other", "over"]
    with pytest.raises(LinkBroken):
        other.send_end(b"late")


async def test_what_came_before_a_break_is_read_and_then_it_is_no_end() -> None:
    pair = Pair()
    stream, other = await pair.open(GET)
    pair.agent.answer(other, OK, b"some")
    await pair.carry()
    other.reset("broken", "the local server broke off")
    await pair.carry()
    await stream.receive_head()
    assert await stream.receive() == b"some"
    with pytest.raises(LinkBroken, match="broke off"):
        await stream.receive()


async def test_a_sender_waits_for_room_and_is_woken() -> None:
    pair = Pair()
    stream, other = await pair.open(GET)
    pair.agent.answer(other, OK)
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(100):
            await other.send(bytes(16_384))
            sent += 16_384
        other.send_end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert sent <= 200_000  # the queue, and what is a moment away from it
        await pair.carry()
        await trio.testing.wait_all_tasks_blocked()
        assert sent <= 300_000  # and a window
        await stream.receive_head()
        got = 0
        with trio.fail_after(30):
            while not stream.drained:
                got += len(stream.receive_nowait())
                await pair.carry()
        assert got == 1_638_400


async def test_version_1_ends_the_session_where_it_cannot_say_that_something_broke() -> None:
    for length, over in ((100, False), (None, True)):
        pair = Pair(1)
        stream, other = await pair.open(GET)
        assert isinstance(pair.agent.session, AgentSession1)
        pair.agent.answer(other, ResponseHead(200, b"", [], length), b"some")
        await pair.carry()
        other.reset("broken", "the local server broke off")
        await pair.carry()
        assert pair.agent.over.is_set() is over
        await stream.receive_head()
        assert await stream.receive() == b"some"
        with pytest.raises(LinkBroken):
            await stream.receive()


async def test_an_answer_that_was_given_up_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end had come already, behind what nobody read for too long."""
    monkeypatch.setattr(link, "HELD_V1", 1000)
    monkeypatch.setattr(link, "HELD_SECONDS_V1", 0.0)
    server = ServerLink(1, "server")
    stream = server.open(GET, end=True)
    answer = [
        message(b"a" * 1001, type="stream", id="1", status=200, headers={}, done=False),
        message(type="stream", id="1", done=True),
    ]
    server.feed(b"".join(frame(one, client=True) for one in answer))
    assert server.crowded
    await server.relieve()
    await stream.receive_head()
    assert not stream.drained
    with pytest.raises(LinkBroken, match="not read"):
        await stream.receive()


EMPTY_FRAGMENT = b"\x00\x80\0\0\0\0"


async def test_a_flood_of_small_frames_leaves_others_their_turn() -> None:
    server = ServerLink(2, "server")
    server.feed(frame(hello(), client=True))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    server.feed(b"\x02" + EMPTY_FRAGMENT[1:])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(2):  # during the session, and after its end
            turns = 0
            await server.receive(EMPTY_FRAGMENT * 10_000)
            assert turns >= 10_000 // FRAMES_AT_ONCE - 1
            server.end("removed", "it was deleted")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("fault", [b"\xff" * 8, frame(bytes(1 << 20), client=True), frame(b"", client=True)])
async def test_nothing_is_kept_of_what_comes_after_the_end(fault: bytes) -> None:
    """The connection lasts some seconds more, which are gigabytes on a fast network."""
    server = ServerLink(2, "server")
    server.feed(frame(hello(), client=True) + fault)
    assert server.over.is_set()
    pieces = [b"\x02" + EMPTY_FRAGMENT[1:] + EMPTY_FRAGMENT * 2000, frame(b"x" * 100, client=True, opcode=9) * 200]
    tracemalloc.start()
    for _ in range(100):
        for piece in pieces:
            server.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000


async def test_hints_are_bounded_where_nobody_reads_them() -> None:
    """A head of 80 KiB can be a megabyte of objects, and sixteen of them may come before the answer."""
    pair = Pair()
    stream, other = await pair.open(GET)
    hint = ResponseHead(103, b"", [(b"link", b"</a>")] * 500, 0)
    for _ in range(5):
        pair.agent.answer(other, hint)
    pair.agent.answer(other, OK, b"all", end=True)
    await pair.carry()
    heads = [await stream.receive_head() for _ in range(2)]
    assert [head.status for head in heads] == [103, 200]
    assert await stream.receive() == b"all"
