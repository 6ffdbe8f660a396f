"""Linux keeps a process, and all it begins, from writing outside of a few folders (Landlock, since Linux 5.13).

What compiled libraries write goes past Python; this holds for them too. Where the system knows nothing of it, nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Numbers of the system calls, equal on all machines (include/uapi/asm-generic/unistd.h)."""
_NO_NEW_PRIVILEGES, _PATH_BENEATH, _VERSION = 38, 1, 1
_WRITING = 0x2 | 0x10 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x1000
"""Writing, removing and making of files, folders, devices, sockets, pipes and links (include/uapi/linux/landlock.h)."""
_TRUNCATE, _MOVE = 0x4000, 0x2000
"""Known from versions 3 and 2 on."""


class _Handled(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def confine(folders: Iterable[str]) -> bool:
    """From now on this process can write below `folders` only; reading stays as it is. **Returns** False where it cannot be done."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        system = ctypes.CDLL(None, use_errno=True).syscall
        version = system(_CREATE, None, ctypes.c_size_t(0), _VERSION)
        if version < 1:
            return False
        rights = _WRITING | (_MOVE if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
        rules = system(_CREATE, ctypes.byref(_Handled(rights)), ctypes.c_size_t(ctypes.sizeof(_Handled)), 0)
        if rules < 0:
            return False
        for folder in folders:
            try:
                opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue
            system(_ADD, rules, _PATH_BENEATH, ctypes.byref(_Beneath(rights, opened)), 0)
            os.close(opened)
        ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        done: int = system(_RESTRICT, rules, 0)
        os.close(rules)
    except (OSError, AttributeError, ValueError):
        return False
    return done == 0
