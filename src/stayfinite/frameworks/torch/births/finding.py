"""Looks for who made the bad state that a located case begins with, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import msgspec
from torch import Tensor, nn
from torch.optim import Optimizer

from stayfinite.frameworks.torch.births import constructors, rates
from stayfinite.frameworks.torch.births.built import Built
from stayfinite.frameworks.torch.births.loads import Loads
from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.looks import Looks
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.records.incident import Case, Configuration, Origin
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import to_float
from stayfinite.records.series import Window
from stayfinite.records.survey import Birth

GARBAGE = 1e12
"""Finite magnitudes that no random generator was asked for: memory that was never written may hold them."""


class Births:
    """`relative` spells a file as it stands in records."""

    def __init__(self, live: Live, looks: Looks, relative: Callable[[str], str]) -> None:
        self.loads = Loads(live._locate)
        self._built = Built(relative, lambda: bool(live.made))
        self._live = live
        self._looks = looks
        self._relative = relative

    def listen(self, wrap: Callable[..., None]) -> None:
        """Hook what loads a state and what builds a module."""
        self.loads.listen(wrap)
        self._built.listen(wrap)

    def of(self, case: Case, subjects: Subjects, frame: FrameType | None) -> Birth | None:
        """Who made the value at the origin of `case`, where that is state which was bad before the step; ``None`` if nothing
        in this process tells. `frame`: where the training loop runs."""
        origin = case.origin
        if origin is None:
            return None
        if origin.op == "learning_rate" or case.symptom.detector == "nonfinite-learning-rate":
            return self._of_rate(case.configuration, subjects, frame)
        if origin.op == "moment":
            return self._of_moment(case, origin, subjects)
        if origin.op in ("parameter", "buffer"):
            name = origin.buffer if origin.op == "buffer" else origin.parameter
            return self._of_tensor(name or "", subjects, frame)
        if case.symptom.step == 0:
            huge = (s for s in case.parameters if any(abs(to_float(v)) >= GARBAGE for v in (s.min, s.max)))
            return next((found for s in huge if (found := self._of_tensor(s.name, subjects, frame)) is not None), None)
        return None

    def configured(
        self, configuration: Configuration, windows: Sequence[Window], subjects: Subjects, frame: FrameType | None
    ) -> Configuration:
        """`configuration` with the line that made the rate of each optimizer, where that rate makes no sense, and the one that
        built what no optimizer has."""
        told = []
        for info, optimizer in zip(configuration.optimizers, subjects.optimizers, strict=False):
            found = None
            for group, (first, last) in enumerate(self._read(optimizer, windows)):
                if found is None and rates.is_odd(last, first):
                    found = rates.origin_of(last, group, self._schedulers(optimizer, subjects), frame, self._relative)
            told.append(msgspec.structs.replace(info, rated_at=found[0], rated=found[1]) if found is not None else info)
        late = self._built.late(subjects.roots, subjects.owned)
        return msgspec.structs.replace(
            configuration, optimizers=tuple(told), loaded_finite=self.loads.finite, built_late_at=late
        )

    def _read(self, optimizer: Optimizer, windows: Sequence[Window]) -> list[tuple[float, float]]:
        """First and last reading of the rate of each group: the groups themselves are as they were before the step."""
        before = 0
        for one in self._live.updates.of:
            if one is optimizer:
                break
            before += len(one.param_groups)
        series = [f"learning_rate[{n}]" if n else "learning_rate" for n in range(before, before + len(optimizer.param_groups))]
        known = {w.series: (to_float(w.values[0]), to_float(w.values[-1])) for w in windows if w.values}
        return [known[name] for name in series if name in known]

    def _schedulers(self, optimizer: Any, subjects: Subjects) -> list[Any]:
        every = [*subjects.schedulers, *self._live.scheduled]
        return [one for one in every if getattr(one, "optimizer", None) is optimizer]

    def _of_rate(self, configuration: Configuration, subjects: Subjects, frame: FrameType | None) -> Birth | None:
        known = next((info for info in configuration.optimizers if info.rated_at.file), None)
        return Birth(known.rated_at, known.rated, "between steps", by="schedule") if known is not None else None

    def _of_moment(self, case: Case, origin: Origin, subjects: Subjects) -> Birth | None:
        named = set(case.symptom.names) | {stats.name for stats in origin.inputs}
        for optimizer in subjects.optimizers:
            for parameter, state in optimizer.state.items():
                for key in state if isinstance(state, dict) else ():
                    name = f"{key} of {subjects.parameter_names.get(id(parameter), '?')}"
                    read = self.loads.of_moment(optimizer, parameter, key) if name in named else None
                    if read is not None:
                        return Birth(read.location, read.how, "setup", by="checkpoint")
        return None

    def _of_tensor(self, name: str, subjects: Subjects, frame: FrameType | None) -> Birth | None:
        tensor, holder, leaf = _find(name, subjects)
        read = self.loads.of(tensor) if tensor is not None else None
        if read is not None:
            return Birth(read.location, read.how, "setup", by="checkpoint")
        if tensor is None:
            return None
        if holder is not None and tensor._version > 0:
            writer = constructors.writer_of(holder, leaf, self._relative)
            if writer is not None:
                how = f"`{writer.expression}` is the only line that writes `{name}`"
                return Birth(writer, how, "source", by="write")
        if id(tensor) in self.loads.covered or self._was_finite(tensor):
            return self._written(tensor, name)
        place: Location | None = None
        if holder is not None:
            place = constructors.of_attribute(holder, leaf, self._relative)
        elif frame is not None:
            place = constructors.of_name(frame.f_code.co_filename, name, self._relative)
        if place is None:
            return None
        how = f"`{place.expression}` reserves memory for `{name}`, and nothing wrote to it"
        return Birth(place, how, "source", op="empty", by="constructor")

    def _written(self, tensor: Tensor, name: str) -> Birth | None:
        known = self._looks.latest
        if known is None or known.finite_after is None or not self._was_finite(tensor) or not known.outside:
            return None
        since = f"after step {known.finite_after}" if known.finite_after >= 0 else "before the first step"
        return Birth(UNKNOWN_LOCATION, f"`{name}` was finite {since} and was written between two steps", "between steps",
                     step=max(known.finite_after, 0), by="write")

    def _was_finite(self, tensor: Tensor) -> bool:
        known = self._looks.latest
        return known is not None and known.finite_after is not None and id(tensor) not in known.passed_over


def _find(name: str, subjects: Subjects) -> tuple[Tensor | None, nn.Module | None, str]:
    """The tensor called `name`, the module that holds it and the attribute it is there."""
    pairs = [(subjects.parameter_names.get(id(p), ""), p) for p in subjects.parameters]
    pairs += [(subjects.buffer_names.get(id(b), ""), b) for b in subjects.buffers]
    tensor = next((t for own, t in pairs if own == name), None) if name else None
    if tensor is None:  # a trace names buffers without the prefix of their model
        tensor = next((t for own, t in pairs if name and own.endswith(f".{name}")), None)
    if tensor is None:
        return None, None, ""
    for root in subjects.roots:
        for module in root.modules():
            for held in (module._parameters, module._buffers):
                leaf = next((key for key, value in held.items() if value is tensor), None)
                if leaf is not None:
                    return tensor, module, leaf
    return tensor, None, name
