"""The networks of workspaces on a Docker engine, and how the daemon stands to them.

Each workspace has a network of its own: the engine lets no packet pass from one to another. A daemon that runs in a
container of the same engine joins each network under the name by which sandboxes call it; one that runs on the machine
itself is reached at the network's gateway, which is the machine's own address there.
"""

from __future__ import annotations

import re
from functools import partial
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import trio
from docker import APIClient

from backends.base import BackendError, BackendRejected, BackendUnavailable, SandboxGone
from backends.containers import PROXY_NAME, Network, free_subnets, network_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backends.containers import DockerOptions, Names
    from backends.engine import Engine

log = structlog.get_logger(__name__)

_MOUNTS = Path("/proc/self/mountinfo")
# The engine mounts a few files of its own into each container, from a directory with the container's id.
_OWN_FILE = re.compile(r"/containers/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf)\b")
_ATTEMPTS = 32  # subnets that are tried: others on the machine may have routes that the engine knows and does not list


def own_container(mountinfo: str) -> str | None:
    """The id of the container in which this process lives, by its mounts. Pure."""
    found = _OWN_FILE.search(mountinfo)
    return found[1] if found else None


class Networks:
    """Makes, joins and removes them."""

    def __init__(self, engine: Engine, options: DockerOptions, names: Names) -> None:
        self._engine = engine
        self._options = options
        self._names = names
        self._making = trio.Lock()
        self._own: str | None = None  # the daemon's own container on this engine
        self._settled = False
        self._gateways: dict[str, str] = {}  # by network id

    @property
    def daemon_inside(self) -> bool:
        """Whether the daemon is a container of this engine."""
        return self._own is not None

    @property
    def gateways(self) -> frozenset[str]:
        """This machine's addresses at which sandboxes look for the daemon; none if it is inside."""
        return frozenset() if self.daemon_inside else frozenset(self._gateways.values())

    async def settle(self) -> None:
        """Find out where the daemon is, and stand again where it stood before it was started anew."""
        await self._find_own()
        for found in await self._list():
            try:
                await self._stand(_network(found))
            except BackendRejected as error:  # one that somebody has spoilt hinders no other
                log.warning("a workspace's network cannot be used", network=found.get("Name"), reason=str(error))

    async def ensure(self, workspace_id: str) -> Network:
        """The workspace's network, made if it is not there, with the daemon in it or at its gateway."""
        async with self._making:
            await self._find_own()
            found = await self._oldest(workspace_id)
            if found is None:
                await self._make(workspace_id)
                found = await self._oldest(workspace_id)
            if found is None:
                raise BackendUnavailable("the workspace's network vanished while it was made")
        network = _network(found)
        await self._stand(network)
        return network

    async def _oldest(self, workspace_id: str) -> dict[str, Any] | None:
        """The workspace's network. Two daemons that look at once may make two of them: the older one stays."""
        found = await self._list(workspace=workspace_id, egress=self._options.egress)
        found.sort(key=lambda network: (network.get("Created") or "", network["Id"]))
        for other in found[1:]:
            try:
                await self._engine.change(APIClient.remove_network, other["Id"])
            except BackendError as error:  # the other daemon was faster, or somebody is in it
                log.debug("a second network of a workspace stays", network=other["Id"], reason=str(error))
        return found[0] if found else None

    async def remove(self, workspace_id: str) -> None:
        """Remove the workspace's networks. None is success."""
        async with self._making:
            for found in await self._list(workspace=workspace_id):
                await self._leave(found["Id"])
                self._gateways.pop(found["Id"], None)
                try:
                    await self._engine.change(APIClient.remove_network, found["Id"])
                except SandboxGone:
                    continue

    async def _find_own(self) -> None:
        if not self._settled:
            self._own = await self._ask_for_own()
            self._settled = True

    async def _ask_for_own(self) -> str | None:
        try:
            found = own_container(await trio.Path(_MOUNTS).read_text())
        except OSError:  # not Linux
            return None
        if found is None:
            return None
        try:
            about = await self._engine.look(APIClient.inspect_container, found)
        except SandboxGone:  # of another engine: this one's networks are reached as from outside
            log.warning("the daemon runs in a container of another engine", container=found[:12])
            return None
        return None if about["HostConfig"].get("NetworkMode") == "host" else found

    async def _list(self, **wanted: str) -> list[dict[str, Any]]:
        filters = self._names.filters(**wanted)
        found = await self._engine.look(APIClient.networks, filters=filters)
        return [network for network in found if self._names.ours(network.get("Labels"), **wanted)]

    async def _make(self, workspace_id: str) -> None:
        taken = list(subnets(await self._engine.look(APIClient.networks)))
        free = iter(free_subnets(self._options.networks, taken))
        for _ in range(_ATTEMPTS):
            subnet = next(free, None)
            if subnet is None:
                break
            body = network_body(self._options, self._names, workspace_id, subnet)
            try:
                await self._engine.change(APIClient.create_network, **body)
            except BackendError as error:
                if await self._list(workspace=workspace_id, egress=self._options.egress):
                    return  # the answer to our own request was lost
                if "overlap" not in str(error).lower():
                    raise _in_the_way(error, body["name"]) from error
            else:
                return
        raise BackendRejected(
            f"no address range of {self._options.networks} is free for the workspace's network; "
            "the operator can give more by AGENT_NETWORKS"
        )

    async def _stand(self, network: Network) -> None:
        if self._own is None:
            self._gateways[network.id] = network.gateway
            return
        inside = await self._engine.look(APIClient.inspect_network, network.id)
        if self._own in (inside.get("Containers") or {}):
            return
        connect = partial(APIClient.connect_container_to_network, aliases=[PROXY_NAME])
        try:
            await self._engine.change(connect, self._own, network.id)
        except BackendRejected as error:
            if "already exists in network" not in str(error):  # two of us did it at once, or an answer was lost
                raise

    async def _leave(self, network_id: str) -> None:
        if self._own is None:
            return
        try:
            await self._engine.change(APIClient.disconnect_container_from_network, self._own, network_id, force=True)
        except BackendError as error:
            log.debug("not in the network", network=network_id, reason=str(error))


def _network(found: Mapping[str, Any]) -> Network:
    try:
        gateway = found["IPAM"]["Config"][0]["Gateway"]
    except (KeyError, IndexError, TypeError):
        raise BackendRejected(f"the network {found.get('Name')} has no gateway; remove it, it is made anew") from None
    return Network(found["Id"], found["Name"], str(gateway).partition("/")[0])


def subnets(found: list[dict[str, Any]]) -> Iterator[IPv4Network]:
    """The address ranges of ``found``, networks as the engine lists them."""
    for network in found:
        for config in (network.get("IPAM") or {}).get("Config") or []:
            subnet = ip_network(config["Subnet"]) if config.get("Subnet") else None
            if isinstance(subnet, IPv4Network):
                yield subnet


def _in_the_way(error: BackendError, name: str) -> BackendError:
    if "already exists" not in str(error):
        return error
    return BackendRejected(f"a network named {name} is there and is not of this installation; remove or rename it")
