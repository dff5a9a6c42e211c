"""The command line that runs a container as a process of this machine, in bubblewrap. Pure but for looking at ``/``.

Inside, paths are what the pod says: volumes at their mount paths, the image's program where it belongs, ``/usr`` and
``/etc`` of this machine read-only, and a network of its own with nothing but loopback where that is possible (root; see
network.py). The user is the pod's ``runAsUser``, without capabilities.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.standins.kubernetes.world import Image

Json = dict[str, Any]
IS_ROOT = os.geteuid() == 0
INFO = "INFO"


def user_of(pod: Json, container: Json) -> int | None:
    """The ``runAsUser`` that counts."""
    own, whole = container.get("securityContext") or {}, pod["spec"].get("securityContext") or {}
    found = own.get("runAsUser", whole.get("runAsUser"))
    return None if found is None else int(found)


def must_not_be_root(pod: Json, container: Json) -> bool:
    """The ``runAsNonRoot`` that counts."""
    own, whole = container.get("securityContext") or {}, pod["spec"].get("securityContext") or {}
    return bool(own.get("runAsNonRoot", whole.get("runAsNonRoot")))


def command(pod: Json, container: Json, image: Image, mounts: Sequence[tuple[str, str, bool]], hosts: str) -> list[str]:
    """``mounts`` are (path of this machine, path inside, whether read-only).

    ``INFO`` stands for the descriptor that bubblewrap tells the pid to.
    """
    user = user_of(pod, container) or 0
    group = (pod["spec"].get("securityContext") or {}).get("runAsGroup", user)
    words = [_found("bwrap"), "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", pod["metadata"]["name"]]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--info-fd", INFO]
    if IS_ROOT:
        capabilities = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_DAC_READ_SEARCH")
        words += ["--unshare-net", *(word for one in capabilities for word in ("--cap-add", one))]
    else:
        words += ["--unshare-user", "--uid", str(user), "--gid", str(group)]
    words += ["--proc", "/proc", "--dev", "/dev", "--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc"]
    words += ["--ro-bind", hosts, "/etc/hosts", "--perms", "1777", "--dir", "/tmp"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for source, target in image.binds:
        words += _overlaid(source, target)
    for source, target, read_only in sorted(mounts, key=lambda mount: mount[1]):
        words += [*_directories(target), "--ro-bind" if read_only else "--bind", source, target]
    if (container.get("securityContext") or {}).get("readOnlyRootFilesystem"):
        words += ["--remount-ro", "/"]
    words += ["--chdir", container.get("workingDir") or "/", "--", *_become(user, group, pod)]
    return words


def program(container: Json, image: Image, env: dict[str, str]) -> list[str]:
    """What runs in the container: its ``command`` and ``args``, or what the image has."""
    given = container.get("command")
    words = list(given or image.entrypoint)
    words += container.get("args") or ([] if given else image.cmd)
    return [expand(word, env) for word in words]


def expand(text: str, env: dict[str, str]) -> str:
    """``$(NAME)`` as the kubelet replaces it."""
    for name, value in env.items():
        text = text.replace(f"$({name})", value)
    return text


def inside(pid: int, pod: Json, container: Json, words: Sequence[str]) -> list[str]:
    """The command line that runs more in the container of ``pid``."""
    user = user_of(pod, container) or 0
    group = (pod["spec"].get("securityContext") or {}).get("runAsGroup", user)
    enter = [_found("nsenter"), "--target", str(pid), "--mount", "--pid", "--ipc", "--uts"]
    enter += ["--net"] if IS_ROOT else ["--user", "--preserve-credentials"]
    directory = container.get("workingDir") or "/"
    return [
        *enter,
        f"--wd={directory}" if not IS_ROOT else f"--wdns={directory}",
        "--",
        *_become(user, group, pod),
        *words,
    ]


def _become(user: int, group: int, pod: Json) -> list[str]:
    if not IS_ROOT:
        return []
    extra = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    groups = ["--clear-groups"] if extra is None else ["--groups", str(extra)]
    words = [_found("setpriv"), "--reuid", str(user), "--regid", str(group), *groups, "--no-new-privs"]
    return [*words, "--inh-caps", "-all", "--ambient-caps", "-all", "--bounding-set", "-all", "--"]


def _overlaid(source: str, target: str) -> list[str]:
    """Below ``/usr``, which is read-only, nothing can be made: the directory is covered by one in memory."""
    parent = PurePosixPath(target).parent
    if parent.is_relative_to("/usr"):
        return ["--tmpfs", str(parent), "--ro-bind", source, target]
    return [*_directories(str(parent)), "--ro-bind", source, target]


def _directories(path: str) -> list[str]:
    words: list[str] = []
    for directory in [*reversed(PurePosixPath(path).parents), PurePosixPath(path)][1:]:
        if not directory.is_relative_to("/usr") and not directory.is_relative_to("/etc"):
            words += ["--perms", "0755", "--dir", str(directory)]
    return words


def _found(name: str) -> str:
    path = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    assert path is not None, f"pods need {name}"
    return path
