"""Every detector: its examples, its steady state, its price, and its silence on healthy trainings."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator

import pytest
import torch
from catalog.real_faults import classes, entropy, perceptron, regression, squares
from hypothesis import given
from hypothesis import strategies as st

from stayfinite.catalog import pages
from stayfinite.catalog.detection import Detection, first_of
from stayfinite.records.numbers import Number, is_finite, to_float, to_number
from stayfinite.records.series import Window

DETECTORS = {name: pages.load("detectors", name) for name in pages.ids("detectors")}
FINITE = {name: module for name, module in DETECTORS.items() if not module.STOPS}


def window(values: tuple[Number, ...]) -> Window:
    return Window("x", tuple(range(len(values))), tuple(values))


@pytest.mark.parametrize("name", DETECTORS)
def test_fires_on_its_examples(name: str) -> None:
    module = DETECTORS[name]
    assert module.FIRES
    for values in module.FIRES:
        found = module.detect(window(values))
        assert isinstance(found, Detection), values
        assert found.limit and found.limit_source
        assert is_finite(found.value) is (name in FINITE)


@pytest.mark.parametrize("name", DETECTORS)
def test_is_silent_on_its_counterexamples(name: str) -> None:
    module = DETECTORS[name]
    assert () in module.SILENT and len(module.SILENT) >= 2
    assert [values for values in module.SILENT if module.detect(window(values)) is not None] == []


def test_nonfinite_symptoms_stop_and_finite_ones_do_not() -> None:
    assert all(module.STOPS == name.startswith(("nonfinite-", "frozen-")) for name, module in DETECTORS.items())


@pytest.mark.parametrize("name", [name for name in DETECTORS if name not in FINITE])
@given(st.lists(st.floats().map(to_number), max_size=20))
def test_a_nonfinite_detector_gives_the_first_nonfinite_reading(name: str, values: list[Number]) -> None:
    found = DETECTORS[name].detect(window(tuple(values)))
    wanted = (lambda value: value == "+inf") if name == "frozen-moment" else (lambda value: not is_finite(value))
    bad = [step for step, value in enumerate(values) if wanted(value)]
    assert (found.step if found is not None else None) == (bad[0] if bad else None)


@pytest.mark.parametrize("name", FINITE)
@given(st.lists(st.floats(), max_size=60))
def test_a_finite_detector_survives_any_series(name: str, values: list[float]) -> None:
    module = FINITE[name]
    running = module.Running()
    one_by_one = [found for step, value in enumerate(values) if (found := running.update(step, value)) is not None]
    at_once = module.detect(window(tuple(to_number(value) for value in values)))
    assert at_once == (one_by_one[0] if one_by_one else None)


@pytest.mark.parametrize("name", FINITE)
@given(st.lists(st.floats(1e-3, 1e3), min_size=12, max_size=60), st.floats(1e-6, 1e6))
def test_a_finite_detector_knows_no_units(name: str, values: list[float], unit: float) -> None:
    plain = first_of(FINITE[name].Running(), window(tuple(values)))
    scaled = first_of(FINITE[name].Running(), window(tuple(value * unit for value in values)))
    # a reading that lies on the limit to the last bit may fall on either side
    if plain is not None and scaled is not None:
        assert plain.step == scaled.step
    elif plain is not None or scaled is not None:
        one = plain if plain is not None else scaled
        assert one is not None
        limit = float(one.limit.split()[2])
        assert to_float(one.value) / limit == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("name", FINITE)
def test_it_does_not_repeat_itself(name: str) -> None:
    running = FINITE[name].Running()
    calm = [2.0 - 0.01 * step + 0.02 * math.sin(step) for step in range(30)]
    hot = [1e3 * 1.5**step for step in range(12)]
    if name in ("divergence", "loss-spike", "gradient-spike"):
        found = [step for step, value in enumerate([*calm, *hot]) if running.update(step, value) is not None]
        assert len(found) == 1 and found[0] >= 30
    else:
        example = [to_float(value) for value in FINITE[name].FIRES[0]]
        longer = [*example, *[example[-1]] * 20]
        assert len([step for step, value in enumerate(longer) if running.update(step, value) is not None]) == 1


@pytest.mark.parametrize("name", FINITE)
def test_an_update_is_cheap(name: str) -> None:
    """The best of many batches: the machine may be busy, the code is not slower for it. 2 us is the budget; a batch
    that took more than five times as long could only come from more than constant work."""
    running = FINITE[name].Running()
    values = [2.0 + 0.1 * math.sin(step) for step in range(500)]
    best = math.inf
    for _ in range(30):
        started = time.perf_counter()
        for step, value in enumerate(values):
            running.update(step, value)
        best = min(best, (time.perf_counter() - started) / len(values))
    assert best < 10e-6


def noise(kind: str, seed: int, steps: int = 1500) -> Iterator[float]:
    dice = random.Random(seed)
    for step in range(steps):
        level = 0.01 + math.exp(-step / 50)
        if kind == "one sample":
            yield dice.gauss(0, 1) ** 2
        elif kind == "one sample, falling":
            yield level * dice.gauss(0, 1) ** 2
        elif kind == "exponential":
            yield dice.expovariate(1.0)
        else:
            yield math.exp(dice.gauss(0, 1))


@pytest.mark.parametrize("kind", ["one sample", "one sample, falling", "exponential", "log-normal"])
@pytest.mark.parametrize("name", FINITE)
def test_noise_is_no_symptom(name: str, kind: str) -> None:
    """15,000 steps of heavy-tailed noise; one alarm is what the pages admit to."""
    alarms = [first_of(FINITE[name].Running(), window(tuple(noise(kind, seed)))) for seed in range(10)]
    assert sum(alarm is not None for alarm in alarms) <= 1


HEALTHY = {
    "sgd": ("squares", lambda p: torch.optim.SGD(p, lr=0.05), 32),
    "sgd with momentum": ("squares", lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9), 32),
    "one sample per batch": ("squares", lambda p: torch.optim.SGD(p, lr=0.005), 1),
    "adam": ("squares", lambda p: torch.optim.Adam(p, lr=3e-3), 32),
    "a classifier": ("entropy", lambda p: torch.optim.AdamW(p, lr=2e-3), 32),
    "a classifier by momentum": ("entropy", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), 32),
    "rmsprop": ("squares", lambda p: torch.optim.RMSprop(p, lr=1e-3), 32),
}


def readings(name: str, seed: int, steps: int = 300) -> tuple[tuple[Number, ...], tuple[Number, ...]]:
    """Losses and gradient norms of a healthy training."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    task, make, rows = HEALTHY[name]
    model = perceptron(outputs=5 if task == "entropy" else 1)
    optimizer = make(model.parameters())
    losses, norms = [], []
    for _ in range(steps):
        loss = entropy(model, classes()) if task == "entropy" else squares(model, regression(rows=rows))
        optimizer.zero_grad()
        loss.backward()
        norms.append(math.sqrt(sum(float(p.grad.pow(2).sum()) for p in model.parameters() if p.grad is not None)))
        losses.append(loss.item())
        optimizer.step()
    return tuple(losses), tuple(norms)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_trainings_are_left_alone(name: str) -> None:
    for seed in range(2):
        losses, norms = readings(name, seed)
        for detector, module in DETECTORS.items():
            values = norms if module.WATCHES == ("gradient_norm",) else losses
            assert module.detect(window(values)) is None, (detector, seed)


def test_divergences_are_seen_before_they_end() -> None:
    """A rate that grows by 3 per cent per step."""
    for seed in range(3):
        torch.manual_seed(seed)
        model = perceptron()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        losses = []
        for _ in range(400):
            optimizer.param_groups[0]["lr"] *= 1.03
            loss = squares(model, regression())
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = DETECTORS["divergence"].detect(window(tuple(to_number(value) for value in losses)))
        assert not math.isfinite(losses[-1])
        assert found is not None and found.step < len(losses) - 1
