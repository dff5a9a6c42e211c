"""Codes that a person reads on one machine and types on another: Crockford's base 32, in groups.

They work once and for minutes, so 60 random bits are far more than anybody can try. Their alphabet has no letters that
look like digits; who types one nevertheless is understood.
"""

from __future__ import annotations

import secrets
from typing import Final

from daemon.secret import token_hash

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without I, L, O and U
_GROUPS: Final = 3
_GROUP: Final = 4  # characters that one keeps in mind at a time; 3 x 4 of them at 5 bits are 60 bits
_MISREAD: Final = str.maketrans("OIL", "011")
LONGEST_TYPED: Final = 100  # characters, with whatever stands between them


def new_code() -> str:
    """A random code as it is shown: ``7K2M-9QXA-04TD``."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def code_hash(typed: str) -> bytes:
    """What the database keeps of a code, the same however it was typed: any case, with or without blanks and dashes."""
    letters = "".join(character for character in typed.upper() if character.isalnum())
    return token_hash(letters.translate(_MISREAD))
