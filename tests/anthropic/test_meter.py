"""The meter: what real answers say, in any split; and that nothing makes it raise or grow."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.anthropic.meter import MAX_DOCUMENT, MAX_EVENT, MAX_TOKENS, Meter, Usage

SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
JSON = [(b"content-type", b"application/json")]
UNREAD = Usage("unknown")


def event(data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (data["type"].encode(), json.dumps(data).encode())


START = event(
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "model": "claude-sonnet-4-5-20250929",
            "usage": {
                "input_tokens": 25,
                "cache_creation_input_tokens": 300,
                "cache_read_input_tokens": 1200,
                "cache_creation": {"ephemeral_5m_input_tokens": 300},
                "output_tokens": 1,
                "service_tier": "standard",
            },
        },
    }
)
TEXT = event(
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": '"message_start" {"usage":{"output_tokens":999}} €\r'},
    }
)
FIRST_DELTA = event({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}})
LAST_DELTA = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}})
STREAM = START + event({"type": "ping"}) + TEXT * 3 + FIRST_DELTA + LAST_DELTA + event({"type": "message_stop"})
STREAM_USAGE = Usage("claude-sonnet-4-5-20250929", 1, 25, 15, 1200, 300)

DOCUMENT = json.dumps(
    {
        "type": "message",
        "model": "claude-haiku-4-5",
        "content": [{"type": "text", "text": "x" * 500}],
        "usage": {"input_tokens": 10, "output_tokens": 4, "cache_read_input_tokens": 2},
    }
).encode()
DOCUMENT_USAGE = Usage("claude-haiku-4-5", 1, 10, 4, 2, 0)


def measure(pieces: list[bytes], headers: list[tuple[bytes, bytes]] = SSE, status: int = 200) -> Usage | None:
    meter = Meter()
    meter.head(status, headers)
    for piece in pieces:
        meter.feed(piece)
    return meter.finish()


def singles(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b": comment\n\n", b"\n\n"])
def test_a_stream_whole_and_byte_by_byte(line_end: bytes, prefix: bytes) -> None:
    data = (prefix + STREAM).replace(b"\n", line_end)
    assert measure([data]) == STREAM_USAGE
    assert measure(singles(data)) == STREAM_USAGE


def test_a_document_whole_and_byte_by_byte() -> None:
    assert measure([DOCUMENT], JSON) == DOCUMENT_USAGE
    assert measure(singles(DOCUMENT), JSON) == DOCUMENT_USAGE


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(0, len(STREAM)), max_size=20), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_gives_the_same(cuts: list[int], line_end: bytes) -> None:
    data = STREAM.replace(b"\n", line_end)
    bounds = [0, *sorted(cuts), len(data)]
    assert measure([data[a:b] for a, b in pairwise(bounds)]) == STREAM_USAGE


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (b"", UNREAD),
        (START[:-30], UNREAD),
        (START[:-2], Usage("claude-sonnet-4-5-20250929", 1, 25, 1, 1200, 300)),  # only the blank line is missing
        (START, Usage("claude-sonnet-4-5-20250929", 1, 25, 1, 1200, 300)),
        (START + TEXT[:-10], Usage("claude-sonnet-4-5-20250929", 1, 25, 1, 1200, 300)),
        (START + TEXT + FIRST_DELTA, Usage("claude-sonnet-4-5-20250929", 1, 25, 7, 1200, 300)),
        (START + FIRST_DELTA + LAST_DELTA[:-5], Usage("claude-sonnet-4-5-20250929", 1, 25, 7, 1200, 300)),
    ],
)
def test_a_cut_stream_counts_what_was_seen(seen: bytes, expected: Usage) -> None:
    assert measure([seen]) == expected


def test_an_error_in_the_middle_of_a_stream_counts_what_was_seen() -> None:
    broken = START + TEXT + event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert measure([broken]) == Usage("claude-sonnet-4-5-20250929", 1, 25, 1, 1200, 300)


def test_counts_of_a_stream_are_totals_and_zeros_are_no_news() -> None:
    late = {"input_tokens": 4000, "output_tokens": 9, "cache_read_input_tokens": 0, "cache_creation_input_tokens": None}
    data = START + event({"type": "message_delta", "usage": late}) + FIRST_DELTA
    assert measure([data]) == Usage("claude-sonnet-4-5-20250929", 1, 4000, 9, 1200, 300)


@pytest.mark.parametrize("status", [0, 199, 301, 400, 401, 403, 404, 413, 429, 500, 529])
def test_what_was_refused_is_no_request(status: int) -> None:
    assert measure([DOCUMENT], JSON, status) is None


def test_no_head_no_request() -> None:
    meter = Meter()
    meter.feed(STREAM)
    assert meter.finish() is None


def test_finishing_twice_changes_nothing() -> None:
    meter = Meter()
    meter.head(200, SSE)
    meter.feed(STREAM)
    assert meter.finish() == meter.finish() == STREAM_USAGE


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"text/html")],
        [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")],
        [(b"content-type", b"text/event-stream"), (b"content-encoding", b"br")],
    ],
)
def test_an_answer_that_cannot_be_read_is_one_request(headers: list[tuple[bytes, bytes]]) -> None:
    assert measure([STREAM + DOCUMENT], headers) == UNREAD


@pytest.mark.parametrize("headers", [[(b"content-type", b"Application/JSON ; charset=utf-8")], [*JSON, *SSE]])
def test_the_media_type_is_the_first_one_in_any_case(headers: list[tuple[bytes, bytes]]) -> None:
    assert measure([DOCUMENT], headers) == DOCUMENT_USAGE


@pytest.mark.parametrize(
    "model",
    ["", "a" * 101, "a b", "a\0b", "a\nb", "\ud800", "modèle", 5, None, ["x"], {"x": 1}],
)
def test_a_model_that_no_database_or_label_should_hold_is_unknown(model: object) -> None:
    document = json.dumps({"model": model, "usage": {"input_tokens": 1}}).encode()
    assert measure([document], JSON) == Usage("unknown", 1, 1)


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", None, [7], {"a": 7}, MAX_TOKENS + 1, 10**30, float("nan")])
def test_a_count_that_cannot_be_is_passed_over(count: object) -> None:
    document = json.dumps({"model": "m", "usage": {"input_tokens": count, "output_tokens": 3}}).encode()
    assert measure([document], JSON) == Usage("m", 1, 0, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"usage": [1]}',
        b'{"usage": null, "message": 3}',
        b'{"model": "m", "usage": {"input_tokens": ' + b"9" * 5000 + b"}}",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"{}{}",
        b'{"usage":{"input_tokens":1}} trailing',
    ],
    ids=range(12),
)
def test_hostile_documents_count_as_one_request(body: bytes) -> None:
    assert measure([body], JSON) == UNREAD
    framed = b'data: {"type":"message_start","message":' + body + b"}\n\n"
    assert measure([framed]) == UNREAD


def kept_bytes(meter: Meter) -> int:
    reader: Any = meter._reader
    held = [getattr(reader, name, b"") for name in ("_kept", "_line")]
    return sum(sys.getsizeof(part) for part in [*held, *getattr(reader, "_data", [])])


@pytest.mark.parametrize(
    "piece",
    [b"x" * 65536, b"data: " + b"x" * 60000 + b"\n", b"data:\n" * 10000, b"data: message_\r" * 4000],
    ids=["endless line", "endless event", "endless empty data", "endless data"],
)
def test_memory_is_bounded_in_a_stream(piece: bytes) -> None:
    meter = Meter()
    meter.head(200, SSE)
    for _ in range(100):
        meter.feed(piece)
        assert kept_bytes(meter) < 16 * MAX_EVENT
    meter.feed(b"\n\n" + STREAM)
    assert meter.finish() == STREAM_USAGE


def test_the_bound_of_a_line_does_not_depend_on_the_split() -> None:
    padding = b" " * (MAX_EVENT - len(b"data: ") - 2)
    for extra, expected in ((0, "m"), (200, "unknown")):
        line = b'data: {"type":"message_start","message":{"model":"m"}'
        data = line + padding[: len(padding) - len(line) + extra] + b"}\n\n"
        assert measure([data]) == measure(singles(data)) == Usage(expected)


def test_what_is_left_of_an_event_that_is_too_long_is_no_event() -> None:
    whole = json.dumps({"type": "message_start", "message": {"model": "m"}}).encode()
    long_line = b"data: " + b" " * MAX_EVENT + b"\n"
    long_event = b"data: " + b" " * 60000 + b"\ndata: " + b" " * 6000 + b"\n"
    for spoiled in (long_line, long_event):
        assert measure([spoiled, b"data: ", whole, b"\n\n"]) == UNREAD
        assert measure([spoiled, b"\ndata: ", whole, b"\n\n"]) == Usage("m")


def test_memory_is_bounded_in_a_document() -> None:
    meter = Meter()
    meter.head(200, JSON)
    for _ in range(2 * MAX_DOCUMENT // 65536):
        meter.feed(b" " * 65536)
        assert kept_bytes(meter) < 2 * MAX_DOCUMENT
    meter.feed(DOCUMENT)
    assert meter.finish() == UNREAD


def test_the_largest_document_is_read() -> None:
    assert measure([DOCUMENT + b" " * (MAX_DOCUMENT - len(DOCUMENT))], JSON) == DOCUMENT_USAGE


FRAGMENTS = st.sampled_from(
    [b"data: ", b"data:", b"event: message_start\n", b"\n", b"\r", b"\r\n", b"\n\n", START, FIRST_DELTA, DOCUMENT,
     b'{"', b'"message_start"', b'"usage":', b"{", b"}", b"[", b"\xef\xbb\xbf", b"\xff", b"\\ud800", b"1e999", b"\0"]
)  # fmt: skip


@settings(deadline=None)
@given(
    st.lists(st.one_of(FRAGMENTS, st.binary(max_size=200)), max_size=30),
    st.sampled_from([SSE, JSON, [], [(b"content-type", b"\xff;;")]]),
    st.integers(-1, 1000),
)
def test_no_bytes_make_it_raise(pieces: list[bytes], headers: list[tuple[bytes, bytes]], status: int) -> None:
    usage = measure(pieces, headers, status)
    assert (usage is None) == (not 200 <= status < 300)
    if usage is not None:
        assert usage.requests == 1
        counts = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
        assert all(0 <= count <= MAX_TOKENS for count in counts)
    assert measure(singles(b"".join(pieces)), headers, status) == usage


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "message", "model", "usage", "input_tokens", "output_tokens"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from(["message_start", "message_delta"]), JSON_VALUES, JSON_VALUES)
def test_no_json_makes_it_raise(kind: str, message: object, usage: object) -> None:
    data = json.dumps({"type": kind, "message": message, "usage": usage}).encode()
    assert measure([b"data: ", data, b"\n\n"]) is not None
    assert measure([data], JSON) is not None
