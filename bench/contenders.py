"""Who is compared: nginx, configurable-http-proxy, and cli-server with sign-in, grant and activity on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import free_port, process, wait_for_port
from tests.support.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
BIG_BYTES = 200_000_000


@dataclass(frozen=True)
class Door:
    """How to reach an upstream through a contender, and which process does the work."""

    port: int
    pid: int
    headers: tuple[tuple[str, str], ...] = ()


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


def _last_descendant(pid: int) -> int:
    """The process that does the work behind wrappers such as the one that PyPI's node is started by."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
    return pid


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
        process(sink_command, log=folder / "sink.log", stdout=subprocess.PIPE) as sink,
    ):
        assert sink.stdout is not None
        yield Upstreams(port, worker, int(sink.stdout.readline()), sink.pid, folder)


@contextmanager
def _proxying_nginx(up: Upstreams) -> Iterator[Contender]:
    a, b = free_port(), free_port()
    config = _PROXY.format(nginx=up.nginx, sink=up.sink, a=a, b=b)
    with _nginx("proxy", config, up.folder, a) as worker:
        yield Contender("nginx, unbuffered", Door(a, worker), Door(b, worker))


@contextmanager
def _configurable_http_proxy(up: Upstreams) -> Iterator[Contender]:
    script = ROOT / ".cache/opencode/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
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
            doors.append(Door(port, _last_descendant(child.pid)))
        yield Contender("configurable-http-proxy", doors[0], doors[1])


def _opened(visitor: Visitor, sandbox: str, label: str) -> tuple[tuple[str, str], ...]:
    """The headers with which requests to a sandbox host pass."""
    host = visitor.open(sandbox, label)
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies[host].items())
    return ("Host", f"{host}:{visitor.port}"), ("Cookie", cookie)


@contextmanager
def _cli_server(up: Upstreams) -> Iterator[Contender]:
    port = free_port()
    log = up.folder / "cli-server.log"
    env = {
        "PATH": os.environ["PATH"],
        "LISTEN": f"127.0.0.1:{port}",
        "DATA_DIR": str(up.folder / "data"),
        "METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "BENCH_UPSTREAM": str(up.nginx),
        "REGISTRATION": "first-user",
        "LOG_LEVEL": "warning",
    }
    with process([sys.executable, "-m", "bench.daemon"], env=env, log=log) as child:
        wait_for_port(port, child, log)
        visitor = Visitor(port)
        sandbox = visitor.running(visitor.register())
        small = _opened(visitor, sandbox, f"oc-{sandbox}")
        sink = _opened(visitor, sandbox, f"{up.sink}-{sandbox}")
        yield Contender("cli-server", Door(port, child.pid, small), Door(port, child.pid, sink))


@contextmanager
def contenders(up: Upstreams) -> Iterator[list[Contender]]:
    """All of them, running."""
    # The upstreams themselves: what is left if the proxy costs nothing. Their CPU is not a proxy's.
    direct = Contender("no proxy", Door(up.nginx, up.nginx_pid), Door(up.sink, up.sink_pid))
    with _proxying_nginx(up) as nginx, _configurable_http_proxy(up) as chp, _cli_server(up) as ours:
        yield [direct, nginx, chp, ours]
