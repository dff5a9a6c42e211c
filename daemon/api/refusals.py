"""Which answers of the API are refusals that the audit log tells of, and what it tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from quart import request

from daemon.api import guard
from daemon.api.parts import parts
from daemon.api.problems import Problem, ProblemResponse
from daemon.db.database import DatabaseUnavailable
from daemon.store.refusals import Refusal

if TYPE_CHECKING:
    from quart import Quart, Response

    from daemon.store.audit import AuditAction

# By the code of the problem: why, for people.
_OF_SOMEBODY: Final = {
    "not_allowed": "the role does not allow it",
    "not_admin": "not an admin of this server",
    "foreign_origin": "a page of another site sent it",
    "scope_missing": "the API token has no such scope",
    "session_required": "an API token may not do it",
}
# A refusal of what would only have been read is no more than a page that does not open.
_ONLY_ACTS: Final = frozenset({"not_allowed"})
_OPEN: Final = "sandboxes.open_sandbox"
# What nobody in particular brings: the action, and why.
_OF_NOBODY: Final[dict[str, tuple[AuditAction, str]]] = {
    "invalid_code": ("agent_code.refused", "wrong, used or expired"),
    "invalid_token": ("token.refused", "wrong, revoked or expired"),
}


def register_refusals(app: Quart) -> None:
    """Note refusals once they are answers: what raised them has been rolled back by then."""

    @app.after_request
    async def _after(response: Response) -> Response:
        code = response.problem_code if isinstance(response, ProblemResponse) else ""
        if code in _OF_NOBODY:
            action, reason = _OF_NOBODY[code]
            await parts().refusals.note(Refusal(action, reason, ip=guard.client_ip(), tried=_tried()))
        elif code in _OF_SOMEBODY and _is_act(code):
            await _note(code)
        return response


async def note_not_allowed() -> None:
    """A member's role did not allow it, and the answer is a page, not a problem."""
    await _note("not_allowed")


def _is_act(code: str) -> bool:
    """Whether it is known what was tried, and is worth an entry."""
    if request.url_rule is None:
        return False
    return code not in _ONLY_ACTS or request.method not in guard.SAFE_METHODS or request.endpoint == _OPEN


async def _note(code: str) -> None:
    try:
        session = await guard.find_session()
    except (DatabaseUnavailable, Problem):  # a problem: the token that came with it is not good
        return  # who asked cannot be told, nor could it be written
    if session is None:
        return  # nobody: it had no right that it could have used
    # On what is said only where the role was asked for, so of members. Else a page could make its visitors' browsers
    # tell, in the log of a workspace that is not theirs, who they are and from where.
    place = (request.view_args or {}) if code == "not_allowed" else {}
    await parts().refusals.note(
        Refusal(
            "access.refused",
            _OF_SOMEBODY[code],
            guard.actor(),
            tried=_tried(),
            sandbox_id=place.get("sandbox_id"),
            workspace_id=place.get("workspace_id"),
        )
    )


def _tried() -> str:
    """The method and the route, as the OpenAPI document has it: ``DELETE /api/sandboxes/{sandboxId}``."""
    rule = "" if request.url_rule is None else request.url_rule.rule
    return f"{request.method} {re.sub(r'<(?:[^:<>]*:)?([^<>]*)>', _camel, rule)}"


def _camel(match: re.Match[str]) -> str:
    first, *rest = match[1].split("_")
    return "{" + first + "".join(word.capitalize() for word in rest) + "}"
