"""What belongs to others, and what others may do: tenants among each other, strangers on the engine, the operator.

On a real engine, with the stand-in for opencode.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import trio

from backends.base import Address, BackendRejected, Observed
from backends.containers import OPENCODE_PORT, Names
from tests.backends.kinds import Docker
from tests.backends.support import WORKSPACE, run_inside, spec, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.needs("docker")
A, B, OTHER = "a" * 16, "b" * 16, "v" * 16
_ALONE = {"Init": True, "NetworkMode": "none"}
_REACH = "python3 -c 'import socket; socket.create_connection((\"{}\", {}), 2).close()' && echo reached"


async def reaches(source: Address, host: str, port: int) -> bool:
    """Whether a program in a sandbox can connect to somewhere."""
    return (await run_inside(source, _REACH.format(host, port))).endswith("reached\n")


async def reaches_none(*ways: tuple[Address, str, int]) -> None:
    """No connection comes about, of several that are tried at once: each takes its two seconds."""

    async def try_it(source: Address, host: str, port: int) -> None:
        assert not await reaches(source, host, port), (host, port)

    async with trio.open_nursery() as nursery:
        for way in ways:
            nursery.start_soon(try_it, *way)


def strange_container(kind: Docker, name: str, labels: dict[str, str], **more: Any) -> str:
    """A container of somebody else's; its id."""
    body = {"Image": kind.image, "Cmd": ["sleep", "600"], "Labels": labels, "HostConfig": _ALONE, **more}
    made = kind.client.create_container_from_config(body, name)["Id"]
    kind.client.start(made)
    kind.undo.append(lambda: kind.client.remove_container(made, force=True))
    return str(made)


def strange_volume(kind: Docker, name: str, labels: dict[str, str]) -> str:
    """A volume of somebody else's."""
    kind.client.create_volume(name, labels=labels)
    kind.undo.append(lambda: kind.client.remove_volume(name))
    return name


def strange_network(kind: Docker, name: str, labels: dict[str, str]) -> str:
    """A network of somebody else's."""
    made = kind.client.create_network(name, labels=labels, internal=True)["Id"]
    kind.undo.append(lambda: kind.client.remove_network(made))
    return str(made)


def names_of(kind: Docker) -> dict[str, tuple[Callable[[Docker, str, dict[str, str]], str], str]]:
    """By kind of thing: how a stranger makes one, and what its name would be if it were ours."""
    names = Names(kind.installation)
    return {
        "container": (strange_container, names.container(WORKSPACE, A)),
        "home": (strange_volume, names.home(A)),
        "disk": (strange_volume, names.disk(WORKSPACE)),
        "network": (strange_network, names.network(WORKSPACE, "open")),
    }


def is_there(kind: Docker, thing: str, made: str) -> bool:
    """Whether the stranger's thing, and no other of its name, exists."""
    if thing == "container":
        return any(found["Id"] == made and found["State"] == "running" for found in kind.client.containers())
    if thing == "network":
        return any(found["Id"] == made for found in kind.client.networks())
    return any(found["Name"] == made for found in kind.client.volumes()["Volumes"])


@pytest.mark.parametrize("whose", ["nobody's", "another installation's"])
@pytest.mark.parametrize("thing", ["container", "home", "disk", "network"])
async def test_a_name_that_somebody_else_has(docker_kind: Docker, thing: str, whose: str) -> None:
    """It says which, touches nothing, and works once the other one is gone."""
    labels = {} if whose == "nobody's" else Names("x" * 16).labels(WORKSPACE, A)
    make, name = names_of(docker_kind)[thing]
    made = make(docker_kind, name, labels)
    backend = docker_kind.backend()
    async with backend.serve():
        with pytest.raises(BackendRejected, match=f"named {name} is there and is not of this installation"):
            await backend.ensure_running(spec())
        await backend.pause(A)
        await backend.destroy(A, WORKSPACE)
        await backend.destroy_workspace(WORKSPACE)
        assert await backend.inventory() == {}
        assert await backend.address(A) is None
        assert is_there(docker_kind, thing, made)
        docker_kind.undo.pop()()
        await backend.ensure_running(spec())


async def test_similar_names_stay(docker_kind: Docker) -> None:
    """Lesson: clean up only what carries this installation's own id."""
    made = []
    for number, labels in enumerate(({}, Names("x" * 16).labels(WORKSPACE, A))):
        for thing, (make, name) in names_of(docker_kind).items():
            made.append((thing, make(docker_kind, f"{name}{number}", labels)))
    backend = docker_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        assert (await backend.inventory()).keys() == {A}
        await backend.pause(A)
        await backend.destroy(A, WORKSPACE)
        await backend.destroy_workspace(WORKSPACE)
        assert await backend.inventory() == {}
    assert all(is_there(docker_kind, thing, name) for thing, name in made)


async def test_two_installations_on_one_engine(docker_kind: Docker) -> None:
    """The same ids, and neither sees or disturbs the other. Lesson: each start removed every container."""
    other_kind = Docker(docker_kind.image)
    ours, theirs = docker_kind.backend(), other_kind.backend()
    try:
        async with ours.serve():
            first = await ours.ensure_running(spec())
            await run_inside(first, "echo ours > ~/disk0/whose")
            async with theirs.serve():
                assert await theirs.inventory() == {}
                assert await theirs.address(A) is None
                second = await theirs.ensure_running(spec())
                assert second.host != first.host
                assert "No such file" in await run_inside(second, "cat ~/disk0/whose")
                assert not await reaches(second, first.host, first.port)
                await theirs.destroy(A, WORKSPACE)
                await theirs.destroy_workspace(WORKSPACE)
            assert await ours.inventory() == {A: Observed(A, WORKSPACE, running=True)}
            assert await run_inside(first, "cat ~/disk0/whose") == "ours\n"
    finally:
        await other_kind.clean_up()


async def test_workspaces_do_not_reach_each_other(docker_kind: Docker) -> None:
    """Lesson: all tenants were on one bridge. Sandboxes of one workspace reach each other, as people expect."""
    backend = docker_kind.backend()
    async with backend.serve():
        ours = await backend.ensure_running(spec())
        neighbour = await backend.ensure_running(spec(B))
        stranger = await backend.ensure_running(spec("c" * 16, workspace_id=OTHER))
        for address in (ours, neighbour, stranger):
            await run_inside(address, "setsid python3 -m http.server 8000 >/dev/null 2>&1 &")
        await until(lambda: backend.port_address(A, 8000))
        await until(lambda: backend.port_address(B, 8000))
        await until(lambda: backend.port_address("c" * 16, 8000))
        assert await reaches(ours, neighbour.host, 8000)
        name = docker_kind.container("c" * 16)["Name"].lstrip("/")
        theirs = [(ours, stranger.host, port) for port in (OPENCODE_PORT, 8000)]
        back = [(stranger, ours.host, port) for port in (OPENCODE_PORT, 8000)]
        await reaches_none(*theirs, *back, (ours, name, 8000))


@pytest.fixture
def outside(docker_kind: Docker) -> Iterator[str]:
    """The address of a machine that is not this one, and serves port 8000: a container at the other end of a wire."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root lays wires")
    made = strange_container(
        docker_kind,
        f"outside-{docker_kind.installation[:6]}",
        {},
        Cmd=["python3", "-m", "http.server", "8000"],
    )
    pid = docker_kind.client.inspect_container(made)["State"]["Pid"]
    inside, wire = f"nsenter --target {pid} --net ip", f"w{docker_kind.installation[:10]}"
    for command in (  # of the range for measurements between networks (RFC 2544), which is nowhere in use
        f"ip link add {wire} type veth peer name eth0 netns {pid}",
        f"ip address add 198.18.77.1/30 dev {wire}",
        f"ip link set {wire} up",
        f"{inside} address add 198.18.77.2/30 dev eth0",
        f"{inside} link set eth0 up",
        f"{inside} route add default via 198.18.77.1",
    ):
        subprocess.run(command.split(), check=True, timeout=30)
    yield "198.18.77.2"
    docker_kind.undo.pop()()  # the wire goes with its end


async def test_the_way_out_is_what_the_operator_chose(docker_kind: Docker, outside: str) -> None:
    """With ``proxy``, only this machine is reached, where the daemon serves the proxy, and no name is resolved."""
    backend, closed = docker_kind.backend(), docker_kind.backend(egress="proxy")
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        async with backend.serve(), closed.serve():
            address = await backend.ensure_running(spec())
            assert await reaches(address, "cli-server", port)
            await until(lambda: reaches(address, outside, 8000))  # it has just been started

            address = await closed.ensure_running(spec())
            (gateway,) = (
                found["IPAM"]["Config"][0]["Gateway"] for found in docker_kind.networks() if found["Internal"]
            )
            assert docker_kind.container(A)["HostConfig"]["ExtraHosts"] == [f"cli-server:{gateway}"]
            assert await reaches(address, "cli-server", port)
            assert not await reaches(address, outside, 8000)
            assert "name resolution" in await run_inside(address, _REACH.format("somewhere.example", 1))
            assert await run_inside(address, "echo here") == "here\n", "we still reach it"


async def test_the_operator_is_not_inside(docker_kind: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson: the operator's real key was inside. Neither is a way to the engine."""
    canary = "canary-of-the-operator"
    for name in ("ANTHROPIC_API_KEY", "DATABASE_URL", "OPERATOR_KEY", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, canary)
    monkeypatch.setenv("DOCKER_CONFIG", "/nonexistent")
    backend = docker_kind.backend()
    async with backend.serve():
        address = await backend.ensure_running(spec())
        about = docker_kind.container(A)
        assert canary not in json.dumps(about)
        inside = dict(line.split("=", 1) for line in about["Config"]["Env"])
        assert inside.keys() - spec().env.keys() <= {"PATH", "HOME", "LANG"}, "what the image has"
        assert canary not in await run_inside(address, "cat /proc/*/environ ~/.* /tmp/* /run/* 2>/dev/null")
        found = await run_inside(address, "find / -xdev -type s 2>/dev/null; ls /var/run/docker.sock /run/docker.sock")
        assert found.count("No such file") == 2
        assert found.count("\n") == 2, found
        mounts = {mount["Destination"]: mount["Name"] for mount in about["Mounts"]}
        names = Names(docker_kind.installation)
        assert mounts == {"/home/agent": names.home(A), "/data/disk0": names.disk(WORKSPACE)}
        assert not about["HostConfig"]["PortBindings"]
        assert not any(about["NetworkSettings"]["Ports"].values())


async def test_a_container_holds(docker_kind: Docker) -> None:
    """As the kernel tells it: no root, no capability, no new privileges, seccomp, nothing of the system writable."""
    backend = docker_kind.backend()
    async with backend.serve():
        address = await backend.ensure_running(spec())
        status = await run_inside(address, "cat /proc/self/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(facts["Uid"].split() + facts["Gid"].split()) == {"1000"}
        assert {int(facts[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
        for path in ("/new", "/usr/new", "/etc/passwd", "/etc/hosts", "/proc/sys/vm/swappiness", "/sys/new"):
            said = await run_inside(address, f"echo x >> {path}")
            assert "Read-only file system" in said or "Permission denied" in said, (path, said)
        program = "printf '#!/bin/sh\\necho ran\\n' > {0}; chmod +x {0}; {0}"
        assert await run_inside(address, program.format("/tmp/program")) == "ran\n", "people compile there"
        assert await run_inside(address, "echo x > /run/x && echo x > /dev/shm/x && cat /run/x") == "x\n"
