"""Header hygiene: tables, and that it only ever takes away, and takes nothing more the second time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.headers import (
    FORWARDED,
    HOP_BY_HOP,
    Headers,
    end_to_end,
    request_headers,
    tokens,
    without_cookies,
    without_query_parameter,
)

NAME = st.sampled_from(sorted(HOP_BY_HOP | FORWARDED | {b"host", b"cookie", b"set-cookie", b"x-a", b"x-b", b"accept"}))
VALUE = st.sampled_from(
    [b"", b"a", b"close", b"x-a", b"X-A, x-b", b"host", b"cookie , ,accept", b"connection", b"\xff"]
)
HEADERS = st.lists(st.tuples(NAME, VALUE), max_size=12)
DROP = st.frozensets(NAME, max_size=3)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], set()),
        ([b""], set()),
        ([b"close"], {b"close"}),
        ([b"Keep-Alive, UPGRADE"], {b"keep-alive", b"upgrade"}),
        ([b" a ,\tb\t", b"c"], {b"a", b"b", b"c"}),
        ([b",,a,,"], {b"a"}),
        ([b"a,a", b"A"], {b"a"}),
    ],
)
def test_tokens(values: list[bytes], found: set[bytes]) -> None:
    assert tokens(values) == found


def pairs(*names: bytes) -> Headers:
    return [(name, b"1") for name in names]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_headers_are_dropped(name: bytes) -> None:
    """Lesson: hop-by-hop headers were forwarded."""
    assert end_to_end([(b"x-a", b"1"), (name, b"x"), (b"x-b", b"2")]) == [(b"x-a", b"1"), (b"x-b", b"2")]


@pytest.mark.parametrize("name", sorted(FORWARDED))
def test_claims_about_the_way_are_dropped_from_requests(name: bytes) -> None:
    assert request_headers([(name, b"x"), *pairs(b"x-a")]) == pairs(b"x-a")
    assert end_to_end([(name, b"x")]) == [(name, b"x")]


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ([], []),
        (pairs(b"set-cookie", b"set-cookie"), pairs(b"set-cookie", b"set-cookie")),
        ([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]),
        ([(b"connection", b"x-a"), *pairs(b"x-a", b"x-b")], pairs(b"x-b")),
        ([*pairs(b"x-a"), (b"connection", b"X-A")], []),
        ([(b"connection", b"close"), (b"connection", b"x-a"), *pairs(b"x-a", b"x-a")], []),
        ([(b"connection", b"host, x-a"), *pairs(b"host", b"x-a")], pairs(b"host")),
        ([(b"connection", b"close"), *pairs(b"close", b"x-a")], pairs(b"x-a")),
        ([(b"connection", b""), *pairs(b"x-a")], pairs(b"x-a")),
    ],
)
def test_end_to_end(headers: Headers, kept: Headers) -> None:
    assert end_to_end(headers) == kept
    assert request_headers(headers) == kept


def test_more_can_be_dropped() -> None:
    headers = pairs(b"authorization", b"x-a", b"via")
    assert end_to_end(headers, frozenset({b"authorization"})) == pairs(b"x-a", b"via")
    assert request_headers(headers, frozenset({b"authorization"})) == pairs(b"x-a")


@given(HEADERS, DROP)
def test_nothing_is_added_nothing_changes_order_and_once_is_enough(headers: Headers, drop: frozenset[bytes]) -> None:
    for clean in (end_to_end, request_headers):
        before = list(headers)
        kept = clean(headers, drop)
        assert headers == before
        remaining = iter(headers)
        assert all(pair in remaining for pair in kept)  # a subsequence
        assert clean(kept, drop) == kept
        assert not {name for name, _ in kept} & (HOP_BY_HOP | drop)


@given(HEADERS)
def test_what_need_not_go_stays(headers: Headers) -> None:
    named = tokens(value for name, value in headers if name == b"connection") - {b"host"}
    expected = [pair for pair in headers if pair[0] not in HOP_BY_HOP and pair[0] not in named]
    assert end_to_end(headers) == expected
    assert request_headers(headers) == [pair for pair in expected if pair[0] not in FORWARDED]


def ours(name: str) -> bool:
    return name.startswith("ours")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"", b""),
        (b"a=b", b"a=b"),
        (b"ours=1", b""),
        (b"a=b; ours=1; c=d", b"a=b; c=d"),
        (b"ours=1; a=b", b"a=b"),
        (b"a=b;ours=1;c=d", b"a=b; c=d"),
        (b" ours = 1 ; a = b ", b"a = b"),
        (b"\tours=1; a=b", b"a=b"),
        (b"ours", b""),
        (b"ours_two=1; ours-three=2", b""),
        (b"a=ours=1", b"a=ours=1"),
        (b"a=b=c; ours=d=e", b"a=b=c"),
        (b";;; a=b ;;", b"a=b"),
        (b"a=\xff; ours=\xff", b"a=\xff"),
        (b"notours=1", b"notours=1"),
        (b'a="b; ours=1"', b'a="b'),
        (b"ours=1; ours=2; a=b; a=c", b"a=b; a=c"),
    ],
)
def test_without_cookies(value: bytes, kept: bytes) -> None:
    """Lesson: the account's session token was forwarded to the sandbox."""
    assert without_cookies(value, ours) == kept


@given(st.binary(max_size=80))
def test_no_cookie_of_ours_is_left_whatever_the_header(value: bytes) -> None:
    left = without_cookies(value, ours)
    assert without_cookies(left, ours) == left
    assert not any(part.strip().startswith(b"ours") for part in left.split(b";"))
    assert without_cookies(left, lambda _: True) == b""
    assert set(left.split(b"; ")) <= {part.strip() for part in value.split(b";")}


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (b"/", b"/"),
        (b"/?", b"/?"),
        (b"/?a=b", b"/?a=b"),
        (b"/?token=x", b"/"),
        (b"/?token", b"/"),
        (b"/?token=", b"/"),
        (b"/?a=b&token=x", b"/?a=b"),
        (b"/?token=x&a=b", b"/?a=b"),
        (b"/?a=b&token=x&c=d", b"/?a=b&c=d"),
        (b"/?token=x&token=y", b"/"),
        (b"/?token=a=b", b"/"),
        (b"/?tokens=x", b"/?tokens=x"),
        (b"/?atoken=x", b"/?atoken=x"),
        (b"/?a=token", b"/?a=token"),
        (b"/token?a", b"/token?a"),
        (b"/?a=%26token=x&b=c?d", b"/?a=%26token=x&b=c?d"),
        (b"/?a=b&&token=x&&c", b"/?a=b&&&c"),
        (b"/?%74oken=x", b"/"),
        (b"/?a&tok%65n=x&b", b"/?a&b"),
        (b"/?%74%6f%6B%65%6e", b"/"),
        (b"/?%zz=1", b"/?%zz=1"),
        (b"/?%2574oken=x", b"/?%2574oken=x"),
    ],
)
def test_without_query_parameter(target: bytes, kept: bytes) -> None:
    """What is kept stays byte for byte. A name may be written with escapes, and is the same name."""
    assert without_query_parameter(target, b"token") == kept


@given(st.binary(max_size=40))
def test_a_query_parameter_is_gone_whatever_the_target(query: bytes) -> None:
    left = without_query_parameter(b"/?" + query, b"a")
    assert without_query_parameter(left, b"a") == left
    assert len(left) <= len(query) + 2
