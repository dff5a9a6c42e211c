"""The saved registrations: their file, its permissions, and two agents at once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from daemon.agent import locks
from daemon.agent.choosing import choose
from daemon.agent.credentials import Credentials, Registration
from daemon.agent.errors import AgentError
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ONE = Registration("https://a.example", "s1", "token-1", "w1", "one")
TWO = Registration("https://a.example", "s2", "token-2", "w1", "two")
OTHER = Registration("https://b.example", "s1", "token-3", "w9", "one")
MEMBERS = {"server", "sandboxId", "tunnelToken", "workspaceId", "name"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the credentials are to be; it does not exist yet."""
    return tmp_path / "home" / ".cli-server"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_has_what_the_contract_says(folder: Path) -> None:
    old = os.umask(0)
    try:
        Credentials(folder).put_first(ONE)
    finally:
        os.umask(old)
    assert (_mode(folder), _mode(folder / "agent.json")) == (0o700, 0o600)
    content = json.loads((folder / "agent.json").read_text())
    first = {key: content[key] for key in MEMBERS}
    assert first == {
        "server": "https://a.example", "sandboxId": "s1", "tunnelToken": "token-1", "workspaceId": "w1", "name": "one",
    }  # fmt: skip
    assert content["registrations"] == [first]


def test_several_the_last_used_first(folder: Path) -> None:
    credentials = Credentials(folder)
    for one in (ONE, TWO, OTHER, ONE):
        credentials.put_first(one)
    assert credentials.load() == [ONE, OTHER, TWO]
    assert json.loads((folder / "agent.json").read_text())["sandboxId"] == "s1"


def test_a_new_token_replaces_the_old(folder: Path) -> None:
    credentials = Credentials(folder)
    credentials.put_first(ONE)
    credentials.put_first(replace(ONE, tunnel_token="new"))
    assert [one.tunnel_token for one in credentials.load()] == ["new"]


def test_a_file_with_one_registration_only(folder: Path) -> None:
    """A program that knows the contract's members and no more has written it."""
    folder.mkdir(parents=True)
    entry = {"server": "https://a.example", "sandboxId": "s1", "tunnelToken": "t", "workspaceId": "w", "name": "n"}
    (folder / "agent.json").write_text(json.dumps({**entry, "other": 1}))
    credentials = Credentials(folder)
    assert credentials.load() == [Registration("https://a.example", "s1", "t", "w", "n")]
    credentials.put_first(TWO)
    assert [one.sandbox_id for one in credentials.load()] == ["s2", "s1"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"[" * 100_000, b'{"server":"x"}', b'{"registrations":{}}',
        b'{"registrations":[1]}', b'{"registrations":[{"server":"x"}]}',
        b'{"server":"s","sandboxId":"../x","tunnelToken":"t","workspaceId":"w","name":"n"}',
        b'{"server":"s","sandboxId":"x","tunnelToken":"t\\r\\nx: y","workspaceId":"w","name":"n"}',
    ],
)  # fmt: skip
def test_a_file_that_is_something_else_is_left_alone(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True, mode=0o700)
    path = folder / "agent.json"
    path.write_bytes(content)
    credentials = Credentials(folder)
    for attempt in (credentials.load, credentials.check_writable, lambda: credentials.put_first(ONE)):
        with pytest.raises(AgentError) as caught:
            attempt()
        assert str(path) in str(caught.value)
        assert "move it away" in str(caught.value)
    assert credentials.path.read_bytes() == content


def test_what_others_may_read_is_taken_from_them(folder: Path) -> None:
    Credentials(folder).put_first(ONE)
    folder.chmod(0o755)
    (folder / "agent.json").chmod(0o644)
    credentials = Credentials(folder)
    assert credentials.load() == [ONE]
    assert (_mode(folder), _mode(folder / "agent.json")) == (0o700, 0o600)
    assert "could be read by other users" in credentials.notes[0]
    assert not Credentials(folder).notes


def test_removing(folder: Path) -> None:
    credentials = Credentials(folder)
    assert credentials.remove(lambda one: True) == []
    for one in (ONE, TWO, OTHER):
        credentials.put_first(one)
    assert credentials.remove(lambda one: one.server == "https://a.example") == [TWO, ONE]
    assert credentials.load() == [OTHER]
    assert credentials.remove(lambda one: True) == [OTHER]
    assert not credentials.path.exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(folder: Path) -> None:
    credentials = Credentials(folder)
    credentials.put_first(ONE)
    with patch("os.replace", side_effect=OSError(28, "No space left on device")), pytest.raises(AgentError) as caught:
        credentials.put_first(TWO)
    assert "cannot be written: No space left on device" in str(caught.value)
    assert credentials.load() == [ONE]
    assert sorted(path.name for path in folder.iterdir()) == ["agent.json", "agent.lock"]


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AgentError, match="must be a folder of yours"):
        Credentials(tmp_path / "file").put_first(ONE)


def _put(folder: Path, number: int) -> None:
    locks._PATIENCE = 60.0  # type: ignore[misc] # on a slow disk nine of the others' writes take longer than one should
    for index in range(10):
        Credentials(folder).put_first(replace(ONE, sandbox_id=f"s{number}-{index}"))


def test_agents_at_once_lose_nothing(folder: Path) -> None:
    # Not by multiprocessing: it leaves a process of its own behind, which other tests would find.
    code = f"from pathlib import Path; from {__name__} import _put; _put(Path({str(folder)!r}), %d)"
    processes = [subprocess.Popen([sys.executable, "-c", code % number], cwd=ROOT) for number in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert len(Credentials(folder).load()) == 40


def test_a_lock_that_stays_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.05)
    Credentials(folder).put_first(ONE)
    fd = locks.try_lock(folder / "agent.lock")
    assert fd is not None
    try:
        with pytest.raises(AgentError, match="another process holds"):
            Credentials(folder).put_first(TWO)
    finally:
        os.close(fd)


def test_no_token_in_what_is_printed() -> None:
    assert "token-1" not in repr(ONE)


@pytest.mark.parametrize(
    ("server", "name", "chosen"),
    [
        (None, None, TWO), ("https://a.example", None, TWO), ("https://a.example", "one", ONE),
        ("https://a.example", "s1", ONE), ("https://b.example", None, OTHER), (None, "one", OTHER),
    ],
)  # fmt: skip
def test_choosing(server: str | None, name: str | None, chosen: Registration) -> None:
    assert choose([TWO, OTHER, ONE], server, name) is chosen


@pytest.mark.parametrize(
    ("saved", "server", "name", "says"),
    [
        ([], None, None, "not registered with any server"),
        ([], "https://a.example", None, "not registered with https://a.example;"),
        ([OTHER], "https://a.example", None, "(it is registered with https://b.example)"),
        ([TWO, ONE], "https://a.example", "three", "no registration is called three; there are: two, one"),
    ],
)
def test_choosing_what_is_not_there(saved: list[Registration], server: str | None, name: str | None, says: str) -> None:
    with pytest.raises(AgentError) as caught:
        choose(saved, server, name)
    assert says in str(caught.value)
    assert "agent connect --server URL --code CODE" in str(caught.value)
