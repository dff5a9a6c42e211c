"""Secrets that stand in files: what compose calls secrets, and systemd credentials."""

from __future__ import annotations

import os
import stat
from typing import Final

# No key, token or configuration comes near it; a wrong file is not read into memory.
MOST_BYTES: Final = 64 * 1024
ACCEPTED: Final = f"the path of a readable file of 1 to {MOST_BYTES} bytes"


def read_secret(path: str) -> str:
    """The text of a file without its last line break. Raises :class:`ValueError` with the reason.

    Its mode is not looked at: compose hands secrets over readable by everybody in the container.
    """
    try:
        with open(os.path.expanduser(path), "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is no regular file")
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    if len(data) > MOST_BYTES:
        raise ValueError("it is too large")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _open(path: str, flags: int) -> int:
    """Without waiting: else a pipe would hold up the start until somebody writes into it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
