"""The WebSocket under the tunnel, against bytes written by hand from RFC 6455 and against an end that does more."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from protocol.errors import RemoteProtocolError
from protocol.session import FLOOD
from protocol.websocket import BROKE_RULE, NORMAL, TOO_LARGE, Closed, Received, WebSocket, accept_token, is_key
from tests.protocol.refusing import refused

MOST = 1000
FIN, CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x80, 0, 1, 2, 8, 9, 10


def frame(first: int, payload: bytes = b"", *, mask: bytes | None = b"\1\2\3\4", size: int | None = None) -> bytes:
    """A frame as RFC 6455, section 5.2 has it; masked as a client's, unless ``mask`` is None."""
    length = len(payload) if size is None else size
    bit = 0 if mask is None else 0x80
    if length < 126:
        head = bytes([first, bit | length])
    elif length < 65_536:
        head = bytes([first, bit | 126]) + struct.pack("!H", length)
    else:
        head = bytes([first, bit | 127]) + struct.pack("!Q", length)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def server() -> WebSocket:
    return WebSocket(client=False, most=MOST)


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(FIN | CLOSE, struct.pack("!H", code) + reason)


# What comes: (name, bytes, what it means, how many frames are owed for it)
SAMPLES: list[tuple[str, bytes, list[Received], int]] = [
    ("whole", frame(FIN | BINARY, b"abc"), [b"abc"], 0),
    ("empty", frame(FIN | BINARY), [b""], 0),
    ("length in two bytes", frame(FIN | BINARY, b"a" * 126), [b"a" * 126], 0),
    ("the largest", frame(FIN | BINARY, b"a" * MOST), [b"a" * MOST], 0),
    ("text", frame(FIN | TEXT, "é😀".encode()), ["é😀"], 0),
    ("text, cut in a character", frame(TEXT, "é".encode()[:1]) + frame(FIN, "é".encode()[1:]), ["é"], 0),
    ("fragments", frame(BINARY, b"ab") + frame(CONTINUATION, b"cd") + frame(FIN, b"ef"), [b"abcdef"], 0),
    ("empty fragments", frame(BINARY) + frame(CONTINUATION) * 5 + frame(FIN, b"a"), [b"a"], 0),
    ("nothing but empty fragments", frame(BINARY) + frame(CONTINUATION) + frame(FIN), [b""], 0),
    ("several", frame(FIN | BINARY, b"a") + frame(FIN | BINARY, b"b") + frame(FIN | TEXT, b"c"), [b"a", b"b", "c"], 0),
    ("ping", frame(FIN | PING, b"x"), [], 1),
    ("pong", frame(FIN | PONG, b"x"), [], 0),
    ("ping between fragments", frame(BINARY, b"ab") + frame(FIN | PING, b"x") + frame(FIN, b"cd"), [b"abcd"], 1),
    ("close", closing(1000, "tschüß".encode()), [Closed(1000, "tschüß")], 1),
    ("close without a code", frame(FIN | CLOSE), [Closed(1005, "")], 1),
    ("close with a code of its own", closing(4999), [Closed(4999, "")], 1),
    ("message and close", frame(FIN | BINARY, b"a") + closing(1001), [b"a", Closed(1001, "")], 1),
    ("close and more", closing(1001) + frame(FIN | BINARY, b"a") + b"\xff\xff", [Closed(1001, "")], 1),
    ("other mask", frame(FIN | BINARY, b"abcdefg", mask=b"\xff\0\x80\x7f"), [b"abcdefg"], 0),
]
# What is no WebSocket, or too large
FAULTS: list[tuple[str, bytes, str]] = [
    ("not masked", frame(FIN | BINARY, b"abc", mask=None), "malformed"),
    ("reserved bit", frame(FIN | 0x40 | BINARY, b"abc"), "malformed"),
    ("reserved opcode", frame(FIN | 3, b"abc"), "malformed"),
    ("reserved control opcode", frame(FIN | 11, b"abc"), "malformed"),
    ("continues nothing", frame(FIN | CONTINUATION, b"abc"), "malformed"),
    ("begins in another", frame(BINARY, b"abc") + frame(FIN | BINARY, b"d"), "malformed"),
    ("text in binary", frame(BINARY, b"abc") + frame(FIN | TEXT, b"d"), "malformed"),
    ("ping in fragments", frame(PING, b"abc"), "malformed"),
    ("ping that is too large", frame(FIN | PING, b"a" * 126), "malformed"),
    ("length longer than it need be", bytes([FIN | BINARY, 0x80 | 126, 0, 5]), "malformed"),
    ("length of 2^63", bytes([FIN | BINARY, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), "malformed"),
    ("text that is none", frame(FIN | TEXT, b"\xff"), "malformed"),
    ("text with half a character", frame(FIN | TEXT, "é".encode()[:1]), "malformed"),
    ("close with half a code", frame(FIN | CLOSE, b"\x03"), "malformed"),
    ("close with no code", closing(999), "malformed"),
    ("close with a code that is not sent", closing(1005), "malformed"),
    ("close with a reason that is no text", closing(1000, b"\xff"), "malformed"),
    ("too large", frame(FIN | BINARY, b"a" * (MOST + 1)), "too_large"),
    ("too large in pieces", frame(BINARY, b"a" * MOST) + frame(FIN, b"a"), "too_large"),
    ("too large text", frame(FIN | TEXT, b"a" * (MOST + 1)), "too_large"),
    ("too large, and never there", frame(FIN | BINARY, b"a" * (MOST + 1), size=1 << 40), "too_large"),
]
IDS = [sample[0] for sample in SAMPLES]


def fed(socket: WebSocket, *pieces: bytes) -> list[Received]:
    return [received for piece in pieces for received in socket.feed(piece)]


def single(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


@pytest.mark.parametrize(("name", "data", "means", "owed"), SAMPLES, ids=IDS)
def test_samples(name: str, data: bytes, means: list[Received], owed: int) -> None:
    """Whole, byte by byte, and with something behind."""
    for pieces in ([data], single(data)):
        socket = server()
        assert fed(socket, *pieces) == means
        assert len(socket.owed) == owed
    trailing: list[Received] = [] if "close" in name else [b"next"]
    assert fed(server(), data + frame(FIN | BINARY, b"next")) == means + trailing
    socket = server()
    assert fed(socket, data + frame(FIN | BINARY, b"next")[:-1]) == means
    assert fed(socket, frame(FIN | BINARY, b"next")[-1:]) == trailing


@pytest.mark.parametrize(("name", "data", "code"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_faults(name: str, data: bytes, code: str) -> None:
    """Lesson: the peer's fault is never taken for its farewell."""
    refused(code, fed, server(), data)
    refused(code, fed, server(), *single(data))
    refused(code, fed, server(), frame(FIN | BINARY, b"before") + data)


def test_a_client_takes_no_masked_frames() -> None:
    client = WebSocket(client=True, most=MOST)
    assert client.feed(frame(FIN | BINARY, b"abc", mask=None)) == [b"abc"]
    refused("malformed", client.feed, frame(FIN | BINARY, b"abc"))


@pytest.mark.parametrize("client", [True, False])
@given(
    data=st.lists(st.binary(max_size=300) | st.text(max_size=80), max_size=6),
    cuts=st.lists(st.integers(1, 40), max_size=50),
)
def test_two_ends(client: bool, data: list[bytes | str], cuts: list[int]) -> None:
    here, there = WebSocket(client=client, most=MOST), WebSocket(client=not client, most=MOST)
    wire = b"".join(here.message(one) if isinstance(one, bytes) else here.text(one) for one in data)
    came: list[Received] = []
    for cut in cuts:
        came += there.feed(wire[:cut])
        wire = wire[cut:]
    assert came + there.feed(wire) == data


def other_end(client: bool) -> Connection:
    """wsproto as an owner of its own would use it: with fragments, and with pings that say something."""
    return Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)


@pytest.mark.parametrize("client", [True, False])
def test_a_peer_that_does_more_than_we(client: bool) -> None:
    ours, peer = WebSocket(client=client, most=MOST), other_end(not client)
    peer.receive_data(ours.message(b"abc") + ours.text("déf") + ours.ping())
    events: list[Any] = list(peer.events())
    assert [type(event) for event in events] == [BytesMessage, TextMessage, Ping]
    assert (bytes(events[0].data), events[1].data) == (b"abc", "déf")
    assert ours.feed(peer.send(events[2].response())) == []
    fragments = peer.send(BytesMessage(b"ab", message_finished=False)) + peer.send(Ping(b"p"))
    assert ours.feed(fragments + peer.send(BytesMessage(b"cd"))) == [b"abcd"]
    peer.receive_data(b"".join(ours.owed))
    assert list(peer.events()) == [Pong(b"p")]


@pytest.mark.parametrize("client", [True, False])
def test_we_close(client: bool) -> None:
    ours, peer = WebSocket(client=client, most=MOST), other_end(not client)
    assert ours.open
    peer.receive_data(ours.close(BROKE_RULE, "malformed: because"))
    assert not ours.open
    (event,) = peer.events()
    assert event == CloseConnection(BROKE_RULE, "malformed: because")
    assert ours.close(NORMAL, "again") == b""
    assert ours.feed(peer.send(CloseConnection(BROKE_RULE, ""))) == [Closed(BROKE_RULE, "")]
    assert ours.feed(b"more") == []
    assert ours.owed == []


def test_what_comes_between_our_close_and_the_others() -> None:
    """A ping cannot be answered any more; that is nobody's fault."""
    ours = server()
    ours.close(TOO_LARGE, "")
    assert ours.feed(frame(FIN | PING, b"x") + frame(FIN | BINARY, b"late") + closing(1000)) == [
        b"late",
        Closed(1000, ""),
    ]
    assert ours.owed == []
    another = server()
    another.close(NORMAL, "")
    refused("malformed", another.feed, frame(FIN | 3))


@pytest.mark.parametrize("client", [True, False])
def test_the_other_closes(client: bool) -> None:
    ours, peer = WebSocket(client=client, most=MOST), other_end(not client)
    assert ours.feed(peer.send(CloseConnection(1001, "bye"))) == [Closed(1001, "bye")]
    peer.receive_data(b"".join(ours.owed))
    assert [type(event) for event in peer.events()] == [CloseConnection]
    assert not ours.open
    assert ours.feed(b"more") == []


@pytest.mark.parametrize("reason", ["", "a" * 123, "a" * 122 + "é", "é" * 200, "\ud800" * 50, "😀" * 100])
def test_reasons_are_cut_to_what_fits(reason: str) -> None:
    (closed,) = WebSocket(client=True, most=MOST).feed(server().close(NORMAL, reason))
    assert isinstance(closed, Closed)
    assert reason.replace("\ud800", "?").startswith(closed.reason)
    assert len(reason.encode("utf-8", "replace")) - len(closed.reason.encode()) < 4 or len(closed.reason.encode()) > 119


def test_answers_to_pings_are_bounded() -> None:
    ours = server()
    ours.feed(frame(FIN | PING) * FLOOD)
    assert len(ours.owed) == FLOOD
    refused("flood", ours.feed, frame(FIN | PING))


def test_empty_fragments_take_no_memory() -> None:
    ours = server()
    ours.feed(frame(BINARY))
    for _ in range(100):
        ours.feed(frame(CONTINUATION) * 100)
    assert ours._parts == []


@pytest.mark.parametrize("client", [True, False])
@given(data=st.binary(max_size=200), before=st.sampled_from([sample[1] for sample in SAMPLES]), cut=st.integers(0, 50))
def test_any_bytes(client: bool, data: bytes, before: bytes, cut: int) -> None:
    """Messages, or the one exception; and it says so again."""
    ours = WebSocket(client=client, most=MOST)
    for piece in (before[:cut], data, before[cut:]):
        try:
            ours.feed(piece)
        except RemoteProtocolError:
            break


def test_the_key_of_the_rfc() -> None:
    assert accept_token(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        (b"dGhlIHNhbXBsZSBub25jZQ==", True),
        (b"", False),
        (b"dGhlIHNhbXBsZSBub25jZQ", False),
        (b"dGhlIHNhbXBsZSBub25jZTE=", False),
        (b"dGhlIHNhbXBsZSBub25j\nZQ==", False),
        (b"\xff" * 24, False),
    ],
)
def test_keys(value: bytes, is_one: bool) -> None:
    assert is_key(value) is is_one
