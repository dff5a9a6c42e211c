"""What exists is not told to whom it does not concern: not by the status, not by the words, and not by the time."""

from __future__ import annotations

import json
import re
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from daemon.ids import new_id
from tests.security.stage import HOSTILE
from tests.support.product import Product, product
from tests.support.rows import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.visitor import Answer, Visitor

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(240)]

# Of two medians. A password's hash takes a hundred times as long as a look into the database: a look that is left out
# shows as a factor far outside of this, a busy machine does not.
_ALIKE: Final = (0.5, 2.0)
_SAMPLES: Final = 7
_SAID_BY_CHANCE: Final = {"date", "content-length"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("enumeration")
    with product(folder, OPENCODE_BIN=str(HOSTILE), REGISTRATION="open") as made:
        yield made


@pytest.fixture(scope="module")
def people(running: Product) -> dict[str, Any]:
    """Ada has a workspace with a sandbox; Mallory has nothing to do with it."""
    ada, mallory = running.visitor(), running.visitor()
    workspace = ada.register("ada")
    box = ada.running(workspace)
    mallory.register("mallory")
    me = ada.api("GET", "/api/auth/me")["id"]
    return {"ada": ada, "mallory": mallory, "workspace": workspace, "box": box, "me": me}


def said(answer: Answer, *ids: str) -> tuple[int, list[tuple[str, str]], str]:
    """An answer without the ids that were asked for, and without what differs from second to second."""
    body = answer.body.decode()
    for one in ids:
        body = body.replace(one, "ID")
    headers = [(name, value) for name, value in answer.headers if name not in _SAID_BY_CHANCE]
    return answer.status, headers, body


ROUTES: tuple[tuple[str, str, dict[str, str] | None], ...] = (
    ("GET", "/api/workspaces/{w}", None),
    ("PATCH", "/api/workspaces/{w}", {"name": "x"}),
    ("DELETE", "/api/workspaces/{w}", None),
    ("GET", "/api/workspaces/{w}/members", None),
    ("POST", "/api/workspaces/{w}/members", {"username": "mallory", "role": "guest"}),
    ("POST", "/api/workspaces/{w}/members", {"username": "nobody", "role": "guest"}),
    ("PUT", "/api/workspaces/{w}/members/{me}", {"role": "guest"}),
    ("DELETE", "/api/workspaces/{w}/members/{me}", None),
    ("GET", "/api/workspaces/{w}/sandboxes", None),
    ("POST", "/api/workspaces/{w}/sandboxes", {}),
    ("POST", "/api/workspaces/{w}/agent-code", None),
    ("GET", "/api/workspaces/{w}/usage", None),
    ("GET", "/api/workspaces/{w}/audit", None),
    ("GET", "/api/workspaces/{w}/invitations", None),
    ("POST", "/api/workspaces/{w}/invitations", {"role": "guest"}),
    ("GET", "/api/sandboxes/{b}", None),
    ("PATCH", "/api/sandboxes/{b}", {"name": "x"}),
    ("DELETE", "/api/sandboxes/{b}", None),
    ("POST", "/api/sandboxes/{b}/pause", None),
    ("POST", "/api/sandboxes/{b}/resume", None),
    ("GET", "/api/sandboxes/{b}/logs", None),
    ("GET", "/api/sandboxes/{b}/usage", None),
    ("GET", "/api/sandboxes/{b}/ports", None),
    ("GET", "/api/sandboxes/{b}/open", None),
)


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
@pytest.mark.parametrize("who", ["mallory", "nobody"])
def test_what_is_not_theirs_is_as_what_is_not(
    running: Product, people: dict[str, Any], who: str, method: str, path: str, body: dict[str, str] | None
) -> None:
    """A non-member gets the same 404 for what exists and for what does not; who is not signed in gets the same 401."""
    visitor: Visitor = people["mallory"] if who == "mallory" else running.visitor()
    answers = []
    for real in (True, False):
        ids = [people["workspace"], people["box"], people["me"]] if real else [new_id(), new_id(), new_id()]
        target = path.format(w=ids[0], b=ids[1], me=ids[2])
        answer = ask(visitor, method, target, body)
        answers.append(said(answer, *ids))
    assert answers[0] == answers[1]
    assert answers[0][0] == (404 if who == "mallory" else 401)


def ask(visitor: Visitor, method: str, target: str, body: object = None) -> Answer:
    """A call of the API, as a program makes it."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "application/json"} | ({} if data is None else {"Content-Type": "application/json"})
    return visitor.request(method, "localhost", target, body=data, headers=headers)


@pytest.mark.parametrize("page", [True, False])
def test_a_sandbox_host_without_a_cookie(running: Product, people: dict[str, Any], page: bool) -> None:
    """Whether there is such a sandbox shows to nobody who may not know."""
    headers = {"Accept": "text/html"} if page else {"Accept": "application/json"}
    answers = []
    for box in (people["box"], new_id()):
        answer = running.visitor().request("GET", f"oc-{box}.localhost", "/x", headers=headers)
        answers.append(
            (answer.status, [(name, value.replace(box, "ID")) for name, value in answer.headers], said(answer, box)[2])
        )
    assert answers[0] == answers[1]


def forget_failures(running: Product) -> None:
    with database(running) as conn:
        conn.execute("DELETE FROM login_failures")


def login(visitor: Visitor, username: str, password: str = "not the right one") -> Answer:
    return ask(visitor, "POST", "/api/auth/login", {"username": username, "password": password})


def until_blocked(running: Product, name: str) -> Answer:
    """The answer to too many guesses; a slow machine may need some more, because blocks begin with a second."""
    for _ in range(20):
        answer = login(running.visitor(), name)
        if answer.status == 429:
            return answer
    raise AssertionError(f"{name} is never blocked")


def test_a_sign_in_says_the_same_of_a_user_and_of_nobody(running: Product, people: dict[str, Any]) -> None:
    forget_failures(running)
    answers = [said(login(running.visitor(), name)) for name in ("ada", "nobody")]
    assert answers[0] == answers[1]
    assert answers[0][0] == 401
    blocked = [until_blocked(running, name) for name in ("ada", "nobody")]
    words = {re.sub(r"\d+", "N", answer.json()["detail"]) for answer in blocked}
    assert len(words) == 1
    forget_failures(running)


def timed(one: Callable[[], object], other: Callable[[], object]) -> float:
    """The ratio of the medians of two acts' times, which take turns, so that what the machine does meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(_SAMPLES):
        for number in (0, 1) if turn % 2 else (1, 0):
            begin = time.perf_counter()
            (one, other)[number]()
            times[number].append(time.perf_counter() - begin)
    return statistics.median(times[0]) / statistics.median(times[1])


def alike(ratio: float) -> bool:
    return _ALIKE[0] < ratio < _ALIKE[1]


@pytest.mark.alone
def test_a_sign_in_takes_as_long_for_nobody_as_for_a_user(running: Product, people: dict[str, Any]) -> None:
    """Lesson: a login for an unknown user was faster than for a known one."""

    def guess(name: str, password: str = "not the right one") -> Callable[[], object]:
        def act() -> None:
            forget_failures(running)
            assert login(running.visitor(), name, password).status == 401

        return act

    assert alike(timed(guess("ada"), guess("nobody")))
    assert alike(timed(guess("ada", "x" * 5000), guess("no such name can exist")))


@pytest.mark.alone
def test_what_is_not_theirs_takes_as_long_as_what_is_not(people: dict[str, Any]) -> None:
    mallory = people["mallory"]

    def look(path: str, real: str) -> float:
        return timed(lambda: ask(mallory, "GET", path.format(real)), lambda: ask(mallory, "GET", path.format(new_id())))

    assert alike(look("/api/workspaces/{}/members", people["workspace"]))
    assert alike(look("/api/sandboxes/{}", people["box"]))


GUESSED = (
    ("POST", "/api/agent/register", "code", 401),
    ("POST", "/api/invitations/look", "token", 404),
)


@pytest.mark.parametrize(("method", "path", "field", "status"), GUESSED)
def test_a_guessed_code_is_as_good_as_a_used_one(
    running: Product, people: dict[str, Any], method: str, path: str, field: str, status: int
) -> None:
    """Wrong, used and expired are one answer."""
    ada = people["ada"]
    if field == "code":
        used = ada.api("POST", f"/api/workspaces/{people['workspace']}/agent-code")["code"]
        assert ask(running.visitor(), method, path, {"code": used}).status == 201
        late = ada.api("POST", f"/api/workspaces/{people['workspace']}/agent-code")["code"]
        with database(running) as conn:
            conn.execute("UPDATE agent_codes SET expires_at = now()")
    else:
        wanted = {"role": "guest"}
        invitations = f"/api/workspaces/{people['workspace']}/invitations"
        made = [ada.api("POST", invitations, wanted) for _ in range(2)]
        used, late = (one["url"].partition("#")[2] for one in made)
        ada.api("DELETE", f"{invitations}/{made[0]['id']}")
        with database(running) as conn:
            conn.execute("UPDATE invitations SET expires_at = now()")
    wrong = used[:-1] + ("A" if used[-1] != "A" else "B")
    answers = [said(ask(running.visitor(), method, path, {field: value})) for value in (used, late, wrong)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == status


def joined(running: Product, people: dict[str, Any]) -> dict[str, str]:
    """A machine: its sandbox and its token."""
    code = people["ada"].api("POST", f"/api/workspaces/{people['workspace']}/agent-code")["code"]
    made: dict[str, str] = ask(running.visitor(), "POST", "/api/agent/register", {"code": code}).json()
    return made


def test_a_tunnel_token_is_good_for_its_sandbox_only(running: Product, people: dict[str, Any]) -> None:
    made = joined(running, people)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip

    def knock(box: str, token: str) -> tuple[int, list[tuple[str, str]], str]:
        headers = {"Authorization": f"Bearer {token}", **upgrade}
        return said(running.visitor().request("GET", "localhost", f"/api/tunnel/{box}", headers=headers), box)

    other = joined(running, people)
    assert knock(made["sandboxId"], "x" * 43) == knock(other["sandboxId"], made["tunnelToken"])
    assert knock(other["sandboxId"], made["tunnelToken"])[0] == 401
    # Agents have to be told that their machine was removed; what is no machine is as what is not.
    assert knock(people["box"], made["tunnelToken"]) == knock(new_id(), made["tunnelToken"])
    assert knock(new_id(), made["tunnelToken"])[0] == 404
