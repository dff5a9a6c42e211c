"""Identifiers: the same string in the API, the database, host names, tunnel URLs and container labels."""

from __future__ import annotations

import re
import secrets
import string

_FIRST = string.ascii_lowercase
_REST = string.ascii_lowercase + string.digits
ID_LENGTH = 16
ID_PATTERN = r"[a-z][a-z0-9]{15}"
_ID = re.compile(ID_PATTERN)


def new_id() -> str:
    """A random identifier: 16 characters of ``[a-z0-9]``, the first a letter (82 bits)."""
    return secrets.choice(_FIRST) + "".join(secrets.choice(_REST) for _ in range(ID_LENGTH - 1))


def is_id(text: str) -> bool:
    """Whether ``text`` has the form of an identifier."""
    return _ID.fullmatch(text) is not None
