"""``cli-server`` with replicas that are quicker to notice what happens.

They wait a second for the load balancer, which looks ten times in it, and not seven (or so many as QUICK_NOTICE says);
and they are dead after three seconds without a sign, of which there are two in each, and not after ten.

python -m tests.replicas.quick serve
"""

from __future__ import annotations

import os

from daemon.cli import main
from daemon.gateway import limits
from daemon.tunnel import replicas

if __name__ == "__main__":
    limits.NOTICE_SECONDS = float(os.environ.get("QUICK_NOTICE", "1"))  # type: ignore[misc]
    replicas.BEAT_SECONDS, replicas.DEAD_SECONDS = 0.5, 3.0  # type: ignore[misc]
    main()
