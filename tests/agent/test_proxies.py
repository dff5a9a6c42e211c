"""Which proxy the environment names, as a table."""

from __future__ import annotations

from base64 import b64encode

import pytest

from daemon.agent.addresses import parse_server
from daemon.agent.errors import WrongSetting
from daemon.agent.proxies import choose_proxy

P = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "environ", "variable"),
    [
        ("https://a.example", {}, None),
        ("https://a.example", {"HTTPS_PROXY": P}, "HTTPS_PROXY"),
        ("https://a.example", {"https_proxy": P, "HTTPS_PROXY": "http://other"}, "https_proxy"),
        ("https://a.example", {"HTTP_PROXY": P}, None),
        ("http://a.example", {"HTTP_PROXY": P}, "HTTP_PROXY"),
        ("http://a.example", {"HTTPS_PROXY": P}, None),
        ("https://a.example", {"ALL_PROXY": P}, "ALL_PROXY"),
        ("https://a.example", {"HTTPS_PROXY": " ", "all_proxy": P}, "all_proxy"),
        ("https://localhost", {"HTTPS_PROXY": P}, None),
        ("https://a.localhost", {"HTTPS_PROXY": P}, None),
        ("https://127.0.0.1", {"HTTPS_PROXY": P}, None),
    ],
)
def test_the_variable(url: str, environ: dict[str, str], variable: str | None) -> None:
    proxy = choose_proxy(environ, parse_server(url))
    assert (proxy and proxy.variable) == variable
    assert proxy is None or (proxy.host, proxy.port) == ("proxy.example", 3128)


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", "https://a.example", True),
        ("a.example", "https://a.example", True),
        (".example", "https://a.example", True),
        ("*.example", "https://a.example", True),
        ("example", "https://a.example", True),
        ("b.example, A.EXAMPLE", "https://a.example", True),
        ("xa.example", "https://a.example", False),
        ("ample", "https://a.example", False),
        ("a.example:443", "https://a.example", True),
        ("a.example:8443", "https://a.example", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2.4", "https://10.1.2.3", False),
        ("10.1.2.3:8443", "https://10.1.2.3:8443", True),
        ("fd00::/8", "https://[fd00::1]", True),
        ("[fd00::1]:8443", "https://[fd00::1]:8443", True),
        ("[fd00::1]:8443", "https://[fd00::1]", False),
        (",, ", "https://a.example", False),
    ],
)
def test_exceptions(no_proxy: str, url: str, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert (choose_proxy({"HTTPS_PROXY": P, name: no_proxy}, parse_server(url)) is None) is direct


@pytest.mark.parametrize(
    ("value", "host", "port", "pair"),
    [
        ("proxy:3128", "proxy", 3128, None),
        ("http://proxy", "proxy", 80, None),
        ("http://u:p%40ss@proxy:1", "proxy", 1, b"u:p@ss"),
        ("http://u@[::1]:1", "::1", 1, b"u:"),
    ],
)
def test_the_value(value: str, host: str, port: int, pair: bytes | None) -> None:
    proxy = choose_proxy({"HTTPS_PROXY": value}, parse_server("https://a.example"))
    assert proxy is not None
    assert (proxy.host, proxy.port) == (host, port)
    assert proxy.authorization == (None if pair is None else b"Basic " + b64encode(pair))
    assert "p@ss" not in repr(proxy) + proxy.name


@pytest.mark.parametrize(
    "value", ["socks5://proxy:1", "https://proxy:1", "http://", "http://proxy:99999", "http://[::1"]
)
def test_a_value_that_cannot_be(value: str) -> None:
    with pytest.raises(WrongSetting, match=r"^HTTPS_PROXY cannot be used; accepted is http://host:port"):
        choose_proxy({"HTTPS_PROXY": value}, parse_server("https://a.example"))
