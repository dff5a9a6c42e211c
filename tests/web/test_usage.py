"""The usage pages: a chart with the exact numbers below it, a period, a file."""

from __future__ import annotations

import csv
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from playwright.sync_api import expect

from tests.web.conftest import look

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from playwright.sync_api import Locator, Page

    from tests.web.conftest import Person, Site

SONNET, HAIKU, ODD = "claude-sonnet-4-5", "claude-haiku-4-5", '=odd, "model"'
LONGEST = 60.0  # seconds; a test takes some, and on a busy machine some more
GONE = "gone-"  # what the id of a sandbox that was deleted begins with
CHART = "svg.recharts-surface[role=application]"


def today() -> date:
    return datetime.now(UTC).date()


@pytest.fixture(autouse=True)
def _on_one_day() -> None:
    """Not across midnight: what was booked for today would be of yesterday to the page."""
    day_ends = datetime.combine(today() + timedelta(days=1), datetime.min.time(), UTC)
    left = (day_ends - datetime.now(UTC)).total_seconds()
    if left < LONGEST:
        time.sleep(max(0.0, left))


def book(site: Site, rows: list[tuple[int, str, str, str, int, int]]) -> None:
    """Put into the product's books: days ago, workspace, sandbox, model, requests, output tokens."""
    socket = (site.product.data_dir / "postgres.socket").read_text().strip()
    with psycopg.connect(host=socket, port=5432, user="cli_server", dbname="cli_server", autocommit=True) as conn:
        for ago, workspace, sandbox, model, requests, tokens in rows:
            conn.execute(
                "INSERT INTO usage_daily (day, workspace_id, sandbox_id, model, requests, output_tokens)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (today() - timedelta(days=ago), workspace, sandbox, model, requests, tokens),
            )


def cells(page: Page, table: str) -> list[list[str]]:
    """The body of a table, as it is read, once it is there."""
    rows = page.get_by_role("table", name=table, exact=True).locator("tbody tr")
    expect(rows.first).to_be_visible()
    return [[cell.inner_text().strip() for cell in row.locator("th, td").all()] for row in rows.all()]


def bars(page: Page) -> Locator:
    """The pieces of the bars that have a height."""
    return page.locator(f"{CHART} .recharts-bar-rectangle path")


@dataclass(frozen=True)
class Used:
    """Somebody whose workspace used something, and a machine there, which needs no process to be listed."""

    ada: Person
    alpha: str

    @property
    def path(self) -> str:
        """Of the workspace's page."""
        return f"/w/{self.ada.workspace}/usage"


@pytest.fixture
def used(site: Site, person: Callable[[str], Person]) -> Used:
    """Usage on three days of the last thirty, and once before."""
    ada = person("ada")
    code = ada.api.api("POST", f"/api/workspaces/{ada.workspace}/agent-code")["code"]
    alpha = site.product.visitor().api("POST", "/api/agent/register", {"code": code, "name": "alpha"})["sandboxId"]
    book(
        site,
        [
            (0, ada.workspace, alpha, SONNET, 5, 1_234_567),
            (0, ada.workspace, alpha, HAIKU, 2, 20),
            (3, ada.workspace, GONE + ada.workspace, SONNET, 1, 100),
            (8, ada.workspace, alpha, ODD, 4, 400),
            (60, ada.workspace, alpha, HAIKU, 1000, 1),
        ],
    )
    return Used(ada, alpha)


def test_the_chart_the_exact_numbers_and_the_file(used: Used) -> None:
    page = used.ada.page(used.path)
    expect(bars(page)).to_have_count(4)
    assert cells(page, "Usage by model") == [
        [SONNET, "6", "0", "1,234,667", "0", "0"],
        [ODD, "4", "0", "400", "0", "0"],
        [HAIKU, "2", "0", "20", "0", "0"],
    ]
    expect(page.get_by_text("deleted", exact=True)).to_be_visible()
    by_sandbox = cells(page, "Usage by sandbox")
    assert [row[:2] for row in by_sandbox] == [["alpha", "11"], [f"{GONE}{used.ada.workspace}\ndeleted", "1"]]
    by_day = cells(page, "Usage by day and model")
    assert [row[1:3] for row in by_day[:5]] == [
        [SONNET, "5"],
        [HAIKU, "2"],
        ["no calls", "0"],
        ["no calls", "0"],
        [SONNET, "1"],
    ]
    # A day without use is a row of zeros: of 30 days 27 are, and today has two models.
    page.get_by_role("button", name="Show all 31 rows").click()
    assert sum(row[1] == "no calls" for row in cells(page, "Usage by day and model")) == 27
    look(page, "usage")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    assert waiting.value.suggested_filename.endswith(f"{today() - timedelta(days=29)}-{today()}.csv")
    rows = list(csv.reader(waiting.value.path().read_text(encoding="utf-8").splitlines()))
    assert rows[1] == [str(today() - timedelta(days=8)), f"'{ODD}", used.alpha, "alpha", "4", "0", "400", "0", "0"]
    assert len(rows) == 5


def test_the_measure_the_legend_and_the_keyboard(used: Used) -> None:
    page = used.ada.page(used.path)
    page.get_by_role("radio", name="Output").check()
    expect(page).to_have_url(re.compile("measure=outputTokens"))
    expect(page.get_by_role("heading", name="Output per day and model")).to_be_visible()
    # From the keyboard: the last day's numbers, and the day before it has none.
    page.locator(CHART).focus()
    for _ in range(29):
        page.keyboard.press("ArrowRight")
    said = page.locator(".recharts-tooltip-wrapper [role=status]")
    expect(said).to_contain_text(re.compile(r"1,234,567.*1,234,587", re.DOTALL))
    page.keyboard.press("ArrowLeft")
    expect(said).not_to_contain_text("1,234,567")
    page.get_by_role("button", name=SONNET).click()
    expect(page.get_by_role("button", name=SONNET)).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_text("2 of 3 models, as chosen in the chart.")).to_be_visible()
    expect(bars(page)).to_have_count(2)
    page.reload()
    expect(page.get_by_text("2 of 3 models, as chosen in the chart.")).to_be_visible()
    page.get_by_role("button", name="Show all", exact=True).click()
    expect(page.get_by_text("2 of 3 models, as chosen in the chart.")).to_have_count(0)


def test_the_period_is_in_the_address(used: Used) -> None:
    page = used.ada.page(used.path)
    page.get_by_role("radio", name="90 days").check()
    expect(page).to_have_url(re.compile("days=90"))
    expect(page.get_by_role("table", name="Usage by model")).to_contain_text("1,002")
    page.get_by_role("radio", name="From – to").check()
    page.get_by_label("First day").fill(str(today() + timedelta(days=1)))
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_text("The first day is after the last one.")).to_be_visible()
    first = today() - timedelta(days=8)
    page.get_by_label("First day").fill(str(first))
    page.get_by_label("Last day").fill(str(first))
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("table", name="Usage by model").locator("tbody tr")).to_have_count(1)
    page.reload()
    expect(page.get_by_label("First day")).to_have_value(str(first))
    assert [row[0] for row in cells(page, "Usage by model")] == [ODD]


def test_a_sandbox_on_a_phone(used: Used) -> None:
    page = used.ada.page(used.path, width=360, height=740, scheme="dark")
    expect(page.locator(CHART)).to_be_visible()
    look(page, "usage-phone")
    page.get_by_role("link", name="alpha").click()
    expect(page).to_have_url(re.compile(f"/sandboxes/{used.alpha}/usage"))
    expect(page.get_by_role("table", name="Usage by model").locator("tbody tr")).to_have_count(3)
    expect(page.get_by_role("table", name="Usage by sandbox")).to_have_count(0)
    expect(page.locator(CHART)).to_be_visible()
    look(page, "usage-sandbox-phone")


def test_nothing_used_says_what_will_be_here(person: Callable[[str], Person]) -> None:
    bob = person("bob")
    page = bob.page(f"/w/{bob.workspace}/usage")
    expect(page.get_by_role("heading", name="No LLM calls from")).to_be_visible()
    look(page, "usage-empty")


def test_a_chart_that_does_not_come_leaves_the_numbers(used: Used) -> None:
    """The charting library is a part of its own, which may be gone after an update, or held back by a bad line."""
    page = used.ada.page("/favicon.svg")
    page.route("**/assets/Chart-*.js", lambda route: route.abort())
    page.goto(used.ada.site.url + used.path)
    expect(page.get_by_text("this part of the page is gone")).to_be_visible()
    assert cells(page, "Usage by model")[0][:2] == [SONNET, "6"]
    page.unroute("**/assets/Chart-*.js")
    page.get_by_role("button", name="Try again").click()
    expect(bars(page)).to_have_count(4)
    used.ada.complaints.clear()  # Chromium's own word on the part that was held back
