"""Moving a body in the kernel: who broke is told."""

from __future__ import annotations

import pytest

from daemon.gateway.splicing import splice
from daemon.wire.sockets import SocketStream
from tests.gateway.peer import stream_pair


@pytest.mark.parametrize("kind", ["source", "target", "early"])
async def test_splice_says_what_broke(kind: str) -> None:
    (source, feeder), (target, eater) = stream_pair(), stream_pair()
    with feeder, eater, source.socket, target.socket:
        feeder.sendall(bytes(1000))
        if kind == "early":
            feeder.close()
        elif kind == "source":
            SocketStream(feeder).reset()
        else:
            SocketStream(eater).reset()
            with pytest.raises(OSError, match="reset"):
                await target.receive()
        moved: list[int] = []
        with pytest.raises(EOFError if kind == "early" else OSError):
            await splice(source.socket, target.socket, 10**9, moved.append, lambda _: None)
        assert sum(moved) <= 1000
