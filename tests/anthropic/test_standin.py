"""The stand-in does what its docstring says; the proxy's tests lean on it."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
import trustme

from daemon.anthropic.meter import Meter, Usage
from tests.conftest import ROOT
from tests.standins.anthropic import AnthropicStandIn, Knobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = {"x-api-key": "operator-key", "anthropic-version": "2023-06-01"}
PATIENCE = 30.0  # seconds until something that takes milliseconds is taken to have failed
BASH = {"name": "bash", "input_schema": {}}


def prompt(**more: object) -> dict[str, object]:
    return {"model": "claude-x", "max_tokens": 99, "messages": [{"role": "user", "content": "hi there"}], **more}


@pytest.fixture
async def standin(nursery: trio.Nursery) -> AnthropicStandIn:
    standin = AnthropicStandIn()
    await nursery.start(standin.serve)
    return standin


@pytest.fixture
async def client(standin: AnthropicStandIn) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=standin.url, headers=KEY, timeout=PATIENCE) as client:
        yield client


@asynccontextmanager
async def streaming(
    client: httpx.AsyncClient, **more: object
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[str]]]:
    async with client.stream("POST", "/v1/messages", json=prompt(stream=True, **more)) as response:
        yield response, response.aiter_text()


def parsed(text: str) -> list[Any]:
    return [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")]


async def whole(client: httpx.AsyncClient, **more: object) -> list[Any]:
    async with streaming(client, **more) as (_, pieces):
        return parsed("".join([piece async for piece in pieces]))


def text_of(events: list[Any]) -> str:
    return "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")


async def test_a_stream_has_the_apis_events(standin: AnthropicStandIn, client: httpx.AsyncClient) -> None:
    standin.knobs.reply = "one two  three\nfour"
    events = await whole(client)
    assert [event["type"] for event in events] == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert text_of(events) == "one two  three\nfour"
    assert events[0]["message"]["usage"]["input_tokens"] == standin.requests[0].usage["input_tokens"] == 5
    assert events[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 4},
    }
    await standin.wait_until(lambda: standin.requests[0].end == "whole")


async def test_word_by_word(standin: AnthropicStandIn, client: httpx.AsyncClient) -> None:
    """What was said arrives while the rest is still held back."""
    standin.knobs.hang_after = 5
    async with streaming(client) as (_, pieces):
        text = ""
        while len(parsed(text)) < 5:
            text += await anext(pieces)
        assert text_of(parsed(text)) == "Hello from"
        standin.release()
        rest = "".join([piece async for piece in pieces])
    assert text_of(parsed(text + rest)) == standin.knobs.reply


async def test_held_and_released_from_outside(standin: AnthropicStandIn, client: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert (await client.post("/__hold")).status_code == 200
        async with streaming(client) as (_, pieces):
            text = ""
            while len(parsed(text)) < 5:
                text += await anext(pieces)
            assert text_of(parsed(text)) == "Hello from"
            assert (await client.post("/__release")).status_code == 200
            rest = "".join([piece async for piece in pieces])
        assert text_of(parsed(text + rest)) == standin.knobs.reply
    assert text_of(await whole(client)) == standin.knobs.reply
    assert [seen.target for seen in standin.requests] == ["/v1/messages"] * 3


async def test_a_document(standin: AnthropicStandIn, client: httpx.AsyncClient) -> None:
    message = (await client.post("/v1/messages", json=prompt())).json()
    assert message["content"] == [{"type": "text", "text": standin.knobs.reply}]
    assert message["usage"] == standin.requests[0].usage


async def test_the_meter_reads_both(standin: AnthropicStandIn, client: httpx.AsyncClient) -> None:
    system = [{"type": "text", "text": "you are a test", "cache_control": {"type": "ephemeral"}}]
    read = []
    for stream in (True, False):
        response = await client.post("/v1/messages", json=prompt(system=system, stream=stream))
        meter = Meter()
        meter.head(response.status_code, [(name.lower(), value) for name, value in response.headers.raw])
        meter.feed(response.content)
        read.append(meter.finish())
    assert read == [Usage("claude-x", 1, 5, 9, 0, 10), Usage("claude-x", 1, 5, 9, 10, 0)]


async def test_a_command_is_run_once(standin: AnthropicStandIn, client: httpx.AsyncClient) -> None:
    events = await whole(client, tools=[BASH], messages=[{"role": "user", "content": "please\nrun: echo 'a b'"}])
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert json.loads("".join(delta["partial_json"] for delta in deltas))["command"] == "echo 'a b'"
    block = next(event["content_block"] for event in events if event["type"] == "content_block_start")
    assert (block["type"], block["name"]) == ("tool_use", "bash")
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    result = {"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": "a b"}]}
    again = await whole(client, tools=[BASH], messages=[{"role": "user", "content": [result]}])
    assert text_of(again) == "The command said: a b"


@pytest.mark.parametrize("tools", [[], [{"name": "read"}]])
async def test_without_the_tool_nothing_is_run(client: httpx.AsyncClient, tools: list[object]) -> None:
    events = await whole(client, tools=tools, messages=[{"role": "user", "content": "run: ls"}])
    assert text_of(events).startswith("Hello")


async def test_a_title(client: httpx.AsyncClient) -> None:
    assert text_of(await whole(client, system="You write titles.")) == "Stand-in session"


async def test_other_endpoints(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/messages/count_tokens?beta=true", json=prompt())).json()["input_tokens"] > 0
    listed = (await client.get("/v1/models")).json()
    assert (await client.get(f"/v1/models/{listed['first_id']}")).json() == listed["data"][0]
    missing = await client.get("/v1/files")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (KEY, 200),
        ({"authorization": "Bearer operator-key", "anthropic-version": "x"}, 200),
        ({**KEY, "authorization": "Bearer operator-key"}, 200),
        ({"anthropic-version": "x"}, 401),
        ({**KEY, "x-api-key": "clis-1"}, 401),
        ({**KEY, "authorization": "Bearer clis-1"}, 401),
        ({"x-api-key": "operator-key"}, 400),
    ],
)
async def test_key_and_version_are_checked(standin: AnthropicStandIn, headers: dict[str, str], status: int) -> None:
    async with httpx.AsyncClient(base_url=standin.url, headers=headers, timeout=PATIENCE) as client:
        assert (await client.post("/v1/messages", json=prompt())).status_code == status
    assert len(standin.requests) == 1


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model":"m"}', b'{"model":"m","max_tokens":1,"messages":[]}'])
async def test_a_malformed_body_is_a_400(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post("/v1/messages", content=body)).status_code == 400


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (529, "overloaded_error")])
async def test_it_fails_as_often_as_told(
    standin: AnthropicStandIn, client: httpx.AsyncClient, status: int, kind: str
) -> None:
    standin.knobs = Knobs(status=status, failures=1, retry_after="7")
    refused = await client.post("/v1/messages", json=prompt())
    assert (refused.status_code, refused.headers["retry-after"]) == (status, "7")
    assert refused.json()["error"]["type"] == kind
    assert (await client.post("/v1/messages", json=prompt())).status_code == 200


@pytest.mark.parametrize("after", [0, 1, 4])
async def test_it_breaks_off(standin: AnthropicStandIn, client: httpx.AsyncClient, after: int) -> None:
    standin.knobs.cut_after = after
    read: list[str] = []

    async def read_all(pieces: AsyncIterator[str]) -> None:
        async for piece in pieces:
            read.append(piece)

    async with streaming(client) as (response, pieces):
        assert response.status_code == 200
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await read_all(pieces)
    assert len(parsed("".join(read))) <= after
    await standin.wait_until(lambda: standin.requests[0].end == "cut")
    assert standin.requests[0].events == after


@pytest.mark.parametrize("after", [0, 3])
async def test_it_hangs_and_notices_who_leaves(standin: AnthropicStandIn, nursery: trio.Nursery, after: int) -> None:
    standin.knobs.hang_after = after

    async def ask(*, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            task_status.started(scope)
            async with httpx.AsyncClient(base_url=standin.url, headers=KEY, timeout=PATIENCE) as client:
                await client.post("/v1/messages", json=prompt(stream=True))

    scope = await nursery.start(ask)
    await standin.wait_until(lambda: bool(standin.requests) and standin.requests[0].events == after)
    assert standin.requests[0].end is None
    scope.cancel()
    await standin.wait_until(lambda: standin.requests[0].end == "left")


async def test_a_large_answer(standin: AnthropicStandIn, client: httpx.AsyncClient) -> None:
    standin.knobs.reply = "x" * 200_000 + " y"
    assert text_of(await whole(client)) == standin.knobs.reply


async def test_it_speaks_tls(nursery: trio.Nursery) -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    standin = AnthropicStandIn(tls=server)
    await nursery.start(standin.serve)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with httpx.AsyncClient(base_url=standin.url, headers=KEY, verify=trusting, timeout=PATIENCE) as client:
        assert standin.url.startswith("https://")
        assert text_of(await whole(client)) == standin.knobs.reply


async def test_by_itself() -> None:
    """As a program: it prints its URL, answers, and tells what it was sent."""
    command = [sys.executable, "-m", "tests.standins.anthropic", "--port", "0", "--reply", "one two", "--key", "k"]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        with trio.fail_after(PATIENCE):
            url = (await process.stdout.receive_some()).decode().strip()
        async with httpx.AsyncClient(base_url=url, headers={**KEY, "x-api-key": "k"}, timeout=PATIENCE) as client:
            assert text_of(await whole(client)) == "one two"
            listed = (await client.get("/__requests")).json()
        assert [(seen["method"], seen["target"], seen["end"]) for seen in listed] == [("POST", "/v1/messages", "whole")]
        assert ["x-api-key", "k"] in listed[0]["headers"]
        assert json.loads(listed[0]["body"])["stream"] is True
    finally:
        process.kill()
        await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()
