"""What a sandbox is told. It never gets the operator's key, the daemon's environment or the database's address."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from daemon.config import Endpoint
from daemon.sandboxes.environment import derived_proxy_url, limits, merged, proxy_host, sandbox_spec
from daemon.secret import Keyring
from daemon.store.sandboxes import SandboxRow
from tests.api.support import make_settings

KEYRING = Keyring(b"k" * 32)
PROXY = "http://127.0.0.1:8080/proxy/anthropic"
VALUES: dict[str, Any] = {field.name: None for field in dataclasses.fields(SandboxRow)}
ROW = SandboxRow(**(VALUES | {"id": "a123456789abcdef", "workspace_id": "b123456789abcdef", "secret_version": 1}))


def test_no_secret_of_the_operator_reaches_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract, section 8."""
    monkeypatch.setenv("A_SECRET_OF_THE_DAEMON", "secret-environment")
    settings = make_settings(
        anthropic_api_key="secret-key",
        anthropic_auth_token="secret-token",
        database_url="postgresql://u:secret-database@h/d",
        github_client_secret="secret-github",
        oidc_client_secret="secret-oidc",
    )
    spec = sandbox_spec(settings, KEYRING, PROXY, ROW)
    assert "secret-" not in json.dumps(dict(spec.env))
    assert "secret-" not in repr(spec)
    assert set(spec.env) == {
        "OPENCODE_SERVER_PASSWORD", "OPENCODE_CONFIG_CONTENT", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY",
        "OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_AUTOUPDATE",
    }  # fmt: skip


def test_its_own_secrets_and_only_in_the_environment() -> None:
    spec = sandbox_spec(make_settings(), KEYRING, PROXY + "/", ROW)
    assert spec.env["OPENCODE_SERVER_PASSWORD"] == spec.password == KEYRING.opencode_password(ROW.id, 1)
    assert spec.env["ANTHROPIC_API_KEY"] == KEYRING.proxy_token(ROW.id, 1)
    assert spec.env["ANTHROPIC_BASE_URL"] == PROXY + "/v1"
    assert spec.password not in repr(spec)
    assert spec.env["ANTHROPIC_API_KEY"] not in repr(spec)


def test_a_rotation_changes_both_secrets() -> None:
    before, after = (
        sandbox_spec(make_settings(), KEYRING, PROXY, dataclasses.replace(ROW, secret_version=version))
        for version in (1, 2)
    )
    assert before.password != after.password
    assert before.env["ANTHROPIC_API_KEY"] != after.env["ANTHROPIC_API_KEY"]


def test_our_values_win_over_the_operators_configuration_and_the_rest_stays() -> None:
    operators = {
        "model": "anthropic/some",
        "provider": {
            "anthropic": {"options": {"baseURL": "http://elsewhere", "apiKey": "theirs", "timeout": 5}, "name": "A"},
            "other": {"options": {"baseURL": "http://other"}},
        },
    }
    spec = sandbox_spec(make_settings(opencode_config_content=json.dumps(operators)), KEYRING, PROXY, ROW)
    config = json.loads(spec.env["OPENCODE_CONFIG_CONTENT"])
    assert config["provider"]["anthropic"]["options"] == {
        "baseURL": PROXY + "/v1",
        "apiKey": KEYRING.proxy_token(ROW.id, 1),
        "timeout": 5,
    }
    assert config["provider"]["anthropic"]["name"] == "A"
    assert config["provider"]["other"] == operators["provider"]["other"]  # type: ignore[index]
    assert config["model"] == "anthropic/some"


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": 1}, {"a": {"c": 2}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": [1]}, {"a": [2]}, {"a": [2]}),
    ],
)
def test_merging(base: dict[str, Any], over: dict[str, Any], result: dict[str, Any]) -> None:
    assert merged(base, over) == result


def test_limits_of_the_sandbox_and_of_the_server() -> None:
    settings = make_settings()
    assert limits(settings, ROW).memory == settings.agent_memory_limit
    own = limits(settings, dataclasses.replace(ROW, cpu="500m", memory="1Gi"))
    assert (own.cpu, own.memory, own.pids) == (0.5, 1 << 30, settings.agent_pids_limit)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080/proxy/anthropic"),
        ("::", "http://127.0.0.1:8080/proxy/anthropic"),
        ("::1", "http://[::1]:8080/proxy/anthropic"),
        ("192.0.2.1", "http://192.0.2.1:8080/proxy/anthropic"),
    ],
)
def test_where_the_proxy_is(host: str, url: str) -> None:
    assert derived_proxy_url(make_settings(listen=Endpoint(host, 8080))) == url
    given = make_settings(anthropic_proxy_url="https://proxy.example/a")
    assert derived_proxy_url(given) == "https://proxy.example/a"


def test_containers_know_the_server_by_a_name_of_its_own() -> None:
    """The listener may be on loopback, which in a container is the container."""
    settings = make_settings(backend="docker", listen=Endpoint("127.0.0.1", 9000))
    url = derived_proxy_url(settings)
    assert (url, proxy_host(url)) == ("http://cli-server:9000/proxy/anthropic", "cli-server")
    given = make_settings(backend="docker", anthropic_proxy_url="https://Agents.example.com/proxy/anthropic")
    assert proxy_host(derived_proxy_url(given)) == "agents.example.com"
