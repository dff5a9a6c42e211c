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


def said(kind: str, status: str, *, page: bool = True, **more: Any) -> str:
    row = SandboxRow(**(VALUES | {"id": "a" * 16, "name": "box", "type": kind, "status": status} | more))
    headers = [(b"accept", b"text/html")] if page else []
    request = Request(b"GET", b"/", headers, "oc-x.localhost", 0, "127.0.0.1", "http")
    return PAGES.for_status(request, row, "/?resume").body.decode()


def test_deleting_a_machine_is_not_deleting_its_files() -> None:
    assert "home directory" in said("cloud", "deleting")
    assert "home directory" not in said("local", "deleting")
    assert json.loads(said("local", "deleting", page=False))["code"] == "sandbox_deleting"
    assert json.loads(said("cloud", "deleting", page=False))["code"] == "sandbox_deleting"


def test_since_when_it_is_offline() -> None:
    lately = datetime.now(UTC) - timedelta(minutes=10)
    assert "For 10 minutes" in said("local", "offline", last_heartbeat_at=lately)
    assert "For 10 minutes" in said("cloud", "paused", paused_at=lately)
    assert 'class="quiet"' not in said("local", "offline")


@pytest.mark.parametrize("status", ["running", "offline", "deleting"])
def test_a_machine_has_no_button_and_no_log_here(status: str) -> None:
    assert "/logs" not in said("local", status)
    assert "?resume" not in said("local", status)


def test_a_cloud_sandbox_has_both() -> None:
    assert "/logs" in said("cloud", "failed")
    assert "?resume" in said("cloud", "failed")
