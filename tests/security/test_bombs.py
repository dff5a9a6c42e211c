"""Small things that would become large: compressed bodies, JSON, WebSocket messages, answers without end. Nothing of it
is unpacked or kept; on the real daemon, whose memory is looked at."""

from __future__ import annotations

import gzip
import json
import os
import re
import socketserver
import threading
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.gateway.peer import PATIENCE
from tests.security.raw import Raw, raw_sandbox, saying
from tests.tunnel.hostile import frame, hello, message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.peer import Peer

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(120)]

# One password costs 64 MiB to look at, for a moment. Each bomb is larger when it goes off.
BOUND: Final = 112 << 20
UNPACKED: Final = 256 << 20
ANSWER: Final = 256 << 20  # bytes that the false Anthropic sends without end


class _Anthropic(socketserver.StreamRequestHandler):
    """Answers each call with a kind of bomb, named by the model that is asked for."""

    def handle(self) -> None:
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        model = json.loads(self.rfile.read(length))["model"]
        head, first = KINDS[model]
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\nConnection: close\r\n\r\n" + first)
        piece = b"a" * 65536
        try:
            for _ in range(ANSWER // len(piece)):
                self.wfile.write(piece)
        except OSError:
            return


SSE: Final = b"Content-Type: text/event-stream"
KINDS: Final = {
    "packed-document": (b"Content-Type: application/json\r\nContent-Encoding: gzip", b"\x1f\x8b\x08"),
    "packed-stream": (SSE + b"\r\nContent-Encoding: br", b""),
    "document": (b"Content-Type: application/json", b'{"model":"'),
    "line": (SSE, b"data: "),
    "event": (SSE, b'data: {"type":"message_start","message":{"model":"'),
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    """The daemon, a sandbox that says anything, and an Anthropic that does not end."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Anthropic) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        folder = tmp_path_factory.mktemp("bombs")
        with raw_sandbox(folder, ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY="sk-ant-of-the-operator") as made:
            yield made
        server.shutdown()


@contextmanager
def bounded(raw: Raw) -> Iterator[None]:
    """The daemon's memory never grows by more than the bound; in the end it answers, and it has met no bug."""
    assert raw.running.process is not None
    place = Path("/proc", str(raw.running.process.pid))
    log = len(raw.running.log)

    def kilobytes(name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", (place / "status").read_text())
        assert found is not None
        return int(found[1])

    (place / "clear_refs").write_text("5")  # the most that was resident is forgotten
    before = kilobytes("VmRSS")
    yield
    assert raw.visitor.request("GET", "localhost", "/api/auth/me", seconds=PATIENCE).status == 200
    grown = kilobytes("VmHWM") - before
    assert grown < BOUND >> 10, f"{grown} KiB"
    assert "Traceback" not in raw.running.log[log:]


# The API's bodies


def packed(kind: str) -> bytes:
    """So many blanks around a JSON object, in less than the API takes."""
    wbits = {"gzip": 31, "deflate": 15, "x-gzip": 31, "zstd": 31, "br": 31, "gzip, gzip": 31}[kind]
    packer = zlib.compressobj(9, wbits=wbits)
    out = packer.compress(b'{"name":"bomb"')
    blanks = b" " * (16 << 20)
    for _ in range(UNPACKED // len(blanks)):
        out += packer.compress(blanks)
    out += packer.compress(b"}") + packer.flush()
    return gzip.compress(out) if kind == "gzip, gzip" else out


@pytest.fixture(scope="module")
def packages() -> dict[str, bytes]:
    """Packed once; the names beyond gzip and deflate have content of gzip, which nobody is to look at."""
    made = {kind: packed(kind) for kind in ("gzip", "deflate")}
    more = dict.fromkeys(("x-gzip", "br", "zstd"), made["gzip"])
    return made | more | {"gzip, gzip": gzip.compress(made["gzip"])}


@pytest.mark.parametrize("path", ["/api/workspaces", "/api/auth/login"])
def test_packed_bodies_are_not_unpacked(raw: Raw, packages: dict[str, bytes], path: str) -> None:
    for kind, body in packages.items():
        assert len(body) <= 1 << 20 or kind == "deflate"
        headers = {"Content-Type": "application/json", "Content-Encoding": kind}
        with bounded(raw):
            answer = raw.visitor.request("POST", "localhost", path, body=body[: 1 << 20], headers=headers)
        assert answer.status in (400, 415), kind
        assert answer.header("content-type") == "application/problem+json"
    assert [one["name"] for one in raw.visitor.api("GET", "/api/workspaces")] != ["bomb"]


MOST: Final = 1 << 20
JSON: Final[dict[str, bytes]] = {
    "lists in lists": b"[" * (MOST - 2),
    "lists in lists, closed": b"[" * 500_000 + b"]" * 500_000,
    "objects in objects": b'{"a":' * 200_000,
    "objects in objects, closed": b'{"name":' * 100_000 + b"1" + b"}" * 100_000,
    "a deep name": b'{"name":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a million digits": b'{"name":' + b"9" * (MOST - 20) + b"}",
    "a million digits, negative": b'{"username":-' + b"9" * (MOST - 40) + b"}",
    "a huge exponent": b'{"name":1e999999999,"username":-1e999999999}',
    "a long fraction": b'{"name":0.' + b"1" * (MOST - 20) + b"}",
    "no number": b'{"name":NaN,"username":Infinity,"password":-Infinity}',
    "the same name a hundred thousand times": b"{" + b'"name":1,' * 100_000 + b'"name":1}',
    "two names": b'{"name":{},"name":[]}',
    "many members": b"{" + b",".join(b'"%x":0' % number for number in range(90_000)) + b"}",
    "a long string": b'{"name":"' + b"a" * (MOST - 20) + b'"}',
    "a long password": b'{"username":"ada","password":"' + b"a" * (MOST - 40) + b'"}',
    "escapes": b'{"name":"' + b"\\u0000" * 170_000 + b'"}',
    "half a pair": b'{"name":"\\ud800","username":"\\udfff","password":"\\ud800\\ud800"}',
    "no UTF-8": b'{"name":"' + b"\xff\xfe" * 1000 + b'"}',
    "UTF-16": '{"name":1}'.encode("utf-16"),
    "UTF-32": '{"name":1}'.encode("utf-32"),
    "NULs": bytes(MOST),
    "blanks": b" " * MOST,
    "a list of numbers": b"[" + b"0," * 500_000 + b"0]",
}


@pytest.mark.parametrize("path", ["/api/workspaces", "/api/auth/login"])
@pytest.mark.parametrize("name", JSON)
def test_json_that_is_a_bomb_is_a_problem(raw: Raw, name: str, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    with bounded(raw):
        answer = raw.visitor.request("POST", "localhost", path, body=JSON[name], headers=headers, seconds=PATIENCE)
    assert answer.status in (400, 401, 413, 422), answer.body
    assert answer.header("content-type") == "application/problem+json"
    assert len(answer.body) < 10_000, "what was sent is not sent back"


# What a sandbox and Anthropic answer


async def test_a_packed_answer_of_a_sandbox_passes_as_it_is(raw: Raw) -> None:
    bomb = gzip.compress(bytes(8 << 20), 9)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with bounded(raw):
        async with raw.client() as client:
            await client.send(raw.get(saying(head + bomb)))
            answer = await client.response()
    assert (answer.body, answer.all("content-encoding")) == (bomb, [b"gzip"])


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_of_anthropic_that_does_not_end_is_not_kept(raw: Raw, kind: str) -> None:
    """The meter reads a copy: of what is packed it reads nothing, and of the rest no more than it has room for."""
    token = raw.ask("/env")["ANTHROPIC_API_KEY"]
    body = json.dumps({"model": kind, "max_tokens": 1, "messages": []}).encode()
    head = f"POST /proxy/anthropic/v1/messages HTTP/1.1\r\nHost: {raw.main_host}\r\nX-Api-Key: {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with bounded(raw):
        async with raw.client() as client:
            await client.send(head.encode() + body)
            assert (await client.head()).startswith(b"HTTP/1.1 200")
            passed = len(client.buffer)
            with trio.fail_after(60):
                while data := await client.socket.recv(1 << 20):
                    passed += len(data)
                    if passed > ANSWER:
                        break
    assert passed > ANSWER
    raw.visitor.api("GET", f"/api/sandboxes/{raw.sandbox}/usage")


# WebSockets


@pytest.fixture(scope="module")
def machines(raw: Raw) -> dict[str, Any]:
    """A registered machine for each bomb."""
    made = {}
    for name in BOMBS:
        code = raw.visitor.api("POST", f"/api/workspaces/{raw.workspace}/agent-code", {})["code"]
        made[name] = raw.visitor.api("POST", "/api/agent/register", {"code": code, "name": "laptop"})
    return made


_HANDSHAKE: Final = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame\r\n"
)


async def joined(client: Peer, raw: Raw, machine: dict[str, Any], version: int = 2) -> bytes:
    """Shake hands as the machine's agent; the answer's head."""
    more = "Sec-WebSocket-Protocol: cli-server.tunnel.v2\r\n" if version == 2 else ""
    target = f"/api/tunnel/{machine['sandboxId']}"
    head = f"GET {target} HTTP/1.1\r\nHost: {raw.main_host}\r\nAuthorization: Bearer {machine['tunnelToken']}\r\n"
    await client.send((head + _HANDSHAKE + more + "\r\n").encode())
    return await client.head()


async def until_cut(client: Peer, flood: bytes) -> None:
    """Send it again and again until the other side breaks off, which it must.

    What comes after the broken rule is dropped for two seconds more, for whoever is to hear the reason.
    """
    with trio.fail_after(3 * PATIENCE), suppress(OSError):
        while True:
            await client.socket.send(flood)


def _compressed(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return bytes([0x82 | 0x40]) + frame(packed[:-4], client=True)[1:]


_FIRST: Final = frame(b"", client=True, opcode=2, fin=False)
FLOODS: Final[dict[str, bytes]] = {
    "a packed message": _compressed(bytes(64 << 20)),
    "a frame of 2^63 - 1 bytes": bytes([0x82, 0xFF]) + ((1 << 63) - 1).to_bytes(8, "big") + bytes(4),
    "a frame of 2^64 - 1 bytes": bytes([0x82, 0xFF]) + ((1 << 64) - 1).to_bytes(8, "big") + bytes(4),
    "a frame of 16 MiB": bytes([0x82, 0xFF]) + (16 << 20).to_bytes(8, "big") + bytes(4),
    "fragments without end": _FIRST + frame(b"", client=True, opcode=0, fin=False) * 4096,
    "a message of 131,072 fragments": _FIRST + frame(b"a", client=True, opcode=0, fin=False) * 131_072,
    "a header of 4 GiB": frame(b"\xff\xff\xff\xff" + bytes(1000), client=True),
    "deep JSON": frame((60_000).to_bytes(4, "big") + b"[" * 60_000, client=True),
    "text": frame(b"a" * 60_000, client=True, opcode=1),
}


# What is answered and not read piles up somewhere: not here, and not for ever.
PINGS: Final = {
    "pings": frame(bytes(125), client=True, opcode=9) * 1000,
    "application's pings": frame(message(type="ping", token=1), client=True) * 1000,
}
BOMBS: Final = FLOODS | PINGS


@pytest.mark.parametrize("version", [1, 2])
async def test_bombs_of_agents(raw: Raw, machines: dict[str, Any], version: int) -> None:
    """All at once: each is cut by itself, and nothing of it is kept."""

    async def explode(name: str) -> None:
        async with raw.client() as client:
            head = await joined(client, raw, machines[name], version)
            assert head.startswith(b"HTTP/1.1 101")
            assert b"extensions" not in head.lower(), "nothing is packed, so that nothing is unpacked"
            if version == 2:
                await client.send(frame(hello(), client=True))
            await until_cut(client, BOMBS[name])

    with bounded(raw):
        async with trio.open_nursery() as nursery:
            for name in BOMBS:
                nursery.start_soon(explode, name)


@pytest.mark.parametrize("mode", ["deaf", "flood"])
async def test_a_sandboxs_websocket_is_as_fast_as_the_slower_side(raw: Raw, mode: str) -> None:
    """Raw bytes both ways, none of them unpacked or collected: who does not read stops who writes."""
    request = raw.get(f"/ws?mode={mode}", *_HANDSHAKE.split("\r\n")[:-1])
    with bounded(raw):
        async with raw.client() as client:
            await client.send(request)
            assert (await client.head()).startswith(b"HTTP/1.1 101")
            if mode == "deaf":
                await client.send(bytes([0x82, 0xFF]) + ((1 << 63) - 1).to_bytes(8, "big") + os.urandom(4))
                await client.flood(most=ANSWER)
            async with raw.client() as other:
                await other.send(raw.get("/meanwhile"))
                assert (await other.response()).body == b"ok"
            client.reset()


async def test_a_websocket_of_a_sandbox_passes_what_was_agreed(raw: Raw) -> None:
    """Compression is between browser and sandbox; the frames pass, whatever their reserved bits say."""
    bomb = _compressed(bytes(1 << 20))
    async with raw.client() as client:
        await client.send(raw.get("/ws?mode=echo", *_HANDSHAKE.split("\r\n")[:-1]) + bomb)
        assert (await client.head()).startswith(b"HTTP/1.1 101")
        assert await client.exactly(len(bomb)) == bomb
