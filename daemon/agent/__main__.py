"""``python -m daemon.agent`` and the one file ``cli-server-agent.pyz``: the agent alone."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from daemon.agent.cli import agent


def main() -> None:
    """Run a command of the agent."""
    # Trio asks Windows by cffi, which is compiled for each Python, so that one file cannot bring it.
    if sys.platform == "win32" and find_spec("cffi") is None:
        sys.exit("cli-server-agent needs one more package on Windows; install it: py -m pip install cffi")
    agent(obj=os.environ)


if __name__ == "__main__":
    main()
