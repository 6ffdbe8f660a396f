"""Schedules that begin again, and what a divergence is held against then."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from stayfinite.catalog.restarts import Restarts
from stayfinite.engine.monitor import Monitor


def restarts(rates: Iterable[float]) -> list[int]:
    running = Restarts()
    return [step for step, rate in enumerate(rates) if running.update(rate)]


def cosine(step: int, length: int = 40) -> float:
    return 0.5 * (1 + math.cos(math.pi * (step % length) / length))


def test_a_cycle_begins_where_the_rate_jumps_back() -> None:
    assert restarts(cosine(step) for step in range(120)) == [40, 80]


def test_cycles_may_become_lower_and_climb_slowly() -> None:
    triangle = [abs(step % 40 - 20) / 20 * 0.8 ** (step // 40) for step in range(120)]
    assert len(restarts(triangle)) == 3


@pytest.mark.parametrize("rates", [
    [0.1] * 50,
    [0.0] * 50,
    [1e-6 * 1.2**step for step in range(80)],
    [min(step, 200 - step) / 100 for step in range(200)],
    [0.1 * 0.5 ** (step // 20) for step in range(100)],
    [0.1, 0.05, 0.08] * 20,
    [float("nan"), 0.1, float("inf"), 0.1],
    [1e-3, 1e-3, 1.0, 1.0],
])
def test_other_schedules_have_no_restart(rates: list[float]) -> None:
    assert restarts(rates) == []


def told(rates: Iterable[float], losses: Iterable[float]) -> list[int]:
    monitor = Monitor()
    for step, (rate, loss) in enumerate(zip(rates, losses, strict=True)):
        monitor.read("learning_rate", step, rate)
        monitor.read("loss", step, loss)
    return [one.step for one in monitor.take() if one.detector == "divergence"]


FALLING = [0.5 + 1.5 * 0.8**step for step in range(40)]
THROWN = [0.5, 1.0, 4.0, *[60.0] * 10, *[0.5 + 20.0 * 0.8**step for step in range(27)]]


def test_a_loss_that_a_restart_throws_out_has_not_diverged() -> None:
    assert told([cosine(step) for step in range(80)], [*FALLING, *THROWN]) == []


def test_the_same_loss_under_a_steady_rate_has() -> None:
    assert told([0.5] * 80, [*FALLING, *THROWN]) != []


def test_a_loss_that_does_not_come_back_in_a_whole_cycle_has() -> None:
    assert told([cosine(step) for step in range(120)], [*FALLING, *[60.0] * 80]) == [79]


def test_a_loss_that_runs_away_after_a_restart_has_at_once() -> None:
    found = told([cosine(step) for step in range(80)], [*FALLING, *[0.5 * 3.0**step for step in range(40)]])
    assert len(found) == 1 and found[0] < 60
