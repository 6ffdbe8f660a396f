"""Turns live objects into the records a case is made of."""

from __future__ import annotations

import collections
import dis
import math
import re
import sys
import traceback
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.passes import Window
from stayfinite.frameworks.torch.stats import rows_compared
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.records.incident import LISTED, Case, Configuration, ExceptionInfo, Incident, OptimizerInfo
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import show, to_number
from stayfinite.records.tensor import TensorStats
from stayfinite.rewrite.project import is_user_file

_RAISING = frozenset(dis.opmap[name] for name in ("RAISE_VARARGS", "RERAISE"))
_NUMERIC_TYPES = (ValueError, RuntimeError, IndexError, AssertionError, ArithmeticError)
_NUMERIC_WORDS = re.compile(
    r"\b(nan|inf|infinite|infinity|non-?finite|isfinite|diverg\w*|overflow\w*|underflow|domain|out of (bounds|range)|valid range|"
    r"between 0 and 1|constraint|positive[- ]?definite|singular|ill-conditioned|converge\w*|factoriz\w*|"
    r"more than 1 (value|spatial element)|negative entr(y|ies)|std >= 0|eps must be positive|non-?zero size|too small|"
    r"kernel size can.t be greater|divisor must|probability tensor|multinomial|division by zero|invalid values?|"
    r"sum.{0,20}positive|device-side assert|class values must be)\b|Expected parameter",
    re.I,
)


def scalar(value: object) -> float | None:
    """`value` as a float if it is one number that a loss could be."""
    if isinstance(value, Tensor) and value.numel() == 1 and (value.is_floating_point()) and value.dim() <= 1:
        return float(value.detach().item())
    return value if isinstance(value, float) else None


def bad_scalars(names: Mapping[str, Any]) -> list[Any]:
    """Numbers among the values of `names` that are NaN or infinite, tensors before plain floats."""
    found = [value for value in names.values() if (number := scalar(value)) is not None and not math.isfinite(number)]
    return sorted(found, key=lambda value: not isinstance(value, Tensor))


def bad_scalars_of(error: BaseException) -> list[Any]:
    """The same among the names of the user's frames that `error`, raised by the user's own code, went through."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames or not is_user_file(frames[-1].f_code.co_filename):
        return []
    return [value for frame in reversed(frames) if is_user_file(frame.f_code.co_filename) for value in bad_scalars(frame.f_locals)]


def tensors_of(names: Mapping[str, Any]) -> dict[str, Any]:
    """The names that hold tensors, arrays or containers of them, without modules and optimizers."""
    found = {}
    for name, value in names.items():
        if name.startswith("_") or isinstance(value, nn.Parameter):
            continue
        if _is_array(value) or (isinstance(value, (list, tuple, dict)) and any(_is_array(item) for item in _items(value))):
            found[name] = value
    return found


def _is_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return isinstance(value, Tensor) or (numpy is not None and isinstance(value, numpy.ndarray))


def _items(value: Any) -> list[Any]:
    return list(value.values() if isinstance(value, dict) else value)[:16] if len(value) <= 64 else []


def _named_tensors(names: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in tensors_of(names).items():
        if isinstance(value, dict):
            yield from ((f"{name}[{key!r}]", item) for key, item in value.items() if isinstance(item, Tensor))
        elif isinstance(value, (list, tuple)):
            yield from ((f"{name}[{i}]", item) for i, item in enumerate(value) if isinstance(item, Tensor))
        elif isinstance(value, Tensor):
            yield name, value
        else:
            try:
                yield name, torch.from_numpy(value)
            except TypeError:
                continue


def stats(name: str, tensor: Tensor) -> TensorStats:
    """`TensorStats` of `tensor`; integers have neither NaN nor infinities."""
    values = tensor.detach()
    if values.layout is not torch.strided:
        values = values.coalesce().values() if values.layout is torch.sparse_coo else values.to_dense()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    if values.numel() == 0 or values.dtype == torch.bool:
        return TensorStats(name, shape, dtype)
    zero = int(values.numel() - torch.count_nonzero(values))
    if not values.is_floating_point():
        return TensorStats(name, shape, dtype, zero=zero, min=float(values.min()), max=float(values.max()))
    finite = values[torch.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (math.nan, math.nan)
    return TensorStats(
        name, shape, dtype,
        nan=int(torch.isnan(values).sum()), posinf=int(torch.isposinf(values).sum()), neginf=int(torch.isneginf(values).sum()),
        zero=zero, min=to_number(low), max=to_number(high),
    )


def batch(names: Mapping[str, Any], trained: Container[int] = ()) -> tuple[TensorStats, ...]:
    """Statistics of the tensors the step's names hold that autograd did not make; without those whose `id` is in `trained`:
    parameters of scripts that keep them in lists."""
    named = ((name, t) for name, t in _named_tensors(names) if id(t) not in trained)
    found = [(name, t) for name, t in named if t.grad_fn is None and t.numel() <= 2**24]
    return tuple(rows_compared(stats(name, t), t) for name, t in found[:24])


def batch_size(names: Mapping[str, Any]) -> int | None:
    """The commonest first extent of those tensors."""
    extents = collections.Counter(t.shape[0] for _, t in _named_tensors(names) if t.grad_fn is None and t.dim() > 0)
    return extents.most_common(1)[0][0] if extents else None


def parameters(subjects: Subjects) -> tuple[TensorStats, ...]:
    """All parameters and buffers that hold non-finite values, and the `LISTED` parameters of largest magnitude."""
    named = [(subjects.parameter_names[id(p)], p) for p in subjects.parameters]
    every = [stats(name, p) for name, p in named]
    bad = [s for s in every if s.nonfinite]
    bad += [s for s in (stats(subjects.buffer_names[id(b)], b) for b in subjects.buffers if b.is_floating_point()) if s.nan]
    def magnitude(s: TensorStats) -> float:
        return max((abs(v) for v in (s.min, s.max) if not isinstance(v, str)), default=0.0)
    good = sorted((s for s in every if not s.nonfinite), key=magnitude, reverse=True)[:LISTED]
    return (*bad[:50], *good)


def overwritten(subjects: Subjects, versions: Sequence[int]) -> tuple[str, ...]:
    """`Case.overwritten`, from the version counters the parameters had when the first step began."""
    pairs = zip(subjects.parameters, versions, strict=False)
    return tuple(
        subjects.parameter_names[id(p)] for p, version in pairs if version >= 2 and not bool(torch.isfinite(p.detach()).all())
    )[:50]


def configuration(subjects: Subjects, live: Live) -> Configuration:
    """How the step was run."""
    made = []
    for optimizer in subjects.optimizers:
        schedulers = [one for one in subjects.schedulers if getattr(one, "optimizer", None) is optimizer]
        defaults = optimizer.defaults
        betas = defaults.get("betas", ())
        made.append(OptimizerInfo(
            kind=type(optimizer).__name__,
            rates=tuple(to_number(float(group["lr"])) for group in optimizer.param_groups if "lr" in group),
            epsilon=_number(defaults.get("eps")),
            betas=tuple(float(beta) for beta in betas),
            momentum=_number(defaults.get("momentum")),
            weight_decay=_number(defaults.get("weight_decay")),
            location=live.made.get(optimizer, UNKNOWN_LOCATION),
            schedulers=tuple(type(one).__name__ for one in schedulers),
            base_rates=tuple(to_number(float(group["initial_lr"])) for group in optimizer.param_groups if "initial_lr" in group),
            scheduled_at=next((live.scheduled[one] for one in schedulers if one in live.scheduled), UNKNOWN_LOCATION),
            gradients_alive=live.clearing.left(optimizer),
            clear_at=live.clearing.place(optimizer),
        ))
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in subjects.parameters})
    return Configuration(
        optimizers=tuple(made),
        parameter_dtypes=tuple(dtypes),
        autocast=live.autocast,
        loss_scale=live.scaling.scale,
        clip_norm=live.clip.limit if live.clip is not None else None,
        clipped_norm=to_number(live.clip.norm) if live.clip is not None else None,
        compiled=bool(live.compiled_at.file) or any(type(root).__name__ == "OptimizedModule" for root in subjects.roots),
        device=str(subjects.parameters[0].device) if subjects.parameters else "cpu",
        checkpoint=live.checkpoint,
        gradients_alive=live.clearing.alive,
        loss_scaling=live.scaling.described(),
        compiled_at=live.compiled_at,
        clipped_at=live.clipped_at,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


# -- exceptions and places -------------------------------------------------------------------------------------------


_PYTHONS_OWN = re.compile(
    r"((list|tuple|string|bytes|bytearray|array|deque|range object|pop|mmap)( assignment)? )?index out of range"
    r"|(index out of bounds on dimension|Replacement index|Dimension out of range) .*",
    re.S,
)
"""What an index out of range is called by the containers of Python (CPython 3.11 to 3.14), and by torch where it is no value
but a dimension that is out of range."""


def may_be_numeric(error: Exception, window: Window | None) -> bool:
    """True if `error` may come from non-finite values, a domain, a decomposition or a label range: worth a replay."""
    if not isinstance(error, _NUMERIC_TYPES) or (isinstance(error, IndexError) and not _is_of_an_array(error)):
        return False
    if window is not None and any(not math.isfinite(loss.value) for loss in window.losses):
        return True
    if _NUMERIC_WORDS.search(str(error)) or isinstance(error, ArithmeticError):
        return True
    frame = _innermost(error)
    code = _source_line(frame, _line(error)) if frame is not None else ""
    return isinstance(error, AssertionError) and bool(_NUMERIC_WORDS.search(code))


_NUMERIC_KINDS = frozenset(
    "cholesky svd eigh inverse det bce nll_loss cross_entropy embedding index multinomial".split()
)


def explains(case: Case) -> bool:
    """True if the exception of `case` is explained by what its step computed."""
    error = case.exception
    if error is None:
        return True
    if case.origin is not None:
        return True
    if any(sink.kind == "exception" for sink in case.trace.sinks):
        return True
    raised = [call for call in case.trace.calls if call.raised]
    return any(call.kind in _NUMERIC_KINDS for call in raised)


def exception_info(error: BaseException, relative: Callable[[str], str]) -> ExceptionInfo:
    """Type, message and the innermost line of the user's own code."""
    location = UNKNOWN_LOCATION
    for frame, line in traceback.walk_tb(error.__traceback__):
        if is_user_file(frame.f_code.co_filename):
            location = frame_location(frame, relative, line)
    return ExceptionInfo(type(error).__qualname__, str(error), location)


def _is_of_an_array(error: IndexError) -> bool:
    """True if a tensor or an array was asked for what it does not hold: the error came out of compiled code, which leaves no
    frame of its own, and not from one of Python's own containers. A ``raise`` speaks of something else: of the items of
    a data set, of a list of modules."""
    trail = error.__traceback__
    while trail is not None and trail.tb_next is not None:
        trail = trail.tb_next
    if trail is None or _PYTHONS_OWN.fullmatch(str(error)):
        return False
    return trail.tb_frame.f_code.co_code[trail.tb_lasti] not in _RAISING


def _innermost(error: BaseException) -> FrameType | None:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1] if frames else None


def _line(error: BaseException) -> int:
    lines = [line for _, line in traceback.walk_tb(error.__traceback__)]
    return lines[-1] if lines else 0


def _source_line(frame: FrameType, line: int) -> str:
    import linecache

    return linecache.getline(frame.f_code.co_filename, line)


def frame_location(frame: FrameType, relative: Callable[[str], str], line: int | None = None) -> Location:
    """Where `frame` is."""
    line = line or frame.f_lineno
    text = _source_line(frame, line).strip()
    return Location(file=relative(frame.f_code.co_filename), line=line, function=frame.f_code.co_qualname, code=text)


def user_location(relative: Callable[[str], str], made: object = None) -> Location:
    """The innermost line of the user's own code that is running now; outside of the constructor of `made`."""
    for frame in user_frames(sys._getframe(1)):
        own = made is not None and frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is made
        if not own:
            return frame_location(frame, relative)
    return UNKNOWN_LOCATION


def user_frames(frame: FrameType | None, deep: int = sys.maxsize) -> Iterator[FrameType]:
    """`frame` and those that called it, `deep` in all, as far as they run the user's own code, the innermost first."""
    while frame is not None and deep > 0:
        deep -= 1
        if is_user_file(frame.f_code.co_filename):
            yield frame
        frame = frame.f_back


def summary(incident: Incident) -> str:
    """One sentence: what, when, where, and that the step was held."""
    symptom, origin = incident.case.symptom, incident.case.origin
    text = f"step {symptom.step}: {symptom.detector.replace('-', ' ')} ({show(symptom.value)})"
    if origin is not None:
        text += f", born in {origin.op} at {origin.location.file}:{origin.location.line}"
    return text + ("; the step was held" if incident.held else "; the step could not be held")
