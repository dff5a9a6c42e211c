"""Errors as RFC 9457 problems. ``code`` is the stable word for programs, ``detail`` the sentence for people.

``type`` is ``about:blank`` and ``title`` the phrase of the status, as the RFC has it where the status and our ``code``
say what kind of problem it is; the gateway's own problems look the same.
"""

from __future__ import annotations

import json
import math
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from pydantic import BaseModel, ValidationError
from quart import Response
from quart_schema import RequestSchemaValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from daemon.db.database import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails
    from quart import Quart

log = structlog.get_logger(__name__)

RETRY_DATABASE_SECONDS = 2  # an embedded PostgreSQL is back within a second, and clients should not hammer


class FieldError(BaseModel):
    """One thing that is wrong with a request: ``field`` is a path such as ``members.0.role``, empty for the whole."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """What every error looks like (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | None = None


class ProblemResponse(Response):
    """A problem as a response, which still knows which one it is."""

    problem_code: str = ""


class Problem(Exception):
    """Raise it anywhere in a handler to answer with a problem."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        """``code`` in snake_case; ``detail`` in plain words, without secrets and without what others may not know."""
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)

    def response(self) -> ProblemResponse:
        """The problem as a response."""
        body: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            body["errors"] = [error.model_dump() for error in self.errors]
        found = ProblemResponse(json.dumps(body), self.status, self.headers, content_type="application/problem+json")
        found.problem_code = self.code
        return found


def invalid(*errors: tuple[str, str]) -> Problem:
    """The 422 for wrong members: ``(field, what is wrong with it)``."""
    found = [FieldError(field=field, message=message) for field, message in errors]
    said = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in found)
    return Problem(422, "validation_failed", said + ".", errors=found)


def too_many_attempts(seconds: float) -> Problem:
    """The 429 for a client that is blocked for so long."""
    wait = max(1, math.ceil(seconds))
    detail = f"Too many failed attempts from here. Try again in {wait} s."
    return Problem(429, "too_many_attempts", detail, headers={"Retry-After": str(wait)})


# pydantic's words are for programmers; these are for people. {…} is filled from the error's own numbers.
_WORDS = {
    "missing": "is missing",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "holds characters that are not allowed here",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}


def _message(error: ErrorDetails) -> str:
    words = _WORDS.get(error["type"])
    if words is not None:
        return words.format(**error.get("ctx", {}))
    # A ValueError of our own validators; its text is ours.
    return error["msg"].removeprefix("Value error, ")


def validation_problem(error: Exception) -> Problem:
    """The 422 for a pydantic error. What was sent is not repeated: it may be a password."""
    if not isinstance(error, ValidationError):
        return invalid(("", "the request has the wrong shape"))
    found = error.errors(include_url=False, include_input=False)
    return invalid(*((".".join(str(part) for part in item["loc"]), _message(item)) for item in found))


_HTTP = {
    400: ("bad_request", "The request cannot be read; the body must be well-formed JSON."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method; see the Allow header."),
    408: ("request_timeout", "The body did not arrive in time."),
    413: ("body_too_large", "The body is larger than 1 MiB."),
    415: ("unsupported_media_type", "The body must be application/json."),
}


def http_problem(error: HTTPException) -> Problem:
    """Quart's and Werkzeug's own errors as problems, with ``Allow`` where it is due."""
    status = error.code or 500
    code, detail = _HTTP.get(status, ("http_error", HTTPStatus(status).phrase + "."))
    if isinstance(error, MethodNotAllowed):
        return Problem(status, code, detail, headers={"Allow": ", ".join(sorted(error.valid_methods or ()))})
    return Problem(status, code, detail)


def register_error_handlers(app: Quart) -> None:
    """Make every error that leaves a handler a problem."""

    @app.errorhandler(Problem)
    async def _problem(error: Problem) -> Response:
        return error.response()

    @app.errorhandler(RequestSchemaValidationError)
    async def _shape(error: RequestSchemaValidationError) -> Response:
        return validation_problem(error.validation_error).response()

    @app.errorhandler(HTTPException)
    async def _http(error: HTTPException) -> Response:
        return http_problem(error).response()

    @app.errorhandler(DatabaseUnavailable)
    async def _database(error: DatabaseUnavailable) -> Response:
        log.warning("database unavailable", reason=str(error))
        return Problem(
            503,
            "database_unavailable",
            "The database does not answer right now. Try again in a moment.",
            headers={"Retry-After": str(RETRY_DATABASE_SECONDS)},
        ).response()

    @app.errorhandler(Exception)
    async def _bug(error: Exception) -> Response:
        error_id = secrets.token_hex(6)
        log.error("request failed", error_id=error_id, exc_info=error)
        return Problem(
            500, "internal_error", f"Something went wrong on the server; its log has more under {error_id}."
        ).response()
