"""Faults that people make, each as a small training. `FAULTS`: name -> (cause that must come first, training)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from catalog.real_steps import Batch, Training
from torch import Tensor, nn

from stayfinite.records.location import Location

FAULTS: dict[str, tuple[str, Callable[[], Training]]] = {}


def fault(cause: str) -> Callable[[Callable[[], Training]], Callable[[], Training]]:
    def register(make: Callable[[], Training]) -> Callable[[], Training]:
        FAULTS[make.__name__] = cause, make
        return make

    return register


def perceptron(inputs: int = 10, outputs: int = 1, width: int = 32, depth: int = 2) -> nn.Sequential:
    sizes = [inputs, *[width] * depth]
    layers = [layer for i in range(depth) for layer in (nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def regression(step: int = 0, rows: int = 32) -> Batch:
    x = torch.randn(rows, 10)
    return {"x": x, "y": 0.7 * x[:, :1] - 0.2}


def classes(step: int = 0) -> Batch:
    labels = torch.randint(0, 5, (32,))
    return {"x": torch.randn(32, 10) + 0.5 * labels[:, None], "labels": labels}


def spoiled(at: int, make: Callable[[int], Batch], spoil: Callable[[Batch], None]) -> Callable[[int], Batch]:
    """Good batches, but for one."""

    def batch(step: int) -> Batch:
        made = make(step)
        if step == at:
            spoil(made)
        return made

    return batch


def adam(model: nn.Module, rate: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=rate)


def sgd(model: nn.Module, rate: float = 0.01, momentum: float = 0.0) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)


def squares(model: nn.Module, batch: Batch) -> Tensor:
    return F.mse_loss(model(batch["x"]), batch["y"])


def entropy(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch["x"]), batch["labels"])


def enlarge(batch: Batch) -> None:
    batch["x"][3] *= 3e3


# -- one value of one operation --------------------------------------------------------------------------------------


@fault("log-of-zero")
def log_of_a_softmax() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        p = torch.softmax(model(batch["x"]), 1)
        return -torch.log(p).mean()

    model = perceptron(outputs=5)
    return Training(model, adam(model), spoiled(12, classes, enlarge), loss)


@fault("domain-error")
def root_of_a_prediction() -> Training:
    model = perceptron()
    return Training(model, adam(model), regression, lambda m, b: torch.sqrt(m(b["x"])).mean())


@fault("domain-error")
def a_logit_taken_for_a_probability() -> Training:
    model = perceptron()
    return Training(model, adam(model), regression,
                    lambda m, b: F.binary_cross_entropy(m(b["x"]), (b["y"] > 0).float()))


@fault("nonpositive-variance")
def a_negative_scale() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        out = model(batch["x"])
        return -torch.distributions.Normal(out[:, :1], out[:, 1:]).log_prob(batch["y"]).mean()

    model = perceptron(outputs=2)
    return Training(model, adam(model), regression, loss)


@fault("division-by-zero")
def a_constant_column() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        x = batch["x"]
        low, high = x.amin(0), x.amax(0)
        return F.mse_loss(model((x - low) / (high - low)), batch["y"])

    model = perceptron()
    return Training(model, adam(model), spoiled(6, regression, lambda b: b["x"][:, 4].fill_(1.0)), loss)


@fault("exp-overflow")
def a_log_variance() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        out = model(batch["x"])
        mean, logvar = out[:, :1], out[:, 1:]
        return ((batch["y"] - mean) ** 2 * torch.exp(-logvar) + logvar).mean()

    model = perceptron(outputs=2)
    return Training(model, adam(model), spoiled(15, regression, lambda b: b["x"][5].mul_(3e3)), loss)


@fault("naive-softmax-overflow")
def a_softmax_by_hand() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        z = model(batch["x"])
        e = torch.exp(z)
        p = e / e.sum(1, keepdim=True)
        return -torch.log(p + 1e-9).mean()

    model = perceptron(outputs=5)
    return Training(model, adam(model), spoiled(9, classes, enlarge), loss)


@fault("singular-gradient")
def distance_of_equal_points() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return ((model(batch["x"]) - model(batch["other"])) ** 2).sum(1).sqrt().mean()

    def batch(step: int) -> Batch:
        return {"x": torch.randn(32, 10), "other": torch.randn(32, 10)}

    model = perceptron(outputs=4)
    return Training(model, adam(model), spoiled(5, batch, lambda b: b["other"][4].copy_(b["x"][4])), loss)


@fault("singular-gradient")
def a_half_power() -> Training:
    def batch(step: int) -> Batch:
        return {"x": torch.randn(32, 10), "other": torch.randn(32, 10)}

    model = perceptron(outputs=4)
    return Training(model, adam(model), spoiled(5, batch, lambda b: b["other"][4].copy_(b["x"][4])),
                    lambda m, b: (((m(b["x"]) - m(b["other"])) ** 2).sum(1) ** 0.5).mean())


@fault("where-gradient-trap")
def a_quotient_picked_later() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        z = model(batch["x"])
        n = torch.relu(z)
        return torch.where(n > 0, z / n, torch.zeros_like(n)).mean()

    model = perceptron(outputs=4)
    return Training(model, adam(model), regression, loss)


@fault("where-gradient-trap")
def distances_masked_later() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        u = model(batch["x"])
        d = ((u[:, None] - u[None]) ** 2).sum(-1).sqrt()
        return (d * (1 - torch.eye(len(u)))).mean()

    model = perceptron(outputs=4)
    return Training(model, adam(model), regression, loss)


@fault("softmax-over-masked-row")
def a_sample_of_padding() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        scores = model(batch["x"]) @ batch["x"].transpose(1, 2)
        scores = scores.masked_fill(batch["padding"][:, None], float("-inf"))
        return (torch.softmax(scores, -1) @ batch["x"]).pow(2).mean()

    def batch(step: int) -> Batch:
        length = torch.randint(1, 7, (16,))
        return {"x": torch.randn(16, 6, 8), "padding": torch.arange(6)[None] >= length[:, None]}

    model = nn.Linear(8, 8)
    return Training(model, adam(model), spoiled(4, batch, lambda b: b["padding"][5].fill_(True)), loss)


@fault("infinity-arithmetic")
def logits_of_minus_infinity() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        mask = torch.zeros(32, 5, dtype=torch.bool)
        mask[:, 0] = True
        z = model(batch["x"]).masked_fill(mask, float("-inf"))
        return F.binary_cross_entropy_with_logits(z, F.one_hot(batch["labels"], 5).float() * ~mask)

    model = perceptron(outputs=5)
    return Training(model, adam(model), classes, loss)


@fault("empty-reduction")
def an_empty_mask() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        error = (model(batch["x"]) - batch["y"]).pow(2)[:, 0]
        return (error * batch["mask"]).sum() / batch["mask"].sum()

    def batch(step: int) -> Batch:
        return {**regression(), "mask": torch.rand(32) > 0.5}

    model = perceptron()
    return Training(model, adam(model), spoiled(5, batch, lambda b: b["mask"].fill_(False)), loss)


@fault("empty-reduction")
def every_label_ignored() -> Training:
    model = perceptron(outputs=5)
    return Training(model, adam(model), spoiled(5, classes, lambda b: b["labels"].fill_(-100)), entropy)


@fault("zero-norm-vector")
def an_empty_text() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        v = batch["x"]
        return F.mse_loss(model(v / v.norm(dim=1, keepdim=True)), batch["y"])

    model = perceptron()
    return Training(model, adam(model), spoiled(6, regression, lambda b: b["x"][6].zero_()), loss)


@fault("single-element-variance")
def one_advantage() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        advantage = batch["y"] - model(batch["x"])
        return ((advantage - advantage.mean()) / (advantage.std() + 1e-8) * model(batch["x"])).mean()

    model = perceptron()
    return Training(model, adam(model), lambda step: regression(rows=1 if step == 4 else 16), loss)


@fault("degenerate-batch-statistics")
def one_value_per_channel() -> Training:
    model = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    return Training(model, adam(model), lambda step: regression(rows=1 if step == 4 else 16), squares)


@fault("label-out-of-range")
def one_class_too_many() -> Training:
    model = perceptron(outputs=5)
    return Training(model, adam(model), spoiled(4, classes, lambda b: b["labels"][3].fill_(5)), entropy)


@fault("degenerate-decomposition")
def equal_rows() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        h = model(batch["x"])
        return -torch.linalg.cholesky(h.T @ h / len(h)).diagonal().log().sum()

    model = perceptron(outputs=4)
    same = spoiled(3, regression, lambda b: b["x"].copy_(b["x"][:1].expand(32, 10)))
    return Training(model, sgd(model, 1e-4), same, loss)


# -- growth ----------------------------------------------------------------------------------------------------------


@fault("learning-rate-too-high")
def a_rate_of_three() -> Training:
    model = perceptron()
    return Training(model, sgd(model, 3.0), regression, squares)


@fault("learning-rate-too-high")
def an_exponential_at_the_end_of_a_run_up() -> Training:
    _, make = FAULTS["a_log_variance"]
    training = make()
    training.optimizer, training.batch = sgd(training.model, 2.0), regression
    return training


@fault("learning-rate-too-high")
def an_update_beyond_the_format() -> Training:
    model = perceptron()
    return Training(model, sgd(model, 1e38), regression, lambda m, b: 1e6 * squares(m, b))


@fault("invalid-learning-rate-schedule")
def a_warm_up_that_never_ends() -> Training:
    model = perceptron()
    optimizer = sgd(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.2**step)
    return Training(model, optimizer, regression, squares, scheduler=schedule)


@fault("invalid-learning-rate-schedule")
def a_rate_of_nan() -> Training:
    model = perceptron()
    optimizer = adam(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 5 else math.nan)
    return Training(model, optimizer, regression, squares, scheduler=schedule)


@fault("unscaled-target")
def house_prices() -> Training:
    model = perceptron()
    return Training(model, sgd(model), spoiled_always(lambda b: b["y"].mul_(1e5).add_(2e5)), squares)


@fault("unscaled-target")
def a_target_of_1e22() -> Training:
    model = perceptron()
    return Training(model, sgd(model), spoiled_always(lambda b: b["y"].add_(1e22)), squares)


@fault("corrupt-sample")
def one_target_of_1e25() -> Training:
    model = perceptron()
    return Training(model, sgd(model), spoiled_always(lambda b: b["y"][3].fill_(1e25)), squares)


@fault("corrupt-sample")
def one_feature_read_at_the_wrong_offset() -> Training:
    model = perceptron()
    return Training(model, sgd(model), spoiled_always(lambda b: b["x"][5, 0].fill_(-8e33)), squares)


@fault("unscaled-input")
def incomes() -> Training:
    model = perceptron()
    return Training(model, sgd(model), spoiled_always(lambda b: b["x"].mul_(3e4).add_(5e4)), squares)


def spoiled_always(spoil: Callable[[Batch], None]) -> Callable[[int], Batch]:
    def batch(step: int) -> Batch:
        made = regression()
        spoil(made)
        return made

    return batch


@fault("bad-initialization")
def thirty_layers_drawn_at_one() -> Training:
    model = perceptron(width=256, outputs=5, depth=30)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight)
    return Training(model, adam(model), classes, entropy)


@fault("exploding-gradient")
def sequences_that_grow() -> Training:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.RNNCell(4, 32, nonlinearity="relu"), nn.Linear(32, 1)
            nn.init.orthogonal_(self.cell.weight_hh, gain=1.7)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.zeros(len(x), 32)
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h)
            return self.out(h)

    def batch(step: int) -> Batch:
        x = torch.randn(16, 6 if step < 12 else 60, 4)
        return {"x": x, "y": x.mean((1, 2))[:, None]}

    model = Recurrent()
    return Training(model, sgd(model, 3e-3), batch, squares)


@fault("half-precision-overflow")
def squares_in_half() -> Training:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        h = (model(batch["x"]) * batch["gain"]).half()
        return (h * h).float().mean()

    def batch(step: int) -> Batch:
        return {"x": torch.randn(16, 10), "gain": torch.tensor([[3e3 if step == 5 else 1.0]])}

    model = perceptron(outputs=4)
    return Training(model, sgd(model, 1e-4), batch, loss)


# -- state -----------------------------------------------------------------------------------------------------------


@fault("lost-epsilon")
def adam_in_half() -> Training:
    model = perceptron().half()
    return Training(model, adam(model), lambda step: {k: v.half() for k, v in regression().items()},
                    lambda m, b: F.mse_loss(m(b["x"]).float(), b["y"].float()))


@fault("optimizer-arithmetic")
def a_gradient_of_1e22() -> Training:
    model = perceptron()
    return Training(model, adam(model), regression,
                    lambda m, b: squares(m, b) if b["x"][0, 0] < 1.5 else 1e22 * m(b["x"]).mean())


@fault("nonfinite-input")
def a_missing_measurement() -> Training:
    model = perceptron()
    return Training(model, adam(model), spoiled(6, regression, lambda b: b["x"][6, 3].fill_(math.nan)), squares)


@fault("uninitialized-parameter")
def a_parameter_never_written() -> Training:
    model = perceptron()
    with torch.no_grad():
        memory = model[0].weight.zero_().view(-1)  # what an allocator hands out: mostly zeros, tiny numbers, and worse
        memory[::5] = 1e-41
        memory[7], memory[11] = math.nan, 3e22
    return Training(model, adam(model), regression, squares)


@fault("corrupt-checkpoint")
def a_parameter_loaded() -> Training:
    model = perceptron()
    with torch.no_grad():
        model[0].weight[3, 2] = math.nan
    training = Training(model, adam(model), regression, squares)
    training.loaded = Location(file="train.py", line=3)
    return training


@fault("missing-zero-grad")
def gradients_never_cleared() -> Training:
    model = nn.Linear(10, 1)
    return Training(model, sgd(model, 0.1), regression,
                    lambda m, b: squares(m, b) + 0.1 * m(b["x"]).pow(4).mean(), steps=2000, clears=False)
