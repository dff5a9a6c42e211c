"""What the Docker backend says and does when somebody has had a hand in it, or the kernel: containers removed,
frozen, restarted, doubled, out of memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from backends.base import BackendRejected, BackendUnavailable, Limits, Observed, SandboxSpec
from backends.containers import OPENCODE_PORT, Names
from tests.backends.support import PASSWORD, WORKSPACE, run_inside, spec, until
from tests.backends.test_docker_tenants import strange_container

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends.base import Backend
    from tests.backends.kinds import Docker

pytestmark = pytest.mark.needs("docker")
A, B = "a" * 16, "b" * 16


async def is_running(backend: Backend, wanted: bool) -> bool:
    """Whether the inventory says so of A."""
    return (await backend.inventory())[A].running is wanted


async def test_a_container_that_was_removed_is_made_again_right(docker_kind: Docker) -> None:
    """Lesson: resume of a sandbox whose container was gone made a wrong one, without password and disk."""
    backend = docker_kind.backend()
    async with backend.serve():
        address = await backend.ensure_running(spec(MORE="1"))
        await run_inside(address, "echo kept | tee ~/kept ~/disk0/kept")
        before = docker_kind.container(A)
        docker_kind.client.remove_container(before["Id"], force=True)
        assert await backend.inventory() == {
            A: Observed(A, WORKSPACE, running=False, detail="its container was removed")
        }
        assert await backend.address(A) is None
        assert await backend.ports(A) == []
        await backend.pause(A)

        address = await backend.ensure_running(spec(MORE="1"))
        assert await run_inside(address, "cat ~/kept ~/disk0/kept; echo $MORE") == "kept\nkept\n1\n", (
            "with the password"
        )
        after = docker_kind.container(A)
        for about in (before, after):
            for name in ("Hostname", "Domainname"):
                about["Config"].pop(name)
        assert (after["Config"], after["HostConfig"]) == (before["Config"], before["HostConfig"])


async def test_a_container_and_its_network_that_were_removed(docker_kind: Docker) -> None:
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        await backend.pause(A)
        (network,) = docker_kind.networks()
        docker_kind.client.remove_network(network["Id"])
        assert not (await backend.inventory())[A].running
        address = await backend.ensure_running(spec())
        assert await run_inside(address, "echo here") == "here\n"
        assert await backend.address(A) == address


async def test_an_address_that_another_one_has_now(docker_kind: Docker) -> None:
    """Lesson: a stale address pointed at another tenant's container, and credentials were sent there."""
    backend = docker_kind.backend()
    async with backend.serve():
        address = await backend.ensure_running(spec())
        docker_kind.client.remove_container(docker_kind.container(A)["Id"], force=True)
        (network,) = docker_kind.networks()
        serve = ["python3", "-u", "-m", "http.server", str(OPENCODE_PORT)]
        endpoint = {"IPAMConfig": {"IPv4Address": address.host}}
        stranger = strange_container(
            docker_kind,
            f"stranger-{docker_kind.installation[:6]}",
            {},
            Cmd=serve,
            HostConfig={"NetworkMode": network["Name"], "Init": True},
            NetworkingConfig={"EndpointsConfig": {network["Name"]: endpoint}},
        )
        logs = partial(docker_kind.client.logs, stranger)
        await until(lambda: b"Serving HTTP" in logs())
        assert await backend.address(A) is None
        assert await backend.port_address(A, OPENCODE_PORT) is None
        assert await backend.port_address(A, 8000) is None
        again = await backend.ensure_running(spec())
        assert again.host != address.host
        assert b"GET" not in logs(), "nothing was asked of the stranger, least of all with a password"
        docker_kind.undo.pop()()


async def test_a_container_that_was_restarted_by_hand(docker_kind: Docker) -> None:
    """Its address may be another one afterwards: it is asked of the engine each time."""
    backend = docker_kind.backend()
    async with backend.serve():
        first = await backend.ensure_running(spec())
        docker_kind.client.stop(docker_kind.container(A)["Id"], timeout=1)
        second = await backend.ensure_running(spec(B))
        assert second.host == first.host, "the engine gives out the lowest that is free"
        assert await backend.address(A) is None
        docker_kind.client.start(docker_kind.container(A)["Id"])
        found = await backend.address(A)
        assert found is not None
        assert found.host != first.host
        assert await backend.ensure_running(spec()) == found
        assert await backend.address(B) == second


async def test_a_container_that_was_frozen_by_hand(docker_kind: Docker) -> None:
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        for last in (False, True):
            docker_kind.client.pause(docker_kind.container(A)["Id"])
            observed = (await backend.inventory())[A]
            assert not observed.running
            assert "frozen" in observed.detail
            assert await backend.address(A) is None
            if not last:
                address = await backend.ensure_running(spec())
                assert await run_inside(address, "echo here") == "here\n"
        await backend.pause(A)
        assert docker_kind.container(A)["State"]["Status"] == "exited"


async def test_a_container_that_was_killed_by_hand(docker_kind: Docker) -> None:
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        docker_kind.client.kill(docker_kind.container(A)["Id"])
        await until(partial(is_running, backend, False))
        assert "from outside" in (await backend.inventory())[A].detail
        await backend.ensure_running(spec())
        assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=True)}


async def test_more_memory_than_there_is(docker_kind: Docker) -> None:
    """The reason says what to do about it, which a status of 137 does not."""
    few = Limits(cpu=1, memory=64 << 20, pids=64)
    hungry = spec(FAKE_EAT=str(200 << 20))
    backend = docker_kind.backend()
    async with backend.serve():
        with pytest.raises(BackendRejected, match="needs more than its 64 MiB of memory"):
            await backend.ensure_running(SandboxSpec(A, WORKSPACE, PASSWORD, hungry.env, few))
        assert "needs more than its 64 MiB" in (await backend.inventory())[A].detail


async def test_other_limits_make_another_container(docker_kind: Docker) -> None:
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        few = Limits(cpu=0.5, memory=128 << 20, pids=64)
        await backend.ensure_running(SandboxSpec(A, WORKSPACE, PASSWORD, spec().env, few))
        bounds = docker_kind.container(A)["HostConfig"]
        assert (bounds["NanoCpus"], bounds["Memory"], bounds["MemorySwap"], bounds["PidsLimit"]) == (
            *(500_000_000, 128 << 20, 128 << 20, 64),
        )


async def test_a_container_of_an_image_that_was_made_from_a_sandbox(docker_kind: Docker) -> None:
    """Containers have the labels of their image, and ``docker commit`` keeps those of the container.

    That makes nobody's container a sandbox: it is not stopped, not removed, and no credentials are sent there.
    """
    backend = docker_kind.backend()
    names = Names(docker_kind.installation)
    async with backend.serve():
        address = await backend.ensure_running(spec())
        labels = docker_kind.container(A)["Config"]["Labels"]
        body = {
            "Image": docker_kind.image,
            "Labels": labels,
            "Entrypoint": ["sleep", "1000"],
            "HostConfig": {"NetworkMode": "none"},
        }
        theirs = docker_kind.client.create_container_from_config(body, f"theirs-{docker_kind.installation}")["Id"]
        try:
            docker_kind.client.start(theirs)
            assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=True)}
            assert await backend.address(A) == address
            await backend.pause(A)
            assert await backend.address(A) is None
            assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=False)}
            await backend.ensure_running(spec(MORE="1"))
            await backend.destroy(A, WORKSPACE)
            assert docker_kind.client.inspect_container(theirs)["State"]["Running"] is True
        finally:
            docker_kind.client.remove_container(theirs, force=True)
        await backend.destroy_workspace(WORKSPACE)
        assert docker_kind.named() == set()
        assert names.home(A) not in docker_kind.named()


async def test_what_carries_half_of_our_labels_stops_nobody(docker_kind: Docker) -> None:
    """A list that one strange thing makes impossible would leave all sandboxes without a reconciler."""
    backend = docker_kind.backend()
    labels = {"cli-server.installation": docker_kind.installation, "cli-server.sandbox": A}
    body = {"Image": docker_kind.image, "Labels": labels}
    strange = docker_kind.client.create_container_from_config(body, f"strange-{docker_kind.installation}")["Id"]
    volume = docker_kind.client.create_volume(f"strange-{docker_kind.installation}", labels=labels)["Name"]
    try:
        async with backend.serve():
            assert await backend.inventory() == {}
            await backend.ensure_running(spec())
            assert (await backend.inventory()).keys() == {A}
            await backend.destroy(A, WORKSPACE)
            await backend.destroy_workspace(WORKSPACE)
    finally:
        docker_kind.client.remove_container(strange, force=True)
        docker_kind.client.remove_volume(volume)


async def test_a_sandbox_that_floods_who_asks_for_its_ports(docker_kind: Docker) -> None:
    """The program that reads them is in the sandbox's hands: it may say more than fits, or nothing for ever."""
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        other = await backend.ensure_running(spec("b" * 16))
        for command in (("/usr/bin/yes",), ("/bin/sh", "-c", "while :; do echo; sleep 0.2; done")):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("backends.containerports.COMMAND", command)
                patch.setattr("backends.containerports._SECONDS", 1.0)
                with trio.fail_after(30):
                    async with trio.open_nursery() as nursery:
                        for _ in range(8):
                            nursery.start_soon(_refused, backend.ports)
                        assert await backend.address("b" * 16) == other, "nobody else waits for it"
        assert await backend.ports("b" * 16) == []
        for sandbox_id in (A, "b" * 16):
            await backend.destroy(sandbox_id, WORKSPACE)
        await backend.destroy_workspace(WORKSPACE)


async def _refused(ports: Callable[[str], Awaitable[object]]) -> None:
    with pytest.raises(BackendUnavailable):
        await ports(A)


async def test_deleting_leaves_nothing(docker_kind: Docker) -> None:
    """Lesson: deleting a running sandbox or a workspace leaked containers and volumes; whatever was done before."""
    backend = docker_kind.backend()
    async with backend.serve():
        for meddle in ("nothing", "killed", "removed", "frozen", "paused"):
            await backend.ensure_running(spec())
            await backend.disk_bytes(WORKSPACE)
            container = docker_kind.container(A)["Id"]
            match meddle:
                case "killed":
                    docker_kind.client.kill(container)
                case "removed":
                    docker_kind.client.remove_container(container, force=True)
                case "frozen":
                    docker_kind.client.pause(container)
                case "paused":
                    await backend.pause(A)
            await backend.destroy(A, WORKSPACE)
            assert docker_kind.named() == {
                Names(docker_kind.installation).disk(WORKSPACE),
                Names(docker_kind.installation).network(WORKSPACE, "open"),
            }, meddle
            await backend.destroy_workspace(WORKSPACE)
            assert docker_kind.named() == set(), meddle


async def test_what_measured_a_disk_for_a_daemon_that_was_killed(docker_kind: Docker) -> None:
    """It is no sandbox, and goes when the next daemon starts."""
    labels = Names(docker_kind.installation).labels(WORKSPACE)
    alone = {"Init": True, "NetworkMode": "none"}
    body = {"Image": docker_kind.image, "Entrypoint": ["sleep", "600"], "Labels": labels, "HostConfig": alone}
    made = docker_kind.client.create_container_from_config(body)
    docker_kind.client.start(made["Id"])
    backend = docker_kind.backend()
    async with backend.serve():
        assert await backend.inventory() == {}
        await until(lambda: not docker_kind.containers())
