"""Homes and disks: whose they are, and that nothing but them is ever touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from backends.base import BackendRejected
from backends.disks import Disks
from backends.furnish import Owner, remove_tree

if TYPE_CHECKING:
    from pathlib import Path

A, B, W = "a" * 16, "b" * 16, "w" * 16
US = Owner(os.geteuid(), os.getegid())


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    """Disks in a fresh data directory."""
    found = Disks(tmp_path, "ours")
    found.open()
    return found


def test_only_ours_are_listed_and_removed(tmp_path: Path, disks: Disks) -> None:
    """Lesson: clean up only what carries this installation's own id."""
    theirs = Disks(tmp_path, "theirs")
    disks.prepare(A, W, US, jailed=True)
    theirs.prepare(B, W, US, jailed=True)
    (tmp_path / "sandboxes" / ("c" * 16)).mkdir()  # its making was interrupted
    (tmp_path / "sandboxes" / "lost+found").mkdir()
    assert disks.inventory() == {A: W}
    with pytest.raises(BackendRejected, match="another installation"):
        disks.prepare(B, W, US, jailed=True)
    with pytest.raises(BackendRejected, match="belongs to the workspace"):
        disks.prepare(A, "x" * 16, US, jailed=True)
    for sandbox_id in (A, B, "c" * 16, "d" * 16):
        disks.remove_sandbox(sandbox_id)
    assert sorted(path.name for path in (tmp_path / "sandboxes").iterdir()) == [B, "lost+found"]
    assert theirs.inventory() == {B: W}


def test_links_are_removed_and_not_followed(tmp_path: Path, disks: Disks) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    places = disks.prepare(A, W, US, jailed=False)
    for place in (places.home, places.tmp, places.disk):
        os.symlink(outside, f"{place}/link")
    disks.prepare(A, W, US, jailed=False)  # empties /tmp
    assert os.path.exists(f"{places.home}/disk0/link/file")
    disks.remove_sandbox(A)
    assert os.path.lexists(f"{places.disk}/link"), "home's link to the disk was not followed"
    disks.remove_workspace(W)
    assert (outside / "file").read_text() == "stays"


def test_what_a_sandbox_put_in_the_way_is_left_alone(tmp_path: Path, disks: Disks) -> None:
    """opencode then starts in the home, and the daemon follows nothing."""
    places = disks.prepare(A, W, US, jailed=True)
    assert places.start == "project"
    os.rmdir(f"{places.home}/project")
    os.symlink("/etc", f"{places.home}/project")
    os.unlink(f"{places.home}/disk0")
    os.symlink("/etc/passwd", f"{places.home}/disk0")
    again = disks.prepare(A, W, US, jailed=True)
    assert again.start == ""
    assert os.readlink(f"{places.home}/disk0") == "/etc/passwd"


def test_the_link_to_the_disk_follows_the_kind_of_isolation(disks: Disks) -> None:
    for jailed in (True, False, True):
        places = disks.prepare(A, W, US, jailed=jailed)
        assert os.readlink(f"{places.home}/disk0") == ("/data/disk0" if jailed else places.disk)


def test_tmp_is_empty_at_each_start_and_home_is_not(disks: Disks) -> None:
    places = disks.prepare(A, W, US, jailed=True)
    for place in (places.tmp, places.home, places.disk):
        with open(f"{place}/file", "w") as file:
            file.write("x")
    disks.prepare(A, W, US, jailed=True)
    assert os.listdir(places.tmp) == []
    assert os.path.exists(f"{places.home}/file")
    assert os.path.exists(f"{places.disk}/file")


def test_an_interrupted_removal_is_finished_and_never_seen_as_a_sandbox(tmp_path: Path, disks: Disks) -> None:
    disks.prepare(A, W, US, jailed=True)
    (tmp_path / "sandboxes" / A).rename(tmp_path / "sandboxes" / f".removed-{A}-0")
    assert disks.inventory() == {}
    with pytest.raises(RuntimeError, match="boom"), disks.scratch(US, jailed=True):
        raise RuntimeError("boom")
    disks.open()
    assert list((tmp_path / "sandboxes").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_change_hands_with_the_user(disks: Disks) -> None:
    """A data directory that was used without jails is used with them, and back."""
    places = disks.prepare(A, W, US, jailed=False)
    os.makedirs(f"{places.home}/a/b")
    os.symlink("/etc/passwd", f"{places.home}/a/link")
    before = os.stat("/etc/passwd").st_uid
    disks.prepare(A, W, Owner(71000, 71000), jailed=True)
    found = {os.lstat(f"{places.home}/{name}").st_uid for name in ("", "a", "a/b", "a/link", "disk0", "project")}
    assert found == {71000}
    assert os.stat("/etc/passwd").st_uid == before


def test_unreadable_directories_are_removed_for_an_ordinary_user_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        drop_to_nobody = os.fork()
        if drop_to_nobody == 0:
            status = 1
            try:
                place = tmp_path / "shared"
                place.mkdir()
                os.chown(place, 65534, 65534)
                os.chdir(place)
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                status = _removes_unreadable()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(drop_to_nobody, 0)[1]) == 0
    else:
        monkeypatch.chdir(tmp_path)
        assert _removes_unreadable() == 0


def _removes_unreadable() -> int:
    from pathlib import Path

    tree = Path("tree")
    (tree / "closed" / "inner").mkdir(parents=True)
    (tree / "closed" / "inner" / "file").write_text("x")
    (tree / "link").symlink_to("/")
    (tree / "closed" / "inner").chmod(0)
    (tree / "closed").chmod(0)
    remove_tree(tree)
    return 0 if not tree.exists() else 1


def test_a_tree_of_any_depth_is_removed(tmp_path: Path, disks: Disks) -> None:
    """What a sandbox nested must not keep it from being deleted, nor the daemon from starting."""
    places = disks.prepare(A, W, US, jailed=True)
    here = os.open(places.home, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 100, dir_fd=here)
        above, here = here, os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(above)
    os.close(here)
    disks.remove_sandbox(A)
    assert list((tmp_path / "sandboxes").iterdir()) == []
