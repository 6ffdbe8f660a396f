"""Keeps what becomes known of a run, in memory and, once a folder is open, on disk.

**Invariants**

- A record is on disk (handed to the operating system) before `append` returns: a process killed afterwards loses
  nothing. Incidents and the closing are also flushed to the device.
- One record is one line written by one call. A line that could not be written whole is cut off again, so the file
  stays readable; what is missing from it is tried once more at the closing.
- Nothing here raises, whatever the disk does: `failure` says why, and `recording()` still has everything.
- Bounded: of the incidents `MAX_INCIDENTS` are kept in full, the rest are counted; a training with an incident at
  every step adds a line only when a count doubles.
- A forked child (a data-loading worker) keeps its records to itself: the file belongs to the process that opened it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from stayfinite.recording.layout import CASES, EVENTS, create_named, create_unique, default_folder, file_name
from stayfinite.records.encoding import encode
from stayfinite.records.finding import Warning
from stayfinite.records.incident import Case, Incident, Symptom
from stayfinite.records.manifest import Closing, Manifest
from stayfinite.records.recording import Record, Recording, Repeats, Stage, gather
from stayfinite.records.trace import Trace

MAX_INCIDENTS = 20
"""Incidents of different identity stored in full."""
MAX_MINOR = {Symptom: 100, Trace: MAX_INCIDENTS, Case: MAX_INCIDENTS, Stage: 500, Warning: 200}
"""Other records stored of each kind: a handful per incident, with room for repeats."""


class Recorder:
    """All records of one run. `folder` is where they go: a folder the user named, or ``None`` for the default place.

    Nothing is written before `open`.
    """

    def __init__(self, manifest: Manifest, folder: Path | None = None) -> None:
        self.manifest = manifest
        self.folder: Path | None = None
        """The report folder once it exists."""
        self._named = None if folder is None else _working_directory() / folder  # the script may go elsewhere
        self._default = default_folder(manifest.module or manifest.script, _working_directory())
        self._records: list[Record] = [manifest]
        self._written = 0
        self._stored: dict[str, Incident] = {}
        self._repeats: dict[str, Repeats] = {}
        self._minor = dict.fromkeys(MAX_MINOR, 0)
        self._dropped = 0
        self._file = -1
        self._good = 0
        self._disk_failure: str | None = None
        self._record_failure: str | None = None
        self._owner = os.getpid()
        self._lock = threading.RLock()

    @property
    def failure(self) -> str | None:
        """Why the recording on disk is not complete, or ``None``."""
        return self._disk_failure or self._record_failure

    def open(self) -> Path | None:
        """Create the folder and write what is known so far. Returns the folder, or ``None`` with `failure` set.

        Calling it again does nothing more.
        """
        with self._lock:
            if self.folder is not None or os.getpid() != self._owner:
                return self.folder
            place = self._named or self._default
            try:
                folder = create_named(place) if self._named is not None else create_unique(place)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
                self._file = os.open(folder / EVENTS, flags, 0o666)
                self._good = os.fstat(self._file).st_size
            except OSError as error:
                self._fail(place, error)
                return None
            self.folder, self._disk_failure = folder, None
            self._write_missing(sync=True)
            return self.folder

    def append(self, record: Record) -> None:
        """Keep `record`, and write it if a folder is open.

        An incident whose id is known replaces the stored one if it is of the same step (more became known of it), and
        is counted otherwise.
        """
        with self._lock:
            if isinstance(record, Incident):
                self._append_incident(record)
                return
            kind = type(record)
            if kind in self._minor:
                if self._minor[kind] >= MAX_MINOR[kind]:
                    self._dropped += 1
                    return
                self._minor[kind] += 1
            self._keep(record, sync=False)

    def close(self, closing: Closing) -> None:
        """Write the counts and the closing, and close the file. Further records are kept in memory only."""
        with self._lock:
            if self._dropped:
                message = f"{self._dropped} further symptoms, cases, stages and warnings were not stored"
                self._keep(Warning(id="records-not-stored", message=message), sync=False)
            for repeats in self._repeats.values():
                if repeats.count > 1:
                    self._keep(repeats, sync=False)
            self._records.append(closing)
            if self._file < 0 or os.getpid() != self._owner:
                return
            self._disk_failure = None
            self._write_missing(sync=True)
            os.close(self._file)
            self._file = -1

    def recording(self) -> Recording:
        """Everything kept so far, as a reader of the folder would see it."""
        with self._lock:
            counts = [repeats for repeats in self._repeats.values() if repeats.count > 1]
            folder = None if self.folder is None else str(self.folder)
            return gather([*self._records, *counts], folder=folder)

    def case_folder(self, incident_id: str) -> Path | None:
        """The folder for what a replay of `incident_id` needs, created; ``None`` if there is no folder to put it in."""
        if self.folder is None:
            return None
        place = self.folder / CASES / file_name(incident_id)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._fail(place, error)
            return None
        return place

    def save(self, name: str, data: bytes) -> Path | None:
        """Put `data` into the file `name` of the report folder, whole or not at all; ``None`` if that failed."""
        if self.folder is None or os.getpid() != self._owner:
            return None
        place = self.folder / name
        draft = place.with_name(place.name + ".part")
        try:
            draft.write_bytes(data)
            os.replace(draft, place)
        except OSError as error:
            self._fail(place, error)
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            return None
        return place

    def _append_incident(self, incident: Incident) -> None:
        step = incident.case.symptom.step
        known = self._stored.get(incident.id)
        if known is not None and known.case.symptom.step == step:
            self._stored[incident.id] = incident
            self._keep(incident, sync=True)
        elif known is not None and incident.stopped and not known.stopped:  # it came back, and was the end of the run
            self._stored[incident.id] = incident
            self._count(incident.id, step)
            self._keep(incident, sync=True)
        elif known is None and len(self._stored) < MAX_INCIDENTS:
            self._stored[incident.id] = incident
            self._repeats[incident.id] = Repeats(incident.id, 1, step, step)
            self._keep(incident, sync=True)
        else:
            self._count(incident.id if known is not None else "", step)

    def _count(self, key: str, step: int) -> None:
        before = self._repeats.get(key)
        if before is None:
            after = Repeats(key, 1, step, step)
        else:
            after = Repeats(key, before.count + 1, before.first_step, max(step, before.last_step))
        self._repeats[key] = after
        if after.count & (after.count - 1) == 0 and self._writing():
            self._write(after)

    def _keep(self, record: Record, *, sync: bool) -> None:
        self._records.append(record)
        if self._writing():
            self._write_missing(sync=sync)

    def _writing(self) -> bool:
        return self._file >= 0 and self._disk_failure is None and os.getpid() == self._owner

    def _write_missing(self, *, sync: bool) -> None:
        while self._written < len(self._records):
            if not self._write(self._records[self._written]):
                return
            self._written += 1
        if sync:
            try:
                os.fsync(self._file)
            except OSError as error:
                self._fail(self.folder, error)

    def _write(self, record: Record) -> bool:
        """Whether to go on with the next record. One that has no JSON form is passed over; a failing disk ends it."""
        try:
            data = encode(record) + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            self._record_failure = f"a {type(record).__name__.lower()} could not be written: {error}"
            return True
        try:
            done = 0
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError as error:
            self._fail(self.folder, error)
            with suppress(OSError):  # a device that cannot be cut: the reader passes over a broken line
                os.ftruncate(self._file, self._good)
            return False
        self._good += len(data)
        return True

    def _fail(self, place: Path | None, error: OSError) -> None:
        self._disk_failure = f"the recording could not be written to {place}: {error.strerror or error}"


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:
        return Path()
