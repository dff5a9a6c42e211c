"""``cli-server doctor``: the settings against the world, one line for each check, with what to do about a failure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import click
import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from daemon.config import Settings

    Body = Callable[["Context"], Awaitable["Finding"]]

log = structlog.get_logger(__name__)

Verdict = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``remedy`` says what to do, and is empty where nothing is to be done."""

    detail: str
    remedy: str = ""
    verdict: Verdict = "ok"


class CheckFailed(Exception):
    """A check failed: what is wrong, and what to do about it."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


@dataclass(slots=True)
class Context:
    """What checks share. ``daemon_pid`` is that of a living daemon on the data directory."""

    settings: Settings
    daemon_pid: int | None = None
    # Seconds by which the clocks of others are ahead of ours, by whose they are.
    skews: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``seconds`` is its deadline: a doctor that hangs is no help."""

    name: str
    run: Body
    seconds: float = 10.0


async def run_doctor(settings: Settings) -> bool:
    """Run all checks, print a line for each, and say whether none failed."""
    from daemon.checks import CHECKS

    return await examine(Context(settings), CHECKS)


async def examine(context: Context, checks: Sequence[Check], say: Callable[[str], None] = click.echo) -> bool:
    """Run ``checks`` one after the other: later ones build on what earlier ones learned."""
    findings = []
    for check in checks:
        finding = await _perform(check, context)
        say(line(check.name, finding))
        findings.append(finding)
    failed = sum(finding.verdict == "FAIL" for finding in findings)
    say(f"{len(findings)} checks, {failed} failed" if failed else f"{len(findings)} checks, none failed")
    return not failed


def line(name: str, finding: Finding) -> str:
    """``FAIL  database: cannot connect … → start it, or correct DATABASE_URL``."""
    remedy = f" → {finding.remedy}" if finding.remedy else ""
    return " ".join(f"{finding.verdict:4}  {name}: {finding.detail}{remedy}".split("\n"))


async def _perform(check: Check, context: Context) -> Finding:
    try:
        with trio.fail_after(check.seconds):
            return await check.run(context)
    except CheckFailed as failed:
        return Finding(failed.detail, failed.remedy, "FAIL")
    except trio.TooSlowError:
        return Finding(f"no answer in {check.seconds:g} s", "see why it hangs", "FAIL")
    except Exception as error:
        log.debug("check broke", check=check.name, exc_info=True)
        words = f"{type(error).__name__}: {error}"
        return Finding(words, "this is not foreseen; run it again with --log-level debug", "FAIL")


def warn(detail: str, remedy: str) -> Finding:
    """Something that a person should know and that does not keep the product from working."""
    return Finding(detail, remedy, "warn")


blocking = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
