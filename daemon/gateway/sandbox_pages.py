"""What sandbox hosts say instead of the sandbox: a page for a person's navigation, a problem for a program."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from daemon.gateway.exchange import Reply, Request
from daemon.gateway.replies import problem
from daemon.pages import State, Subject, render, render_problem
from daemon.sandboxes.status import LOCAL
from daemon.wire.exchange import UpstreamAbsent, UpstreamRefused

if TYPE_CHECKING:
    from daemon.config import Settings
    from daemon.store.sandboxes import SandboxRow
    from daemon.wire.exchange import UpstreamError

_BY_STATUS = {
    "creating": State.STARTING,
    "resuming": State.RESUMING,
    "running": State.STARTING,  # it became so this very moment
    "pausing": State.PAUSING,
    "paused": State.PAUSED,
    "offline": State.OFFLINE,
    "failed": State.FAILED,
    "deleting": State.DELETING,
}
# What a tunnel cannot carry (daemon/tunnel/upstream.py).
_BY_REFUSAL = {
    "tunnel_busy": State.TUNNEL_BUSY,
    "too_large_for_agent": State.TOO_LARGE_FOR_AGENT,
    "no_upgrade": State.NO_UPGRADE,
}


def _since(sandbox: SandboxRow) -> float | None:
    """For how many seconds it has been so; on a page that loads itself again this shows that it is alive."""
    since = {
        "creating": sandbox.updated_at,  # changes with the status, not with the name
        "resuming": sandbox.updated_at,
        "pausing": sandbox.updated_at,
        "paused": sandbox.paused_at,
        "offline": sandbox.last_heartbeat_at,
    }.get(sandbox.status)
    return None if since is None else (datetime.now(UTC) - since).total_seconds()


class SandboxPages:
    """Makes the answers. ``resume_url`` and the like are on the very host that was asked for."""

    def __init__(self, settings: Settings) -> None:
        self._main = settings.main_origin + "/"

    def _reply(self, request: Request, state: State, subject: Subject) -> Reply:
        page = render(state, subject) if request.page_load else render_problem(state, subject)
        return Reply(page.status, page.headers, page.body)

    def _plain(self, request: Request, state: State) -> Reply:
        return self._reply(request, state, Subject(main_url=self._main))

    def sign_in(self, request: Request, open_url: str) -> Reply:
        """No valid cookie of this host: a person is sent to get one, a program is told."""
        if request.page_load:
            return Reply(302, [(b"location", open_url.encode("ascii")), (b"cache-control", b"no-store")])
        return self._reply(request, State.SIGNED_OUT, Subject(main_url=self._main, action_url=open_url))

    def bad_ticket(self, request: Request, open_url: str) -> Reply:
        """The ticket was used, has expired, or is none."""
        return self._reply(request, State.BAD_TICKET, Subject(main_url=self._main, action_url=open_url))

    def no_access(self, request: Request) -> Reply:
        """A guest, or no member any more."""
        return self._plain(request, State.NO_ACCESS)

    def foreign(self, request: Request) -> Reply:
        """Another site's page asked for it."""
        return self._plain(request, State.FOREIGN)

    def not_found(self, request: Request) -> Reply:
        """There is no such sandbox."""
        return self._plain(request, State.NOT_FOUND)

    def misdirected(self, request: Request) -> Reply:
        """A host that is not ours."""
        return self._plain(request, State.MISDIRECTED)

    def unavailable(self, request: Request) -> Reply:
        """The database does not answer."""
        return self._plain(request, State.UNAVAILABLE)

    def for_status(self, request: Request, sandbox: SandboxRow, resume_url: str) -> Reply:
        """The sandbox is not running."""
        resumable = sandbox.type != LOCAL and sandbox.status in ("paused", "failed")
        state = _BY_STATUS[sandbox.status]
        if state is State.DELETING and sandbox.type == LOCAL:
            state = State.LOCAL_DELETING
        return self._about(request, state, sandbox, resume_url if resumable else "")

    def resuming(self, request: Request, sandbox: SandboxRow) -> Reply:
        """It was asked to resume just now; ``sandbox`` is as it was before, and that is no more true."""
        now = dataclasses.replace(sandbox, status="resuming", status_reason=None, updated_at=datetime.now(UTC))
        return self._about(request, State.RESUMING, now, "")

    def unreachable(self, request: Request, sandbox: SandboxRow, port: int | None, error: UpstreamError) -> Reply:
        """It runs, but what was asked for in it does not answer, or cannot be asked."""
        state = State.UPSTREAM_BROKE if port is None else State.NOT_LISTENING
        if sandbox.type == LOCAL:
            state = State.LOCAL_BROKE
        if isinstance(error, UpstreamAbsent):
            state = State.OFFLINE
        elif isinstance(error, UpstreamRefused):
            if error.code not in _BY_REFUSAL:
                return problem(error.status, error.code, str(error))
            state = _BY_REFUSAL[error.code]
        return self._about(request, state, sandbox, request.target.decode("ascii"), port)

    def local_port(self, request: Request, sandbox: SandboxRow, port: int) -> Reply:
        """A port of a connected machine: only its opencode is reached."""
        return self._about(request, State.LOCAL_PORT, sandbox, "", port)

    def _about(
        self, request: Request, state: State, sandbox: SandboxRow, action_url: str, port: int | None = None
    ) -> Reply:
        subject = Subject(
            name=sandbox.name,
            reason=sandbox.status_reason or "",
            elapsed=_since(sandbox),
            main_url=self._main,
            action_url=action_url,
            # A local one's log is on its machine.
            logs_url="" if sandbox.type == LOCAL else f"{self._main}sandboxes/{sandbox.id}/logs",
            port=port,
        )
        return self._reply(request, state, subject)
