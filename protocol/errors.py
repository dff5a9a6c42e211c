"""Whose fault it is: ours (:class:`LocalProtocolError`, a bug) or the peer's (:class:`RemoteProtocolError`)."""

from __future__ import annotations


class ProtocolError(Exception):
    """A rule of the wire was broken."""


class LocalProtocolError(ProtocolError):
    """We were about to break a rule. Nothing was sent."""


class RequestTooLarge(LocalProtocolError):
    """A request does not fit into a version 1 message."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule, and its session ends. ``code`` is one of SPEC.md, section 4.6."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
