"""Who reaches whom: sandboxes of one workspace, of two workspaces, and the world, by connecting from inside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.engine import docker_product, until
from tests.support.opencode_page import ANSWER, OPERATOR_KEY, stand_in
from tests.support.world import NAMES_PORT, PORT, world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.engine import DockerProduct
    from tests.support.world import World

pytestmark = pytest.mark.needs("root")

OPENCODE: Final = 4096
LISTENER: Final = 9000
# Connects to each place that it is given, all at once; says of each whether somebody took the connection.
_KNOCK: Final = """
import concurrent.futures, json, socket, sys
def knock(place):
    try:
        socket.create_connection(place, 2).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "nothing"
    return "connected"
places = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
    print(json.dumps(list(pool.map(knock, places))))
"""
_ASK: Final = """
import socket, sys
address, port, name = sys.argv[1:]
question = bytes(2) + b"\\1\\0\\0\\1" + bytes(6)
question += b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\\0\\0\\1\\0\\1"
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(2)
try:
    sock.sendto(question, (address, int(port)))
    print("answer" if sock.recv(512)[3] & 15 == 0 else "refusal")
except OSError:
    print("nothing")
"""
_PROMPT: Final = (
    'curl -s -m 30 -H "x-api-key: $ANTHROPIC_API_KEY" -H "anthropic-version: 2023-06-01" '
    '-H "content-type: application/json" -d @- "$ANTHROPIC_BASE_URL/messages"'
)


@dataclass(frozen=True)
class Street:
    """Two sandboxes of one workspace, and one of another."""

    made: DockerProduct
    world: World
    egress: str
    one: str
    two: str
    stranger: str

    def address(self, sandbox_id: str) -> str:
        """In its workspace's network."""
        (found,) = self.made.engine.inspect(self.made.container(sandbox_id))["NetworkSettings"]["Networks"].values()
        return str(found["IPAddress"])

    def knock(self, sandbox_id: str, *places: tuple[str, int]) -> list[str]:
        """What becomes of connections from a sandbox to these places."""
        said = self.made.shell(sandbox_id, f"python3 -c '{_KNOCK}'", stdin=json.dumps(places))
        return list(json.loads(said))


@pytest.fixture(scope="module", params=["open", "proxy"])
def street(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    settings = {"AGENT_EGRESS": request.param, "REGISTRATION": "open", "ANTHROPIC_API_KEY": OPERATOR_KEY}
    with (
        world(folder) as outside,
        stand_in() as upstream,
        docker_product(folder, ANTHROPIC_BASE_URL=upstream, **settings) as made,
    ):
        ada, bob = made.visitor(), made.visitor()
        hers, his = ada.register("ada"), bob.register("bob")
        one, two, stranger = ada.create(hers), ada.create(hers), bob.create(his)
        for visitor, sandbox in ((ada, one), (ada, two), (bob, stranger)):
            visitor.wait_for(sandbox, "running")
            serve = f"python3 -m http.server --bind 0.0.0.0 {LISTENER}"
            made.engine.docker("exec", "--detach", made.container(sandbox), *serve.split())
        found = Street(made, outside, request.param, one, two, stranger)
        for sandbox in (one, two, stranger):
            wait = f"until curl -s -o /dev/null 127.0.0.1:{LISTENER}; do sleep 0.05; done"
            made.shell(sandbox, f"timeout 30 sh -c '{wait}'")
        yield found


def test_sandboxes_of_one_workspace_share_its_disk(street: Street) -> None:
    made = street.made
    made.shell(street.one, "echo from one >/data/disk0/note && mkdir ~/disk0/folder")
    assert made.shell(street.two, "cat ~/disk0/note && id -u") == "from one\n1000\n"
    made.shell(street.two, "echo from two >>/data/disk0/note && touch /data/disk0/folder/file")
    assert made.shell(street.one, "cat /data/disk0/note; ls /data/disk0/folder") == "from one\nfrom two\nfile\n"
    assert made.shell(street.stranger, "ls -A /data/disk0") == "", "another workspace has another disk"
    made.shell(street.one, "echo mine >~/mine")
    assert made.shell(street.two, "ls ~/mine 2>/dev/null; true") == "", "homes are not shared"


def test_sandboxes_of_one_workspace_reach_each_other_and_no_other(street: Street) -> None:
    neighbour, foreign = street.address(street.two), street.address(street.stranger)
    assert street.knock(street.one, (neighbour, OPENCODE), (neighbour, LISTENER)) == ["connected"] * 2
    assert street.knock(street.stranger, ("127.0.0.1", OPENCODE), (foreign, LISTENER)) == ["connected"] * 2
    # Their names and every port of theirs that is listened on; the whole range of ports is looked at below.
    assert street.knock(street.one, (foreign, OPENCODE), (foreign, LISTENER)) == ["nothing"] * 2
    back = [(street.address(sandbox), port) for sandbox in (street.one, street.two) for port in (OPENCODE, LISTENER)]
    assert street.knock(street.stranger, *back) == ["nothing"] * 4


def test_not_one_packet_passes_between_workspaces(street: Street) -> None:
    """A port that nobody has would refuse, if anything came through; by an address of the machine neither."""
    foreign = street.address(street.stranger)
    gateway = street.made.engine.inspect(street.made.container(street.stranger))["NetworkSettings"]["Networks"]
    (their_gateway,) = (found["Gateway"] for found in gateway.values())
    ports = [1, 22, 80, 443, 1024, 3000, 5432, 8080, 9001, 65535]
    assert street.knock(street.one, *((foreign, port) for port in ports)) == ["nothing"] * len(ports)
    assert street.knock(street.two, (street.address(street.one), 1)) == ["refused"], "so a packet would show"
    assert "connected" not in street.knock(street.one, (their_gateway, OPENCODE), (their_gateway, LISTENER))


def test_the_way_out_is_the_operators_choice(street: Street) -> None:
    outcome = street.knock(street.one, (street.world.address, PORT))
    assert outcome == (["connected"] if street.egress == "open" else ["nothing"])
    asked = f"python3 -c '{_ASK}' {street.world.address} {NAMES_PORT} {street.egress}.example"
    assert street.made.shell(street.one, asked).strip() == "nothing", "it never answers"
    came = bytes([len(street.egress)]) + street.egress.encode()
    if street.egress == "open":
        until(lambda: came in street.world.questions, 30, lambda: street.world.questions)
    else:
        assert came not in street.world.questions


def test_the_proxy_is_reached(street: Street) -> None:
    """By the name and with the token that it was given; the stand-in knows the operator's key only."""
    body = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
    said = json.loads(street.made.shell(street.one, _PROMPT, stdin=json.dumps(body)))
    assert said["content"] == [{"type": "text", "text": ANSWER}]
