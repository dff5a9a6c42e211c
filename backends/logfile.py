"""Writes the kept output of a sandbox: numbered segments, of which the last two stay, without the sandbox's secrets.

The launcher uses this module; it imports next to nothing, because there is one launcher per sandbox.
"""

from __future__ import annotations

import binascii
import os

SEGMENT_BYTES = 1024 * 1024  # a long day of opencode's output, and still read in a blink
KEPT_SEGMENTS = 2  # one full and one growing: at most 2 MiB for each sandbox
_SHORTEST_SECRET = 8  # bytes; anything shorter would also hide ordinary words
_SECRET_WORDS = ("KEY", "TOKEN", "PASSWORD", "SECRET")
_PREFIX, _SUFFIX = "opencode.", ".log"
OWN_LINE = b"[cli-server] "  # what a line of the launcher's own begins with


def segment_numbers(directory: str) -> list[int]:
    """The numbers of the segments in ``directory``, oldest first."""
    names = (name for name in os.listdir(directory) if name.startswith(_PREFIX) and name.endswith(_SUFFIX))
    middles = (name[len(_PREFIX) : -len(_SUFFIX)] for name in names)
    return sorted(int(middle) for middle in middles if middle.isascii() and middle.isdigit())


def segment_path(directory: str, number: int) -> str:
    """The file of one segment."""
    return os.path.join(directory, f"{_PREFIX}{number:06d}{_SUFFIX}")


def secrets_in(environment: dict[str, str]) -> list[bytes]:
    """The values in ``environment`` that must not be logged, and the Basic credentials made from the password."""
    found = {
        value.encode("utf-8", "surrogateescape")
        for name, value in environment.items()
        if any(word in name for word in _SECRET_WORDS)
    }
    password = environment.get("OPENCODE_SERVER_PASSWORD")
    if password:
        pair = b"opencode:" + password.encode("utf-8", "surrogateescape")
        found.add(binascii.b2a_base64(pair, newline=False))
    return sorted((secret for secret in found if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)


class Redactor:
    """Takes secrets out of a stream of bytes, wherever the stream is cut into pieces."""

    def __init__(self, secrets: list[bytes]) -> None:
        self._secrets = secrets
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """``data`` without secrets. An end of it that may be the beginning of a secret is held until the next call."""
        text = self._held + data
        for secret in self._secrets:
            text = text.replace(secret, b"[redacted]")
        held = self._suspicious_end(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> bytes:
        """What was held, at the end of the stream."""
        text, self._held = self._held, b""
        return text

    def _suspicious_end(self, text: bytes) -> int:
        longest = 0
        for secret in self._secrets:
            for length in range(min(len(secret) - 1, len(text)), longest, -1):
                if text.endswith(secret[:length]):
                    longest = length
                    break
        return longest


class LogWriter:
    """Appends to the last segment in ``directory`` and begins a new one when it is full.

    An error of the file system loses output and nothing else: a full disk must not take the sandbox down.
    """

    def __init__(self, directory: str, secrets: list[bytes], segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = directory
        self._redactor = Redactor(secrets)
        self._limit = segment_bytes
        numbers = segment_numbers(directory)
        self._open(numbers[-1] if numbers else 1)

    def write(self, data: bytes) -> None:
        """Keep ``data``."""
        self._store(self._redactor.feed(data))

    def line(self, text: str) -> None:
        """Keep a line of the launcher's own."""
        self._store(self._redactor.flush() + OWN_LINE + text.encode() + b"\n")

    def close(self) -> None:
        """Write what was held back and close the file."""
        self._store(self._redactor.flush())
        os.close(self._fd)

    def _store(self, data: bytes) -> None:
        try:
            while data:
                if self._size >= self._limit:
                    self._begin_next()
                written = os.write(self._fd, data[: self._limit - self._size])
                self._size += written
                data = data[written:]
        except OSError:
            return

    def _begin_next(self) -> None:
        full = self._fd
        self._open(self._number + 1)
        os.close(full)
        for number in segment_numbers(self._directory):
            if number <= self._number - KEPT_SEGMENTS:
                os.unlink(segment_path(self._directory, number))

    def _open(self, number: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(segment_path(self._directory, number), flags, 0o600)
        self._number = number
        self._size = os.fstat(self._fd).st_size
