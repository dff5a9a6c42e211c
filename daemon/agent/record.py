"""What an agent writes down of the opencode that it started: ``opencode-PORT.json``, mode 0600."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.agent.errors import AgentError
from daemon.agent.files import tighten, write_whole
from daemon.agent.health import Login

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """``pid`` is the leader of opencode's process group."""

    pid: int
    login: Login


def read_record(path: Path) -> Record | None:
    """What is written there; ``None`` if that is nothing, or nonsense."""
    with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        tighten(path)
        content = json.loads(path.read_bytes())
        pid, user, password = (content[member] for member in ("pid", "user", "password"))
        if isinstance(pid, int) and pid > 1 and isinstance(user, str) and isinstance(password, str):
            return Record(pid, Login(user, password))
    return None


def write_record(path: Path, record: Record) -> None:
    """Write it down. Raises :class:`AgentError`."""
    content = {"pid": record.pid, "user": record.login.user, "password": record.login.password}
    try:
        write_whole(path, json.dumps(content).encode())
    except OSError as error:
        raise AgentError(f"{path} cannot be written: {error.strerror}") from None
