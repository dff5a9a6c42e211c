"""What passes to Anthropic, as tables."""

from __future__ import annotations

import pytest

from daemon.anthropic.policy import (
    BaseUrl,
    NoToken,
    client_headers,
    find_endpoint,
    operator_credentials,
    parse_base_url,
    presented_token,
    upstream_headers,
    upstream_target,
)

BASE = parse_base_url("https://api.anthropic.com")


@pytest.mark.parametrize(
    ("target", "method", "metered"),
    [
        ("/v1/messages", "POST", True),
        ("/v1/messages?beta=true", "POST", True),
        ("/v1/messages?", "POST", True),
        ("/v1/messages/count_tokens", "POST", False),
        ("/v1/messages/count_tokens?beta=true", "POST", False),
        ("/v1/models", "GET", False),
        ("/v1/models?limit=1000&after_id=x", "GET", False),
        ("/v1/models/claude-sonnet-4-5", "GET", False),
        ("/v1/models/claude-3-5-haiku@20241022", "GET", False),
        ("/v1/models/us.anthropic.claude-opus-4-1-20250805-v1:0", "GET", False),
    ],
)
def test_allowed(target: str, method: str, metered: bool) -> None:
    endpoint = find_endpoint(b"/proxy/anthropic" + target.encode())
    assert endpoint is not None
    assert (endpoint.method.decode(), endpoint.metered) == (method, metered)


# Lesson: "The LLM proxy forwarded every path and method with the operator's key".
@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/",
        "/v1",
        "/v1/",
        "/v1/messages/",
        "//v1/messages",
        "/v1//messages",
        "/v1/./messages",
        "/v1/../v1/messages",
        "/v1/models/../messages",
        "/v1/models/..",
        "/v1/models/.",
        "/v1/models/a..b",
        "/v1/models/a/../../organizations",
        "/v1/models/a%2fb",
        "/v1/models/%2e%2e",
        "/v1/models/",
        "/v1/models/-a",
        "/v1/models/" + "a" * 300,
        "/v1/messages%2fbatches",
        "/v1/mess%61ges",
        "/v1/messages;x",
        "/v1/messages#",
        "/v1/messages?beta=true#x",
        "/v1/messages\\",
        "/V1/messages",
        "/v1/Messages",
        "/v1/messages/batches",
        "/v1/messages/batches/b/results",
        "/v1/files",
        "/v1/files/f/content",
        "/v1/organizations/api_keys",
        "/v1/complete",
        "/v1/skills",
        "/proxy/anthropic/v1/messages",
        "@evil/v1/messages",
        ".evil/v1/messages",
        "/@evil/v1/messages",
    ],
)
def test_everything_else_is_unknown(rest: str) -> None:
    assert find_endpoint(b"/proxy/anthropic" + rest.encode()) is None


def test_an_endpoint_without_our_prefix_is_unknown() -> None:
    assert find_endpoint(b"/v1/messages") is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.anthropic.com", BaseUrl(True, "api.anthropic.com", 443, b"api.anthropic.com", b"")),
        ("https://api.anthropic.com:443/", BaseUrl(True, "api.anthropic.com", 443, b"api.anthropic.com", b"")),
        ("http://10.0.0.7:4000", BaseUrl(False, "10.0.0.7", 4000, b"10.0.0.7:4000", b"")),
        ("http://gw.example", BaseUrl(False, "gw.example", 80, b"gw.example", b"")),
        ("https://gw.example/a/b/", BaseUrl(True, "gw.example", 443, b"gw.example", b"/a/b")),
        ("http://[::1]:4000/x", BaseUrl(False, "::1", 4000, b"[::1]:4000", b"/x")),
    ],
)
def test_base_url(url: str, expected: BaseUrl) -> None:
    assert parse_base_url(url) == expected


def test_the_path_of_the_base_url_is_kept() -> None:
    """Lesson: the LLM proxy "dropped the path of the base URL"."""
    base = parse_base_url("https://gw.example/anthropic")
    assert upstream_target(base, b"/proxy/anthropic/v1/messages?beta=true") == b"/anthropic/v1/messages?beta=true"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-api-key", b"clis-1")],
        [(b"authorization", b"Bearer clis-1")],
        [(b"authorization", b"bearer   clis-1 ")],
        [(b"x-api-key", b"clis-1"), (b"authorization", b"Bearer clis-1")],
        [(b"x-api-key", b""), (b"authorization", b"Bearer clis-1")],
        [(b"x-api-key", b"clis-1"), (b"authorization", b"")],
        [(b"x-api-key", b"clis-1"), (b"x-api-key", b"clis-1")],
    ],
)
def test_the_token_is_found(headers: list[tuple[bytes, bytes]]) -> None:
    assert presented_token([(b"host", b"x"), *headers]) == "clis-1"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"x-api-key", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic Y2xpcy0x")],
        [(b"authorization", b"clis-1")],
        [(b"x-api-key", b"clis-1"), (b"authorization", b"Bearer clis-2")],
        [(b"x-api-key", b"clis-1"), (b"x-api-key", b"clis-2")],
        [(b"x-api-key", b"clis-1"), (b"authorization", b"Basic Y2xpcy0x")],
        [(b"cookie", b"x-api-key=clis-1")],
        [(b"proxy-authorization", b"Bearer clis-1")],
    ],
)
def test_no_token_or_two_of_them(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(NoToken):
        presented_token(headers)


@pytest.mark.parametrize(
    ("api_key", "auth_token", "expected"),
    [
        (None, None, []),
        ("", "", []),
        ("sk-1", None, [(b"x-api-key", b"sk-1")]),
        (None, "tok", [(b"authorization", b"Bearer tok")]),
        ("sk-1", "tok", [(b"x-api-key", b"sk-1"), (b"authorization", b"Bearer tok")]),
    ],
)
def test_operator_credentials(api_key: str | None, auth_token: str | None, expected: list[tuple[bytes, bytes]]) -> None:
    assert operator_credentials(api_key, auth_token) == expected


PASSED = [
    (b"accept", b"application/json"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"interleaved-thinking-2025-05-14"),
    (b"anthropic-beta", b"fine-grained-tool-streaming-2025-05-14"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"opencode/1.18.33"),
    (b"x-stainless-lang", b"js"),
    (b"x-stainless-retry-count", b"0"),
    (b"x-app", b"cli"),
]

HELD_BACK = [
    (b"host", b"localhost:8080"),
    (b"x-api-key", b"clis-proxy-token"),
    (b"authorization", b"Bearer clis-proxy-token"),
    (b"proxy-authorization", b"Basic eA=="),
    (b"cookie", b"cli-server-session=s"),
    (b"x-forwarded-for", b"10.0.0.1"),
    (b"x-forwarded-host", b"oc-x.localhost"),
    (b"forwarded", b"for=10.0.0.1"),
    (b"via", b"1.1 x"),
    (b"x-real-ip", b"10.0.0.1"),
    (b"origin", b"http://oc-x.localhost:8080"),
    (b"referer", b"http://oc-x.localhost:8080/secret"),
    (b"anthropic-dangerous-direct-browser-access", b"true"),
    (b"x-goog-api-key", b"other"),
    (b"x-session-id", b"ses_1"),
    (b"accept-encoding", b"gzip, br"),
    (b"connection", b"keep-alive, x-app-2, anthropic-nothing"),
    (b"keep-alive", b"timeout=5"),
    (b"te", b"trailers"),
    (b"transfer-encoding", b"chunked"),
    (b"content-length", b"5"),
    (b"upgrade", b"websocket"),
    (b"expect", b"100-continue"),
]


def test_only_known_headers_reach_anthropic() -> None:
    credentials = [(b"x-api-key", b"sk-operator")]
    assert upstream_headers([*HELD_BACK, *PASSED], BASE, credentials) == [
        (b"host", b"api.anthropic.com"),
        (b"x-api-key", b"sk-operator"),
        (b"accept-encoding", b"identity"),
        *PASSED,
    ]


def test_the_proxy_token_does_not_pass_where_only_a_bearer_token_is_configured() -> None:
    """Lesson: the LLM proxy "passed the proxy token upstream when only a Bearer token was configured"."""
    sent = upstream_headers([(b"x-api-key", b"clis-1")], BASE, operator_credentials(None, "tok"))
    assert [value for name, value in sent if name in (b"x-api-key", b"authorization")] == [b"Bearer tok"]
    assert not any(b"clis-1" in value for _, value in sent)


def test_a_header_named_by_connection_is_hop_by_hop() -> None:
    sent = upstream_headers([(b"connection", b"anthropic-beta"), (b"anthropic-beta", b"x")], BASE, [])
    assert sent == [(b"host", b"api.anthropic.com"), (b"accept-encoding", b"identity")]


def test_what_speaks_of_anthropics_host_does_not_come_back() -> None:
    kept = [
        (b"content-type", b"text/event-stream"),
        (b"request-id", b"req_1"),
        (b"anthropic-ratelimit-requests-remaining", b"3"),
        (b"retry-after", b"7"),
        (b"x-twice", b"a"),
        (b"x-twice", b"b"),
    ]
    dropped = [
        (b"set-cookie", b"__cf_bm=1"),
        (b"alt-svc", b'h3=":443"'),
        (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
        (b"clear-site-data", b'"*"'),
    ]
    assert client_headers(dropped + kept) == kept
