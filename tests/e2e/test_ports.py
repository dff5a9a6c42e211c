"""Web servers that people start in a sandbox have hosts of their own: {port}-{id}."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.product import ROOT, free_port, product
from tests.support.visitor import PAGE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(120)]

TALKATIVE = ROOT / "tests/standins/hostile_opencode.py"


def test_a_web_server_inside_has_a_host_of_its_own(tmp_path: Path) -> None:
    """What users ask for, 4. What it serves gets neither our cookies nor opencode's password."""
    with product(tmp_path, OPENCODE_BIN=str(TALKATIVE)) as made:
        visitor = made.visitor()
        workspace = visitor.register()
        sandbox = visitor.running(workspace)
        contents = visitor.api("GET", f"/api/workspaces/{workspace}/contents")
        assert (contents["cloudSandboxes"], contents["localSandboxes"]) == (1, 0)
        assert 0 <= contents["diskBytes"] < 1 << 20, "an empty folder, which takes nothing on some file systems"
        port = visitor.request("GET", visitor.open(sandbox), "/listen").json()["port"]
        label = f"{port}-{sandbox}"
        host = f"{label}.localhost"
        listed = visitor.api("GET", f"/api/sandboxes/{sandbox}/ports")
        assert listed == {"ports": [{"port": port, "url": f"http://{host}:{made.port}/"}]}
        assert visitor.request("GET", host, "/dump").status == 401, "the cookie of opencode's host is not for this one"
        assert visitor.request("GET", host, "/dump", headers=PAGE).status == 302
        assert visitor.open(sandbox, label) == host
        seen = visitor.request("GET", host, "/dump").json()
        names = {name.lower(): value for name, value in seen["headers"]}
        assert names["host"] == f"{host}:{made.port}"
        assert "authorization" not in names
        for cookie in visitor.cookies[host].values():
            assert cookie not in json.dumps(seen["headers"])

        silent = visitor.open(sandbox, f"{free_port()}-{sandbox}")
        answer = visitor.request("GET", silent, "/")
        assert (answer.status, answer.json()["code"]) == (502, "port_not_listening")


def test_people_who_may_not_pass_get_a_page_and_programs_a_problem(tmp_path: Path) -> None:
    """Contract, section 4: states are pages for people and problems for programs."""
    with product(tmp_path, OPENCODE_BIN=str(TALKATIVE), REGISTRATION="open") as made:
        owner, guest, stranger = made.visitor(), made.visitor(), made.visitor()
        workspace = owner.register("owner")
        guest.register("guest")
        stranger.register("stranger")
        owner.api("POST", f"/api/workspaces/{workspace}/members", {"username": "guest", "role": "guest"})
        path = f"/api/sandboxes/{owner.create(workspace)}/open"
        for visitor, status, words in ((guest, 403, b"may not open"), (stranger, 404, b"no such sandbox")):
            page = visitor.request("GET", "localhost", path, headers=PAGE)
            assert (page.status, page.header("content-type")) == (status, "text/html; charset=utf-8")
            assert words in page.body
            problem = visitor.request("GET", "localhost", path)
            assert (problem.status, problem.header("content-type")) == (status, "application/problem+json")
