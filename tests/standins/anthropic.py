"""A stand-in for the Anthropic Messages API: enough of it for the proxy's tests and for the real opencode.

It streams the way the API does (``message_start`` with what went in, ``ping``, the answer word by word,
``message_delta`` with what came out) or answers in one JSON document, counts tokens, lists models, checks key and
version, remembers what it was sent, and can fail in the ways that matter. What it does not do: it thinks nothing,
checks no schema beyond the three required fields, counts words where the API counts tokens, knows no betas, no batches,
no files, no HTTP/2 and no compression, and limits nothing.

    python -m tests.standins.anthropic --port 0 --word-delay 0.05

prints its URL; ``GET /__requests`` there lists what it has been sent, ``POST /__hold`` has it stop in each answer after
two words, and ``POST /__release`` go on. In a test it is a Trio service::

    standin = AnthropicStandIn(key="operator-key")
    await nursery.start(standin.serve)
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import h11
import trio

from tests.standins.messages import answer, error_body, event_bytes, malformed, words_in

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

Headers = list[tuple[str, str]]

_TWO_WORDS = 5  # events: three come before the words
_MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5")
_BREAKS = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@dataclass
class Knobs:
    """How it behaves; may be changed between requests. Events are those of a streamed answer."""

    reply: str = "Hello from the stand-in, which answers word by word."
    word_delay: float = 0.0  # seconds before each event
    cut_after: int | None = None  # break the connection after so many events; 0: right after the head
    hang_after: int | None = None  # say nothing more after so many events, until released; 0: not even a head
    status: int = 200  # any other one: an error
    failures: int | None = None  # so many requests get the error, then they are answered; None: all get it
    retry_after: str | None = None  # header of the error


@dataclass
class Seen:
    """A request as it arrived. ``end`` is how its answer ended: ``whole``, ``cut`` or ``left`` (the client did)."""

    method: str
    target: str
    headers: Headers
    body: bytes
    usage: dict[str, int] = field(default_factory=dict)  # what the answer says it cost
    events: int = 0  # sent so far
    end: str | None = None

    def get(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def json(self) -> dict[str, Any]:
        """The body, a JSON object, parsed."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


class AnthropicStandIn:
    """The service. ``requests`` has every request in the order of arrival."""

    def __init__(
        self, key: str = "operator-key", knobs: Knobs | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """``key`` is accepted in ``x-api-key`` and as a bearer token. With ``tls`` it speaks https."""
        self.key = key
        self.knobs = knobs or Knobs()
        self.requests: list[Seen] = []
        self.seen_systems: set[str] = set()
        self.url = ""
        self._tls = tls
        self._release = trio.Event()
        self._news = trio.Event()

    def hold(self) -> None:
        """Streamed answers hang after two words, until released."""
        self.knobs.hang_after, self._release = _TWO_WORDS, trio.Event()

    def release(self) -> None:
        """Let answers go on that hang."""
        self._release.set()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on what was seen and sent holds."""
        while not condition():
            await self._news.wait()

    def changed(self) -> None:
        """Something happened that :meth:`wait_until` may wait for."""
        self._news.set()
        self._news = trio.Event()

    async def released(self) -> None:
        """Hang."""
        await self._release.wait()

    async def serve(
        self, host: str = "127.0.0.1", port: int = 0, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve for ever; started with its URL."""
        listeners = await trio.open_tcp_listeners(port, host=host)
        number = listeners[0].socket.getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://{host}:{number}"
        task_status.started(self.url)
        await trio.serve_listeners(self._handle, listeners)

    async def _handle(self, raw: trio.SocketStream) -> None:
        stream: trio.abc.Stream = raw
        if self._tls is not None:
            stream = trio.SSLStream(raw, self._tls, server_side=True, https_compatible=True)
        try:
            await _Conversation(self, stream).run()
        except _BREAKS:
            pass
        finally:
            await trio.aclose_forcefully(stream)


class _Conversation:
    """One connection."""

    def __init__(self, standin: AnthropicStandIn, stream: trio.abc.Stream) -> None:
        self._standin = standin
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        while isinstance(request := await self._receive(), h11.Request):
            body = bytearray()
            while isinstance(event := await self._receive(), h11.Data):
                body += event.data
            headers = [(name.decode(), value.decode("latin-1")) for name, value in request.headers]
            seen = Seen(request.method.decode(), request.target.decode(), headers, bytes(body))
            if not await self._answer_watched(seen) or self._http.our_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _receive(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(bytes(await self._stream.receive_some(65536)))
        return event

    async def _send(self, *events: h11.Event) -> None:
        await self._stream.send_all(b"".join(self._http.send(event) or b"" for event in events))

    async def _answer_watched(self, seen: Seen) -> bool:
        """Answer; false if the client left before the end or was left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, seen, nursery.cancel_scope)
            try:
                await self._answer(seen)
            except _BREAKS:
                seen.end = "left"
            seen.end = seen.end or "whole"
            nursery.cancel_scope.cancel()
        self._standin.changed()
        return seen.end == "whole"

    async def _watch(self, seen: Seen, scope: trio.CancelScope) -> None:
        """Notice that the client leaves while it is answered."""
        try:
            while data := await self._stream.receive_some(65536):
                self._http.receive_data(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        seen.end = seen.end or "left"
        scope.cancel()

    async def _answer(self, seen: Seen) -> None:
        path = seen.target.partition("?")[0]
        if path == "/__requests":
            return await self._json(200, [_dump(request) for request in self._standin.requests])
        if path in ("/__hold", "/__release"):
            (self._standin.hold if path == "/__hold" else self._standin.release)()
            return await self._json(200, {})
        self._standin.requests.append(seen)
        self._standin.changed()
        refusal = _refusal(seen, self._standin.key) or self._failure()
        if refusal is not None:
            return await self._error(*refusal)
        match seen.method, path:
            case "POST", "/v1/messages":
                await self._messages(seen)
            case "POST", "/v1/messages/count_tokens":
                await self._json(200, {"input_tokens": words_in(seen.json)})
            case "GET", "/v1/models":
                listed = {"data": [_model(name) for name in _MODELS], "has_more": False}
                await self._json(200, {**listed, "first_id": _MODELS[0], "last_id": _MODELS[-1]})
            case "GET", _ if path.removeprefix("/v1/models/") in _MODELS:
                await self._json(200, _model(path.removeprefix("/v1/models/")))
            case _:
                await self._error(404, "Not found")

    def _failure(self) -> tuple[int, str] | None:
        knobs = self._standin.knobs
        if knobs.status == 200 or knobs.failures == 0:
            return None
        if knobs.failures is not None:
            knobs.failures -= 1
        return knobs.status, "The stand-in was told to fail."

    async def _messages(self, seen: Seen) -> None:
        try:
            request = json.loads(seen.body)
        except ValueError:
            return await self._error(400, "The request body is not valid JSON.")
        if wrong := malformed(request):
            return await self._error(400, wrong)
        knobs = self._standin.knobs
        prepared = answer(request, knobs.reply, self._standin.seen_systems, len(self._standin.requests))
        seen.usage = prepared.usage
        if knobs.hang_after == 0:
            await self._standin.released()
        if request.get("stream"):
            return await self._stream_events(seen, [event_bytes(event) for event in prepared.events()])
        await trio.sleep(knobs.word_delay * len(prepared.words))
        await self._json(200, prepared.message())

    async def _stream_events(self, seen: Seen, events: list[bytes]) -> None:
        knobs = self._standin.knobs
        await self._send(_head(200, "text/event-stream; charset=utf-8", [("cache-control", "no-cache")]))
        for event in events:
            if seen.events == knobs.cut_after:
                seen.end = "cut"
                return await trio.aclose_forcefully(self._stream)
            if seen.events == knobs.hang_after:
                await self._standin.released()
            await trio.sleep(knobs.word_delay)
            seen.events += 1
            await self._send(h11.Data(data=event))
            self._standin.changed()
        await self._send(h11.EndOfMessage())

    async def _error(self, status: int, message: str) -> None:
        retry_after = self._standin.knobs.retry_after
        extra = [("retry-after", retry_after)] if retry_after is not None else []
        await self._json(status, error_body(status, message), extra)

    async def _json(self, status: int, value: object, extra: Headers | None = None) -> None:
        body = json.dumps(value).encode()
        headers = [("content-length", str(len(body))), *(extra or [])]
        await self._send(_head(status, "application/json", headers), h11.Data(data=body), h11.EndOfMessage())


def _head(status: int, content_type: str, extra: Headers) -> h11.Response:
    fixed = [("content-type", content_type), ("request-id", "req_standin"), ("set-cookie", "__cf_bm=standin; path=/")]
    return h11.Response(status_code=status, headers=fixed + extra)


def _refusal(seen: Seen, key: str) -> tuple[int, str] | None:
    api_key, authorization = seen.get("x-api-key"), seen.get("authorization")
    if api_key is None and authorization is None:
        return 401, "x-api-key header is required"
    if api_key not in (None, key) or authorization not in (None, f"Bearer {key}"):
        return 401, "invalid x-api-key"
    if seen.get("anthropic-version") is None:
        return 400, "anthropic-version: header is required"
    return None


def _model(name: str) -> dict[str, str]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2025-10-01T00:00:00Z"}


def _dump(seen: Seen) -> dict[str, Any]:
    body = seen.body.decode(errors="replace")
    return {"method": seen.method, "target": seen.target, "headers": seen.headers, "body": body, "end": seen.end}


async def _main(standin: AnthropicStandIn, host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        sys.stdout.write(f"{await nursery.start(standin.serve, host, port)}\n")
        sys.stdout.flush()


def main() -> None:
    """Run it by itself; every knob is an option."""
    defaults = Knobs()
    parser = argparse.ArgumentParser(description="A stand-in for the Anthropic Messages API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="operator-key")
    parser.add_argument("--reply", default=defaults.reply)
    parser.add_argument("--word-delay", type=float, default=0.0)
    parser.add_argument("--cut-after", type=int)
    parser.add_argument("--hang-after", type=int)
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--failures", type=int)
    parser.add_argument("--retry-after")
    options = vars(parser.parse_args())
    host, port, key = options.pop("host"), options.pop("port"), options.pop("key")
    trio.run(partial(_main, AnthropicStandIn(key, Knobs(**options)), host, port))


if __name__ == "__main__":
    main()
