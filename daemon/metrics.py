"""Every metric of the daemon, in one registry of its own. The table in ``docs/operating.md`` lists them."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from protocol.errors import GO_AWAY_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config import Endpoint

# Seconds to an answer. The first are for small requests through the gateway, the last for prompts that think long.
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# Seconds of a job: opencode is up after 3 to 8; a job is given up after some minutes.
JOB_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
# Label values that come from outside (names of models) are counted apart up to so many, the rest together.
MOST_MODELS = 50
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,63}")
# Seconds for the listener's thread to end; it looks twice a second.
_CLOSE_SECONDS = 3.0

disable_created_metrics()  # type: ignore[no-untyped-call]  # they are a second series for each that nobody reads


@dataclass(slots=True)
class HttpMetrics:
    """What the gateway counts. It is the gateway's ``Ledger``, and called once for each request."""

    registry: CollectorRegistry
    requests: Counter = field(init=False)
    duration: Histogram = field(init=False)
    bytes: Counter = field(init=False)
    refusals: Counter = field(init=False)
    upstream_errors: Counter = field(init=False)
    connections: Gauge = field(init=False)
    streams: Gauge = field(init=False)
    _sites: dict[str, _Site] = field(default_factory=dict)
    _statuses: dict[tuple[str, int], Counter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        self.requests = counter(
            "cli_server_http_requests",
            "Requests by site and class of status (none: it broke off before an answer).",
            ["site", "status"],
        )
        self.duration = Histogram(
            "cli_server_http_request_duration_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["site"],
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.bytes = counter(
            "cli_server_http_bytes", "Bytes of bodies, up from clients and down to them.", ["site", "direction"]
        )
        self.refusals = counter("cli_server_http_refused", "What came in and was not taken for a request.", ["reason"])
        self.upstream_errors = counter("cli_server_upstream_errors", "Upstreams that failed.", ["site", "kind"])
        self.connections = gauge("cli_server_http_connections", "Open connections of clients.")
        self.streams = gauge("cli_server_http_streams", "Requests that are being answered now.")

    def finished(self, site: str, status: int, seconds: float, up: int, down: int) -> None:
        """A request ended; ``status`` 0: it broke off before an answer. ``up`` and ``down`` are bytes of bodies."""
        counted = self._statuses.get((site, status // 100))
        if counted is None:
            word = f"{status // 100}xx" if status else "none"
            counted = self._statuses[site, status // 100] = self.requests.labels(site, word)
        counted.inc()
        children = self._sites.get(site)
        if children is None:
            children = self._sites[site] = _Site.of(self, site)
        children.duration.observe(seconds)
        if up:
            children.up.inc(up)
        if down:
            children.down.inc(down)

    def refused(self, code: str) -> None:
        """Bytes came in that are not a request that we take; ``code`` is the problem's, one of a few."""
        self.refusals.labels(code).inc()

    def upstream_failed(self, site: str, error: Exception) -> None:
        """An upstream failed; counted by the kind of the error."""
        self.upstream_errors.labels(site, type(error).__name__).inc()


@dataclass(frozen=True, slots=True)
class _Site:
    """The metrics of one site, so that a request costs no search for them."""

    duration: Histogram
    up: Counter
    down: Counter

    @classmethod
    def of(cls, http: HttpMetrics, site: str) -> _Site:
        return cls(http.duration.labels(site), http.bytes.labels(site, "up"), http.bytes.labels(site, "down"))


class Metrics:
    """All metrics. Attributes are prometheus objects; methods are there where labels need care."""

    def __init__(self, *, version: str = "", statuses: tuple[str, ...] = ()) -> None:
        """``statuses`` are those of sandboxes, so that each shows as 0 from the start."""
        self.registry = registry = CollectorRegistry()
        self._statuses = statuses
        self._models: set[str] = set()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        Info("cli_server_build", "The running version.", registry=registry).info({"version": version})
        self.http = HttpMetrics(registry)
        self._make_sandbox_metrics()
        self._make_people_metrics()
        self._make_inner_metrics()
        self.set_sandboxes({})

    def _make_sandbox_metrics(self) -> None:
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        self.sandboxes = gauge("cli_server_sandboxes", "Sandboxes by status.", ["status"])
        self.jobs = counter(
            "cli_server_jobs",
            "Jobs of the life cycle by the status it began in and what it led to.",
            ["job", "outcome"],
        )
        self.job_duration = Histogram(
            "cli_server_job_duration_seconds",
            "Seconds of a job of the life cycle.",
            ["job"],
            buckets=JOB_BUCKETS,
            registry=self.registry,
        )
        self.sweeper_pauses = counter("cli_server_sweeper_pauses", "Sandboxes paused for being idle.")

    def _make_people_metrics(self) -> None:
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        self.logins = counter("cli_server_logins", "Sign-ins by outcome (ok, wrong, limited).", ["outcome"])
        self.tunnels = gauge("cli_server_tunnels", "Machines that are connected now.")
        self.tunnel_ends = counter("cli_server_tunnel_ends", "Tunnels that ended, by the reason.", ["code"])
        self.event_streams = gauge("cli_server_event_streams", "Open streams of /api/events.")
        self.llm_requests = counter(
            "cli_server_anthropic_requests",
            "Calls through the Anthropic proxy by model and class of status (none: no answer).",
            ["model", "status"],
        )
        self.llm_tokens = counter(
            "cli_server_anthropic_tokens",
            "Tokens by model and kind (input, output, cache_read, cache_write).",
            ["model", "kind"],
        )

    def _make_inner_metrics(self) -> None:
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        self.service_restarts = counter(
            "cli_server_service_restarts", "Background services that failed and were started again.", ["service"]
        )
        self.database_connections = gauge(
            "cli_server_database_connections", "Connections to the database (busy, idle).", ["state"]
        )
        self.database_waiting = gauge("cli_server_database_waiting", "Operations that wait for a connection.")

    def service_restarted(self, name: str) -> None:
        """For :class:`daemon.supervise.Health`."""
        self.service_restarts.labels(name).inc()

    def set_sandboxes(self, counts: Mapping[str, int]) -> None:
        """How many sandboxes there are in each status; a status that is not named has none."""
        for status in {*self._statuses, *counts}:
            self.sandboxes.labels(status).set(counts.get(status, 0))

    def job_ended(self, job: str, outcome: str, seconds: float) -> None:
        """A job of the life cycle ended."""
        self.jobs.labels(job, outcome).inc()
        self.job_duration.labels(job).observe(seconds)

    def tunnel_ended(self, code: str) -> None:
        """A tunnel ended. Agents may say any code; those that are not known are counted together."""
        self.tunnel_ends.labels(code if code in GO_AWAY_CODES or code in ("lost", "broken") else "other").inc()

    def llm_call(self, model: str, status: int, tokens: Mapping[str, int]) -> None:
        """One call through the Anthropic proxy; ``tokens`` by kind. ``status`` 0: no answer."""
        label = self._model_label(model)
        self.llm_requests.labels(label, f"{status // 100}xx" if status else "none").inc()
        for kind, number in tokens.items():
            if number > 0:
                self.llm_tokens.labels(label, kind).inc(number)

    def _model_label(self, model: str) -> str:
        """The model's name while there are few; names come from sandboxes, and each one is kept for ever."""
        if model not in self._models:
            if len(self._models) >= MOST_MODELS or not _MODEL.fullmatch(model):
                return "other"
            self._models.add(model)
        return model


async def serve_metrics(
    endpoint: Endpoint, metrics: Metrics, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the metrics on ``endpoint``, whatever the path, until cancelled; reports the port. Raises :class:`OSError`.

    It runs in threads of its own, so that the daemon can be looked at while it is busy.
    """
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
    server, thread = start_http_server(endpoint.port, endpoint.host or everywhere, metrics.registry)
    try:
        task_status.started(server.server_port)
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await trio.to_thread.run_sync(server.shutdown, abandon_on_cancel=True)
            await trio.to_thread.run_sync(thread.join, abandon_on_cancel=True)
        server.server_close()
