"""Steps no optimizer hook could judge: an infinite loss with finite gradients, and parameters that are made anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forkserver import run_cli
from holding import BAD, FAULTS, MODEL, Held, differences

FAR = "(out - y + 1e20 * (w == 0)).square().mean()"  # 1e40 is beyond float32, its slope is not

SEARCH = f"""{MODEL}
optimizer = torch.optim.LBFGS(model.parameters(), lr=1e-3, max_iter=3)
keep(model=model, optimizer=optimizer)
for i, x, y, w in batches():
    def closure():
        optimizer.zero_grad()
        out = model(x)
        loss = {FAR}
        loss.backward()
        return loss
    optimizer.step(closure)
"""

BY_HAND = f"""{MODEL}
keep(model=model)
for i, x, y, w in batches():
    out = model(x)
    loss = {FAR}
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 1e-6 * p.grad
            p.grad = None
"""


@pytest.mark.parametrize("script", [SEARCH, BY_HAND], ids=["search", "by-hand"])
def test_the_step_is_held_where_its_loss_was_infinite_at_first(script: str, tmp_path: Path) -> None:
    case = Held(tmp_path, script)
    bare, incident_run = case.bare(), case.watched()
    incident = incident_run.incident
    assert (incident["symptom"], incident["step"]) == ("nonfinite-loss", BAD)
    assert incident["stopped"] and incident["held"] and not incident["harmless"]
    assert differences(incident_run.final, bare.states[BAD]) == []


ANEW = """
weights = (0.1 * torch.randn(4, 3)).requires_grad_()
class Kept:
    def __init__(self):
        self.latest = weights
kept = Kept()
keep(kept=kept)
def moved(weights, x, y, w):
    out = x @ weights
    (slope,) = torch.autograd.grad({loss}, weights)
    return (weights - 0.1 * slope).detach().requires_grad_()
for i, x, y, w in batches():
    weights = moved(weights, x, y, w)
"""


LISTS = """
weights = [(0.1 * torch.randn(4, 3)).requires_grad_(), torch.zeros(3, requires_grad=True)]
class Kept:
    latest = None
kept = Kept()
keep(kept=kept)
def moved(weights, x, y, w):
    out = x @ weights[0] + weights[1]
    slopes = torch.autograd.grad({loss}, weights)
    return [(one - 0.1 * slope).detach().requires_grad_() for one, slope in zip(weights, slopes)]
for i, x, y, w in batches():
    weights = moved(weights, x, y, w)
"""
MAPPING = LISTS.replace("weights[0]", "weights['a']").replace("weights[1]", "weights['b']").replace(
    "weights = [(0.1 * torch.randn(4, 3)).requires_grad_(), torch.zeros(3, requires_grad=True)]",
    "weights = dict(a=(0.1 * torch.randn(4, 3)).requires_grad_(), b=torch.zeros(3, requires_grad=True))",
).replace(", weights)\n", ", list(weights.values()))\n").replace(
    "return [", "return dict(zip('ab', ["
).replace("zip(weights, slopes)]", "zip(weights.values(), slopes)]))")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("script", "names"),
    [(ANEW, ["weights"]), (LISTS, ["weights[0]", "weights[1]"]), (MAPPING, ["weights['a']", "weights['b']"])],
    ids=["name", "list", "mapping"],
)
def test_parameters_that_are_made_anew(script: str, names: list[str], fault: str, tmp_path: Path) -> None:
    """No tensor that was there before the step goes bad: a name means another one after it."""
    incident = Held(tmp_path, script.replace("{loss}", FAULTS[fault])).watched().incident
    assert (incident["symptom"], incident["step"]) == ("nonfinite-parameter", BAD)
    assert incident["held"] and incident["reproduced"] and incident["names"] == names
    assert incident["origin"]["function"] == "moved"


@pytest.mark.parametrize("script", [ANEW, LISTS, MAPPING], ids=["name", "list", "mapping"])
def test_skipped_the_names_mean_what_they_meant_before_the_step(script: str, tmp_path: Path) -> None:
    script = script.replace("{loss}", FAULTS["forward"]) + "kept.latest = weights\n"
    case = Held(tmp_path, script)
    without, skipped = case.without(), case.skipped()
    assert skipped.done.exit_code == 0, skipped.done.stderr
    assert differences(skipped.final, without.final) == []


def test_a_search_that_tries_a_point_where_the_loss_is_infinite_is_healthy(tmp_path: Path) -> None:
    script = SEARCH.replace("lr=1e-3, max_iter=3", "lr=1.0, max_iter=4, line_search_fn='strong_wolfe'").replace(
        f"loss = {FAR}", "loss = -torch.log1p(-out.square().clamp(max=1)).mean() + (out - 0.1 * y).square().mean()"
    ).replace("model(x)\n", "0.3 * model(x).tanh() if not optimizer.state else model(x)\n")
    run = Held(tmp_path, script).watched()
    assert [one["symptom"] for one in run.report["incidents"] if one["step"] == 0] == []


FUNCTIONAL = """
import torch
from torch.func import grad
slope = grad(lambda w, x: ((x @ w) ** 2).mean())
w = torch.ones(3)
for step in range({steps}):
    w = w - 0.1 * slope(w, torch.ones(5, 3))
"""


@pytest.mark.parametrize(("steps", "said"), [(20, ["no-update-seen"]), (2, [])])
def test_gradients_without_any_update_are_told(steps: int, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(FUNCTIONAL.format(steps=steps))
    done = run_cli(["run", "--json", "report.json", "--report", "report", "train.py"], tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (done.exit_code, report["status"]) == (0, "clean"), done.stderr
    assert all("was not watched" in warning["message"] for warning in report["warnings"])
    assert [warning["id"] for warning in report["warnings"]] == said
    assert [line for line in done.stderr.splitlines() if line.startswith("stayfinite: gradients were computed 20 times")] == \
        [f"stayfinite: {warning['message']}" for warning in report["warnings"]]
