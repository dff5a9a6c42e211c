"""Supervision and readiness. The clock is Trio's mock: nothing here waits for a socket, a thread or a database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from daemon.readiness import Readiness
from daemon.supervise import Health, ServiceState, supervise

if TYPE_CHECKING:
    from trio.testing import MockClock


class _Service:
    """Does what it is told, one order for each run; after the last it works until cancelled."""

    def __init__(self, *orders: BaseException | float | None) -> None:
        self.orders = list(orders)
        self.starts: list[float] = []

    async def __call__(self) -> None:
        self.starts.append(trio.current_time())
        if not self.orders:
            await trio.sleep_forever()
        order = self.orders.pop(0)
        if isinstance(order, BaseException):
            raise order
        if order is not None:
            await trio.sleep(order)


async def _watch(service: _Service, seconds: float, health: Health | None = None) -> list[float]:
    """Supervise for so long; returns the times of the starts."""
    begin = trio.current_time()
    with trio.move_on_after(seconds):
        await supervise("it", service, health or Health())
    return [start - begin for start in service.starts]


async def test_the_pauses_grow_to_a_minute(autojump_clock: MockClock) -> None:
    service = _Service(*[ValueError("no")] * 9)
    assert await _watch(service, 1000) == pytest.approx([0, 1, 3, 7, 15, 31, 63, 123, 183, 243])


async def test_the_first_pause_comes_back_after_a_run_that_lasted(autojump_clock: MockClock) -> None:
    service = _Service(ValueError(), ValueError(), ValueError(), 60.0, ValueError())
    assert await _watch(service, 1000) == pytest.approx([0, 1, 3, 7, 68, 70])


async def test_a_service_that_returns_has_failed_too(autojump_clock: MockClock) -> None:
    assert await _watch(_Service(None), 10) == pytest.approx([0, 1])


async def test_a_group_of_errors_is_one_failure(autojump_clock: MockClock) -> None:
    health = Health()
    group = ExceptionGroup("nursery", [ExceptionGroup("inner", [OSError("first line\nsecond")]), KeyError("x")])
    assert await _watch(_Service(group), 10, health) == pytest.approx([0, 1])
    assert health.services["it"].failure == "OSError: first line"


async def test_failures_are_logged_counted_and_shown(autojump_clock: MockClock) -> None:
    counted: list[str] = []
    health = Health(on_restart=counted.append)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervise, "sweeper", _Service(ValueError("why"), ValueError("why")), health)
            await trio.sleep(0.5)
            state = health.services["sweeper"]
            assert (state.phase, state.restarts, state.failure) == ("waiting", 1, "ValueError: why")
            assert list(health.ailing()) == ["sweeper"]
            await trio.sleep(3)  # it runs since 0.5 s
            assert list(health.ailing()) == ["sweeper"], "a restarted service is not well at once"
            await trio.sleep(6)
            assert not health.ailing()
            nursery.cancel_scope.cancel()
    assert counted == ["sweeper", "sweeper"]
    assert [entry["event"] for entry in logs] == ["service failed", "service is started again"] * 2


async def test_cancellation_is_never_swallowed(autojump_clock: MockClock) -> None:
    """Style: trap 3. A service may fail while it is cancelled; the cancellation still goes through."""

    async def stubborn() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while ending")

    async def nested() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            nursery.start_soon(trio.sleep_forever)

    for service in (stubborn, nested):
        with capture_logs() as logs:
            health = Health()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(supervise, "it", service, health)
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
            assert scope.cancelled_caught
        assert len(logs) == 1, "the error beside the cancellation is logged"
        assert health.services["it"].restarts == 0


async def test_what_is_nobodys_to_catch_goes_through() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervise, "it", _Service(KeyboardInterrupt()), Health())
    assert caught.value.subgroup(KeyboardInterrupt)


async def test_a_start_is_over_when_the_service_says_so_after_all_attempts(autojump_clock: MockClock) -> None:
    attempts = 0

    async def service(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise OSError("in use")
        await trio.sleep(10)
        task_status.started()
        if attempts == 3:
            await trio.sleep(5)
            raise OSError("later")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        begin = trio.current_time()
        await nursery.start(supervise, "api", service, Health())
        assert trio.current_time() - begin == pytest.approx(13)
        await trio.sleep(100)
        assert attempts == 4
        nursery.cancel_scope.cancel()


async def test_an_answer_of_all_parts(autojump_clock: MockClock) -> None:
    readiness = Readiness(Health())
    readiness.add("database", trio.lowlevel.checkpoint)
    readiness.add("backend", trio.lowlevel.checkpoint)
    report = await readiness.report()
    assert report.status == 200
    assert json.loads(report.body) == {
        "status": "ready", "parts": {"database": "ready", "backend": "ready"}, "services": {},
    }  # fmt: skip


async def test_the_part_that_is_not_ready_is_named_and_its_reason_is_only_logged(autojump_clock: MockClock) -> None:
    async def broken() -> None:
        raise OSError("connection to db.internal:5432 refused")

    readiness = Readiness(Health())
    readiness.add("database", broken)
    readiness.add("backend", trio.sleep_forever)
    readiness.add("api", trio.lowlevel.checkpoint)
    with capture_logs() as logs:
        begin = trio.current_time()
        report = await readiness.report()
    assert trio.current_time() - begin == pytest.approx(2)
    assert report.status == 503
    assert (b"content-type", b"application/problem+json") in report.headers
    body = json.loads(report.body)
    assert body["parts"] == {"database": "failed", "backend": "no answer", "api": "ready"}
    assert body["status"] == 503
    assert body["code"] == "not_ready"
    assert body["detail"] == "database: failed, backend: no answer"
    assert b"internal" not in report.body
    assert sorted(entry["part"] for entry in logs) == ["backend", "database"]


async def test_however_many_ask_the_parts_are_asked_once_a_second(autojump_clock: MockClock) -> None:
    asked = 0

    async def probe() -> None:
        nonlocal asked
        asked += 1
        await trio.sleep(0.1)

    readiness = Readiness(Health())
    readiness.add("database", probe)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(readiness.report)
    assert asked == 1
    await trio.sleep(1)
    await readiness.report()
    assert asked == 2


async def test_a_part_that_comes_back_is_seen_within_a_second(autojump_clock: MockClock) -> None:
    works = False

    async def probe() -> None:
        if not works:
            raise OSError("away")

    readiness = Readiness(Health())
    readiness.add("database", probe)
    assert (await readiness.report()).status == 503
    works = True
    await trio.sleep(1)
    assert (await readiness.report()).status == 200


async def test_draining_and_ailing_services_are_shown(autojump_clock: MockClock) -> None:
    health = Health()
    health.services["sweeper"] = ServiceState("waiting", trio.current_time(), 3, "ValueError: secret")
    readiness = Readiness(health)
    report = await readiness.report()
    assert report.status == 200, "a service that fails does not take the daemon away from its users"
    assert json.loads(report.body)["services"] == {"sweeper": "waiting, restarts: 3"}
    readiness.draining = True
    report = await readiness.report()
    assert report.status == 503
    assert json.loads(report.body)["parts"] == {"daemon": "shutting down"}
