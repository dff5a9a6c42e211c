"""The proxy's own answers, in Anthropic's shape, so that its clients show their text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from daemon.gateway.exchange import Reply

if TYPE_CHECKING:
    from protocol.headers import Headers

ErrorType = Literal[
    "api_error", "authentication_error", "invalid_request_error", "not_found_error", "request_too_large"
]


def error_reply(status: int, error_type: ErrorType, message: str, headers: Headers | None = None) -> Reply:
    """An error as https://docs.anthropic.com/en/api/errors describes it."""
    body = {"type": "error", "error": {"type": error_type, "message": message}}
    fixed = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    return Reply(status, fixed + (headers or []), json.dumps(body).encode())
