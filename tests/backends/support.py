"""What the tests of backends share."""

from __future__ import annotations

import inspect
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import trio

from backends.base import Address, BackendRejected, BackendUnavailable, Limits, Observed, SandboxSpec
from backends.process import ProcessBackend
from backends.proctree import descendants, parent_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends.base import Backend
    from backends.isolation import Isolation

ROOT = Path(__file__).parents[2]
INSTALLATION = "installation-of-tests"
WORKSPACE = "w" * 16
PASSWORD = "password-of-the-sandbox"
PROXY_TOKEN = "clis-token-of-the-sandbox"
BOTH = pytest.mark.parametrize("isolation", [pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")), "none"])


def spec(
    sandbox_id: str = "a" * 16, *, workspace_id: str = WORKSPACE, password: str = PASSWORD, **env: str
) -> SandboxSpec:
    """A sandbox as the daemon would ask for it, with more variables."""
    whole = {
        "OPENCODE_SERVER_PASSWORD": password,
        "ANTHROPIC_API_KEY": PROXY_TOKEN,
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        **env,
    }
    return SandboxSpec(sandbox_id, workspace_id, password, whole, Limits(cpu=2, memory=2 << 30, pids=512))


def fake_program(folder: Path) -> Path:
    """A copy of the fake opencode that can be executed."""
    path = folder / "opencode"
    shutil.copy(Path(__file__).with_name("fake_opencode.py"), path)
    path.chmod(0o755)
    return path


def fake_backend(
    folder: Path, isolation: Isolation, *, start_timeout: float = 30, stop_grace: float = 5
) -> ProcessBackend:
    """A backend whose opencode is the fake."""
    program = str(fake_program(folder))
    return ProcessBackend(
        folder / "data", INSTALLATION, program, isolation=isolation, start_timeout=start_timeout, stop_grace=stop_grace
    )


async def run_inside(address: Address, command: str) -> str:
    """The output of a shell command that the fake runs inside its sandbox."""
    async with httpx.AsyncClient(auth=("opencode", PASSWORD), trust_env=False, timeout=20) as client:
        answer = await client.get(f"http://{address.host}:{address.port}/run", params={"command": command})
        assert answer.status_code == 200
        return answer.text


async def say(address: Address, text: str) -> None:
    """Have the fake write a line."""
    async with httpx.AsyncClient(auth=("opencode", PASSWORD), trust_env=False, timeout=20) as client:
        answer = await client.get(f"http://{address.host}:{address.port}/say", params={"text": text})
        assert answer.status_code == 200


async def read(backend: Backend, sandbox_id: str) -> bytes:
    """The whole kept output."""
    async with backend.logs(sandbox_id, follow=False) as pieces:
        return b"".join([piece async for piece in pieces])


# All calls of the protocol that an engine or a cluster is asked something for, when A runs.
A, B = "a" * 16, "b" * 16
CALLS: Final[dict[str, Callable[[Backend], Awaitable[Any]]]] = {
    "check": lambda backend: backend.check(),
    "repeat": lambda backend: backend.ensure_running(spec()),
    "start": lambda backend: backend.ensure_running(spec(B)),
    "start anew": lambda backend: backend.ensure_running(spec(MORE="1")),
    "inventory": lambda backend: backend.inventory(),
    "address": lambda backend: backend.address(A),
    "port_address": lambda backend: backend.port_address(A, 5000),
    "ports": lambda backend: backend.ports(A),
    "logs": lambda backend: read(backend, A),
    "disk_bytes": lambda backend: backend.disk_bytes(WORKSPACE),
    "pause": lambda backend: backend.pause(A),
    "destroy_workspace": lambda backend: backend.destroy_workspace(WORKSPACE),
    "destroy": lambda backend: backend.destroy(A, WORKSPACE),
}


async def works(backend: Backend) -> None:
    """Everything, with what is there."""
    await backend.fetch(lambda words: None)
    for call in CALLS.values():
        if call is CALLS["destroy_workspace"]:
            with pytest.raises(BackendUnavailable, match="still runs"):
                await call(backend)
        else:
            await call(backend)
    assert await backend.inventory() == {B: Observed(B, WORKSPACE, running=True)}


async def refused(backend: Backend, **env: str) -> str:
    """The words of a start that can never succeed; they come long before a start that may succeed is given up."""
    with trio.fail_after(30), pytest.raises(BackendRejected) as caught:
        await backend.ensure_running(spec(**env))
    return str(caught.value)


async def detail(backend: Backend) -> str:
    """Why A does not run, by the inventory."""
    seen = (await backend.inventory())[A]
    return "" if seen.running else seen.detail


async def sees(backend: Backend) -> bool:
    """Whether there is an inventory, and A runs by it."""
    try:
        return (await backend.inventory())[A].running
    except BackendUnavailable:
        return False


def tree(root: int) -> dict[int, str]:
    """Command line by pid of everything below ``root``, but for the PostgreSQL that all tests share."""
    found = {}
    for pid, _ in descendants(root):
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "postgres" in found[pid].partition(" ")[0]:
            del found[pid]
    return found


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    return parent_of(pid) is None


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until ``condition``, which may be an async function, holds."""
    with trio.fail_after(seconds):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await trio.sleep(0.02)


async def start_process(command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A process with a pipe for its output; from this thread, because workers' deaths may end their children."""
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE)  # noqa: ASYNC220 - see above
