"""The probe against the real opencode, and against things that only look like it."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from backends.base import Address, BackendUnavailable
from daemon.sandboxes.idle import Work
from daemon.sandboxes.probe import MAX_ANSWER, Probe, Unreadable, directories, is_working

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

ROW: Any = SimpleNamespace(id="a123456789abcdef", secret_version=1)
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 1}}
SAID = b"event: message_start\ndata: " + json.dumps({"type": "message_start", "message": MESSAGE}).encode() + b"\n\n"


def backend(address: Any) -> Any:
    """A backend of which only the address is asked."""
    return SimpleNamespace(address=address)


def probe_of(port: int, **more: Any) -> Probe:
    async def address(sandbox_id: str) -> Address | None:
        return Address("127.0.0.1", port)

    return Probe(backend(address), lambda row: "secret", **more)


async def _answer(response: bytes, stream: trio.SocketStream) -> None:
    async with stream:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = await stream.receive_some()
            if not piece:
                return
            data += piece
        try:
            await stream.send_all(response)
        except trio.BrokenResourceError:
            return  # it had read enough


@asynccontextmanager
async def serving(response: bytes) -> AsyncIterator[int]:
    """Answers every connection's first request with the same bytes."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, partial(_answer, response), 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def http(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    "response",
    [
        http(b"<!doctype html><html></html>", "text/html"),  # unknown paths answer 200 with the web page
        http(b"<!doctype html>"),
        http(b"{}"),  # no list of sessions
        http(b'[{"id":"x"}]'),
        http(b"[]", status="401 Unauthorized"),
        http(b"", status="302 Found"),
        http(b" " * (MAX_ANSWER + 1)),
        http(b"[" * 100_000),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[",
        b"garbage\r\n\r\n",
        b"",
    ],
)
async def test_what_cannot_be_read_counts_as_work(response: bytes) -> None:
    async with serving(response) as port:
        assert await probe_of(port)(ROW) is Work.UNKNOWN


async def test_an_opencode_that_never_answers_costs_the_deadline_only() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        with trio.fail_after(30):
            assert await probe_of(listener.socket.getsockname()[1], deadline=0.1)(ROW) is Work.UNKNOWN


async def test_nobody_listens_and_a_backend_that_is_away() -> None:
    async def absent(sandbox_id: str) -> Address | None:
        return None

    async def away(sandbox_id: str) -> Address | None:
        raise BackendUnavailable("the backend is away")

    assert await Probe(backend(absent), lambda row: "x")(ROW) is Work.UNKNOWN
    assert await Probe(backend(away), lambda row: "x")(ROW) is Work.UNKNOWN
    assert await probe_of(1)(ROW) is Work.UNKNOWN


@pytest.mark.parametrize(
    ("statuses", "working"),
    [
        ({}, False),
        ({"s": {"type": "idle"}}, False),
        ({"s": {"type": "idle"}, "t": {"type": "busy"}}, True),
        ({"s": {"type": "retry", "attempt": 1, "message": "", "next": 1}}, True),
        ({"s": {"type": "new"}, "t": {"type": "busy"}}, True),
    ],
)
def test_statuses(statuses: object, working: bool) -> None:
    assert is_working(statuses) is working


@pytest.mark.parametrize(
    "statuses", [[], None, "busy", {"s": "busy"}, {"s": {}}, {"s": {"type": "new"}}, {"s": {"type": []}}]
)
def test_statuses_of_the_future_are_not_taken_for_idle(statuses: object) -> None:
    with pytest.raises(Unreadable):
        is_working(statuses)


def test_directories_are_asked_once() -> None:
    assert directories([{"directory": "/a"}, {"directory": "/b"}, {"directory": "/a"}]) == [None, "/a", "/b"]


# The real one


@contextmanager
def opencode(program: Path, home: Path, upstream: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    home.mkdir()
    log = home / "log"
    options = {"baseURL": f"http://127.0.0.1:{upstream}/v1", "apiKey": "k"}
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "OPENCODE_SERVER_PASSWORD": "secret",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_CONFIG_CONTENT": json.dumps({"provider": {"anthropic": {"options": options}}}),
    }
    command = [str(program), "serve", "--hostname", "127.0.0.1", "--port", "0"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


async def port_of(process: subprocess.Popen[bytes], log: Path) -> int:
    said = ""
    with trio.fail_after(60):
        while "listening on http://127.0.0.1:" not in said:
            assert process.poll() is None, said
            await trio.sleep(0.1)
            said = await trio.Path(log).read_text()
    return int(said.split("listening on http://127.0.0.1:")[1].split()[0])


async def until(probe: Probe, wanted: Work) -> None:
    with trio.fail_after(30):
        while await probe(ROW) is not wanted:  # noqa: ASYNC110 - opencode sets no event of ours
            await trio.sleep(0.1)


async def _model(stream: trio.SocketStream) -> None:
    """A Messages API that begins to answer and goes on thinking."""
    async with stream:
        with suppress(trio.BrokenResourceError):  # opencode has left
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + SAID)
            await trio.sleep_forever()


@pytest.mark.needs("opencode")
async def test_work_in_another_directory_is_seen_in_the_real_opencode(tmp_path: Path, opencode_program: Path) -> None:
    """Lesson: do not stop a sandbox while its agent works. By itself the status shows one directory only."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, _model, 0, host="127.0.0.1"))
        with opencode(opencode_program, tmp_path / "home", listeners[0].socket.getsockname()[1]) as (process, log):
            port = await port_of(process, log)
            probe = probe_of(port, deadline=30)
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", auth=("opencode", "secret"), timeout=30, trust_env=False
            ) as client:
                where = {"directory": str(elsewhere)}
                session = (await client.post("/session", params=where, json={})).json()["id"]
                assert await probe(ROW) is Work.IDLE
                model = {"providerID": "anthropic", "modelID": "claude-sonnet-4-5"}
                body = {"parts": [{"type": "text", "text": "hi"}], "model": model}
                await client.post(f"/session/{session}/prompt_async", params=where, json=body)
                await until(probe, Work.BUSY)
                assert (await client.get("/session/status")).json() == {}, "opencode tells of all directories now"
                await client.post(f"/session/{session}/abort", params=where)
                await until(probe, Work.IDLE)
        nursery.cancel_scope.cancel()
