"""What a sandbox gets to know, what it reaches of the machine, and how much of it it can take."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from daemon.db.cluster import PORT as DATABASE_PORT
from tests.support.engine import docker_product, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.engine import DockerProduct
    from tests.support.visitor import Visitor

OPERATOR_KEY: Final = "sk-ant-canary-of-the-operators-key"
PIDS: Final = 128
MEMORY: Final = "512Mi"
CORES: Final = 0.5
# Where the kernel lists processes, the agent's own question among them; it comes by standard input for that reason.
_SEARCH: Final = (
    "cat >/tmp/words; grep -raoF --exclude-dir=proc --exclude-dir=sys --exclude=words -f /tmp/words / 2>/dev/null; "
    "for file in environ cmdline mountinfo mounts status maps; do "
    "grep -aoF -f /tmp/words /proc/[0-9]*/$file 2>/dev/null; done; rm /tmp/words"
)
_STATUS: Final = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5)
try:
    connection.request(sys.argv[4], sys.argv[3], headers={"Host": sys.argv[5]})
    print(connection.getresponse().status)
except OSError as error:
    print(type(error).__name__)
"""
# Takes memory in processes that are each smaller than opencode, so that the kernel ends opencode.
_EAT: Final = """
import os, time
children = []
for _ in range(40):
    if (child := os.fork()) == 0:
        kept = bytearray(os.urandom(1 << 20)) * 40
        time.sleep(60)
    time.sleep(0.1)
time.sleep(60)
"""
_FORK: Final = """
import os, signal, time
children, failure = [], None
try:
    for _ in range(1000):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        children.append(child)
except OSError as error:
    failure = type(error).__name__
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(len(children), failure)
"""
# Works in three processes until the kernel has held them back some times; says so, and what they got of a processor.
_BURN: Final = """
import os, signal, time
def held():
    for path in ("/sys/fs/cgroup/cpu/cpu.stat", "/sys/fs/cgroup/cpu.stat"):
        if os.path.exists(path):
            return int(dict(line.split() for line in open(path))["nr_throttled"])
began, before = time.monotonic(), held()
children = []
for _ in range(3):
    if (child := os.fork()) == 0:
        while True: pass
    children.append(child)
while (held() < before + 10 or time.monotonic() < began + 1) and time.monotonic() < began + 60:
    time.sleep(0.05)
count = held() - before
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
took = time.monotonic() - began
times = os.times()
print(count, (times.children_user + times.children_system) / took)
"""


@dataclass(frozen=True)
class Cell:
    """A sandbox that runs."""

    made: DockerProduct
    visitor: Visitor
    id: str
    workspace: str

    def shell(self, command: str, stdin: str | None = None, *, check: bool = True) -> str:
        return self.made.shell(self.id, command, stdin=stdin, check=check)

    def python(self, program: str, *arguments: str) -> str:
        return self.shell(f"python3 - {' '.join(arguments)}", program).strip()

    def reason(self) -> str:
        return str(self.visitor.api("GET", f"/api/sandboxes/{self.id}")["statusReason"] or "")


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    folder = tmp_path_factory.mktemp("cell")
    with docker_product(folder, ANTHROPIC_API_KEY=OPERATOR_KEY, AGENT_PIDS_LIMIT=str(PIDS)) as made:
        visitor = made.visitor()
        workspace = visitor.register()
        yield Cell(made, visitor, visitor.running(workspace, memory=MEMORY, cpu=str(CORES)), workspace)


def test_no_secret_of_the_server_is_in_it(cell: Cell) -> None:
    """The operator's key, the server's environment, the database's address: nowhere in the processes or the files."""
    made = cell.made
    environment = dict(line.split("=", 1) for line in cell.shell("env").splitlines() if "=" in line)
    assert environment["ANTHROPIC_API_KEY"] in cell.shell(_SEARCH, environment["ANTHROPIC_API_KEY"]), "the search finds"
    run_directory = (made.data_dir / "postgres.socket").read_text().strip()
    secret = (made.data_dir / "secret.key").read_bytes().hex()
    words = [OPERATOR_KEY, "canary-of-the-daemons-environment", str(made.data_dir), run_directory, secret]
    cell.shell("echo canary-of-the-daemons-environment >/run/here")
    assert cell.shell(_SEARCH, "\n".join(words)) == "/run/here:canary-of-the-daemons-environment\n", "and finds no more"
    cell.shell("rm /run/here")
    assert not {"DATABASE_URL", "DATA_DIR", "LISTEN", "DOCKER_HOST", "OPERATOR_CANARY"} & set(environment)


def test_no_way_to_the_engine_or_the_database(cell: Cell) -> None:
    mounts = [line.split()[4] for line in cell.shell("cat /proc/1/mountinfo").splitlines()]
    assert {"/", "/home/agent", "/data/disk0"} <= set(mounts)
    assert not [path for path in mounts if "docker" in path.replace("/sbin/docker-init", "") or "postgres" in path]
    found = cell.shell("find / -xdev -type s 2>/dev/null; find /run /var/run/ /tmp ~ -type s; ls /run", check=False)
    assert "docker" not in found
    assert "PGSQL" not in found
    host = gateway(cell)
    for place in (host, own_address()):
        for port in (DATABASE_PORT, 2375, 2376):
            assert status(cell, place, port, "/") == "ConnectionRefusedError", (place, port)


def gateway(cell: Cell) -> str:
    """This machine, as the sandbox sees it."""
    networks = cell.made.engine.inspect(cell.made.container(cell.id))["NetworkSettings"]["Networks"]
    (found,) = networks.values()
    return str(found["Gateway"])


def own_address() -> str:
    """An address of this machine that is not made for containers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))  # sends nothing; RFC 5737
        return str(sock.getsockname()[0])


def status(cell: Cell, address: str, port: int, path: str, method: str = "GET", host: str | None = None) -> str:
    """Of an answer to a request from inside, or why there is none."""
    return cell.python(_STATUS, address, str(port), path, method, host or f"{address}:{port}")


def test_of_the_server_the_proxy_alone_is_reached(cell: Cell) -> None:
    """Whatever host the request names: the main site and other sandboxes are not there."""
    port = cell.made.port
    for place in ("cli-server", gateway(cell)):
        assert status(cell, place, port, "/proxy/anthropic/v1/models") == "401", "it wants the sandbox's token"
        for path in ("/", "/api/auth/me", "/readyz", "/healthz", "/api/tunnel/abcdefghijklmnop", "/proxy/other"):
            assert status(cell, place, port, path) == "421", path
    for host in (f"localhost:{port}", f"oc-{cell.id}.localhost:{port}", f"3000-{cell.id}.localhost:{port}"):
        assert status(cell, "cli-server", port, "/api/auth/me", host=host) == "421"
    assert status(cell, "cli-server", port, "/api/auth/register", "POST", f"localhost:{port}") == "421"
    assert status(cell, own_address(), port, "/healthz") == "ConnectionRefusedError", "the public port is on loopback"
    assert cell.visitor.request("GET", "localhost", "/healthz").status == 200


def test_it_may_do_nothing_beyond_its_files(cell: Cell) -> None:
    said = dict(line.split(":", 1) for line in cell.shell("cat /proc/self/status /proc/1/status").splitlines())
    said = {name: value.strip() for name, value in said.items()}
    for line in cell.shell("grep -h Cap /proc/self/status /proc/1/status").splitlines():
        assert line.endswith("0000000000000000"), line
    assert (said["NoNewPrivs"], said["Seccomp"]) == ("1", "2")
    assert cell.shell("id -u; id -g; id -G").split() == ["1000", "1000", "1000"]
    for place in ("/", "/usr/bin", "/etc", "/var/lib", "/data", "/root"):
        assert "touched" not in cell.shell(f"touch {place}/x && echo touched", check=False), place
    for place in ("/tmp", "/run", "/home/agent", "/data/disk0"):
        assert cell.shell(f"touch {place}/x && rm {place}/x && echo touched") == "touched\n", place
    for order in ("unshare -r true", "mount -t tmpfs none /tmp", "chown 0 ~", "dmesg", "chroot / true"):
        assert "done" not in cell.shell(f"{order} 2>/dev/null && echo done", check=False), order
    assert "12" in cell.shell("cp /bin/echo /tmp/here && /tmp/here 12"), "what is built in /tmp runs"


def test_processes_are_bounded(cell: Cell) -> None:
    number, failure = cell.python(_FORK).split()
    assert failure == "BlockingIOError", "EAGAIN"
    assert 0 < int(number) < PIDS
    assert cell.visitor.status(cell.id) == "running"
    assert cell.visitor.request("GET", cell.visitor.open(cell.id), "/global/health").status == 200


def test_processors_are_bounded(cell: Cell) -> None:
    held, share = map(float, cell.python(_BURN).split())
    assert held >= 10, "it is the bound that holds them, and not the rest of the machine"
    assert share < CORES * 1.3


def test_memory_is_bounded_and_the_page_says_so(cell: Cell) -> None:
    """The kernel ends opencode; it comes back by itself, and until then the reason is there for people to read."""
    before = cell.made.engine.inspect(cell.made.container(cell.id))["State"]["StartedAt"]
    cell.shell("echo kept >~/marker")
    cell.made.engine.docker("exec", "--detach", cell.made.container(cell.id), "python3", "-c", _EAT)
    until(lambda: "memory" in cell.reason(), 60, lambda: (cell.reason(), cell.made.log[-2000:]))
    assert "512 MiB" in cell.reason()
    cell.visitor.wait_for(cell.id, "running")
    assert cell.made.engine.inspect(cell.made.container(cell.id))["State"]["StartedAt"] != before
    assert cell.shell("cat ~/marker") == "kept\n"
    assert cell.visitor.request("GET", cell.visitor.open(cell.id), "/global/health").json()["healthy"] is True


def test_no_port_is_published(cell: Cell) -> None:
    found = cell.made.engine.inspect(cell.made.container(cell.id))
    assert not any(found["NetworkSettings"]["Ports"].values())
    assert not found["HostConfig"]["PortBindings"]
    assert json.dumps(found["HostConfig"]["Binds"]) in ("null", "[]"), "volumes, no folder of this machine"


@pytest.fixture(scope="module")
def other(cell: Cell) -> Cell:
    """One more of the same workspace, with more memory."""
    return Cell(cell.made, cell.visitor, cell.visitor.running(cell.workspace, memory="1Gi"), cell.workspace)


def test_a_program_that_is_greedier_than_opencode_is_ended_alone(other: Cell) -> None:
    """The kernel takes whoever has most."""
    before = other.made.engine.inspect(other.made.container(other.id))["State"]["StartedAt"]
    assert other.shell("python3 -c 'len(b\"x\" * (1200 << 20))'; echo $?").strip() == "137", "1,200 MiB of 1,024"
    assert other.visitor.request("GET", other.visitor.open(other.id), "/global/health").status == 200
    assert other.made.engine.inspect(other.made.container(other.id))["State"]["StartedAt"] == before


def test_the_password_of_one_is_not_the_others(cell: Cell, other: Cell) -> None:
    """They reach each other."""
    (found,) = cell.made.engine.inspect(cell.made.container(other.id))["NetworkSettings"]["Networks"].values()
    ask = "curl -s -o /dev/null -w '%{http_code}' -u opencode:$OPENCODE_SERVER_PASSWORD"
    assert cell.shell(f"{ask} http://127.0.0.1:4096/global/health") == "200"
    assert cell.shell(f"{ask} http://{found['IPAddress']}:4096/global/health") == "401"
