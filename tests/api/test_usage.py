"""What the LLM calls cost, by day and model."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon.store.usage import UsageEntry, add_usage
from tests.api.crew import Crew, make_crew

if TYPE_CHECKING:
    from tests.api.support import Bench

NUMBERS = {"requests": 1, "inputTokens": 20, "outputTokens": 300, "cacheReadTokens": 4000, "cacheWriteTokens": 50000}


@pytest.fixture
async def crew(bench: Bench) -> Crew:
    return await make_crew(bench)


async def book(crew: Crew, day: date, box: str, model: str = "sonnet", workspace: str | None = None) -> None:
    entry = UsageEntry(day, workspace or crew.workspace_id, box, model, *NUMBERS.values())
    await crew.bench.db.run(add_usage, [entry])


async def read(crew: Crew, path: str, role: str = "guest") -> Any:
    response = await crew[role].get(path)
    assert response.status_code == 200
    return await response.get_json()


def day(number: int) -> date:
    return date(2026, 1, number)


async def test_by_day_and_model(crew: Crew) -> None:
    box, other = await crew.box(), await crew.box()
    for number, name, model in ((1, box, "sonnet"), (2, box, "haiku"), (2, box, "sonnet"), (2, other, "sonnet")):
        await book(crew, day(number), name, model)
    await book(crew, day(2), "elsewhere", workspace="another")
    period = "from=2026-01-01&to=2026-01-31"
    shape = {"sandboxId": None} | NUMBERS
    doubled = {name: 2 * count for name, count in NUMBERS.items()}
    assert await read(crew, f"/api/sandboxes/{box}/usage?{period}") == {
        "days": [
            {"day": "2026-01-01", "model": "sonnet"} | shape,
            {"day": "2026-01-02", "model": "haiku"} | shape,
            {"day": "2026-01-02", "model": "sonnet"} | shape,
        ],
        "totals": {name: 3 * count for name, count in NUMBERS.items()},
    }
    whole = await read(crew, f"{crew.path}/usage?{period}")
    assert whole["days"][2] == {"day": "2026-01-02", "model": "sonnet"} | shape | doubled
    assert whole["totals"] == {name: 4 * count for name, count in NUMBERS.items()}
    apart = await read(crew, f"{crew.path}/usage?{period}&by=sandbox")
    assert apart["totals"] == whole["totals"]
    assert [(entry["day"], entry["model"], entry["sandboxId"]) for entry in apart["days"]] == [
        ("2026-01-01", "sonnet", box),
        ("2026-01-02", "haiku", box),
        *(("2026-01-02", "sonnet", name) for name in sorted([box, other])),
    ]


async def test_both_ends_are_in_it(crew: Crew) -> None:
    box = await crew.box()
    for number in (1, 2, 3, 4):
        await book(crew, day(number), box)
    for period, expected in (("from=2026-01-02&to=2026-01-03", 2), ("from=2026-01-04&to=2026-01-04", 1)):
        assert (await read(crew, f"{crew.path}/usage?{period}"))["totals"]["requests"] == expected


async def test_a_month_up_to_today_without_a_question(crew: Crew) -> None:
    box = await crew.box()
    today = datetime.now(UTC).date()
    for back in (0, 28, 31):
        await book(crew, today - timedelta(days=back), box)
    assert (await read(crew, f"/api/sandboxes/{box}/usage"))["totals"]["requests"] == 2
    before = (today - timedelta(days=28)).isoformat()
    assert (await read(crew, f"/api/sandboxes/{box}/usage?to={before}"))["totals"]["requests"] == 2


async def test_a_deleted_sandbox_stays_in_the_books(crew: Crew) -> None:
    box = await crew.box()
    await book(crew, datetime.now(UTC).date(), box)
    await crew.bench.execute("DELETE FROM sandboxes")
    assert (await read(crew, f"{crew.path}/usage"))["totals"] == NUMBERS
    assert (await crew["guest"].get(f"/api/sandboxes/{box}/usage")).status_code == 404
    assert (await crew["stranger"].get(f"{crew.path}/usage")).status_code == 404


async def test_nothing(crew: Crew) -> None:
    assert await read(crew, f"{crew.path}/usage") == {"days": [], "totals": dict.fromkeys(NUMBERS, 0)}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("from=", "from"),
        ("from=2026-02-30", "from"),
        ("from=20260101", "from"),
        ("from=2026-W05-6", "from"),
        ("from=2026-01-01T00:00:00", "from"),
        ("from=%00", "from"),
        ("to=2026-1-1", "to"),
        ("to=0000-01-01", "to"),
        ("to=10000-01-01", "to"),
        ("from=2026-01-02&to=2026-01-01", "from"),
        ("from=2025-01-01&to=2026-01-02", "from"),
        ("from=9999-12-31", "from"),
        ("by=model", "by"),
    ],
)
async def test_bad_questions(crew: Crew, query: str, field: str) -> None:
    response = await crew["guest"].get(f"{crew.path}/usage?{query}")
    assert response.status_code == 422
    assert (await response.get_json(force=True))["errors"][0]["field"] == field
    if field != "by":
        box = await crew.box()
        assert (await crew["guest"].get(f"/api/sandboxes/{box}/usage?{query}")).status_code == 422


@pytest.mark.parametrize("query", ["from=2025-01-01&to=2026-01-01", "to=0001-01-01", "from=9999-12-31&to=9999-12-31"])
async def test_odd_but_good_questions(crew: Crew, query: str) -> None:
    assert (await read(crew, f"{crew.path}/usage?{query}"))["days"] == []
