"""Which saved registration is meant. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.agent.credentials import Registration

HOW_TO_REGISTER = "get a code on the workspace's page and run: cli-server agent connect --server URL --code CODE"


def choose(saved: Sequence[Registration], server: str | None, name: str | None) -> Registration:
    """The registration of ``server`` (of any, if ``None``) that is called ``name``; of several the last used.

    ``saved`` has the last used first. Raises :class:`AgentError` saying what there is.
    """
    there = [one for one in saved if server in (None, one.server)]
    if not there:
        others = sorted({one.server for one in saved})
        hint = f" (it is registered with {', '.join(others)})" if others else ""
        where = f"with {server}" if server else "with any server"
        raise AgentError(f"this machine is not registered {where}{hint}; {HOW_TO_REGISTER}")
    if name is None:
        return there[0]
    for one in there:
        if one.called(name):
            return one
    names = ", ".join(one.name for one in there)
    raise AgentError(f"no registration is called {name}; there are: {names}. For another one {HOW_TO_REGISTER}")


def stop_words(status: int, detail: str, one: Registration) -> str | None:
    """Why the server will not have this registration any more; ``None`` if the status says no such thing."""
    why = {
        401: f"{one.server} does not know the token of {one.name} any more: it was revoked",
        403: f"{one.server} does not allow {one.name} to connect any more: whoever registered it lost the right to",
        404: f"{one.name} was removed from {one.server}",
    }.get(status)
    if why is None:
        return None
    said = f" ({detail})" if detail else ""
    return f"{why}{said}; to connect again {HOW_TO_REGISTER}"


def known_words(saved: Sequence[Registration], server: str) -> str:
    """For whoever gave a code that is no good: that none is needed, where that is so."""
    there = [one for one in saved if one.server == server]
    if not there:
        return ""
    return f". This machine is registered there as {there[0].name}; without --code it connects as that"
