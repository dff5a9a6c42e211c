"""Routes of sandboxes. They record what is wanted; the life-cycle service carries it out."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from quart import Blueprint, Response, request

from backends.base import BackendError, SandboxGone
from daemon.api import guard
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.problems import Problem, invalid
from daemon.api.refusals import note_not_allowed
from daemon.api.sandbox_shapes import Sandbox, SandboxChange, WantedSandbox, check_limits, check_timeout, sandbox_shape
from daemon.api.shapes import answer, nothing
from daemon.auth.roles import Action
from daemon.db.database import DatabaseUnavailable
from daemon.ids import is_id, new_id
from daemon.pages import State, Subject, render
from daemon.sandboxes import status
from daemon.sandboxes.links import InvalidNext, open_link, ticket_link
from daemon.sandboxes.status import IllegalStatus
from daemon.secret import MARK_LENGTH, new_token, ticket_hash, token_hash
from daemon.store import access, wishes, workspaces
from daemon.store import sandboxes as store
from daemon.store.audit import Target, record_opening
from daemon.store.sandboxes import NewSandbox, SandboxNotFound, SandboxRow
from daemon.store.workspaces import NotAllowed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.api.parts import ApiParts
    from daemon.db.database import Connection
    from daemon.sandboxes.links import Link
    from daemon.store.audit import Actor
    from daemon.store.people import SignedIn

blueprint = Blueprint("sandboxes", __name__)

_MARK: Final = re.compile(f"[0-9a-f]{{{MARK_LENGTH}}}")
_FIRST_NONCE: Final = 1  # secret_version of a new row


class LocalSandbox(Exception):
    """The sandbox runs on somebody's own machine, where only they start and stop it."""


def _answer(row: SandboxRow, code: int = 200, headers: dict[str, str] | None = None) -> Response:
    return answer(sandbox_shape(parts(), row), code, headers)


# Checks


def authorized(conn: Connection, sandbox_id: str, user_id: str, action: Action, *, lock: bool = False) -> SandboxRow:
    """The sandbox, if the user may do ``action`` in its workspace; raises as :func:`workspaces.authorize`."""
    row = store.find_sandbox(conn, sandbox_id) if is_id(sandbox_id) else None
    if row is None:
        raise SandboxNotFound
    try:
        workspaces.authorize(conn, row.workspace_id, user_id, action, lock=lock)
    except workspaces.WorkspaceNotFound:
        raise SandboxNotFound from None
    return row


def _requested(conn: Connection, sandbox_id: str, actor: Actor, action: Action, after: str) -> SandboxRow:
    """Record what is wanted of a cloud sandbox. The role is checked in the same transaction."""
    row = authorized(conn, sandbox_id, actor.user_id, action, lock=True)
    if row.type == status.LOCAL:
        raise LocalSandbox
    return wishes.request_status(conn, sandbox_id, after, actor)


def _deleted(conn: Connection, sandbox_id: str, actor: Actor) -> None:
    """Record that it is to go. A second time changes nothing."""
    authorized(conn, sandbox_id, actor.user_id, Action.DELETE_SANDBOX, lock=True)
    try:
        wishes.request_status(conn, sandbox_id, status.DELETING, actor)
    except IllegalStatus as error:
        if error.status != status.DELETING:
            raise


async def _authorized(sandbox_id: str, action: Action) -> SandboxRow:
    """The sandbox, if the caller may do ``action`` with it; raises what becomes 404 or 403."""
    return await parts().db.run(authorized, sandbox_id, guard.current_user().id, action)


@blueprint.app_errorhandler(SandboxNotFound)
async def _on_not_found(error: SandboxNotFound) -> Response:
    detail = "There is no such sandbox, or you are not a member of its workspace."
    return Problem(404, "sandbox_not_found", detail).response()


@blueprint.app_errorhandler(IllegalStatus)
async def _on_illegal_status(error: IllegalStatus) -> Response:
    return Problem(409, "wrong_status", f"The sandbox is {error.status}; that is not possible now.").response()


@blueprint.app_errorhandler(LocalSandbox)
async def _on_local(error: LocalSandbox) -> Response:
    detail = "This sandbox runs on somebody's own machine; that is done there."
    return Problem(409, "local_sandbox", detail).response()


# Routes


@blueprint.get("/api/workspaces/<workspace_id>/sandboxes")
@describe({200: Answer("The workspace's sandboxes, the oldest first.", list[Sandbox])}, problems=[404])
async def list_sandboxes(workspace_id: str) -> Response:
    """A workspace's sandboxes."""

    def read(conn: Connection, user_id: str) -> list[SandboxRow]:
        workspaces.authorize(conn, workspace_id, user_id, Action.VIEW)
        return store.list_sandboxes(conn, workspace_id)

    rows = await parts().db.run(read, guard.current_user().id)
    return answer([sandbox_shape(parts(), row) for row in rows])


@blueprint.post("/api/workspaces/<workspace_id>/sandboxes")
@describe({201: Answer("Being created.", Sandbox)}, problems=[404])
@takes(WantedSandbox)
async def create_sandbox(wanted: WantedSandbox, workspace_id: str) -> Response:
    """Create a sandbox: developers and up. It has the status ``creating`` and goes on by itself."""
    check_limits(parts().settings, wanted)
    sandbox_id = new_id()
    token = parts().keyring.proxy_token(sandbox_id, _FIRST_NONCE)
    new = NewSandbox(
        id=sandbox_id,
        workspace_id=workspace_id,
        name=wanted.name or f"sandbox-{sandbox_id[:4]}",
        created_by=guard.current_user().id,
        proxy_token_hash=token_hash(token),
        idle_timeout=wanted.idle_timeout,
        cpu=wanted.cpu,
        memory=wanted.memory,
    )

    def create(conn: Connection, actor: Actor) -> SandboxRow:
        workspaces.authorize(conn, workspace_id, actor.user_id, Action.CREATE_SANDBOX, lock=True)
        return wishes.create(conn, new, actor)

    row = await parts().db.run(create, guard.actor())
    return _answer(row, 201, {"Location": f"/api/sandboxes/{row.id}"})


@blueprint.get("/api/sandboxes/<sandbox_id>")
@describe({200: Answer("The sandbox.", Sandbox)}, problems=[404])
async def get_sandbox(sandbox_id: str) -> Response:
    """One sandbox."""
    return _answer(await _authorized(sandbox_id, Action.VIEW))


@blueprint.patch("/api/sandboxes/<sandbox_id>")
@describe({200: Answer("Changed.", Sandbox)}, problems=[404, 409])
@takes(SandboxChange)
async def change_sandbox(wanted: SandboxChange, sandbox_id: str) -> Response:
    """Rename a sandbox, or change a cloud sandbox's idle timeout: developers and up."""
    check_timeout(wanted.idle_timeout)

    def change(conn: Connection, actor: Actor) -> SandboxRow:
        row = authorized(conn, sandbox_id, actor.user_id, Action.CHANGE_SANDBOX, lock=True)
        if row.type == status.LOCAL and wanted.idle_timeout is not None:
            raise LocalSandbox
        timeout = wanted.idle_timeout if "idle_timeout" in wanted.model_fields_set else row.idle_timeout
        return wishes.change_details(conn, row, wanted.name or row.name, timeout, actor)

    return _answer(await parts().db.run(change, guard.actor()))


@blueprint.delete("/api/sandboxes/<sandbox_id>")
@describe(
    {204: Answer("Being deleted, with its home; the workspace's disk, or a local one's machine, stays.")},
    problems=[404],
)
async def delete_sandbox(sandbox_id: str) -> Response:
    """Delete a sandbox: developers and up."""
    await parts().db.run(_deleted, sandbox_id, guard.actor())
    return nothing()


@blueprint.post("/api/sandboxes/<sandbox_id>/pause")
@describe({202: Answer("Being paused.", Sandbox)}, problems=[404, 409])
async def pause_sandbox(sandbox_id: str) -> Response:
    """Pause a sandbox: developers and up."""
    actor = guard.actor()
    return _answer(await parts().db.run(_requested, sandbox_id, actor, Action.PAUSE_SANDBOX, status.PAUSING), 202)


@blueprint.post("/api/sandboxes/<sandbox_id>/resume")
@describe({202: Answer("Being resumed.", Sandbox)}, problems=[404, 409])
async def resume_sandbox(sandbox_id: str) -> Response:
    """Resume a paused sandbox, or try a failed one again: developers and up."""
    actor = guard.actor()
    return _answer(await parts().db.run(_requested, sandbox_id, actor, Action.RESUME_SANDBOX, status.RESUMING), 202)


@blueprint.get("/api/sandboxes/<sandbox_id>/logs")
@describe(
    {200: Answer("What the sandbox's programs said.", media_type="text/plain")},
    problems=[403, 404, 409],
    query={"follow": "If it is there and not `false`, the answer goes on until the sandbox ends."},
)
async def read_logs(sandbox_id: str) -> Response:
    """The log of a sandbox: developers and up."""
    row = await _authorized(sandbox_id, Action.READ_LOGS)
    if row.type == status.LOCAL:
        raise LocalSandbox
    follow = request.args.get("follow", "0").lower() not in ("0", "false", "no")
    session = await guard.require_session()
    pieces = b"" if request.method == "HEAD" else _log(parts(), session, row, follow)
    response = Response(pieces, content_type="text/plain; charset=utf-8", headers={"X-Accel-Buffering": "no"})
    response.timeout = None
    return response


async def _log(parts: ApiParts, session: SignedIn, row: SandboxRow, follow: bool) -> AsyncIterator[bytes]:
    """The log, as long as the session lives and the role stays. It outlives its request's context."""
    with parts.hub.follow(session.session_id, session.user.id, row.workspace_id) as follower:
        try:
            if not await parts.hub.still_allowed(follower):
                return
            async with parts.backend.logs(row.id, follow=follow) as log:
                while (piece := await follower.unless_ended(partial(anext, log, None))) is not None:
                    yield piece
        except SandboxGone:
            return  # it has not said anything yet, or is gone with its log
        except (BackendError, DatabaseUnavailable) as error:
            yield f"\n[the log cannot be read further: {error}]\n".encode()


# Opening


@blueprint.get("/api/sandboxes/<sandbox_id>/open")
@describe(
    {302: Answer("To the sandbox's host with a ticket, or to the sign-in page.")},
    problems=[400, 401, 403, 404, 422],
    public=True,
    query={
        "next": "Where to on the sandbox: a path, or a URL on one of its hosts.",
        "browser": "Set by the sandbox's host, which takes the ticket of this browser only.",
    },
)
async def open_sandbox(sandbox_id: str) -> Response:
    """Go to a sandbox: developers and up."""
    if guard.fetched_from_elsewhere():  # the person would be noted as having opened it
        raise Problem(403, "foreign_origin", "A page of another site asked for this; nothing was opened.")
    session = await guard.find_session()
    if session is None:
        return _to_sign_in()
    settings = parts().settings
    ticket, wanted, mark = new_token(), request.args.get("next") or "/", request.args.get("browser", "")
    if mark and not _MARK.fullmatch(mark):
        raise invalid(("browser", "must be as the sandbox's host set it"))

    def make_ticket(conn: Connection, session: SignedIn, actor: Actor) -> Link | None:
        row = authorized(conn, sandbox_id, actor.user_id, Action.OPEN_SANDBOX)
        link = open_link(settings, sandbox_id, wanted)
        if not access.create_ticket(conn, ticket_hash(ticket, mark), session.session_id, sandbox_id, link.label):
            return None
        target = Target("sandbox", row.id, row.name)
        record_opening(conn, actor, session.session_id, target, row.workspace_id)
        return link

    try:
        link = await parts().db.run(make_ticket, session, guard.actor())
    except InvalidNext as error:
        raise invalid(("next", str(error))) from None
    except (NotAllowed, SandboxNotFound) as error:
        if not guard.page_load():
            raise
        if isinstance(error, NotAllowed):
            await note_not_allowed()
        return _page(error)
    if link is None:
        return _to_sign_in()  # signed out in this moment
    headers = {"Location": ticket_link(settings, link, ticket, mark), "Referrer-Policy": "no-referrer"}
    return Response(b"", 302, headers)


def _page(error: Exception) -> Response:
    """For a person who cannot be let through: the page that a sandbox host would show."""
    state = State.NO_ACCESS if isinstance(error, NotAllowed) else State.NOT_FOUND
    page = render(state, Subject(main_url=parts().settings.main_origin + "/"))
    return Response(page.body, page.status, {name.decode(): value.decode() for name, value in page.headers})


def _to_sign_in() -> Response:
    """A person signs in first and comes back; a program is told."""
    if not guard.page_load():
        raise Problem(401, "not_signed_in", "Sign in first; the session may have ended.")
    query = request.query_string.decode("ascii", "replace")
    here = f"{request.path}?{query}" if query else request.path
    return Response(b"", 302, {"Location": "/login?" + urlencode({"next": here})})
