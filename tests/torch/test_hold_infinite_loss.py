"""A loss that is infinite where the parameters are, although gradients, and parameters after the update, are finite."""

from __future__ import annotations

from pathlib import Path

import pytest
from holding import BAD, MODEL, Held, differences

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


def test_a_search_that_tries_a_point_where_the_loss_is_infinite_is_healthy(tmp_path: Path) -> None:
    script = SEARCH.replace("lr=1e-3, max_iter=3", "lr=1.0, max_iter=4, line_search_fn='strong_wolfe'").replace(
        f"loss = {FAR}", "loss = -torch.log1p(-out.square().clamp(max=1)).mean() + (out - 0.1 * y).square().mean()"
    ).replace("model(x)\n", "0.3 * model(x).tanh() if not optimizer.state else model(x)\n")
    run = Held(tmp_path, script).watched()
    assert [one["symptom"] for one in run.report["incidents"] if one["step"] == 0] == []
