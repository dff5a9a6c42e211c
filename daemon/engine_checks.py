"""The doctor's questions about containers: the engine, what is beside the sandboxes on it, and the daemon in one."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import suppress
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from backends.base import BackendError
from backends.engine import EngineAway
from backends.networks import own_container
from backends.sockets import listeners
from backends.surroundings import look_around
from daemon.doctor import CheckFailed, Context, Finding, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.surroundings import Surroundings
    from daemon.config import Settings

_MOUNTS = Path("/proc/self/mountinfo")
_MOST_PORTS = 12  # in a line that somebody reads


def own_id() -> str | None:
    """The container in which this process lives."""
    return own_container(_MOUNTS.read_text()) if _MOUNTS.exists() else None


def engine_remedy(settings: Settings, error: BackendError) -> str:
    """What to do about an engine that does not answer, by the system's own word for why."""
    path = settings.docker_host.removeprefix("unix://")
    number = error.errno if isinstance(error, EngineAway) else None
    if path == settings.docker_host:
        return f"start what should answer at {path}, or say by DOCKER_HOST where the engine is"
    if number in (errno.EACCES, errno.EPERM):
        return _permission_remedy(path)
    inside = own_id() is not None
    if number == errno.ENOENT:
        if inside:
            return f"mount the engine's socket at {path}; with docker compose, DOCKER_SOCKET in .env says where it is"
        return f"there is no {path}: start the Docker engine, install it, or say by DOCKER_HOST where its socket is"
    if number == errno.ECONNREFUSED:
        if Path(path).is_dir():
            return f"{path} is a folder, made because there was no socket to mount: correct DOCKER_SOCKET in .env"
        if inside:
            return f"nobody listens at {path}: start the Docker engine; if it runs, make this container anew"
        return f"nobody listens at {path}: start the Docker engine (systemctl start docker)"
    return f"see how the Docker engine at {settings.docker_host} is, or say by DOCKER_HOST where another one is"


def _permission_remedy(path: str) -> str:
    """Who may use the socket is its group's business."""
    try:
        about = os.stat(path)
    except OSError:
        return f"let this user into the folders on the way to {path}"
    gid = about.st_gid
    if not about.st_mode & stat.S_IWGRP:
        return f"let the group of {path} (gid {gid}) write to it, and this user be in that group"
    if own_id() is not None:
        return f"the group of {path} has the gid {gid}: set DOCKER_GID={gid} in .env, then docker compose up -d"
    group, user = str(gid), str(os.geteuid())
    with suppress(KeyError):
        group = grp.getgrgid(gid).gr_name
    with suppress(KeyError):
        user = pwd.getpwuid(os.geteuid()).pw_name
    return (
        f"the group of {path} is {group} (gid {gid}): usermod -aG {group} {user}, then sign in anew; "
        f"a systemd service needs SupplementaryGroups={group}"
    )


def examine_containers(settings: Settings) -> Finding:
    """In a thread. The gateway of a workspace's network is this machine, and so is what listens on every address."""
    detail = f"docker, image {settings.agent_image}, egress {settings.agent_egress}"
    if own_id() is not None:
        return warn(
            f"{detail}; a server in a container does not see what listens on this machine, and sandboxes may reach it",
            "on the machine itself, look at ss -ltn: docs/docker.md, What sandboxes reach",
        )
    tables = "".join(
        Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6") if Path(f"/proc/net/{name}").exists()
    )
    reached = {port for address, port in listeners(tables) if address.is_unspecified} - {settings.listen.port}
    if not reached:
        return Finding(detail)
    ports = ", ".join(str(port) for port in sorted(reached)[:_MOST_PORTS])
    return warn(
        f"{detail}; sandboxes reach what listens on every address of this machine: {ports}",
        "let it listen on loopback, or close it to AGENT_NETWORKS: docs/docker.md, What sandboxes reach",
    )


async def check_networks(context: Context) -> Finding:
    """Nobody but sandboxes comes from ``AGENT_NETWORKS``: who does is taken for one."""
    settings = context.settings
    if settings.backend != "docker":
        return Finding("sandboxes of this backend have none of their own")
    try:
        around = await look_around(settings.docker_host, own_id())
    except BackendError as error:
        return warn(f"they were not looked at: {error}", "see the check of the backend")
    return judge_networks(settings, around)


def judge_networks(settings: Settings, around: Surroundings) -> Finding:
    """Pure. Raises :class:`CheckFailed` where the server's own visitors come from there."""
    pool = settings.agent_networks
    taken = {name: found for name, subnets in around.others.items() for found in subnets if found.overlaps(pool)}
    words = ", ".join(f"{name} ({subnet})" for name, subnet in sorted(taken.items()))
    if taken.keys() & (around.own or frozenset()):
        raise CheckFailed(
            f"this server is itself in a network that overlaps AGENT_NETWORKS ({pool}): {words}; whoever comes through "
            "it is taken for a sandbox and gets no page",
            "choose another private range for AGENT_NETWORKS",
        )
    if taken:
        return warn(
            f"networks of others overlap AGENT_NETWORKS ({pool}): {words}; who comes from there is taken for a "
            "sandbox, and there is less room for workspaces",
            "choose another private range for AGENT_NETWORKS, or for those networks",
        )
    if wide := ", ".join(map(str, _proxies_among(settings))):
        return warn(
            f"TRUSTED_PROXIES {wide} has AGENT_NETWORKS ({pool}) in it, from where sandboxes come: there nobody is "
            "believed, nor gets a page",
            "name in TRUSTED_PROXIES the addresses of the proxies only, such as 10.0.0.5/32",
        )
    return Finding(f"AGENT_NETWORKS {pool} overlaps no other network")


def _proxies_among(settings: Settings) -> Iterator[IPv4Network]:
    for network in settings.trusted_proxies:
        if isinstance(network, IPv4Network) and network.overlaps(settings.agent_networks):
            yield network


async def unreachable(settings: Settings) -> Finding | None:
    """A listener on the loopback address of a container, which only the container itself reaches."""
    container = own_id()
    if container is None or not _is_loopback(settings.listen.host):
        return None
    where = f"{settings.listen.host}:{settings.listen.port}"
    around = None
    if settings.backend == "docker":
        with suppress(BackendError):
            around = await look_around(settings.docker_host, container)
    if around is not None and around.on_the_machine:
        return None
    if around is not None and around.own is not None:
        raise CheckFailed(
            f"{where} is this container's own loopback: neither a published port nor a sandbox reaches it",
            f"set LISTEN=:{settings.listen.port}, and publish the port at 127.0.0.1 of the machine",
        )
    return warn(
        f"{where} is this container's own loopback: no published port reaches it, unless it has the machine's network",
        f"set LISTEN=:{settings.listen.port}, and publish the port at 127.0.0.1 of the machine",
    )


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
