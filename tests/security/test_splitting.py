"""What a hostile sandbox says to the gateway: it cannot split an answer, nor speak where it was not asked, nor act on
what is not its own. On the real daemon; what each reader takes is tried in tests/gateway/test_upstream.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.security.raw import Raw, raw_sandbox, saying

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.strict import Message

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(120)]

SECOND: Final = b"HTTP/1.1 200 OK\r\nX-Forged: 1\r\nContent-Length: 6\r\n\r\nforged"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    """The daemon, and a sandbox that says anything."""
    with raw_sandbox(tmp_path_factory.mktemp("splitting")) as made:
        yield made


def with_header(line: bytes) -> bytes:
    """An answer with one more header line."""
    return b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\nok"


# What is no HTTP/1.1, or whose length is in doubt: nothing of it is passed on.
REFUSED: Final = {
    "CR in a value": with_header(b"X: a\rSet-Cookie: forged=1"),
    "CR at the end of a value": with_header(b"X: a\r"),
    "NUL in a value": with_header(b"X: a\0b"),
    "a vertical tab in a value": with_header(b"X: a\x0bb"),
    "NUL in a name": with_header(b"X\0: a"),
    "CR in the reason": OK.replace(b"OK", b"OK\rX-Forged: 1"),
    "NUL in the reason": OK.replace(b"OK", b"O\0K"),
    "a space before the colon": with_header(b"X-Forged : 1"),
    "a length and chunks": with_header(b"Transfer-Encoding: chunked"),
    "two lengths": with_header(b"Content-Length: 3"),
    "a signed length": OK.replace(b": 2", b": +2"),
    "a length in hexadecimal": OK.replace(b": 2", b": 0x2"),
    "chunks and identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunks twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding behind a vertical tab": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "status 000": OK.replace(b"200", b"000"),
    "status 99": OK.replace(b"200", b"99"),
    "status 600": OK.replace(b"200", b"600"),
    "status 999": OK.replace(b"200", b"999"),
    "status 2000": OK.replace(b"200", b"2000"),
    "a negative status": OK.replace(b"200", b"-20"),
    "another version": OK.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "a switch nobody asked for": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 40 + OK,
    "no HTTP at all": b"220 mail ESMTP\r\n\r\n",
}


async def asked(raw: Raw, request: bytes, method: bytes = b"GET") -> tuple[Message, Message]:
    """The answer to ``request``, and that to the next request, on the same connection if it lives."""
    async with raw.client() as client:
        await client.send(request)
        first = await client.response(method)
        if b"close" not in first.all("connection"):
            await client.send(raw.get("/next"))
            return first, await client.response()
    async with raw.client() as client:
        await client.send(raw.get("/next"))
        return first, await client.response()


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_in_doubt_is_a_502(raw: Raw, name: str) -> None:
    async with raw.client() as client:
        await client.send(raw.get(saying(REFUSED[name] + SECOND)))
        answers = [0]
        while answers[-1] < 200:
            head = await client.head()
            answers.append(int(head[9:12]))
            assert b"forged" not in head.lower()
        assert answers[-1] == 502
    _, after = await asked(raw, raw.get("/"))
    assert (after.status, after.body) == (200, b"ok")


# Odd, and yet one answer: the head is written anew, and what goes beyond the answer is dropped.
ONE_ANSWER: Final = {
    "LF for CR LF": b"HTTP/1.1 200 OK\nX: a\nContent-Length: 2\n\nok",
    "a folded value": with_header(b"X: a\r\n Set-Cookie: forged=1"),
    "control characters in a value": with_header(b"X: a\x01\x1b\x7fb"),
    "control characters at the end": with_header(b"X: a\x01"),
    "a body that is longer": OK,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nSet-Cookie: forged=1\r\n\r\n",
    "the same length twice": with_header(b"Content-Length: 2"),
}


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("name", ONE_ANSWER)
async def test_an_odd_answer_is_one_answer(raw: Raw, name: str, close: bool) -> None:
    first, after = await asked(raw, raw.get(saying(ONE_ANSWER[name] + SECOND, close=close)))
    assert (first.status, first.body) == (200, b"ok")
    assert first.all("set-cookie") == first.all("x-forged") == []
    assert (after.status, after.body, after.all("x-forged")) == (200, b"ok", [])


@pytest.mark.parametrize(
    ("method", "status", "late"),
    [
        (b"HEAD", b"200 OK", True),
        (b"HEAD", b"200 OK", False),
        (b"GET", b"204 No Content", False),
        (b"GET", b"304 Not Modified", False),
        (b"GET", b"200 OK", False),
    ],
)
async def test_an_answer_nobody_asked_for_reaches_nobody(raw: Raw, method: bytes, status: bytes, late: bool) -> None:
    """Where an answer has no body, a body of it would be the answer to the next request of whoever comes next.

    What a sandbox says when it has been asked again is its answer to that, whatever it says; it has nobody else's
    connections. What lies there before: tests/gateway/test_upstream.py.
    """
    said = b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % (0 if method == b"GET" else len(SECOND))
    target = saying(said, late=SECOND) if late else saying(said + SECOND)
    request = raw.get(target).replace(b"GET", method, 1)
    for _ in range(3):
        first, after = await asked(raw, request, method)
        assert (first.first, first.body) == (status[:3], b"")
        assert (after.status, after.body, after.all("x-forged")) == (200, b"ok", [])


# What acts on the browser beyond this answer and this very host. Name, value, whether it passes.
ACTS: Final = [
    ("Set-Cookie", "mine=1; Path=/", True),
    ("Set-Cookie", "cli_server_sandbox=forged", False),
    ("Set-Cookie", "cli_server_session=forged; Path=/", False),
    ("Set-Cookie", "CLI_SERVER_SESSION=forged", False),
    ("Set-Cookie", "cli_server_session = forged", False),
    ("Set-Cookie", "\tcli_server_session\t=forged", False),
    ("Set-Cookie", "cli_server_session", False),
    ("Set-Cookie", "=cli_server_session=forged", False),
    ("Set-Cookie", " = cli_server_session=forged", False),
    ("Set-Cookie", "__Host-cli_server_sandbox=forged; Secure; Path=/", False),
    ("Set-Cookie", "__Secure-cli_server_session=forged; Secure", False),
    ("Set-Cookie", "__host-cli_server_session=forged; Secure; Path=/", False),
    ("Set-Cookie", "__Host-__Secure-cli_server_session=forged; Secure; Path=/", False),
    ("Set-Cookie", "cli_server_device=forged", False),
    ("Set-Cookie", "tossed=1; Domain=sandboxes.test", False),
    ("Set-Cookie", "tossed=1; domain = .sandboxes.test", False),
    ("Set-Cookie", "tossed=1;\tDOMAIN=sandboxes.test; Path=/api", False),
    ("Set-Cookie", "tossed=1; Domain", False),
    ("Set-Cookie", "tossed=1; Domain=", False),
    ("Set-Cookie2", "cli_server_session=forged; Version=1", False),
    ("Clear-Site-Data", '"cookies"', False),
    ("clear-site-data", '"*"', False),
    ("Strict-Transport-Security", "max-age=0", False),
    ("Strict-Transport-Security", "max-age=99999999; includeSubDomains", False),
    ("Alt-Svc", 'h3="evil.example:443"; ma=99999999; persist=1', False),
    ("NEL", '{"report_to":"x","max_age":99999999,"success_fraction":1}', False),
    ("Report-To", '{"group":"x","max_age":99999999,"endpoints":[{"url":"https://evil.example"}]}', False),
    # A page of the sandbox can do the same by its own script, to itself.
    ("Service-Worker-Allowed", "/", True),
    ("Refresh", "0; url=https://evil.example/", True),
    ("Link", "<https://evil.example/>; rel=preconnect", True),
    ("Location", "https://evil.example/", True),
    ("Content-Security-Policy", "default-src *", True),
    ("WWW-Authenticate", 'Basic realm="what is typed never reaches the sandbox"', True),
    # Of one hop.
    ("Proxy-Authenticate", "Basic", False),
    ("Keep-Alive", "timeout=99999", False),
    ("Trailer", "Set-Cookie", False),
]


@pytest.mark.parametrize("early", [False, True], ids=["final", "interim"])
@pytest.mark.parametrize(("name", "value", "passes"), ACTS)
async def test_what_a_sandbox_may_say_to_a_browser(raw: Raw, name: str, value: str, passes: bool, early: bool) -> None:
    line = f"{name}: {value}\r\n".encode()
    said = b"HTTP/1.1 103 Early Hints\r\n" + line + b"\r\n" + OK if early else with_header(line[:-2])
    async with raw.client() as client:
        await client.send(raw.get(saying(said)))
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 103" if early else b"HTTP/1.1 200")
    there = f"\r\n{name.lower()}:".encode() in head.lower()
    assert there == (passes and not (early and name == "Set-Cookie"))


async def test_a_password_that_a_sandbox_asks_for_does_not_reach_it(raw: Raw) -> None:
    """By WWW-Authenticate a browser asks for a name and a password, and it looks as if the server did."""
    async with raw.client() as client:
        await client.send(raw.get("/typed", "Authorization: Basic YWRhOnNlY3JldA==", "Proxy-Authorization: Basic eA=="))
        assert (await client.response()).status == 200
    (seen,) = [one for one in raw.seen() if one["target"] == "/typed"]
    assert "YWRhOnNlY3JldA" not in seen["head"]
    assert "proxy-authorization" not in seen["head"].lower()
    assert seen["head"].lower().count("authorization:") == 1, "opencode's own"
