"""What was looked up in the source of a real run: the place to change, the cost, and that a healthy run looks up nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stayfinite.frameworks.torch import describe
from stayfinite.frameworks.torch.births import makings as module
from stayfinite.records.incident import Case, Configuration, OptimizerInfo, Origin, Symptom
from stayfinite.records.location import Location
from stayfinite.records.survey import Making

SCRIPT = """
import argparse, torch
p = argparse.ArgumentParser()
p.add_argument("--rate", type=float, default=4.0)  # option
a = p.parse_args()
x = load()
for i in range(9):
    loss = (model(x[i]) - y[i]).mean()
    loss.backward()
    opt.step()
opt = torch.optim.SGD(model.parameters(), lr=a.rate)
"""


@pytest.fixture
def look_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Making, ...]]:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    monkeypatch.setattr(module, "_paths", lambda case, frame, relative: iter([str(path)]))
    frame = SimpleNamespace(f_code=SimpleNamespace(co_filename=str(path)), f_lineno=8)
    made = OptimizerInfo("SGD", (4.0,), location=Location("train.py", 11))
    case = Case(
        Symptom("nonfinite-loss", 3, "loss", "nan"), configuration=Configuration((made,)),
        origin=Origin("loss", "sub", "aten.sub", Location("train.py", 8)),
    )
    return lambda *arguments: (
        monkeypatch.setattr(module.sys, "argv", ["train.py", *arguments]),
        module.makings(case, frame, lambda one: Path(one).name),  # type: ignore[arg-type]
    )[1]


def test_the_default_of_an_option_is_the_rate(look_up: Callable[..., tuple[Making, ...]]) -> None:
    assert [(one.by, one.location.line) for one in look_up() if one.of == "rate"] == [("default", 4)]


@pytest.mark.parametrize("argument", ["--rate", "--rate=9"])
def test_an_option_that_was_told_is_not(argument: str, look_up: Callable[..., tuple[Making, ...]]) -> None:
    assert [one for one in look_up(argument, "9") if one.of == "rate"] == []


@pytest.mark.parametrize(("rates", "line"), [((9.0, 0.1), 1), ((0.1, 9.0), 3)])
def test_the_parameter_group_with_the_highest_rate(
    rates: tuple[float, ...], line: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "train.py"
    path.write_text("lr = 0.1\nopt = SGD([{'params': a},\n           {'params': b, 'lr': 9.0}], lr=lr)\n")
    monkeypatch.setattr(module, "_paths", lambda case, frame, relative: iter([str(path)]))
    made = OptimizerInfo("SGD", rates, location=Location("train.py", 2))
    case = Case(Symptom("nonfinite-loss", 3, "loss", "nan"), configuration=Configuration((made,)))
    found = module.makings(case, None, lambda one: Path(one).name)
    assert [one.location.line for one in found if one.of == "rate"] == [line]


BY_HAND = {
    "in place": "    w -= lr * w.grad\n",
    "of the data": "    w.data -= lr * w.grad.data\n",
    "sub_": "    w.sub_(lr * v)\n",
    "add_ with alpha": "    w.add_(w.grad, alpha=-lr)\n",
    "anew": "    w = w - lr * gradient\n",
    "divided": "    w -= lr * w.grad / n\n",
    "a literal": "    w -= 0.5 * w.grad  # here\n",
}


@pytest.mark.parametrize("style", BY_HAND)
def test_the_rate_of_an_update_by_hand(style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.py"
    rate = "0.5" if style == "a literal" else "0.5  # here"
    path.write_text(f"lr = {rate}\nfor i in range(9):\n    loss = f(w)\n    loss.backward()\n    x -= x.mean()\n{BY_HAND[style]}")
    monkeypatch.setattr(module, "_paths", lambda case, frame, relative: iter([str(path)]))
    frame = SimpleNamespace(f_code=SimpleNamespace(co_filename=str(path)), f_lineno=3)
    found = module.makings(Case(Symptom("nonfinite-loss", 3, "loss", "nan")), frame, lambda one: Path(one).name)  # type: ignore[arg-type]
    rates = [one.location.code for one in found if one.of == "rate" and one.by == "constant"]
    assert len(rates) == 1 and rates[0].endswith("# here")


def test_what_the_script_writes_into_an_optimizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.py"
    path.write_text("mean = total / busy  # here\nfor p in parameters:\n    opt.state[p]['exp_avg'].copy_(mean)\n    model.state[p] = 1\n")
    monkeypatch.setattr(module, "_paths", lambda case, frame, relative: iter([str(path)]))
    case = Case(Symptom("nonfinite-moment", 3, "moment", "nan"), origin=Origin("load", "moment", ""))
    found = module.makings(case, None, lambda one: Path(one).name)
    assert [one.location.code for one in found if one.by == "divide"] == ["mean = total / busy  # here"]
    assert {one.location.line for one in found if one.of == "state" and one.by == "write"} == {3, 4}


def test_a_spent_budget_ends_the_search(look_up: Callable[..., tuple[Making, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(one.of == "operand" for one in look_up())
    monkeypatch.setattr(module, "SECONDS", -1.0)
    assert not any(one.of in ("operand", "rate") for one in look_up())


TRAINING = """
import atexit, sys, torch
atexit.register(lambda: print("read", "stayfinite.frameworks.torch.births.makings" in sys.modules))
w = torch.ones(3, requires_grad=True)
opt = torch.optim.SGD([w], lr={rate})
for i in range(40):
    loss = (w ** 2).sum()
    opt.zero_grad()
    loss.backward()
    opt.step()
"""


@pytest.mark.parametrize(("rate", "read"), [(0.1, False), (1e20, True)])
def test_a_healthy_run_reads_no_source(rate: float, read: bool, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINING.format(rate=rate))
    command = [sys.executable, "-m", "stayfinite", "run", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert f"read {read}" in done.stdout, done.stderr


class Own(torch.optim.Optimizer):
    """Notes where it is made, as the session does."""

    def __init__(self, parameters: object) -> None:
        super().__init__(parameters, {"lr": 0.1})  # type: ignore[arg-type]
        self.made_at = describe.user_location(str, self)
        self.innermost = describe.user_location(str)


def test_an_own_optimizer_is_made_where_it_is_called() -> None:
    made = Own(nn.Linear(1, 1).parameters())  # made
    assert made.made_at.code.endswith("# made")
    assert made.innermost.function.endswith("__init__")
