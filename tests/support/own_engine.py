"""A Docker engine for one test: it may be stopped, killed and filled up, and nobody else's sandboxes notice.

It has a small disk of its own, a file that is mounted. It leaves the machine's packet filter alone, because an engine
that starts empties the chains that it shares with every other: its containers are reached from here, and nothing else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backends.proctree import descendants
from tests.support.engine import Engine
from tests.support.world import as_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DISK_MIB: Final = 400  # a fake image has 120; the rest is soon filled up
_SECONDS: Final = 90.0  # for an engine's start or end on a busy machine
_LOOK: Final = 0.05
_PREFIX: Final = "cli-server-engine-"  # in a short place: paths of sockets have 107 bytes
_OTHERS: Final = Path("/sys/class/net/docker0")  # the machine's engine, if there is one, has its default network there
_CGROUPS: Final = "/sys/fs/cgroup"
_CONTAINERD: Final = """\
version = 2
root = "{data}/containerd"
state = "{run}/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{run}/containerd.sock"
"""


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(as_root(*command), capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def _wait_until(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"it ends with:\n{log.read_text(errors='replace')[-3000:]}"
        time.sleep(_LOOK)


@dataclass(frozen=True)
class OwnEngine:
    """An engine below ``folder``. ``containerd`` is its own too: the machine's would mix up what both run."""

    folder: Path

    @property
    def engine(self) -> Engine:
        """For commands."""
        return Engine(f"unix://{self.folder}/docker.sock")

    @property
    def _bridge(self) -> str:
        """Its default one, which nobody uses: an engine without any removes ``docker0``, whosever that is."""
        return f"own{self.folder.name.removeprefix(_PREFIX)}"

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        self._spawn("containerd", "--config", f"{self.folder}/containerd.toml", "--log-level", "warn")
        _wait_until((self.folder / "run" / "containerd.sock").exists, self.folder / "containerd.log")
        self._spawn(
            "dockerd",
            *("--config-file", f"{self.folder}/daemon.json", "--containerd", f"{self.folder}/run/containerd.sock"),
            *("--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/run/docker"),
            *("--pidfile", f"{self.folder}/run/docker.pid", "--cgroup-parent", f"/{self.folder.name}"),
            *(
                "-H",
                self.engine.host,
                "--group",
                str(os.getgid()),
                f"--bridge={self._bridge}",
                "--storage-driver=overlay2",
            ),
            *("--iptables=false", "--ip6tables=false", "--ip-masq=false", "--shutdown-timeout=5"),
        )
        _wait_until(self._answers, self.folder / "dockerd.log")

    def load(self, image: str) -> None:
        """Give it an image of the machine's engine."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            command = ["docker", "-H", self.engine.host, "load"]
            subprocess.run(command, stdin=saved.stdout, capture_output=True, timeout=_SECONDS, check=True)
        assert saved.returncode == 0

    def stop(self) -> None:
        """As a service manager does: the engine ends its containers, and itself."""
        for name in ("dockerd", "containerd"):
            self._end(name, signal.SIGTERM)

    def kill(self) -> None:
        """With -9, both programs: the containers run on, and nobody watches them."""
        for name in ("dockerd", "containerd"):
            self._end(name, signal.SIGKILL)
        # The next one would take it for alive for as long as nobody has buried it.
        _run("rm", "-f", f"{self.folder}/run/docker.pid")

    @contextmanager
    def away(self, end: Callable[[OwnEngine], None] = stop) -> Iterator[None]:
        """Without it, for the block: ``end`` is :meth:`stop` or :meth:`kill`."""
        end(self)
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not one byte of its disk is free, for the block."""
        filling = f"{self.folder}/data/filling"
        # A large file leaves a few blocks, because it needs more of them for itself as it grows.
        rest = "number=0; while mkdir $number; do number=$((number + 1)); done"
        _run("sh", "-c", f"mkdir {filling} && cd {filling} && cat /dev/zero >large; sync -f .; {rest}", check=False)
        try:
            assert os.statvfs(self.folder / "data").f_bavail == 0, "the disk could not be filled"
            yield
        finally:
            _run("rm", "-r", filling)

    def set_up(self) -> None:
        """A place for it."""
        data, run = self.folder / "data", self.folder / "run"
        for path in (data, run):
            path.mkdir()
        (self.folder / "daemon.json").write_text("{}")  # not the machine's
        (self.folder / "containerd.toml").write_text(_CONTAINERD.format(data=data, run=run))
        disk = self.folder / "disk"
        with disk.open("wb") as file:
            file.truncate(_DISK_MIB << 20)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", str(disk))
        _run("mount", "-o", "loop", str(disk), str(data))
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "address", "add", f"10.215.{os.getpid() % 256}.1/29", "dev", self._bridge)

    def take_down(self) -> None:
        """Everything of it, in whatever state it is: processes, bridges, mounts, files."""
        with suppress(AssertionError, subprocess.TimeoutExpired):
            self.stop()
        self.kill()
        for shim in self._shims():
            _run("kill", "-9", *(str(pid) for pid in [shim, *(pid for pid, _ in descendants(shim))]), check=False)
        # The engine names the bridge of a network by its id, and keeps the network's when it ends.
        known = _run("grep", "-aoE", "[0-9a-f]{64}", f"{self.folder}/data/network/files/local-kv.db", check=False)
        for bridge in {f"br-{network[:12]}" for network in known.split()}:
            if Path("/sys/class/net", bridge).exists():
                _run("ip", "link", "delete", bridge)
        _run("ip", "link", "delete", self._bridge, check=False)
        for mount in sorted(self._mounts(), reverse=True):
            _run("umount", "--lazy", mount, check=False)
        groups = ("find", _CGROUPS, "-depth", "-type", "d", "-path", f"*/{self.folder.name}*")
        _run(*groups, "-exec", "rmdir", "{}", "+", check=False)
        _run("rm", "-rf", "--one-file-system", str(self.folder))
        assert not self._shims()
        assert not self._mounts()

    def _spawn(self, name: str, *arguments: str) -> None:
        """A program of root's, away from the terminal and from us; ``name`` is also the name of its files."""
        keep = f'echo $$ >"{self.folder}/{name}.pid"; exec "$@" </dev/null >>"{self.folder}/{name}.log" 2>&1'
        # It leaves this session and its parent at once, so that it is init's to bury.
        command = as_root("setsid", "--fork", "sh", "-c", keep, "sh", name, *arguments)
        path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
        subprocess.run(command, check=True, timeout=_SECONDS, env={"PATH": path}, cwd="/")

    def _end(self, name: str, number: signal.Signals) -> None:
        try:
            pid = (self.folder / f"{name}.pid").read_text().strip()
        except FileNotFoundError:
            return
        if _is(name, pid):
            _run("kill", f"-{number.value}", pid, check=False)
            _wait_until(lambda: not _is(name, pid), self.folder / f"{name}.log")

    def _answers(self) -> bool:
        asked = ["docker", "-H", self.engine.host, "version"]
        return subprocess.run(asked, capture_output=True, timeout=_SECONDS, check=False).returncode == 0

    def _shims(self) -> list[int]:
        """What containerd leaves running between itself and each container."""
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdecimal() and f"{self.folder}/run/containerd.sock".encode() in _command(entry.name)
        ]

    def _mounts(self) -> list[str]:
        places = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
        return [place for place in places if place.startswith(f"{self.folder}/")]


def _command(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


def _is(name: str, pid: str) -> bool:
    return name.encode() in _command(pid)


@contextmanager
def own_engine(image: str) -> Iterator[OwnEngine]:
    """An engine that runs and has ``image``. At the end nothing of it is left, whatever happened to it."""
    place = Path(tempfile.gettempdir())
    for former in place.glob(f"{_PREFIX}*"):  # of a run that was killed
        pid = former.name.removeprefix(_PREFIX)
        if pid == str(os.getpid()) or not Path("/proc", pid).exists():
            OwnEngine(former).take_down()
    made, others = OwnEngine(place / f"{_PREFIX}{os.getpid()}"), _OTHERS.exists()
    made.folder.mkdir(mode=0o711)
    try:
        made.set_up()
        made.start()
        made.load(image)
        yield made
    finally:
        made.take_down()
        assert _OTHERS.exists() is others, "the machine's engine has lost its default network"
