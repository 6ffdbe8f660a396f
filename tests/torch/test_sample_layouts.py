"""The samples that failed, in whatever layout the batch is when it fails: each step below lets certain rows fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from tracing import some, trace_step

torch.set_num_threads(1)

B = 6
Layout = tuple[Callable[[], Any], list[nn.Module], dict[str, Any], tuple[int, ...]]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _weights(rows: int, columns: int) -> torch.Tensor:
    return (torch.rand(rows, columns) + 0.1).requires_grad_()


def time_first() -> Layout:
    net, head = nn.GRU(3, 5), nn.Linear(5, 1)
    x, y = torch.rand(9, B, 3), torch.ones(B)
    y[4] = 0

    def step() -> None:
        out, _ = net(x)
        (head(out[-1]).squeeze(1) * y.log()).sum().backward()

    return step, [net, head], {"x": x, "y": y}, (4,)


def turned_in_place() -> Layout:
    head = nn.Linear(2, 1)
    x, y = torch.rand(B, 9, 2), torch.ones(B)
    x[:, 2:] = -1

    def step() -> None:
        out = x.sqrt().transpose_(0, 1)
        (head(out[-1]).squeeze(1) - y).abs().mean().backward()

    return step, [head], {"x": x, "y": y}, ()


def time_first_input() -> Layout:
    net = nn.LSTM(3, 5)
    x, y = torch.rand(9, B, 3), torch.randint(5, (B,))
    x[3, 2, 1] = -1

    def step() -> None:
        out, _ = net(x.sqrt())
        F.cross_entropy(out[-1], y).backward()

    return step, [net], {"x": x, "y": y}, (2,)


def windows_of_a_series() -> Layout:
    """Windows that overlap share their memory: each number belongs to several rows."""
    windows = (torch.rand(B + 4) + 0.1).unfold(0, 5, 1)
    windows[2, 4] = windows[2, 4] * 0 + windows.max() + 1
    net = nn.Linear(4, 1)

    def step() -> None:
        past, aim = windows[:, :-1], windows[:, -1:] - windows[2, 4]
        past, aim = past / past.amax(1, keepdim=True), aim.clone()
        ((net(past) - aim).square() / aim.abs().sqrt()).mean().backward()

    return step, [net], {"windows": windows}, (2,)


def flattened_tokens() -> Layout:
    table, head = nn.Embedding(11, 4), nn.Linear(4, 11)
    tokens = torch.randint(1, 11, (B, 7))
    tokens[3, 5] = 0
    with torch.no_grad():
        table.weight.abs_().add_(0.1)
        table.weight[0] = 0
    targets = torch.randint(11, (B, 7))
    targets[:, 0] = -100

    def step() -> None:
        h = table(tokens).view(-1, 4)
        scores = head(h / h.norm(dim=1, keepdim=True))
        F.cross_entropy(scores.view(-1, 11), targets.view(-1), ignore_index=-100).backward()

    return step, [table, head], {"tokens": tokens, "targets": targets}, (3,)


def kept_tokens() -> Layout:
    head = nn.Linear(4, 5)
    x, mask = torch.rand(B, 7, 4) + 0.1, torch.rand(B, 7) > 0.4
    mask[2, 3] = True
    x[2, 3] = 0

    def step() -> None:
        kept = x[mask]
        unit = kept / kept.sum(1, keepdim=True)
        head(unit).sum().backward()

    return step, [head], {"x": x, "mask": mask}, (2,)


def packed() -> Layout:
    net, head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)
    x, lengths = torch.rand(B, 5, 3) + 0.1, torch.tensor([2, 5, 3, 4, 1, 5])
    x[3, 2] = 0

    def step() -> None:
        lines = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        lines = lines._replace(data=lines.data / lines.data.sum(1, keepdim=True))
        out, _ = nn.utils.rnn.pad_packed_sequence(net(lines)[0], batch_first=True)
        head(out.sum(1)).sum().backward()

    return step, [net, head], {"x": x, "lengths": lengths}, (3,)


def chosen_inside() -> Layout:
    everything, labels = torch.rand(50, 4) + 0.1, torch.randint(3, (50,))
    net = nn.Linear(4, 3)
    everything[17] = 0

    def step() -> None:
        rows = torch.tensor([5, 40, 17, 3, 9, 33])
        x, y = everything[rows], labels[rows]
        F.cross_entropy(net(x / x.norm(dim=1, keepdim=True)), y).backward()

    return step, [net], {}, (2,)


def chosen_by_the_loop() -> Layout:
    everything, w = torch.rand(50, 4) + 0.1, _weights(4, 1)
    everything[17] = 0
    rows = torch.tensor([5, 40, 9, 3, 17, 33])

    def step() -> None:
        x = torch.index_select(everything, 0, rows)
        ((x / x.sum(1, keepdim=True)) @ w).sum().backward()

    return step, [], {"rows": rows}, (4,)


def columns_as_many_as_rows() -> Layout:
    """A column of a table is no sample because the batch that is cut from it has as many rows."""
    everything, beside, net = torch.rand(50, B), torch.rand(B, 2), nn.Linear(B, 1)
    everything[:, 2] = torch.nan
    rows = torch.tensor([5, 40, 9, 3, 17, 33])

    def step() -> None:
        (net(everything[rows]) * beside).sum().backward()

    return step, [net], {"everything": everything, "rows": rows, "beside": beside}, ()


def sliced_inside() -> Layout:
    everything, w = torch.rand(50, 4) + 0.1, _weights(4, 1)
    everything[27] = 0

    def step() -> None:
        x = everything[24:30]
        ((x.view(-1, 2, 2).sum(2) @ w[:2]).squeeze(-1).log()).sum().backward()

    return step, [], {}, (3,)


def stacked_inside() -> Layout:
    series, net = torch.rand(60) + 0.1, nn.Linear(5, 1)
    series[31:36] = 0

    def step() -> None:
        x = torch.stack([series[at : at + 5] for at in (0, 7, 31, 20, 44, 50)])
        net(x / x.sum(1, keepdim=True)).sum().backward()

    return step, [net], {}, (2,)


def distances() -> Layout:
    net, x = nn.Linear(4, 3, bias=False), some(B)
    x[4] = x[1]

    def step() -> None:
        z = net(x)
        gaps = (z[:, None] - z[None]).square().sum(-1)[~torch.eye(B, dtype=torch.bool)]
        (1 / gaps).sum().backward()

    return step, [net], {"x": x}, (1, 4)


def cosines() -> Layout:
    net, x = nn.Linear(4, 3, bias=False), some(B)
    x[2] = 0

    def step() -> None:
        z = net(x)
        sizes = z.norm(dim=1)
        (z @ z.T / (sizes[:, None] * sizes[None])).sum().backward()

    return step, [net], {"x": x}, (2,)


def cdist() -> Layout:
    net, x, y = nn.Linear(4, 3), some(B), torch.rand(B, 4)
    y[5] = x[3]

    def step() -> None:
        torch.cdist(net(x), net(y)).reciprocal().sum().backward()

    return step, [net], {"x": x, "y": y}, (3, 5)


def gathered() -> Layout:
    net, x = nn.Linear(4, 5), some(B)
    y = torch.tensor([0, 1, 2, 3, 4, 0])

    def step() -> None:
        p = torch.softmax(net(x), 1)
        p = p * (1 - F.one_hot(torch.tensor([1, 1, 3, 4, 4, 3]), 5))
        (-p.gather(1, y[:, None]).log()).mean().backward()

    return step, [net], {"x": x, "y": y}, (1, 4)


def two_views() -> Layout:
    net, x = nn.Linear(4, 3, bias=False), some(B)
    x[5] = 0

    def step() -> None:
        views = torch.cat([x * 0.9, x * 1.1])
        z = net(views)
        z = z / z.norm(dim=1, keepdim=True)
        (z @ z.T).logsumexp(1).sum().backward()

    return step, [net], {"x": x}, (5,)


def graphs() -> Layout:
    net = nn.Linear(3, 2)
    sizes = [3, 4, 2, 5, 3, 4]
    member = torch.repeat_interleave(torch.arange(B), torch.tensor(sizes))
    x, y = torch.rand(len(member), 3) + 0.1, torch.rand(B)
    x[member == 3] = 0

    def step() -> None:
        pooled = torch.zeros(B, 3).index_add(0, member, x)
        (net(pooled / pooled.sum(1, keepdim=True)).sum(1) * y).sum().backward()

    return step, [net], {"x": x, "member": member, "y": y}, (3,)


def nodes_of_graphs() -> Layout:
    net = nn.Linear(3, 2)
    member = torch.repeat_interleave(torch.arange(B), torch.tensor([3, 4, 2, 5, 3, 4]))
    x, y = torch.rand(len(member), 3) + 0.1, torch.rand(B)
    x[11] = 0  # of graph 3

    def step() -> None:
        h = net(x / x.sum(1, keepdim=True))
        pooled = torch.zeros(B, 2).scatter_add(0, member[:, None].expand(-1, 2), h)
        (pooled.sum(1) * y).sum().backward()

    return step, [net], {"x": x, "member": member, "y": y}, (3,)


def patches() -> Layout:
    net, images = nn.Linear(16, 4), torch.rand(B, 1, 8, 8) + 0.1
    images[1, :, 4:, :4] = 0.5

    def step() -> None:
        pieces = images.unfold(2, 4, 4).unfold(3, 4, 4).reshape(-1, 16)
        pieces = (pieces - pieces.mean(1, keepdim=True)) / pieces.std(1, keepdim=True)
        net(pieces).sum().backward()

    return step, [net], {"images": images}, (1,)


def unfolded() -> Layout:
    net, images = nn.Linear(9, 4), torch.rand(B, 1, 6, 6) + 0.1
    images[4] = 0

    def step() -> None:
        pieces = F.unfold(images, 3).transpose(1, 2)
        net(pieces / pieces.sum(-1, keepdim=True)).sum().backward()

    return step, [net], {"images": images}, (4,)


def heads() -> Layout:
    net, x = nn.Linear(8, 24), torch.rand(B, 5, 8)
    padding = torch.zeros(B, 5, dtype=torch.bool)
    padding[2] = True

    def step() -> None:
        q, k, v = (t.reshape(B, 5, 2, 4).transpose(1, 2).reshape(B * 2, 5, 4) for t in net(x).chunk(3, -1))
        scores = q @ k.transpose(1, 2)
        scores = scores.masked_fill(padding.repeat_interleave(2, 0)[:, None], float("-inf"))
        (scores.softmax(-1) @ v).sum().backward()

    return step, [net], {"x": x, "padding": padding}, (2,)


def attention_layer() -> Layout:
    net, x = nn.MultiheadAttention(8, 2), torch.rand(5, B, 8)
    padding = torch.zeros(B, 5, dtype=torch.bool)
    padding[4] = True

    def step() -> None:
        net(x, x, x, key_padding_mask=padding)[0].sum().backward()

    return step, [net], {"x": x, "padding": padding}, (4,)


def one_by_one() -> Layout:
    net, x = nn.Linear(4, 1), some(B)
    x[3] = 0

    def step() -> None:
        losses = []
        for row in x:
            losses.append(net(row / row.sum()).sum())
        torch.stack(losses).mean().backward()

    return step, [net], {"x": x}, (3,)


def written_one_by_one() -> Layout:
    net, x = nn.Linear(4, 4), some(B)
    x[1] = 0

    def step() -> None:
        out = torch.zeros(B, 4)
        for at in range(B):
            out[at] = net(x[at]) * x[at].sum()
        (1 / out.sum(1)).sum().backward()

    return step, [net], {"x": x}, (1,)


def convolutions() -> Layout:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, bias=False), nn.AdaptiveAvgPool2d(1)
    )
    x = torch.rand(B, 1, 12, 12)
    x[5] = 0

    def step() -> None:
        h = net(x).flatten(1)
        F.normalize(h, eps=0.0).sum().backward()

    return step, [net], {"x": x}, (5,)


def upsampled() -> Layout:
    net = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    x = torch.rand(B, 1, 4, 4)
    x[0] = 0

    def step() -> None:
        h = F.interpolate(net(x), scale_factor=2, mode="bilinear").permute(0, 2, 3, 1).reshape(-1, 1)
        (1 / h).sum().backward()

    return step, [net], {"x": x}, (0,)


def group_norm() -> Layout:
    net, norm = nn.Conv1d(3, 4, 1), nn.GroupNorm(2, 4, eps=0.0)
    x = torch.rand(B, 3, 5)
    x[2] = 0

    def step() -> None:
        with torch.no_grad():
            net.bias.fill_(1.0)
        norm(net(x)).sum().backward()

    return step, [net, norm], {"x": x}, (2,)


def bags() -> Layout:
    table = nn.EmbeddingBag(9, 3, mode="mean")
    words, offsets = torch.randint(9, (14,)), torch.tensor([0, 2, 5, 5, 9, 12])
    y = torch.rand(B)

    def step() -> None:
        h = table(words, offsets)
        (h / h.norm(dim=1, keepdim=True)).sum(1).mul(y).sum().backward()

    return step, [table], {"words": words, "offsets": offsets, "y": y}, (2,)


def reduced_loss() -> Layout:
    net, x, y = nn.Linear(4, 3), some(B), torch.rand(B, 3).softmax(1)
    y[3, 1] = -0.1

    def step() -> None:
        F.kl_div(F.log_softmax(net(x), 1), y, reduction="batchmean").backward()

    return step, [net], {"x": x, "y": y}, (3,)


def overflowing_sum() -> Layout:
    net, x = nn.Linear(4, 3), some(B)
    x[4] = 1e30

    def step() -> None:
        F.mse_loss(net(x), torch.zeros(B, 3)).backward()

    return step, [net], {"x": x}, (4,)


def strongest() -> Layout:
    net, x = nn.Linear(4, 5), some(B)
    x[1, 2] = 50.0

    def step() -> None:
        largest, _ = (x * net.weight.sum().abs().clamp(1, 1)).flatten().topk(2)
        largest.mul(2).exp().sum().backward()

    return step, [net], {"x": x}, (1,)


def repeated_draws() -> Layout:
    net, x = nn.Linear(4, 2), some(B)
    x[2] = 0

    def step() -> None:
        many = x.repeat_interleave(3, 0)
        mean, size = net(many / many.sum(1, keepdim=True)).chunk(2, 1)
        (mean + size).sum().backward()

    return step, [net], {"x": x}, (2,)


def tiled_draws() -> Layout:
    net, x = nn.Linear(4, 2), some(B)
    x[2] = 0

    def step() -> None:
        many = x.expand(3, B, 4).reshape(-1, 4)
        net(many / many.sum(1, keepdim=True)).sum().backward()

    return step, [net], {"x": x}, (2,)


def sorted_lines() -> Layout:
    net, x = nn.Linear(5, 1), torch.rand(B, 5) + 0.1
    order = torch.tensor([4, 2, 0, 1, 5, 3])
    x[5] = 0

    def step() -> None:
        h = x[order].flip(0)
        net(h / h.sum(1, keepdim=True)).sum().backward()

    return step, [net], {"x": x}, (5,)


def channels_last() -> Layout:
    net = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    x = torch.rand(B, 2, 6, 6).to(memory_format=torch.channels_last)
    x[3] = -9

    def step() -> None:
        (net(x.log1p().nan_to_num(nan=float("nan")))).sum().backward()

    return step, [net], {"x": x}, (3,)


def from_arrays() -> Layout:
    net, table = nn.Linear(4, 1), (torch.rand(50, 4) + 0.1).numpy()
    table[8] = 0

    def step() -> None:
        x = torch.tensor(table[[3, 8, 30, 41, 5, 6]])
        y = torch.tensor([1.0, 0, 1, 0, 1, 1])
        (net(x / x.sum(1, keepdim=True)).squeeze(1) * y).sum().backward()

    return step, [net], {"y": torch.ones(B)}, (1,)


def cholesky() -> Layout:
    net, x = nn.Linear(3, 9), some(B, 3)
    x[4] = 0

    def step() -> None:
        a = (net(x) - net.bias).view(B, 3, 3)
        (1 / torch.linalg.det(a)).sum().backward()

    return step, [net], {"x": x}, (4,)


def mixed_over_all() -> Layout:
    net, x = nn.Linear(4, 3), some(B)

    def step() -> None:
        h = net(x)
        (h / (h.sum(0) * 0)).sum().backward()

    return step, [net], {"x": x}, ()


def covariance() -> Layout:
    net, x = nn.Linear(4, 3), some(B)

    def step() -> None:
        h = net(x) - net(x).mean(0)
        torch.log(h.T @ h * torch.eye(3)).sum().backward()

    return step, [net], {"x": x}, ()


def classes_as_many_as_rows() -> Layout:
    net, x = nn.Linear(4, B), some(B)

    def step() -> None:
        counts = torch.bincount(torch.tensor([0, 1, 2, 4, 5, 5]), minlength=B).float()
        (net(x) * (1 / counts)).sum().backward()

    return step, [net], {"x": x}, ()


LAYOUTS = [
    time_first, time_first_input, windows_of_a_series, flattened_tokens, kept_tokens, packed, chosen_inside, chosen_by_the_loop,
    sliced_inside, stacked_inside, distances, cosines, cdist, gathered, two_views, graphs, nodes_of_graphs, patches, unfolded, heads,
    attention_layer, one_by_one, written_one_by_one, convolutions, upsampled, group_norm, bags, reduced_loss, overflowing_sum,
    strongest, repeated_draws, tiled_draws, sorted_lines, channels_last, from_arrays, cholesky, mixed_over_all, covariance,
    classes_as_many_as_rows, columns_as_many_as_rows, turned_in_place,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_rows_that_failed(layout: Callable[[], Layout]) -> None:
    step, roots, batch, rows = layout()
    traced = trace_step(step, roots, batch)
    bad_loss = any(sink.kind == "loss" for sink in traced.trace.sinks)
    found = traced.origin("nonfinite-loss" if bad_loss else "nonfinite-gradient")
    assert traced.error is None
    assert found.origin is not None, found.reason
    assert found.origin.samples == rows, (found.origin.op, found.origin.location.code, traced.batch_size)


@pytest.mark.parametrize(("rows", "chosen"), [
    (torch.tensor([5, 40, 17, 3, 9, 33]), (5, 40, 17, 3, 9, 33)), (torch.tensor([5, -10, 17, 17, 9, 33]), (5, 40, 17, 17, 9, 33)),
])
@pytest.mark.parametrize("given", [True, False])
def test_the_numbers_by_which_a_batch_is_chosen(rows: torch.Tensor, chosen: tuple[int, ...], given: bool) -> None:
    everything, labels, net = torch.rand(50, 4), torch.rand(50), nn.Linear(4, 1)

    def step() -> None:
        at = rows if given else rows.clone()
        (net(everything[at]).squeeze(1) - labels[at]).square().sum().backward()

    assert trace_step(step, [net], {"rows": rows} if given else {}).trace.chosen == chosen


def test_labels_that_choose_weights_choose_no_batch() -> None:
    x, y, weights, net = some(B), torch.arange(B), torch.rand(50), nn.Linear(4, 1)

    def step() -> None:
        (net(x).squeeze(1) * weights[y]).sum().backward()

    assert trace_step(step, [net], {"x": x, "y": y}).trace.chosen == ()
