"""A daemon to be killed: starts one sandbox, says so, and waits. Arguments: folder, isolation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trio

from tests.backends.support import fake_backend, spec

if TYPE_CHECKING:
    from backends.isolation import Isolation


async def main(folder: Path, isolation: Isolation) -> None:
    """See above."""
    backend = fake_backend(folder, isolation)
    async with backend.serve():
        address = await backend.ensure_running(spec(FAKE_STUBBORN="1"))
        print(f"serving on {address.port}", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), cast("Isolation", sys.argv[2]))
