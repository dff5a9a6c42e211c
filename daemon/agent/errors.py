"""How the agent fails. Every text is one line for a person: what happened, and what to do."""

from __future__ import annotations

from typing import Final

# Of what another program says, in a line of ours: enough to understand it, and it cannot flood a terminal.
MOST_SHOWN: Final = 200


class AgentError(Exception):
    """The agent cannot go on."""


class WrongSetting(AgentError):
    """A flag or a variable of the environment has a value that cannot be used."""


class Trouble(Exception):
    """An attempt failed for a reason that may pass. ``retry_after``: seconds that the server asked for."""

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Refused(Exception):
    """The server answered something else than was hoped for. ``detail`` is what it says of it, fit to be shown."""

    def __init__(self, status: int, detail: str, *, retry_after: float | None = None, location: str = "") -> None:
        super().__init__(f"{status}: {detail}" if detail else str(status))
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.location = location


def shown(text: str, most: int = MOST_SHOWN) -> str:
    """What another program said, in one line without control characters: it may end on a terminal."""
    line = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(line.split())
    return line if len(line) <= most else line[:most] + "…"
