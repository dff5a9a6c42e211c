"""The daemon: the only file that knows all parts. Who uses a service lives in a nursery inside the service's."""

from __future__ import annotations

import dataclasses
import signal
import ssl
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio

from backends.docker import DockerBackend
from daemon.anthropic.book import UsageBook
from daemon.anthropic.policy import MAY_CALL, BaseUrl, parse_base_url
from daemon.anthropic.site import AnthropicSite
from daemon.api.app import create_app
from daemon.api.hub import EventHub
from daemon.api.parts import ApiParts
from daemon.api.server import serve_api
from daemon.api.site import WEBROOT
from daemon.auth.passwords import Passwords
from daemon.auth.throttle import Turns
from daemon.datadir import lock_data_dir
from daemon.db.database import Database, DatabaseUnavailable
from daemon.db.embedded import EmbeddedPostgres
from daemon.db.listen import Notifications
from daemon.db.migrate import installation_id
from daemon.garbage import rarely_searched
from daemon.gateway import limits
from daemon.gateway.connection import Service
from daemon.gateway.doors import Doors, ProxyOnly
from daemon.gateway.doorway import Doorway
from daemon.gateway.exchange import Reply
from daemon.gateway.kernel import connect_unix
from daemon.gateway.listener import Listener, connection_limit
from daemon.gateway.lookup import CachedLookup
from daemon.gateway.main_site import MainSite
from daemon.gateway.revocation import Revocation
from daemon.gateway.sandbox_pages import SandboxPages
from daemon.gateway.sandbox_site import GrantKey, SandboxHosts, may_go_on, may_open
from daemon.gateway.sites import Inner, Sites
from daemon.ids import new_id
from daemon.metrics import Metrics, serve_metrics
from daemon.readiness import Readiness
from daemon.refusals import Refusals
from daemon.sandboxes.activity import Activity
from daemon.sandboxes.deadlines import CLUSTER_DEADLINES
from daemon.sandboxes.environment import derived_proxy_url, proxy_host, sandbox_spec
from daemon.sandboxes.lifecycle import CLUSTER_STARTS, STARTS, Lifecycle
from daemon.sandboxes.probe import Probe
from daemon.sandboxes.reconciler import Reconciler
from daemon.sandboxes.status import STATUSES
from daemon.sandboxes.sweeper import Sweeper
from daemon.secret import Keyring, token_hash
from daemon.signin.providers import make_providers
from daemon.start import bind, bind_inside, make_backend, migrated, open_keyring, start_errors
from daemon.store import access
from daemon.store import sandboxes as store
from daemon.supervise import Health, supervise
from daemon.systemd import NO_MANAGER, Manager
from daemon.tunnel.cluster import Cluster
from daemon.tunnel.door import TunnelSite
from daemon.tunnel.presence import Presence
from daemon.tunnel.registry import Tunnels
from daemon.tunnel.upstream import TunnelUpstream
from daemon.upkeep import Upkeep
from daemon.version import version
from daemon.wire.http1 import Http1Upstream
from daemon.wire.sockets import connect_tcp, connect_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from socket import socket

    from backends.base import Backend
    from daemon.config import Settings

    BackendFactory = Callable[[Settings, str], Backend]
    Service_ = Callable[..., Awaitable[None]]

log = structlog.get_logger(__name__)

_API_SOCKET = "api.sock"
_LONGEST_SOCKET = 100  # bytes of a path; the kernel takes 107
_BACKEND_PROBE_SECONDS = 10.0  # it may start a program from a cold disk


async def run_daemon(
    settings: Settings, backend_factory: BackendFactory = make_backend, manager: Manager = NO_MANAGER
) -> None:
    """Run until SIGTERM or SIGINT. Raises :class:`StartError` if it cannot start."""
    with start_errors():
        async with AsyncExitStack() as stack:
            stack.enter_context(rarely_searched())
            settings, sockets = bind(settings, manager.inherited)
            for sock in sockets:
                stack.callback(sock.close)  # the listener closes them first, if the start comes so far
            internal, doors = bind_inside(settings)
            for sock in (*internal, *doors):
                stack.callback(sock.close)
            data_dir = stack.enter_context(lock_data_dir(settings.data_dir))
            conninfo = settings.database_url
            if conninfo is None:
                postgres = await stack.enter_async_context(EmbeddedPostgres.open(data_dir))
                conninfo = postgres.conninfo
            await manager.patiently("bringing the database up to date", partial(migrated, conninfo))
            db = await stack.enter_async_context(Database.open(conninfo))
            backend = backend_factory(settings, await db.run(installation_id))
            with start_errors():  # here already: the embedded database's nursery makes groups of what passes it
                await stack.enter_async_context(backend.serve())
            folder = data_dir
            if len(str(folder / _API_SOCKET)) > _LONGEST_SOCKET:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cli-server-")))
            keyring = open_keyring(settings, data_dir)
            daemon = _Daemon(settings, db, backend, Notifications(conninfo), keyring, folder, manager)
            await daemon.run(sockets, internal, doors)


def _anthropic_upstream(base: BaseUrl) -> Http1Upstream:
    if base.tls:
        context = ssl.create_default_context()
        return Http1Upstream(partial(connect_tls, base.host, base.port, context))
    return Http1Upstream(partial(connect_tcp, base.host, base.port))


class _Daemon:
    """The parts and their services. The database and the backend are open around it."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        backend: Backend,
        notifications: Notifications,
        keyring: Keyring,
        folder: Path,
        manager: Manager,
    ) -> None:
        self.settings = settings
        self.db = db
        self.backend = backend
        self.notifications = notifications
        self.keyring = keyring
        self.manager = manager
        self.api_socket = folder / _API_SOCKET
        self.metrics = Metrics(version=version(), statuses=tuple(sorted(STATUSES)))
        self.health = Health(on_restart=self.metrics.service_restarted)
        self.readiness = Readiness(self.health)
        self.activity = Activity(db)
        self.book = UsageBook(db)
        self.hub = EventHub(db, notifications)
        self.refusals = Refusals(db)
        self.upkeep = Upkeep(db, notifications, settings.audit_retention, self.metrics.set_sandboxes)
        self.doors: Doors | None = None
        self.proxy_url = derived_proxy_url(settings)
        spec = partial(sandbox_spec, settings, keyring, self.proxy_url)
        self.replica = None if settings.replica_listen is None else new_id()  # our name, if there may be others
        self.cluster: Cluster | None = None
        only_one = settings.backend == "process"
        self.presence = Presence(db, only_one=only_one, lost=lambda name: self.tunnels.lost(name), replica=self.replica)
        self.tunnels = Tunnels(
            db, self.presence, notifications, ended=self.metrics.tunnel_ended, several=self.replica is not None
        )
        self.lifecycle = Lifecycle(
            db, backend, spec, notifications, take_over=only_one, finished=self.metrics.job_ended, replica=self.replica,
            starts=CLUSTER_STARTS if settings.backend == "k8s" else STARTS,
            deadlines=CLUSTER_DEADLINES if settings.backend == "k8s" else None,
        )  # fmt: skip
        self.reconciler = Reconciler(db, backend, replica=self.replica)
        probe = Probe(backend, lambda row: keyring.opencode_password(row.id, row.secret_version))
        self.sweeper = Sweeper(
            db, self.activity, settings, probe, self.lifecycle.owner, paused=self.metrics.sweeper_pauses.inc,
            replica=self.replica,
        )  # fmt: skip
        notifications.subscribe("sandbox", lambda words: self.activity.hurry(words[0]))
        notifications.on_gap(self.activity.hurry)
        self.grants = CachedLookup[GrantKey, access.Grant](self._find_grant, self._fresh)
        self.states = CachedLookup[str, store.SandboxRow](self._find_sandbox, self._fresh)
        self.tokens = CachedLookup[bytes, access.ProxyGrant](self._find_token, self._fresh)

    def _fresh(self) -> bool:
        return self.notifications.connected

    async def _find_grant(self, key: GrantKey) -> access.Grant | None:
        label, cookie = key
        return await self.db.run(access.find_grant, token_hash(cookie), label)

    async def _find_sandbox(self, sandbox_id: str) -> store.SandboxRow | None:
        return await self.db.run(store.find_sandbox, sandbox_id)

    async def _find_token(self, hashed: bytes) -> access.ProxyGrant | None:
        return await self.db.run(access.find_proxy_token, hashed)

    async def run(self, sockets: list[socket], internal: list[socket], doors: list[socket]) -> None:
        """Serve until a signal, then end from the outside in.

        ``internal``: where other replicas come in; ``doors``: where sandboxes do, besides what the backend has.
        """
        if self.replica is not None and self.settings.replica_url is not None:
            self.cluster = Cluster(
                self.db, self.keyring, self.notifications, self.tunnels, self.presence, self.metrics.http,
                replica_id=self.replica, url=self.settings.replica_url, sockets=internal,
            )  # fmt: skip
        api = Http1Upstream(partial(connect_unix, str(self.api_socket)))
        upstream = _anthropic_upstream(parse_base_url(self.settings.anthropic_base_url))
        anthropic = self._anthropic(upstream)
        listener, revocation, hosts = self._gateway(sockets, api, anthropic)
        self._add_probes(api)
        async with trio.open_nursery() as services:
            await services.start(supervise, "notifications", self.notifications.run, self.health)
            await services.start(supervise, "api", self._api_service(), self.health)
            kept = (("idle connections to the api", api.run), ("idle connections to anthropic", upstream.run))
            for name, service in (*self._services(anthropic, revocation, hosts), *kept):
                services.start_soon(supervise, name, service, self.health, name=name)
            await self._serve(listener, doors)
            services.cancel_scope.cancel()
        api.close()

    async def _serve(self, listener: Listener, doors: list[socket]) -> None:
        """Connections live inside the services; the signal is the innermost."""
        async with trio.open_nursery() as connections:
            await connections.start(listener.run)
            for sock in doors:
                listener.open_door(sock, self.door)
            if self.cluster is not None:
                await connections.start(self.cluster.listener.run)
            self._announce()
            await self.manager.ready(f"serving {self.settings.main_origin}/")
            # What is missing for sandboxes is logged now, and not when the first one fails.
            connections.start_soon(self.readiness.report, name="first look at readiness")
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                name = signal.Signals(await anext(signals)).name
                connections.start_soon(_second_signal, signals, connections.cancel_scope)
                await self._end(name, listener)
                connections.cancel_scope.cancel()

    async def _end(self, name: str, listener: Listener) -> None:
        """Let what is under way end; of several replicas, one that ends sends nobody away before all know."""
        seconds = limits.DRAIN_SECONDS + (limits.NOTICE_SECONDS if self.cluster is not None else 0)
        log.info("shutting down", signal=name, seconds=seconds)
        self.readiness.draining = True
        await self.manager.stopping(f"shutting down; requests have {seconds:g} s to end")
        if self.cluster is not None:
            self.tunnels.closing = True
            listener.step_aside()
            await trio.sleep(limits.NOTICE_SECONDS)
        self.tunnels.shut_down("the server restarts or ends")
        self.hub.shut_down()
        listener.drain(limits.DRAIN_SECONDS)
        await listener.drained()
        if self.cluster is not None:  # the ends of answers of tunnels that are over
            self.cluster.listener.drain(limits.FRESH_SECONDS)
            await self.cluster.listener.drained()

    def _announce(self) -> None:
        where = self.settings.listen
        log.info("listening", host=where.host, port=where.port, backend=self.backend.name)
        if not WEBROOT.built:
            log.warning("web ui not built", remedy="make webui", folder=str(WEBROOT.folder))
        print(f"cli-server is ready: {self.settings.main_origin}/", flush=True)

    def _services(
        self, anthropic: AnthropicSite, revocation: Revocation, hosts: SandboxHosts
    ) -> Iterator[tuple[str, Service_]]:
        yield "life cycle", self.lifecycle.run
        yield "reconciler", self.reconciler.run
        yield "idle sweeper", self.sweeper.run
        yield "activity", self.activity.run
        yield "usage book", self.book.run
        yield "llm calls", anthropic.run
        yield "events", self.hub.run
        yield "revocation", revocation.run
        yield from self.upkeep.services()
        yield "idle connections", hosts.run
        yield "tunnels", self.tunnels.run
        yield "presence", self.presence.run
        if self.cluster is not None:
            yield from self.cluster.services()
        if self.doors is not None:
            yield "doors", self.doors.run
        if self.settings.metrics_listen is not None:
            yield "metrics", partial(serve_metrics, self.settings.metrics_listen, self.metrics)
        if self.manager.watchdog_seconds:
            yield "watchdog", self.manager.watchdog

    def _set_gauges(self, listener: Listener) -> None:
        """What is read when somebody asks."""
        metrics, clients = self.metrics, listener.watch.clients
        metrics.http.connections.set_function(lambda: listener.open_connections)
        metrics.http.streams.set_function(lambda: sum(client.busy for client in list(clients.values())))
        metrics.tunnels.set_function(lambda: self.tunnels.count)
        metrics.event_streams.set_function(lambda: self.hub.streams)
        metrics.database_connections.labels("busy").set_function(lambda: self.db.load[0])
        metrics.database_connections.labels("idle").set_function(lambda: self.db.load[1])
        metrics.database_waiting.set_function(lambda: self.db.load[2])

    def _api_service(self) -> Service_:
        parts = ApiParts(
            settings=self.settings,
            db=self.db,
            keyring=self.keyring,
            passwords=Passwords(),
            turns=Turns(),
            hub=self.hub,
            backend=self.backend,
            providers=make_providers(self.settings),
            refusals=self.refusals,
            last_activity=self.activity.last,
            on_login=lambda outcome: self.metrics.logins.labels(outcome).inc(),
        )
        return partial(serve_api, create_app(parts), self.api_socket)

    def _anthropic(self, upstream: Http1Upstream) -> AnthropicSite:
        settings = self.settings
        return AnthropicSite(
            parse_base_url(settings.anthropic_base_url),
            api_key=settings.anthropic_api_key,
            auth_token=settings.anthropic_auth_token,
            upstream=upstream,
            tokens=self.tokens.get,
            touch=self.activity.touch,
            usage=self.book,
            on_call=self.metrics.llm_call,
        )

    def _gateway(
        self, sockets: list[socket], api: Http1Upstream, anthropic: AnthropicSite
    ) -> tuple[Listener, Revocation, SandboxHosts]:
        settings = self.settings
        pages = SandboxPages(settings)
        tunnel = partial(TunnelUpstream, self.tunnels) if self.cluster is None else self.cluster.way
        doorway = Doorway(self.db, self.backend, self.keyring, self.activity, self.lifecycle, tunnel, self.refusals)
        hosts = SandboxHosts(settings, self.grants, self.states, doorway, pages)
        main = MainSite(api, anthropic, TunnelSite(self.db, self.tunnels, self.refusals), self._ready)
        errors = (DatabaseUnavailable,)
        inner = ProxyOnly(anthropic, pages.misdirected)
        networks = (settings.agent_networks,) if settings.backend == "docker" else ()
        sites = Sites(
            settings.base_domain, main, hosts.decide, pages.misdirected, pages.unavailable, errors,
            inner=Inner(proxy_host(self.proxy_url), networks, inner),
        )  # fmt: skip
        service = Service(
            sites,
            self.metrics.http,
            settings.trusted_proxies,
            settings.base_scheme,
            never_trusted=networks,
        )
        listener = Listener(service, sockets, most=connection_limit())
        self.door = dataclasses.replace(service, site=inner, trusted=(), scheme="http")
        if isinstance(self.backend, DockerBackend):
            self.doors = Doors(listener, self.door, partial(_gateways, self.backend, settings), settings.listen.port)
        self._set_gauges(listener)
        self.tunnels.cut = listener.watch.revoke
        revocation = Revocation(
            self.notifications, listener.watch, self.grants, self.tokens, hosts.forget, self._still_allowed
        )
        return listener, revocation, hosts

    async def _still_allowed(self, key: tuple[str, ...]) -> bool:
        """Whether what lives by ``key`` may go on, asked of the database."""
        match key:
            case ("grant", label, cookie):
                grant = await self._find_grant((label, cookie))
                return grant is not None and may_open(grant.role)
            case ("sandbox" | "proxy" as kind, sandbox_id):
                row = await self._find_sandbox(sandbox_id)
                return row is not None and (row.status in MAY_CALL if kind == "proxy" else may_go_on(row))
        return True

    async def _ready(self) -> Reply:
        report = await self.readiness.report()
        return Reply(report.status, report.headers, report.body)

    def _add_probes(self, api: Http1Upstream) -> None:
        async def api_answers() -> None:
            (await api.connect()).close()

        self.readiness.add("database", self.db.check)
        self.readiness.add("backend", self.backend.check, deadline=_BACKEND_PROBE_SECONDS)
        self.readiness.add("api", api_answers)


def _gateways(backend: DockerBackend, settings: Settings) -> frozenset[str]:
    """Where sandboxes look for us and the public listener is not."""
    return frozenset() if settings.listen.everywhere else backend.gateways - {settings.listen.host}


async def _second_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    """Whoever asks twice does not want to wait."""
    await anext(signals)
    scope.cancel()
