"""Secrets that stand in files: what compose calls secrets, and systemd credentials."""

from __future__ import annotations

import os
from typing import Final

# No key, token or configuration comes near it; a device that never ends, or a wrong file, is not read into memory.
MOST_BYTES: Final = 64 * 1024
ACCEPTED: Final = f"the path of a readable file of 1 to {MOST_BYTES} bytes"


def read_secret(path: str) -> str:
    """The text of a file without its last line break. Raises :class:`ValueError` with the reason.

    Its mode is not looked at: compose hands secrets over readable by everybody in the container.
    """
    try:
        with open(os.path.expanduser(path), "rb") as file:
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
