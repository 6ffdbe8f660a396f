"""Patches word for word: what becomes of half precision, of losses that are sums, and of gradients too large to be squared."""

from __future__ import annotations

import pytest
from catalog.patching import ZERO, added, born, marked
from catalog.writing import configuration, stats

from stayfinite.records.incident import Case, Configuration, OptimizerInfo

HALF = Configuration(parameter_dtypes=("float16",), optimizers=(OptimizerInfo("Adam", betas=(0.9, 0.999)),))
HEAD = "import numpy as np\nimport torch\nfrom torch import nn\n\n"


def step_of(body: str, config: Configuration, gradient: float = 3000.0) -> tuple[Case, str]:
    """A case of an update at the marked place, with gradients of that size."""
    text, place = marked(HEAD + body + "\n")
    return born(place, "optimizer_update", stats("grad", max=gradient, min=0.0), phase="optimizer", configuration=config), text


def ways(remedy: str, body: str, config: Configuration = HALF, gradient: float = 3000.0) -> list[list[str]]:
    return added(remedy, *step_of(body, config, gradient))


WEIGHTS = "net = nn.Linear(4, 1).half()\nx = x.to(torch.float16)\n«opt.step()»"


def test_half_precision_becomes_float32() -> None:
    assert ways("train-in-float32", WEIGHTS) == [["net = nn.Linear(4, 1).float()", "x = x.to(torch.float32)"]]
    assert ways("train-in-float32", "x = np.zeros(3, dtype=np.float16)\n«opt.step()»") == [["x = np.zeros(3, dtype=np.float32)"]]
    mixed = "with torch.autocast('cpu', dtype=torch.float16):\n    y = net(x)\n«opt.step()»"
    assert ways("train-in-float32", mixed) == []  # it keeps the weights in float32 already
    assert ways("train-in-float32", WEIGHTS, configuration("Adam", parameter_dtypes=("float32",))) == []


@pytest.mark.parametrize(("handed", "expected"), [
    ("w = net.weight.detach().cpu().numpy()", ["w = net.weight.detach().cpu().float().numpy()"]),
    ("flat = torch.cat([p.detach().flatten() for p in ps])\nb = flat.numpy()", ["b = flat.float().numpy()"]),
    ("w = net.weight.detach().float().numpy()", []),
    ("a = labels.numpy()", []),
])
def test_numpy_is_given_what_it_knows(handed: str, expected: list[str]) -> None:
    lines = ways("use-bfloat16", f"net = nn.Linear(4, 1).half()\n«opt.step()»\n{handed}")
    assert lines == [["net = nn.Linear(4, 1).bfloat16()", *expected]]


@pytest.mark.parametrize(("body", "expected"), [
    ("loss = (net(x) - y).square().sum()\nloss.backward()\n«opt.step()»", ["loss = (net(x) - y).square().mean()"]),
    ("def miss(a, b):\n    return torch.sum((a - b) ** 2)\n\n\nmiss(net(x), y).backward()\n«opt.step()»",
     ["return torch.mean((a - b) ** 2)"]),
    ("criterion = nn.MSELoss(reduction='sum')\nscaler.scale(criterion(net(x), y)).backward()\n«opt.step()»",
     ['criterion = nn.MSELoss(reduction="mean")']),
    ("loss = e.sum() / len(e)\nloss.backward()\n«opt.step()»", None),  # it is a mean
    ("loss_fn = nn.MSELoss(reduction='sum')\nloss = loss_fn(net(x), y) / len(x)\nloss.backward()\n«opt.step()»", None),
    ("loss = F.mse_loss(a, b, reduction='sum') / n\nloss.backward()\n«opt.step()»", None),
    ("loss = e.sum(1).mean()\nloss.backward()\n«opt.step()»", None),
    ("loss = e.sum()\nloss.backward()\nother.backward()\n«opt.step()»", None),  # which one is not told
])
def test_a_loss_is_averaged(body: str, expected: list[str] | None) -> None:
    assert ways("average-the-loss", body) == ([expected] if expected else [])


@pytest.mark.parametrize(("gradient", "loss", "expected"), [
    (3000.0, "loss.backward()", ["(loss * 1e-3).backward()"]),
    (3000.0, "scaler.scale(a + b).backward()", ["scaler.scale((a + b) * 1e-3).backward()"]),
    (3000.0, "accelerator.backward(loss)", ["accelerator.backward(loss * 1e-3)"]),
    (1.0, "loss.backward()", None),  # its square is no matter
])
def test_the_loss_is_scaled_to_gradients_of_1(gradient: float, loss: str, expected: list[str] | None) -> None:
    assert ways("scale-the-loss-down", f"{loss}\n«opt.step()»", gradient=gradient) == ([expected] if expected else [])
    plain = Configuration(parameter_dtypes=("float16",), optimizers=(OptimizerInfo("SGD"),))
    assert ways("scale-the-loss-down", f"{loss}\n«opt.step()»", plain, gradient) == []  # SGD squares nothing


def test_a_step_of_an_optimizer_is_no_operation_to_compute_in_float32() -> None:
    assert ways("compute-in-float32", "«opt.step()»") == []
    text, place = marked(HEAD + "gram = «x @ x.T»\n")
    assert added("compute-in-float32", born(place, "matmul", ZERO), text) == [["gram = x.float() @ x.T.float()"]]
