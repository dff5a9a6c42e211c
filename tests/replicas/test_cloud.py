"""Sandboxes of a backend that all replicas share: used through any, paused once, and none changes for no reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.backends.fake_image import fake_image
from tests.conftest import require
from tests.replicas.three import Three, three
from tests.support.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.product import Product

pytestmark = [pytest.mark.needs("postgres", "docker"), pytest.mark.timeout(180)]
# More than the five seconds within which a replica writes what it knows of a sandbox's use, and no more than needed.
IDLE: Final = "8s"
SECONDS: Final = 40.0  # dead after 3 s (quick.py), asked for within 5, idle after 8, swept within 2, settled after 1


@pytest.fixture
def team(database_url: str, tmp_path: Path) -> Iterator[Three]:
    """Three replicas on one engine, of which nothing is left there."""
    require("docker")
    env = {"AGENT_IMAGE": fake_image(), "IDLE_TIMEOUT": IDLE, "BUSY_LIMIT": IDLE}  # the fake does not say if it works
    engine = Engine()
    with three(tmp_path / "replicas", database_url, **env) as made:
        ((installation,),) = made.rows("SELECT id FROM installation")
        try:
            yield made
        finally:
            for kind in ("container", "volume", "network"):
                engine.remove(kind, *engine.labelled(kind, installation=installation))


def on_duty(team: Three, name: str) -> Product:
    """The replica that does it for all."""
    ((url,),) = team.rows("SELECT r.url FROM duties d JOIN replicas r ON r.id = d.holder WHERE d.name = %s", name)
    return next(one for one in team.replicas if one.env["REPLICA_URL"] == url)


def all_running(team: Three, boxes: list[str]) -> dict[str, str]:
    """Their hosts, once all of them run. Until then those that do are used, so that none is idle already."""
    visitor, hosts = team.visitor, dict[str, str]()
    deadline = time.monotonic() + visitor.patience
    while len(hosts) < len(boxes):
        assert time.monotonic() < deadline, [(box, visitor.status(box)) for box in boxes]
        for box in boxes:
            if box not in hosts and visitor.status(box) == "running":
                hosts[box] = visitor.open(box)
        for host in hosts.values():
            assert visitor.request("GET", host, "/say?text=x").status == 200
        time.sleep(0.1)
    return hosts


def test_each_idle_sandbox_is_paused_once(team: Three) -> None:
    visitor = team.visitor
    boxes = [visitor.create(team.workspace, name=f"box {number}") for number in range(4)]
    hosts = all_running(team, boxes)
    used, *idle = boxes
    host = hosts[used]
    for replica in team.replicas:
        team.balancer.only = replica.port
        assert visitor.request("GET", host, "/run?command=echo+here").body == b"here\n"
    team.balancer.only = None
    before = {box: team.changes(box) for box in (used, *idle)}
    on_duty(team, "sweeper").kill()

    deadline = time.monotonic() + SECONDS
    while [visitor.status(box) for box in idle] != ["paused"] * len(idle):
        assert time.monotonic() < deadline, team.rows("SELECT id, status, last_activity_at, now() FROM sandboxes")
        assert visitor.request("GET", host, "/say?text=x").status == 200
        time.sleep(0.2)  # somebody works
    assert team.changes(used) == before[used], "it runs, and nobody was told anything else"
    for box in idle:
        said = [kind for _, kind in team.changes(box)[len(before[box]) :]]
        assert said == ["sandbox.updated", "sandbox.updated"], "pausing, and paused"
        query = "SELECT count(*) FROM audit WHERE target_id = %s AND action = 'sandbox.paused'"
        assert team.rows(query, box) == [(1,)]
    visitor.api("POST", f"/api/sandboxes/{idle[0]}/resume")
    visitor.wait_for(idle[0], "running")
    for box in (used, *idle):
        visitor.api("DELETE", f"/api/sandboxes/{box}")
    for box in (used, *idle):
        visitor.wait_for(box, "gone")
