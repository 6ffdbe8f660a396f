"""Labels of rows: how they combine, lie in memory, and follow operators. What an operator does is checked against a brute force:
a NaN is put into one row of a batch, and may only come out where the labels name that row, or none in particular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from tracing import trace_step

from stayfinite.frameworks.torch.tracing import belonging as belonging_module
from stayfinite.frameworks.torch.tracing.counting import count_rows
from stayfinite.frameworks.torch.tracing.labels import (
    NONE,
    along,
    combine,
    explain,
    group,
    of_rows,
    overlaid,
    pattern_of,
    place_of,
    read,
    reduce,
)

torch.set_num_threads(1)


def test_two_rows_make_a_pair_and_three_are_none_in_particular() -> None:
    one, two, three = of_rows([1]), of_rows([2]), of_rows([3])
    pair = combine(one, two)
    assert pair is not None and explain(pair) == (1, 2)
    assert combine(pair, two) is not None and explain(combine(pair, two)) == (1, 2)  # type: ignore[arg-type]
    assert combine(pair, three).tolist() == [NONE]  # type: ignore[union-attr]
    assert combine(one, np.array([NONE]), None) is not None and combine(None, None) is None
    assert combine(np.array([NONE]), one).tolist() == one.tolist()  # type: ignore[union-attr]


def test_what_is_added_up_has_the_row_that_all_share() -> None:
    rows = of_rows(np.arange(4))
    assert reduce(rows).tolist() == [NONE]  # type: ignore[union-attr]
    assert reduce(rows[:1]).tolist() == rows[:1].tolist()  # type: ignore[union-attr]
    pairs = combine(rows[:, None], rows[None])
    assert reduce(pairs, [1], keep=False).tolist() == rows.tolist()  # type: ignore[union-attr]
    assert reduce(np.zeros((0, 2), np.int64), [0]).tolist() == [[NONE, NONE]]  # type: ignore[union-attr]
    assert group(rows[[0, 0, 1, 2]], [3, 3, 1, 1], 4).tolist() == [NONE, int(combine(rows[1:2], rows[2:3])[0]), NONE, 0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ([3, 3, 1], (1, 3)),
        ([(0, 2), (1, 2), (2, 3)], (2,)),  # a row that most pairs share
        ([(0, 2)], (0, 2)),
        ([(0, 1), (0, 2), (1, 2)], (0, 1, 2)),
        ([2, (0, 2), (1, 2), (4, 5)], (2, 4, 5)),
        ([1, NONE], ()),
        ([], ()),
    ],
)
def test_the_fewest_rows_that_explain_elements(labels: list[Any], rows: tuple[int, ...]) -> None:
    numbers = [one if one == NONE else int(combine(of_rows([np.min(one)]), of_rows([np.max(one)]))[0]) for one in labels]  # type: ignore[index]
    assert explain(np.array(numbers, dtype=np.int64)) == rows


VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "all": lambda x: x,
    "transposed": lambda x: x.transpose(0, 1),
    "flat": lambda x: x.reshape(-1),
    "one row": lambda x: x[2],
    "a column": lambda x: x[:, 1],
    "some": lambda x: x[1:4, ::2],
    "folded": lambda x: x.view(-1, x.shape[-1]),
    "wide": lambda x: x[:, None].expand(-1, 3, -1, -1),
    "windows": lambda x: x.unfold(1, 2, 1),
    "diagonal": lambda x: x.diagonal(0, 0, 1),
    "bytes": lambda x: x.view(torch.int16),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("form", ["rows", "time first", "elements", "permuted"])
def test_labels_are_read_through_every_view(view: str, form: str) -> None:
    x = torch.zeros(5, 4, 6).permute(0, 2, 1) if form == "permuted" else torch.zeros(5, 4, 6)
    labels = along(x.shape[0], 0, 3) if form in ("rows", "permuted") else along(x.shape[1], 1, 3)
    if form == "elements":
        labels = of_rows(np.arange(x.numel()) * 7 % 11).reshape(x.shape)
    if (form, view) in (("permuted", "folded"), ("permuted", "bytes"), ("permuted", "flat")):
        pytest.skip("no view of that")
    pattern = pattern_of(labels, place_of(x))
    assert pattern is not None
    full = torch.from_numpy(np.ascontiguousarray(np.broadcast_to(labels, tuple(x.shape))))
    if view == "bytes":
        full = full.repeat_interleave(2, -1)
    part = VIEWS[view](x)
    expected = full if view == "bytes" else VIEWS[view](full)
    found = read(pattern, place_of(part))
    assert found is not None
    assert np.array_equal(np.broadcast_to(found, tuple(part.shape)), expected.numpy())


def test_a_part_that_is_written_leaves_the_rest() -> None:
    x = torch.zeros(4, 3)
    before = pattern_of(along(4, 0, 2), place_of(x))
    after = overlaid(of_rows([[9]]), place_of(x[1:3, :2]), x.untyped_storage().nbytes(), before)
    assert after is not None
    found = read(after, place_of(x))
    assert found is not None
    assert np.array_equal(found, of_rows([[0, 0, 0], [9, 9, 1], [9, 9, 2], [3, 3, 3]]))


B = 5
INDEX = torch.tensor([3, 0, 0, 4, 1, 2, 2])
OPERATORS: dict[str, tuple[tuple[int, ...], Callable[[torch.Tensor], Any]]] = {
    "softmax": ((B, 4), lambda x: x.softmax(1)),
    "softmax over the batch": ((B, 4), lambda x: x.softmax(0)),
    "sums": ((B, 4, 3), lambda x: (x.sum(1), x.sum((0, 2)), x.mean(-1, keepdim=True), x.sum())),
    "largest": ((B, 4), lambda x: (x.max(1).values, x.max(0).values, x.amax(0), x.topk(2, 0).values, x.sort(0).values)),
    "running": ((B, 4), lambda x: (x.cumsum(1), x.cumsum(0), x.logcumsumexp(0))),
    "products": ((B, 4), lambda x: (x @ x.T, x.T @ x, x @ torch.ones(4), x @ torch.ones(4, 2), torch.ones(3, B) @ x)),
    "batched products": ((B, 4, 3), lambda x: (x @ x.transpose(1, 2), torch.einsum("bij,bkj->ik", x, x))),
    "bilinear": ((B, 4), lambda x: torch.einsum("bi,cj->bcij", x, x)),
    "convolution": ((B, 2, 6, 6), lambda x: F.conv2d(x, torch.ones(3, 2, 3, 3))),
    "transposed convolution": ((B, 2, 4), lambda x: F.conv_transpose1d(x, torch.ones(2, 3, 2))),
    "pooling": ((B, 2, 6, 6), lambda x: (F.max_pool2d(x, 2), F.avg_pool2d(x, 3), F.adaptive_avg_pool2d(x, 2))),
    "sizes": ((B, 2, 4, 4), lambda x: (F.interpolate(x, scale_factor=2), F.interpolate(x, scale_factor=2, mode="bicubic"))),
    "padding": ((B, 2, 4), lambda x: (F.pad(x, (1, 2)), F.pad(x, (0, 0, 0, 0, 1, 1)), F.pad(x, (1, 1), mode="reflect"))),
    "unfolding": ((B, 2, 4, 4), lambda x: F.fold(F.unfold(x, 2), 4, 2)),
    "shuffled pixels": ((B, 4, 3, 3), lambda x: F.pixel_shuffle(x, 2)),
    "norms": ((B, 4, 6), lambda x: (F.layer_norm(x, (6,)), F.group_norm(x, 2), F.layer_norm(x, (4, 6)), F.rms_norm(x, (6,)))),
    "attention": ((B, 2, 4, 3), lambda x: F.scaled_dot_product_attention(x, x, x)),
    "distances": ((B, 4), lambda x: (torch.cdist(x, x), F.pdist(x), F.cosine_similarity(x[:, None], x[None], -1))),
    "join": ((B, 4), lambda x: (torch.cat([x, x.flip(0)]), torch.stack([x, x.roll(1, 0)]), torch.cat([x, torch.ones(2, 4)]))),
    "choose": ((B, 4), lambda x: (x[INDEX], x.index_select(0, INDEX), x[INDEX, :2], x[:, INDEX % 4], x[INDEX, INDEX % 4])),
    "masks": ((B, 4), lambda x: (x[x > 0.5], x.masked_select(torch.eye(B)[:, :4] < 1), x[torch.arange(B) % 2 == 0])),
    "gather": ((B, 4), lambda x: (x.gather(0, INDEX[:, None] % B), x.gather(1, torch.arange(B)[:, None] % 4), x.take(INDEX))),
    "scatter": ((B, 4), lambda x: (
        torch.zeros(3, 4).index_add(0, INDEX[:B] % 3, x), torch.zeros(B, 6).scatter(1, torch.arange(4).expand(B, 4), x),
        torch.zeros(3, 4).scatter_add(0, (INDEX[:B] % 3)[:, None].expand(B, 4), x),
        torch.zeros(7, 4).index_put((INDEX[:B],), x, accumulate=True), torch.zeros(7, 4).index_copy(0, torch.arange(B) + 1, x),
    )),
    "repeat": ((B, 4), lambda x: (x.repeat(2, 3), x.repeat_interleave(3, 0), x.repeat_interleave(torch.arange(B), 0), x.tile(2, 1))),
    "triangles": ((B, 4, 4), lambda x: (x.tril(), x.flip(1), x.rot90(1, (1, 2)), torch.diag_embed(x[:, 0]))),
    "matrices": ((B, 3, 3), lambda x: (torch.linalg.inv(x + 9 * torch.eye(3)), torch.linalg.det(x), torch.linalg.svd(x).U)),
    "frequencies": ((B, 8), lambda x: (torch.fft.rfft(x).abs(), torch.fft.fft(x, dim=0).real)),
    "losses": ((B, 4), lambda x: (
        F.cross_entropy(x, torch.arange(B) % 4, reduction="none"), F.mse_loss(x, x.roll(1, 0), reduction="none"),
        F.mse_loss(x, torch.zeros(B, 4)),
    )),
    "recurrent": ((B, 4, 3), lambda x: nn.LSTM(3, 2, batch_first=True)(x)[0]),
    "gated": ((B, 4), lambda x: (F.glu(x), F.normalize(x), F.gumbel_softmax(x), F.dropout(x))),
    "packed": ((B, 4, 3), lambda x: nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 3, 3, 2, 1]), True).data),
    "in place": ((B, 4), lambda x: x.clone().add_(1).mul_(2).index_add_(0, torch.tensor([0]), torch.ones(1, 4))),
    "centred": ((B, 4), lambda x: ((x - x.mean(0)) / x.std(0), F.batch_norm(x, None, None, training=True))),
    "mapped": ((B, 4), lambda x: torch.vmap(lambda row: row.softmax(0) @ torch.ones(4))(x)),
}


BY_PLACE = ("softmax over the batch", "largest", "centred")
"""Of these each element has the row of its place, although all others have a part in it."""


def _labels_of(operator: Callable[[torch.Tensor], Any], x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The labels of what `operator` gives for the batch `x`, under a tracer."""
    ledgers: list[belonging_module.Belonging] = []
    begin = belonging_module.Belonging.__init__

    def kept(self: Any, *args: Any) -> None:
        begin(self, *args)
        ledgers.append(self)

    monkeypatch.setattr(belonging_module.Belonging, "__init__", kept)
    found: list[Any] = []

    def step() -> None:
        torch.manual_seed(0)
        result = operator(x)
        found.extend(ledgers[0].labels(one) for one in (result if isinstance(result, tuple) else (result,)))

    traced = trace_step(step, [], {"x": x})
    assert traced.error is None, traced.error
    return found


@pytest.mark.parametrize("name", OPERATORS)
def test_no_operator_gives_a_row_to_what_does_not_depend_on_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, operator = OPERATORS[name]
    torch.manual_seed(1)
    x = torch.rand(shape)
    labels = _labels_of(operator, x, monkeypatch)

    def results(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(0)
        found = operator(values)
        return found if isinstance(found, tuple) else (found,)

    known = 0
    for row in range(B):
        changed = x.clone()
        changed[row] += 0.25 * torch.rand(shape[1:])
        for before, after, one in zip(results(x), results(changed), labels, strict=True):
            if one is None or before.shape != after.shape:
                continue
            full = np.broadcast_to(one, tuple(before.shape))
            low, high = full >> 24, full & ((1 << 24) - 1)
            named = (low == row) | (high == row)
            moved = (before != after).numpy()
            assert not (moved & ~named & (full != NONE)).any() or name in BY_PLACE, row
            known += int(named.any())
    assert known, f"{name}: no row was followed"


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=5), st.booleans())
@settings(max_examples=30, deadline=None)
def test_any_extents_are_counted(extents: list[tuple[int, int]], time_first: bool) -> None:
    counted = count_rows([torch.zeros(extent) for extent in extents], time_first)
    assert counted.size in {first for first, _ in extents}


def test_graphs_of_different_sizes_are_counted_by_their_number() -> None:
    member = torch.tensor([0, 0, 0, 1, 1, 2])
    counted = count_rows([torch.zeros(6, 4), member, torch.zeros(3)], False)
    assert counted.size == 3 and counted.members is not None and counted.members.tolist() == member.tolist()
    assert count_rows([torch.zeros(6, 4), member, torch.zeros(6)], False).size == 6
    assert count_rows([torch.zeros(6, 4), torch.tensor([0, 2, 1, 1, 1, 2]), torch.zeros(3)], False).size == 6
