"""The real opencode takes the stand-in for Anthropic: an answer word by word, a title, a command that is run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from tests.standins.anthropic import AnthropicStandIn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MODEL = {"providerID": "anthropic", "modelID": "claude-sonnet-4-5"}


@asynccontextmanager
async def running_opencode(program: Path, home: Path, upstream: str) -> AsyncIterator[httpx.AsyncClient]:
    """opencode in a home of its own; a client that talks to it."""
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "ANTHROPIC_BASE_URL": f"{upstream}/v1",
        "ANTHROPIC_API_KEY": "operator-key",
        "OPENCODE_SERVER_PASSWORD": "password",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
    }
    command = [str(program), "serve", "--hostname", "127.0.0.1", "--port", "0"]
    process = await trio.lowlevel.open_process(
        command, env=environment, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert process.stdout is not None
    try:
        url = await _listening_url(process.stdout)
        async with httpx.AsyncClient(base_url=url, auth=("opencode", "password"), timeout=60) as client:
            yield client
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            await process.wait()
            await process.stdout.aclose()


async def _listening_url(stdout: trio.abc.ReceiveStream) -> str:
    printed = ""
    with trio.fail_after(30):
        while "listening on http" not in printed or not printed.endswith("\n"):
            piece = await stdout.receive_some()
            assert piece, printed
            printed += piece.decode()
    return printed.rpartition("listening on ")[2].strip()


class Watched:
    """What opencode's event stream said."""

    def __init__(self) -> None:
        self.text = ""
        self.news = trio.Event()

    async def watch(
        self, client: httpx.AsyncClient, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with client.stream("GET", "/event", timeout=None) as response:
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    self._take(json.loads(line[5:]), task_status)

    def _take(self, event: dict[str, Any], task_status: trio.TaskStatus[None]) -> None:
        if event["type"] == "server.connected":
            task_status.started()
        elif event["type"] == "message.part.delta":
            self.text += event["properties"]["delta"]
            self.news.set()
            self.news = trio.Event()

    async def says(self, text: str) -> None:
        while text not in self.text:
            await self.news.wait()


async def ask(client: httpx.AsyncClient, session: str, text: str) -> dict[str, Any]:
    body = {"parts": [{"type": "text", "text": text}], "model": MODEL}
    response = await client.post(f"/session/{session}/message", json=body)
    assert response.status_code == 200, response.text
    message: dict[str, Any] = response.json()
    return message


async def titled(client: httpx.AsyncClient, session: str, title: str) -> None:
    """Wait until the session has its title, for which no prompt waits."""
    while (await client.get(f"/session/{session}")).json()["title"] != title:  # noqa: ASYNC110 - in another process
        await trio.sleep(0.1)


def texts(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in message["parts"] if part["type"] == "text"]


@pytest.mark.needs("opencode")
async def test_the_real_opencode(opencode_program: Path, tmp_path: Path, nursery: trio.Nursery) -> None:
    standin = AnthropicStandIn("operator-key")
    standin.knobs.hang_after = 5  # in the middle of the answer, after two words
    upstream = await nursery.start(standin.serve)
    answers: list[dict[str, Any]] = []
    async with running_opencode(opencode_program, tmp_path, upstream) as client, trio.open_nursery() as inner:
        watched = Watched()
        await inner.start(watched.watch, client)
        session = (await client.post("/session", json={})).json()["id"]

        answered = trio.Event()

        async def first_prompt() -> None:
            answers.append(await ask(client, session, "hi"))
            answered.set()

        inner.start_soon(first_prompt)
        with trio.fail_after(90):
            await watched.says("Hello from")
            assert not answers  # the model has not said the rest yet
            standin.release()
            await watched.says("word by word.")
            await answered.wait()  # or the next prompt may become part of this answer
            answers.append(await ask(client, session, "run: echo $((6 * 7)) > made-by-the-agent"))
            await titled(client, session, "Stand-in session")
        inner.cancel_scope.cancel()

    assert texts(answers[0]) == [standin.knobs.reply]
    assert answers[0]["info"]["tokens"]["output"] == 9
    assert texts(answers[1])[-1].startswith("The command said:")
    assert (tmp_path / "made-by-the-agent").read_text() == "42\n"
    assert {(seen.method, seen.target) for seen in standin.requests} == {("POST", "/v1/messages")}
    assert any("haiku" in seen.json["model"] for seen in standin.requests)
