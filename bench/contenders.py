"""Whom cli-server is compared with as a proxy, and the upstreams that all lead to."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import descendants, free_port, process, wait_for_line, wait_for_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
BIG_BYTES = 200_000_000
_MAY_FAIL = 0.001  # seen of configurable-http-proxy at 256 connections: 5 of 36,484


@dataclass(frozen=True)
class Door:
    """How to reach an upstream through a contender, and which processes do the work.

    ``may_fail`` is the share of answers whose failure is told and ends nothing: a neighbour's are not ours to mend.
    """

    port: int
    pids: tuple[int, ...]
    headers: tuple[tuple[str, str], ...] = ()
    may_fail: float = 0.0


@dataclass(frozen=True)
class Contender:
    """``small`` leads to nginx for small GETs, ``bulk`` to the upstream for large bodies and event streams."""

    name: str
    small: Door
    bulk: Door


@dataclass(frozen=True)
class Upstreams:
    """The ports of the two upstreams, and a folder for everybody's files."""

    nginx: int
    nginx_pid: int
    sink: int
    sink_pid: int
    folder: Path


_NGINX_HEAD = """
worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; client_max_body_size 0; sendfile on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
"""
_UPSTREAM = """
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location = /small {{ return 200 "hello from the upstream\\n"; }}
    location = /global/health {{ return 200 '{{"healthy":true,"version":"bench"}}'; }}
  }} }}
"""
_PROXY = """
  upstream small {{ server 127.0.0.1:{nginx}; keepalive 512; keepalive_requests 100000000; }}
  upstream sink {{ server 127.0.0.1:{sink}; keepalive 512; keepalive_requests 100000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_request_buffering off;
  proxy_read_timeout 1h;
  server {{ listen 127.0.0.1:{a} backlog=4096; location / {{ proxy_pass http://small; }} }}
  server {{ listen 127.0.0.1:{b} backlog=4096; location / {{ proxy_pass http://sink; }} }} }}
"""


def _nginx_program() -> str:
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise SystemExit("the benchmarks need nginx: apt-get install nginx-light")
    return found


def _worker(master: int) -> int:
    children = Path(f"/proc/{master}/task/{master}/children")
    while not (found := children.read_text().split()):
        time.sleep(0.05)
    return int(found[0])


@contextmanager
def _nginx(name: str, config: str, folder: Path, port: int) -> Iterator[int]:
    path = folder / f"{name}.conf"
    path.write_text(_NGINX_HEAD.format(folder=folder, name=name) + config)
    log = folder / f"{name}.out"
    with process([_nginx_program(), "-c", str(path), "-e", str(folder / "start.log")], log=log) as child:
        wait_for_port(port, child, log)
        yield _worker(child.pid)


@contextmanager
def upstreams(folder: Path) -> Iterator[Upstreams]:
    """nginx for small answers, our own for large bodies and events."""
    with (folder / "big").open("wb") as big:
        big.truncate(BIG_BYTES)
    folder.chmod(0o755)
    port = free_port()
    config = _UPSTREAM.format(port=port, folder=folder)
    sink_command = [sys.executable, "-m", "bench.upstream", str(folder / "big")]
    with (
        _nginx("upstream", config, folder, port) as worker,
        process(sink_command, log=folder / "sink.log", talks=True) as sink,
    ):
        yield Upstreams(port, worker, int(wait_for_line(sink, folder / "sink.log")), sink.pid, folder)


@contextmanager
def _proxying_nginx(up: Upstreams) -> Iterator[Contender]:
    a, b = free_port(), free_port()
    config = _PROXY.format(nginx=up.nginx, sink=up.sink, a=a, b=b)
    with _nginx("proxy", config, up.folder, a) as worker:
        yield Contender("nginx, unbuffered", Door(a, (worker,)), Door(b, (worker,)))


@contextmanager
def _configurable_http_proxy(up: Upstreams) -> Iterator[Contender]:
    script = ROOT / ".cache/bench/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    node = shutil.which("node", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if node is None or not script.exists():
        raise SystemExit("the benchmarks need configurable-http-proxy: run `make bench`, which installs it")
    with ExitStack() as stack:
        doors = []
        for target in (up.nginx, up.sink):
            port, api = free_port(), free_port()
            log = up.folder / f"chp-{port}.log"
            command = [node, str(script), "--ip", "127.0.0.1", "--port", str(port), "--api-port", str(api)]
            command += ["--default-target", f"http://127.0.0.1:{target}", "--log-level", "error"]
            env = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": "bench"}
            child = stack.enter_context(process(command, env=env, log=log))
            wait_for_port(port, child, log)
            worker = tuple(descendants(child.pid) or [child.pid])[-1:]
            doors.append(Door(port, worker, may_fail=_MAY_FAIL))
        yield Contender("configurable-http-proxy", doors[0], doors[1])


@contextmanager
def proxies(up: Upstreams) -> Iterator[list[Contender]]:
    """All of them, running."""
    # The upstreams themselves: what is left if the proxy costs nothing. Their CPU is not a proxy's.
    direct = Contender("no proxy", Door(up.nginx, (up.nginx_pid,)), Door(up.sink, (up.sink_pid,)))
    with _proxying_nginx(up) as nginx, _configurable_http_proxy(up) as chp:
        yield [direct, nginx, chp]
