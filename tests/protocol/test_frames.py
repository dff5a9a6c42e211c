"""The layout of messages: tables of what is taken and what is refused, with which code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import frames
from protocol.errors import RemoteProtocolError
from tests.protocol.refusing import refused

NO_TEXTS: list[Any] = [None, 5, True, [], {}]
NO_FLAGS: list[Any] = [None, 0, 1, "true", []]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(header=st.dictionaries(st.text(), JSON, max_size=5), payload=st.binary(max_size=100))
def test_what_is_written_is_read(header: dict[str, Any], payload: bytes) -> None:
    read, rest = frames.split(frames.join(frames.dump(header), payload))
    assert (frames.parse(read), rest) == (header, payload)


def test_the_layout() -> None:
    assert frames.join(b"{}", b"abc") == b"\0\0\0\2{}abc"
    assert frames.dump({"a": "é\n", "b": [1, True, None]}) == '{"a":"é\\n","b":[1,true,null]}'.encode()
    assert frames.dump({"a": "\ud800"}) == b'{"a":"?"}'


@pytest.mark.parametrize("message", [b"", b"\0", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\1{", b"\0\0\0\3{}", b"\0\0\0\0{}"])
def test_a_length_that_cannot_be(message: bytes) -> None:
    refused("malformed", frames.split, message)


@pytest.mark.parametrize("size", [frames.MAX_HEADER + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF])
@pytest.mark.parametrize("rest", [b"", b"{}", b"x" * 100])
def test_a_length_that_is_too_large(size: int, rest: bytes) -> None:
    """Lesson: a length of 0xFFFFFFFC overflowed a check of bounds."""
    refused("too_large", frames.split, size.to_bytes(4, "big") + rest)


def test_the_largest_header() -> None:
    header = b"{" + b" " * (frames.MAX_HEADER - 2) + b"}"
    assert frames.split(frames.join(header, b"x")) == (header, b"x")
    refused("too_large", frames.split, frames.join(header + b" "))
    assert frames.split(frames.join(b"{   }"), most_header=5) == (b"{   }", b"")
    refused("too_large", frames.split, frames.join(b"{    }"), most_header=5)


@pytest.mark.parametrize(
    "header",
    [
        b"  ",
        b"[]",
        b"null",
        b'"a"',
        b"12",
        b"{'a':1}",
        b'{"a":1',
        b'{"a":1}}',
        b'{"a":1} x',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":"\n"}',
        b'{"a":"\\x41"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\\ud800"}',
        b'{"a":{"b":["\\udc00\\ud800"]}}',
        b'{"\\uDC00":1}',
        b"[" * 50_000,
        b'{"a":' * 10_000,
        b'{"a":' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_no_json_object(header: bytes) -> None:
    refused("malformed", frames.parse, header)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"{}", {}),
        (b' { "a" : 1 } ', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"a":"\\u00e9\\ud83d\\ude00"}', {"a": "é😀"}),
        (b'{"a":1.5,"b":1e400}', {"a": 1.5, "b": float("inf")}),
    ],
)
def test_json_objects(header: bytes, value: dict[str, Any]) -> None:
    assert frames.parse(header) == value


@pytest.mark.parametrize("value", [None, True, False, "5", 5.0, 1.5, float("inf"), [], {}, 0, 11, -5, 10**30])
def test_what_is_no_whole_number_from_1_to_10(value: Any) -> None:
    refused("malformed", frames.number, {"n": value}, "n", 1, 10)
    refused("malformed", frames.optional_number, {"n": value}, "n", 1, 10)
    refused("bad_hello", frames.number, {"n": value}, "n", 1, 10, code="bad_hello")


def test_numbers() -> None:
    assert [frames.number({"n": value}, "n", 1, 10) for value in (1, 5, 10)] == [1, 5, 10]
    assert frames.number(frames.parse(b'{"n":-0}'), "n", 0, 10) == 0
    assert frames.optional_number({}, "n", 1, 10) is None
    assert frames.optional_number({"n": 1}, "n", 1, 10) == 1
    refused("malformed", frames.number, {}, "n", 1, 10)


@pytest.mark.parametrize("value", [*NO_TEXTS, "123456"])
def test_what_is_no_text_of_five(value: Any) -> None:
    refused("malformed", frames.text, {"t": value}, "t", 5)
    refused("bad_hello", frames.text, {"t": value}, "t", 5, code="bad_hello")


def test_texts() -> None:
    assert frames.text({"t": "12345"}, "t", 5) == "12345"
    assert frames.text({"t": ""}, "t", 5) == ""
    refused("malformed", frames.text, {}, "t", 5)
    assert [frames.note(header, "t", 5) for header in ({}, {"t": ""}, {"t": "1234567"})] == ["", "", "12345"]
    for value in NO_TEXTS:
        refused("malformed", frames.note, {"t": value}, "t", 5)


def test_flags() -> None:
    assert [frames.flag(header, "f") for header in ({}, {"f": False}, {"f": True})] == [False, False, True]
    for value in NO_FLAGS:
        refused("malformed", frames.flag, {"f": value}, "f")


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """Whatever comes: an object, or the one exception."""
    try:
        header, payload = frames.split(data)
        value = frames.parse(header)
    except RemoteProtocolError:
        return
    assert len(header) + len(payload) + 4 == len(data)
    assert value == json.loads(header)
