"""Requests smuggled through the real daemon: the table of hostile input (tests/gateway/hostile.py), to a sandbox that
remembers what came, and to the API. Behind each row stands one more request, which must not be carried out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import pytest

from daemon.wire.limits import MAX_HEAD
from tests.gateway.hostile import GROUPS, HIDDEN, MIXED, TAKEN
from tests.security.raw import Raw, raw_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.hostile import Case
    from tests.gateway.strict import Message

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(120)]

HOST: Final = b"Host: x\r\n"
# Where it is in doubt how long a request is, or whose. What follows is then nobody's request.
DOUBTFUL: Final = ("length", "length and coding", "coding", "coding's line", "chunks", "lines", "request line", "host")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    """The daemon, and a sandbox that remembers."""
    with raw_sandbox(tmp_path_factory.mktemp("smuggling")) as made:
        yield made


async def answers(raw: Raw, data: bytes, *, eof: bool) -> list[Message]:
    """All answers until the daemon closes. It may do so before it has got everything."""
    async with raw.client() as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await client.send(data)
            if eof:
                client.send_eof()
        return await client.responses()


def addressed(data: bytes, lines: bytes) -> bytes:
    """A row of the table for one of our hosts."""
    return data.replace(HOST, lines)


@pytest.mark.parametrize("where", ["sandbox", "main"])
async def test_nothing_follows_a_request_in_doubt(raw: Raw, where: str) -> None:
    lines = raw.lines() if where == "sandbox" else raw.main_lines()
    wrong: dict[str, object] = {}
    rows = [(group, case) for group in DOUBTFUL for case in GROUPS[group]]
    assert len(rows) > 200
    for group, case in rows:
        said = await answers(raw, addressed(case.data + HIDDEN, lines), eof=False)
        if [one.status for one in said] != list(case.statuses) or said[-1].only("connection") != b"close":
            wrong[f"{group}: {case.name}"] = [(one.first, one.headers) for one in said]
    assert wrong == {}
    assert raw.seen() == [], "nothing of it reached the sandbox"


async def test_what_is_taken_is_taken_as_it_was_meant(raw: Raw) -> None:
    """Odd, but right: the sandbox gets just this request, and then the next one as a request of its own."""
    wrong: dict[str, object] = {}
    rows: dict[str, tuple[bytes, tuple[bytes, bytes, bytes]]] = TAKEN
    for name, (data, meant) in rows.items():
        if (
            data.count(HOST) != 1
            or b"://x" in data.lower()
            or b"OPTIONS *" in data
            or len(data) > MAX_HEAD // 2
            or data.count(b"\r\n") > 50
        ):
            continue  # what names the host elsewhere, too; the gateway's own answer; no room for a real host
        said = await answers(raw, addressed(data + HIDDEN, raw.lines()), eof=True)
        seen = [(one["method"], one["target"], one["body"]) for one in raw.seen()]
        once = b"HTTP/1.0" in data
        expected = [tuple(part.decode("latin-1") for part in meant), ("GET", "/hidden", "")]
        if seen != expected[: 1 if once else 2] or {one.status for one in said} != {200}:
            wrong[name] = ([one.status for one in said], seen)
    assert wrong == {}


@pytest.mark.parametrize("case", MIXED, ids=[case.name for case in MIXED])
async def test_good_and_bad_on_one_connection(raw: Raw, case: Case) -> None:
    raw.seen()
    inside = HIDDEN in case.seen[0][2] if case.seen else False  # what is hidden in a body stays as it is
    data = case.data.replace(HOST, raw.lines(), 1) if inside else addressed(case.data, raw.lines())
    said = await answers(raw, data, eof=case.eof)
    assert [one.status for one in said] == list(case.statuses)
    seen = [(one["method"].encode(), one["target"].encode(), one["body"].encode("latin-1")) for one in raw.seen()]
    assert seen == list(case.seen)


async def test_an_upgrade_to_http2_is_not_taken_and_not_passed_on(raw: Raw) -> None:
    """Whoever speaks h2c behind us would carry requests past every check."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    head = raw.get("/h2", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    said = await answers(raw, head + preface, eof=False)
    assert [one.status for one in said] == [200, 505]
    (seen,) = raw.seen()
    assert "http2-settings" not in seen["head"].lower()


async def test_one_connection_two_hosts_two_decisions(raw: Raw) -> None:
    """The host of each request decides: what one may do on one host is nothing on another."""
    stranger = raw.lines().partition(b"\r\n")[0] + b"\r\n"
    mine, theirs, nobodys = (
        raw.get("/mine"),
        b"GET /theirs HTTP/1.1\r\n" + stranger,
        b"GET / HTTP/1.1\r\nHost: evil\r\n",
    )
    said = await answers(raw, mine + theirs + b"\r\n" + nobodys + b"\r\n", eof=True)
    assert [one.status for one in said] == [200, 401, 421]
    assert [one["target"] for one in raw.seen()] == ["/mine"]
