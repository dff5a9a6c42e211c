"""The health check of the image: exit status 0 if the server answers ``/healthz`` at the port of ``LISTEN``."""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

_SECONDS: Final = 4.0  # the engine's own limit is five

try:
    host, _, port = os.environ.get("LISTEN", ":8080").rpartition(":")
    if host in ("", "0.0.0.0", "[::]"):
        host = "127.0.0.1"
    with socket.create_connection((host.strip("[]"), int(port)), _SECONDS) as connection:
        # Whatever the server's domain is, it answers by the address at which it is reached.
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        status = connection.makefile("rb").readline(100)
except (OSError, ValueError) as error:
    sys.exit(f"no answer at LISTEN: {error}")
if b" 200 " not in status:
    sys.exit(f"/healthz answers {status.decode(errors='replace').strip()}")
