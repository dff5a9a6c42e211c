"""The doctor on containers: the engine and who may use it, its networks, and the daemon in a container itself."""

from __future__ import annotations

import dataclasses
import errno
import grp
import os
import socket
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import docker
import pytest

from backends.containers import LABEL_INSTALLATION
from backends.engine import EngineAway, in_our_words
from backends.surroundings import Surroundings, look_around
from daemon import checks, engine_checks
from daemon.config import load
from daemon.doctor import CheckFailed, Context, Finding
from daemon.ids import new_id
from tests.backends.fake_image import fake_image
from tests.backends.kinds import SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN = "5a" * 32


def _context(tmp_path: Path, **given: str) -> Context:
    return Context(load({"DATA_DIR": str(tmp_path / "data"), "LISTEN": "127.0.0.1:0", "BACKEND": "docker"} | given))


@pytest.fixture(params=["machine"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the doctor runs, as far as it can see: on the ``machine`` (also if these tests run in a container)."""
    mounts = tmp_path / "mountinfo"
    if request.param == "container":
        mounts.write_text(
            f"623 602 254:1 /lib/docker/containers/{OWN}/hostname /etc/hostname rw,relatime - ext4 /dev/vda1 rw\n"
        )
    monkeypatch.setattr(engine_checks, "_MOUNTS", mounts)
    return str(request.param)


in_a_container = pytest.mark.parametrize("place", ["container"], indirect=True)
on_both = pytest.mark.parametrize("place", ["machine", "container"], indirect=True)


async def _refused(context: Context) -> str:
    with pytest.raises(CheckFailed, match="cannot be reached") as caught:
        await checks.check_backend(context)
    return caught.value.remedy


# The engine's socket


@on_both
async def test_a_socket_that_is_not_there(place: str, tmp_path: Path) -> None:
    remedy = await _refused(_context(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock"))
    assert f"{tmp_path}/none.sock" in remedy
    assert ("DOCKER_SOCKET" if place == "container" else "start the Docker engine") in remedy
    assert "group" not in remedy


@on_both
async def test_a_socket_at_which_nobody_listens(place: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "engine.sock"))
        remedy = await _refused(_context(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/engine.sock"))
    assert "nobody listens" in remedy
    assert "start the Docker engine" in remedy
    assert ("container" in remedy) == (place == "container")


async def test_a_folder_that_was_mounted_for_a_socket(place: str, tmp_path: Path) -> None:
    """The engine makes one where what it should mount is not there."""
    (tmp_path / "engine.sock").mkdir()
    remedy = await _refused(_context(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/engine.sock"))
    assert "is a folder" in remedy
    assert "DOCKER_SOCKET" in remedy


async def test_an_engine_behind_tcp_that_is_not_there(place: str, tmp_path: Path) -> None:
    assert "tcp://127.0.0.1:1" in await _refused(_context(tmp_path, DOCKER_HOST="tcp://127.0.0.1:1"))


@on_both
def test_a_socket_that_this_user_may_not_use(place: str, tmp_path: Path) -> None:
    """Root may use every socket, so the refusal is made here; the socket and its group are real."""
    path = tmp_path / "engine.sock"
    settings = _context(tmp_path, DOCKER_HOST=f"unix://{path}").settings
    refusal = in_our_words(PermissionError(errno.EACCES, "Permission denied"))
    assert isinstance(refusal, EngineAway)
    assert "folders on the way" in engine_checks.engine_remedy(settings, refusal)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        gid = path.stat().st_gid
        path.chmod(0o660)
        remedy = engine_checks.engine_remedy(settings, refusal)
        if place == "container":
            assert f"DOCKER_GID={gid} in .env" in remedy
        else:
            group = grp.getgrgid(gid).gr_name
            assert f"(gid {gid})" in remedy
            assert f"usermod -aG {group} " in remedy
            assert f"SupplementaryGroups={group}" in remedy
        path.chmod(0o600)
        assert "write to it" in engine_checks.engine_remedy(settings, refusal)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a socket to a group that has no name")
def test_a_group_without_a_name_is_named_by_its_number(place: str, tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    path.touch(mode=0o660)
    path.chmod(0o660)
    os.chown(path, -1, 54321)
    settings = _context(tmp_path, DOCKER_HOST=f"unix://{path}").settings
    assert "SupplementaryGroups=54321" in engine_checks.engine_remedy(settings, EngineAway("no", errno.EACCES))


# The engine and what sandboxes reach


async def _fails(context: Context, word: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        await checks.check_backend(context)
    assert word in f"{caught.value.detail} {caught.value.remedy}"


@pytest.mark.needs("docker")
async def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    context = _context(tmp_path, AGENT_IMAGE="cli-server-tests-none:latest")
    await _fails(context, "make images")
    context = _context(tmp_path, AGENT_RUNTIME="no-such-runtime")
    await _fails(context, "no runtime no-such-runtime")


def test_what_listens_on_every_address_is_named(place: str, tmp_path: Path) -> None:
    """Sandboxes in containers reach it at the gateway of their network, which is this machine."""
    with socket.create_server(("0.0.0.0", 0)) as everywhere, socket.create_server(("127.0.0.1", 0)) as here:
        context = _context(tmp_path, LISTEN=":1")
        finding = engine_checks.examine_containers(dataclasses.replace(context.settings, agent_egress="proxy"))
        assert finding.verdict == "warn"
        assert "egress proxy" in finding.detail
        ports = finding.detail.rpartition(": ")[2].split(", ")
        assert str(here.getsockname()[1]) not in ports
        if len(ports) < engine_checks._MOST_PORTS:
            assert str(everywhere.getsockname()[1]) in ports


@in_a_container
def test_a_server_in_a_container_does_not_claim_to_see_the_machine(place: str, tmp_path: Path) -> None:
    """Its tables of sockets are the container's: empty ones say nothing about the machine."""
    finding = engine_checks.examine_containers(_context(tmp_path).settings)
    assert finding.verdict == "warn"
    assert "does not see what listens" in finding.detail


# The daemon in a container


def _around(*own: str, **others: str) -> Surroundings:
    named = {name: (IPv4Network(subnet),) for name, subnet in others.items()}
    return Surroundings(named, frozenset(own) if own else None)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "127.8.0.1"])
@in_a_container
async def test_a_container_that_listens_for_itself_only(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    found = _around("cli-server")

    async def look(host: str, own_id: str | None) -> Surroundings:
        assert own_id == OWN
        return found

    monkeypatch.setattr(engine_checks, "look_around", look)
    settings = _context(tmp_path, LISTEN=f"{host}:8080").settings
    with pytest.raises(CheckFailed, match="neither a published port nor a sandbox") as caught:
        await engine_checks.unreachable(settings)
    assert "LISTEN=:8080" in caught.value.remedy
    found = _around("host")
    assert await engine_checks.unreachable(settings) is None, "its loopback is the machine's"
    found = _around()
    assert _verdict(await engine_checks.unreachable(settings)) == "warn", "who knows"
    everywhere = _context(tmp_path, LISTEN=":8080").settings
    assert await engine_checks.unreachable(everywhere) is None


def _verdict(finding: Finding | None) -> str:
    return "" if finding is None else finding.verdict


async def test_loopback_on_the_machine_is_fine(place: str, tmp_path: Path) -> None:
    assert (await checks.check_listener(_context(tmp_path))).verdict == "ok"


@in_a_container
async def test_the_listener_tells_it(place: str, tmp_path: Path) -> None:
    """Without an engine to ask, and for a backend that has none."""
    for given in ({"BACKEND": "process"}, {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}):
        finding = await checks.check_listener(_context(tmp_path, **given))
        assert finding.verdict == "warn"
        assert "set LISTEN=:0" in finding.remedy


# Networks


def test_networks_of_others(tmp_path: Path) -> None:
    settings = _context(tmp_path, AGENT_NETWORKS="172.16.0.0/12").settings
    judge = engine_checks.judge_networks
    assert judge(settings, _around("bridge", bridge="192.168.0.0/24")).verdict == "ok"
    finding = judge(settings, _around(bridge="172.17.0.0/16", other="192.168.0.0/24"))
    assert (finding.verdict, "bridge (172.17.0.0/16)" in finding.detail) == ("warn", True)
    assert "other" not in finding.detail.replace("others", "")
    assert "AGENT_NETWORKS" in finding.remedy
    with pytest.raises(CheckFailed, match=r"itself in a network .* mine \(172\.18\.0\.0/16\)") as caught:
        judge(settings, _around("mine", bridge="192.168.0.0/24", mine="172.18.0.0/16"))
    assert "AGENT_NETWORKS" in caught.value.remedy


@pytest.mark.parametrize(
    ("proxies", "verdict"), [("127.0.0.1/32,::/0", "ok"), ("10.0.0.0/8", "warn"), ("::1/128,0.0.0.0/0", "warn")]
)
def test_trusted_proxies_among_sandboxes(tmp_path: Path, proxies: str, verdict: str) -> None:
    finding = engine_checks.judge_networks(_context(tmp_path, TRUSTED_PROXIES=proxies).settings, _around())
    assert finding.verdict == verdict
    assert ("TRUSTED_PROXIES" in finding.remedy) == (verdict == "warn")


async def test_networks_that_cannot_be_looked_at(place: str, tmp_path: Path) -> None:
    away = _context(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert (await engine_checks.check_networks(away)).verdict == "warn"
    assert (await engine_checks.check_networks(_context(tmp_path, BACKEND="process"))).verdict == "ok"


@pytest.fixture
def networks() -> Iterator[tuple[str, str]]:
    """The names of a network that is anybody's, and of a workspace's of another installation, both on the engine."""
    client: Any = docker.APIClient(base_url=f"unix://{SOCKET}", timeout=60)
    plain, labelled = f"cli-server-test-{new_id()}", f"cli-server-test-{new_id()}"
    made = []
    try:
        for name, labels in ((plain, {}), (labelled, {LABEL_INSTALLATION: "doctor"})):
            made.append(client.create_network(name, labels=labels, internal=True)["Id"])
        yield plain, labelled
    finally:
        for network in made:
            client.remove_network(network)
        client.close()


@pytest.mark.needs("docker")
async def test_an_engine_is_asked(place: str, tmp_path: Path, networks: tuple[str, str]) -> None:
    plain, labelled = networks
    around = await look_around(f"unix://{SOCKET}", OWN)
    assert labelled not in around.others, "who comes from there is a sandbox"
    assert around.own is None, "no such container"
    client: Any = docker.APIClient(base_url=f"unix://{SOCKET}", timeout=60)
    for network, on_the_machine in ((plain, False), ("host", True)):
        config = client.create_host_config(network_mode=network)
        made = client.create_container(fake_image(), ["true"], host_config=config)["Id"]
        try:
            found = await look_around(f"unix://{SOCKET}", made)
        finally:
            client.remove_container(made)
        assert (found.own, found.on_the_machine) == (frozenset({network}), on_the_machine)
    client.close()
    (subnet,) = around.others[plain]
    finding = await engine_checks.check_networks(_context(tmp_path, AGENT_NETWORKS=str(subnet)))
    assert finding.verdict == "warn"
    assert f"{plain} ({subnet})" in finding.detail
