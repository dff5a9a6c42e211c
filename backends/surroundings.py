"""What is beside the sandboxes on an engine, and where the daemon is among it: questions of the doctor's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from docker import APIClient

from backends.base import SandboxGone
from backends.containers import LABEL_INSTALLATION
from backends.engine import Engine
from backends.networks import subnets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network

_HOST: Final = "host"  # the engine's name for the machine's own network


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``others``: the networks that are no workspace's, by name. ``own``: those that the daemon's container is in.

    ``own`` is ``None`` if the daemon is no container of this engine.
    """

    others: Mapping[str, tuple[IPv4Network, ...]]
    own: frozenset[str] | None

    @property
    def on_the_machine(self) -> bool:
        """Whether the daemon's container has no network of its own, but the machine's."""
        return self.own is not None and _HOST in self.own


async def look_around(host: str, own_id: str | None) -> Surroundings:
    """Ask the engine at ``host``; ``own_id`` is the container in which this process lives.

    Networks of workspaces are left out, those of other installations too: whoever asks us from there is a sandbox.
    """
    engine = Engine(host)
    found = await engine.look(APIClient.networks)
    others = {
        each["Name"]: tuple(subnets([each])) for each in found if LABEL_INSTALLATION not in (each["Labels"] or {})
    }
    return Surroundings(others, None if own_id is None else await _networks_of(engine, own_id))


async def _networks_of(engine: Engine, container_id: str) -> frozenset[str] | None:
    try:
        about = await engine.look(APIClient.inspect_container, container_id)
    except SandboxGone:  # of another engine
        return None
    return frozenset(about["NetworkSettings"]["Networks"] or {})
