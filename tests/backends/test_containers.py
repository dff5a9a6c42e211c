"""What the engine is asked for, whole. Lesson: the operator's key in the container, all tenants on one bridge."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest

from backends.base import BackendRejected, BackendUnavailable, SandboxGone
from backends.containerports import served
from backends.containers import (
    DockerOptions,
    Names,
    Network,
    container_body,
    fingerprint,
    free_subnets,
    measuring_body,
    network_body,
)
from backends.engine import Conflict, from_answer
from backends.images import Layers
from backends.networks import own_container
from tests.backends.support import spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.base import SandboxSpec

A, W = "a" * 16, "w" * 16
NAMES = Names("i" * 16)
OPTIONS = DockerOptions(image="image:tag")
NETWORK = Network("n1", NAMES.network(W, "open"), "10.213.0.1")
LABELS = {"cli-server.installation": "i" * 16, "cli-server.workspace": W}


def spec_of(body: Mapping[str, Any]) -> str:
    """The fingerprint that a container carries, which is that of everything but its labels."""
    assert body["Labels"]["cli-server.spec"] == fingerprint({k: v for k, v in body.items() if k != "Labels"})
    return str(body["Labels"]["cli-server.spec"])


def test_a_sandbox_s_container() -> None:
    given = spec(A)
    body = container_body(given, OPTIONS, NAMES, NETWORK, cores=8, daemon_inside=False)
    assert body == {
        "Image": "image:tag",
        "Cmd": ["opencode", "serve", "--hostname", "0.0.0.0", "--port", "4096"],
        "Env": sorted(f"{name}={value}" for name, value in given.env.items()),
        "User": "1000:1000",
        "WorkingDir": "/home/agent",
        "Hostname": "sandbox",
        "StopSignal": "SIGTERM",
        "Labels": {**LABELS, "cli-server.sandbox": A, "cli-server.spec": spec_of(body)},
        "HostConfig": {
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Privileged": False,
            "IpcMode": "private",
            "PublishAllPorts": False,
            "Init": True,
            "Memory": 2 << 30,
            "MemorySwap": 2 << 30,
            "NanoCpus": 2_000_000_000,
            "CpuShares": 512,
            "PidsLimit": 512,
            "OomScoreAdj": 500,
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
            "Tmpfs": {
                "/tmp": "rw,exec,nosuid,nodev,mode=1777,size=536870912",
                "/run": "rw,noexec,nosuid,nodev,uid=1000,gid=1000,mode=0755,size=16777216",
            },
            "Mounts": [
                {"Type": "volume", "Source": f"cli-server-{'i' * 16}-home-{A}", "Target": "/home/agent"},
                {"Type": "volume", "Source": f"cli-server-{'i' * 16}-disk-{W}", "Target": "/data/disk0"},
            ],
            "NetworkMode": f"cli-server-{'i' * 16}-{W}",
            "ExtraHosts": ["cli-server:10.213.0.1"],
            "Dns": [],
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
        },
        "NetworkingConfig": {"EndpointsConfig": {f"cli-server-{'i' * 16}-{W}": {}}},
    }


def test_what_the_operator_chooses() -> None:
    options = DockerOptions(image="image", egress="proxy", runtime="runsc")
    body = container_body(spec(A), options, NAMES, NETWORK, cores=1, daemon_inside=True)["HostConfig"]
    assert body["Runtime"] == "runsc"
    assert body["NanoCpus"] == 1_000_000_000, "the engine refuses to promise more than it has"
    assert body["ExtraHosts"] == [], "the name is the daemon's own in the network"
    assert body["Dns"] == ["127.0.0.1"], "the engine's resolver would be a way out"
    assert body["DnsOptions"] == ["timeout:1", "attempts:1"], "who asks waits for ten seconds otherwise"


def test_a_fingerprint_tells_one_container_from_another() -> None:
    """Whatever it is in which they differ: what is tightened later must reach the ones that are there."""

    def made(
        given: SandboxSpec | None = None, options: DockerOptions = OPTIONS, cores: int = 8, inside: bool = False
    ) -> str:
        return spec_of(container_body(given or spec(A), options, NAMES, NETWORK, cores=cores, daemon_inside=inside))

    assert made() == made()
    others = [
        made(spec(A, password="other")),
        made(spec(A, MORE="1")),
        made(options=DockerOptions(image="image:tag", egress="proxy")),
        made(options=DockerOptions(image="image:tag", runtime="runsc")),
        made(cores=1),
        made(inside=True),
    ]
    assert len({made(), *others}) == 7
    assert "password" not in made()


def test_a_workspace_s_network() -> None:
    assert network_body(OPTIONS, NAMES, W, IPv4Network("10.213.0.64/26")) == {
        "name": f"cli-server-{'i' * 16}-{W}",
        "driver": "bridge",
        "ipam": {"Driver": "default", "Config": [{"Subnet": "10.213.0.64/26", "Gateway": "10.213.0.65"}]},
        "check_duplicate": True,
        "internal": False,
        "labels": {**LABELS, "cli-server.egress": "open"},
    }
    closed = network_body(DockerOptions(image="image", egress="proxy"), NAMES, W, IPv4Network("10.213.0.0/26"))
    assert (closed["internal"], closed["name"]) == (True, f"cli-server-{'i' * 16}-{W}-proxy")


def test_the_container_that_measures_a_disk_may_do_nothing_else() -> None:
    body = measuring_body(OPTIONS, NAMES, W, 3)
    assert body["Labels"] == {**LABELS, "cli-server.sandbox": "", "cli-server.spec": ""}, (
        "also where its image has some"
    )
    assert body["HostConfig"]["NetworkMode"] == "none"
    assert body["HostConfig"]["Mounts"][0]["ReadOnly"] is True
    assert body["User"] == "1000:1000"


def test_subnets_that_nobody_has() -> None:
    pool = IPv4Network("10.213.0.0/24")
    taken = [IPv4Network("10.213.0.64/26"), IPv4Network("192.168.0.0/16"), IPv4Network("10.213.0.200/32")]
    assert [str(subnet) for subnet in free_subnets(pool, taken)] == ["10.213.0.0/26", "10.213.0.128/26"]
    assert not list(free_subnets(pool, [IPv4Network("10.0.0.0/8")]))
    assert len(list(free_subnets(IPv4Network("10.213.0.0/16"), []))) == 1024


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        ({**LABELS, "cli-server.sandbox": A}, True),
        ({**LABELS, "cli-server.sandbox": "b" * 16}, False),
        ({**LABELS, "cli-server.installation": "j" * 16, "cli-server.sandbox": A}, False),
        ({"cli-server.sandbox": A}, False),
        ({}, False),
        (None, False),
    ],
)
def test_only_our_label_makes_it_ours(labels: dict[str, str] | None, ours: bool) -> None:
    assert NAMES.ours(labels, sandbox=A) is ours


@pytest.mark.parametrize(
    ("status", "text", "kind", "words"),
    [
        (404, "No such container: x", SandboxGone, "No such container"),
        (409, "Conflict. The name is already in use", Conflict, "already in use"),
        (400, "bad parameter", BackendRejected, "refuses: bad parameter"),
        (400, "network x is ambiguous (2 matches found on name)", Conflict, "ambiguous"),
        (403, "forbidden", BackendRejected, "does not allow it"),
        (500, "write /var/lib/docker/x: no space left on device", BackendUnavailable, "disk is full"),
        (500, "no available IPv4 addresses on this network's address pools: x", BackendRejected, "AGENT_NETWORKS"),
        (500, "something\nelse", BackendUnavailable, "failed: something else"),
        (503, "", BackendUnavailable, "failed"),
    ],
)
def test_the_engine_s_answers_in_our_words(status: int, text: str, kind: type[Exception], words: str) -> None:
    error = from_answer(status, text)
    assert type(error) is kind
    assert words in str(error)


TABLES = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00007F:A2B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:1000 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 100 0 0 10 0
   2: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 3 1 0 100 0 0 10 0
   3: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4 1 0 100 0 0 10 0
   4: 0200D50A:1F90 0100D50A:C350 01 00000000:00000000 00:00000000 00000000  1000        0 5 1 0 100 0 0 10 0
   5: 0100007F:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 6 1 0 100 0 0 10 0
   6: 0200D50A:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 7 1 0 100 0 0 10 0
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
"""


def test_ports_that_are_served() -> None:
    """Not opencode's own, not what only the container reaches, not those below 1024, not connections."""
    assert served(TABLES, 4096) == [3001, 8081]
    assert served("", 4096) == []
    assert served("cat: /proc/net/tcp6: No such file or directory\n", 4096) == []


def test_in_which_container_we_are() -> None:
    id_ = "0123456789abcdef" * 4
    inside = (
        "700 600 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/X\n"
        f"720 700 254:0 /var/lib/docker/containers/{id_}/hostname /etc/hostname rw - ext4 /dev/vda rw\n"
    )
    assert own_container(inside) == id_
    assert own_container("22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n") is None
    pod = "22 1 254:0 /var/lib/kubelet/pods/0a/etc-hosts /etc/hosts rw - ext4 /dev/vda rw\n"
    assert own_container(pod) is None


def test_the_progress_of_a_pull_in_words() -> None:
    layers = Layers()
    assert layers.words() == ""
    for message in (
        {"status": "Pulling from library/x", "id": "latest"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 5 << 20, "total": 10 << 20}},
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 0, "total": 30 << 20}},
        {"status": "Downloading", "id": "c", "progressDetail": {}},
        {"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 2}},
    ):
        layers.hear(message)
    assert layers.words() == ": 5 of 40 MiB"
    layers.hear({"status": "Download complete", "id": "a"})
    assert layers.words() == ": 10 of 40 MiB"
