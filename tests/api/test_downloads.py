"""What this server says of itself, and the agent's files that it hands out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.api import downloads
from daemon.api.downloads import ONE_FILE, Downloads, wheel_name
from daemon.version import version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.api.support import Bench

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files are, as long as there are any."""
    monkeypatch.setattr(downloads, "DOWNLOADS", Downloads(tmp_path / "downloads"))
    return tmp_path / "downloads"


@pytest.fixture
def built(folder: Path) -> Path:
    folder.mkdir()
    for name in (ONE_FILE, wheel_name(), "secret.txt", "cli_server-0.0.1-py3-none-any.whl"):
        (folder / name).write_bytes(f"content of {name}".encode())
    return folder


async def server(bench: Bench) -> Any:
    response = await (await bench.person("ada")).get("/api/server")
    assert response.status_code == 200
    return await response.get_json()


async def test_the_server_says_what_it_is(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(agent_cpu_limit=0.5, agent_memory_limit=1536 << 20, idle_timeout=5400.0)
    assert await server(bench) == {
        "version": version(),
        "backend": "process",
        "limits": {"cpu": "0.5", "memory": "1536Mi", "idleTimeout": "90m"},
        "agent": {"wheel": None, "file": None},
    }
    assert (await bench.client().get("/api/server")).status_code == 401


async def test_only_what_was_built_is_offered(bench: Bench, built: Path) -> None:
    ada = await bench.person("ada")
    names = {"wheel": f"/agent/{wheel_name()}", "file": f"/agent/{ONE_FILE}"}
    assert (await (await ada.get("/api/server")).get_json())["agent"] == names
    for path in names.values():
        assert (await ada.get(path)).status_code == 200
    (built / wheel_name()).unlink()
    assert (await (await ada.get("/api/server")).get_json())["agent"] == names | {"wheel": None}
    assert (await ada.get(names["wheel"])).status_code == 404


@pytest.mark.parametrize("name", [ONE_FILE, wheel_name()])
async def test_anybody_may_download_it(bench: Bench, built: Path, name: str) -> None:
    response = await bench.client().get(f"/agent/{name}")
    assert response.status_code == 200
    assert await response.get_data() == f"content of {name}".encode()
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in response.headers


async def test_who_has_it_asks_whether_it_is_the_same(bench: Bench, built: Path) -> None:
    path = f"/agent/{ONE_FILE}"
    before = (await bench.client().get(path)).headers["etag"]
    again = await bench.client().get(path, headers={"If-None-Match": before})
    assert (again.status_code, await again.get_data()) == (304, b"")
    (built / "new").write_bytes(f"Content of {ONE_FILE}".encode())  # as long as before, and put in its place at once
    (built / "new").replace(built / ONE_FILE)
    anew = await bench.client().get(path, headers={"If-None-Match": before})
    assert (anew.status_code, await anew.get_data()) == (200, f"Content of {ONE_FILE}".encode())
    assert anew.headers["etag"] != before


@pytest.mark.parametrize(
    "name",
    ["", "secret.txt", "cli_server-0.0.1-py3-none-any.whl", "..%2fdownloads%2f" + ONE_FILE, ".", "%2e%2e/secret.key"],
)
async def test_nothing_else_of_the_folder(bench: Bench, built: Path, name: str) -> None:
    response = await bench.client().get(f"/agent/{name}", headers={"Accept": "*/*"})
    assert response.status_code == 404
    assert (await response.get_json(force=True))["code"] == "not_found"


async def test_where_it_was_not_built_people_get_a_page_and_programs_a_problem(bench: Bench) -> None:
    page = await bench.client().get(f"/agent/{ONE_FILE}", headers={"Accept": "text/html"})
    assert (page.status_code, page.mimetype) == (404, "text/html")
    problem = await bench.client().get(f"/agent/{ONE_FILE}", headers={"Accept": "*/*"})
    assert (problem.status_code, problem.mimetype) == (404, "application/problem+json")
