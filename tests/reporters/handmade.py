"""Records as a run would write them, made by hand: no training is needed to test what tells of one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from stayfinite.engine.prescribe import ordered
from stayfinite.records.diagnosis import Diagnosis, Evidence, Experiment, Hypothesis, Remedy, Trial
from stayfinite.records.finding import Warning
from stayfinite.records.fix import Fix
from stayfinite.records.incident import (
    Case,
    Configuration,
    ExceptionInfo,
    Incident,
    OptimizerInfo,
    Origin,
    ReplaySummary,
    Symptom,
)
from stayfinite.records.intervention import Effect, Place, Stable, Update
from stayfinite.records.location import Location
from stayfinite.records.manifest import Closing, Manifest
from stayfinite.records.series import Window
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, OpCall, Sink, Trace

SCRIPT = '''\
import torch


def loss_fn(logits, target):
    p = torch.softmax(logits, 1)
    picked = p[torch.arange(len(target)), target]
    return -torch.log(picked).mean()


def distance(a, b):
    squared = ((a - b) ** 2).sum(1)
    root = squared ** 0.5
    return torch.where(squared > 0, root, torch.zeros_like(root))
'''


def write_script(folder: Path) -> Path:
    (folder / "train.py").write_text(SCRIPT, encoding="utf-8")
    return folder


def manifest(folder: Path | str = "") -> Manifest:
    return Manifest(
        version="0.1.0", script="train.py", argv=("--rate", "0.1"), framework="torch", framework_version="2.13.0",
        folder=str(folder), started="2026-01-31T10:15:02Z",
    )


def closing(status: str = "incident", exit_code: int = 3) -> Closing:
    return Closing(status=status, steps=58, seconds=4.13, exit_code=exit_code)  # type: ignore[arg-type]


LOSS = tuple(2.3 * 0.95**i for i in range(57))
LOG = Location(
    file="train.py", line=7, column=12, end_line=7, end_column=29, function="loss_fn",
    code="return -torch.log(picked).mean()", expression="torch.log(picked)",
)
PICKED = TensorStats(
    name="picked", shape=(32,), dtype="float32", zero=1, min=0.0, max=0.9998, culprit_index=(17,), culprit=0.0
)
LOGGED = TensorStats(
    name="", shape=(32,), dtype="float32", neginf=1, min=-4.61, max=-0.0002, culprit_index=(17,), culprit="-inf"
)
LOG_CALL = OpCall(
    index=12, kind="log", native_op="aten.log.default", phase="loss", location=LOG, inputs=(PICKED,), output=LOGGED,
    samples=(17,),
)


def scalar(value: str, name: str = "") -> TensorStats:
    counts = {"nan": int(value == "nan"), "posinf": int(value == "+inf"), "neginf": int(value == "-inf")}
    return TensorStats(name=name, shape=(), dtype="float32", **counts)


def log_of_zero(step: int = 57, *, stopped: bool = True, identity: str = "4a1b9c0d2e3f") -> Incident:
    mean = OpCall(13, "mean", "aten.mean.default", "loss", location=LOG, output=scalar("-inf"), sources=(12,))
    negated = OpCall(14, "neg", "aten.neg.default", "loss", location=LOG, output=scalar("+inf"), sources=(13,))
    slope = TensorStats(name="net.head.weight", shape=(10, 64), dtype="float32", nan=640)
    origin = Origin(
        phase="loss", op="log", native_op="aten.log.default", location=LOG, samples=(17,), dataset_indices=(1377,),
        inputs=(PICKED,), output=LOGGED,
    )
    symptom = Symptom(detector="nonfinite-loss", step=step, series="loss", value="+inf", epoch=1)
    trace = Trace(
        calls=(LOG_CALL, mean, negated), operations=84,
        sinks=(Sink("loss", "loss", scalar("+inf", "loss"), 14), Sink("gradient", "net.head.weight", slope, None)),
    )
    zero = Evidence("picked holds an exact zero where the logarithm is -inf", 4.0, "log-argument", location=LOG)
    fresh = Evidence("the loss fell steadily until the step before", 0.8, "loss-curve")
    causes = (
        Hypothesis(
            "log-of-zero", "The logarithm of an exact zero", 5.8, 0.931, evidence=(zero, fresh),
            location=Location("train.py", 7, code=LOG.code),
        ),
        Hypothesis(
            "half-precision-underflow", "A small number became zero in a half-precision format", 1.2, 0.038,
            evidence=(Evidence("the argument is float32", -1.0, "dtype"),),
        ),
        Hypothesis("unknown", "Nothing known here explains it", 0.0, 0.031),
        Hypothesis("corrupt-sample", "A sample is damaged", -4.0, 0.0004),
    )
    case = Case(
        symptom=symptom, origin=origin, trace=trace, batch_size=32,
        windows=(
            Window("loss", tuple(range(58)), (*LOSS, "+inf")),
            Window("gradient_norm", tuple(range(57)), tuple(1.0 + 0.3 * ((i * 7) % 5) for i in range(57))),
        ),
        configuration=Configuration(optimizers=(OptimizerInfo("Adam", rates=(0.1,), epsilon=1e-8),)),
        replay=ReplaySummary(attempts=2),
    )
    return Incident(
        id=identity, case=case, diagnosis=Diagnosis(causes), stopped=stopped, held=True, reproduced=True, seconds=0.41
    )


DIFF = """\
--- a/train.py
+++ b/train.py
@@ -4,4 +4,4 @@
 def loss_fn(logits, target):
-    p = torch.softmax(logits, 1)
+    p = torch.log_softmax(logits, 1)
     picked = p[torch.arange(len(target)), target]
-    return -torch.log(picked).mean()
+    return -picked.mean()
"""


def cured(step: int = 57) -> Incident:
    """`log_of_zero` with its experiments and remedies."""
    found = log_of_zero(step)
    first, second, *others = found.diagnosis.hypotheses
    stable = Experiment(
        "log at train.py:7 as log softmax", "finite", "+inf", "+inf", 1, 0.21, "softmax at train.py:5 as shifted softmax", replays=4
    )
    wider = Experiment("log at train.py:7 in float64", "+inf", "+inf", "", 1, 0.05, replays=1)
    away = Experiment("the operands of the batch filled", "not performed", "", "", note="the batch has no floating-point tensor")
    causes = (
        msgspec.structs.replace(
            first, verdict="confirmed", experiments=(away, stable), probability=0.97,
            verdict_reason="with log at train.py:7 as log softmax the step passes; with softmax at train.py:5 as shifted softmax "
            "it still fails",
        ),
        msgspec.structs.replace(
            second, verdict="refuted", experiments=(wider,),
            verdict_reason="with log at train.py:7 in float64 the step still fails at the same place",
        ),
        *others,
    )
    after = Trial("log_softmax in place of the log of a softmax", "finite", 60, losses=tuple(2.3 * 0.967**i for i in range(60)),
                  seconds=0.7)
    remedies = (
        Remedy("lower-the-rate", "Train with a tenth of the learning rate", "unsafe", ("learning-rate-too-high",), "failed",
               "the loss was not finite at step 61", (Update(rate=0.1),), trial=Trial("", "failed", 61, "nonfinite-loss", 61)),
        Remedy("clamp-the-argument", "Keep the argument of the logarithm above 1e-7", "unsafe", ("log-of-zero",), "refused",
               "the loss is finite, but samples 17 get no gradient", effect=Effect(1, gradient="zero")),
        Remedy("use-log-softmax", "Compute the logarithm from the logits", "safe", ("log-of-zero",), "verified",
               "the step passes, its values agree where they were finite, and sample 17 gets a gradient",
               (Stable(Place("log", "train.py", 7), "log-softmax"),), Fix(diff=DIFF), after, Effect(1, gradient="finite"),
               "nothing: it is the same function, with less rounding"),
    )
    return msgspec.structs.replace(found, diagnosis=Diagnosis(causes, ordered(remedies), 9, 1.8))


def where_trap(step: int = 3) -> Incident:
    power = Location(
        "train.py", 12, 11, 12, 25, "distance", "root = squared ** 0.5", "squared ** 0.5",
    )
    hidden = Location(
        "train.py", 13, 11, 13, 65, "distance", "return torch.where(squared > 0, root, torch.zeros_like(root))",
        "torch.where(squared > 0, root, torch.zeros_like(root))",
    )
    squared = TensorStats("squared", (8,), "float32", zero=2, min=0.0, max=3.2, culprit_index=(2,), culprit=0.0)
    out = TensorStats("", (8,), "float32", nan=2, min=-0.5, max=0.4, culprit_index=(2,), culprit="nan")
    names = ("encoder.0.weight", "encoder.0.bias", "encoder.2.weight", "encoder.2.bias", "scale")
    origin = Origin(
        phase="backward", op="pow", native_op="aten.pow.Tensor_Scalar", location=power, module="encoder",
        samples=(2, 5), inputs=(squared,), output=out, absorbed_at=hidden,
    )
    symptom = Symptom("nonfinite-gradient", step, "gradient_norm", "nan", names=names)
    case = Case(
        symptom=symptom, origin=origin, batch_size=8, replay=ReplaySummary(attempts=2),
        trace=Trace(operations=40, unseen=("one compiled function",)),
    )
    causes = (Hypothesis("where-gradient-trap", "A where hides a value but not its slope", 6.0, 0.995, location=power),)
    return Incident("b0b1b2b3b4b5", case, Diagnosis(causes), held=True, reproduced=True,
                    hold_note="an undo copy of 12 kB was kept, because the parameters are half precision")


def bad_sample(step: int = 0) -> Incident:
    batch = TensorStats("x", (16, 8), "float32", nan=1, min=-2.1, max=2.4, culprit_index=(3, 5), culprit="nan")
    out = TensorStats("", (16, 4), "float32", nan=4, min=-1.0, max=1.0)
    here = Location("train.py", 5, 8, 5, 32, "loss_fn", "p = torch.softmax(logits, 1)", "torch.softmax(logits, 1)")
    origin = Origin(
        phase="data", op="input", native_op="aten.addmm.default", location=here, samples=(3,), dataset_indices=(403,),
        columns=("creatinine",), inputs=(batch,), output=out,
    )
    calls = (
        OpCall(0, "matmul", "aten.addmm.default", "forward", location=here, output=out, sources=(-1,)),
        OpCall(3, "mean", "aten.mean.default", "loss", location=here, output=scalar("nan"), sources=(0,)),
    )
    trace = Trace(
        calls=calls, leaves=(Leaf("batch", "x", batch, read_by=0, samples=(3,)),),
        sinks=(Sink("loss", "loss", scalar("nan"), 3),), operations=9,
    )
    case = Case(
        symptom=Symptom("nonfinite-loss", step, "loss", "nan"), origin=origin, trace=trace, batch_size=16,
        replay=ReplaySummary(attempts=2),
    )
    causes = (Hypothesis("nonfinite-input", "A sample holds a value that is not finite", 7.0, 1.0),)
    return Incident("d0d1d2d3d4d5", case, Diagnosis(causes), held=True, reproduced=True)


def raised(step: int = 5) -> Incident:
    here = Location("train.py", 7, 12, 7, 29, "loss_fn", "return -torch.log(picked).mean()", "torch.log(picked)")
    case = Case(
        symptom=Symptom("numeric-exception", step, "exception", "nan"),
        exception=ExceptionInfo("ValueError", "Expected value argument to be within the support\nsecond line", here),
        replay=ReplaySummary(not_tested="step not repeatable: the batch differs"),
    )
    return Incident("e0e1e2e3e4e5", case, stopped=False, held=True)


def spike(step: int = 40) -> Incident:
    symptom = Symptom(
        "loss-spike", step, "loss", 812.5, limit="10 x the median of 50 steps", limit_source="chosen by false alarms"
    )
    return Incident("f0f1f2f3f4f5", Case(symptom=symptom), stopped=False)


SCALER = Warning("scaler-calibration", "the loss scaler skipped 2 steps while it found its scale; that is normal")
