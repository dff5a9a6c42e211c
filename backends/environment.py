"""What a sandbox's processes are given: their environment, and the files of ``/etc`` that are made for them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.bubblewrap import HOST_NAME
from backends.program import PROGRAM_DIRECTORY, SYSTEM_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK_INSTALLATION = "CLI_SERVER_INSTALLATION"
MARK_SANDBOX = "CLI_SERVER_SANDBOX"
MARK_DATA = "CLI_SERVER_DATA"

_PROFILE = """\
# Made by cli-server. The system's own would replace the PATH of the sandbox in every login shell.
if [ -n "${BASH_VERSION-}" ] && [ -r /etc/bash.bashrc ]; then . /etc/bash.bashrc; fi
for file in /etc/profile.d/*.sh; do if [ -r "$file" ]; then . "$file"; fi; done
unset file
"""


def environment(
    given: Mapping[str, str], *, home: str, user: str, shell: str, program_directory: str = PROGRAM_DIRECTORY
) -> dict[str, str]:
    """``given`` and what any Unix program expects; nothing of the daemon's own environment."""
    path = (f"{home}/.local/bin", program_directory, *SYSTEM_PATH)
    return {
        **given,
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": shell,
        "PATH": ":".join(path),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "XDG_CONFIG_HOME": f"{home}/.config",
        "XDG_DATA_HOME": f"{home}/.local/share",
        "XDG_STATE_HOME": f"{home}/.local/state",
        "XDG_CACHE_HOME": f"{home}/.cache",
    }


def marks(installation: str, data: str, sandbox_id: str) -> dict[str, str]:
    """The variables by which processes that outlived their daemon are recognised. No secrets."""
    return {MARK_INSTALLATION: installation, MARK_DATA: data, MARK_SANDBOX: sandbox_id}


def etc_files(*, user: str, uid: int, gid: int, home: str, shell: str, hosts: str) -> dict[str, str]:
    """Name and content of each file; ``hosts`` is the machine's own, to which the sandbox's name is added."""
    return {
        "passwd": (
            "root:x:0:0:root:/root:/usr/sbin/nologin\n"
            f"{user}:x:{uid}:{gid}:{user}:{home}:{shell}\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        ),
        "group": f"root:x:0:\n{user}:x:{gid}:\nnogroup:x:65534:\n",
        "hosts": f"{hosts.rstrip()}\n127.0.1.1 {HOST_NAME}\n",
        "profile": _PROFILE,
    }
