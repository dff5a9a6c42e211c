"""The addresses on the command line: what is accepted, and what is said of the rest."""

from __future__ import annotations

import pytest

from daemon.agent.addresses import parse_opencode, parse_server
from daemon.agent.errors import WrongSetting


@pytest.mark.parametrize(
    ("text", "url", "authority", "sandbox"),
    [
        ("https://a.example", "https://a.example", "a.example", "https://oc-x.a.example/"),
        ("https://A.Example:443/", "https://a.example", "a.example", "https://oc-x.a.example/"),
        (" http://a.example:80", "http://a.example", "a.example", "http://oc-x.a.example/"),
        ("http://localhost:8080", "http://localhost:8080", "localhost:8080", "http://oc-x.localhost:8080/"),
        ("https://a.example.:8443", "https://a.example:8443", "a.example:8443", "https://oc-x.a.example:8443/"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080", None),
        ("http://[::1]:8080", "http://[::1]:8080", "[::1]:8080", None),
    ],
)
def test_a_server(text: str, url: str, authority: str, sandbox: str | None) -> None:
    server = parse_server(text)
    assert (server.url, server.authority, server.sandbox_url("x")) == (url, authority, sandbox)
    assert parse_server(server.url) == server


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.example", "--server does not begin with http:// or https://"),
        ("", "does not begin with"),
        ("ftp://a.example", "does not begin with"),
        ("https://", "no host"),
        ("https://a..example", "no host"),
        ("https://a b", "no host"),
        ("https://a.example:99999", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://a.example:0", "port 0"),
        ("https://b\u00fccher.example", "xn--"),
        ("https://a.example/team", "root of a host: https://a.example"),
        ("https://a.example/?x=1", "root of a host"),
        ("https://me:secret@a.example", "holds credentials"),
    ],
)
def test_a_server_that_cannot_be(text: str, says: str) -> None:
    with pytest.raises(WrongSetting) as caught:
        parse_server(text)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("a.localhost", True), ("127.0.0.2", True), ("[::1]", True), ("a.example", False)],
)
def test_what_is_this_machine(host: str, local: bool) -> None:
    assert parse_server(f"http://{host}").is_local is local


def test_opencode() -> None:
    address = parse_opencode("http://me:p%40ss@localhost:4096/")
    assert (address.host, address.port, address.user, address.password) == ("localhost", 4096, "me", "p@ss")
    assert address.hosts == ("127.0.0.1", "::1")
    assert address.url == "http://localhost:4096"
    assert "p@ss" not in repr(address)
    assert parse_opencode("http://10.0.0.1:1").hosts == ("10.0.0.1",)


@pytest.mark.parametrize(
    "text", ["https://localhost:4096", "localhost:4096", "http://h:1/x", "http://h/?x", "http://u:pw@"]
)
def test_an_opencode_that_cannot_be(text: str) -> None:
    with pytest.raises(WrongSetting, match="--opencode-url") as caught:
        parse_opencode(text)
    assert "pw" not in str(caught.value)
