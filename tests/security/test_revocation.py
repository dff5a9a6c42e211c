"""What ends a right ends what lives by it within a second: on the real daemon, with everything open that can be open.

The program in the sandboxes does not end by itself (:mod:`tests.standins.streaming_opencode`), and neither does the one
on the machine that has joined: whatever is cut was cut by the server.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from tests.security.live import PATIENCE, SECONDS, SLACK, Stream, begin, begin_call, begin_socket, begin_upload, cut
from tests.support.machine import Machine, machine
from tests.support.product import ROOT, Product, product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.visitor import Answer, Visitor

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(240)]

PASSWORD = "correct horse battery staple"
OPERATOR_KEY = "sk-ant-operator-key-that-costs-money"
STREAMING = ROOT / "tests/standins/streaming_opencode.py"
MAIN = "localhost"
# Of a token that runs out: times what it took just before to open the same with another one, and seconds beside that.
LIFETIMES: Final = 5
LIFETIME: Final = 4


@contextmanager
def model() -> Iterator[str]:
    """The Messages API in a process of its own, whose answers do not end while anybody waits; its URL."""
    command = [sys.executable, "-m", "tests.standins.anthropic", "--port", "0", "--key", OPERATOR_KEY]
    with subprocess.Popen([*command, "--word-delay", "60"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield child.stdout.readline().strip()
        finally:
            child.terminate()


@contextmanager
def streaming_machine() -> Iterator[int]:
    """The program outside of any sandbox; its port."""
    command = [sys.executable, str(STREAMING), "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline().split()[-1])
        finally:
            child.kill()


@dataclass
class World:
    """A daemon, its admin, and an owner with a workspace in which a sandbox runs and a machine has joined."""

    made: Product
    admin: Visitor
    owner: Visitor
    workspace: str
    cloud: str
    port: int  # of another server inside it
    local: str
    machine_port: int
    laptop: Machine
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1000)))

    def newcomer(self) -> Visitor:
        """Somebody new, who has registered."""
        visitor = self.made.visitor()
        visitor.register(f"person{next(self.numbers)}", PASSWORD)
        return visitor

    def member(self, role: str = "developer") -> Visitor:
        """Somebody new in the workspace."""
        visitor = self.newcomer()
        self.owner.api("POST", f"{self.path}/members", {"username": visitor.username, "role": role})
        return visitor

    @property
    def path(self) -> str:
        """The workspace's."""
        return f"/api/workspaces/{self.workspace}"

    def member_path(self, visitor: Visitor) -> str:
        """A member's."""
        members = self.owner.api("GET", f"{self.path}/members")
        (found,) = (member["userId"] for member in members if member["username"] == visitor.username)
        return f"{self.path}/members/{found}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """What the tests share, because it takes long to start."""
    folder = tmp_path_factory.mktemp("revocation")
    with ExitStack() as stack:
        upstream, machine_port = stack.enter_context(model()), stack.enter_context(streaming_machine())
        made = stack.enter_context(
            product(
                folder, OPENCODE_BIN=str(STREAMING), REGISTRATION="open",
                ANTHROPIC_BASE_URL=upstream, ANTHROPIC_API_KEY=OPERATOR_KEY,
            )
        )  # fmt: skip
        admin, owner = made.visitor(), made.visitor()
        admin.register("admin", PASSWORD)
        workspace = owner.register("owner", PASSWORD)
        cloud = owner.running(workspace)
        laptop = stack.enter_context(machine(folder / "laptop"))
        laptop.port = machine_port
        local = join(made, owner, workspace, laptop)
        port = owner.request("GET", owner.open(cloud), "/listen").json()["port"]
        yield World(made, admin, owner, workspace, cloud, port, local, machine_port, laptop)


def join(made: Product, owner: Visitor, workspace: str, laptop: Machine) -> str:
    """Connect a machine; the id of its sandbox."""
    before = {sandbox["id"] for sandbox in owner.api("GET", f"/api/workspaces/{workspace}/sandboxes")}
    code = owner.api("POST", f"/api/workspaces/{workspace}/agent-code", {})["code"]
    laptop.connect("--server", made.url, "--code", code)
    after = owner.api("GET", f"/api/workspaces/{workspace}/sandboxes")
    (local,) = (sandbox["id"] for sandbox in after if sandbox["id"] not in before)
    owner.wait_for(local, "running")
    return str(local)


@pytest.fixture
def streams() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack


def of_sandbox(visitor: Visitor, sandbox: str, kind: str) -> list[Stream]:
    """Everything that can be open to one sandbox by its own host."""
    return at_host(visitor, visitor.open(sandbox), kind)


def at_host(visitor: Visitor, host: str, kind: str) -> list[Stream]:
    """The same, with the host's cookie at hand."""
    return [
        begin(visitor, f"{kind} events", host, "/events", b"tick"),
        begin(visitor, f"{kind} download", host, "/download", b"xxxx"),
        begin_upload(visitor, f"{kind} upload", host, "/upload"),
        begin_socket(visitor, f"{kind} websocket", host, "/socket"),
    ]


def of_port(visitor: Visitor, sandbox: str, port: int) -> list[Stream]:
    """The same for a server inside it, of which a WebSocket is enough."""
    host = visitor.open(sandbox, f"{port}-{sandbox}")
    return [begin_socket(visitor, "port websocket", host, "/socket")]


def log_of(visitor: Visitor, sandbox: str, **headers: str) -> Stream:
    """A log that is followed."""
    return begin(visitor, "log", MAIN, f"/api/sandboxes/{sandbox}/logs?follow=1", b"streaming on port", **headers)


def events_of(visitor: Visitor) -> Stream:
    """The stream of what happens."""
    return begin(visitor, "api events", MAIN, "/api/events", b"event: ready")


def everything(world: World, visitor: Visitor) -> list[Stream]:
    """All that a developer can have open."""
    return [
        events_of(visitor),
        log_of(visitor, world.cloud),
        *of_sandbox(visitor, world.cloud, "cloud"),
        *of_port(visitor, world.cloud, world.port),
        *of_sandbox(visitor, world.local, "tunnel"),
    ]


def opened(stack: ExitStack, found: list[Stream]) -> list[Stream]:
    """The streams, which ``stack`` closes."""
    for stream in found:
        stack.enter_context(stream.socket)
    return found


def all_live(world: World, bystander: list[Stream]) -> None:
    """Nobody else's streams are touched: each of them says something new."""
    world.owner.request("GET", world.owner.open(world.cloud), "/say?text=still-here")
    world.owner.api("PATCH", world.path, {"name": f"workspace {time.monotonic()}"})
    for stream in bystander:
        if stream.name == "log":
            stream.until(b"still-here")
        elif stream.name == "api events":
            stream.until(b"workspace.updated")
        else:
            stream.drained()
            stream.lives()


# One person's rights. Each act is done by whoever may do it; it returns when it has been answered.


def logout(world: World, victim: Visitor) -> None:
    """The person signs out."""
    victim.api("POST", "/api/auth/logout")


def revoked_elsewhere(world: World, victim: Visitor) -> None:
    """The person ends this session from another browser."""
    (session,) = victim.api("GET", "/api/auth/sessions")
    other = world.made.visitor()
    other.login(victim.username, PASSWORD)
    other.api("DELETE", f"/api/auth/sessions/{session['id']}")


def disabled(world: World, victim: Visitor) -> None:
    """An admin disables the account."""
    user = victim.api("GET", "/api/auth/me")["id"]
    world.admin.api("PATCH", f"/api/admin/users/{user}", {"disabled": True})


def made_guest(world: World, victim: Visitor) -> None:
    """An owner lowers the role."""
    world.owner.api("PUT", world.member_path(victim), {"role": "guest"})


def removed(world: World, victim: Visitor) -> None:
    """An owner ends the membership."""
    world.owner.api("DELETE", world.member_path(victim))


# Who is only no developer any more still hears of what they may see.
PEOPLE: dict[Callable[[World, Visitor], None], tuple[str, ...]] = {
    logout: (),
    revoked_elsewhere: (),
    disabled: (),
    made_guest: ("api events",),
    removed: ("api events",),
}


@pytest.mark.parametrize("act", PEOPLE, ids=lambda act: act.__name__)
def test_what_a_person_has_open_is_cut(world: World, streams: ExitStack, act: Callable[[World, Visitor], None]) -> None:
    """Lesson: logout, role change and member removal left the live streams working."""
    victim = world.member()
    bystander = opened(streams, everything(world, world.owner))
    mine = opened(streams, everything(world, victim))
    jars = deepcopy(victim.cookies)
    act(world, victim)
    since = time.monotonic()
    going_on = [stream for stream in mine if stream.name in PEOPLE[act]]
    times = cut([stream for stream in mine if stream not in going_on], since)
    report(act.__name__, times)
    victim.cookies = jars
    refused(world, victim)
    all_live(world, bystander)
    for stream in going_on:
        (own,) = (found["id"] for found in victim.api("GET", "/api/workspaces") if found["role"] == "owner")
        victim.api("PATCH", f"/api/workspaces/{own}", {"name": "mine"})
        assert renamed(stream, own) == ({own} if act is removed else {own, world.workspace})


def renamed(stream: Stream, last: str) -> set[str]:
    """The workspaces that a stream of events says were renamed, up to ``last``."""
    found: set[str] = set()
    kept = b""
    while last not in found:
        *messages, kept = (kept + stream.sign()).split(b"\n\n")
        for message in messages:
            data = json.loads(message.partition(b"data: ")[2] or b"{}")
            if data.get("type") == "workspace.updated":
                found.add(data["workspaceId"])
    return found


def refused(world: World, visitor: Visitor) -> None:
    """Nothing new begins with the cookies that were good before."""
    hosts = [f"oc-{world.cloud}.{MAIN}", f"{world.port}-{world.cloud}.{MAIN}", f"oc-{world.local}.{MAIN}"]
    for host in hosts:
        assert visitor.cookies[host], "the browser still has its cookie"
        assert visitor.request("GET", host, "/session/status").status in (401, 403), host
    assert visitor.request("GET", MAIN, f"/api/sandboxes/{world.cloud}/logs").status in (401, 403, 404)
    assert visitor.request("GET", MAIN, f"/api/sandboxes/{world.cloud}/open").status in (401, 403, 404)


def report(what: str, times: dict[str, float]) -> None:
    """What was measured, for whoever reads the output: how late the last one was, and which."""
    slowest = max(times, key=times.__getitem__)
    print(f"{what}: {len(times)} cut, the last ({slowest}) after {times[slowest]:.3f} s of {SECONDS * SLACK:g}")


# API tokens. What they have opened lives by them, on sandbox hosts too.

Ends = Callable[["World", dict[str, Any]], float]


def revoked(world: World, token: dict[str, Any]) -> float:
    """Its owner revokes it; since when it is."""
    world.owner.api("DELETE", f"/api/auth/tokens/{token['id']}", expect=(204,))
    return time.monotonic()


def expired(world: World, token: dict[str, Any]) -> float:
    """It runs out by itself; when that is."""
    return time.monotonic() + (datetime.fromisoformat(token["expiresAt"]) - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("act", [revoked, expired], ids=["revoked", "expired"])
def test_what_a_token_has_opened_is_cut(world: World, streams: ExitStack, act: Ends) -> None:
    """With everything that it opened on the hosts of sandboxes; its owner's own browser, and other tokens, go on."""
    bystander = opened(streams, everything(world, world.owner))
    wanted = {"name": "for a script", "scopes": ["read", "open"]}
    other = Script(world, world.owner.api("POST", "/api/auth/tokens", {**wanted, "expiresIn": "1h"}))
    begun = time.monotonic()
    bystander += opened(streams, other.everything())
    lifetime = "1h" if act is revoked else f"{math.ceil(LIFETIME + LIFETIMES * (time.monotonic() - begun))}s"
    token = world.owner.api("POST", "/api/auth/tokens", {**wanted, "expiresIn": lifetime})
    script = Script(world, token)
    mine = opened(streams, script.everything())
    since = act(world, token)
    times = cut(mine, since)
    assert min(times.values()) >= 0, "it was good until then"
    report(f"token {act.__name__}", times)
    assert script.request(MAIN, "/api/events").status == 401
    for host in (f"oc-{world.cloud}.{MAIN}", f"oc-{world.local}.{MAIN}"):
        assert script.request(host, "/session/status").status == 401
    all_live(world, bystander)


@dataclass
class Script:
    """A program with an API token. On sandbox hosts it has their cookies."""

    world: World
    token: dict[str, Any]
    visitor: Visitor = field(init=False)

    def __post_init__(self) -> None:
        self.visitor = self.world.made.visitor()

    @property
    def bearer(self) -> dict[str, str]:
        """What it sends to the main site."""
        return {"Authorization": f"Bearer {self.token['token']}"}

    def request(self, host: str, target: str) -> Answer:
        """What it gets."""
        return self.visitor.request("GET", host, target, headers=self.bearer if host == MAIN else {})

    def enter(self, sandbox: str) -> str:
        """Go to a sandbox's host with a ticket; the host."""
        location = self.request(MAIN, f"/api/sandboxes/{sandbox}/open").header("location")
        ticket, host = urlsplit(location), f"oc-{sandbox}.{MAIN}"
        assert self.request(host, f"{ticket.path}?{ticket.query}").status == 303
        return host

    def everything(self) -> list[Stream]:
        """All that it can have open."""
        cloud, local = self.enter(self.world.cloud), self.enter(self.world.local)
        return [
            begin(self.visitor, "api events", MAIN, "/api/events", b"event: ready", **self.bearer),
            log_of(self.visitor, self.world.cloud, **self.bearer),
            *at_host(self.visitor, cloud, "cloud"),
            *at_host(self.visitor, local, "tunnel"),
        ]


# What happens to a sandbox or a workspace. Its log goes on until its programs have ended: that is what it is for.


@pytest.mark.parametrize("act", ["pause", "delete"])
def test_what_is_open_to_a_sandbox_is_cut_with_it(world: World, streams: ExitStack, act: str) -> None:
    """Its program is deaf to SIGTERM; nobody has to wait until it is killed."""
    sandbox = world.owner.running(world.workspace)
    bystander = opened(streams, everything(world, world.owner))
    port = world.owner.request("GET", world.owner.open(sandbox), "/listen").json()["port"]
    key = world.owner.request("GET", world.owner.open(sandbox), "/key").json()["key"]
    mine = [*of_sandbox(world.owner, sandbox, "cloud"), *of_port(world.owner, sandbox, port)]
    mine.append(call(world, key))
    opened(streams, mine)
    if act == "pause":
        world.owner.api("POST", f"/api/sandboxes/{sandbox}/pause", expect=(202,))
    else:
        world.owner.api("DELETE", f"/api/sandboxes/{sandbox}", expect=(204,))
    since = time.monotonic()
    report(act, cut(mine, since))
    for host in (f"oc-{sandbox}.{MAIN}", f"{port}-{sandbox}.{MAIN}"):
        assert world.owner.request("GET", host, "/session/status").status in (401, 404, 503)
    answer = world.owner.request("GET", MAIN, "/proxy/anthropic/v1/models", headers={"x-api-key": key})
    assert answer.status == 401
    all_live(world, bystander)


def call(world: World, key: str) -> Stream:
    """A call of the model that does not end, made with a sandbox's token from outside of it."""
    question = {"role": "user", "content": "hello"}
    body = {"model": "claude-sonnet-4-5", "max_tokens": 100, "stream": True, "messages": [question]}
    return begin_call(world.owner, "llm call", key, json.dumps(body).encode(), b"200 OK")


def test_calls_of_other_sandboxes_go_on(world: World, streams: ExitStack) -> None:
    """The call of one sandbox is cut with it, and another's is not."""
    other = world.owner.running(world.workspace)
    kept = call(world, world.owner.request("GET", world.owner.open(world.cloud), "/key").json()["key"])
    gone = call(world, world.owner.request("GET", world.owner.open(other), "/key").json()["key"])
    opened(streams, [kept, gone])
    world.owner.api("PATCH", f"/api/sandboxes/{other}", {"name": "a change that ends nothing"})
    kept.drained()
    gone.drained()
    world.owner.api("DELETE", f"/api/sandboxes/{other}", expect=(204,))
    report("llm call", cut([gone], time.monotonic()))
    kept.drained()  # fails if it has ended


def test_a_deleted_workspace_takes_everything_with_it(
    world: World, streams: ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Members, its machine and its log are cut; other workspaces go on, and so do the members' own events."""
    owner, member = world.newcomer(), world.newcomer()
    workspace = owner.api("GET", "/api/workspaces")[0]["id"]
    owner.api("POST", f"/api/workspaces/{workspace}/members", {"username": member.username, "role": "developer"})
    bystander = opened(streams, everything(world, world.owner))
    with machine(tmp_path_factory.mktemp("machines") / "laptop") as laptop:
        laptop.port = world.machine_port
        local = join(world.made, owner, workspace, laptop)
        cloud = owner.running(workspace)
        key = owner.request("GET", owner.open(cloud), "/key").json()["key"]
        events = opened(streams, [events_of(member)])
        mine = [log_of(member, cloud), *of_sandbox(member, cloud, "cloud"), *of_sandbox(member, local, "tunnel")]
        opened(streams, [*mine, call(world, key)])
        owner.api("DELETE", f"/api/workspaces/{workspace}", expect=(204,))
        report("workspace", cut(mine, time.monotonic()))
        assert member.request("GET", f"oc-{cloud}.{MAIN}", "/session/status").status in (401, 404)
        assert member.request("GET", f"oc-{local}.{MAIN}", "/session/status").status in (401, 404)
        assert member.request("GET", MAIN, f"/api/sandboxes/{cloud}").status == 404
        events[0].until(b"workspace.deleted")
        assert_gone(laptop)
    all_live(world, bystander)


def test_a_deleted_machine_is_cut_off(
    world: World, streams: ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its tunnel token is dead, and so is what goes through its tunnel."""
    bystander = opened(streams, everything(world, world.owner))
    with machine(tmp_path_factory.mktemp("machines") / "laptop") as laptop:
        laptop.port = world.machine_port
        local = join(world.made, world.owner, world.workspace, laptop)
        mine = opened(streams, of_sandbox(world.owner, local, "tunnel"))
        world.owner.api("DELETE", f"/api/sandboxes/{local}", expect=(204,))
        report("machine", cut(mine, time.monotonic()))
        assert world.owner.request("GET", f"oc-{local}.{MAIN}", "/session/status").status in (401, 404)
        assert_gone(laptop)
    all_live(world, bystander)


def assert_gone(laptop: Machine) -> None:
    """The agent was told that it is not wanted any more: it has ended by itself."""
    assert laptop.process is not None
    assert laptop.process.wait(PATIENCE) == 1, laptop.said
