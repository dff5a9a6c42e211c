"""No secret that a test used is in what its daemons and agents said: looked for when each has ended.

``tests/conftest.py`` calls :func:`check` after every test; a secret in a log fails it.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

from daemon.secret import load_keyring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

# A shorter value is part of other words.
_SHORTEST: Final = 9
# In what is sent or answered as JSON.
_SECRET_FIELDS: Final = frozenset({"password", "code", "token", "tunnelToken", "invitation"})
_SECRET_HEADERS: Final = frozenset({"authorization", "x-api-key", "proxy-authorization"})
_SECRET_PARAMETERS: Final = frozenset({"ticket", "code", "state", "token"})
# What tests give for a password that is none; the daemon has these words for it, too.
_NO_SECRETS: Final = frozenset({"wrong password", "not_signed_in"})
# Settings that are secrets, besides those that say so by their name.
_SECRET_SETTING: Final = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CANARY")
# The form of our tokens: 43 characters of base64url. Whatever has it and mixes all kinds of characters is one.
_TOKEN: Final = re.compile(r"(?<![\w/+.-])[A-Za-z0-9_-]{43}(?![\w/+=.-])")
_VERSIONS: Final = range(1, 4)  # of a sandbox's secrets; they change when it begins anew


@dataclass
class Secrets:
    """What one daemon, and whoever talks to it, has to keep to itself."""

    values: set[str] = field(default_factory=set)
    sandboxes: set[str] = field(default_factory=set)  # their passwords and tokens are derived from the daemon's key

    def add(self, *values: str | None) -> None:
        """These must not be in a log."""
        self.values.update(value for value in values if value and len(value) >= _SHORTEST and value not in _NO_SECRETS)

    def settings(self, env: Mapping[str, str]) -> None:
        """Those of a daemon's environment."""
        self.add(*(value for name, value in env.items() if _SECRET_SETTING.search(name)))

    def sent(self, headers: Mapping[str, str], body: bytes | None) -> None:
        """What a request carries."""
        for name, value in headers.items():
            if name.lower() in _SECRET_HEADERS:
                self.add(value, value.partition(" ")[2])
        self._fields(body)

    def answered(self, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """What an answer gives away."""
        json_answer = False
        for name, value in headers:
            if name == "set-cookie":
                given, _, rest = value.partition("=")
                if "cli_server" in given:
                    self.add(rest.partition(";")[0])
            elif name == "location":
                query = parse_qs(urlsplit(value).query)
                self.add(*(one for key in _SECRET_PARAMETERS for one in query.get(key, [])))
            elif name == "content-type":
                json_answer = value == "application/json"
        if json_answer:
            self._fields(body)

    def _fields(self, body: bytes | None) -> None:
        try:
            said: Any = json.loads(body or b"null")
        except (ValueError, RecursionError):
            return
        if isinstance(said, dict):
            self.add(*(value for key, value in said.items() if key in _SECRET_FIELDS and isinstance(value, str)))
            self.add(str(said.get("url", "")).partition("#")[2])

    def derive(self, key: Path) -> None:
        """What the daemon with this key has derived for its sandboxes."""
        if self.sandboxes and key.exists():
            keyring = load_keyring(key)
            for sandbox in self.sandboxes:
                for version in _VERSIONS:
                    self.add(keyring.opencode_password(sandbox, version), keyring.proxy_token(sandbox, version))

    def found_in(self, text: str) -> list[str]:
        """Those in ``text``: as they are, percent-encoded, or within something in base64; and what looks like one."""
        found = [value for value in sorted(self.values) if any(form in text for form in forms(value))]
        return found + [match[0] for match in _TOKEN.finditer(text) if _mixed(match[0])]


def forms(value: str) -> set[str]:
    """How ``value`` may stand in a text."""
    found = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
    data = value.encode()
    for shift in range(3):  # where in a group of three bytes it begins
        coded = base64.b64encode(bytes(shift) + data).decode()
        # Characters that are made of its own bits alone.
        inner = coded[(shift * 8 + 5) // 6 : (shift + len(data)) * 8 // 6]
        found |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    return found


def _mixed(text: str) -> bool:
    return all(re.search(kind, text) for kind in ("[a-z]", "[A-Z]", "[0-9]"))


@dataclass
class Watched:
    """Something that writes a log, until it has ended."""

    name: str
    secrets: Secrets
    log: Callable[[], str]
    ended: Callable[[], bool]
    key: Path | None = None


_watched: list[Watched] = []


def watch(one: Watched) -> None:
    """Look at its log when it has ended."""
    if all(other.secrets is not one.secrets or other.name != one.name for other in _watched):
        _watched.append(one)


def check() -> None:
    """Look at the logs of all that have ended. Raises :class:`AssertionError` for a secret in one."""
    done = [one for one in _watched if one.ended()]
    for one in done:
        _watched.remove(one)
    for one in done:
        if one.key is not None:
            one.secrets.derive(one.key)
        text = one.log()
        for secret in one.secrets.found_in(text):
            lines = [line[:400] for line in text.splitlines() if any(form in line for form in forms(secret))]
            raise AssertionError(f"{one.name} said a secret, {secret!r}:\n" + "\n".join(lines[:3]))
