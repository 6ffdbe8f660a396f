"""Which call, or which check in Python, raised the exception that ended a step."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType

import torch

from stayfinite.frameworks.torch import ops
from stayfinite.frameworks.torch.stats import bad_mask, dense, describe, first_true, is_bad, is_number
from stayfinite.frameworks.torch.tracing.belonging import rows_of
from stayfinite.frameworks.torch.tracing.drafts import Draft
from stayfinite.frameworks.torch.tracing.frames import Frames, Spot
from stayfinite.frameworks.torch.tracing.judge import Judge
from stayfinite.frameworks.torch.tracing.mode import Microscope
from stayfinite.frameworks.torch.tracing.operands import shape_of
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Sink

_OPERANDS = 6

_RAISE = dis.opmap["RAISE_VARARGS"]
"""The instruction of ``raise`` and ``assert``: anything else in the user's own line was a call into C."""


def find_exception(error: BaseException, judge: Judge, frames: Frames, mode: Microscope) -> Sink:
    """The sink for `error`. Its source is the operator call that raised it; where a check in Python did, above any
    operator, a call is made up for it from the traceback: the user's line, and the tensors the check looked at."""
    name = type(error).__name__
    for one in _chain(error):
        held = judge.raised_by.get(id(one))
        if held is not None and held[0] is one:
            return Sink(kind="exception", name=name, stats=_nothing(name), source=held[1])
    spot, inside = frames.raising(error.__traceback__)
    if spot is None:
        return Sink(kind="exception", name=name, stats=_nothing(name))
    expression = frames.location(spot).expression
    kind, native = _what(expression, inside)
    draft = Draft(mode.count, native, kind, "open", spot)
    mode.count += 1
    draft.raised = f"{name}: {_first_line(error)}"
    checked = _checked(inside, expression) if inside else _mentioned(error.__traceback__, spot, expression)
    last = judge.last
    if last is not None and last.spot.code is spot.code:
        draft.module, draft.phase = last.module, last.phase
        if not checked and last.spot.offset == spot.offset:
            checked = [(operand.name, operand.tensor) for operand in last.operands]
    _look(draft, checked, inside, judge)
    if not inside:
        draft.sources |= _unnamed(error, draft, judge)
    judge.drafts[draft.index] = draft
    judge.link(draft)
    return Sink(kind="exception", name=name, stats=_nothing(name), source=draft.index)


def _look(draft: Draft, checked: Sequence[tuple[str, torch.Tensor]], inside: Sequence[FrameType], judge: Judge) -> None:
    """Describe the tensors that were checked, quoting the first value that is not allowed, and follow those that are
    non-finite to where they began."""
    stats = []
    for spelled, tensor in checked[:_OPERANDS]:
        part = dense(tensor)
        if part is None:
            continue
        bad = is_number(part) and is_bad(part)
        allowed = next((frame.f_locals.get("valid") for frame in inside if "valid" in frame.f_locals), None)
        wrong = ~allowed if isinstance(allowed, torch.Tensor) and allowed.shape == part.shape else None
        if wrong is None and bad:
            wrong = bad_mask(part)
        at = first_true(wrong) if wrong is not None and bool(wrong.any()) else None
        stats.append(judge.makers.told(describe(part, spelled, at), tensor))
        if wrong is not None and not draft.samples:
            draft.samples = rows_of(judge.belonging, part, wrong, judge.around.batch_size)
        if bad:
            draft.sources |= judge.flow.sources(part) or {-1 - judge.around.identify(part, spelled)}
    draft.inputs = tuple(stats)


def _unnamed(error: BaseException, draft: Draft, judge: Judge) -> set[int]:
    """Where the value came from that an exception of the user's own line is about, if its statement does not name it: a
    guard speaks of the latest harm; arithmetic in Python, of the number that left a tensor last."""
    trail = error.__traceback__
    while trail is not None and trail.tb_next is not None:
        trail = trail.tb_next
    if trail is None or draft.spot is None or trail.tb_frame.f_code is not draft.spot.code:
        return set()
    harmful = judge.harmful()
    if draft.sources & harmful:
        return set()
    if trail.tb_frame.f_code.co_code[trail.tb_lasti] == _RAISE:
        return {max(harmful)} if harmful else set()
    if isinstance(error, (ArithmeticError, ValueError)) and judge.crossings.last_item is not None:
        return {judge.crossings.last_item}
    return set()


def _mentioned(trail: TracebackType | None, spot: Spot, expression: str) -> list[tuple[str, torch.Tensor]]:
    """The tensors that a ``raise`` or ``assert`` of the user's own speaks of: those its statement names."""
    frame = None
    while trail is not None:
        if trail.tb_frame.f_code is spot.code:
            frame = trail.tb_frame
        trail = trail.tb_next
    if frame is None:
        return []
    try:
        names = [node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)]
    except (SyntaxError, ValueError):
        return []
    held = [(name, frame.f_locals.get(name, frame.f_globals.get(name))) for name in dict.fromkeys(names)]
    return [(name, value) for name, value in held if isinstance(value, torch.Tensor)]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and the exceptions it was raised from or during."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else ""


def _nothing(name: str) -> TensorStats:
    return TensorStats(name=name, shape=(), dtype="")


def _what(expression: str, inside: Sequence[FrameType]) -> tuple[str, str]:
    """Kind and full name of what raised: a distribution's class, the library function, or the function in the
    source."""
    for frame in reversed(inside):
        owner = frame.f_locals.get("self")
        if isinstance(owner, torch.distributions.Distribution):
            return "distribution", f"torch.distributions.{type(owner).__name__}"
    names = [frame.f_code.co_name for frame in inside] + [shape_of(expression).callee or ""]
    for name in names:
        if ops.kind_of(name) != "unknown":
            return ops.kind_of(name), name
    return "unknown", next(filter(None, reversed(names)), "python")


def _checked(inside: Sequence[FrameType], expression: str) -> list[tuple[str, torch.Tensor]]:
    """The tensors a Python check of a library looked at, with their names: the argument the distribution calls it, or
    the variable."""
    for frame in inside:
        values = frame.f_locals
        if isinstance(values.get("self"), torch.distributions.Distribution) and isinstance(
            values.get("value"), torch.Tensor
        ):
            name = values.get("param")
            spelled = dict(shape_of(expression).keywords).get(str(name))
            if spelled is None and isinstance(name, str):
                order = list(values["self"].arg_constraints)
                texts = shape_of(expression).arguments
                spelled = texts[order.index(name)] if name in order and order.index(name) < len(texts) else name
            return [(spelled or "value", values["value"])]
        found = [(name, value) for name, value in values.items() if isinstance(value, torch.Tensor)]
        if found:
            return found
    return []
