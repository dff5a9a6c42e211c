"""What every backend does, whichever it is: one set of tests for all of them, with a stand-in for opencode.

What only one of them does stands in the tests of its own.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from backends.base import Address, BackendRejected, BackendUnavailable, Limits, Observed, SandboxGone
from tests.backends.support import PASSWORD, PROXY_TOKEN, WORKSPACE, read, run_inside, say, spec, until
from tests.support.product import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends.base import Backend
    from tests.backends.kinds import Kind

A, B = "a" * 16, "b" * 16
_REAL = [
    "none",
    pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")),
    pytest.param("docker", marks=pytest.mark.needs("docker")),
    pytest.param("k8s", marks=pytest.mark.needs("bubblewrap")),
    pytest.param("k8s-v1alpha1", marks=pytest.mark.needs("bubblewrap")),
    pytest.param("k8s-bad-day", marks=pytest.mark.needs("bubblewrap")),
]
REAL = pytest.mark.parametrize("kind", _REAL, indirect=True)
EVERY = pytest.mark.parametrize("kind", [*_REAL, "fake"], indirect=True)
NO_IDS = ("../../etc", "A" * 16, "1" * 16, "a" * 15, "a" * 17, "a" * 15 + "\n", "")


async def not_running(backend: Backend, sandbox_id: str = A) -> bool:
    """Whether it exists and does not run."""
    return not (await backend.inventory())[sandbox_id].running


@EVERY
async def test_what_exists_follows_the_calls(kind: Kind) -> None:
    """Each call may be repeated, and what is absent is as it should be."""
    backend = kind.backend()
    async with backend.serve():
        await backend.check()
        await backend.fetch(lambda words: None)
        for _ in range(2):
            await backend.pause(A)
            await backend.destroy(A, WORKSPACE)
            await backend.destroy_workspace(WORKSPACE)
        assert (await backend.inventory(), kind.homes()) == ({}, set())

        address = await backend.ensure_running(spec())
        working = kind.at_work()
        assert await backend.ensure_running(spec()) == address
        assert kind.at_work() == working, "repeating it changes nothing"
        assert await backend.address(A) == address
        assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=True)}
        with pytest.raises(BackendUnavailable, match="still runs"):
            await backend.destroy_workspace(WORKSPACE)

        for _ in range(2):
            await backend.pause(A)
            assert await backend.address(A) is None
            assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=False)}
            assert (kind.at_work(), kind.homes()) == (set(), {A})

        await backend.ensure_running(spec())
        assert (await backend.inventory())[A].running
        for _ in range(2):
            await backend.destroy(A, WORKSPACE)
            assert await backend.address(A) is None
            assert await backend.inventory() == {}
            assert (kind.at_work(), kind.homes()) == (set(), set())
        for _ in range(2):
            await backend.destroy_workspace(WORKSPACE)


@REAL
async def test_home_and_disk(kind: Kind) -> None:
    """A pause keeps both; the home goes with its sandbox, and the disk with the workspace."""
    backend = kind.backend()
    async with backend.serve():
        ours = await backend.ensure_running(spec())
        await run_inside(ours, "echo mine > ~/kept; echo shared > ~/disk0/kept")
        theirs = await backend.ensure_running(spec(B))
        assert await run_inside(theirs, "cat ~/disk0/kept; ls ~/kept 2>&1 | grep -c 'No such'") == "shared\n1\n"

        await backend.pause(A)
        ours = await backend.ensure_running(spec())
        assert await run_inside(ours, "cat ~/kept ~/disk0/kept") == "mine\nshared\n"
        await backend.destroy(A, WORKSPACE)
        assert (kind.homes(), kind.disks()) == ({B}, {WORKSPACE}), "the disk is the workspace's"
        assert await run_inside(theirs, "cat ~/disk0/kept") == "shared\n"
        ours = await backend.ensure_running(spec())
        assert "No such file" in await run_inside(ours, "cat ~/kept"), "the same name again is another sandbox"
        for sandbox_id in (A, B):
            await backend.destroy(sandbox_id, WORKSPACE)
        assert kind.disks() == {WORKSPACE}
        await backend.destroy_workspace(WORKSPACE)
        assert kind.disks() == set()


@REAL
async def test_workspaces_have_disks_of_their_own(kind: Kind) -> None:
    backend = kind.backend()
    other = "v" * 16
    async with backend.serve():
        ours = await backend.ensure_running(spec())
        theirs = await backend.ensure_running(spec(B, workspace_id=other))
        await run_inside(ours, "echo ours > ~/disk0/file")
        assert "No such file" in await run_inside(theirs, "cat ~/disk0/file")
        assert {seen.workspace_id for seen in (await backend.inventory()).values()} == {WORKSPACE, other}
        await backend.destroy(A, WORKSPACE)
        await backend.destroy_workspace(WORKSPACE)
        assert (kind.disks(), kind.homes()) == ({other}, {B})
        assert (await backend.inventory())[B].running


@REAL
async def test_another_environment_or_password_starts_it_anew(kind: Kind) -> None:
    backend = kind.backend()
    async with backend.serve():
        first = await backend.ensure_running(spec())
        working = kind.at_work()
        await run_inside(first, "echo kept > ~/kept")
        second = await backend.ensure_running(spec(MORE="1"))
        assert await run_inside(second, "echo $MORE; cat ~/kept") == "1\nkept\n"
        assert kind.at_work().isdisjoint(working)
        third = await backend.ensure_running(spec(password="another password"))
        async with httpx.AsyncClient(trust_env=False, auth=("opencode", PASSWORD), timeout=20) as client:
            answer = await client.get(f"http://{third.host}:{third.port}/run", params={"command": "true"})
        assert answer.status_code == 401
        assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=True)}


@REAL
async def test_the_environment_is_what_was_asked_for(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson: the operator's real key was inside. Nothing of the daemon's environment gets in."""
    canary = "canary-of-the-operator"
    for name in (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "DATABASE_URL",
        "DOCKER_HOST_NAME",
        "HTTP_PROXY",
        "OPERATOR",
    ):
        monkeypatch.setenv(name, canary)
    backend = kind.backend()
    async with backend.serve():
        odd = "a=b 'c' \"d\" $e `f` \\ ä\nsecond line"
        asked = spec(ODD=odd)
        address = await backend.ensure_running(asked)
        found = dict(line.split("=", 1) for line in (await run_inside(address, "env -0")).split("\0") if line)
        assert {name: found.get(name) for name in asked.env} == asked.env
        assert found["HOME"] == (await run_inside(address, "cd; pwd")).strip()
        assert canary not in str(found)
        assert canary not in await run_inside(
            address, "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'"
        )


@REAL
async def test_what_is_no_identifier_is_refused(kind: Kind) -> None:
    """Before it becomes a part of a path or of a name."""
    backend = kind.backend()
    async with backend.serve():
        for wrong in NO_IDS:
            for call in (
                partial(backend.ensure_running, spec(wrong)),
                partial(backend.ensure_running, spec(workspace_id=wrong)),
                partial(backend.pause, wrong),
                partial(backend.destroy, wrong, WORKSPACE),
                partial(backend.destroy, A, wrong),
                partial(backend.destroy_workspace, wrong),
                partial(backend.disk_bytes, wrong),
                partial(read, backend, wrong),
            ):
                with pytest.raises(BackendRejected, match="not an identifier"):
                    await call()
        assert await backend.inventory() == {}


@REAL
async def test_opencode_that_dies_at_its_start_says_why(kind: Kind) -> None:
    """Lesson: a failed start vanished and nobody learned why."""
    backend = kind.backend()
    async with backend.serve():
        said = f"first line\nthe disk is on fire, {PASSWORD}"
        with pytest.raises(BackendRejected, match=r"exited with status 3: first line \| the disk is on fire") as caught:
            await backend.ensure_running(spec(FAKE_EXIT="3", FAKE_SAY=said))
        assert PASSWORD not in str(caught.value)
        observed = (await backend.inventory())[A]
        assert not observed.running
        assert observed.detail == "opencode exited with status 3: the disk is on fire, [redacted]"
        assert b"the disk is on fire, [redacted]" in await read(backend, A)
        assert await backend.address(A) is None
        await backend.ensure_running(spec())
        assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=True)}


@REAL
@pytest.mark.parametrize("mood", ["html", "sick", "silent"])
async def test_opencode_that_is_never_healthy(kind: Kind, mood: str) -> None:
    """Lesson: a 200 proves nothing, the body must say so. The wait has an end, and leaves nothing running."""
    for seconds in (1, 20):  # a busy machine may need more than one until the fake has said its word
        backend = kind.backend(start_timeout=seconds)
        async with backend.serve():
            with pytest.raises(BackendUnavailable, match=rf"not healthy within {seconds} s; ") as caught:
                await backend.ensure_running(spec(FAKE_HEALTH=mood))
            assert kind.at_work() == set()
            assert await not_running(backend)
        if not str(caught.value).endswith("its output ends with: nothing"):
            break
    assert str(caught.value).endswith("its output ends with: fake opencode is starting")


@REAL
async def test_opencode_that_dies_later_is_observed(kind: Kind) -> None:
    backend = kind.backend()
    async with backend.serve():
        address = await backend.ensure_running(spec())
        await run_inside(address, "echo kept > ~/kept; sync")
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):
            await run_inside(address, "kill -9 $PPID")
        await until(partial(not_running, backend))
        assert "137" in (await backend.inventory())[A].detail
        assert await backend.address(A) is None
        assert kind.at_work() == set()
        again = await backend.ensure_running(spec())
        assert await run_inside(again, "cat ~/kept") == "kept\n"
        assert (await backend.inventory())[A].detail == ""


@REAL
async def test_a_pause_ends_what_does_not_want_to_end(kind: Kind) -> None:
    """Children that fork twice, leave their session and ignore SIGTERM end as well."""
    backend = kind.backend()
    async with backend.serve():
        address = await backend.ensure_running(spec(FAKE_STUBBORN="1"))

        async def got_away() -> bool:
            return (await run_inside(address, "cat /proc/*/cmdline | tr '\\0' ' '")).count("sleep 7777") >= 2

        await until(got_away)
        with trio.fail_after(30):
            await backend.pause(A)
        assert kind.at_work() == set()
        assert await not_running(backend)


@REAL
async def test_a_pause_does_not_wait_for_a_start(kind: Kind) -> None:
    """Lesson: lookups and stops waited behind a lock that was held during something slow."""
    backend = kind.backend()
    async with backend.serve(), trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(BackendUnavailable, match="stopped while it was starting"):
                await backend.ensure_running(spec(FAKE_HEALTH="sick"))

        nursery.start_soon(start)
        await until(lambda: backend.address(A))
        with trio.fail_after(20):  # a start may take 30
            await backend.pause(A)


@REAL
async def test_a_start_that_is_cancelled_leaves_what_the_inventory_shows(kind: Kind) -> None:
    backend = kind.backend()
    async with backend.serve():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.ensure_running, spec(FAKE_HEALTH="sick"))
            await until(lambda: backend.address(A))
            nursery.cancel_scope.cancel()
        assert (await backend.inventory())[A].running
        address = await backend.ensure_running(spec())
        assert await run_inside(address, "echo here") == "here\n"
        await backend.destroy(A, WORKSPACE)
        assert (await backend.inventory(), kind.at_work()) == ({}, set())


@REAL
@pytest.mark.parametrize("seconds", [0, 0.02, 0.1, 0.3])
async def test_a_start_that_is_cancelled_at_any_moment(kind: Kind, seconds: float) -> None:
    """And the next call is not disturbed by what it left."""
    backend = kind.backend()
    async with backend.serve():
        with trio.move_on_after(seconds):
            await backend.ensure_running(spec(FAKE_HEALTH="sick"))
        shown = await backend.inventory()
        assert shown.keys() >= kind.homes()

        async def told() -> bool:
            """What was ordered of a cluster may begin a moment later."""
            return bool(kind.at_work()) == any(seen.running for seen in (await backend.inventory()).values())

        await until(told)
        await backend.ensure_running(spec())
        await backend.destroy(A, WORKSPACE)
        assert (await backend.inventory(), kind.at_work(), kind.homes()) == ({}, set(), set())


@REAL
async def test_those_who_start_the_same_sandbox_get_the_same(kind: Kind) -> None:
    backend = kind.backend()
    found: list[Address] = []

    async def start(sandbox_id: str) -> None:
        found.append(await backend.ensure_running(spec(sandbox_id)))

    async with backend.serve():
        async with trio.open_nursery() as nursery:
            for sandbox_id in (A, A, A, B):
                nursery.start_soon(start, sandbox_id)
        assert len(set(found)) == 2
        assert {name for name, seen in (await backend.inventory()).items() if seen.running} == {A, B}
        working = kind.at_work()
        await backend.pause(B)
        assert len(kind.at_work()) * 2 == len(working), "one of each"


@REAL
async def test_ports_inside(kind: Kind) -> None:
    """``{port}-{id}`` hosts reach what this sandbox serves, and no other service of the machine."""
    backend = kind.backend()
    async with backend.serve():
        ours = await backend.ensure_running(spec())
        theirs = await backend.ensure_running(spec(B))
        with socket.create_server(("0.0.0.0", 0)) as stranger:
            assert await backend.port_address(A, stranger.getsockname()[1]) is None
            port = free_port()
            await run_inside(ours, f"echo served > ~/page; setsid python3 -m http.server {port} >/dev/null 2>&1 &")
            await until(partial(backend.port_address, A, port))

            async def listed() -> bool:
                return await backend.ports(A) == [port]

            await until(listed)  # a list may be a second old
        assert await backend.ports(B) == []
        assert await backend.port_address(B, port) is None
        assert await backend.port_address(A, ours.port) is None, "opencode has a host name of its own"
        assert await backend.port_address(A, theirs.port) is None
        found = await backend.port_address(A, port)
        assert found is not None
        assert found.port == port
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            assert (await client.get(f"http://{found.host}:{port}/")).status_code == 200
        await backend.pause(A)
        assert await backend.port_address(A, port) is None
        assert await backend.ports(A) == []
        assert await backend.port_address("z" * 16, port) is None
        assert await backend.ports("z" * 16) == []


@REAL
async def test_the_size_of_a_workspace_s_disk(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the disk's alone, it follows no link, and a sandbox that was paused has not made it smaller."""
    monkeypatch.setattr("backends.diskuse._BELIEVED_TIMES", 0)  # or what was found first would be said for seconds
    backend = kind.backend()
    async with backend.serve():
        assert await backend.disk_bytes(WORKSPACE) == 0
        address = await backend.ensure_running(spec())
        empty = 0

        async def measured() -> bool:
            """A machine that is busy may not say it in time."""
            nonlocal empty
            found = await backend.disk_bytes(WORKSPACE)
            empty = found or 0
            return found is not None

        await until(measured)
        await run_inside(address, "head -c 3000000 /dev/zero > ~/disk0/three; head -c 5000000 /dev/zero > ~/home")
        await run_inside(address, "ln -s /usr ~/disk0/usr; ln -s ~ ~/disk0/home; ln ~/disk0/three ~/disk0/again; sync")
        if kind.keeps_at_rest:
            await backend.pause(A)

        async def grown() -> bool:
            """Some file systems allocate late."""
            full = await backend.disk_bytes(WORKSPACE)
            return full is not None and 3_000_000 <= full - empty < 3_100_000

        await until(grown)
        assert await backend.disk_bytes("v" * 16) == 0


@REAL
async def test_logs(kind: Kind) -> None:
    """They follow until the end, hold no secret, stay after a pause, and go with the sandbox."""
    backend = kind.backend()
    seen = b""
    asked = spec(FAKE_SAY=f"hello {PASSWORD} {PROXY_TOKEN}")
    async with backend.serve():
        with pytest.raises(SandboxGone):
            await read(backend, A)
        address = await backend.ensure_running(asked)

        async def follow(pieces: AsyncIterator[bytes]) -> None:
            nonlocal seen
            async for piece in pieces:
                seen += piece

        async with backend.logs(A, follow=True) as pieces, trio.open_nursery() as nursery:
            nursery.start_soon(follow, pieces)
            await until(lambda: b"hello [redacted] [redacted]" in seen)
            await say(address, "again")
            await until(lambda: b"again" in seen)
            await backend.pause(A)
            nursery.cancel_scope.deadline = trio.current_time() + 30
        assert not nursery.cancel_scope.cancelled_caught, "the end of the sandbox is the end of its log"
        if not kind.keeps_at_rest:
            with pytest.raises(SandboxGone):
                await read(backend, A)
            return
        assert await read(backend, A) == seen
        await backend.ensure_running(asked)

        async def added() -> bool:
            """Another run; it may answer before what it has written is kept."""
            kept = await read(backend, A)
            assert kept.startswith(seen)
            return kept.count(b"hello [redacted] [redacted]") == 2

        await until(added)
        await backend.destroy(A, WORKSPACE)
        with pytest.raises(SandboxGone):
            await read(backend, A)


@REAL
async def test_a_follower_may_leave(kind: Kind) -> None:
    backend = kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        async with backend.logs(A, follow=True) as pieces:
            async for _ in pieces:
                break
        with trio.move_on_after(0.2) as scope:
            async with backend.logs(A, follow=True) as pieces:
                async for _ in pieces:
                    pass
        assert scope.cancelled_caught
        assert (await backend.inventory())[A].running


@pytest.mark.parametrize("kind", _REAL[:3], indirect=True)  # in a cluster, nodes see to them
async def test_limits_hold_or_are_said_not_to(kind: Kind) -> None:
    """``limits_enforced`` is what the administrator is told."""
    backend = kind.backend()
    few = replace(spec(), limits=Limits(cpu=1, memory=128 << 20, pids=40))
    async with backend.serve():
        assert getattr(backend, "limits_enforced", None) is kind.limits_enforced
        address = await backend.ensure_running(few)
        said = await run_inside(address, "for n in $(seq 80); do sleep 1 & done; wait; echo all")
        assert ("all\n" not in said or "fork" in said) == kind.limits_enforced, said
        # It keeps in memory what it has read, until a line ends.
        said = await run_inside(address, "head -c 200000000 /dev/zero | tail -n 1 | wc -c")
        assert (said.strip().endswith("200000000")) != kind.limits_enforced, said


@REAL
async def test_another_daemon_goes_on_from_what_the_first_left(kind: Kind) -> None:
    """Lesson: each start of the server removed everything it had made."""
    first = kind.backend()
    async with first.serve():
        address = await first.ensure_running(spec())
        await run_inside(address, "echo kept | tee ~/kept ~/disk0/kept")
    second = kind.backend()
    async with second.serve():
        assert (await second.inventory()).keys() == {A}
        assert (kind.homes(), kind.disks()) == ({A}, {WORKSPACE})
        address = await second.ensure_running(spec())
        assert await run_inside(address, "cat ~/kept ~/disk0/kept") == "kept\nkept\n"
        await second.destroy(A, WORKSPACE)
        await second.destroy_workspace(WORKSPACE)
        assert (kind.homes(), kind.disks(), kind.at_work()) == (set(), set(), set())
