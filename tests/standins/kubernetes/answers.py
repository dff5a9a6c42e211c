"""What the API says when it refuses: ``Status`` objects, with the codes and reasons that clients look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Json = dict[str, Any]


@dataclass(eq=False)
class Refused(Exception):
    """A request is answered with a failure. ``causes`` are (reason, field, message)."""

    code: int
    reason: str
    message: str
    details: Json = field(default_factory=dict)
    retry_after: int | None = None  # seconds

    def __str__(self) -> str:
        return f"{self.code} {self.reason}: {self.message}"

    def status(self) -> Json:
        """The body of the answer."""
        details = dict(self.details)
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body |= {"message": self.message, "reason": self.reason, "code": int(self.code)}
        return {**body, "details": details} if details else body


def _about(name: str, kind: str, group: str) -> Json:
    return {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}


def qualified(plural: str, group: str) -> str:
    """As messages name a kind: ``pods`` or ``sandboxes.agents.x-k8s.io``."""
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, group: str, name: str) -> Refused:
    """No such object."""
    text = f'{qualified(plural, group)} "{name}" not found'
    return Refused(HTTPStatus.NOT_FOUND, "NotFound", text, _about(name, plural, group))


def no_such_path() -> Refused:
    """Neither kind nor path is served."""
    return Refused(HTTPStatus.NOT_FOUND, "NotFound", "the server could not find the requested resource")


def already_exists(plural: str, group: str, name: str) -> Refused:
    """A create of what is there."""
    text = f'{qualified(plural, group)} "{name}" already exists'
    return Refused(HTTPStatus.CONFLICT, "AlreadyExists", text, _about(name, plural, group))


def conflict(plural: str, group: str, name: str, why: str) -> Refused:
    """Optimistic concurrency, or a precondition."""
    text = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return Refused(HTTPStatus.CONFLICT, "Conflict", text, _about(name, plural, group))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def invalid(kind: str, group: str, name: str, causes: list[tuple[str, str, str]]) -> Refused:
    """422. ``causes`` are (reason, field, message)."""
    texts = [f"{where}: {text}" for _, where, text in causes]
    told = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details: Json = {**_about(name, kind, group)}
    details["causes"] = [{"reason": reason, "message": text, "field": where} for reason, where, text in causes]
    text = f'{qualified(kind, group)} "{name}" is invalid: {told}'
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", text, details)


def bad_request(message: str) -> Refused:
    """400."""
    return Refused(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def forbidden(plural: str, group: str, name: str, why: str, causes: list[Json] | None = None) -> Refused:
    """403, by RBAC, admission or quota."""
    details = _about(name, plural, group) | ({"causes": causes} if causes else {})
    named = f' "{name}"' if name else ""
    return Refused(HTTPStatus.FORBIDDEN, "Forbidden", f"{qualified(plural, group)}{named} is forbidden: {why}", details)


def expired(message: str = "The resourceVersion for the provided watch is too old.") -> Refused:
    """410: the history that would be needed is compacted."""
    return Refused(HTTPStatus.GONE, "Expired", message)


def method_not_allowed() -> Refused:
    """405."""
    text = "the server does not allow this method on the requested resource"
    return Refused(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", text)


def success(plural: str, group: str, name: str, uid: str) -> Json:
    """The answer to a delete of what is gone at once."""
    details = {**_about(name, plural, group), "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
