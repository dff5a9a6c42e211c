"""How many LLM calls there were in each of the last hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from daemon.api.usage import last_hours
from daemon.store.usage import HourEntry, add_usage
from tests.api.crew import Crew, make_crew

if TYPE_CHECKING:
    from tests.api.support import Bench

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture
async def crew(bench: Bench) -> Crew:
    return await make_crew(bench)


async def book(crew: Crew, hour: datetime, box: str, requests: int, workspace: str | None = None) -> None:
    await crew.bench.db.run(add_usage, [], hours=[HourEntry(hour, workspace or crew.workspace_id, box, requests)])


async def read(crew: Crew) -> tuple[list[datetime], dict[str, list[int]]]:
    response = await crew["guest"].get(f"{crew.path}/activity")
    assert response.status_code == 200
    found: Any = await response.get_json()
    hours = [datetime.fromisoformat(hour) for hour in found["hours"]]
    return hours, {entry["sandboxId"]: entry["requests"] for entry in found["sandboxes"]}


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        (
            datetime(2026, 3, 1, 0, 0, tzinfo=UTC),
            datetime(2026, 2, 28, 1, tzinfo=UTC),
            datetime(2026, 3, 1, tzinfo=UTC),
        ),
        (
            datetime(2026, 3, 1, 5, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            datetime(2026, 2, 28, 1, tzinfo=UTC),
            datetime(2026, 3, 1, tzinfo=UTC),
        ),
    ],
)
def test_the_last_hours(now: datetime, first: datetime, last: datetime) -> None:
    """Whole hours of UTC, where half of an hour lies between them and the clock on the wall, too."""
    hours = last_hours(now)
    assert (hours[0], hours[-1], len(hours)) == (first, last, 24)
    assert {later - earlier for earlier, later in pairwise(hours)} == {timedelta(hours=1)}


async def test_by_hour_and_sandbox(crew: Crew) -> None:
    busy, quiet, silent = [await crew.box() for _ in range(3)]
    hours, found = await read(crew)
    assert (len(hours), hours, found) == (24, sorted(hours), {})
    assert timedelta(0) <= datetime.now(UTC) - hours[-1] < timedelta(hours=1, minutes=1)
    for hour, box, requests in ((hours[5], quiet, 1), (hours[3], busy, 2), (hours[20], busy, 30), (hours[3], busy, 5)):
        await book(crew, hour, box, requests)
    await book(crew, hours[0] - timedelta(hours=2), silent, 99)
    again, found = await read(crew)
    shift = hours.index(again[0])  # 1 if an hour has ended meanwhile, which may happen
    assert list(found) == [busy, quiet]
    assert found[busy] == ([0, 0, 0, 7] + [0] * 16 + [30] + [0] * (3 + shift))[shift:]
    assert found[quiet] == ([0] * 5 + [1] + [0] * (18 + shift))[shift:]


async def test_what_is_not_there_any_more_or_elsewhere_is_not_told(crew: Crew) -> None:
    box, gone = await crew.box(), await crew.box()
    hour = last_hours(datetime.now(UTC))[20]
    await book(crew, hour, gone, 1)
    await book(crew, hour, box, 1, workspace="anotherone")
    await crew.bench.execute("DELETE FROM sandboxes WHERE id = %s", gone)
    assert (await read(crew))[1] == {}
