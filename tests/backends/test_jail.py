"""What a sandbox can see and do, in bubblewrap and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.base import BackendRejected
from backends.bubblewrap import Jailer
from backends.isolation import own_owner
from backends.process import ProcessBackend
from tests.backends.support import INSTALLATION, PASSWORD, WORKSPACE, fake_backend, fake_program, run_inside, spec

A, B = "a" * 16, "b" * 16
EXPECTED_NAMES = {
    *("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TERM", "PWD", "CLI_SERVER_SANDBOX"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
}


@pytest.mark.needs("bubblewrap")
async def test_a_jail_shows_its_own_things_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson: no operator key, no daemon environment, no database, no other sandbox in what a sandbox can see."""
    monkeypatch.setenv("OPERATOR_KEY", "canary-of-the-operator")
    backend = fake_backend(tmp_path, "bubblewrap")
    async with backend.serve():
        assert backend.isolation == "bubblewrap"
        await backend.check()
        ours = await backend.ensure_running(spec())
        theirs = await backend.ensure_running(spec(B, password=PASSWORD))

        environment = await run_inside(ours, "env")
        names = {line.partition("=")[0] for line in environment.splitlines()}
        assert names == {*spec().env, *EXPECTED_NAMES}
        assert "canary" not in environment
        assert str(tmp_path / "data") not in environment

        assert (await run_inside(ours, "id -u; id -un; pwd; hostname")).split()[1:] == [
            *("agent", "/home/agent/project", "sandbox")
        ]
        assert (await run_inside(ours, "ls -A /data /home; ls -d /opt/*")).split() == [
            *("/data:", "disk0", "/home:", "agent", "/opt/opencode")
        ]
        for hidden in (tmp_path / "data", Path("/root"), Path("/etc/shadow"), Path("/var/lib"), Path("/sys")):
            assert "No such file" in await run_inside(ours, f"ls {hidden}")
        # Its own processes: bubblewrap, the fake, and the shell that looks.
        assert len((await run_inside(ours, "ls -d /proc/[0-9]*")).split()) <= 4
        assert "password" not in await run_inside(ours, "cat /proc/*/cmdline")

        await run_inside(ours, "echo shared > /data/disk0/file; echo mine > ~/file; echo mine > /tmp/file")
        assert await run_inside(theirs, "cat /data/disk0/file ~/disk0/file") == "shared\nshared\n"
        assert (await run_inside(theirs, "cat ~/file /tmp/file")).count("No such file") == 2


@pytest.mark.needs("bubblewrap")
async def test_a_jail_holds(tmp_path: Path) -> None:
    """It is no root and has no capability, also where the daemon is root; the system cannot be written to."""
    backend = fake_backend(tmp_path, "bubblewrap")
    async with backend.serve():
        address = await backend.ensure_running(spec())
        status = await run_inside(address, "cat /proc/self/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in facts["Uid"].split()
        assert {int(facts[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert facts["NoNewPrivs"] == "1"
        for path in ("/new", "/usr/new", "/etc/new", "/etc/passwd", "/proc/sys/vm/swappiness", "/opt/opencode/new"):
            said = await run_inside(address, f"echo x >> {path}")
            assert "Read-only file system" in said or "Permission denied" in said, path
        assert await run_inside(address, "echo x > /dev/shm/x && echo x > /var/tmp/x && cat /tmp/x") == "x\n"


async def test_without_a_jail_the_environment_is_still_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson: the daemon's environment reaches no sandbox, on machines without bubblewrap either."""
    monkeypatch.setenv("OPERATOR_KEY", "canary-of-the-operator")
    backend = fake_backend(tmp_path, "none")
    async with backend.serve():
        assert backend.isolation == "none"
        await backend.check()
        address = await backend.ensure_running(spec())
        environment = await run_inside(address, "env")
        assert "canary" not in environment
        assert {line.partition("=")[0] for line in environment.splitlines()} == {
            *(*spec().env, *EXPECTED_NAMES, "TMPDIR", "CLI_SERVER_INSTALLATION", "CLI_SERVER_DATA")
        }
        home = tmp_path / "data" / "sandboxes" / A / "home"
        assert await run_inside(address, "pwd; echo $HOME") == f"{home}/project\n{home}\n"
        await run_inside(address, "echo shared > ~/disk0/file")
        assert (tmp_path / "data" / "workspaces" / WORKSPACE / "disk" / "file").read_text() == "shared\n"


@pytest.mark.needs("bubblewrap")
async def test_a_program_that_does_not_run_in_a_jail_is_found_out_by_check(tmp_path: Path) -> None:
    hidden = tmp_path / "elsewhere"
    hidden.mkdir()
    fake_program(hidden)
    wrapper = tmp_path / "opencode"
    wrapper.write_text(f'#!/bin/sh\nexec {hidden}/opencode "$@"\n')
    wrapper.chmod(0o755)
    backend = ProcessBackend(tmp_path / "data", INSTALLATION, str(wrapper), isolation="bubblewrap")
    with pytest.raises(BackendRejected, match="set OPENCODE_BIN to opencode's native program"):
        await backend.check()
    await ProcessBackend(tmp_path / "data", INSTALLATION, str(wrapper), isolation="none").check()


@pytest.mark.parametrize(
    ("jailer", "reason"),
    [
        ("bubblewrap is not installed", "bubblewrap is not installed"),
        ("/bin/false", "/bin/false ended with status 1"),
        ("/no/such/bwrap", "/no/such/bwrap cannot be started"),
    ],
)
async def test_a_machine_without_jails_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jailer: str, reason: str
) -> None:
    owner = own_owner()
    broken = Jailer(jailer, None, owner, owner.uid, owner.gid, (), ()) if "/" in jailer else jailer
    monkeypatch.setattr("backends.confinement.find_jailer", lambda: broken)
    program = str(fake_program(tmp_path))
    backend = ProcessBackend(tmp_path / "data", INSTALLATION, program)
    await backend.check()
    assert backend.isolation == "none"
    assert backend.isolation_reason.startswith(reason)
    assert list((tmp_path / "data" / "sandboxes").iterdir()) == []
    with pytest.raises(BackendRejected, match=reason):
        await ProcessBackend(tmp_path / "data", INSTALLATION, program, isolation="bubblewrap").check()
