"""Rows of a batch are followed to their items: through loaders of every kind, and through batches cut by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from stayfinite.frameworks.torch.lookback.columns import bad_columns
from stayfinite.frameworks.torch.lookback.deliveries import Deliveries
from stayfinite.frameworks.torch.lookback.indices import cut_by_hand, innermost, items_of
from stayfinite.frameworks.torch.lookback.rereading import wanted_of


class Numbers(Dataset[Any]):
    """Item i is the number i + `first`."""

    def __init__(self, size: int = 40, first: int = 0) -> None:
        self.size, self.first = size, first

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < self.size:
            raise IndexError
        return torch.tensor([float(index + self.first)])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.arange(12.0))


class Blocks(IterableDataset[Any]):
    def __init__(self) -> None:
        self.blocks = [np.ones((4, 2)), np.array([[1.0, np.nan]])]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.blocks)


def test_a_bad_array_that_a_data_set_holds_is_what_is_looked_for() -> None:
    wanted = wanted_of(Blocks(), {})
    assert wanted is not None
    assert (wanted.names, wanted.shape, wanted.nonfinite) == (("blocks",), (1, 2), 1)
    assert wanted_of(Stream(), {}) is None and wanted_of(None, {}) is None


@pytest.fixture
def deliveries() -> Iterator[Deliveries]:
    listening = Deliveries()
    undo: list[Callable[[], None]] = []

    def wrap(owner: Any, name: str, before: Callable[..., Any] | None, after: Callable[..., Any] | None) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if before is not None:
                before(*args, **kwargs)
            result = original(*args, **kwargs)
            if after is not None:
                after(result, *args, **kwargs)
            return result

        setattr(owner, name, wrapper)
        undo.append(lambda: setattr(owner, name, original))

    listening.listen(wrap)
    yield listening
    for one in undo:
        one()


def _agree(deliveries: Deliveries, batch: torch.Tensor) -> None:
    """The item each row of the last batch is said to be holds that row's number."""
    last = deliveries.last[-1]
    assert last.holds(batch)
    rows = range(len(batch))
    dataset = last.dataset()
    items = items_of(last, rows)
    assert [item.row for item in items] == list(rows)
    for item in items:
        assert torch.equal(dataset[item.outer], batch[item.row])
        owner, index = innermost(dataset, item.outer)
        assert index == item.inner and not isinstance(owner, (Subset, ConcatDataset))
        assert torch.equal(owner[index], batch[item.row])


LOADERS: dict[str, Callable[[], DataLoader[Any]]] = {
    "plain": lambda: DataLoader(Numbers(), batch_size=7),
    "shuffled": lambda: DataLoader(Numbers(), batch_size=7, shuffle=True, drop_last=True),
    "sampler": lambda: DataLoader(Numbers(), batch_size=5, sampler=WeightedRandomSampler(torch.rand(40), 30)),
    "batch sampler": lambda: DataLoader(Numbers(), batch_sampler=BatchSampler(RandomSampler(range(40)), 6, drop_last=False)),
    "split": lambda: DataLoader(random_split(Numbers(), [30, 10])[0], batch_size=4, shuffle=True),
    "subset of a subset": lambda: DataLoader(Subset(Subset(Numbers(), list(range(39, 0, -2))), [3, 1, 8, 0]), batch_size=3),
    "concatenation": lambda: DataLoader(ConcatDataset([Numbers(13), Numbers(20, 100), Numbers(9, 200)]), batch_size=8, shuffle=True),
    "split of a concatenation": lambda: DataLoader(random_split(ConcatDataset([Numbers(13), Numbers(9, 50)]), [12, 10])[1], batch_size=5),
    "workers": lambda: DataLoader(Numbers(), batch_size=6, shuffle=True, num_workers=2, prefetch_factor=3),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_rows_are_items(kind: str, deliveries: Deliveries) -> None:
    seen = 0
    for _ in range(2):
        for batch in LOADERS[kind]():
            _agree(deliveries, batch)
            seen += 1
    assert seen > 2


@pytest.mark.slow
def test_rows_are_items_with_spawned_workers(deliveries: Deliveries) -> None:
    loader = DataLoader(Numbers(), batch_size=6, shuffle=True, num_workers=2, multiprocessing_context="spawn")
    for batch in loader:
        _agree(deliveries, batch)


def test_workers_that_persist_begin_anew(deliveries: Deliveries) -> None:
    loader = DataLoader(Numbers(), batch_size=4, shuffle=True, num_workers=2, persistent_workers=True)
    for epoch in range(3):
        for number, batch in enumerate(loader):
            _agree(deliveries, batch)
            if epoch < 2 and number == 2:
                break  # batches that were sent for are never given


def test_two_loaders_side_by_side_are_told_apart(deliveries: Deliveries) -> None:
    for a, b in zip(DataLoader(Numbers(20), batch_size=4), DataLoader(Numbers(20, 500), batch_size=4, shuffle=True), strict=True):
        held = [next(one for one in deliveries.last if one.holds(batch)) for batch in (a, b)]
        for batch, one in zip((a, b), held, strict=True):
            item = items_of(one, [1])[0]
            assert torch.equal(one.dataset()[item.outer], batch[1])


def test_an_iterable_data_set_has_no_indices_and_says_so(deliveries: Deliveries) -> None:
    for _ in DataLoader(Stream(), batch_size=4):
        assert items_of(deliveries.last[-1], [0]) == [] and "iterable" in deliveries.last[-1].reason


def test_a_batch_keeps_nothing_alive(deliveries: Deliveries) -> None:
    for batch in DataLoader(Numbers(), batch_size=4):
        del batch
    assert all(ref() is None for one in deliveries.last for ref in one.tensors)
    assert deliveries.last[-1].dataset() is None


HANDS: dict[str, Callable[[Any, Any], Any]] = {
    "index tensor": lambda data, at: data[at],
    "index list": lambda data, at: data[at.tolist()],
    "index_select": lambda data, at: data.index_select(0, at),
    "stack": lambda data, at: torch.stack([data[i] for i in at]),
    "slice": lambda data, at: data[int(at[0]) : int(at[0]) + 5],
    "split": lambda data, at: data.split(5)[int(at[0]) % 5],
    "array": lambda data, at: torch.from_numpy(data.numpy()[at.numpy()]),
}


@pytest.mark.parametrize("hand", HANDS)
@given(seed=st.integers(0, 10_000), bad=st.sampled_from([float("nan"), float("inf"), 1e30]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
def test_batches_cut_by_hand_know_their_rows(hand: str, seed: int, bad: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(30, 3, generator=generator)
    at = torch.randperm(25, generator=generator)[:5]
    batch = HANDS[hand](data, at)
    row = seed % len(batch)
    where = next(i for i in range(30) if torch.equal(data[i], batch[row]))
    data[where, seed % 3] = bad
    batch = HANDS[hand](data, at)
    found = cut_by_hand(batch, [row], {"other": torch.zeros(30, 3), "data": data, "batch": batch})
    assert found is not None and found.name == "data" and found.indices == (where,)


def test_equal_rows_are_told_apart_by_the_index_or_not_at_all() -> None:
    data = torch.zeros(10, 2)
    data[3] = data[7] = float("nan")
    at = torch.tensor([1, 7, 2])
    assert cut_by_hand(data[at], [1], {"data": data}) is None
    found = cut_by_hand(data[at], [1], {"data": data, "at": at})
    assert found is not None and found.indices == (7,)


def test_a_few_equal_rows_are_chance() -> None:
    table = torch.arange(40.0).reshape(20, 2)
    batch = torch.stack([table[7], torch.tensor([-1.0, -2.0]), table[3]])
    assert cut_by_hand(batch, [0], {"table": table}) is None
    assert cut_by_hand(table[[7, 11, 3]], [0], {"table": table}).indices == (7,)  # type: ignore[union-attr]


def test_numbers_of_rows_are_no_rows_themselves() -> None:
    order = torch.randperm(40)
    assert cut_by_hand(order[[3, 8, 1]], [0], {"order": order}) is None


@given(st.recursive(st.floats() | st.none() | st.text(max_size=3) | st.integers(), lambda x: st.lists(x, max_size=4)))
@settings(max_examples=60, deadline=None)
def test_wild_values_are_no_batches(value: Any) -> None:
    names = {"value": value, "table": np.ones((4, 2)), "text": "x"}
    assert cut_by_hand(value, [0], names) is None or isinstance(value, list)
    assert bad_columns(value, float("inf"), names) == ()


def test_columns_have_the_names_the_script_gives_them() -> None:
    pandas = pytest.importorskip("pandas")
    batch = torch.ones(4, 3)
    batch[1, 2] = float("nan")
    frame = pandas.DataFrame(np.ones((9, 3)), columns=["age", "pulse", "sodium"])
    assert bad_columns(batch, float("inf"), {}) == ("2",)
    assert bad_columns(batch, float("inf"), {"frame": frame}) == ("sodium",)
    assert bad_columns(batch, float("inf"), {"FEATURES": ["a", "b", "c"], "frame": frame}) == ("c",)
    assert bad_columns(batch, float("inf"), {"class_names": ["a", "b", "c"]}) == ("2",)
    assert bad_columns(torch.full((4, 3), float("nan")), float("inf"), {}) == ()
    assert len(TensorDataset(batch)) == 4
