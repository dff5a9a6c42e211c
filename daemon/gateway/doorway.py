"""What the gateway asks of the sandboxes' life, answered by the parts that know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.base import BackendError
from daemon.sandboxes.status import IllegalStatus
from daemon.store import access
from daemon.wire.sockets import SocketStream, connect_tcp

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.base import Backend
    from daemon.db.database import Database
    from daemon.refusals import Refusals
    from daemon.sandboxes.activity import Activity
    from daemon.sandboxes.lifecycle import Lifecycle
    from daemon.secret import Keyring
    from daemon.store.audit import Actor
    from daemon.store.refusals import Refusal
    from daemon.store.sandboxes import SandboxRow
    from daemon.wire.exchange import Upstream


@dataclass(frozen=True, slots=True)
class Doorway:
    """See :class:`daemon.gateway.sandbox_site.Sandboxes`."""

    db: Database
    backend: Backend
    keyring: Keyring
    activity: Activity
    lifecycle: Lifecycle
    tunnel: Callable[[str], Upstream]  # the upstream of a local sandbox
    refusals: Refusals

    async def connect(self, sandbox_id: str, port: int | None) -> SocketStream:
        """A new connection; the address is asked for each time, never remembered."""
        try:
            if port is None:
                address = await self.backend.address(sandbox_id)
            else:
                address = await self.backend.port_address(sandbox_id, port)
        except BackendError as error:
            raise ConnectionError(str(error)) from error
        if address is None:
            raise ConnectionRefusedError("nothing listens there")
        return await connect_tcp(address.host, address.port)

    def password(self, sandbox: SandboxRow) -> str:
        """opencode's password."""
        return self.keyring.opencode_password(sandbox.id, sandbox.secret_version)

    def touch(self, sandbox_id: str) -> None:
        """Somebody uses it now."""
        self.activity.touch(sandbox_id)

    async def resume(self, sandbox_id: str, actor: Actor) -> None:
        """Ask for it to be resumed; somebody may have been faster."""
        try:
            await self.lifecycle.request_resume(sandbox_id, actor)
        except IllegalStatus:
            return

    async def redeem(self, ticket_hash: bytes, label: str, cookie_hash: bytes) -> str | None:
        """Exchange a ticket for a cookie of this host."""
        return await self.db.run(access.redeem_ticket, ticket_hash, label, cookie_hash)

    async def discard(self, ticket_hash: bytes, label: str) -> bool:
        """Use a ticket up."""
        return await self.db.run(access.discard_ticket, ticket_hash, label)

    async def note(self, refusal: Refusal) -> None:
        """Somebody was not let in."""
        await self.refusals.note(refusal)
