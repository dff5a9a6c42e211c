"""Metrics: counted right, bounded in number, listed in the docs, and served beside a busy daemon."""

from __future__ import annotations

import errno
import re
import socket
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from prometheus_client import Counter, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from daemon.config import Endpoint
from daemon.metrics import MOST_MODELS, Metrics, serve_metrics

OPERATING = Path(__file__).parents[1] / "docs" / "operating.md"


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_requests_are_counted_by_site_and_class() -> None:
    metrics = Metrics()
    metrics.http.finished("sandbox", 200, 0.003, 10, 2000)
    metrics.http.finished("sandbox", 204, 0.3, 0, 0)
    metrics.http.finished("api", 404, 0.3, 0, 5)
    metrics.http.finished("api", 0, 0.3, 7, 0)
    assert _value(metrics, "cli_server_http_requests_total", site="sandbox", status="2xx") == 2
    assert _value(metrics, "cli_server_http_requests_total", site="api", status="4xx") == 1
    assert _value(metrics, "cli_server_http_requests_total", site="api", status="none") == 1
    assert _value(metrics, "cli_server_http_bytes_total", site="sandbox", direction="up") == 10
    assert _value(metrics, "cli_server_http_bytes_total", site="sandbox", direction="down") == 2000
    assert _value(metrics, "cli_server_http_request_duration_seconds_count", site="sandbox") == 2
    assert _value(metrics, "cli_server_http_request_duration_seconds_bucket", site="sandbox", le="0.005") == 1


def test_failures_are_counted_by_kind() -> None:
    metrics = Metrics()
    metrics.http.refused("bad_request")
    metrics.http.upstream_failed("sandbox", TimeoutError("127.0.0.1:4096"))
    metrics.service_restarted("sweeper")
    metrics.job_ended("resume", "failed", 3)
    assert _value(metrics, "cli_server_http_refused_total", reason="bad_request") == 1
    assert _value(metrics, "cli_server_upstream_errors_total", site="sandbox", kind="TimeoutError") == 1
    assert _value(metrics, "cli_server_service_restarts_total", service="sweeper") == 1
    assert _value(metrics, "cli_server_jobs_total", job="resume", outcome="failed") == 1


def test_a_status_without_sandboxes_shows_zero() -> None:
    metrics = Metrics(statuses=("running", "failed"))
    assert _value(metrics, "cli_server_sandboxes", status="failed") == 0
    metrics.set_sandboxes({"failed": 2})
    metrics.set_sandboxes({"running": 1})
    assert _value(metrics, "cli_server_sandboxes", status="running") == 1
    assert _value(metrics, "cli_server_sandboxes", status="failed") == 0


def test_models_are_bounded_because_their_names_come_from_sandboxes() -> None:
    metrics = Metrics()
    metrics.llm_call("claude-sonnet-4-5", 200, {"input": 5, "output": 7, "cache_read": 0})
    for number in range(1000):
        metrics.llm_call(f"model-{number}", 200, {"input": 1})
    for name in ("", "x" * 100, 'a"} 1\n', "ü"):
        metrics.llm_call(name, 0, {})
    assert _value(metrics, "cli_server_anthropic_tokens_total", model="claude-sonnet-4-5", kind="output") == 7
    assert _value(metrics, "cli_server_anthropic_tokens_total", model="other", kind="input") == 1000 - MOST_MODELS + 1
    assert _value(metrics, "cli_server_anthropic_requests_total", model="other", status="none") == 4
    models = set(re.findall(rb'model="([^"]*)"', generate_latest(metrics.registry)))
    assert len(models) == MOST_MODELS + 1


def _in_code() -> dict[str, tuple[str, str]]:
    """Name: (type, labels) of every metric that is ours."""
    metrics = Metrics()
    found = {}
    for made in (*vars(metrics).values(), *(getattr(metrics.http, name) for name in metrics.http.__slots__)):
        if isinstance(made, MetricWrapperBase):
            name = made._name + ("_total" if isinstance(made, Counter) else "")
            found[name] = (str(made._type), ", ".join(made._labelnames) or "–")
    return found


def test_the_table_in_the_docs_and_the_code_agree() -> None:
    rows = re.findall(r"^\| `(cli_server_\w+)` \| (\w+) \| ([^|]*?) \|", OPERATING.read_text(), re.MULTILINE)
    in_docs = {name: (kind, labels.replace("`", "")) for name, kind, labels in rows if name != "cli_server_build_info"}
    assert in_docs == _in_code()
    assert "`cli_server_build_info`" in OPERATING.read_text()


def test_the_process_itself_is_measured() -> None:
    text = generate_latest(Metrics(version="1.2.3").registry).decode()
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "python_gc"):
        assert f"\n{name}" in text
    assert 'cli_server_build_info{version="1.2.3"} 1.0' in text


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", ""])
async def test_served_until_cancelled(host: str) -> None:
    metrics = Metrics()
    metrics.service_restarted("sweeper")
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve_metrics, Endpoint(host, 0), metrics))
        shown = "[::1]" if host == "::1" else "127.0.0.1"
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.get(f"http://{shown}:{port}/metrics")
        assert answer.status_code == 200
        assert 'cli_server_service_restarts_total{service="sweeper"} 1.0' in answer.text
        nursery.cancel_scope.cancel()
    with socket.create_server((host or "0.0.0.0", port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
        pass  # the port is free again


async def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - which one is looked at below
            await serve_metrics(Endpoint("127.0.0.1", taken.getsockname()[1]), Metrics())
        assert caught.value.errno == errno.EADDRINUSE
