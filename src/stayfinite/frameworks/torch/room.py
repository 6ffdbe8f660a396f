"""Is there room for the copies that a repetition needs?

A repetition may write whatever the step writes, so all of that is copied before it: parameters, buffers, gradients and
moments, once, and once more for each state beside the first that must come back (after earlier updates of the same
pass; after a step whose result counts). A large model may fill the machine. Then the step is held without being
repeated, and the report says what was missing.

The limit is half of what is free, on the device where the state lies; ``STAYFINITE_SNAPSHOT_LIMIT`` sets it in MiB.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import torch
from torch import Tensor

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.subjects import Subjects

SHARE = 0.5
"""Of the free memory: the microscope keeps copies of its own, and the machine has other work."""
_MIB = 2**20


def size_of_state(subjects: Subjects) -> dict[torch.device, int]:
    """Bytes of everything a snapshot copies, by device."""
    moments = [value for optimizer in subjects.optimizers for _, value in hold.state_tensors(optimizer)]
    gradients = [p.grad for p in subjects.parameters if p.grad is not None]
    found: dict[torch.device, int] = {}
    for tensor in _once([*subjects.parameters, *subjects.buffers, *gradients, *moments]):
        found[tensor.device] = found.get(tensor.device, 0) + tensor.numel() * tensor.element_size()
    return found


def lacking(subjects: Subjects, copies: int) -> str | None:
    """Why `copies` of the state of `subjects` cannot be made, in words; ``None`` if they can or if nothing is known of
    the memory."""
    for device, size in size_of_state(subjects).items():
        limit = limit_on(device)
        if limit is not None and copies * size > limit:
            return (
                f"a repetition needs {_told(copies * size)} for copies of the state, and {_told(limit)} may be taken "
                f"(half of what is free on {device}; STAYFINITE_SNAPSHOT_LIMIT sets it in MiB)"
            )
    return None


def limit_on(device: torch.device) -> int | None:
    """Bytes that snapshots on `device` may take; ``None`` if it is not known what is free there."""
    text = os.environ.get("STAYFINITE_SNAPSHOT_LIMIT", "")
    if text.strip().isdigit():
        return int(text) * _MIB
    free = free_on(device)
    return int(free * SHARE) if free is not None else None


def free_on(device: torch.device) -> int | None:
    """Bytes nobody uses on `device`; ``None`` if that is not known."""
    if device.type == "cuda":
        # what the allocator holds and nobody uses is free as well
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu":
        return None
    with suppress(OSError, ValueError, IndexError), open("/proc/meminfo", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _once(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _told(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / _MIB:.0f} MiB"
