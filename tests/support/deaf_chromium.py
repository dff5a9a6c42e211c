#!/usr/bin/env python3
"""Chromium that does not hear of changes of the machine's networks.

It gives up whatever it loads when an address comes or goes ("ERR_NETWORK_CHANGED"), which other tests' containers make
happen all the time. The kernel tells it by a netlink socket; where it gets none it takes the network to be there and
stays calm. A seccomp filter, which programs hand on to those that they start, refuses that one kind of socket.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

CHROMIUM: Final = "/usr/bin/chromium"
_AF_NETLINK: Final = 16
_SOCKET: Final = {"x86_64": 41, "aarch64": 198}  # the number of the system call
# From linux/prctl.h, linux/seccomp.h and linux/bpf_common.h.
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _FIRST_ARGUMENT_AT = 0, 16  # in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EAFNOSUPPORT


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def refuse_netlink() -> None:
    """From now on, for this process and those that it becomes or starts. Raises :class:`OSError`."""
    steps = (
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_EQUAL, 0, 3, _SOCKET[platform.machine()]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_JUMP_EQUAL, 0, 1, _AF_NETLINK),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    if platform.machine() in _SOCKET:
        refuse_netlink()
    os.execv(CHROMIUM, [CHROMIUM, *sys.argv[1:]])
