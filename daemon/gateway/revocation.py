"""What is kept of rights and states, and how a change in the database reaches kept answers and live streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.db.database import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.db.listen import Notifications
    from daemon.gateway.lookup import CachedLookup
    from daemon.gateway.sandbox_site import GrantKey
    from daemon.gateway.watch import Watch
    from daemon.store.access import Grant, ProxyGrant

log = structlog.get_logger(__name__)

# Keys whose right is asked of the database: a notification of a sandbox does not say what has changed of it.
_ASKED: Final = frozenset({"grant", "sandbox", "proxy"})
_RETRY_SECONDS: Final = 1.0  # a check that the database did not answer is made again


class Revocation:
    """Follows the notifications: drops what is kept and cuts what lives by it.

    A stream that is still allowed after a change of role is cut too; browsers open it again at once. A sandbox's own
    streams, and its calls of the model, are cut when it is no longer in a status in which they could begin: what it
    runs may take its time to end, and its proxy token may be used from somewhere else.
    """

    def __init__(
        self,
        notifications: Notifications,
        watch: Watch,
        grants: CachedLookup[GrantKey, Grant],
        tokens: CachedLookup[bytes, ProxyGrant],
        forget_sandbox: Callable[[str], None],
        still_allowed: Callable[[tuple[str, ...]], Awaitable[bool]],
    ) -> None:
        self._watch = watch
        self._grants = grants
        self._tokens = tokens
        self._forget_sandbox = forget_sandbox
        self._still_allowed = still_allowed
        self._doubtful: set[tuple[str, ...]] = set()  # keys whose right may have ended
        self._doubt = trio.Event()
        notifications.subscribe("session", self._on_session)
        notifications.subscribe("user", self._on_user)
        notifications.subscribe("member", self._on_member)
        notifications.subscribe("sandbox", self._on_sandbox)
        notifications.on_gap(self._on_gap)

    def _on_session(self, words: list[str]) -> None:
        self._grants.forget(lambda _, grant: grant.session_id == words[0])
        self._cut(("session", words[0]))

    def _on_user(self, words: list[str]) -> None:
        self._grants.forget(lambda _, grant: grant.user_id == words[0])
        self._cut(("user", words[0]))

    def _on_member(self, words: list[str]) -> None:
        workspace, user = words
        self._grants.forget(lambda _, grant: (grant.workspace_id, grant.user_id) == (workspace, user))
        self._cut(("member", workspace, user))

    def _on_sandbox(self, words: list[str]) -> None:
        self._forget_sandbox(words[0])
        self._tokens.forget(lambda _, grant: grant.sandbox_id == words[0])
        self._ask({("sandbox", words[0]), ("proxy", words[0])})

    def _cut(self, key: tuple[str, ...]) -> None:
        count = self._watch.revoke(key)
        if count:
            log.info("streams cut", because=key[0], count=count)

    def _on_gap(self) -> None:
        self._grants.clear()
        self._tokens.clear()
        self._ask({key for key in self._watch.live_keys() if key[0] in _ASKED})

    def _ask(self, keys: set[tuple[str, ...]]) -> None:
        self._doubtful |= keys
        self._doubt.set()

    async def run(self) -> None:
        """Ask anew for live streams whose right may have ended."""
        while True:
            await self._doubt.wait()
            self._doubt = trio.Event()
            doubtful, self._doubtful = self._doubtful & self._watch.live_keys(), set()
            try:
                for key in doubtful:
                    if not await self._still_allowed(key):
                        self._cut(key)
            except DatabaseUnavailable as error:
                log.warning("rights of streams are not checked yet", reason=str(error))
                self._ask(doubtful)
                await trio.sleep(_RETRY_SECONDS)
