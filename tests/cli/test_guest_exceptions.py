"""Which exceptions of a step are about its numbers, and which are the script's own business."""

from __future__ import annotations

import array
import collections
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sameness import TRAIN, both

from stayfinite.frameworks.torch.describe import may_be_numeric


class Own:
    """A data set that ends by an exception, as sequences may."""

    def __getitem__(self, place: int) -> int:
        raise IndexError(f"index {place} is out of range")


OWN: dict[str, Callable[[], object]] = {
    "list": lambda: [1, 2][place()],
    "list-negative": lambda: [1, 2][-place()],
    "list-assignment": lambda: [1].__setitem__(place(), 0),
    "list-pop": lambda: [1].pop(place()),
    "empty-pop": lambda: list[int]().pop(),
    "tuple": lambda: (1, 2)[place()],
    "string": lambda: "ab"[place()],
    "bytes": lambda: b"ab"[place()],
    "bytearray": lambda: bytearray(2)[place()],
    "memoryview": lambda: memoryview(b"ab")[place()],
    "range": lambda: range(2)[place()],
    "array": lambda: array.array("i", [1])[place()],
    "deque": lambda: collections.deque([1])[place()],
    "choice": lambda: random.choice(list[int]()),
    "format": lambda: "{} {}".format(*[1]),
    "own-sequence": lambda: Own()[place()],
    "modules": lambda: torch.nn.ModuleList([])[place()],
    "subset": lambda: torch.utils.data.Subset([1], [place()])[0],
    "shape": lambda: torch.zeros(2).shape[place()],
    "dimension": lambda: torch.zeros(2).sum(dim=place()),
}

NUMERIC: dict[str, Callable[[], object]] = {
    "tensor": lambda: torch.zeros(2)[place()],
    "tensor-of-indices": lambda: torch.zeros(2)[torch.tensor([place()])],
    "tensor-assignment": lambda: torch.zeros(2).__setitem__(place(), 0.0),
    "embedding": lambda: F.embedding(torch.tensor([place()]), torch.zeros(2, 3)),
    "embedding-bag": lambda: F.embedding_bag(torch.tensor([[place()]]), torch.zeros(2, 3)),
    "one-hot": lambda: F.one_hot(torch.tensor([place()]), 3),
    "label": lambda: F.cross_entropy(torch.zeros(1, 3), torch.tensor([place()])),
    "index-select": lambda: torch.index_select(torch.zeros(2), 0, torch.tensor([place()])),
    "take": lambda: torch.take(torch.zeros(2), torch.tensor([place()])),
    "gather": lambda: torch.gather(torch.zeros(2), 0, torch.tensor([place()])),
    "array": lambda: np.zeros(2)[place()],
    "array-of-indices": lambda: np.zeros(2)[[place()]],
    "array-take": lambda: np.take(np.zeros(2), place()),
    "one-value-per-channel": lambda: F.batch_norm(torch.zeros(1, 3), None, None, training=True),
}


def place() -> int:
    return 7


def raised(code: Callable[[], object]) -> Exception:
    try:
        code()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("name", sorted(OWN))
def test_an_index_out_of_a_plain_container_is_no_number(name: str) -> None:
    assert not may_be_numeric(raised(OWN[name]), None)


@pytest.mark.parametrize("name", sorted(NUMERIC))
def test_an_index_out_of_a_tensor_is(name: str) -> None:
    assert may_be_numeric(raised(NUMERIC[name]), None)


@pytest.mark.parametrize("name", ["[1, 2, 3][step]", "model[step]", "raise IndexError('index 9 is out of range')"])
def test_the_run_ends_as_python_ends_it(name: str, tmp_path: Path) -> None:
    source = TRAIN.replace("    optimizer.zero_grad()\n", f"    {name}\n    optimizer.zero_grad()\n")
    bare, watched = both(tmp_path, {"train.py": source}, ["train.py"])
    assert watched == bare
    assert bare.exit_code == 1
    assert "IndexError" in bare.stderr
