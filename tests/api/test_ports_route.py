"""Which ports are served inside a sandbox, and what a workspace holds: what the backend is asked for on a click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backends.base import BackendUnavailable
from daemon.sandboxes.status import STATUSES
from tests.api.crew import NOWHERE, ROLES, Crew, make_crew
from tests.sandboxes.fakes import Good

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Response

    from tests.api.support import Bench

pytestmark = pytest.mark.needs("postgres")

MAKER = {"owner", "maintainer", "developer"}
DENIED = {"nobody": 401, "stranger": 404, "guest": 403}


class Asked(Good):
    """Serves two ports, and has a disk of a known size."""

    async def ports(self, sandbox_id: str) -> list[int]:
        return [3000, 65535]

    async def disk_bytes(self, workspace_id: str) -> int | None:
        return 4_200_000_000


class Away(Good):
    """Does not answer."""

    async def ports(self, sandbox_id: str) -> list[int]:
        raise BackendUnavailable("the engine does not answer")

    async def disk_bytes(self, workspace_id: str) -> int | None:
        raise BackendUnavailable("the engine does not answer")


class Vast(Good):
    """Has a disk that nobody can measure."""

    async def disk_bytes(self, workspace_id: str) -> int | None:
        return None


@pytest.fixture
async def crew(make_bench: Callable[..., Bench]) -> Crew:
    return await make_crew(make_bench(parts={"backend": Asked()}))


async def body_of(response: Response) -> Any:
    return await response.get_json(force=True)


async def test_ports_and_who_may_see_them(crew: Crew) -> None:
    box = await crew.box()
    for role in (*ROLES, "stranger", "nobody"):
        client = crew.bench.client() if role == "nobody" else crew[role]
        response = await client.get(f"/api/sandboxes/{box}/ports")
        assert response.status_code == (200 if role in MAKER else DENIED[role]), role
        if role in MAKER:
            assert await body_of(response) == {
                "ports": [
                    {"port": 3000, "url": f"http://3000-{box}.localhost:8080/"},
                    {"port": 65535, "url": f"http://65535-{box}.localhost:8080/"},
                ]
            }
    assert (await crew["stranger"].get(f"/api/sandboxes/{NOWHERE}/ports")).status_code == 404


@pytest.mark.parametrize("status", sorted(STATUSES - {"running", "offline"}))
async def test_what_does_not_run_serves_nothing(crew: Crew, status: str) -> None:
    """Rather than an empty list, which would say that somebody looked."""
    response = await crew["developer"].get(f"/api/sandboxes/{await crew.box(status)}/ports")
    said = await body_of(response)
    assert (response.status_code, said["code"]) == (409, "wrong_status")
    assert status in said["detail"]


@pytest.mark.parametrize("status", ["running", "offline"])
async def test_a_machine_s_ports_are_not_carried(crew: Crew, status: str) -> None:
    response = await crew["developer"].get(f"/api/sandboxes/{await crew.box(status, 'local')}/ports")
    assert (response.status_code, (await body_of(response))["code"]) == (409, "local_sandbox")


async def test_a_backend_that_does_not_answer_about_ports(make_bench: Callable[..., Bench]) -> None:
    crew = await make_crew(make_bench(parts={"backend": Away()}))
    response = await crew["developer"].get(f"/api/sandboxes/{await crew.box()}/ports")
    said = await body_of(response)
    assert (response.status_code, said["code"]) == (503, "backend_unavailable")
    assert "engine" not in said["detail"]


async def contents(crew: Crew, role: str = "guest") -> Any:
    response = await crew[role].get(f"{crew.path}/contents")
    assert response.status_code == 200
    return await body_of(response)


async def test_contents_and_who_may_see_them(crew: Crew) -> None:
    assert await contents(crew) == {"cloudSandboxes": 0, "localSandboxes": 0, "diskBytes": 4_200_000_000}
    for status in ("creating", "running", "paused", "failed", "deleting"):
        await crew.box(status)
    await crew.box("offline", "local")
    other = await body_of(await crew["owner"].post("/api/workspaces", {"name": "other"}))
    await crew.box(workspace_id=other["id"])
    for role in ROLES:
        assert await contents(crew, role) == {"cloudSandboxes": 4, "localSandboxes": 1, "diskBytes": 4_200_000_000}
    assert (await crew["stranger"].get(f"{crew.path}/contents")).status_code == 404
    assert (await crew["stranger"].get(f"/api/workspaces/{NOWHERE}/contents")).status_code == 404
    assert (await crew.bench.client().get(f"{crew.path}/contents")).status_code == 401


@pytest.mark.parametrize("backend", [Away, Vast])
async def test_a_disk_whose_size_cannot_be_told(make_bench: Callable[..., Bench], backend: type[Good]) -> None:
    """The rest is told all the same."""
    crew = await make_crew(make_bench(parts={"backend": backend()}))
    await crew.box()
    assert await contents(crew) == {"cloudSandboxes": 1, "localSandboxes": 0, "diskBytes": None}
