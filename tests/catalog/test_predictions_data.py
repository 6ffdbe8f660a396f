"""What causes in data, state, loss terms and of finite failures expect to cure a step, on cases that are written down."""

from __future__ import annotations

import pytest
from catalog.cases import WRITTEN
from catalog.writing import MADE, case, origin, stats

from stayfinite.catalog.causes import nonpositive_variance
from stayfinite.catalog.predictions import since_it_grew
from stayfinite.engine.experiments import predictions
from stayfinite.engine.placebos import placebos
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Place, Scaled, Update
from stayfinite.records.tensor import TensorStats

CASES = {(written.cause, written.name): written.case for written in WRITTEN}
SEEN = (Place("matmul", "train.py", 5), Place("relu", "train.py", 6))


@pytest.mark.parametrize(("cause", "name", "told"), [
    ("nonfinite-input", "a missing measurement", ["gaps in `x` filled", "sample 17 replaced by others of the batch"]),
    ("corrupt-sample", "one target of 1e22", ["sample 7 replaced by others of the batch"]),
    ("unscaled-input", "an input of 1e20 squared", ["`x` standardised"]),
    ("unscaled-target", "targets of 1e22", ["`y` standardised"]),
    ("dominant-loss-term", "an unweighted divergence", ["the loss without `1e4 * kl`"]),
    ("bad-initialization", "forty layers drawn at 1", ["net.3.weight scaled draw", "all parameters scaled draw"]),
    ("uninitialized-parameter", "torch.empty", ["net.2.weight mended"]),
    ("uninitialized-parameter", "torch.empty with finite garbage", ["head.weight redrawn"]),
    ("corrupt-checkpoint", "a bad checkpoint", ["net.2.weight mended"]),
    ("corrupt-buffer", "a negative running variance", ["all buffers mended"]),
    ("corrupt-optimizer-state", "a bad moment without a restart", ["net.2.weight.exp_avg mended"]),
    ("invalid-learning-rate-schedule", "a rate of nan", ["lr = 0.05"]),
    ("missing-zero-grad", "a gradient that stayed", ["all gradients zeroed"]),
    ("exploding-gradient", "a recurrent network",
     ["gradients through matmul at train.py:33 kept within 1000", "gradients clipped by norm at 3"]),
    ("dead-relu", "a layer of dead rectifiers", ["net.0.weight, net.0.bias redrawn", "operand 0 of relu at train.py:20 standardised"]),
    ("saturated-activation", "flat tanh", ["operand 0 of tanh at train.py:21 standardised"]),
    ("vanishing-gradient", "fourteen sigmoids", ["operand 0 of sigmoid at train.py:22 standardised",
     "operand 0 of sigmoid at train.py:22 standardised over the batch", "all parameters scaled draw"]),
    ("frozen-parameters", "the optimizer has the old head", ["head.weight adopted"]),
    ("frozen-parameters", "the graph is cut", ["what train.py:32 detaches kept in the graph"]),
    ("frozen-parameters", "cleared before the update", ["all gradients kept"]),
    ("transient-fault", "not again", []),
])
def test_a_cause_says_what_would_cure_the_step(cause: str, name: str, told: list[str]) -> None:
    assert [one.change.told for one in predictions(cause, CASES[cause, name])] == told


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: written.name)
def test_every_prediction_has_a_placebo_that_is_another_change(written: object) -> None:
    """Without one nothing could ever be confirmed."""
    case, cause = written.case, written.cause  # type: ignore[attr-defined]
    for one in predictions(cause, case):
        others = [one.placebo] if one.placebo is not None else placebos(one.change, case, SEEN)
        over_a_run = isinstance(one.change, Update) and one.steps != 1
        assert others or over_a_run or not case.trace.terms, one.change.told
        assert all(other != one.change for other in others)


@pytest.mark.parametrize(("cause", "name", "used"), [
    ("singular-gradient", "distance of equal points", True), ("singular-gradient", "a distance squared again", None),
    ("where-gradient-trap", "sqrt masked later", False),
])
def test_whether_the_loss_has_to_depend_on_what_is_changed(cause: str, name: str, used: bool | None) -> None:
    """A gradient of 0 from a flat part of the loss says that this batch does not use the element, and not that nothing does."""
    assert {one.used for one in predictions(cause, CASES[cause, name])} == {used}


def test_what_grew_over_steps_is_expected_of_all_of_them() -> None:
    steps = [one.steps for one in predictions("unscaled-target", CASES["unscaled-target", "house prices"])]
    assert steps[0] == 1 and steps[1] > 1


def test_a_placebo_of_clipping_bounds_hardly_anything() -> None:
    found = predictions("exploding-gradient", CASES["exploding-gradient", "a recurrent network"])[-1]
    assert isinstance(found.placebo, Update) and isinstance(found.change, Update)
    assert found.placebo.limit >= 1e3 * found.change.limit


def test_what_is_thrown_away_is_changed_in_its_operator_alone_too() -> None:
    told = [(one.change.told, one.used) for one in predictions("where-gradient-trap", CASES["where-gradient-trap", "sqrt masked later"])]
    assert told == [("operand 0 of sqrt at train.py:33 kept at x >= 1e-06", False), ("sqrt at train.py:33 as double where", False)]


def test_a_failure_among_ordinary_numbers_needs_no_level_to_be_calm() -> None:
    """In the first steps nothing can be called calm; what is exactly 0 among numbers of ordinary size has not grown into that."""
    before = [3.0, 2.5, 2.8]
    zero = stats("p", min=0.0, max=1.0, zero=1, culprit=0.0)
    def of(value: TensorStats, loss: list[float]) -> Case:
        return case(origin("log", "loss", [value], stats("out", neginf=1)), 3, loss=loss)

    assert since_it_grew(of(zero, before)) == 1
    assert since_it_grew(of(zero, [3.0, 400.0, 2e5])) == 4
    large = stats("z", min=0.0, max=4e4, zero=1, culprit=0.0)
    assert since_it_grew(of(large, before)) == 4
    assert since_it_grew(case(origin("exp", "forward", [stats("z", max=95.0, culprit=95.0)], stats("e", posinf=1)), 3, loss=before)) == 4


def test_a_softmax_by_hand_whose_logarithm_is_taken_is_tried_without_the_exponential() -> None:
    told = [one.change.told for one in predictions("naive-softmax-overflow", CASES["naive-softmax-overflow", "log-sum-exp by hand"])]
    assert told == ["exp at train.py:33 as log sum exp", "log at train.py:33 as log softmax"]


def test_a_length_by_hand_is_changed_inside_its_root() -> None:
    length = stats("n", (32, 1), zero=1, min=0.0, culprit=0.0, made_by=("sqrt", "sum", "pow"), made_at=MADE)
    told = [one.change.told for one in predictions("zero-norm-vector", case(origin("div", inputs=[stats("z"), length])))]
    assert told == ["operand 1 of div at train.py:33 kept at |x| >= 1e-06", "sqrt at train.py:12 as epsilon inside"]


def test_a_sum_of_differences_is_no_variance() -> None:
    """What is united and has no overlap (``(p + t - p * t).sum()``) is summed after it is subtracted."""
    for made, told in ((("sum", "sub", "add", "mul"), False), (("sub", "mean", "pow"), True), (("relu", "sub", "mean", "mul"), True)):
        union = stats("u", (), zero=1, min=0.0, max=0.0, culprit=0.0, made_by=made)
        seen = nonpositive_variance.evidence(case(origin("div", inputs=[stats("i", ()), union])))
        assert any("difference of a mean" in one.claim for one in seen) == told, made


def test_a_rectifier_that_is_given_zeros_is_tested_at_the_one_that_makes_them() -> None:
    told = [one.change for one in predictions("dead-relu", CASES["dead-relu", "a rectifier that is given the zeros of a dead one"])]
    assert [one.place.line for one in told if isinstance(one, Scaled)] == [12]
