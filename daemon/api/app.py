"""The API and the web page as one Quart-Trio app, behind the gateway on a private socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart_trio import QuartTrio

from daemon.api import (
    about,
    admin,
    agents,
    audit,
    auth,
    contents,
    downloads,
    events,
    identities,
    invitations,
    oidc,
    ports,
    sandboxes,
    site,
    tokens,
    usage,
    well_known,
    workspaces,
)
from daemon.api.guard import register_guard
from daemon.api.openapi import register_openapi
from daemon.api.parts import ApiParts, set_parts
from daemon.api.problems import Problem, register_error_handlers
from daemon.api.refusals import register_refusals
from daemon.cookies import CookieNames
from daemon.gateway.limits import MAX_API_BODY
from daemon.store.workspaces import (
    AlreadyMember,
    LastOwner,
    MemberNotFound,
    NotAllowed,
    UserNotFound,
    WorkspaceNotFound,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Response

__all__ = ["ApiParts", "create_app"]

_ROUTES = (
    auth, oidc, identities, tokens, about, workspaces, invitations, contents, sandboxes, ports, agents, usage, admin,
    audit, events, downloads, well_known, site,
)  # fmt: skip


def create_app(parts: ApiParts) -> QuartTrio:
    """The app. It starts nothing and opens nothing; ``parts`` outlive it."""
    app = QuartTrio("daemon", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_API_BODY  # the gateway refuses larger ones before
    # A stream of events has no end. The gateway has a deadline for clients that do not read.
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.merge_slashes = False  # "//api" is nothing we know, rather than a redirect
    set_parts(app.extensions, parts)
    register_error_handlers(app)
    register_domain_errors(app)
    register_guard(app)
    register_refusals(app)
    register_openapi(app, CookieNames.for_scheme(secure=parts.settings.secure).session)
    for routes in _ROUTES:
        app.register_blueprint(routes.blueprint)
    return app


_DOMAIN_ERRORS: dict[type[Exception], Callable[[Any], Problem]] = {
    WorkspaceNotFound: lambda error: Problem(
        404, "workspace_not_found", "There is no such workspace, or you are not a member."
    ),
    NotAllowed: lambda error: Problem(403, "not_allowed", f"Your role here, {error.role}, does not allow this."),
    UserNotFound: lambda error: Problem(404, "user_not_found", "There is no user of this name."),
    MemberNotFound: lambda error: Problem(404, "member_not_found", "This user is not a member."),
    AlreadyMember: lambda error: Problem(409, "already_member", "This user is a member already."),
    LastOwner: lambda error: Problem(409, "last_owner", "A workspace needs an owner; make another member one first."),
}


def register_domain_errors(app: QuartTrio) -> None:
    """Errors of the store that mean the same in every route."""

    async def handle(error: Exception) -> Response:
        return _DOMAIN_ERRORS[type(error)](error).response()

    for kind in _DOMAIN_ERRORS:
        app.register_error_handler(kind, handle)
