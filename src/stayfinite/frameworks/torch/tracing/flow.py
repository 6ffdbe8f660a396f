"""Which call made the non-finite values that lie in a piece of memory.

Values travel through views and in-place writes, so the ledger is kept per storage, not per tensor. A storage known to
be finite is not looked at again; one that a single call made bad carries that call; one that several calls wrote parts
of carries an owner for each element. A weak reference to the storage keeps its address from being used again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from stayfinite.frameworks.torch.stats import bad_mask
from stayfinite.frameworks.torch.tracing.frames import Spot
from stayfinite.frameworks.torch.tracing.labels import Labels, Pattern, Place

NOBODY = -(2**31)
"""Owner of an element that no call made bad. Calls are numbered from 0, leaves from -1 downwards."""


class Maker(NamedTuple):
    """What made a piece of memory: the kinds of the last operators, latest first, and where the latest was called."""

    kinds: tuple[str, ...]
    spot: Spot


class Wrapped(NamedTuple):
    """Whole numbers that left their range in call `call`: `where` they lie (``None``: not known), `age`: calls since then."""

    call: int
    where: torch.Tensor | None
    age: int = 0


class Record:
    """What is known of one storage.

    **Fields**: `known`: all of it was looked at or written during the trace; `source` of the bad values in it, ``None``
    if there are none; `owners`, one per element of `itemsize` bytes, where more than one source is involved; `rows`:
    the batch runs through it; `gate`: the forward call whose selection shaped this gradient; `maker`: what wrote it last
    in the forward pass; `flushed`: the call that lost numbers of it to a half-precision format; `pattern`: which rows of the
    batch it belongs to; `labels`: the same of all of it, as it was written; `regions`: of views that are the batch while their
    memory is more; `empty`: of views without an element, whose memory tells nothing; `wrapped`: whole numbers that left their range.
    """

    __slots__ = (
        "empty", "flushed", "gate", "itemsize", "keeper", "known", "labels", "maker", "owners", "pattern", "regions", "rows", "source",
        "wrapped",
    )

    def __init__(self, keeper: StorageWeakRef) -> None:
        self.keeper = keeper
        self.known = False
        self.source: int | None = None
        self.owners: torch.Tensor | None = None
        self.itemsize = 0
        self.rows = False
        self.gate: object = None
        self.maker: Maker | None = None
        self.flushed = -1
        self.pattern: Pattern | None = None
        self.labels: tuple[Place, Labels] | None = None
        self.regions: dict[Place, Pattern] = {}
        self.empty: dict[Place, Labels] = {}
        self.wrapped: Wrapped | None = None

    @property
    def finite(self) -> bool:
        """True if nothing bad lies here."""
        return self.known and self.source is None and self.owners is None


def covers(tensor: torch.Tensor) -> bool:
    """True if a dense `tensor` has every element of its storage."""
    return tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes()


class Flow:
    """The ledger of one trace."""

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}

    @staticmethod
    def key(tensor: torch.Tensor) -> int:
        """Identity of the memory behind a dense `tensor`."""
        return int(tensor.untyped_storage()._cdata)

    def get(self, tensor: torch.Tensor) -> Record | None:
        """What is known of the memory behind `tensor`, or ``None``."""
        return self._records.get(tensor.untyped_storage()._cdata)

    def records(self) -> Iterable[Record]:
        """All that is known."""
        return self._records.values()

    def record(self, tensor: torch.Tensor) -> Record:
        """What is known of the memory behind `tensor`; a new, finite record if nothing is."""
        storage = tensor.untyped_storage()
        found = self._records.get(storage._cdata)
        if found is None:
            found = self._records[storage._cdata] = Record(StorageWeakRef(storage))
        return found

    def write(self, tensor: torch.Tensor, source: int | None) -> Record:
        """Note that `tensor` was just written: by `source` where it is non-finite now, ``None`` if it is finite."""
        record = self.record(tensor)
        if covers(tensor):
            record.known, record.source, record.owners = True, source, None
            return record
        if source is None and record.source is None and record.owners is None:
            return record
        self._split(record, tensor)
        if record.owners is not None and record.itemsize == tensor.element_size():
            region = record.owners.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
            fresh = torch.full(tensor.shape, NOBODY, dtype=torch.int32)
            if source is not None:
                fresh[bad_mask(tensor).cpu()] = source
            region.copy_(fresh)
            if source is None and not bool((record.owners != NOBODY).any()):
                record.owners = None
        elif source is not None:
            record.source, record.owners = source, None
        return record

    @staticmethod
    def _split(record: Record, tensor: torch.Tensor) -> None:
        """Give every element of a storage its own owner, if it has none yet."""
        if record.owners is None:
            record.itemsize = tensor.element_size()
            extent = tensor.untyped_storage().nbytes() // record.itemsize
            record.owners = torch.full((extent,), NOBODY if record.source is None else record.source, dtype=torch.int32)
            record.source = None

    def sources(self, tensor: torch.Tensor) -> set[int]:
        """The sources of the non-finite elements of a bad `tensor`; empty if they were never seen being made."""
        record = self.get(tensor)
        if record is None:
            return set()
        if record.owners is None:
            return set() if record.source is None else {record.source}
        if record.itemsize != tensor.element_size():
            found = record.owners
        else:
            region = record.owners.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
            found = region[bad_mask(tensor).cpu()]
        return {int(owner) for owner in found.unique() if int(owner) != NOBODY}
