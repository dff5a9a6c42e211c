"""Registers this machine: a one-time code becomes a token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import h11

from daemon.agent.credentials import read_registration
from daemon.agent.errors import AgentError, Refused, Trouble
from daemon.agent.handshake import USER_AGENT

if TYPE_CHECKING:
    from daemon.agent.credentials import Registration
    from daemon.agent.dial import Dialer
    from daemon.agent.http import Answer

_PATH = "/api/agent/register"
_CREATED = 201
_CODE_REFUSED = 401
_NEW_CODE = "get a new code on the workspace's page; it works once and for ten minutes"


class CodeRefused(AgentError):
    """The code is no good."""


async def register(dialer: Dialer, code: str, name: str) -> Registration:
    """Ask the server. Raises :class:`AgentError`, whatever goes wrong: a person is waiting, and the code grows old."""
    body = json.dumps({"code": code, "name": name}).encode()
    try:
        answer = await dialer.ask(_request(dialer.server.authority, len(body)), body)
    except Trouble as trouble:
        raise AgentError(f"{trouble}; this machine is not registered, try again with the same code") from None
    if answer.status == _CODE_REFUSED:
        raise CodeRefused(_explained(answer.refused(), dialer.server.url))
    if answer.status != _CREATED:
        raise AgentError(_explained(answer.refused(), dialer.server.url))
    return _registration(answer, dialer.server.url, name)


def _request(authority: str, length: int) -> h11.Request:
    return h11.Request(
        method="POST",
        target=_PATH,
        headers=[
            (b"Host", authority.encode()),
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(length).encode()),
            (b"Accept", b"application/json"),
            (b"User-Agent", USER_AGENT.encode()),
            (b"Connection", b"close"),
        ],
    )


def _explained(refused: Refused, url: str) -> str:
    """Why there is no registration, and what to do."""
    detail = f" ({refused.detail})" if refused.detail else ""
    if refused.status == _CODE_REFUSED:
        return f"the code is wrong, was used already, or is older than ten minutes{detail}; {_NEW_CODE}"
    if 300 <= refused.status < 400:
        return f"{url} sends us on to {refused.location or 'nowhere'}; give the address that it ends at as --server"
    if refused.status in (404, 405):
        return f"{url} does not know how to register a machine{detail}; is it a cli-server, and its main address?"
    if refused.status == 429:
        wait = "later" if refused.retry_after is None else f"in {refused.retry_after:.0f} s"
        return f"{url} was asked too often{detail}; try again {wait}"
    if refused.status >= 500:
        return f"{url} cannot register a machine now (status {refused.status}){detail}; try again soon"
    return f"{url} refuses to register this machine (status {refused.status}){detail}"


def _registration(answer: Answer, url: str, name: str) -> Registration:
    given = answer.json()
    try:
        return read_registration({**given, "server": url, "name": name})
    except ValueError as error:
        raise AgentError(f"{url} gave an answer that the agent does not understand: {error}") from None
