"""Routes of sandboxes. They record what is wanted; the life-cycle service carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from pydantic import BeforeValidator, Field
from quart import Blueprint, Response, request

from backends.base import BackendError, SandboxGone
from daemon import values
from daemon.api import guard
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.problems import Problem, invalid
from daemon.api.shapes import Body, Name, Shape, Time, answer, nothing
from daemon.auth.roles import Action
from daemon.ids import new_id
from daemon.sandboxes.links import InvalidNext, open_link, ticket_link
from daemon.sandboxes.status import IllegalStatus
from daemon.secret import new_token, token_hash
from daemon.store import access, workspaces
from daemon.store import sandboxes as store
from daemon.store.sandboxes import NewSandbox, SandboxNotFound, SandboxRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from daemon.db.database import Connection

blueprint = Blueprint("sandboxes", __name__)

_FIRST_NONCE = 1  # secret_version of a new row


def _as_text(value: object) -> object:
    """Numbers are taken where the text of one is: ``{"cpu": 2}``, ``{"idleTimeout": 0}`` (seconds)."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _duration(value: object) -> object:
    text = _as_text(value)
    return f"{text}s" if isinstance(text, str) and text.isdecimal() and text != "0" else text


Duration = Annotated[str, BeforeValidator(_duration), Field(examples=["30m", "0"])]
Amount = Annotated[str, BeforeValidator(_as_text)]


class WantedSandbox(Body):
    """A sandbox to create; everything has a default."""

    name: Name | None = None
    cpu: Annotated[Amount, Field(examples=["2", "0.5"])] | None = None
    memory: Annotated[Amount, Field(examples=["2Gi"])] | None = None
    idle_timeout: Duration | None = None


class SandboxChange(Body):
    """What to change; what is absent stays. ``idleTimeout`` null: the server's."""

    name: Name | None = None
    idle_timeout: Duration | None = None


class Sandbox(Shape):
    """A sandbox. ``url`` holds no secret."""

    id: str
    workspace_id: str
    name: str
    type: str
    status: str
    status_reason: str | None
    is_local: bool
    url: str
    created_at: Time
    last_activity_at: Time
    paused_at: Time | None
    last_heartbeat_at: Time | None
    idle_timeout: str
    cpu: str
    memory: str


def sandbox_shape(row: SandboxRow) -> Sandbox:
    """The row as the API shows it, with the server's values where it has none of its own."""
    settings = parts().settings
    seen = parts().last_activity(row.id)
    return Sandbox(
        id=row.id,
        workspace_id=row.workspace_id,
        name=row.name,
        type=row.type,
        status=row.status,
        status_reason=row.status_reason,
        is_local=row.type == "local",
        url=settings.host_origin(f"oc-{row.id}") + "/",
        created_at=row.created_at,
        last_activity_at=row.last_activity_at if seen is None else max(seen, row.last_activity_at),
        paused_at=row.paused_at,
        last_heartbeat_at=row.last_heartbeat_at,
        idle_timeout=row.idle_timeout or values.duration_text(settings.idle_timeout),
        cpu=row.cpu or f"{settings.agent_cpu_limit:g}",
        memory=row.memory or values.size_text(settings.agent_memory_limit),
    )


# Checks


def _checked(field: str, text: str | None, parse: Callable[[str], float], most: float, limit: str) -> None:
    """Raise the 422 for a text that is no such quantity, or more than the server gives."""
    if text is None:
        return
    try:
        value = parse(text)
    except ValueError as error:
        raise invalid((field, str(error) or f"is not one such as {limit}")) from None
    if value > most:
        raise invalid((field, f"is above this server's limit of {limit}"))


def _check_limits(wanted: WantedSandbox) -> None:
    settings = parts().settings
    cpus, memory = settings.agent_cpu_limit, settings.agent_memory_limit
    _checked("cpu", wanted.cpu, values.cores, cpus, f"{cpus:g}")
    _checked("memory", wanted.memory, values.size, memory, values.size_text(memory))
    _check_timeout(wanted.idle_timeout)


def _check_timeout(text: str | None) -> None:
    _checked("idleTimeout", text, values.duration, float("inf"), "30m, 90s, 2h or 0")


def _not_found() -> Problem:
    return Problem(404, "sandbox_not_found", "There is no such sandbox, or you are not a member of its workspace.")


def _conflict(error: IllegalStatus) -> Problem:
    return Problem(409, "wrong_status", f"The sandbox is {error.status}; that is not possible now.")


def _authorized(conn: Connection, sandbox_id: str, user_id: str, action: Action) -> SandboxRow:
    """The sandbox, if the user may do ``action`` in its workspace; raises as :func:`workspaces.authorize`."""
    row = store.find_sandbox(conn, sandbox_id)
    if row is None:
        raise SandboxNotFound
    try:
        workspaces.authorize(conn, row.workspace_id, user_id, action)
    except workspaces.WorkspaceNotFound:
        raise SandboxNotFound from None
    return row


async def find_authorized(sandbox_id: str, action: Action) -> SandboxRow:
    """The sandbox, if the caller may do ``action`` with it; raises what becomes 404 or 403."""
    return await parts().db.run(_authorized, sandbox_id, guard.current_user().id, action)


async def _find_cloud(sandbox_id: str, action: Action) -> SandboxRow:
    row = await find_authorized(sandbox_id, action)
    if row.type == "local":
        raise Problem(409, "local_sandbox", "This sandbox runs on somebody's machine; it can only be stopped there.")
    return row


@blueprint.app_errorhandler(SandboxNotFound)
async def _on_not_found(error: SandboxNotFound) -> Response:
    return _not_found().response()


@blueprint.app_errorhandler(IllegalStatus)
async def _on_illegal_status(error: IllegalStatus) -> Response:
    return _conflict(error).response()


# Routes


@blueprint.get("/api/workspaces/<workspace_id>/sandboxes")
@describe({200: Answer("The workspace's sandboxes, the oldest first.", list[Sandbox])}, problems=[404])
async def list_sandboxes(workspace_id: str) -> Response:
    """A workspace's sandboxes."""

    def read(conn: Connection, user_id: str) -> list[SandboxRow]:
        workspaces.authorize(conn, workspace_id, user_id, Action.VIEW)
        return store.list_sandboxes(conn, workspace_id)

    rows = await parts().db.run(read, guard.current_user().id)
    return answer([sandbox_shape(row) for row in rows])


@blueprint.post("/api/workspaces/<workspace_id>/sandboxes")
@describe({201: Answer("Being created.", Sandbox)}, problems=[404])
@takes(WantedSandbox)
async def create_sandbox(wanted: WantedSandbox, workspace_id: str) -> Response:
    """Create a sandbox: developers and up. It has the status ``creating`` and goes on by itself."""
    _check_limits(wanted)
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

    def create(conn: Connection, user_id: str) -> SandboxRow:
        workspaces.authorize(conn, workspace_id, user_id, Action.CREATE_SANDBOX, lock=True)
        return store.insert_sandbox(conn, new)

    row = await parts().db.run(create, guard.current_user().id)
    return answer(sandbox_shape(row), 201, {"Location": f"/api/sandboxes/{row.id}"})


@blueprint.get("/api/sandboxes/<sandbox_id>")
@describe({200: Answer("The sandbox.", Sandbox)}, problems=[404])
async def get_sandbox(sandbox_id: str) -> Response:
    """One sandbox."""
    return answer(sandbox_shape(await find_authorized(sandbox_id, Action.VIEW)))


@blueprint.patch("/api/sandboxes/<sandbox_id>")
@describe({200: Answer("Changed.", Sandbox)}, problems=[404])
@takes(SandboxChange)
async def change_sandbox(wanted: SandboxChange, sandbox_id: str) -> Response:
    """Rename a sandbox, or change its idle timeout: developers and up."""
    _check_timeout(wanted.idle_timeout)
    if "name" in wanted.model_fields_set and wanted.name is None:
        raise invalid(("name", "must be a string"))

    def change(conn: Connection, user_id: str) -> SandboxRow:
        row = _authorized(conn, sandbox_id, user_id, Action.CHANGE_SANDBOX)
        timeout = wanted.idle_timeout if "idle_timeout" in wanted.model_fields_set else row.idle_timeout
        return store.change_details(conn, sandbox_id, wanted.name or row.name, timeout)

    return answer(sandbox_shape(await parts().db.run(change, guard.current_user().id)))


@blueprint.delete("/api/sandboxes/<sandbox_id>")
@describe({204: Answer("Being deleted, with its home; the workspace's disk stays.")}, problems=[404])
async def delete_sandbox(sandbox_id: str) -> Response:
    """Delete a sandbox: developers and up."""
    await find_authorized(sandbox_id, Action.DELETE_SANDBOX)
    await parts().lifecycle.request_delete(sandbox_id)
    return nothing()


@blueprint.post("/api/sandboxes/<sandbox_id>/pause")
@describe({202: Answer("Being paused.", Sandbox)}, problems=[404, 409])
async def pause_sandbox(sandbox_id: str) -> Response:
    """Pause a sandbox: developers and up."""
    await _find_cloud(sandbox_id, Action.PAUSE_SANDBOX)
    await parts().lifecycle.request_pause(sandbox_id)
    return answer(sandbox_shape(await find_authorized(sandbox_id, Action.VIEW)), 202)


@blueprint.post("/api/sandboxes/<sandbox_id>/resume")
@describe({202: Answer("Being resumed.", Sandbox)}, problems=[404, 409])
async def resume_sandbox(sandbox_id: str) -> Response:
    """Resume a paused sandbox, or try a failed one again: developers and up."""
    await _find_cloud(sandbox_id, Action.RESUME_SANDBOX)
    await parts().lifecycle.request_resume(sandbox_id)
    return answer(sandbox_shape(await find_authorized(sandbox_id, Action.VIEW)), 202)


@blueprint.get("/api/sandboxes/<sandbox_id>/logs")
@describe({200: Answer("What the sandbox's programs said.", media_type="text/plain")}, problems=[404, 409])
async def read_logs(sandbox_id: str) -> Response:
    """The log of a sandbox; with ``?follow=true`` it goes on until the sandbox ends."""
    row = await _find_cloud(sandbox_id, Action.READ_LOGS)
    follow = request.args.get("follow", "").lower() in ("1", "true", "yes")
    backend = parts().backend

    async def pieces() -> AsyncIterator[bytes]:
        try:
            async with backend.logs(row.id, follow=follow) as log:
                async for piece in log:
                    yield piece
        except SandboxGone:
            return  # it has not said anything yet
        except BackendError as error:
            yield f"\n[the log cannot be read: {error}]\n".encode()

    response = Response(pieces(), content_type="text/plain; charset=utf-8")
    response.timeout = None
    return response


# Opening


@blueprint.get("/api/sandboxes/<sandbox_id>/open")
@describe(
    {302: Answer("To the sandbox's host with a ticket, or to the sign-in page.")}, problems=[404, 422], public=True
)
async def open_sandbox(sandbox_id: str) -> Response:
    """Go to a sandbox: developers and up. ``next`` is a path there, or a URL on one of its hosts."""
    session = await guard.find_session()
    if session is None:
        return _to_sign_in()
    await parts().db.run(_authorized, sandbox_id, session.user.id, Action.OPEN_SANDBOX)
    try:
        link = open_link(parts().settings, sandbox_id, request.args.get("next", "/"))
    except InvalidNext as error:
        raise invalid(("next", str(error))) from None
    ticket = new_token()
    await parts().db.run(access.create_ticket, token_hash(ticket), session.session_id, sandbox_id, link.label)
    headers = {"Location": ticket_link(parts().settings, link, ticket), "Referrer-Policy": "no-referrer"}
    return Response(b"", 302, headers)


def _to_sign_in() -> Response:
    """A person signs in first and comes back; a program is told."""
    mode = request.headers.get("Sec-Fetch-Mode")
    page_load = mode == "navigate" if mode is not None else "text/html" in request.headers.get("Accept", "")
    if not page_load:
        raise Problem(401, "not_signed_in", "Sign in first; the session may have ended.")
    return Response(b"", 302, {"Location": "/login?" + urlencode({"next": request.full_path.rstrip("?")})})
