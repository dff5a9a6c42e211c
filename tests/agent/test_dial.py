"""Reaching the server: directly, through a proxy, with TLS; the handshake; and a sentence for everything that fails."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from daemon.agent import dial
from daemon.agent.addresses import parse_server
from daemon.agent.credentials import Registration
from daemon.agent.dial import Dialer, tls_context
from daemon.agent.errors import AgentError, Refused, Trouble, WrongSetting
from daemon.agent.handshake import open_tunnel
from daemon.agent.http import retry_seconds
from daemon.agent.proxies import choose_proxy
from daemon.agent.registration import register
from tests.agent.standin import GIVEN, SANDBOX, TOKEN, V2, Answer, StandIn, http, http_at, stand_in
from tests.support.connect_proxy import ConnectProxy, connect_proxy
from tests.support.product import free_port

if TYPE_CHECKING:
    from pathlib import Path

NAME = "agents.test"  # no resolver knows it: only a proxy can


def _registration(url: str) -> Registration:
    return Registration(url, SANDBOX, TOKEN, "w1", "laptop")


def _dialer(url: str, environ: dict[str, str] | None = None) -> Dialer:
    server = parse_server(url)
    given = environ or {}
    return Dialer(server, choose_proxy(given, server), tls_context(given) if server.tls else None)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Signs certificates, and nobody trusts it by itself."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """What ``SSL_CERT_FILE`` names."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def _server_tls(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def _trouble(url: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(Trouble) as caught:
        await open_tunnel(_dialer(url, environ), _registration(url))
    assert TOKEN not in str(caught.value)
    return str(caught.value)


async def test_the_handshake() -> None:
    async with stand_in(StandIn()) as server:
        dialed = await open_tunnel(_dialer(server.url), _registration(server.url))
        dialed.stream.close()
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("GET", f"/api/tunnel/{SANDBOX}")
    key = asked.headers.pop("sec-websocket-key")
    agent = asked.headers.pop("user-agent")
    assert asked.headers == {
        "host": f"127.0.0.1:{server.port}",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": V2,
        "authorization": f"Bearer {TOKEN}",
    }
    assert len(key) == 24
    assert agent.startswith("cli-server-agent/")
    assert dialed.version == 2


@pytest.mark.parametrize(("subprotocol", "version"), [(V2, 2), (None, 1)])
@pytest.mark.parametrize("early", [b"", b"\x82\x02{}"])
async def test_the_version_and_what_comes_behind_the_head(subprotocol: str | None, version: int, early: bytes) -> None:
    async with stand_in(StandIn([Answer(subprotocol=subprotocol, early=early)])) as server:
        dialed = await open_tunnel(_dialer(server.url), _registration(server.url))
        found = dialed.early
        while len(found) < len(early):
            found += await dialed.stream.receive()
        assert (dialed.version, found) == (version, early)
        dialed.stream.close()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="), "answered a handshake that is not ours"),
        (Answer(headers={"Upgrade": "h2c"}), "is no WebSocket"),
        (Answer(headers={"Connection": "keep-alive"}), "is no WebSocket"),
        (Answer(subprotocol="other"), "chose something that the agent did not offer"),
        (Answer(headers={"Sec-WebSocket-Extensions": "permessage-deflate"}), "did not offer"),
        (Answer(None), "broke off: the connection was closed before an answer"),
    ],
)
async def test_a_handshake_that_is_none(answer: Answer, says: str) -> None:
    async with stand_in(StandIn([answer])) as server:
        assert says in await _trouble(server.url)


async def test_an_answer_that_is_no_http() -> None:
    async with http_at(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        assert "the answer is not HTTP/1.1" in await _trouble(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("body", "headers", "detail", "wait"),
    [
        ({"title": "Gone", "detail": "it was deleted."}, {}, "it was deleted", None),
        ({"title": "Gone"}, {}, "Gone", None),
        ({"detail": "a\x1b[31m\nb" + "x" * 999}, {}, "a [31m b" + "x" * 192 + "…", None),
        ({"detail": 1}, {"Retry-After": "7"}, "", 7.0),
        (b"<html>", {"Retry-After": "soon"}, "", None),
        (b"y" * 200_000, {}, "", None),
    ],
)
async def test_a_refusal_says_why(body: object, headers: dict[str, str], detail: str, wait: float | None) -> None:
    async with stand_in(StandIn([Answer(503, body, headers)])) as server:
        with pytest.raises(Refused) as caught:
            await open_tunnel(_dialer(server.url), _registration(server.url))
    assert (caught.value.status, caught.value.detail, caught.value.retry_after) == (503, detail, wait)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("", None), ("0", 0.0), ("120", 120.0), ("-1", None), ("1e3", None), ("9" * 400, 999_999_999.0), ("x", None),
     ("Thu, 01 Jan 1970 00:02:00 GMT", 60.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_seconds(value, now=60.0) == seconds


async def test_a_name_below_localhost() -> None:
    """Python's resolver does not know them."""
    async with stand_in(StandIn()) as server:
        url = f"http://team.localhost:{server.port}"
        (await open_tunnel(_dialer(url), _registration(url))).stream.close()
    assert server.asked[0].headers["host"] == f"team.localhost:{server.port}"


async def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert await _trouble(url) == f"cannot reach {url}: connection refused"
    url = f"http://localhost:{free_port()}"
    assert await _trouble(url) == f"cannot reach {url}: connection refused"


async def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*args: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    assert "its name cannot be resolved" in await _trouble("http://nowhere.test")


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "ANSWER_SECONDS", 0.05)
    async with stand_in(StandIn([Answer(silent=True)])) as server:
        assert await _trouble(server.url) == f"{server.url} took the request and does not answer it"


async def test_tls_with_a_private_authority(authority: trustme.CA, ca_file: str) -> None:
    async with stand_in(StandIn(host="localhost"), _server_tls(authority)) as server:
        dialer = _dialer(server.url, {"SSL_CERT_FILE": ca_file})
        dialed = await open_tunnel(dialer, _registration(server.url))
        assert dialed.version == 2
        dialed.stream.close()


async def test_tls_with_a_folder_of_authorities(authority: trustme.CA, ca_file: str, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    # The name that OpenSSL looks for is a hash of the subject, which the ssl module does not tell: openssl does.
    done = await trio.run_process(["openssl", "x509", "-hash", "-noout", "-in", ca_file], capture_stdout=True)
    os.symlink(ca_file, folder / f"{done.stdout.decode().strip()}.0")
    async with stand_in(StandIn(host="localhost"), _server_tls(authority)) as server:
        dialer = _dialer(server.url, {"SSL_CERT_DIR": str(folder)})
        (await open_tunnel(dialer, _registration(server.url))).stream.close()


async def test_a_certificate_that_nobody_trusts(authority: trustme.CA) -> None:
    async with stand_in(StandIn(host="localhost"), _server_tls(authority)) as server:
        said = await _trouble(server.url)
    assert said.startswith(f"the certificate of {server.url} is not trusted: unable to get local issuer certificate")
    assert "set SSL_CERT_FILE" in said
    assert not server.asked


async def test_a_certificate_for_another_name(authority: trustme.CA, ca_file: str) -> None:
    async with stand_in(StandIn(host="localhost"), _server_tls(authority, "other.test")) as server:
        said = await _trouble(server.url, {"SSL_CERT_FILE": ca_file})
    assert "is not trusted: Hostname mismatch" in said


async def test_tls_where_there_is_none() -> None:
    async with http_at(http(400)) as port:
        said = await _trouble(f"https://localhost:{port}")
    assert f"https://localhost:{port} does not speak TLS as it should" in said


async def test_tls_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "TLS_SECONDS", 0.05)
    async with http_at(None) as port:
        assert await _trouble(f"https://localhost:{port}") == f"https://localhost:{port} does not answer to TLS"


@pytest.mark.parametrize(
    ("variable", "content", "says"),
    [
        ("SSL_CERT_FILE", None, "cannot be read: No such file"),
        ("SSL_CERT_FILE", "no certificate", "holds no certificates"),
        ("SSL_CERT_DIR", None, "is no folder"),
    ],
)
def test_authorities_that_are_not_there(tmp_path: Path, variable: str, content: str | None, says: str) -> None:
    path = tmp_path / "ca"
    if content is not None:
        path.write_text(content)
    with pytest.raises(WrongSetting, match=variable) as caught:
        tls_context({variable: str(path)})
    assert says in str(caught.value)


async def test_through_a_proxy(authority: trustme.CA, ca_file: str) -> None:
    """The proxy resolves the name; user and password go to it and not to the server."""
    async with (
        stand_in(StandIn(), _server_tls(authority, NAME)) as server,
        connect_proxy(ConnectProxy(authorization=b"Basic dTpwQHNz", leads={NAME: ("127.0.0.1", server.port)})) as proxy,
    ):
        url = f"https://{NAME}:{server.port}"
        environ = {"HTTPS_PROXY": f"http://u:p%40ss@127.0.0.1:{proxy.port}", "SSL_CERT_FILE": ca_file}
        (await open_tunnel(_dialer(url, environ), _registration(url))).stream.close()
    assert proxy.targets == [f"{NAME}:{server.port}"]
    assert "proxy-authorization" not in server.asked[0].headers
    assert b"authorization" not in proxy.heads[0]


async def test_an_unencrypted_server_through_a_proxy() -> None:
    async with (
        stand_in(StandIn()) as server,
        connect_proxy(ConnectProxy(leads={NAME: ("127.0.0.1", server.port)})) as proxy,
    ):
        url = f"http://{NAME}:{server.port}"
        (await open_tunnel(_dialer(url, {"http_proxy": proxy.url}), _registration(url))).stream.close()
    assert proxy.targets == [f"{NAME}:{server.port}"]


@pytest.mark.parametrize(
    ("proxy", "says"),
    [
        (ConnectProxy(refusal=403), f"refuses to connect to https://{NAME} (status 403)"),
        (ConnectProxy(authorization=b"Basic eA=="), "HTTPS_PROXY takes them: http://user:password@host"),
        (ConnectProxy(silent=True), "does not answer"),
    ],
)
async def test_a_proxy_that_will_not(proxy: ConnectProxy, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "PROXY_SECONDS", 0.05 if proxy.silent else 20)
    async with connect_proxy(proxy):
        said = await _trouble(f"https://{NAME}", {"HTTPS_PROXY": proxy.url})
    assert said.startswith(f"the proxy 127.0.0.1 port {proxy.port} (from HTTPS_PROXY)")
    assert says in said


async def test_a_proxy_that_is_away() -> None:
    port = free_port()
    said = await _trouble(f"https://{NAME}", {"HTTPS_PROXY": f"http://127.0.0.1:{port}"})
    assert said == f"cannot reach the proxy 127.0.0.1 port {port} (from HTTPS_PROXY): connection refused"


async def test_a_proxy_that_talks_too_much() -> None:
    async with http_at(b"HTTP/1.1 200 OK\r\n\r\nmore") as port:
        said = await _trouble(f"https://{NAME}", {"HTTPS_PROXY": f"http://127.0.0.1:{port}"})
    assert "sent something that is not the server's" in said


async def test_a_proxy_that_is_something_else() -> None:
    async with http_at(b"nonsense\r\n\r\n") as port:
        said = await _trouble(f"https://{NAME}", {"HTTPS_PROXY": f"http://127.0.0.1:{port}"})
    assert "broke off: the answer is not HTTP/1.1" in said


async def test_registering() -> None:
    async with stand_in(StandIn()) as server:
        registration = await register(_dialer(server.url), "the-code", "b\u00fcro")
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.json) == (
        "POST", "/api/agent/register", {"code": "the-code", "name": "b\u00fcro"},
    )  # fmt: skip
    assert asked.headers["content-type"] == "application/json"
    assert registration == Registration(server.url, SANDBOX, TOKEN, "w123456789abcdef", "b\u00fcro")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(401, {"detail": "No such code."}), "older than ten minutes (No such code); get a new code"),
        (Answer(301, b"", {"Location": "https://main.example/api"}), "sends us on to https://main.example/api; give"),
        (Answer(404, b"<html>"), "does not know how to register a machine; is it a cli-server"),
        (Answer(429, b"", {"Retry-After": "30"}), "asked too often; try again in 30 s"),
        (Answer(503, {"detail": "starting"}), "cannot register a machine now (status 503) (starting); try again soon"),
        (Answer(422, {"detail": "name is too long"}), "(status 422) (name is too long)"),
        (Answer(200, b"<html>"), "(status 200)"),
        (Answer(201, b"<html>"), "does not understand: sandboxId is missing"),
        (Answer(201, {**GIVEN, "sandboxId": "../../x"}), "does not understand: sandboxId"),
        (Answer(201, {**GIVEN, "tunnelToken": "a\r\nb"}), "does not understand: tunnelToken"),
        (Answer(None), "this machine is not registered, try again with the same code"),
    ],
)
async def test_a_registration_that_fails(answer: Answer, says: str) -> None:
    async with stand_in(StandIn(registration=answer)) as server:
        with pytest.raises(AgentError) as caught:
            await register(_dialer(server.url), "the-code", "laptop")
    assert says in str(caught.value)
    assert len(server.asked) == 1  # no redirect is followed, and nothing is asked twice


@pytest.mark.parametrize("where", ["connecting", "asking"])
async def test_cancelling_leaves_no_connection(where: str) -> None:
    """What is opened is closed, whenever the attempt is given up (an open socket would be a ResourceWarning)."""
    async with stand_in(StandIn([Answer(silent=True)])) as server:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(open_tunnel, _dialer(server.url), _registration(server.url))
                if where == "asking":
                    await server.until(lambda: len(server.asked) == 1)
                else:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    assert scope.cancelled_caught
