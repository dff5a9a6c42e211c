"""``docker/compose.yaml`` on this machine's engine: both services, a user, and an end that loses nothing."""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING

import pytest

from daemon.config import SETTINGS
from tests.conftest import ROOT
from tests.support.compose import Composition, composed, docker, inspect
from tests.support.visitor import UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMPOSE = (ROOT / "docker" / "compose.yaml").read_text()
README = (ROOT / "docker" / "README.md").read_text()
KEY = "/var/lib/cli-server/secret.key"
EXAMPLE = (ROOT / "docker" / ".env.example").read_text()
# Settings that are the same in each composition, or belong to another backend; the rest can be set in .env. Sign-in
# with a provider needs a secret of its own and stands in an override, as docker/README.md says.
# Metrics stay inside: on every address of the container they would be in the sandboxes' networks.
FIXED = {"DATA_DIR", "OPENCODE_BIN", "METRICS_LISTEN", "LOG_FORMAT", "ANTHROPIC_PROXY_URL"}
# What is for clusters, or for several servers of one installation; the composition has one.
ELSEWHERE = {name for name in (setting.variable for setting in SETTINGS) if name.startswith(("K8S_", "REPLICA_"))}
ELSEWHERE |= {"KUBECONFIG", "SECRET_KEY_FILE", "AGENT_LISTEN"}
SIGN_IN = {name for name in (setting.variable for setting in SETTINGS) if name.startswith(("OIDC_", "GITHUB_"))}

needed = pytest.mark.needs("docker", "images", "docker-compose")


def test_settings_can_be_set() -> None:
    """A setting that stands in .env and nowhere else would be ignored without a word."""
    passed = set(re.findall(r"^      ([A-Z_]+):", COMPOSE, re.MULTILINE))
    wanted = {setting.variable for setting in SETTINGS if not setting.secret} - FIXED - SIGN_IN - ELSEWHERE
    assert wanted <= passed


def test_the_example_names_what_there_is() -> None:
    named = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    used = {"COMPOSE_PROJECT_NAME", *re.findall(r"\$\{([A-Z_]+):-", COMPOSE)}  # the first is compose's own
    assert named == used, "the others would be ignored, or not found"


def test_the_example_names_the_network_that_there_is() -> None:
    (name,) = re.findall(r"name: \$\{NETWORK:-(.+)\}", COMPOSE)
    assert name < "cli-server-", "else the engine takes a workspace's network as the way out"
    assert f"#NETWORK={name}\n" in EXAMPLE
    assert (
        EXAMPLE.count("docker network inspect") == len(re.findall(rf"docker network inspect .* {name}\n", EXAMPLE)) == 1
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """A server with one user, ada."""
    with composed(tmp_path_factory.mktemp("compose")) as made:
        made.visitor().register("ada")
        yield made


@needed
def test_who_has_registered_signs_in_and_nobody_else_registers(server: Composition) -> None:
    visitor = server.visitor()
    visitor.login("ada")
    assert visitor.api("GET", "/api/auth/me")["isAdmin"]
    with pytest.raises(UnexpectedAnswer, match="403"):
        server.visitor().register("bob")


@needed
def test_the_server_is_confined_and_healthy(server: Composition) -> None:
    found = inspect(server.container("cli-server"))
    host = found["HostConfig"]
    assert found["Config"]["User"] == "10001:10001"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Sysctls"] == {"net.ipv4.ip_forward": "0"}
    assert {place["HostIp"] for places in host["PortBindings"].values() for place in places} == {"127.0.0.1"}
    deadline = time.monotonic() + 100  # ten of the check's intervals
    while inspect(server.container("cli-server"))["State"]["Health"]["Status"] != "healthy":
        assert time.monotonic() < deadline, found["State"]["Health"]
        time.sleep(0.2)


@needed
def test_secrets_are_in_files_only(server: Composition) -> None:
    for service in ("cli-server", "postgres"):
        container = server.container(service)
        told = str(inspect(container)["Config"]["Env"])
        assert server.password not in told
        assert server.key not in told
    assert server.password not in server.logs
    assert server.key not in server.logs


@needed
def test_the_database_is_reached_by_the_server_only(server: Composition) -> None:
    networks = inspect(server.container("postgres"))["NetworkSettings"]["Networks"]
    assert [inspect(name, "network")["Internal"] for name in networks] == [True]
    assert not inspect(server.container("postgres"))["HostConfig"]["PortBindings"]


@needed
def test_what_was_written_survives_stop_and_start(server: Composition) -> None:
    visitor = server.visitor()
    visitor.login("ada")
    container = server.container("cli-server")
    started = time.monotonic()
    docker("stop", container)
    assert time.monotonic() - started < 40, "SIGTERM is heard: it has 75 s before it is killed"
    assert inspect(container)["State"]["ExitCode"] == 0, server.logs[-3000:]
    server.run("down")
    server.up()
    server.visitor().login("ada")
    assert visitor.api("GET", "/api/auth/me")["username"] == "ada", "the session is kept, too"


@needed
def test_what_was_backed_up_is_there_on_another_host(server: Composition, tmp_path: Path) -> None:
    """With the commands of docker/README.md."""
    backup = re.findall(r"\(umask 077; [^)]+\)", README)
    restore = re.findall(
        r"^      (\S.*\n(?: {10}.*\n)?)", README.partition("* Restore")[2].partition("\n* ")[0], re.MULTILINE
    )
    assert (len(backup), len(restore)) == (2, 6)
    key = docker("exec", server.container("cli-server"), "sha256sum", KEY)
    server.shell("\n".join(backup), tmp_path)
    server.run("down", "--volumes")
    server.shell("".join(restore), tmp_path)
    server.wait()
    server.visitor().login("ada")
    assert docker("exec", server.container("cli-server"), "sha256sum", KEY) == key


@needed
def test_a_sandbox_reaches_the_proxy_and_neither_the_rest_nor_the_database(server: Composition) -> None:
    visitor = server.visitor()
    visitor.login("ada")
    sandbox_id = visitor.running(visitor.api("GET", "/api/workspaces")[0]["id"])
    sandbox = docker("ps", "-q", "--filter", f"label=cli-server.sandbox={sandbox_id}").strip()
    (network,) = inspect(server.container("postgres"))["NetworkSettings"]["Networks"].values()

    def status(path: str) -> str:
        ask = f"curl -s -o /dev/null -w '%{{http_code}}' http://cli-server:{server.port}{path}"
        return docker("exec", sandbox, "sh", "-c", ask, check=False)

    assert status("/proxy/anthropic/v1/models") == "401", "it is there, and wants the sandbox's token"
    assert status("/api/auth/me") == "421"
    socket.create_connection((network["IPAddress"], 5432), 5).close()  # so this host gets there
    reach = f"timeout 2 bash -c '</dev/tcp/{network['IPAddress']}/5432' 2>/dev/null && echo reached || echo not"
    assert docker("exec", sandbox, "sh", "-c", reach) == "not\n"
    told = docker("exec", sandbox, "cat", "/proc/1/environ", "/proc/self/environ", "/etc/hosts", check=False)
    assert server.key not in told
    assert server.password not in told
    visitor.api("DELETE", f"/api/sandboxes/{sandbox_id}")
    assert visitor.wait_for(sandbox_id, "gone") == "gone"
