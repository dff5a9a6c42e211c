"""Routes under ``/api/auth/tokens``: the caller's API tokens. Only a person who is signed in makes and ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field
from quart import Blueprint

from daemon.api import guard
from daemon.api.lifetimes import lifetime
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.problems import Problem
from daemon.api.sandbox_shapes import Duration  # noqa: TC001 - pydantic reads the annotations
from daemon.api.shapes import Body, Name, Shape, Time, answer, nothing
from daemon.auth.scopes import PREFIX, Scope
from daemon.ids import new_id
from daemon.secret import new_token, token_hash
from daemon.store import api_tokens as store
from daemon.store.api_tokens import AccountGone, TooManyTokens

if TYPE_CHECKING:
    from quart import Response

    from daemon.store.api_tokens import TokenRow

blueprint = Blueprint("tokens", __name__)

_DEFAULT: Final = "90d"  # whoever forgets about a token has it for a season
_LEAST: Final = 1.0  # seconds; a pipeline may want one for itself only
_MOST: Final = 366 * 86400.0  # a year: then somebody looks whether it is still needed


class Token(Shape):
    """An API token, without its secret. ``lastUsedAt`` is exact to the minute; null if it never was."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: Time
    expires_at: Time
    last_used_at: Time | None


class MadeToken(Token):
    """A new API token with its secret, which is told only here."""

    token: str


class NewToken(Body):
    """A wanted token. ``read``: see what you see; ``write``: change things; ``open``: open sandboxes; ``admin``:
    what admins see and do.
    """

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_in: Duration = Field(default=_DEFAULT)


def _shape(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        scopes=row.scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


@blueprint.get("/api/auth/tokens")
@describe({200: Answer("The caller's tokens that are still good, the oldest first.", list[Token])})
async def list_tokens() -> Response:
    """My API tokens."""
    rows = await parts().db.run(store.list_tokens, guard.current_user().id)
    return answer([_shape(row) for row in rows])


@blueprint.post("/api/auth/tokens")
@describe({201: Answer("Made; its secret is told only now.", MadeToken)}, problems=[409])
@takes(NewToken)
async def create_token(wanted: NewToken) -> Response:
    """Make an API token, with which a program acts for me."""
    seconds = lifetime("expiresIn", wanted.expires_in, _LEAST, _MOST)
    scopes = frozenset(wanted.scopes)
    if Scope.ADMIN in scopes and not guard.current_user().is_admin:
        raise Problem(403, "not_admin", "Only admins of this server may have a token with the scope “admin”.")
    secret = PREFIX + new_token()
    new = store.NewToken(new_id(), token_hash(secret), wanted.name, scopes, seconds)
    try:
        row = await parts().db.run(store.create, guard.actor(), new)
    except TooManyTokens:
        detail = f"You have {store.MOST} tokens, which is the most; none was made. Revoke one that nobody needs."
        raise Problem(409, "too_many_tokens", detail) from None
    except AccountGone:
        raise Problem(401, "not_signed_in", "Sign in first; the session may have ended.") from None
    return answer(MadeToken(**dict(_shape(row)), token=secret), 201)


@blueprint.delete("/api/auth/tokens/<token_id>")
@describe({204: Answer("Revoked; what is open by it is cut.")}, problems=[404])
async def delete_token(token_id: str) -> Response:
    """Revoke an API token of mine."""
    if not await parts().db.run(store.revoke, guard.actor(), token_id):
        raise Problem(404, "token_not_found", "You have no such token.")
    return nothing()
