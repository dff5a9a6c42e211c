"""Whose fault it is: ours (:class:`LocalProtocolError`, a bug) or the peer's (:class:`RemoteProtocolError`)."""

from __future__ import annotations

from typing import Final

# Why a session ends: SPEC.md, section 4.6.
GO_AWAY_CODES: Final = frozenset(
    {
        "shutdown", "replaced", "removed", "ids_used_up", "timeout", "unanswered", "bad_hello", "malformed",
        "unknown_type", "too_large", "bad_stream", "bad_length", "no_credit", "too_many_streams", "flood",
    }
)  # fmt: skip


class ProtocolError(Exception):
    """A rule of the wire was broken."""


class LocalProtocolError(ProtocolError):
    """We were about to break a rule. Nothing was sent."""


class RequestTooLarge(LocalProtocolError):
    """A request does not fit into what the version of the peer can say."""


class AnswerUnfit(LocalProtocolError):
    """The head of an answer cannot be said: too large, or numbers that HTTP does not have."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule, and its session ends. ``code`` is one of SPEC.md, section 4.6."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
