"""``make pictures``: the pictures in the docs, of the real pages. What takes weeks to come about is put in by SQL."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.conftest import ROOT
from tests.support.chromium import chromium
from tests.support.rows import database, put_sandbox
from tests.web.conftest import MILLISECONDS, PASSWORD, make_product

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.support.product import Product
    from tests.support.visitor import Visitor

FOLDER: Final = ROOT / "docs" / "images"
MODELS: Final = (("claude-sonnet-4-5", 1.0), ("claude-haiku-4-5", 0.6), ("claude-opus-4-5", 0.3))
DAYS: Final = 30
SIZE: Final = {"width": 1200, "height": 720}
REASON: Final = "opencode ended with status 137: the sandbox used more than its 2 GiB of memory"
AGENT: Final = '{"hostname": "grace-laptop", "os": "macOS 15.1", "agentVersion": "0.1.0"}'


def _people(product: Product) -> dict[str, Visitor]:
    people = {name: product.visitor() for name in ("ada", "grace", "linus")}
    for name, visitor in people.items():
        visitor.register(name, PASSWORD)
    return people


def _fill(product: Product, ada: Visitor, workspace: str) -> str:
    """A workspace that is in use; the id of the sandbox that really runs."""
    ada.api("PATCH", f"/api/workspaces/{workspace}", {"name": "payments"})
    for name, role in (("grace", "maintainer"), ("linus", "developer")):
        ada.api("POST", f"/api/workspaces/{workspace}/members", {"username": name, "role": role})
    members = {one["username"]: one["userId"] for one in ada.api("GET", f"/api/workspaces/{workspace}/members")}
    running = ada.running(workspace, name="billing refactor")
    now = datetime.now(UTC)
    others = [
        put_sandbox(product, workspace, "invoice importer", created_by=members["linus"],
                    last_activity_at=now - timedelta(hours=3), paused_at=now - timedelta(hours=2)),
        put_sandbox(product, workspace, "grace-laptop", type="local", status="offline", created_by=members["grace"],
                    agent_info=AGENT, last_heartbeat_at=now - timedelta(minutes=40),
                    last_activity_at=now - timedelta(minutes=41)),
        put_sandbox(product, workspace, "load test of the ledger", status="failed", status_reason=REASON,
                    created_by=members["grace"], last_activity_at=now - timedelta(minutes=12), failed_at=now),
    ]  # fmt: skip
    # What a machine of one's own uses goes through its own credentials.
    _use(product, workspace, [running, others[0], others[2]])
    return running


def _use(product: Product, workspace: str, sandboxes: list[str]) -> None:
    """A month of usage, the same each time."""
    dice = random.Random(1)
    today = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with database(product) as conn:
        for ago in range(DAYS):
            day = (today - timedelta(days=ago)).date()
            busy = 0.25 if day.weekday() >= 5 else 1.0
            for sandbox in sandboxes:
                for model, share in MODELS:
                    calls = int(dice.uniform(20, 90) * share * busy)
                    numbers = (calls, calls * 2100, calls * 640, calls * 9400, calls * 1200)
                    conn.execute("INSERT INTO usage_daily VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                                 (day, workspace, sandbox, model, *numbers))  # fmt: skip
        for sandbox in sandboxes[:2]:
            for ago in range(24):
                calls = int(dice.triangular(0, 40, 0))
                conn.execute("INSERT INTO usage_hourly (hour, workspace_id, sandbox_id, requests) VALUES (%s,%s,%s,%s)",
                             (today - timedelta(hours=ago), workspace, sandbox, calls))  # fmt: skip


def _take(page: Page, url: str, name: str, *, ready: str) -> None:
    page.goto(url)
    page.get_by_text(ready).first.wait_for()
    page.wait_for_timeout(700)  # what draws itself has done so
    page.screenshot(path=FOLDER / f"{name}.png")


def main() -> None:
    """See the module's text."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        product = make_product(Path(folder), {"REGISTRATION": "open"})
        product.start()
        try:
            ada = _people(product)["ada"]
            workspace = ada.api("GET", "/api/workspaces")[0]["id"]
            running = _fill(product, ada, workspace)
            context = browser.new_context(viewport=SIZE, reduced_motion="reduce")  # type: ignore[arg-type]
            context.set_default_timeout(MILLISECONDS)
            for name, value in ada.cookies["localhost"].items():
                context.add_cookies([{"name": name, "value": value, "url": product.url}])
            page = context.new_page()
            _take(page, f"{product.url}/w/{workspace}/sandboxes", "sandboxes", ready="used more than")
            _take(page, f"{product.url}/sandboxes/{running}", "sandbox", ready="without use")
            _take(page, f"{product.url}/w/{workspace}/usage", "usage", ready="claude-opus-4-5")
            _take(page, f"{product.url}/admin/audit", "audit", ready="Audit log")
            page.goto(f"{product.url}/w/{workspace}/sandboxes")
            page.get_by_role("button", name="Connect a machine").click()
            page.get_by_text("Waiting for the machine").wait_for()
            page.wait_for_timeout(700)
            page.screenshot(path=FOLDER / "connect.png")
        finally:
            product.stop()


if __name__ == "__main__":
    main()
