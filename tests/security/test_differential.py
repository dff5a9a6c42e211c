"""We against llhttp (``httptools``): what we take, it reads as we do; what we write, it reads as it was meant.

Two readers of one byte stream that see different messages in it are how requests are smuggled. The input is made of
valid messages and of accidents to them, by Hypothesis; ``NASTY`` in tests/gateway/strategies.py has what readers
stumble over."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daemon.gateway.reading import BadRequest, RequestReader
from protocol.headers import end_to_end, request_headers
from tests.gateway import hostile
from tests.gateway.harness import gateway
from tests.gateway.strategies import FIELD, INPUT, NASTY, Valid, valid
from tests.security.llhttp import Parsed, Requests, Responses

if TYPE_CHECKING:
    from tests.gateway.peer import Peer
    from tests.security.llhttp import Pairs

# llhttp knows methods by name only; the others cannot be compared.
METHODS: Final = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"}
FRAMING: Final = {b"content-length", b"transfer-encoding", b"connection"}
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@dataclass
class Taken:
    """A request that our reader took whole."""

    method: bytes
    target: bytes
    headers: Pairs
    body: bytes


def ours(data: bytes) -> list[Taken]:
    """What our reader takes of these bytes, up to where a connection would end."""
    reader, found = RequestReader(), []
    reader.feed(data)
    try:
        while (head := reader.next_head()) is not None:
            body = b""
            while piece := reader.next_body():
                body += piece
            if not reader.body_done:
                break
            found.append(Taken(head.method, head.target, head.headers, body))
            if not head.keep_alive or head.upgrade is not None or head.method not in METHODS:
                break
    except BadRequest:
        pass
    return found


def theirs(data: bytes) -> tuple[list[Parsed], bool]:
    """What llhttp takes of them, and whether it goes on reading behind that."""
    reader = Requests()
    reading = reader.feed(data)
    return [message for message in reader.messages if message.whole], reading


def shown(headers: Pairs) -> Pairs:
    """Headers as they are compared: without what says nothing, and the coding's name in the case that h11 gives it."""
    kept = [pair for pair in headers if pair != (b"connection", b"keep-alive")]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in kept]


def target_of(parsed: Parsed) -> bytes:
    """In origin form."""
    target = parsed.target
    if target[:8].lower().startswith((b"http://", b"https://")):
        path = target.partition(b"://")[2]
        cut = min((place for place in (path.find(b"/"), path.find(b"?")) if place >= 0), default=len(path))
        target = path[cut:] if path[cut : cut + 1] == b"/" else b"/" + path[cut:]
    return target


def agree(data: bytes) -> int:
    """How many requests both take; they must be the same ones.

    What we take llhttp may refuse: a tab behind ``chunked``, or a length among the trailers. It must not wait for more,
    though, for then it sees another end than we.
    """
    taken = [one for one in ours(data) if one.method in METHODS]
    parsed, reading = theirs(data)
    assert len(parsed) >= len(taken) or not reading, f"we take {taken[len(parsed) :]}, and llhttp waits for more"
    for we, they in zip(taken, parsed, strict=False):
        assert (we.method, we.target) == (they.first, target_of(they))
        # llhttp leaves what follows an upgrade to the other protocol, a body too. We ignore one that has a body, as RFC
        # 9110, section 7.8, allows: whoever asked for it is the only one who is on this connection.
        assert we.body == they.body or they.upgrade
        assert shown(we.headers) == shown(they.headers)
    return min(len(taken), len(parsed))


@given(INPUT)
@settings(FUZZ, max_examples=1500)
def test_what_we_take_llhttp_reads_alike(data: bytes) -> None:
    agree(data)


@given(st.lists(valid(), min_size=1, max_size=3))
@settings(FUZZ, max_examples=150)
def test_valid_requests_are_taken_by_both(requests: list[Valid]) -> None:
    """Else the test above might compare nothing."""
    known = [one for one in requests if one.method in METHODS and b"\r\nHost: evil\r\n" not in one.data]
    assert agree(b"".join(one.data for one in known)) == len(known)


def test_the_table_of_hostile_input() -> None:
    counted = {}
    for case in hostile.CASES:
        try:
            counted[case.name] = agree(case.data + hostile.HIDDEN)
        except AssertionError as error:
            raise AssertionError(f"{case.name}: {error}") from error
    assert sum(counted.values()) > 50


# Forwarded


async def origin(peer: Peer, reader: Requests) -> None:
    """An upstream that reads by llhttp; each whole request is answered."""
    answered = 0
    with contextlib.suppress(OSError):
        while data := await peer.socket.recv(65536):
            if not reader.feed(data):
                break
            while sum(message.whole for message in reader.messages) > answered:
                answered += 1
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    peer.close()


async def forwarded(data: bytes) -> list[Parsed]:
    """What an upstream reads of what the gateway makes of these bytes."""
    readers: list[Requests] = []
    async with gateway() as gate, trio.open_nursery() as nursery:

        async def accept() -> None:
            while True:
                reader = Requests()
                peer = await gate.accept()
                readers.append(reader)
                nursery.start_soon(origin, peer, reader)

        nursery.start_soon(accept)
        client = await gate.client()
        with contextlib.suppress(OSError):
            await client.send(data)
            client.send_eof()
        await client.ending()
        client.close()
        nursery.cancel_scope.cancel()
    return [message for reader in readers for message in reader.messages]


@given(st.lists(valid().filter(lambda one: one.method in METHODS), min_size=1, max_size=3), INPUT)
@settings(FUZZ, max_examples=80)
@example([], b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
@example([], b"ET / HTTP/1.1\r\nHost: x\r\n\r\n" + 2 * b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
def test_what_we_forward_llhttp_reads_as_it_was_meant(requests: list[Valid], behind: bytes) -> None:
    data = b"".join(one.data for one in requests) + behind
    taken = ours(data)
    received = trio.run(forwarded, data)
    if all(one.method in METHODS for one in taken):  # behind another one it goes on, and ours() does not
        assert len(received) <= len(taken) + 1, "one more may have begun, and broken off"
    whole = [one for one in received if one.whole]
    comparable = [one for one in taken if one.method in METHODS]
    for we, they in zip(comparable, whole, strict=False):
        assert (we.method, we.target, we.body) == (they.first, they.target, they.body)
        expected = request_headers(we.headers)
        assert expected == [pair for pair in they.headers if pair[0] not in (*FRAMING, b"upgrade")]
    assert len(whole) >= len(comparable)


# Answers

REASON = st.sampled_from([b"OK", b"", b"Not Found", b"\xc3\xa9t\xc3\xa9", b"O\tK"])
STATUS = st.sampled_from(
    [b"200", b"200", b"204", b"304", b"404", b"500", b"299", b"599", b"600", b"100", b"103", b"99"]
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer with a body by length, by chunks, or until the end; and perhaps an accident."""
    fields = [name + b": " + value for name, value in draw(st.lists(FIELD, max_size=4))]
    body = draw(st.binary(max_size=40))
    kind = draw(st.sampled_from(["length", "chunked", "end"]))
    if kind == "length":
        fields.append(b"Content-Length: %d" % len(body))
    elif kind == "chunked":
        fields.append(b"Transfer-Encoding: chunked")
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    first = b"HTTP/%b %b %b" % (version, draw(STATUS), draw(REASON))
    data = bytearray(b"\r\n".join([first, *draw(st.permutations(fields))]) + b"\r\n\r\n" + body)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(data)))
        data[place:place] = draw(st.sampled_from(NASTY) | st.binary(max_size=3))
    return bytes(data) + draw(
        st.sampled_from([b"", b"", b"HTTP/1.1 200 OK\r\nX-Forged: 1\r\nContent-Length: 0\r\n\r\n"])
    )


async def relayed(said: bytes) -> tuple[bytes, bool]:
    """What a client gets if the upstream says this and closes; and whether it was cut, and may have lost some."""
    async with gateway() as gate:
        client, upstream = await gate.conversation(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(OSError):
            await upstream.send(said)
        upstream.close()
        received = b""
        try:
            while data := await client.socket.recv(65536):
                received += data
        except OSError:
            return received, True
        return received, False


@given(answers())
@settings(FUZZ, max_examples=250)
@example(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")
@example(b"HTTP/1.1 200 OK\r\nX: a\x01\r\nContent-Length: 2\r\n\r\nok")
@example(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok")
def test_what_clients_get_llhttp_reads_as_one_answer(said: bytes) -> None:
    received, cut = trio.run(relayed, said)
    client = Responses()
    assert client.feed(received) or client.messages[-1].whole, received
    final = [message for message in client.messages if int(message.first or b"0") >= 200]
    if cut:
        assert not any(message.whole for message in final), "what was cut does not look whole"
        return
    assert len(final) == 1, "one question, one answer"
    (answer,) = final
    if answer.first == b"502":
        return
    upstream = Responses()
    upstream.feed(said)
    meant = [one for one in upstream.messages if one.first and int(one.first) >= 200]
    if not meant:
        return  # llhttp does not take it; we made an answer of it that it takes
    assert answer.first == meant[0].first
    assert answer.body == meant[0].body[: len(answer.body)]
    assert not answer.whole or not meant[0].whole or answer.body == meant[0].body
    expected = [pair for pair in end_to_end(meant[0].headers) if pair[0] not in FRAMING]
    assert expected == [pair for pair in answer.headers if pair[0] not in FRAMING]
