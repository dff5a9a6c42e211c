"""What is said of a sandbox that is not running: a local one is somebody's own machine."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.gateway.exchange import Request
from daemon.gateway.sandbox_pages import SandboxPages
from daemon.store.sandboxes import SandboxRow
from tests.api.support import make_settings

VALUES: dict[str, Any] = {field.name: None for field in dataclasses.fields(SandboxRow)}
PAGES = SandboxPages(make_settings())


def sandbox_row(kind: str, status: str, **more: Any) -> SandboxRow:
    return SandboxRow(**(VALUES | {"id": "a" * 16, "name": "box", "type": kind, "status": status} | more))


def request(*, page: bool = True) -> Request:
    headers = [(b"accept", b"text/html")] if page else []
    return Request(b"GET", b"/", headers, "oc-x.localhost", 0, "127.0.0.1", "http")


def said(kind: str, status: str, *, page: bool = True, **more: Any) -> str:
    return PAGES.for_status(request(page=page), sandbox_row(kind, status, **more), "/?resume").body.decode()


def test_deleting_a_machine_is_not_deleting_its_files() -> None:
    assert "home directory" in said("cloud", "deleting")
    assert "home directory" not in said("local", "deleting")
    assert json.loads(said("local", "deleting", page=False))["code"] == "sandbox_deleting"
    assert json.loads(said("cloud", "deleting", page=False))["code"] == "sandbox_deleting"


def test_since_when_it_is_so() -> None:
    lately = datetime.now(UTC) - timedelta(minutes=10)
    assert "For 10 minutes" in said("local", "offline", last_heartbeat_at=lately)
    assert "For 10 minutes" in said("cloud", "paused", paused_at=lately)
    assert 'class="quiet"' not in said("local", "offline")


def test_what_is_on_its_way_shows_that_time_passes() -> None:
    """The page loads itself again every two seconds and moves nothing: that something changes must be seen."""
    for status in ("creating", "resuming", "pausing"):
        lately = datetime.now(UTC) - timedelta(seconds=12)
        assert "For 12 seconds" in said("cloud", status, updated_at=lately)


def test_one_that_was_asked_to_resume_is_not_shown_as_it_was_before() -> None:
    """It is resumed by this very request; the row was read before."""
    long_ago = datetime.now(UTC) - timedelta(days=3)
    row = sandbox_row("cloud", "paused", paused_at=long_ago, updated_at=long_ago, status_reason="stopped by hand")
    page = PAGES.resuming(request(), row).body.decode()
    assert "box is resuming" in page
    assert "For 0 seconds" in page
    assert "stopped by hand" not in page


@pytest.mark.parametrize("status", ["running", "offline", "deleting"])
def test_a_machine_has_no_button_and_no_log_here(status: str) -> None:
    assert "/logs" not in said("local", status)
    assert "?resume" not in said("local", status)


def test_a_cloud_sandbox_has_both() -> None:
    assert f'href="http://localhost:8080/sandboxes/{"a" * 16}/logs"' in said("cloud", "failed")
    assert "?resume" in said("cloud", "failed")
