"""Secrets: making them, hashing them for the database, and deriving those that must be known again after a restart."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32
MARK_LENGTH = 32  # characters


def new_token() -> str:
    """A random secret of 256 bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """What the database keeps of a secret: its SHA-256. The secrets are random; no salt is due."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def browser_mark(secret: str) -> str:
    """What may be said aloud about a secret that one browser has: 128 bits of its hash, in hexadecimal."""
    return token_hash(secret).hex()[:MARK_LENGTH]


def ticket_hash(ticket: str, mark: str) -> bytes:
    """What the database keeps of a ticket for the browser with this mark; for any, if the mark is empty."""
    return token_hash(f"{ticket}:{mark}" if mark else ticket)


@dataclass(frozen=True, slots=True)
class Keyring:
    """Derives per-sandbox secrets from one key of this installation, so that none of them is stored."""

    key: bytes = field(repr=False)

    def _derive(self, purpose: str, sandbox_id: str, version: int) -> str:
        message = f"{purpose}:{sandbox_id}:{version}".encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()

    def opencode_password(self, sandbox_id: str, version: int) -> str:
        """The password of this sandbox's opencode."""
        return self._derive("opencode", sandbox_id, version)

    def proxy_token(self, sandbox_id: str, version: int) -> str:
        """The token with which this sandbox calls the Anthropic proxy."""
        return "clis-" + self._derive("anthropic", sandbox_id, version)

    def sign(self, purpose: str, text: str) -> str:
        """An authenticator of ``text``, for values that a browser keeps and brings back."""
        return hmac.new(self.key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def load_keyring(path: Path) -> Keyring:
    """Read the installation's key from ``path``; make it, mode 0600, if it is not there.

    Raises :class:`ValueError` if the file holds anything but a key.
    """
    if not path.exists():
        _create_key(path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} holds {len(key)} bytes, not a key of {KEY_BYTES}; restore it from a backup")
    return Keyring(key)


def read_keyring(path: Path) -> Keyring:
    """The installation's key from a file that somebody else made: its bytes, or their base64.

    Raises :class:`ValueError` if it holds anything else, and :class:`OSError` if it cannot be read.
    """
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        try:
            key = base64.b64decode(key.strip(), validate=True)
        except ValueError:
            key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} does not hold a key of {KEY_BYTES} bytes, nor its base64")
    return Keyring(key)


def _create_key(path: Path) -> None:
    """Write a new key beside ``path`` and link it there whole; whoever links first wins, and nobody sees half a key."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
