"""After an incident parameters, buffers, moments and counters are those before the bad step, for every optimizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from holding import BAD, FAULTS, MODEL, SYMPTOMS, Held, differences, plain

from stayfinite.frameworks.torch import hold

WEIGHTS_ONLY = (
    "model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8, affine=False), nn.Tanh(), nn.Linear(8, 3, bias=False))\n"
)
OPTIMIZERS = {
    "ASGD": "ASGD({p}, 0.1, t0=1)",
    "ASGD-foreach": "ASGD({p}, 0.1, foreach=True)",
    "Adadelta": "Adadelta({p})",
    "Adafactor": "Adafactor({p})",
    "Adagrad": "Adagrad({p}, lr_decay=0.1)",
    "Adagrad-fused": "Adagrad({p}, fused=True)",
    "Adam": "Adam({p}, 0.01, foreach=False)",
    "Adam-amsgrad-foreach": "Adam({p}, 0.01, amsgrad=True, foreach=True)",
    "Adam-amsgrad-fused": "Adam({p}, 0.01, amsgrad=True, fused=True)",
    "Adam-rate-in-a-tensor": "Adam({p}, torch.tensor(0.01), foreach=False)",
    "AdamW": "AdamW({p}, 0.01)",
    "AdamW-fused": "AdamW({p}, 0.01, fused=True)",
    "Adamax": "Adamax({p})",
    "LBFGS": "LBFGS({p}, lr=0.5, max_iter=4, history_size=3)",
    "LBFGS-wolfe": "LBFGS({p}, line_search_fn='strong_wolfe', max_iter=4)",
    "Muon": "Muon({p})",
    "NAdam": "NAdam({p}, weight_decay=0.1, decoupled_weight_decay=True)",
    "RAdam": "RAdam({p})",
    "RMSprop": "RMSprop({p}, centered=True, momentum=0.9)",
    "Rprop": "Rprop({p})",
    "SGD": "SGD({p}, 0.1)",
    "SGD-nesterov": "SGD({p}, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01)",
    "SGD-fused": "SGD({p}, 0.1, momentum=0.9, fused=True)",
    "SGD-maximize": "SGD({p}, 0.01, maximize=True, foreach=True)",
    "SparseAdam": "SparseAdam({p}, 0.01)",
}
EMBEDDING = """
class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(20, 3, sparse=True)

    def forward(self, x):
        return self.rows((x.abs() * 5).long().clamp(max=19)).sum(1)


model = Bag()
"""
COMPLEX = """
class Waves(nn.Module):
    def __init__(self):
        super().__init__()
        self.amplitudes = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64))
        self.register_buffer("mean", torch.zeros(3, dtype=torch.complex64))

    def forward(self, x):
        z = x.to(torch.complex64) @ self.amplitudes
        self.mean.mul_(0.9).add_(z.detach().mean(0), alpha=0.1)
        return (z - self.mean).real


model = Waves()
"""


def test_no_optimizer_of_torch_is_forgotten() -> None:
    public = {name for name in dir(torch.optim) if isinstance(getattr(torch.optim, name), type)} - {"Optimizer"}
    assert public == {text.split("(")[0] for text in OPTIMIZERS.values()}


def _model(name: str) -> str:
    return {"Muon": WEIGHTS_ONLY, "SparseAdam": EMBEDDING}.get(name, MODEL)


def _setup(name: str) -> str:
    return f"optimizer = torch.optim.{OPTIMIZERS[name].format(p='model.parameters()')}"


def _with_closure(name: str, fault: str) -> str:
    return f"""{_model(name)}{_setup(name)}
keep(model=model, optimizer=optimizer)
for i, x, y, w in batches():
    def closure():
        optimizer.zero_grad()
        out = model(x)
        loss = {FAULTS[fault]}
        loss.backward()
        return loss
    optimizer.step(closure)
"""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if "LBFGS" not in name])
def test_optimizer(name: str, fault: str, tmp_path: Path) -> None:
    case = Held(tmp_path, plain(_setup(name), FAULTS[fault], model=_model(name)))
    bare, watched = case.bare(), case.watched()
    assert (watched.incident["symptom"], watched.incident["step"]) == (SYMPTOMS[fault], BAD)
    assert watched.incident["held"] and watched.incident["reproduced"] and watched.incident["hold_note"] == ""
    assert watched.done.exit_code == 3
    assert differences(watched.final, bare.states[BAD]) == []
    assert differences(watched.final, bare.states[BAD + 1]) != []  # the comparison can fail


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_with_a_closure(name: str, fault: str, tmp_path: Path) -> None:
    """Gradients are made inside the step: it runs over an undo copy of everything the optimizer keeps."""
    case = Held(tmp_path, _with_closure(name, fault))
    bare, watched = case.bare(), case.watched()
    assert watched.incident["step"] == BAD and watched.incident["held"]
    assert watched.incident["symptom"] in ("nonfinite-loss", "nonfinite-parameter", "nonfinite-moment")
    if fault == "forward":
        assert watched.incident["symptom"] == "nonfinite-loss"
    assert "undo copy" in watched.incident["hold_note"] and "closure" in watched.incident["hold_note"]
    assert differences(watched.final, bare.states[BAD]) == []


@pytest.mark.parametrize("closure", [False, True], ids=["step", "closure"])
def test_skipping_leaves_out_exactly_that_step(closure: bool, tmp_path: Path) -> None:
    """All optimizers one after another in one script: each ends with the bits of a run that never saw the bad batch."""
    parts = []
    for number, name in enumerate(name for name in OPTIMIZERS if closure or "LBFGS" not in name):
        script = _with_closure(name, "backward") if closure else plain(_setup(name), FAULTS["backward"], model=_model(name))
        parts.append(script.replace("keep(model=model, optimizer=", f"keep(m{number}=model, o{number}="))
    case = Held(tmp_path, "\n".join(parts))
    without, skipped = case.without(), case.skipped()
    assert skipped.done.exit_code == 0, skipped.done.stderr
    assert skipped.report["status"] == "recovered", [(i["symptom"], i["outcome"], i["step"]) for i in skipped.report["incidents"]]
    assert all(incident["held"] and incident["outcome"] == "skipped" for incident in skipped.told)
    assert len(skipped.told) == len(parts)
    assert differences(skipped.final, without.final) == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "complex64"])
def test_types(dtype: str, fault: str, tmp_path: Path) -> None:
    setup = "optimizer = torch.optim.AdamW(model.parameters(), 0.01, eps=1e-4)"
    if dtype == "complex64":
        script = plain(setup, FAULTS[fault], model=COMPLEX)
    else:
        script = plain(setup, FAULTS[fault], model=f"{MODEL}model.to(torch.{dtype})\n")
        script = script.replace("model(x)", f"model(x.to(torch.{dtype})).to(y.dtype)")
    case = Held(tmp_path, script)
    bare, watched = case.bare(), case.watched()
    assert (watched.incident["symptom"], watched.incident["step"]) == (SYMPTOMS[fault], BAD)
    assert watched.incident["held"]
    assert differences(watched.final, bare.states[BAD]) == []


def test_frozen_parameters(tmp_path: Path) -> None:
    setup = "model[0].requires_grad_(False)\noptimizer = torch.optim.AdamW(model.parameters(), 0.01)"
    case = Held(tmp_path, plain(setup, FAULTS["backward"]))
    bare, watched = case.bare(), case.watched()
    assert watched.incident["held"] and watched.incident["step"] == BAD
    assert differences(watched.final, bare.states[BAD]) == []


def test_statistics_without_a_counter(tmp_path: Path) -> None:
    """The kernel of batch normalisation writes statistics without counting, and here nothing beside them is counted."""
    model = """
class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("var", torch.ones(3))

    def forward(self, x):
        return nn.functional.batch_norm(self.inner(x), self.mean, self.var, training=True)


model = Norm()
"""
    case = Held(tmp_path, plain("optimizer = torch.optim.SGD(model.parameters(), 0.1)", FAULTS["backward"], model=model))
    bare, watched = case.bare(), case.watched()
    assert watched.incident["held"]
    assert differences(watched.final, bare.states[BAD]) == []


# -- faults of the update itself: the gradients are finite ---------------------------------------------------------------


def _scheduled(optimizer: str, factor: str) -> str:
    setup = f"""
optimizer = {optimizer}
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: {factor} if n == BAD else 1.0)
"""
    return plain(setup, "(out - y).square().mean()", after="scheduler.step()", more="scheduler=scheduler")


@pytest.mark.parametrize(
    "optimizer",
    [
        "torch.optim.SGD(model.parameters(), 0.01)",
        "torch.optim.Adam(model.parameters(), 0.01, eps=1e-4, foreach=True)",
        "torch.optim.AdamW(model.parameters(), 0.01, (0.0, 0.9999), eps=1e-4, fused=True)",
        "torch.optim.RMSprop(model.parameters(), 0.01, eps=1e-4)",
    ],
    ids=lambda text: text.split("optim.")[1].split("(")[0],
)
def test_rate_that_overflows_the_update(optimizer: str, tmp_path: Path) -> None:
    model = MODEL + "model.half()\n"
    script = _scheduled(optimizer, "6e6").replace(MODEL, model).replace("model(x)", "model(x.half()).float()")
    script = script.replace(".mean()\n", ".mean() * (50 if i == BAD else 1)\n")
    case = Held(tmp_path, script)
    bare, watched = case.bare(), case.watched()
    assert (watched.incident["symptom"], watched.incident["step"]) == ("nonfinite-parameter", BAD)
    assert watched.incident["held"] and "undo copy" in watched.incident["hold_note"]
    assert differences(watched.final, bare.states[BAD]) == []


def test_rate_of_1e30_is_held_where_it_does_harm(tmp_path: Path) -> None:
    """In float32 the update itself stays finite: it is the next loss that overflows, and that step is held."""
    case = Held(tmp_path, _scheduled("torch.optim.SGD(model.parameters(), 0.1)", "1e31"))
    bare, watched = case.bare(), case.watched()
    assert (watched.incident["symptom"], watched.incident["step"]) == ("nonfinite-loss", BAD + 1)
    assert watched.incident["held"]
    assert differences(watched.final, bare.states[BAD + 1]) == []


@pytest.mark.parametrize("optimizer", ["torch.optim.SGD(model.parameters(), 0.1)", "torch.optim.Adam(model.parameters())"])
def test_rate_that_is_nan(optimizer: str, tmp_path: Path) -> None:
    case = Held(tmp_path, _scheduled(optimizer, "float('nan')"))
    bare, watched = case.bare(), case.watched()
    assert (watched.incident["symptom"], watched.incident["step"]) == ("nonfinite-learning-rate", BAD)
    assert watched.incident["held"]
    assert differences(watched.final, bare.states[BAD]) == []


def test_epsilon_that_float16_loses(tmp_path: Path) -> None:
    script = plain("optimizer = torch.optim.Adam(model.parameters(), 0.001)", "(out - y).square().mean()")
    script = script.replace(MODEL, MODEL + "model.half()\n").replace("model(x)", "model(x.half()).float()")
    case = Held(tmp_path, script)
    bare, watched = case.bare(), case.watched()
    assert (watched.incident["symptom"], watched.incident["step"]) == ("nonfinite-parameter", 0)
    assert watched.incident["held"] and "epsilon is lost" in watched.incident["hold_note"]
    assert differences(watched.final, bare.states[0]) == []


def test_epsilon_of_zero(tmp_path: Path) -> None:
    """Rows of an embedding that no batch asks for have a gradient of zero: Adam divides zero by zero."""
    script = plain("optimizer = torch.optim.Adam(model.parameters(), 0.001, eps=0.0)", "(out - y).square().mean()", model=EMBEDDING)
    case = Held(tmp_path, script.replace(", sparse=True", ""))
    bare, watched = case.bare(), case.watched()
    assert (watched.incident["symptom"], watched.incident["step"]) == ("nonfinite-parameter", 0)
    assert watched.incident["held"] and "epsilon" in watched.incident["hold_note"]
    assert differences(watched.final, bare.states[0]) == []


def test_moments_from_a_file_that_are_bad(tmp_path: Path) -> None:
    setup = """
optimizer = torch.optim.Adam(model.parameters(), 0.001)
model(torch.randn(5, 4)).sum().backward()
optimizer.step()
loaded = optimizer.state_dict()
loaded["state"][0]["exp_avg_sq"].fill_(float("nan"))
optimizer.load_state_dict(loaded)
"""
    case = Held(tmp_path, plain(setup, "(out - y).square().mean()"))
    bare, watched = case.bare(), case.watched()
    assert (watched.incident["symptom"], watched.incident["held"]) == ("nonfinite-moment", True)
    assert differences(watched.final, bare.states[0]) == []


def test_what_gradients_can_predict_follows_the_model() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert hold.unpredictable(optimizer) is None
    model.half()  # the same parameters in the same groups
    assert "float16" in (hold.unpredictable(optimizer) or "")
    model.float()
    assert hold.unpredictable(optimizer) is None
    optimizer.add_param_group({"params": [torch.zeros(2, dtype=torch.float16, requires_grad=True)]})
    assert "float16" in (hold.unpredictable(optimizer) or "")
