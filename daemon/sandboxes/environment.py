"""What a sandbox's opencode is told, and nothing else. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from backends.base import Limits, SandboxSpec
from backends.containers import PROXY_NAME
from daemon import values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config import Settings
    from daemon.secret import Keyring
    from daemon.store.sandboxes import SandboxRow


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``; objects are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        kept = result.get(key)
        result[key] = merged(kept, value) if isinstance(kept, dict) and isinstance(value, dict) else value
    return result


def opencode_config(operators: str | None, base_url: str, proxy_token: str) -> str:
    """The operator's configuration with our proxy as the Anthropic provider; our values win."""
    ours = {"provider": {"anthropic": {"options": {"baseURL": base_url, "apiKey": proxy_token}}}}
    return json.dumps(merged(json.loads(operators) if operators else {}, ours), separators=(",", ":"))


def limits(settings: Settings, sandbox: SandboxRow) -> Limits:
    """The sandbox's own limits where it has some, else the server's."""
    return Limits(
        cpu=settings.agent_cpu_limit if sandbox.cpu is None else values.cores(sandbox.cpu),
        memory=settings.agent_memory_limit if sandbox.memory is None else values.size(sandbox.memory),
        pids=settings.agent_pids_limit,
    )


def sandbox_spec(settings: Settings, keyring: Keyring, proxy_url: str, sandbox: SandboxRow) -> SandboxSpec:
    """All that a backend needs. ``proxy_url`` is where sandboxes reach the Anthropic proxy, without ``/v1``."""
    password = keyring.opencode_password(sandbox.id, sandbox.secret_version)
    token = keyring.proxy_token(sandbox.id, sandbox.secret_version)
    base_url = f"{proxy_url.rstrip('/')}/v1"
    env = {
        "OPENCODE_SERVER_PASSWORD": password,
        "OPENCODE_CONFIG_CONTENT": opencode_config(settings.opencode_config_content, base_url, token),
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": token,
        # The list of models is embedded in the program, and its version is the operator's choice.
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
    }
    return SandboxSpec(sandbox.id, sandbox.workspace_id, password, env, limits(settings, sandbox))


def proxy_host(proxy_url: str) -> str:
    """The host in the proxy's URL, as requests name it."""
    return urlsplit(proxy_url).hostname or ""


def derived_proxy_url(settings: Settings) -> str:
    """Where sandboxes reach the proxy: the setting, or a name that containers know us by, or the listener's address."""
    if settings.anthropic_proxy_url is not None:
        return settings.anthropic_proxy_url
    if settings.backend == "docker":
        return f"http://{PROXY_NAME}:{settings.listen.port}/proxy/anthropic"
    host = "127.0.0.1" if settings.listen.everywhere else settings.listen.host
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{settings.listen.port}/proxy/anthropic"
