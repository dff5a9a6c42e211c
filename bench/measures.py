"""What is measured: small requests with wrk, the rest with plain sockets that cost as little as possible."""

from __future__ import annotations

import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.processes import cpu_seconds, memory, peak_memory, reset_peak

if TYPE_CHECKING:
    from pathlib import Path

    from bench.contenders import Door


@dataclass(frozen=True)
class Load:
    """Result of one wrk run: requests per second, milliseconds, CPU microseconds per request of each process."""

    rate: float
    p50: float
    p99: float
    cpus: tuple[float, ...]


_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def _milliseconds(output: str, percent: int) -> float:
    match = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)", output, re.MULTILINE)
    assert match is not None, output
    return float(match[1]) * _UNITS[match[2]]


def _cpus(door: Door) -> tuple[float, ...]:
    return tuple(map(cpu_seconds, door.pids))


def _used(door: Door, before: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(now - then for now, then in zip(_cpus(door), before, strict=True))


def small_gets(door: Door, connections: int, seconds: int) -> Load:
    """Small GETs over keep-alive connections. Raises if more answers than may fail were not a success.

    An answer later than wrk's two seconds is in the percentiles; it is no failure.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for name, value in door.headers:
        command += ["-H", f"{name}: {value}"]
    before = _cpus(door)
    done = subprocess.run([*command, f"http://127.0.0.1:{door.port}/small"], capture_output=True, text=True, check=True)
    used = _used(door, before)
    out = done.stdout
    count = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    failed = int(bad[1]) if bad else 0
    if failed > door.may_fail * count or ("Socket errors" in out and "connect 0, read 0, write 0" not in out):
        raise RuntimeError(out)
    if failed:
        print(f"{failed} of {count} answers failed", file=sys.stderr)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]
    return Load(rate, _milliseconds(out, 50), _milliseconds(out, 99), tuple(one / count * 1e6 for one in used))


@dataclass(frozen=True)
class Transfer:
    """Bytes per second, and CPU seconds of each process for the whole body."""

    rate: float
    cpus: tuple[float, ...]


def _request(door: Door, line: str, *more: str) -> bytes:
    headers = dict(door.headers) or {"Host": f"127.0.0.1:{door.port}"}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{line} HTTP/1.1", *lines, *more, "", ""]).encode()


def _head(connection: socket.socket) -> tuple[int, bytes]:
    """The declared length of the answer, and the part of its body that came with the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise RuntimeError(f"no answer: {data!r}")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    if b" 200 " not in head.partition(b"\r\n")[0] or length is None:
        raise RuntimeError(f"unexpected answer: {head!r}")
    return int(length[1]), rest


def download(door: Door, size: int) -> Transfer:
    """One large body down. The receiver drops the bytes in the kernel, so that it is not what is measured."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
        before, started = _cpus(door), time.perf_counter()
        connection.sendall(_request(door, "GET /big"))
        length, rest = _head(connection)
        left = length - len(rest)
        while left > 0:
            got = connection.recv_into(buffer, len(buffer), socket.MSG_TRUNC)
            if not got:
                raise RuntimeError(f"{left} bytes are missing")
            left -= got
        taken = time.perf_counter() - started
    if length != size or left:
        raise RuntimeError(f"{length - left} bytes instead of {size}")
    return Transfer(size / taken, _used(door, before))


def upload(door: Door, body: Path) -> Transfer:
    """One large body up. The sender gives the file to the kernel, the upstream drops the bytes there."""
    size = body.stat().st_size
    with body.open("rb") as file, socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection:
        before, started = _cpus(door), time.perf_counter()
        connection.sendall(_request(door, "POST /sink", f"Content-Length: {size}"))
        connection.sendfile(file)
        _head(connection)
        taken = time.perf_counter() - started
    return Transfer(size / taken, _used(door, before))


def _open_stream(door: Door) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", door.port), timeout=30)
    stream.sendall(_request(door, "GET /events", "Accept: text/event-stream"))
    return stream


def _first_event(stream: socket.socket) -> None:
    data = b""
    while b"connected" not in data:
        piece = stream.recv(4096)
        if not piece:
            raise RuntimeError(f"no event: {data!r}")
        data += piece


def first_event(door: Door, times: int) -> float:
    """Milliseconds from the request to the first event, median."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        with _open_stream(door) as stream:
            _first_event(stream)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


def idle_streams(door: Door, count: int) -> float:
    """Bytes of private memory of the first process for each of ``count`` streams that got one event and are silent."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * count), hard))
    with ExitStack() as stack:
        warm = stack.enter_context(_open_stream(door))
        _first_event(warm)
        before = memory(door.pids[0])
        for _ in range(count):
            _first_event(stack.enter_context(_open_stream(door)))
        return (memory(door.pids[0]) - before) / count


def growth(door: Door, size: int, times: int) -> int:
    """Bytes by which the resident memory of all processes exceeds its start while ``times`` large bodies pass."""
    download(door, size)
    for pid in door.pids:
        reset_peak(pid)
    before = sum(map(peak_memory, door.pids))
    for _ in range(times):
        download(door, size)
    return sum(map(peak_memory, door.pids)) - before
