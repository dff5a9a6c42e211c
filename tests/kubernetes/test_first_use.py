"""The product in a cluster, as a person uses it and as a cluster hurts it, with the real opencode."""

from __future__ import annotations

import base64
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.installed import Installed, installed
from tests.support.chromium import chromium
from tests.support.first_steps import PASSWORD, create_and_open, register
from tests.support.opencode_page import OPERATOR_KEY, prompt, stand_in, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.visitor import Visitor

pytestmark = [
    pytest.mark.needs("opencode", "bubblewrap", "root", "postgres", "helm", "nss-wrapper"),
    pytest.mark.timeout(300),
]
PICTURES = "kubernetes"


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[Installed]:
    """An installation of its own."""
    with stand_in() as upstream, installed(tmp_path, database_url, upstream) as running:
        yield running


def until(found: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def usable(visitor: Visitor, sandbox_id: str) -> bool:
    """Whether opencode itself answers through its host."""
    with suppress(ConnectionError):  # a request is cut if its sandbox turns out to be gone while it waits
        answer = visitor.request("GET", visitor.open(sandbox_id), "/global/health")
        return answer.status == 200 and answer.json()["healthy"] is True
    return False


@pytest.mark.needs("chromium", "webui")
def test_a_person_in_the_browser(made: Installed) -> None:
    """An account, a sandbox, a prompt answered word by word, a terminal; after pause and resume it is all there."""
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1200, "height": 760})
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        register(page, made.server.url)
        opencode = create_and_open(page, context)
        visitor = made.server.visitor()
        visitor.login("ada", PASSWORD)
        (workspace,) = visitor.api("GET", "/api/workspaces")
        (sandbox,) = visitor.api("GET", f"/api/workspaces/{workspace['id']}/sandboxes")
        prompt(opencode, "/home/agent/project", PICTURES, made.server.env["ANTHROPIC_BASE_URL"])
        terminal(opencode, made.home(sandbox["id"]) / "project", PICTURES)
        assert errors == []
    visitor.used(workspace["id"], 1)
    visitor.api("POST", f"/api/sandboxes/{sandbox['id']}/pause")
    visitor.wait_for(sandbox["id"], "paused")
    until(lambda: made.pod(sandbox["id"]) is None)
    visitor.api("POST", f"/api/sandboxes/{sandbox['id']}/resume")
    visitor.wait_for(sandbox["id"], "running")
    assert usable(visitor, sandbox["id"])
    assert (made.home(sandbox["id"]) / "project" / "typed").read_text() == "te42rm\n"


def test_what_a_sandbox_holds_and_what_happens_to_it(made: Installed) -> None:
    """No key of the operator is in it; it outlives the daemon; a pod that is lost is said to be, or is made again."""
    visitor = made.server.visitor()
    workspace = visitor.register()
    sandbox = visitor.running(workspace)
    namespace = made.namespace(sandbox)
    pod = made.pod(sandbox)
    assert pod is not None
    kept = list(made.cluster.objects("secrets", namespace))
    inside = str(pod) + "".join(base64.b64decode(value).decode() for one in kept for value in one["data"].values())
    assert "ANTHROPIC" in str(kept)
    for secret in (OPERATOR_KEY, made.server.env["DATABASE_URL"]):
        assert secret not in inside

    made.server.kill()
    made.server.start()
    again = made.pod(sandbox)
    assert again is not None
    assert again["metadata"]["uid"] == pod["metadata"]["uid"], "it ran on"
    assert visitor.status(sandbox) == "running"
    assert usable(visitor, sandbox)

    made.cluster.evict(namespace, f"oc-{sandbox}")
    until(lambda: (now := made.pod(sandbox)) is not None and now["metadata"]["uid"] != pod["metadata"]["uid"])
    # By itself, a moment later: the cluster makes the pod, and the server hears of it.
    until(lambda: visitor.status(sandbox) == "running" and usable(visitor, sandbox))

    visitor.api("DELETE", f"/api/workspaces/{workspace}")
    until(lambda: made.cluster.object("namespaces", "", namespace) is None)
    assert made.cluster.objects("sandboxes", group="agents.x-k8s.io") == []
