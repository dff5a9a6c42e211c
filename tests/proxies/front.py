"""The proxies of ``docs/examples``, from the very files, with other names, ports and certificates; and a browser."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import trustme

from tests.conftest import find_program
from tests.support.product import ROOT, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = ROOT / "docs" / "examples"
PATIENCE = 20.0  # seconds for a proxy to start, and for an answer
# What surrounds the example in Debian's nginx.conf, as far as it matters, and everything that it writes below a folder.
_NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/front.log notice;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/example;
}}
"""
# No administration, no attempt to listen on port 80 or to install a root certificate.
_CADDY = "{{\n\tadmin off\n\tskip_install_trust\n\thttps_port {port}\n\tauto_https disable_redirects\n}}\n"


@dataclass
class Front:
    """A proxy before a daemon. ``folder`` has the files of :func:`certify`."""

    kind: str
    folder: Path
    upstream: int
    port: int

    def example(self) -> str:
        """The example file, for this machine."""
        text = (EXAMPLES / {"nginx": "nginx.conf", "caddy": "Caddyfile"}[self.kind]).read_text()
        text = text.replace("/etc/ssl/agents.example.com", str(self.folder)).replace("agents.example.com", "localhost")
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.upstream}")
        # Plain HTTP is not what is looked at; the port must be free.
        text = re.sub(r"listen (\[::\]:)?80;", f"listen 127.0.0.1:{free_port()};", text, count=1)
        text = re.sub(r" *listen (\[::\]:)?80;\n", "", text)
        text = text.replace("listen 443 ", f"listen 127.0.0.1:{self.port} ")
        return re.sub(r" *listen \[::\]:443 .*\n", "", text)

    def write(self) -> None:
        """The files that :meth:`command` uses."""
        if self.kind == "nginx":
            (self.folder / "example").write_text(self.example())
            (self.folder / "nginx.conf").write_text(_NGINX.format(folder=self.folder))
        else:
            (self.folder / "Caddyfile").write_text(_CADDY.format(port=self.port) + self.example())

    def command(self, verb: str = "run") -> list[str]:
        """``run``, or what only looks at the configuration: ``validate``."""
        program = str(find_program(self.kind))
        if self.kind == "nginx":
            flags = ["-t"] if verb == "validate" else []
            return [program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), *flags]
        return [program, verb, "--config", str(self.folder / "Caddyfile"), "--adapter", "caddyfile"]

    @property
    def env(self) -> dict[str, str]:
        """A home of its own: Caddy keeps things there."""
        return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(self.folder)}


def certify(folder: Path) -> ssl.SSLContext:
    """Write a certificate with the wildcard, and the key; a context that trusts it and nothing else.

    OpenSSL refuses ``*.localhost``, because a wildcard directly below a top-level name is too much; so the chain is
    checked here and the host's name is not. The agent checks both, for ``localhost`` itself.
    """
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "*.localhost")
    (folder / "fullchain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (folder / "privkey.pem").write_bytes(certificate.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    context.check_hostname = False
    return context


@contextmanager
def running(front: Front) -> Iterator[None]:
    """The proxy, from its configuration, until the end."""
    with (front.folder / "output.log").open("wb") as log:
        process = subprocess.Popen(front.command(), env=front.env, stdout=log, stderr=log)
        try:
            _wait(front, process)
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _wait(front: Front, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", front.port), 1).close()
        except OSError:
            said = (front.folder / "output.log").read_text(errors="replace")
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.02)
        else:
            return


class _Here(httpcore.NetworkBackend):
    """Every name is this machine's: Python does not resolve ``*.localhost``."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """Connect."""
        return self._backend.connect_tcp("127.0.0.1", *args, **kwargs)


def browser(context: ssl.SSLContext, *, http2: bool) -> httpx.Client:
    """A client with cookies by host, which resolves ``*.localhost``."""
    transport = httpx.HTTPTransport(verify=context)
    transport._pool = httpcore.ConnectionPool(ssl_context=context, http2=http2, network_backend=_Here())
    return httpx.Client(transport=transport, timeout=PATIENCE)
