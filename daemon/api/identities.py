"""Routes under ``/api/auth/identities``: with which other accounts one signs in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint

from daemon.api import guard
from daemon.api.openapi import Answer, describe
from daemon.api.parts import parts
from daemon.api.problems import Problem
from daemon.api.shapes import Shape, Time, answer, nothing
from daemon.store import identities as store
from daemon.store.identities import IdentityNotFound, LastSignIn

if TYPE_CHECKING:
    from quart import Response

blueprint = Blueprint("identities", __name__)


class Identity(Shape):
    """An account elsewhere that signs its user in here; ``username`` and ``email`` as the provider said last."""

    id: str
    provider: str
    provider_name: str
    username: str | None
    email: str | None
    created_at: Time
    last_used_at: Time


@blueprint.get("/api/auth/identities")
@describe({200: Answer("The caller's identities, the first linked first.", list[Identity])})
async def list_identities() -> Response:
    """With which other accounts do I sign in?"""
    rows = await parts().db.run(store.list_identities, guard.current_user().id)
    names: dict[str, str] = {provider.id: provider.name for provider in parts().providers.values()}
    return answer(
        [
            Identity(
                id=row.id,
                provider=row.provider,
                provider_name=names.get(row.provider, row.provider),
                username=row.username,
                email=row.email,
                created_at=row.created_at,
                last_used_at=row.last_used_at,
            )
            for row in rows
        ]
    )


@blueprint.delete("/api/auth/identities/<identity_id>")
@describe({204: Answer("Removed.")}, problems=[404, 409])
async def delete_identity(identity_id: str) -> Response:
    """Sign in with this account no more. Sessions that it began go on; the list of sessions ends them."""
    usable = [provider.issuer for provider in parts().providers.values()]
    try:
        await parts().db.run(store.remove, guard.actor(), identity_id, usable)
    except IdentityNotFound:
        raise Problem(404, "identity_not_found", "You have no such linked account.") from None
    except LastSignIn:
        detail = "It is your only way to sign in, as you have no password. Nothing was changed; link another one first."
        raise Problem(409, "last_sign_in", detail) from None
    return nothing()
