"""What is asked of the database before streams are cut, and that a database which is away is asked again."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import trio
import trio.testing

from daemon.db.database import DatabaseUnavailable
from daemon.db.listen import Notifications
from daemon.gateway.client import Client
from daemon.gateway.lookup import CachedLookup
from daemon.gateway.revocation import Revocation
from daemon.gateway.sandbox_site import may_go_on
from daemon.gateway.watch import Watch
from daemon.sandboxes.status import CLOUD, LOCAL, STATUSES
from daemon.wire.sockets import SocketStream

if TYPE_CHECKING:
    from daemon.gateway.sandbox_site import GrantKey
    from daemon.store.access import Grant, ProxyGrant
    from daemon.store.sandboxes import SandboxRow

Key = tuple[str, ...]


class Rights:
    """What the database knows. ``away``: so many questions it does not answer."""

    def __init__(self) -> None:
        self.gone: set[Key] = set()
        self.asked: list[Key] = []
        self.away = 0

    async def still(self, key: Key) -> bool:
        """Whether what lives by ``key`` may go on."""
        await trio.lowlevel.checkpoint()
        self.asked.append(key)
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable("away")
        return key not in self.gone


async def nothing(key: object) -> None:
    """Nobody asks for what is kept."""


class Told(Notifications):
    """Notifications that the test makes itself."""

    def __init__(self) -> None:
        super().__init__("dbname=nowhere")

    def say(self, text: str) -> None:
        """Something has changed."""
        word, *rest = text.split()
        for callback in self._callbacks.get(word, ()):
            callback(rest)

    def gap(self) -> None:
        """Anything may have changed."""
        self._gap()


class Bench:
    """Revocation over streams that live by keys, one each."""

    def __init__(self, *streams: Key) -> None:
        self.rights = Rights()
        self.told = Told()
        self.clients = {}
        watch = Watch()
        watch.close()
        for number, key in enumerate(streams):
            with socket.socket() as sock:
                self.clients[key] = watch.clients[number] = Client(SocketStream(sock), "", "")
            self.clients[key].revoked_by = (key,)
        grants: CachedLookup[GrantKey, Grant] = CachedLookup(nothing, lambda: True)
        tokens: CachedLookup[bytes, ProxyGrant] = CachedLookup(nothing, lambda: True)
        self.service = Revocation(self.told, watch, grants, tokens, lambda sandbox_id: None, self.rights.still)

    @property
    def cut(self) -> set[Key]:
        """The keys whose streams were cut."""
        return {key for key, client in self.clients.items() if client.scope.cancel_called}


GRANT, BOX, CALL, OTHER = ("grant", "oc-a", "cookie"), ("sandbox", "a"), ("proxy", "a"), ("sandbox", "b")
SESSION = ("session", "s")


async def test_a_change_of_a_sandbox_asks_for_its_streams_only(nursery: trio.Nursery) -> None:
    bench = Bench(GRANT, BOX, CALL, OTHER, SESSION)
    nursery.start_soon(bench.service.run)
    bench.rights.gone = {BOX, OTHER}
    bench.told.say("sandbox a")
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(bench.rights.asked) == sorted([BOX, CALL])
    assert bench.cut == {BOX}


async def test_a_sandbox_without_streams_is_not_asked_for(nursery: trio.Nursery) -> None:
    bench = Bench(OTHER)
    nursery.start_soon(bench.service.run)
    bench.told.say("sandbox a")
    await trio.testing.wait_all_tasks_blocked()
    assert bench.rights.asked == []


async def test_what_may_have_been_missed_is_asked_for_until_the_database_answers(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """It is likely to be away just then: the notifications came over the same network."""
    bench = Bench(GRANT, BOX, CALL, OTHER, SESSION)
    nursery.start_soon(bench.service.run)
    bench.rights.gone = {GRANT, CALL}
    bench.rights.away = 3
    bench.told.gap()
    await trio.testing.wait_all_tasks_blocked()
    assert bench.cut == set()
    await trio.sleep(10)
    assert bench.cut == {GRANT, CALL}
    assert SESSION not in bench.rights.asked, "its notification says all there is to say"


async def test_the_end_of_a_session_cuts_at_once() -> None:
    bench = Bench(SESSION, BOX)
    bench.told.say("session s")
    assert bench.cut == {SESSION}


def test_what_is_under_way_goes_on_only_where_it_could_begin_or_is_told() -> None:
    on = {
        (kind, status)
        for kind in (CLOUD, LOCAL)
        for status in STATUSES
        if may_go_on(cast("SandboxRow", SimpleNamespace(type=kind, status=status)))
    }
    assert on == {(CLOUD, "running"), (LOCAL, "running"), (LOCAL, "offline")}
