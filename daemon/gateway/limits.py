"""Every limit of the gateway, with its reason. Sizes are bytes, times seconds.

What also bounds the agent (heads, one read, connecting, idle connections) stands in ``daemon/wire/limits.py``.
"""

from __future__ import annotations

from typing import Final

# Browsers cut at 8 KiB or more; RFC 9112 asks for at least 8000.
MAX_TARGET: Final = 16 * 1024
# Apache's and Node's order of magnitude; a browser sends 10 to 25.
MAX_HEADERS: Final = 100

# A head on a working link arrives in one round trip; 20 s bears a phone that changes cells and starves slowloris.
HEAD_SECONDS: Final = 20.0
# nginx's default for idle keep-alive connections.
KEEP_ALIVE_SECONDS: Final = 75.0
# No byte of a request body for so long: the sender is gone. Twice the 60 s that mobile networks are known to stall.
BODY_SILENCE_SECONDS: Final = 120.0
# The client takes no byte for so long. The kernel buffers some MB before this begins to count.
WRITE_SECONDS: Final = 120.0
# After one side of an upgraded connection said that it is done, the other may be silent so long.
HALF_CLOSED_SECONDS: Final = 300.0
# A client that closed its side may wait for its answer or be gone. After so long we find out (see connection.py).
PROBE_AFTER_SECONDS: Final = 0.25
# Bytes and time we spend on a refused body, so that the client reads the refusal instead of a reset.
LINGER_BYTES: Final = 4 * 1024 * 1024
LINGER_SECONDS: Final = 2.0
# Streams get so long to end after SIGTERM; below systemd's 90 s and Kubernetes' 30 s.
DRAIN_SECONDS: Final = 10.0
# Where there are other replicas: so long everything is served as before while /readyz says no, so that load balancers
# stop sending new connections. HAProxy notices after three checks, two seconds apart; Kubernetes in a second or two.
NOTICE_SECONDS: Final = 7.0
# A client that we took just before SIGTERM is about to send its first request: a round trip or two of a slow link.
FRESH_SECONDS: Final = 1.0

# Of one sandbox to this server, by the networks of containers: its agent needs a handful, and a flood of one must leave
# room for people.
MAX_CONNECTIONS_OF_SANDBOX: Final = 256
# One connection costs some 5 KiB while it is silent and 30 KiB while it is served.
MAX_CONNECTIONS: Final = 16384
# And file descriptors: the client's, and of a request to the API both ends of the way there, which is in this process.
FILES_OF_CONNECTION: Final = 3
# File descriptors kept for the database, child processes, logs.
RESERVED_FILES: Final = 256

# Below this a body is cheaper to copy than to splice (four system calls to set up a pipe).
SPLICE_FROM: Final = 256 * 1024
# Pipe size asked of the kernel, the most an unprivileged process may have (/proc/sys/fs/pipe-max-size).
PIPE_SIZE: Final = 1024 * 1024

# How often idle connections to upstreams that are too old are closed.
PRUNE_SECONDS: Final = 10.0
# 1xx answers to one request; more is an attack.
MAX_INFORMATIONAL: Final = 16

# Contract, section 3.
MAX_API_BODY: Final = 1024 * 1024
# Anthropic's own limit of a Messages request.
MAX_ANTHROPIC_BODY: Final = 32 * 1024 * 1024
