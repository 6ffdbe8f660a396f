"""The hold in the loops people write: clipping, scaling, accumulation, several updates in a pass, averages, the user's own
optimizers; and what it says where it cannot hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from holding import BAD, FAULTS, MODEL, SYMPTOMS, Held, differences, plain

ADAM = "optimizer = torch.optim.Adam(model.parameters(), 0.01)"
both_faults = pytest.mark.parametrize("fault", FAULTS)

LION = """
class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, dict(lr=lr, betas=(0.9, 0.99)))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.sub_(torch.lerp(p.grad, m, b1).sign_(), alpha=group["lr"])
                m.lerp_(p.grad, 1 - b2)


optimizer = Lion(model.parameters(), 1e-3)
"""
MUON = """
class Muon(torch.optim.Optimizer):
    def __init__(self, matrices, others, lr):
        super().__init__(list(matrices), dict(lr=lr))
        self.inner = torch.optim.Adam(others, lr / 5)

    def zero_grad(self, set_to_none=True):
        super().zero_grad(set_to_none)
        self.inner.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.mul_(0.95).add_(p.grad)
                x = m / (m.norm() + 1e-7)
                for _ in range(3):
                    x = 1.5 * x - 0.5 * x @ x.T @ x
                p.sub_(x, alpha=group["lr"])
        self.inner.step()


optimizer = Muon((p for p in model.parameters() if p.ndim == 2), [p for p in model.parameters() if p.ndim < 2], 0.02)
"""
GROUP_COUNTER = """
class Counting(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, dict(lr=lr, step=0, seen=[]))
        self.calls, self.norms, self.average = 0, [], torch.zeros(())

    @torch.no_grad()
    def step(self):
        self.calls += 1
        for group in self.param_groups:
            group["step"] += 1
            group["seen"].append(group["step"])
            for p in group["params"]:
                self.norms.append(p.grad.norm().item())
                self.average.mul_(0.9).add_(p.grad.norm())
                trail = self.state[p].setdefault("trail", [])
                trail.append(p.grad.clone())
                p.sub_(torch.stack(trail[-3:]).mean(0), alpha=group["lr"] / group["step"])


optimizer = Counting(model.parameters(), 0.1)
more = [optimizer.norms, optimizer.average]
"""
OVERRIDING = """
class Centred(torch.optim.Adam):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() > 1:
                    p.grad -= p.grad.mean(1, keepdim=True)
                p.data.mul_(0.999)
        return super().step(closure)


optimizer = Centred(model.parameters(), 0.01)
"""
NO_OPTIMIZER = """
class Momentum:
    def __init__(self, params, lr):
        self.params, self.lr, self.count = list(params), lr, 0
        self.moments = [torch.zeros_like(p) for p in self.params]

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def step(self):
        self.count += 1
        for p, m in zip(self.params, self.moments):
            m.mul_(0.9).add_(p.grad)
            p.data -= self.lr * m


optimizer = Momentum(model.parameters(), 0.1)
"""
FOREIGN = {
    "lion": LION,
    "muon": MUON,
    "group-counter": GROUP_COUNTER,
    "super-step": OVERRIDING,
    "super-step-patched-twice": "torch.optim.Adam([torch.zeros(1)])\n" + OVERRIDING,
    "no-optimizer": NO_OPTIMIZER,
    "no-optimizer-rebinding": NO_OPTIMIZER.replace(
        "for p, m in zip(self.params, self.moments):", "for k, p in enumerate(self.params):"
    )
    .replace("m.mul_(0.9).add_(p.grad)", "self.moments[k] = self.moments[k] * 0.9 + p.grad")
    .replace("self.lr * m", "self.lr * self.moments[k]"),
}


def check(
    folder: Path, script: str, fault: str, *, symptom: str | None = None, step: int = BAD, state: int = BAD
) -> dict[str, object]:
    """The case stops at `step`, held, with the bits of the bare run's `state`. Returns the incident."""
    case = Held(folder, script)
    bare, watched = case.bare(), case.watched()
    incident = watched.incident
    assert (incident["symptom"], incident["step"]) == (symptom or SYMPTOMS[fault], step)
    assert incident["held"] and incident["reproduced"], incident["hold_note"]
    assert differences(watched.final, bare.states[state]) == []
    return incident


def check_skip(folder: Path, script: str) -> None:
    """Left out, the run ends with the bits of one that never saw the bad batch."""
    case = Held(folder, script)
    without, skipped = case.without(), case.skipped()
    assert skipped.done.exit_code == 0 and [i["held"] for i in skipped.told] == [True], skipped.told
    assert differences(skipped.final, without.final) == []


# -- optimizers of the user's own ----------------------------------------------------------------------------------------


@both_faults
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_optimizer(name: str, fault: str, tmp_path: Path) -> None:
    more = {"group-counter": "more=more", "muon": "inner=optimizer.inner"}.get(name, "")
    script = plain(FOREIGN[name], FAULTS[fault], more=more)
    # without an optimizer of torch's kind the only proof of a bad update is a bad parameter
    symptom = "nonfinite-parameter" if "no-optimizer" in name and fault == "backward" else None
    incident = check(tmp_path, script, fault, symptom=symptom)
    assert "undo copy" in str(incident["hold_note"])
    (tmp_path / "skip").mkdir()
    check_skip(tmp_path / "skip", script)


@both_faults
@pytest.mark.parametrize("second", [False, True], ids=["first-pass", "second-pass"])
def test_sam(second: bool, fault: str, tmp_path: Path) -> None:
    """The bad batch meets the first or the second of the two passes of sharpness-aware minimisation."""
    loss = FAULTS[fault]
    first, later = (loss.replace("w", "1"), loss) if second else (loss, loss.replace("w", "1"))
    script = f"""{MODEL}
class SAM(torch.optim.Optimizer):
    def __init__(self, params, base, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base = base(self.param_groups, **kwargs)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def first_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["before"] = p.detach().clone()
                p.add_(p.grad, alpha=group["rho"])
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.copy_(self.state[p]["before"])
        self.base.step()
        self.zero_grad()


optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
keep(model=model, base=optimizer.base, sam=list(optimizer.state.values()))
for i, x, y, w in batches():
    out = model(x)
    ({first}).backward()
    optimizer.first_step()
    out = model(x)
    ({later}).backward()
    optimizer.second_step()
"""
    # a climb along a NaN shows in the second loss, before any update is asked for
    check(tmp_path, script, fault, symptom=None if second else "nonfinite-loss")


@both_faults
def test_update_by_hand(fault: str, tmp_path: Path) -> None:
    script = f"""{MODEL}
keep(model=model)
for i, x, y, w in batches():
    model.zero_grad()
    out = model(x)
    loss = {FAULTS[fault]}
    loss.backward()
    for p in model.parameters():
        p.data -= 0.1 * p.grad
"""
    symptom = "nonfinite-parameter" if fault == "backward" else None
    for name, text in {"data": script, "no-grad": script.replace("p.data -=", "with torch.no_grad(): p -=")}.items():
        (tmp_path / name).mkdir()
        incident = check(tmp_path / name, text, fault, symptom=symptom)
        assert "updated by the script's own code" in str(incident["hold_note"])


def test_parameters_moved_without_a_mark(tmp_path: Path) -> None:
    """A climb through `.data`, which no version counter shows: the parameters stand elsewhere when the update is asked for."""
    script = f"""{MODEL}
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
keep(model=model, optimizer=optimizer)
for i, x, y, w in batches():
    optimizer.zero_grad()
    (model(x) - y).square().mean().backward()
    climb = [0.05 * p.grad / p.grad.norm() for p in model.parameters()]
    for p, d in zip(model.parameters(), climb):
        p.data.add_(d)
    optimizer.zero_grad()
    out = model(x)
    loss = {FAULTS["backward"]}
    loss.backward()
    optimizer.step()
    for p, d in zip(model.parameters(), climb):
        p.data.sub_(d)
"""
    incident = check(tmp_path, script, "backward")
    assert ".data" in str(incident["hold_note"])
    (tmp_path / "skip").mkdir()
    check_skip(tmp_path / "skip", script)


# -- clipping, scaling, accumulation -------------------------------------------------------------------------------------


@both_faults
@pytest.mark.parametrize(
    "clip", ["norm_(model.parameters(), 0.5)", "value_(model.parameters(), 0.5)"], ids=["norm", "value"]
)
def test_clipping_does_not_erase_the_evidence(clip: str, fault: str, tmp_path: Path) -> None:
    incident = check(tmp_path, plain(ADAM, FAULTS[fault], before=f"torch.nn.utils.clip_grad_{clip}"), fault)
    assert incident["value"] in ("nan", "+inf")


def test_clipping_an_infinite_gradient_by_value(tmp_path: Path) -> None:
    """Clipped by value an infinity is an ordinary gradient; the step is bad all the same."""
    loss = "((out - y).square().mean() + (out[2, 0] - out[2, 0].detach()).abs().pow(1 if i != BAD else 0.5))"
    check(tmp_path, plain(ADAM, loss, before="torch.nn.utils.clip_grad_value_(model.parameters(), 0.5)"), "backward")


SCALER = """
scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
optimizer = torch.optim.{}
"""
scaled_optimizers = pytest.mark.parametrize(
    "optimizer",
    ["SGD(model.parameters(), 0.1, momentum=0.9)", "AdamW(model.parameters(), 0.01, fused=True)"],
    ids=["foreach", "fused"],
)


def _scaled(optimizer: str, fault: str, *, unscale: str) -> str:
    script = plain(
        SCALER.format(optimizer), FAULTS[fault], before=unscale, after="scaler.update()", more="scaler=scaler"
    )
    return script.replace("loss.backward()", "scaler.scale(loss).backward()").replace(
        "optimizer.step()", "scaler.step(optimizer)"
    )


@scaled_optimizers
@pytest.mark.parametrize("unscale", ["", "scaler.unscale_(optimizer)"], ids=["scaled", "unscaled"])
def test_scaler_with_a_bad_loss(optimizer: str, unscale: str, tmp_path: Path) -> None:
    script = _scaled(optimizer, "forward", unscale=unscale)
    check(tmp_path, script, "forward")
    (tmp_path / "skip").mkdir()
    check_skip(tmp_path / "skip", script)


@scaled_optimizers
def test_scaler_that_leaves_a_step_out_is_no_incident(optimizer: str, tmp_path: Path) -> None:
    case = Held(tmp_path, _scaled(optimizer, "backward", unscale=""))
    bare, watched = case.bare(), case.watched()
    assert watched.incidents == [] and watched.done.exit_code == 0
    assert differences(watched.final, bare.final) == []


@both_faults
def test_manual_scale(fault: str, tmp_path: Path) -> None:
    script = plain(ADAM, FAULTS[fault], before="for p in model.parameters(): p.grad /= 1024")
    check(tmp_path, script.replace("loss.backward()", "(loss * 1024).backward()"), fault)


@both_faults
@pytest.mark.parametrize("position", [0, 1, 2])
def test_accumulation(position: int, fault: str, tmp_path: Path) -> None:
    """The bad micro-batch is the first, the middle or the last of its update: the whole update is held."""
    script = f"""{MODEL}{ADAM}
keep(model=model, optimizer=optimizer)
for i, x, y, w in batches(9, leave_out=(3, 4, 5)):
    out = model(x)
    loss = {FAULTS[fault]}
    (loss / 3).backward()
    if i % 3 == 2:
        optimizer.step()
        optimizer.zero_grad()
"""
    case = Held(tmp_path, script, bad=3 + position)
    bare, watched, without, skipped = case.bare(), case.watched(), case.without(), case.skipped()
    assert (watched.incident["symptom"], watched.incident["step"]) == (SYMPTOMS[fault], 1)
    assert watched.incident["held"]
    assert differences(watched.final, bare.states[3]) == []
    assert differences(skipped.final, without.final) == []


def test_gradients_cleared_with_zeros(tmp_path: Path) -> None:
    """A zero gradient moves a parameter that has momentum or decays; a missing one does not."""
    setup = """
idle = nn.Linear(2, 2)
optimizer = torch.optim.SGD([*model.parameters(), *idle.parameters()], 0.1, momentum=0.9, weight_decay=0.1)
idle(torch.ones(1, 2)).sum().backward()
"""
    script = plain(setup, FAULTS["backward"], more="idle=idle")
    check_skip(tmp_path, script.replace("zero_grad()", "zero_grad(set_to_none=False)"))


# -- several updates, schedules, averages ----------------------------------------------------------------------------------


@both_faults
def test_second_of_two_optimizers(fault: str, tmp_path: Path) -> None:
    """The critic's step of the same pass is not the bad one: it stays, with the statistics of its own passes."""
    script = f"""{MODEL}
critic = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), 0.01)
second = torch.optim.SGD(critic.parameters(), 0.01, momentum=0.9)
keep(model=model, optimizer=optimizer, critic=critic, second=second)
for i, x, y, w in batches(leave_out=()):
    second.zero_grad()
    (critic(y).mean() - critic(model(x).detach()).mean()).backward()
    second.step()
    mark()
    if MODE == "without" and i == BAD:
        continue
    optimizer.zero_grad()
    out = model(x) + 0 * critic(model(x))
    loss = {FAULTS[fault]}
    loss.backward()
    optimizer.step()
"""
    incident = check(tmp_path, script, fault, state=2 * BAD + 1)
    assert "SGD had already taken its own step" in str(incident["hold_note"])
    (tmp_path / "skip").mkdir()
    check_skip(tmp_path / "skip", script)


@both_faults
@pytest.mark.parametrize("place", ["before", "after"])
def test_scheduler_and_average(place: str, fault: str, tmp_path: Path) -> None:
    """Stepped and averaged per batch, before or after the update."""
    setup = """
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)
averaging = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)
"""
    script = plain(
        setup, FAULTS[fault], after="scheduler.step(); average.update_parameters(model)", more="s=scheduler, a=average"
    )
    if place == "before":
        moved = "    scheduler.step(); average.update_parameters(model)\n"
        script = script.replace(moved, "").replace("    optimizer.zero_grad()\n", moved + "    optimizer.zero_grad()\n")
    check(tmp_path, script, fault)
    (tmp_path / "skip").mkdir()
    check_skip(tmp_path / "skip", script)


def test_random_numbers_of_the_failed_attempt_stay_drawn(tmp_path: Path) -> None:
    """What follows a step that was left out goes on from the generators as the attempt left them, and from nothing else."""
    script = plain(
        "model.insert(3, nn.Dropout(0.5))\noptimizer = torch.optim.SGD(model.parameters(), 0.1)",
        FAULTS["backward"],
        more="generator=torch.default_generator.get_state",
    )
    script = script.replace("in batches()", "in batches(leave_out=())").replace(
        "    optimizer.zero_grad()\n",
        """
    if MODE == "without" and i == BAD:
        before = [b.clone() for b in model.buffers()]
        model(x)
        for b, kept in zip(model.buffers(), before):
            b.copy_(kept)
        continue
    optimizer.zero_grad()
""",
    )
    check_skip(tmp_path, script)


# -- closures ------------------------------------------------------------------------------------------------------------


def test_closure_with_a_bad_loss_and_finite_gradients(tmp_path: Path) -> None:
    """The parameters stay finite, but a loss that is infinite is no loss: not taken, as without a closure."""
    script = f"""{MODEL}
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
keep(model=model, optimizer=optimizer)
for i, x, y, w in batches():
    def closure():
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean() + w.log().mean()
        loss.backward()
        return loss
    optimizer.step(closure)
"""
    check(tmp_path, script, "forward")


# -- what cannot be held says so -----------------------------------------------------------------------------------------


def _in_backward(body: str) -> str:
    return f"""{MODEL}
optimizers = {{p: torch.optim.Adam([p], 0.01) for p in model.parameters()}}
def update(p):
    optimizers[p].step()
    optimizers[p].zero_grad()
for p in model.parameters():
    p.register_post_accumulate_grad_hook(update)
keep(model=list(model.parameters()), optimizers=list(optimizers.values()))
{body}"""


LATE_FAULT = "model[1].weight.register_hook(lambda g: g * float('nan'))"
"""Bad from the second layer down: the updates of the layers above have been taken when it shows."""


@both_faults
def test_optimizers_in_backward(fault: str, tmp_path: Path) -> None:
    """From the second step on it is known that they step there, and an undo copy is kept."""
    body = f"for i, x, y, w in batches():\n    out = model(x)\n    loss = {FAULTS[fault]}\n    loss.backward()\n"
    incident = check(tmp_path, _in_backward(body), fault, symptom="nonfinite-loss" if fault == "forward" else None)
    assert "inside the backward pass" in str(incident["hold_note"])


def test_optimizers_in_backward_at_the_very_first_step(tmp_path: Path) -> None:
    body = f"""for i, x, y, w in batches():
    if i == 0:
        {LATE_FAULT}
    (model(x) - y).square().mean().backward()
"""
    watched = Held(tmp_path, _in_backward(body)).watched()
    assert watched.incident["step"] == 0
    assert watched.incident["held"] is False
    assert "updates taken earlier in the same pass" in watched.incident["hold_note"]


def test_optimizers_in_backward_in_a_loop_that_cannot_be_wrapped(tmp_path: Path) -> None:
    body = f"""def train():
    for i, x, y, w in batches():
        yield i
        if i == BAD:
            {LATE_FAULT}
        (model(x) - y).square().mean().backward()
for i in train():
    pass
"""
    case = Held(tmp_path, _in_backward(body))
    bare, watched = case.bare(), case.watched()
    assert watched.incident["step"] == BAD
    assert watched.incident["held"] is False
    assert "2 updates of this step had been taken already" in watched.incident["hold_note"]
    moved = differences(watched.final, bare.states[BAD])
    assert any(path.startswith(".model[4]") for path in moved) and not any(
        path.startswith(".model[0]") for path in moved
    )


@both_faults
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
def test_loop_that_cannot_be_wrapped(scaled: bool, fault: str, tmp_path: Path) -> None:
    """Held by not taking the step; left out, it is taken and undone."""
    loss = FAULTS[fault] if not scaled else "(out - y).square().mean() + w.log().mean()"  # the scaler would not skip it
    script = f"""{MODEL}{ADAM}
scaler = torch.amp.GradScaler("cpu", enabled={scaled})
keep(model=list(model.parameters()), optimizer=optimizer)
def train():
    for i, x, y, w in batches():
        optimizer.zero_grad()
        out = model(x)
        loss = {loss}
        scaler.scale(loss).backward()
        yield loss.item()
        scaler.step(optimizer)
        scaler.update()
for value in train():
    pass
"""
    case = Held(tmp_path, script)
    bare, watched, without, skipped = case.bare(), case.watched(), case.without(), case.skipped()
    assert watched.incident["step"] == BAD and watched.incident["held"]
    assert "could be wrapped" in watched.incident["replay"]["not_tested"]
    assert differences(watched.final, bare.states[BAD]) == []
    assert [incident["step"] for incident in skipped.incidents] == [BAD]
    assert differences(skipped.final, without.final) == []


def test_exception_in_the_middle_of_an_update_that_is_copied(tmp_path: Path) -> None:
    setup = """
class Checked(torch.optim.SGD):
    def step(self, closure=None):
        super().step(closure)
        if any(p.grad.norm() > 1e3 for group in self.param_groups for p in group["params"]):
            raise FloatingPointError("overflow in the update")


optimizer = Checked(model.parameters(), 0.1, momentum=0.9)
"""
    case = Held(tmp_path, plain(setup, "(out - y).square().mean() * (1e4 if i == BAD else 1)"), raises=True)
    bare, watched = case.bare(), case.watched()
    assert watched.done.exit_code == 1 and "FloatingPointError" in watched.done.stderr
    assert (watched.incident["symptom"], watched.incident["step"]) == ("numeric-exception", BAD)
    assert watched.incident["held"]
    # the script goes on from its exception: batch statistics stay as the forward pass left them, as without us
    left = differences(watched.final, bare.states[BAD])
    assert all(".running_" in path or ".num_batches_tracked" in path for path in left), left


def test_exception_in_the_middle_of_an_update_that_is_not(tmp_path: Path) -> None:
    setup = f"""{ADAM}
def spoil():
    optimizer.param_groups[0]["betas"] = (0.9, float("nan"))
    optimizer.state[model[3].weight]["step"] = torch.tensor(-1e30)
"""
    script = plain(
        setup.replace("0.01)", "0.01, foreach=False)"), "(out - y).square().mean()", before="if i == BAD: spoil()"
    )
    watched = Held(tmp_path, script, raises=True).watched()
    assert watched.done.exit_code == 1 and "OverflowError" in watched.done.stderr
    assert (watched.incident["symptom"], watched.incident["step"]) == ("numeric-exception", BAD)
    assert watched.incident["held"] is False
    assert "in the middle of its step" in watched.incident["hold_note"]


def test_harmless_loss_under_a_scaler(tmp_path: Path) -> None:
    """All labels ignored: a NaN loss whose gradients are exactly zero does no harm and stops nothing."""
    loss = "nn.functional.cross_entropy(out, torch.full((7,), -100 if i == BAD else 1))"
    script = _scaled("SGD(model.parameters(), 0.1)", "forward", unscale="").replace(FAULTS["forward"], loss)
    case = Held(tmp_path, script)
    bare, watched = case.bare(), case.watched()
    assert watched.done.exit_code == 0 and watched.incident["harmless"]
    assert differences(watched.final, bare.final) == []
