"""The parent of one sandbox: keeps its output, and ends its whole process tree when the daemon asks or is gone.

Run as a program: ``python -I -S launcher.py {jailed|plain} GRACE LOG_DIRECTORY DIRECTORY COMMAND...``. There is one of
these for each sandbox, so it imports as little as it can.

* Standard input is the life line: a pipe whose other end only the daemon holds. A byte asks for an orderly end
  (SIGTERM, ``GRACE`` seconds, SIGKILL); its end means that the daemon is gone. SIGTERM to the launcher ends everything
  at once.
* It is a subreaper: a process of the sandbox that loses its parent becomes a child of the launcher, so nothing gets
  away by forking twice or by a session of its own. It exits, with the command's status, when all of them are gone.
* The command dies with the launcher (``PR_SET_PDEATHSIG``); bubblewrap hands that on to everything inside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

if __name__ == "__main__":  # with -I -S nothing but the standard library is found
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from backends.logfile import LogWriter, secrets_in
from backends.proctree import descendants, signal_child

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_ORPHAN_GRACE = 2.0  # seconds for an orderly end when the daemon is gone: it may be back soon and look for leftovers
_KILL_AGAIN = 0.05  # seconds between rounds of SIGKILL, while processes are still being forked
_READ_BYTES = 65536  # a pipe's whole buffer
_OPEN_FILES = 65536  # file watchers and language servers open thousands
_OOM_SCORE = b"500"  # when memory runs out, the kernel takes a sandbox before the daemon and its database
_EXEC_FAILED = 127  # what shells answer
_RESET_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _become(command: list[str], directory: str, output: int, launcher: int) -> None:
    """In the forked child: turn into the command. Does not return."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:  # it died before the line above
        os._exit(_EXEC_FAILED)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for number in _RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], _OPEN_FILES)
    if files > 0:  # not unlimited
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
        file.write(_OOM_SCORE)  # some containers have /proc read-only
    os.chdir(directory)
    os.execv(command[0], command)


class Supervisor:
    """One command and everything that comes of it."""

    def __init__(self, log: LogWriter, *, jailed: bool, grace: float) -> None:
        self._log = log
        self._jailed = jailed
        self._grace = grace
        self._main = -1
        self._status: int | None = None
        self._kill_at: float | None = None
        self._output = -1
        self._output_ended = False
        self._wake, wake_write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end_within(0))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run(self, command: list[str], directory: str) -> int:
        """Start ``command`` and return its status (128 + signal, as shells do) when nothing of it is left."""
        self._output, write_end = os.pipe()
        launcher = os.getpid()
        self._main = os.fork()
        if self._main == 0:
            try:
                _become(command, directory, write_end, launcher)
            except OSError as error:
                os.write(2, f"{command[0]}: {error}\n".encode())
            finally:
                os._exit(_EXEC_FAILED)
        os.close(write_end)
        os.set_blocking(self._output, False)
        status = self._supervise()
        self._end_rest()
        if not self._output_ended:
            self._pump()
        return status

    def _supervise(self) -> int:
        self._poll = select.poll()
        for fd in (0, self._output, self._wake):
            self._poll.register(fd, select.POLLIN)
        while self._status is None:
            for fd, _ in self._poll.poll(self._patience()):
                if fd == 0:
                    self._hear()
                elif fd == self._output:
                    self._pump()
                else:
                    os.read(self._wake, 512)
                    self._reap()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill_all()
        return self._status

    def _patience(self) -> float | None:
        """Milliseconds to wait at most."""
        if self._kill_at is None:
            return None
        return 1000 * max(_KILL_AGAIN, self._kill_at - time.monotonic())

    def _hear(self) -> None:
        """The daemon asks for the end, or is gone."""
        if os.read(0, 512):
            self._end_within(self._grace)
        else:
            self._poll.unregister(0)
            self._end_within(min(self._grace, _ORPHAN_GRACE))

    def _end_within(self, seconds: float) -> None:
        kill_at = time.monotonic() + seconds
        if self._kill_at is None:
            self._ask_to_end()
            self._kill_at = kill_at
        self._kill_at = min(self._kill_at, kill_at)

    def _ask_to_end(self) -> None:
        """SIGTERM to the command alone: it knows how to end its children; what it leaves behind is killed."""
        for pid, parent in self._command():
            signal_child(pid, parent, signal.SIGTERM)

    def _command(self) -> list[tuple[int, int]]:
        """The command and its parent: our child, or in a jail the child of process 1, which is bubblewrap's child."""
        below = descendants(os.getpid())
        if not self._jailed:
            return [(pid, parent) for pid, parent in below if pid == self._main]
        first = [pid for pid, parent in below if parent == self._main]
        return [(pid, parent) for pid, parent in below if parent in first]

    def _kill_all(self) -> None:
        for pid, parent in descendants(os.getpid()):
            signal_child(pid, parent, signal.SIGKILL)

    def _pump(self) -> None:
        """Take over what was written, until there is no more for now."""
        while True:
            try:
                data = os.read(self._output, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._output_ended = True
                self._poll.unregister(self._output)
                return
            self._log.write(data)
            if self._status is None and len(data) == _READ_BYTES:
                return  # a flood: look at the other descriptors first

    def _reap(self) -> bool:
        """Collect what has ended. True if there are no children any more."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self._main:
                code = os.waitstatus_to_exitcode(status)
                self._status = code if code >= 0 else 128 - code

    def _end_rest(self) -> None:
        """Kill whatever outlived the command, until the kernel says that nothing is left."""
        while not self._reap():
            self._kill_all()
            time.sleep(_KILL_AGAIN / 5)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def main(arguments: list[str]) -> int:
    """See the module's text."""
    mode, grace, log_directory, directory, *command = arguments
    log = LogWriter(log_directory, secrets_in(dict(os.environ)))
    try:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        log.line(f"{_now()} started")
        status = Supervisor(log, jailed=mode == "jailed", grace=float(grace)).run(command, directory)
        log.line(f"{_now()} ended with status {status}")
    except Exception as error:
        log.line(f"{_now()} the launcher failed: {error!r}")
        raise
    finally:
        log.close()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
