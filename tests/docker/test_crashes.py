"""The daemon killed with -9 in every status, containers removed by hand, the image gone: right status, nothing lost.

Nothing of somebody else is touched, whatever it is called.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from backends.containers import LABEL_INSTALLATION, LABEL_SANDBOX, LABEL_WORKSPACE
from daemon.ids import new_id
from tests.support.engine import IMAGE, DockerProduct, Engine, docker_product, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.visitor import Visitor

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """A name of its own for the sandbox's image, which a test may take away."""
    name = f"cli-server-tests-crashes:{new_id()}"
    Engine().docker("tag", IMAGE, name)
    yield name
    Engine().docker("rmi", name, check=False)


@pytest.fixture(scope="module")
def made(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerProduct]:
    """One daemon for all tests. Each leaves it running."""
    with docker_product(tmp_path_factory.mktemp("crashes"), AGENT_IMAGE=image, REGISTRATION="open") as made:
        yield made


@pytest.fixture
def visitor(made: DockerProduct) -> Visitor:
    """Somebody with a workspace of their own."""
    visitor = made.visitor()
    visitor.register(f"ada{next(_numbers)}")
    return visitor


def workspace_of(visitor: Visitor) -> str:
    return str(visitor.api("GET", "/api/workspaces")[0]["id"])


def usable(visitor: Visitor, sandbox_id: str) -> bool:
    """Whether opencode itself answers through its host."""
    answer = visitor.request("GET", visitor.open(sandbox_id), "/global/health")
    return answer.status == 200 and answer.json()["healthy"] is True


def started(made: DockerProduct, sandbox_id: str) -> tuple[str, str]:
    """Which container, and since when it runs."""
    found = made.engine.inspect(made.container(sandbox_id))
    return found["Id"], found["State"]["StartedAt"]


def make_stubborn(made: DockerProduct, sandbox_id: str) -> None:
    """opencode that is stopped does not hear SIGTERM: ending it takes the whole grace."""
    made.shell(sandbox_id, "kill -STOP $(pgrep -o opencode)")


def test_killed_in_every_status(made: DockerProduct, visitor: Visitor) -> None:
    workspace = workspace_of(visitor)
    names = ("running", "paused", "pausing", "resuming", "deleting")
    before = {name: visitor.create(workspace, name=name) for name in names}
    for sandbox in before.values():
        visitor.wait_for(sandbox, "running")
        made.shell(sandbox, "echo kept >~/marker")
    for name in ("paused", "resuming"):
        visitor.api("POST", f"/api/sandboxes/{before[name]}/pause")
    for name in ("paused", "resuming"):
        visitor.wait_for(before[name], "paused")
    for name in ("pausing", "deleting"):
        make_stubborn(made, before[name])
    running = started(made, before["running"])

    # First what takes long to come about: the others are only asked for, and are under way at once.
    half = visitor.create(workspace, name="half made")
    until(lambda: bool(made.containers(half)), 60, lambda: made.log[-2000:])
    visitor.api("POST", f"/api/sandboxes/{before['pausing']}/pause")
    visitor.api("DELETE", f"/api/sandboxes/{before['deleting']}")
    visitor.api("POST", f"/api/sandboxes/{before['resuming']}/resume")
    fresh = visitor.create(workspace, name="not begun")
    found = {name: visitor.status(sandbox) for name, sandbox in before.items()}
    assert found == {name: name for name in names}, "each is in the middle"
    assert [visitor.status(half), visitor.status(fresh)] == ["creating", "creating"]
    made.kill()
    assert started(made, before["running"]) == running, "who works in one does not notice"
    made.start()
    assert usable(visitor, before["running"])
    assert visitor.status(before["paused"]) == "paused"
    for sandbox in (half, fresh, before["resuming"]):
        visitor.wait_for(sandbox, "running")  # after half a minute, when the dead daemon's lease has run out
        assert usable(visitor, sandbox)
    visitor.wait_for(before["pausing"], "paused")
    visitor.wait_for(before["deleting"], "gone")
    assert started(made, before["running"]) == running
    everything = {*before.values(), half, fresh} - {before["deleting"]}
    for sandbox in everything:
        assert len(made.containers(sandbox)) == 1
        assert made.home(sandbox)
    assert made.containers(before["deleting"]) == []
    assert not made.home(before["deleting"])
    for name in ("paused", "pausing"):
        assert not made.engine.inspect(made.container(before[name]))["State"]["Running"]
        visitor.api("POST", f"/api/sandboxes/{before[name]}/resume")
    for name in ("running", "resuming", "paused", "pausing"):
        visitor.wait_for(before[name], "running")
        assert made.shell(before[name], "cat ~/marker") == "kept\n"
        assert usable(visitor, before[name])


def test_the_server_ended_as_it_should_be_leaves_sandboxes_running(made: DockerProduct, visitor: Visitor) -> None:
    sandbox = visitor.running(workspace_of(visitor))
    before = started(made, sandbox)
    assert made.stop() == 0
    assert started(made, sandbox) == before
    made.start()
    assert visitor.status(sandbox) == "running"
    assert usable(visitor, sandbox)
    assert started(made, sandbox) == before


def test_a_container_that_somebody_removed(made: DockerProduct, visitor: Visitor) -> None:
    """While it runs it comes back by itself, while it is paused with the next resume: with home, disk and password."""
    sandbox = visitor.running(workspace_of(visitor))
    made.shell(sandbox, "echo kept >~/marker; echo kept >/data/disk0/marker")
    password = made.shell(sandbox, "echo $OPENCODE_SERVER_PASSWORD")
    first = made.container(sandbox)
    made.engine.docker("rm", "-f", first)
    until(lambda: made.containers(sandbox) not in ([], [first]), 60, lambda: made.log[-2000:])
    visitor.wait_for(sandbox, "running")
    assert usable(visitor, sandbox)

    visitor.api("POST", f"/api/sandboxes/{sandbox}/pause")
    visitor.wait_for(sandbox, "paused")
    made.engine.docker("rm", made.container(sandbox))
    visitor.api("POST", f"/api/sandboxes/{sandbox}/resume")
    visitor.wait_for(sandbox, "running")
    assert made.shell(sandbox, "cat ~/marker ~/disk0/marker") == "kept\nkept\n"
    assert made.shell(sandbox, "echo $OPENCODE_SERVER_PASSWORD") == password
    assert usable(visitor, sandbox)


def test_an_image_that_is_not_there(made: DockerProduct, visitor: Visitor, image: str) -> None:
    workspace = workspace_of(visitor)
    working = visitor.running(workspace)
    made.engine.docker("rmi", image)
    try:
        sandbox = visitor.create(workspace)
        visitor.wait_for(sandbox, "failed")
        reason = visitor.api("GET", f"/api/sandboxes/{sandbox}")["statusReason"]
        assert f"the image {image} is not on the Docker engine" in reason
        assert "make images" in reason
        assert made.containers(sandbox) == []
        assert usable(visitor, working), "what runs is not concerned"
        assert made.readiness() == 503, "no sandbox can be started now"
    finally:
        made.engine.docker("tag", IMAGE, image)
    visitor.api("POST", f"/api/sandboxes/{sandbox}/resume")  # "Try again"
    visitor.wait_for(sandbox, "running")
    assert usable(visitor, sandbox)
    until(lambda: made.readiness() == 200, 30, lambda: made.log[-2000:])


class Foreign:
    """Things of others, called and marked much like ours."""

    def __init__(self, made: DockerProduct, workspace: str, sandbox: str) -> None:
        self.engine = made.engine
        names, other, stranger = made.names, new_id(), new_id()
        ours = {LABEL_INSTALLATION: other, LABEL_WORKSPACE: workspace, LABEL_SANDBOX: sandbox}
        labels = [word for name, value in ours.items() for word in ("--label", f"{name}={value}")]
        unmarked = ("--label", f"{LABEL_SANDBOX}={sandbox}", "--label", f"{LABEL_WORKSPACE}={workspace}")
        self.volumes = [names.home(stranger), names.disk(stranger), names.home(sandbox) + "0"]
        self.networks = [f"{names.network(workspace, 'open')}0", names.network(stranger, "open")]
        self.containers = []
        for name, marks in zip(self.volumes, ([], labels, unmarked), strict=True):
            self.engine.docker("volume", "create", *marks, name)
        for name, marks in zip(self.networks, (unmarked, labels), strict=True):
            self.engine.docker("network", "create", "--internal", *marks, name)
        for name, marks in (
            (names.container(workspace, stranger), []),
            (names.container(workspace, sandbox) + "0", labels),
            (f"cli-server-{other}-{workspace}-{sandbox}", unmarked),
        ):
            run = ["run", "--detach", "--init", "--name", name, "--network", self.networks[0], *marks]
            sleep = ["--entrypoint", "sleep", IMAGE, "600"]
            self.containers.append(self.engine.docker(*run, *sleep).strip())

    def __call__(self) -> object:
        """All that one can see of them."""
        return (
            [self.engine.inspect(name)["State"] for name in self.containers],
            [self.engine.inspect(name, "volume") for name in self.volumes],
            [self.engine.inspect(name, "network") for name in self.networks],
        )

    def remove(self) -> None:
        self.engine.remove("container", *self.containers)
        self.engine.remove("volume", *self.volumes)
        self.engine.remove("network", *self.networks)


def test_what_is_not_ours_stays(made: DockerProduct, visitor: Visitor) -> None:
    """Lesson: clean up only what carries this installation's own id, whatever things are called."""
    workspace = workspace_of(visitor)
    sandbox = visitor.running(workspace)
    foreign = Foreign(made, workspace, sandbox)
    try:
        before = foreign()
        visitor.running(workspace)
        made.kill()
        made.start()
        visitor.api("POST", f"/api/sandboxes/{sandbox}/pause")
        visitor.wait_for(sandbox, "paused")
        visitor.api("POST", f"/api/sandboxes/{sandbox}/resume")
        visitor.wait_for(sandbox, "running")
        visitor.api("DELETE", f"/api/sandboxes/{sandbox}")
        visitor.wait_for(sandbox, "gone")
        visitor.api("DELETE", f"/api/workspaces/{workspace}")
        ours = ("volume", "ls", "-q", "--filter", f"name={made.names.disk(workspace)}")
        until(lambda: not made.engine.docker(*ours).split(), 60, lambda: made.log[-2000:])
        assert foreign() == before
    finally:
        foreign.remove()
