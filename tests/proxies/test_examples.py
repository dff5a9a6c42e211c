"""The proxies of the install guide, from the files that people copy, before the real daemon: nothing is held back."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Message, Request, TextMessage

from tests.proxies.front import PATIENCE, Front, browser, certify, running
from tests.support.machine import local_server, machine
from tests.support.product import Product, free_port
from tests.support.visitor import PAGE
from tests.systemd.manager import GIVE_SOCKETS, OPENCODE_BIN

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(240)]

KINDS = [pytest.param(kind, marks=pytest.mark.needs(kind)) for kind in ("nginx", "caddy")]
UPLOAD = 64 << 20  # bytes; no proxy's default buffer, and more than the limits that proxies have by default
ELSEWHERE = "198.51.100.7"  # an address that a client claims to have


@dataclass
class Site:
    """A daemon behind a proxy."""

    made: Product
    front: Front
    context: ssl.SSLContext

    @property
    def url(self) -> str:
        """The main site as browsers know it."""
        return f"https://localhost:{self.front.port}"

    def browser(self, *, http2: bool = True) -> httpx.Client:
        """A new browser."""
        return browser(self.context, http2=http2)


@contextmanager
def site(kind: str, folder: Path, database_url: str) -> Iterator[Site]:
    """Everything, with the daemon on a socket that stays open."""
    context = certify(folder)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        fd, port = listening.fileno(), listening.getsockname()[1]
        front = Front(kind, folder, port, free_port())
        env = {
            "DATABASE_URL": database_url,
            "OPENCODE_BIN": OPENCODE_BIN,
            "BASE_DOMAIN": "localhost",
            "BASE_SCHEME": "https",
            "PUBLIC_PORT": str(front.port),
            "TRUSTED_PROXIES": "127.0.0.1/32",
        }
        made = Product(folder, env, port, program=("-c", GIVE_SOCKETS, str(fd), "cli-server.socket"), fds=(fd,))
        made.start()
        front.write()
        try:
            with running(front):
                yield Site(made, front, context)
        finally:
            made.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_is_valid(kind: str, tmp_path: Path) -> None:
    certify(tmp_path)
    front = Front(kind, tmp_path, 8080, free_port())
    front.write()
    done = subprocess.run(front.command("validate"), env=front.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_everything_passes(kind: str, tmp_path: Path, database_url: str) -> None:
    with site(kind, tmp_path, database_url) as there, there.browser() as visitor:
        _sign_in(there, visitor)
        with local_server() as port, machine(tmp_path / "laptop", SSL_CERT_FILE=str(tmp_path / "authority.pem")) as pc:
            pc.port = port
            host = _join(there, visitor, pc)
            _check_requests(there, visitor, host)
            _check_events(there, visitor, host)
            _check_upload(there, visitor, host)
            _check_websocket(there, visitor, host)


def _sign_in(there: Site, visitor: httpx.Client) -> None:
    page = visitor.get(f"{there.url}/", headers=PAGE)
    assert page.status_code == 200
    assert page.http_version == "HTTP/2"
    answer = visitor.post(
        f"{there.url}/api/auth/register",
        json={"username": "ada", "password": "correct horse battery staple"},
        headers={"X-Forwarded-For": ELSEWHERE, "X-Forwarded-Proto": "http"},
    )
    assert answer.status_code == 201, answer.text
    assert "; Secure" in answer.headers["set-cookie"]
    (session,) = visitor.get(f"{there.url}/api/auth/sessions").json()
    assert ELSEWHERE not in json.dumps(session), "what clients claim is not believed"
    assert "127.0.0.1" in json.dumps(session), "and what the proxy says is"


def _join(there: Site, visitor: httpx.Client, pc: Any) -> str:
    """A machine joins through the proxy, and its page is opened; the URL of its host."""
    (workspace,) = visitor.get(f"{there.url}/api/workspaces").json()
    code = visitor.post(f"{there.url}/api/workspaces/{workspace['id']}/agent-code", json={}).json()["code"]
    pc.connect("--server", there.url, "--code", code, "--name", "laptop")
    sandbox = _running(there, visitor, workspace["id"])
    host = str(sandbox["url"]).rstrip("/")
    assert host == f"https://oc-{sandbox['id']}.localhost:{there.front.port}"
    opened = visitor.get(
        f"{there.url}/api/sandboxes/{sandbox['id']}/open?next={quote(host + '/global/health', safe='')}",
        headers=PAGE,
        follow_redirects=True,
    )
    assert (opened.status_code, str(opened.url)) == (200, f"{host}/global/health"), opened.text
    assert opened.json()["healthy"] is True
    return host


def _running(there: Site, visitor: httpx.Client, workspace_id: str) -> Any:
    """The one sandbox, once requests reach it: its agent says that it is connected a moment before."""
    deadline = time.monotonic() + PATIENCE
    while True:
        (sandbox,) = visitor.get(f"{there.url}/api/workspaces/{workspace_id}/sandboxes").json()
        if sandbox["status"] == "running":
            return sandbox
        assert time.monotonic() < deadline, sandbox
        time.sleep(0.05)


def _check_requests(there: Site, visitor: httpx.Client, host: str) -> None:
    target = "/hash/a%2Fb//c;d?x=%20&y"
    seen = visitor.get(host + target).json()
    assert seen["target"] == target, "the path is passed on as it came"
    assert len(visitor.get(f"{host}/cookies").headers.get_list("set-cookie")) == 2
    body = visitor.get(f"{host}/bytes/{UPLOAD}").content
    assert len(body) == UPLOAD
    chunked = visitor.get(f"{host}/bytes/{UPLOAD}?chunked=1").content
    assert chunked == body
    stranger = visitor.get(f"https://elsewhere.localhost:{there.front.port}/")
    assert stranger.status_code == 421


def _check_events(there: Site, visitor: httpx.Client, host: str) -> None:
    """The first event arrives while the stream goes on."""
    with visitor.stream("GET", f"{there.url}/api/events", headers={"Accept": "text/event-stream"}) as answer:
        assert next(answer.iter_bytes()).startswith(b"retry:")
    with there.browser() as other, visitor.stream("GET", f"{host}/events") as answer:
        other.cookies.update(visitor.cookies)
        pieces = answer.iter_bytes()
        for text in ("one", "two"):
            assert other.post(f"{host}/__event", content=text.encode()).status_code in (200, 204)
            found = b""
            while text.encode() not in found:
                found += next(pieces)


def _check_upload(there: Site, visitor: httpx.Client, host: str) -> None:
    """Large, and not held back: the other end has the beginning before the end is sent."""
    piece = os.urandom(1 << 20)
    sent = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for _ in range(UPLOAD // len(piece)):
            sent.update(piece)
            yield piece

    answer = visitor.post(f"{host}/hash", content=pieces(), headers={"Content-Length": str(UPLOAD)})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["received"], answer.json()["sha256"]) == (UPLOAD, sent.hexdigest())

    def halves() -> Iterator[bytes]:
        yield b"first half, "
        deadline = time.monotonic() + PATIENCE
        with there.browser() as other:
            other.cookies.update(visitor.cookies)
            while not _arrived(other.get(f"{host}/__state").json()):
                assert time.monotonic() < deadline, "the first half was held back"
        yield b"second half"

    assert visitor.post(f"{host}/hash?slow", content=halves()).json()["received"] == 23


def _arrived(state: dict[str, Any]) -> bool:
    return any(visit["target"] == "/hash?slow" and visit["received"] == 12 for visit in state["visits"])


def _check_websocket(there: Site, visitor: httpx.Client, host: str) -> None:
    name = host.removeprefix("https://")
    cookies = "; ".join(
        f"{cookie.name}={cookie.value}" for cookie in visitor.cookies.jar if name.startswith(cookie.domain)
    )
    there.context.set_alpn_protocols(["http/1.1"])  # as browsers do for WebSockets
    headers = [(b"Cookie", cookies.encode()), (b"Origin", host.encode())]
    with (
        socket.create_connection(("127.0.0.1", there.front.port), PATIENCE) as plain,
        there.context.wrap_socket(plain, server_hostname=name.partition(":")[0]) as sock,
    ):
        socket_ = WSConnection(ConnectionType.CLIENT)
        sock.sendall(socket_.send(Request(host=name, target="/ws", extra_headers=headers)))
        assert isinstance(_next(socket_, sock), AcceptConnection)
        for message in (TextMessage("hello"), BytesMessage(b"x" * 100_000)):
            sock.sendall(socket_.send(message))
            assert _whole(socket_, sock) == message.data


def _next(ws: WSConnection, sock: ssl.SSLSocket) -> Any:
    while True:
        for event in ws.events():
            return event
        ws.receive_data(sock.recv(65536) or None)


def _whole(ws: WSConnection, sock: ssl.SSLSocket) -> Any:
    """The next message, put together."""
    found: list[Any] = []
    while True:
        for event in ws.events():
            assert isinstance(event, Message)
            found.append(event.data)
            if event.message_finished:
                return found[0][:0].join(found)
        ws.receive_data(sock.recv(65536) or None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_behind_the_proxy_answers_everybody(kind: str, tmp_path: Path, database_url: str) -> None:
    with site(kind, tmp_path, database_url) as there:
        over = threading.Event()
        found: list[int] = []

        def ask() -> None:
            while not over.is_set():
                with there.browser() as visitor:
                    for _ in range(50):  # nginx ends a connection after 1000 requests, and this client may not notice
                        found.append(visitor.get(f"{there.url}/healthz").status_code)

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        try:
            there.made.stop()
            there.made.start()
        finally:
            over.set()
            for asker in askers:
                asker.join()
        assert len(found) >= len(askers)
        assert set(found) == {200}
