"""Process-wide generators are read in full only when they moved, and what is captured is always what they are."""

from __future__ import annotations

import random

import numpy as np

from stayfinite.frameworks.torch import generators


def drawn() -> list[float]:
    """What the next draws of both generators give, Gaussian pairs included."""
    return [random.random(), random.gauss(0, 1), random.gauss(0, 1), np.random.rand(), *np.random.randn(3)]


def test_every_way_to_move_a_generator_is_seen() -> None:
    chance = random.Random(7)
    saved = random.getstate(), np.random.get_state()

    def keep() -> None:
        nonlocal saved
        saved = random.getstate(), np.random.get_state()

    def put_back() -> None:
        random.setstate(saved[0])
        np.random.set_state(saved[1])

    moves = [
        lambda: None, lambda: random.random(), lambda: random.gauss(0, 1), lambda: random.shuffle([1, 2, 3]),
        lambda: np.random.rand(), lambda: np.random.randn(1), lambda: np.random.randn(2), lambda: np.random.randint(5),
        lambda: np.random.seed(chance.randrange(9)), lambda: random.seed(chance.randrange(9)), keep, put_back, put_back,
    ]
    for _ in range(2000):
        chance.choice(moves)()
        undo = generators.generator_states()
        here = random.getstate(), np.random.get_state()
        expected = drawn()
        undo()
        assert drawn() == expected
        random.setstate(here[0])
        np.random.set_state(here[1])


def test_a_generator_that_did_not_move_is_not_read_again(monkeypatch) -> None:
    generators.generator_states()
    reads = []
    kept = random.getstate
    monkeypatch.setattr(generators._numpy_generator, "read", lambda words, full: reads.append(words) or full())
    generators.generator_states()
    generators.generator_states()
    assert reads[0] is not None and reads[0] == reads[1]
    np.random.rand()
    generators.generator_states()
    assert reads[2] != reads[1]
    assert random.getstate is kept
