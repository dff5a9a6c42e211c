"""The limits of connections to upstreams and servers, with their reasons. Sizes are bytes, times seconds."""

from __future__ import annotations

from typing import Final

# Of a request or a response. nginx takes 4 x 8 KiB; cookies of several applications on one domain stay below that.
MAX_HEAD: Final = 32 * 1024
# One read of a socket: as much as loopback hands over at once; also the size in which bodies are held in memory.
READ_SIZE: Final = 64 * 1024
# A SYN that needs longer was lost twice. A name with several addresses has to be done in this time too.
CONNECT_SECONDS: Final = 5.0
# Idle connections kept to one upstream, and for how long. opencode (Bun) closes after 10 s, uvicorn after 5 s: a
# connection is reused only while younger than the shortest of these. As many as a busy team has requests at once.
MAX_IDLE_UPSTREAM: Final = 256
IDLE_UPSTREAM_SECONDS: Final = 4.0
# After a switch of protocols: what may wait in the kernel for a peer that is slow. A small message cannot overtake
# what waits there, and the megabytes that the kernel would take by itself are 100 ms each on a fast line.
SWITCHED_UNSENT: Final = 128 * 1024
