"""Puts the failing step together as it is stored: written while tensors are those of the window's start."""

from __future__ import annotations

import io
import json
import platform
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.optim import Optimizer

from stayfinite import __version__
from stayfinite.frameworks.torch.passes import Failure, Window
from stayfinite.frameworks.torch.stored.disk import SCHEMA, CaseNotKept, can_store, digest_of, write_case
from stayfinite.frameworks.torch.stored.places import Place, Places
from stayfinite.frameworks.torch.stored.reading import StoredValues
from stayfinite.frameworks.torch.stored.state import CaseSubjects, write_state
from stayfinite.frameworks.torch.stored.writing import CaseValues, TooMuch, is_opaque
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.rewrite.state import Plan
from stayfinite.rewrite.undo import Unrepeatable

LIMIT = 256 * 2**20
"""Bytes of tensors a case may have. Larger states are not kept: writing one would hold the report up for seconds."""


def save_case(
    folder: Callable[[], Path | None],
    *,
    incident: str,
    window: Window,
    plan: Plan,
    subjects: Subjects,
    frame: FrameType,
    failure: Failure,
    asked: int,
    void: bool,
    made: list[Optimizer],
    relative: Callable[[str], str],
) -> None:
    """Write the step of `window` into the folder that `folder` makes when everything else is ready.

    Parameters, buffers and moments must be those of the window's start. Names, objects and generators of each pass are
    put back in turn and left so: the caller restores its own.

    **Arguments**: `asked`, how many updates of the window precede the one that failed; `void`, these are part of the
    state already; `made`, the optimizers of the process in the order they were made; `relative` shortens paths.

    **Raises**: `CaseNotKept` if it is too large, cannot be repeated, safetensors is missing or the disk refuses.
    """
    if not can_store():
        raise CaseNotKept("safetensors is not installed; `pip install 'stayfinite[torch]'` brings it")
    try:
        layout, values = _Capture(window, plan, subjects, frame).layout(failure, made)
    except Unrepeatable as reason:
        raise CaseNotKept(str(reason)) from reason
    place = folder()
    if place is None:
        raise CaseNotKept("there is no folder to write it to")
    block = plan.block
    layout |= {
        "schema": SCHEMA,
        "incident": incident,
        "step": failure.step,
        "asked": asked,
        "void": void,
        "block": {
            "file": relative(block.file), "line": block.line, "function": block.function,
            "sha256": digest_of(Path(block.file)),
        },
        "made_with": versions(),
    }
    write_case(place, layout, values.tensors)


class _Capture:
    """One step on its way into a layout. `left_out` collects what could not be written, and why."""

    def __init__(self, window: Window, plan: Plan, subjects: Subjects, frame: FrameType) -> None:
        window.passes[0].saved.restore()
        self._window = window
        self._block = plan.block
        self._frame = frame
        self._places = Places(plan, frame)
        self._subjects = CaseSubjects(subjects, self._places, [o for one in window.passes for o in one.stepped])
        needed = self._subjects.nbytes
        if needed > LIMIT:
            state = f"its parameters and moments take {_mebibytes(needed)}"
            raise CaseNotKept(f"{state}; at most {_mebibytes(LIMIT)} are kept")
        self._values = CaseValues(self._subjects.references(), self._places.paths)
        self._left_out: list[dict[str, str]] = []

    def layout(self, failure: Failure, made: list[Optimizer]) -> tuple[dict[str, Any], CaseValues]:
        """All sections that depend on live objects."""
        values, window = self._values, self._window
        written: dict[str, Any] = {
            "failure": {
                "detector": failure.detector, "step": failure.step, "series": failure.series,
                "value": values.write(failure.value, "failure"), "names": list(failure.names), "at": failure.at,
                "committed": failure.committed, "harmless": failure.harmless, "before": failure.before,
            },
            **write_state(values, self._subjects, self._places, made),
            "passes": [self._pass(number) for number in range(len(window.passes))],
        }
        if values.nbytes > LIMIT:
            raise CaseNotKept(f"the step takes {_mebibytes(values.nbytes)}; at most {_mebibytes(LIMIT)} are kept")
        window.passes[0].saved.restore()
        values.forget()
        written["places"] = written["places"] + self._rest()
        written["left_out"] = self._left_out
        return written, values

    def _pass(self, number: int) -> dict[str, Any]:
        """What a pass starts from: names, changing places, generators, results of `next`."""
        one, values = self._window.passes[number], self._values
        one.saved.restore()
        one.generators()
        values.forget()
        hint = f"pass.{number}"
        generators = [_own_generator(values, path, own, hint) for path, own in self._places.generators]
        files = [{"path": path, "position": file.tell()} for path, file in self._places.files if _has_position(file)]
        return {
            "names": self._names(number),
            "items": [self._item(kind, item, f"{hint}.next.{n}") for n, (kind, item) in enumerate(one.items)],
            "stepped": len(one.stepped),
            "places": self._write_places([place for place in self._places.values if place.changing], f"{hint}.place"),
            "own_generators": generators,
            "files": files,
            "generators": _generators(values, hint),
        }

    def _names(self, number: int) -> dict[str, Any]:
        bound = self._window.passes[number].saved.names
        written: dict[str, Any] = {}
        for name in sorted(self._block.needed.intersection(bound)):
            value = bound[name]
            if number and getattr(value, "grad_fn", None) is not None:
                continue  # an earlier pass of this window computed it: its repetition will again, with its graph
            try:
                written[name] = self._values.write(value, f"pass.{number}.{name}")
            except TooMuch as reason:
                written[name] = {"kind": "opaque", "type": type(value).__name__}
                self._leave_out(name, str(reason))
            else:
                if not is_opaque(written[name]) or _leads_elsewhere(written[name], name):
                    continue
                written[name] = {"kind": "opaque", "type": type(value).__name__}
                if not hasattr(value, "__next__") or isinstance(value, io.IOBase):  # what iterators gave is stored
                    self._leave_out(name, f"a {type(value).__name__} has no plain form")
        return written

    def _item(self, kind: str, item: Any, hint: str) -> Any:
        """A result of `next`: null for its end, else a list of one value."""
        if kind == "error" and isinstance(item, StopIteration):
            return None
        try:
            written = self._values.write(item, hint)
        except TooMuch as reason:
            raise CaseNotKept(f"what `next` returned has {reason}") from reason
        if kind == "error" or is_opaque(written):
            raise CaseNotKept(f"`next` gave a {type(item).__name__}, which has no plain form")
        return [written]

    def _rest(self) -> list[dict[str, Any]]:
        """Values the block reads and does not change, smallest first, as far as there is room for them."""
        values = self._values
        fixed = [place for place in self._places.values if not place.changing]
        room: list[Place] = []
        total = values.nbytes
        for size, number in sorted((values.size_of(place.value), number) for number, place in enumerate(fixed)):
            if total + size > LIMIT:
                self._leave_out(StoredValues.shown(fixed[number].path), f"it takes {_mebibytes(size)}")
            else:
                total += size
                room.append(fixed[number])
        return self._write_places(room, "place")

    def _write_places(self, places: list[Place], hint: str) -> list[dict[str, Any]]:
        """Places as they are now, attributes by their owner; what cannot be written is left to the script."""
        found: dict[str, dict[str, Any]] = {}
        names = self._frame.f_locals
        for place in places:
            shown = StoredValues.shown(place.path)
            before = set(self._values.tensors)
            try:
                written = self._values.write(StoredValues.lookup(place.path, names), f"{hint}.{shown}")
            except (LookupError, AttributeError, TypeError):
                continue
            except TooMuch as reason:
                self._values.drop(before)
                self._leave_out(shown, str(reason))
                continue
            if is_opaque(written):
                continue
            owner, (step, name) = place.path[:-1], place.path[-1][:2]
            if owner and step == "attr":
                found.setdefault(json.dumps(owner), {"path": owner, "attributes": {}})["attributes"][name] = written
            else:
                found[json.dumps(place.path) + "="] = {"path": place.path, "value": written}
        return list(found.values())

    def _leave_out(self, what: str, why: str) -> None:
        if all(known["what"] != what for known in self._left_out):
            self._left_out.append({"what": what, "why": why})


def _leads_elsewhere(written: dict[str, Any], name: str) -> bool:
    """True for a path to something that does not go by `name` itself: the script has it, wherever `name` points."""
    return written["kind"] == "at" and not (len(written["value"]) == 1 and written["value"][0][-1] == name)


def _own_generator(values: CaseValues, path: list[Any], generator: Any, hint: str) -> dict[str, Any]:
    if isinstance(generator, random.Random):
        kind, state = "python", generator.getstate()
    elif hasattr(generator, "bit_generator"):
        kind, state = "numpy", generator.bit_generator.state
    else:
        kind, state = "other", generator.get_state()  # torch.Generator, numpy.random.RandomState
    return {"path": path, "type": kind, "state": values.write(state, f"{hint}.generator.{StoredValues.shown(path)}")}


def _has_position(file: Any) -> bool:
    """False for a text file that is being iterated over, and for one that was closed meanwhile."""
    try:
        file.tell()
    except (OSError, ValueError):
        return False
    return True


def _generators(values: CaseValues, hint: str) -> dict[str, Any]:
    """The states of the process-wide generators."""
    numpy = sys.modules.get("numpy.random")
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return {
        "torch": values.write(torch.get_rng_state(), f"{hint}.generator.torch"),
        "python": values.write(random.getstate(), f"{hint}.generator.python"),
        "numpy": None if numpy is None else values.write(numpy.get_state(), f"{hint}.generator.numpy"),
        "cuda": None if cuda is None else values.write(cuda, f"{hint}.generator.cuda"),
    }


def versions() -> dict[str, str]:
    """What the step ran with, as far as its bits may depend on it."""
    found = {"stayfinite": __version__, "python": platform.python_version(), "machine": platform.platform()}
    for name in ("torch", "numpy"):
        if name in sys.modules:
            found[name] = str(getattr(sys.modules[name], "__version__", ""))
    return found | {"threads": str(torch.get_num_threads())}


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
