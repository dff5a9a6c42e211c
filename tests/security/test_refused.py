"""Who was turned away at the doors that the gateway keeps is in the audit log: bad tickets, wrong tunnel tokens, pages
of other sites on a sandbox's host. On the real daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from tests.security.raw import PROGRAM
from tests.support.product import product
from tests.support.rows import put_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.product import Product
    from tests.support.visitor import Answer, Visitor

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(120)]

WRONG: Final = "wrong-token-that-must-not-be-kept"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, Visitor, str]]:
    """A daemon, its admin, and the admin's workspace."""
    with product(tmp_path_factory.mktemp("refused"), OPENCODE_BIN=str(PROGRAM)) as made:
        visitor = made.visitor()
        yield made, visitor, visitor.register()


def refused(visitor: Visitor, action: str) -> list[dict[str, Any]]:
    """Such entries, the newest first."""
    found: list[dict[str, Any]] = visitor.api("GET", f"/api/admin/audit?action={action}")["entries"]
    assert all(entry["outcome"] == "refused" and entry["ip"] == "127.0.0.1" for entry in found)
    return found


def test_tickets(running: tuple[Product, Visitor, str]) -> None:
    """One that nobody made, and one that was used before. Neither is in the log, nor is a good one."""
    made, visitor, workspace = running
    box = put_sandbox(made, workspace, "box")
    host = f"oc-{box}.{visitor.domain}"
    link = urlsplit(visitor.request("GET", visitor.domain, f"/api/sandboxes/{box}/open").header("location"))
    good = f"{link.path}?{link.query}"
    assert visitor.request("GET", host, good).status == 303
    assert refused(visitor, "ticket.refused") == []
    anybody = made.visitor()
    for target in (good, f"{link.path}?ticket={WRONG}", good):
        assert anybody.request("GET", host, target).status == 403
    (entry,) = refused(visitor, "ticket.refused")
    assert (entry["actor"], entry["target"]["id"], entry["workspaceId"]) == (None, box, workspace)
    assert entry["detail"] == {"reason": "wrong, used or expired"}
    assert visitor.api("GET", f"/api/workspaces/{workspace}/audit?outcome=refused")["entries"] == [entry]


def test_pages_of_other_sites_on_a_sandbox_host(running: tuple[Product, Visitor, str]) -> None:
    made, visitor, workspace = running
    box = put_sandbox(made, workspace, "framed")
    host = f"oc-{box}.{visitor.domain}"
    link = urlsplit(visitor.request("GET", visitor.domain, f"/api/sandboxes/{box}/open").header("location"))
    assert visitor.request("GET", host, f"{link.path}?{link.query}").status == 303
    for _ in range(3):
        answer = visitor.request("POST", host, "/session", headers={"Origin": "http://elsewhere.test"})
        assert answer.status == 403
    (entry,) = refused(visitor, "access.refused")
    assert (entry["actor"]["username"], entry["target"]["id"]) == ("ada", box)
    assert entry["detail"] == {"reason": "a page of another site asked for it"}


def handshake(visitor: Visitor, sandbox_id: str, token: str) -> Answer:
    """What an agent begins with."""
    return visitor.request(
        "GET",
        visitor.domain,
        f"/api/tunnel/{sandbox_id}",
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Authorization": f"Bearer {token}",
        },
    )


def test_tunnel_tokens(running: tuple[Product, Visitor, str]) -> None:
    """A wrong one, again and again; and the right one of somebody who may not connect machines any more."""
    made, visitor, workspace = running
    code = visitor.api("POST", f"/api/workspaces/{workspace}/agent-code")["code"]
    machine = made.visitor().api("POST", "/api/agent/register", {"code": code, "name": "laptop"})
    for _ in range(3):
        assert handshake(made.visitor(), machine["sandboxId"], WRONG).status == 401
    assert handshake(made.visitor(), "a" * 16, WRONG).status == 404
    (entry,) = refused(visitor, "tunnel.refused")
    assert (entry["actor"], entry["target"]["name"], entry["workspaceId"]) == (None, "laptop", workspace)
    assert entry["detail"] == {"reason": "wrong tunnel token"}
    stray = put_sandbox(made, workspace, "stray", type="local", status="offline", tunnel_token_hash=b"x" * 32)
    assert handshake(made.visitor(), stray, WRONG).status == 401
    whole = str(visitor.api("GET", "/api/admin/audit?limit=200"))
    assert WRONG not in whole
    assert machine["tunnelToken"] not in whole
