"""Small trainings that fail, traced for real: a loop runs until a number is bad, and its failing step is repeated under
the tracer from the state it began with. What comes out is a case as a session would have made it."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stayfinite.engine.localize import localize
from stayfinite.frameworks.torch.stats import describe, rows_compared
from stayfinite.frameworks.torch.tracing.tracer import Tracer
from stayfinite.records.incident import (
    Case,
    Configuration,
    ExceptionInfo,
    OptimizerInfo,
    ReplaySummary,
    Symptom,
)
from stayfinite.records.location import Location
from stayfinite.records.numbers import to_number
from stayfinite.records.series import Window
from stayfinite.records.tensor import TensorStats

Batch = dict[str, Tensor]
MADE = Location(file="train.py", line=1)
REFUSALS = (RuntimeError, ValueError, IndexError)


@dataclass
class Training:
    """A loop of at most `steps` updates: `batch(step)` gives named tensors, `loss(model, batch)` one number."""

    model: nn.Module
    optimizer: Optimizer
    batch: Callable[[int], Batch]
    loss: Callable[[Any, Batch], Tensor]
    steps: int = 200
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
    clears: bool = True
    loaded: Location | None = None


def _is_bad(tensors: Any) -> bool:
    return any(not bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


class Loop:
    """Runs a training and remembers its readings."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.series: dict[str, list[tuple[int, float]]] = {"loss": [], "gradient_norm": [], "learning_rate": []}

    def run(self, step: int, batch: Batch) -> str | None:
        """One step; the detector that fires on it, or ``None``."""
        one = self.training
        self.series["learning_rate"].append((step, max(float(group["lr"]) for group in one.optimizer.param_groups)))
        try:
            if one.clears:
                one.optimizer.zero_grad()
            loss = one.loss(one.model, batch)
            self.series["loss"].append((step, float(loss.detach())))
            if not bool(torch.isfinite(loss)):
                return "nonfinite-loss"
            loss.backward()
        except REFUSALS:
            return "numeric-exception"
        norm = math.sqrt(sum(float(gradient.double().pow(2).sum()) for gradient in _gradients(one.model)))
        self.series["gradient_norm"].append((step, norm))
        if _is_bad(_gradients(one.model)):
            return "nonfinite-gradient"
        one.optimizer.step()
        if _is_bad(one.model.parameters()):
            return "nonfinite-parameter"
        moments = [v.float() for s in one.optimizer.state.values() for v in s.values() if isinstance(v, Tensor)]
        if _is_bad(moments):
            return "nonfinite-moment"
        if one.scheduler is not None:
            one.scheduler.step()
        return None


def failing_case(training: Training) -> Case | None:
    """The case of the first bad step; ``None`` if every step went well."""
    model, optimizer, loop = training.model, training.optimizer, Loop(training)
    for step in range(training.steps):
        batch = training.batch(step)
        weights, moments = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
        grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        parameters = [describe(p.detach(), name) for name, p in model.named_parameters()]
        generator = torch.get_rng_state()
        detector = loop.run(step, batch)
        if detector is None:
            continue
        model.load_state_dict(weights)
        optimizer.load_state_dict(moments)
        for parameter, grad in zip(model.parameters(), grads, strict=True):
            parameter.grad = grad
        torch.set_rng_state(generator)
        return _traced(training, loop, step, batch, detector, parameters)
    return None


def _traced(
    training: Training, loop: Loop, step: int, batch: Batch, detector: str, parameters: list[TensorStats]
) -> Case:
    model, optimizer = training.model, training.optimizer
    here = os.path.dirname(__file__)
    tracer = Tracer(
        [model], batch, [optimizer], lambda file: file.startswith(here) and file != __file__, os.path.basename
    )
    refused: ExceptionInfo | None = None
    with tracer:
        try:
            if training.clears:
                optimizer.zero_grad()
            loss = training.loss(model, batch)
            tracer.note_loss(loss)
            loss.backward()
            if detector in ("nonfinite-parameter", "nonfinite-moment"):
                optimizer.step()
        except REFUSALS as error:
            refused = ExceptionInfo(type(error).__qualname__, str(error))
            tracer.note_exception(error)
    trace = tracer.finish()
    losses = loop.series["loss"]
    symptom = Symptom(detector, step, "loss", to_number(losses[-1][1]) if losses else "nan")
    bad = [stats for stats in parameters if stats.nonfinite]
    return Case(
        symptom=symptom,
        origin=localize(trace, symptom, refused).origin,
        trace=trace,
        windows=tuple(
            Window(name, tuple(at for at, _ in pairs[-256:]), tuple(to_number(value) for _, value in pairs[-256:]))
            for name, pairs in loop.series.items()
        ),
        batch=tuple(rows_compared(describe(value, name), value) for name, value in batch.items()),
        batch_size=tracer.batch_size,
        parameters=(*bad, *(stats for stats in parameters if not stats.nonfinite)),
        configuration=Configuration(
            optimizers=(_optimizer(optimizer, training.scheduler is not None),),
            parameter_dtypes=tuple(sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()})),
            checkpoint=training.loaded,
            gradients_alive=step > 0 and not training.clears,
        ),
        exception=refused,
        replay=ReplaySummary(attempts=2),
    )


def _optimizer(optimizer: Optimizer, scheduled: bool) -> OptimizerInfo:
    return OptimizerInfo(
        kind=type(optimizer).__name__,
        rates=tuple(to_number(float(group["lr"])) for group in optimizer.param_groups),
        epsilon=optimizer.defaults.get("eps"),
        betas=tuple(optimizer.defaults.get("betas", ())),
        location=MADE,
        schedulers=("LambdaLR",) if scheduled else (),
    )
