"""What a sandbox is to a Docker engine: names, labels, and the bodies of requests. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backends.base import SandboxSpec

LABEL_INSTALLATION: Final = "cli-server.installation"
LABEL_WORKSPACE: Final = "cli-server.workspace"
LABEL_SANDBOX: Final = "cli-server.sandbox"
LABEL_SPEC: Final = "cli-server.spec"
LABEL_EGRESS: Final = "cli-server.egress"

OPENCODE_PORT: Final = 4096  # opencode's own default; inside a container nobody else has it
USER: Final = "1000:1000"  # agent, in the image; whatever the image says, it is not root
HOME: Final = "/home/agent"
DISK: Final = "/data/disk0"
PROXY_NAME: Final = "cli-server"  # what sandboxes call the daemon

Egress = Literal["open", "proxy"]

# 61 addresses: the gateway has one, a daemon in a container another, the rest are sandboxes that run at once.
NETWORK_PREFIX: Final = 26
_TMP_SHARE: Final = 4  # /tmp is memory of the sandbox: at most a quarter of it, or a build there would end it
_RUN_BYTES: Final = 16 * 2**20  # for sockets and pid files
_OOM_SCORE: Final = 500  # when memory runs out, the kernel takes a sandbox before the daemon and its database
_CPU_WEIGHT: Final = 512  # half of what containers have by default: the daemon's own goes first
# Two files of a mebibyte each: a long day of opencode's output.
_LOGGING: Final = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
_NANO: Final = 1_000_000_000
# Room for 1,024 workspaces, in a part of 10.0.0.0/8 that is seldom used. The engine's own pool ends after 31.
_NETWORKS: Final = IPv4Network("10.213.0.0/16")


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """How sandboxes are run on an engine. ``networks`` is cut into one network of 2^6 addresses for each workspace.

    ``egress``: "open", or "proxy" for networks from which only this server can be reached. ``runtime``: the
    engine's default if ``None``, else for example ``runsc``.
    """

    image: str
    host: str = "unix:///var/run/docker.sock"
    egress: Egress = "open"
    runtime: str | None = None
    networks: IPv4Network = _NETWORKS


@dataclass(frozen=True, slots=True)
class Network:
    """A workspace's network on the engine. ``gateway`` is the machine's own address in it."""

    id: str
    name: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Names:
    """The names of everything that belongs to ``installation``."""

    installation: str

    def container(self, workspace_id: str, sandbox_id: str) -> str:
        """A sandbox's container."""
        return f"cli-server-{self.installation}-{workspace_id}-{sandbox_id}"

    def home(self, sandbox_id: str) -> str:
        """The volume with a sandbox's home."""
        return f"cli-server-{self.installation}-home-{sandbox_id}"

    def disk(self, workspace_id: str) -> str:
        """The volume with a workspace's disk."""
        return f"cli-server-{self.installation}-disk-{workspace_id}"

    def network(self, workspace_id: str, egress: Egress) -> str:
        """A workspace's network; one of each kind, because a network cannot change its kind while it is used."""
        return f"cli-server-{self.installation}-{workspace_id}{'' if egress == 'open' else '-proxy'}"

    def labels(self, workspace_id: str, sandbox_id: str | None = None) -> dict[str, str]:
        """What everything of ours carries."""
        found = {LABEL_INSTALLATION: self.installation, LABEL_WORKSPACE: workspace_id}
        return found if sandbox_id is None else {**found, LABEL_SANDBOX: sandbox_id}

    def ours(self, labels: Mapping[str, str] | None, **wanted: str) -> bool:
        """Whether ``labels`` are this installation's and say what is ``wanted``: ``workspace=``, ``sandbox=``."""
        labels = labels or {}
        return labels.get(LABEL_INSTALLATION) == self.installation and all(
            labels.get(f"cli-server.{name}") == value for name, value in wanted.items()
        )

    def filters(self, **wanted: str) -> dict[str, list[str]]:
        """The engine's filter for what is ours."""
        pairs = [f"{LABEL_INSTALLATION}={self.installation}"]
        return {"label": pairs + [f"cli-server.{name}={value}" for name, value in wanted.items()]}


def fingerprint(body: Mapping[str, Any]) -> str:
    """Tells one way of making a container from another; one that was made another way is made anew."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def container_body(
    spec: SandboxSpec,
    options: DockerOptions,
    names: Names,
    network: Network,
    *,
    cores: int,
    daemon_inside: bool,
) -> dict[str, Any]:
    """The body of ``POST /containers/create``, with its own fingerprint among the labels.

    ``cores``: what the engine has; it refuses to promise more. ``daemon_inside``: the daemon is in the network itself
    and found by its name there; otherwise it is at the gateway.
    """
    body = {
        "Image": options.image,
        "Cmd": ["opencode", "serve", "--hostname", "0.0.0.0", "--port", str(OPENCODE_PORT)],
        "Env": [f"{name}={value}" for name, value in sorted(spec.env.items())],
        "User": USER,
        "WorkingDir": HOME,
        "Hostname": "sandbox",
        "StopSignal": "SIGTERM",
        "HostConfig": {
            **_confinement(),
            **_bounds(spec, cores),
            **({} if options.runtime is None else {"Runtime": options.runtime}),
            "Mounts": [
                {"Type": "volume", "Source": names.home(spec.id), "Target": HOME},
                {"Type": "volume", "Source": names.disk(spec.workspace_id), "Target": DISK},
            ],
            "NetworkMode": network.name,
            "ExtraHosts": [] if daemon_inside else [f"{PROXY_NAME}:{network.gateway}"],
            **_names_outside(options.egress),
            # The daemon decides when a sandbox runs, and knows why it ended.
            "RestartPolicy": {"Name": "no"},
            "LogConfig": _LOGGING,
        },
        "NetworkingConfig": {"EndpointsConfig": {network.name: {}}},
    }
    return {**body, "Labels": {**names.labels(spec.workspace_id, spec.id), LABEL_SPEC: fingerprint(body)}}


def _confinement() -> dict[str, Any]:
    """What no sandbox may do."""
    return {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],  # the engine's seccomp profile stays, as nothing else is said
        "Privileged": False,
        "IpcMode": "private",
        "PublishAllPorts": False,
        "Init": True,  # opencode ignores SIGTERM as process 1
    }


def _names_outside(egress: Egress) -> dict[str, Any]:
    """The engine's resolver passes questions on even from a network without a way out: to where nobody answers.

    A program that asks shall know it after a second; by default it waits for ten.
    """
    return {"Dns": []} if egress == "open" else {"Dns": ["127.0.0.1"], "DnsOptions": ["timeout:1", "attempts:1"]}


def _bounds(spec: SandboxSpec, cores: int) -> dict[str, Any]:
    tmp = spec.limits.memory // _TMP_SHARE
    return {
        "Memory": spec.limits.memory,
        "MemorySwap": spec.limits.memory,  # together with swap, hence none
        "NanoCpus": round(min(spec.limits.cpu, cores) * _NANO),
        "CpuShares": _CPU_WEIGHT,
        "PidsLimit": spec.limits.pids,
        "OomScoreAdj": _OOM_SCORE,
        # Of open files the engine's own bound stays: it may not be allowed to raise it.
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
        "Tmpfs": {
            "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={tmp}",  # compilers run what they make there
            # runc gives it the mode that the directory has in the image, whatever is said here, but leaves the owner.
            "/run": f"rw,noexec,nosuid,nodev,uid=1000,gid=1000,mode=0755,size={_RUN_BYTES}",
        },
    }


def measuring_body(options: DockerOptions, names: Names, workspace_id: str, seconds: float) -> dict[str, Any]:
    """A container that writes how many bytes the workspace's disk takes, and ends.

    Its labels name no sandbox, so nobody takes it for one; whatever labels the image has of its own.
    """
    return {
        "Image": options.image,
        "Entrypoint": ["timeout", f"{seconds:g}", "du", "--summarize", "--block-size=1", "--one-file-system", DISK],
        "Cmd": [],
        "User": USER,
        "Labels": {**names.labels(workspace_id), LABEL_SANDBOX: "", LABEL_SPEC: ""},
        "HostConfig": {
            **_confinement(),
            "Memory": 128 * 2**20,
            "PidsLimit": 16,
            "NetworkMode": "none",
            "Mounts": [{"Type": "volume", "Source": names.disk(workspace_id), "Target": DISK, "ReadOnly": True}],
            "LogConfig": _LOGGING,
        },
    }


def network_body(options: DockerOptions, names: Names, workspace_id: str, subnet: IPv4Network) -> dict[str, Any]:
    """The arguments of docker-py's ``create_network``."""
    gateway = str(subnet.network_address + 1)
    return {
        "name": names.network(workspace_id, options.egress),
        "driver": "bridge",
        "ipam": {"Driver": "default", "Config": [{"Subnet": str(subnet), "Gateway": gateway}]},
        "check_duplicate": True,
        "internal": options.egress == "proxy",
        "labels": {**names.labels(workspace_id), LABEL_EGRESS: options.egress},
    }


def free_subnets(pool: IPv4Network, taken: Iterable[IPv4Network]) -> Iterable[IPv4Network]:
    """The networks of the pool that nobody on this engine has, in order."""
    known = [network for network in taken if network.overlaps(pool)]
    for subnet in pool.subnets(new_prefix=max(NETWORK_PREFIX, pool.prefixlen)):
        if not any(subnet.overlaps(network) for network in known):
            yield subnet
