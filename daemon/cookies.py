"""Names of our cookies, and how they are read and set. Sibling hosts can toss cookies at us: see :func:`only_value`."""

from __future__ import annotations

from dataclasses import dataclass

SESSION_SECONDS = 30 * 24 * 3600  # a month, as GitLab and code-server do; renewed by use


@dataclass(frozen=True, slots=True)
class CookieNames:
    """Where the scheme is https the ``__Host-`` prefix keeps sibling hosts from setting cookies in our name."""

    session: str
    device: str
    sandbox: str

    @classmethod
    def for_scheme(cls, *, secure: bool) -> CookieNames:
        """The names for the scheme by which browsers reach us."""
        prefix = "__Host-" if secure else ""
        return cls(f"{prefix}cli_server_session", f"{prefix}cli_server_device", f"{prefix}cli_server_sandbox")


def is_ours(name: str) -> bool:
    """Whether a cookie name is one of ours under either scheme; such cookies never reach a sandbox."""
    return name.removeprefix("__Host-").removeprefix("__Secure-").lower().startswith("cli_server_")


def values(header: str, name: str) -> list[str]:
    """All values of the cookie ``name`` in a ``Cookie`` header, in order."""
    found = []
    for part in header.split(";"):
        key, separator, value = part.strip().partition("=")
        if separator and key == name:
            found.append(value)
    return found


def only_value(header: str, name: str) -> str | None:
    """The value of the cookie, or ``None`` if it is absent or there are two: then one was tossed by a sibling host."""
    found = values(header, name)
    return found[0] if len(found) == 1 else None


def set_cookie(name: str, value: str, *, secure: bool, max_age: int) -> str:
    """A ``Set-Cookie`` value for one of our cookies; ``max_age`` in seconds, 0 removes it."""
    flags = "; Secure" if secure else ""
    return f"{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{flags}"
