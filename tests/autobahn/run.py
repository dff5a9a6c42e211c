"""Autobahn's cases against a WebSocket echo, and what is to be thought of the outcome.

    python -m tests.autobahn.run                    # against the stand-in, to see that both are well
    python -m tests.autobahn.run --through          # against the stand-in behind gateway, tunnel and agent
    python -m tests.autobahn.run ws://HOST:PORT/ws --connect 127.0.0.1:PORT --header 'Cookie: name=value'

says for each case that failed what was wrong, and ends with 1 if there was one. ``--case`` and ``--exclude`` take
patterns such as ``9.*``. ``make autobahn`` installs what it needs and runs the first two.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tests.autobahn.through import through_the_tunnel
from tests.standins.http_local import HttpLocal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

_FOLDER: Final = Path(__file__).parents[2] / ".cache" / "autobahn"
_PYTHON: Final = _FOLDER / "bin" / "python"
_SUITE: Final = _FOLDER / "suite" / "autobahntestsuite"
_GOOD: Final = {"OK", "NON-STRICT", "INFORMATIONAL"}  # the suite's own words; the second: late, but right
_ALL: Final = 517  # cases; a suite that ran fewer proves less than it says

# Without the waiting, the large messages, and compression, which is not offered: two seconds instead of a minute.
QUICK: Final = ("9.*", "10.*", "12.*", "13.*", "5.19", "5.20", "6.4.*")


@dataclass(frozen=True)
class Outcome:
    """What came of one case, in the suite's words."""

    case: str
    behavior: str
    behaviorClose: str
    result: str
    resultClose: str
    closeCode: int | None
    compressed: bool
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it passed. Compression is allowed to be missing, not to be wrong."""
        missing = self.behavior == "UNIMPLEMENTED" and not self.compressed and self.case.startswith(("12.", "13."))
        return (self.behavior in _GOOD or missing) and self.behaviorClose in _GOOD

    def __str__(self) -> str:
        return (
            f"{self.case}: {self.behavior} ({self.result}); closing: {self.behaviorClose} ({self.resultClose}), "
            f"code {self.closeCode}, {self.seconds:g} s"
        )


def installed() -> bool:
    """Whether ``make setup`` has put it here."""
    return _PYTHON.exists() and _SUITE.is_dir()


async def fuzz(
    url: str,
    *,
    connect: str | None = None,
    headers: Mapping[str, str] | None = None,
    cases: Sequence[str] = (),
    exclude: Sequence[str] = (),
    patience: float = 10.0,
) -> list[Outcome]:
    """Run cases against the echo at ``url``; ``connect`` (host:port) is where it really is. All without ``cases``.

    ``patience``: seconds after which an answer is missing, where the suite gives one, which a busy machine may need.
    """
    command = [str(_PYTHON), str(Path(__file__).with_name("fuzz.py")), str(_SUITE), url]
    command += ["--connect", connect] if connect else []
    command += [f"--header={name}: {value}" for name, value in (headers or {}).items()]
    command += [f"--case={case}" for case in cases]
    command += [f"--exclude={case}" for case in exclude]
    command += [f"--patience={patience}"]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(f"the cases did not run: {done.stderr.decode()}")
    return [Outcome(**json.loads(line)) for line in done.stdout.decode().splitlines()]


async def _beside_the_stand_in(run: Callable[[str], Awaitable[list[Outcome]]]) -> list[Outcome]:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(HttpLocal().serve)
        found = await run(url.replace("http:", "ws:") + "/ws")
        nursery.cancel_scope.cancel()
    return found


def _outcomes(options: argparse.Namespace) -> list[Outcome]:
    which = {"cases": options.case, "exclude": options.exclude}
    if options.through:
        with tempfile.TemporaryDirectory() as folder, through_the_tunnel(Path(folder)) as echo:
            return trio.run(partial(fuzz, echo.url, connect=echo.connect, headers=echo.headers, **which))
    if options.url is None:
        return trio.run(_beside_the_stand_in, partial(fuzz, **which))
    headers = dict(header.split(": ", 1) for header in options.header)
    return trio.run(partial(fuzz, options.url, connect=options.connect, headers=headers, **which))


def _report(found: list[Outcome], *, complete: bool) -> int:
    """Say what is to be said; the exit status."""
    bad = [outcome for outcome in found if not outcome.good]
    for outcome in bad:
        sys.stdout.write(f"{outcome}\n")
    counts = ", ".join(
        f"{count} {behavior}" for behavior, count in Counter(one.behavior for one in found).most_common()
    )
    sys.stdout.write(f"{len(found)} cases: {counts}; {len(bad)} of them failed\n")
    if missing := complete and len(found) != _ALL:
        sys.stdout.write(f"{_ALL} cases were due\n")
    return 0 if found and not bad and not missing else 1


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="Autobahn's cases against a WebSocket echo.")
    parser.add_argument("url", nargs="?")
    parser.add_argument("--through", action="store_true", help="the stand-in's, through gateway, tunnel and agent")
    parser.add_argument("--connect", help="host:port, where the URL's host does not resolve")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--exclude", action="append", default=[])
    options = parser.parse_args()
    if not installed():
        sys.exit(f"Autobahn's cases are not in {_FOLDER}; to get them: make setup")
    sys.exit(_report(_outcomes(options), complete=not options.case and not options.exclude))


if __name__ == "__main__":
    main()
