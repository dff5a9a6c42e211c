"""The saved registrations: ``~/.cli-server/agent.json``.

    {
      "server": "https://agents.example.com", "sandboxId": "…", "tunnelToken": "…", "workspaceId": "…", "name": "…",
      "registrations": [{"server": …, "sandboxId": …, "tunnelToken": …, "workspaceId": …, "name": …}, …]
    }

``registrations`` has all of them, the one that was used last first; the members beside it repeat that one, for programs
that know one registration only. A file without ``registrations`` is one registration. A file that cannot be understood
is never overwritten.
"""

from __future__ import annotations

import json
import re
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Final

from daemon.agent.errors import AgentError
from daemon.agent.files import private_folder, tighten, write_whole
from daemon.agent.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_WORD = re.compile(r"[A-Za-z0-9_-]{1,128}")  # goes into a path and into a host name
_TOKEN = re.compile(r"[!-~]{1,4096}")  # goes into a header
_TEXT = re.compile(r".+", re.DOTALL)
# The members of the file, in the order of the attributes of Registration, and what they may be.
_MEMBERS: Final = {"server": _TEXT, "sandboxId": _WORD, "tunnelToken": _TOKEN, "workspaceId": _WORD, "name": _TEXT}


@dataclass(frozen=True, slots=True)
class Registration:
    """What a server gave to this machine. ``server`` is its URL without a final slash."""

    server: str
    sandbox_id: str
    tunnel_token: str = field(repr=False)
    workspace_id: str
    name: str

    def called(self, text: str) -> bool:
        """Whether a person means this one by a name or an id."""
        return text in (self.name, self.sandbox_id)

    def same_as(self, other: Registration) -> bool:
        """Whether both are of the same sandbox."""
        return (self.server, self.sandbox_id) == (other.server, other.sandbox_id)


class Credentials:
    """The file in ``folder``. Every method raises :class:`AgentError` with what to do."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent.json"
        self.notes: list[str] = []  # what a person should be told

    def load(self) -> list[Registration]:
        """All registrations, the one that was used last first."""
        try:
            if not self.path.exists():
                return []
            private_folder(self.path.parent)
            if tighten(self.path):
                self.notes.append(f"{self.path} could be read by other users of this machine; it cannot any more")
            content = self.path.read_bytes()
        except OSError as error:
            raise AgentError(f"{self.path} cannot be read: {error.strerror}") from None
        try:
            return _understood(json.loads(content))
        except (ValueError, RecursionError):  # the first is UnicodeDecodeError and JSONDecodeError too
            raise AgentError(
                f"{self.path} is not what an agent writes, and is left as it is; move it away, "
                "then register this machine anew with a code"
            ) from None

    def put_first(self, registration: Registration) -> None:
        """Save a registration, new or not, as the one that was used last."""
        self._change(lambda saved: [registration, *(one for one in saved if not one.same_as(registration))])

    def remove(self, unwanted: Callable[[Registration], bool]) -> list[Registration]:
        """Forget registrations; returns them."""
        gone: list[Registration] = []

        def without(saved: list[Registration]) -> list[Registration]:
            gone.extend(one for one in saved if unwanted(one))
            return [one for one in saved if not unwanted(one)]

        if self.path.exists():
            self._change(without)
        return gone

    def check_writable(self) -> None:
        """Fail before a code is used up, rather than after it."""
        self._change(lambda saved: saved)

    def _change(self, change: Callable[[list[Registration]], list[Registration]]) -> None:
        """Read, change and write under a lock: two agents do not lose each other's registrations."""
        private_folder(self.path.parent)
        try:
            with locked(self.path.with_suffix(".lock")):
                saved = self.load()
                wanted = change(list(saved))
                if not wanted:
                    self.path.unlink(missing_ok=True)
                else:
                    write_whole(self.path, _written(wanted))
        except OSError as error:
            raise AgentError(f"{self.path} cannot be written: {error.strerror}") from None


def _understood(content: object) -> list[Registration]:
    """The registrations in the file's JSON. Raises :class:`ValueError`."""
    if not isinstance(content, dict):
        raise ValueError("no object")
    listed = content.get("registrations", [])
    if not isinstance(listed, list):
        raise ValueError("registrations is no list")
    found = [read_registration(content)] if any(member in content for member in _MEMBERS) else []
    for entry in map(read_registration, listed):
        if not any(entry.same_as(one) for one in found):
            found.append(entry)
    return found


def read_registration(entry: object) -> Registration:
    """One registration in the members of the file. Raises :class:`ValueError` saying what is wrong with it."""
    if not isinstance(entry, dict):
        raise ValueError("a registration is no object")
    for member, form in _MEMBERS.items():
        value = entry.get(member)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError(f"{member} is missing, or is not what it should be")
    return Registration(*(entry[member] for member in _MEMBERS))


def _written(registrations: list[Registration]) -> bytes:
    entries = [dict(zip(_MEMBERS, astuple(one), strict=True)) for one in registrations]
    return (json.dumps({**entries[0], "registrations": entries}, indent=2) + "\n").encode()
