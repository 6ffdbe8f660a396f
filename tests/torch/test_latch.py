"""The latched flag: fused optimizers are held without waiting for the device, and found bad some steps later.

The kernels of the CPU build read the same flag as those of CUDA; ``STAYFINITE_LATCH=1`` latches there as well. Nothing of a
CPU tensor arrives late, so the lag is that of the ring: a verdict is looked at `LAG` steps after it was sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from holding import BAD, FAULTS, MODEL, SYMPTOMS, Held, differences, plain
from torch import Tensor, nn

from stayfinite.frameworks.torch.latch import LAG, Armed, Latch, device_norm, fused_device, read_together
from stayfinite.frameworks.torch.passes import Loss, Window

CPU = torch.device("cpu")
LATCHED = {"STAYFINITE_LATCH": "1"}
FUSED: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, fused=True),
    "SGD-momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.1, fused=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.1, fused=True),
}
SOURCES = {
    "SGD": "SGD(model.parameters(), 0.1, fused=True)",
    "SGD-momentum": "SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, fused=True)",
    "Adam": "Adam(model.parameters(), 0.01, amsgrad=True, fused=True)",
    "AdamW": "AdamW(model.parameters(), 0.01, fused=True)",
    "Adagrad": "Adagrad(model.parameters(), 0.01, fused=True)",
}


def bits(parameters: list[Tensor], optimizer: torch.optim.Optimizer) -> list[Any]:
    """Everything a step may change, as bytes."""
    state = [
        (name, value.numpy().tobytes() if isinstance(value, Tensor) else value)
        for p in parameters
        for name, value in sorted(optimizer.state.get(p, {}).items())
    ]
    return [*(p.detach().numpy().tobytes() for p in parameters), *state]


class Steps:
    """Takes steps of one optimizer under a latch, as the watcher of live steps does."""

    def __init__(self, make: Callable[[list[Tensor]], torch.optim.Optimizer]) -> None:
        torch.manual_seed(0)
        self.parameters: list[Tensor] = [nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(7))]
        self.optimizer = make(self.parameters)
        self.latch = Latch(CPU, lambda armed: None)
        self.window = Window([])
        self.count = 0

    def take(self, value: float | None = None, *, loss: float = 1.0, scaled: bool = False) -> Armed | None:
        """A step with random gradients, of which one is `value`. Returns what was due before it."""
        due = self.latch.due()
        for p in self.parameters:
            p.grad = torch.randn_like(p)
        if value is not None:
            self.parameters[1].grad[2] = value
        losses = [Loss("loss", torch.tensor(loss, dtype=torch.float64))]
        armed = Armed(self.count, self.optimizer, self.window, 0, losses, [], scaled)
        self.latch.arm(armed, [p.grad for p in self.parameters if p.grad is not None])
        self.optimizer.step()
        self.latch.disengage(self.optimizer)
        self.count += 1
        return due


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", FUSED)
def test_nothing_changes_from_the_first_bad_step_on(name: str, value: float) -> None:
    steps = Steps(FUSED[name])
    for _ in range(3):
        assert steps.take() is None
    before = bits(steps.parameters, steps.optimizer)
    assert steps.take(value) is None
    for _ in range(LAG - 1):
        assert steps.take() is None
    found = steps.take()
    assert found is not None and found.bad and found.step == 3 and not found.norm < math.inf
    assert bits(steps.parameters, steps.optimizer) == before
    steps.latch.release(found)
    assert bits(steps.parameters, steps.optimizer) == before
    steps.take()
    assert bits(steps.parameters, steps.optimizer) != before


@pytest.mark.parametrize("name", FUSED)
def test_a_healthy_latched_run_has_the_bits_of_a_bare_one(name: str) -> None:
    latched, bare = Steps(FUSED[name]), Steps(FUSED[name])
    for number in range(5):
        torch.manual_seed(number)
        assert latched.take() is None
        torch.manual_seed(number)
        for p in bare.parameters:
            p.grad = torch.randn_like(p)
        bare.optimizer.step()
    assert bits(latched.parameters, latched.optimizer) == bits(bare.parameters, bare.optimizer)
    assert not hasattr(latched.optimizer, "found_inf")


@pytest.mark.parametrize("name", FUSED)
def test_a_bad_first_step_leaves_no_state(name: str) -> None:
    """A skipped first step makes state: fused SGD leaves its momentum buffer uninitialised, and would use it."""
    steps = Steps(FUSED[name])
    before = bits(steps.parameters, steps.optimizer)
    steps.take(math.nan)
    if name != "SGD":
        assert any(steps.optimizer.state.values())  # the trap is there
    steps.take()
    found = steps.take()
    assert found is not None and found.bad
    steps.latch.release(found)
    assert bits(steps.parameters, steps.optimizer) == before
    start = [p.detach().clone() for p in steps.parameters]
    for p in steps.parameters:
        p.grad = torch.zeros_like(p)
    steps.optimizer.step()
    if name == "SGD-momentum":
        buffers = [steps.optimizer.state[p]["momentum_buffer"] for p in steps.parameters]
        assert all(torch.equal(buffer, 0.1 * p) for buffer, p in zip(buffers, start, strict=True))  # the decay alone


def test_a_loss_counts_unless_nothing_was_learned_from_it() -> None:
    steps = Steps(FUSED["Adam"])
    steps.take(loss=math.nan)
    steps.take()
    found = steps.take()
    assert found is not None and found.bad and found.bad_loss is not None

    steps = Steps(FUSED["Adam"])
    for p in steps.parameters:
        p.grad = torch.zeros_like(p)
    losses = [Loss("loss", torch.tensor(math.nan, dtype=torch.float64))]
    steps.latch.arm(
        Armed(0, steps.optimizer, steps.window, 0, losses, []), [p.grad for p in steps.parameters if p.grad is not None]
    )
    steps.latch.disengage(steps.optimizer)
    found = steps.latch.due(1)
    assert found is not None and not found.bad and found.bad_loss is losses[0]


def test_under_a_scaler_only_the_loss_counts() -> None:
    steps = Steps(FUSED["AdamW"])
    steps.take(math.inf, scaled=True)  # calibration: the scaler's own flag holds it
    assert steps.latch.due(1) is None
    steps.take(1.0, loss=math.inf, scaled=True)
    found = steps.latch.due(1)
    assert found is not None and found.bad


def test_the_flag_is_exactly_one_beside_a_scaler_that_counts_devices() -> None:
    """The kernels compare with exactly 1: two devices that both overflow make 2, and let everything through."""

    def take(flag: Tensor) -> bool:
        steps = Steps(FUSED["Adam"])
        before = bits(steps.parameters, steps.optimizer)[:2]
        for p in steps.parameters:
            p.grad = torch.full_like(p, math.nan)
        steps.optimizer.found_inf = flag  # type: ignore[attr-defined]
        grads = [p.grad for p in steps.parameters if p.grad is not None]
        steps.latch.arm(Armed(0, steps.optimizer, steps.window, 0, [], [], scaled=True), grads)
        steps.optimizer.step()
        steps.latch.disengage(steps.optimizer)
        assert steps.optimizer.found_inf is flag  # type: ignore[attr-defined]
        return bits(steps.parameters, steps.optimizer)[:2] == before

    assert take(torch.tensor(2.0))
    assert not take(torch.tensor(0.0))  # what the scaler lets through is the scaler's affair

    steps = Steps(FUSED["Adam"])  # the trap itself
    for p in steps.parameters:
        p.grad = torch.full_like(p, math.nan)
    steps.optimizer.found_inf = torch.tensor(2.0)  # type: ignore[attr-defined]
    steps.optimizer.step()
    assert any(p.isnan().any() for p in steps.parameters)


@contextmanager
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever would wait for a device raises."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("waits for the device")

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "numpy", "cpu"):
            patch.setattr(Tensor, name, refuse)
        yield


def test_arming_and_stepping_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(FUSED["AdamW"])
    steps.take()
    grads = [p.grad for p in steps.parameters if p.grad is not None]
    losses = [Loss("loss", torch.tensor(1.0, dtype=torch.float64))]
    with no_waiting(monkeypatch):
        steps.latch.arm(Armed(1, steps.optimizer, steps.window, 0, losses, [torch.tensor(3.0)]), grads)
        steps.optimizer.step()
        steps.latch.disengage(steps.optimizer)


def test_only_the_step_that_is_a_lag_behind_is_looked_at() -> None:
    steps = Steps(FUSED["SGD"])
    told: list[int] = []
    steps.latch = Latch(CPU, lambda armed: told.append(armed.step))
    for _ in range(5):
        steps.take()
    steps.latch.due()
    assert told == list(range(6 - LAG))
    assert steps.latch.due(1) is None and told == list(range(5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_the_norm_is_finite_exactly_if_every_element_is(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    huge = torch.full((40,), largest, dtype=dtype)
    assert math.isfinite(float(device_norm([huge, torch.zeros(0, dtype=dtype)], CPU)))
    for bad in (math.nan, math.inf, -math.inf):
        spoiled = huge.clone()
        spoiled[7] = bad
        assert not math.isfinite(float(device_norm([torch.ones(3), spoiled], CPU)))
    assert float(device_norm([], CPU)) == 0.0


def test_reading_together() -> None:
    numbers, norm = read_together(
        [torch.tensor(1.5), torch.tensor([math.inf])], [torch.full((4,), 2.0), torch.tensor([3.0])]
    )
    assert numbers == [1.5, math.inf]
    assert norm == 5.0


def test_which_optimizers_are_latched() -> None:
    parameters = [nn.Parameter(torch.randn(3))]
    for make in FUSED.values():
        assert fused_device(make(parameters), anywhere=True) == CPU
        assert fused_device(make(parameters), anywhere=False) is None

    class Own(torch.optim.SGD):
        pass

    others = [
        torch.optim.SGD(parameters, 0.1),
        torch.optim.Adam(parameters, foreach=True),
        torch.optim.RMSprop(parameters),
        Own(parameters, 0.1, fused=True),
        torch.optim.Adam(parameters, torch.tensor(0.1), fused=True),
    ]
    assert [fused_device(optimizer, anywhere=True) for optimizer in others] == [None] * len(others)


# -- in a script ---------------------------------------------------------------------------------------------------------

SETUP = "optimizer = torch.optim.{}"


def check(
    folder: Path, script: str, fault: str, *, late: int = LAG, step: int = BAD, state: int | None = None, **how: Any
) -> Any:
    """A watched run that latches stops with the bits before the bad step. Returns the incident."""
    case = Held(folder, script, **how)
    bare, watched = case.bare(), case.watched(env=LATCHED)
    assert (watched.incident["symptom"], watched.incident["step"]) == (SYMPTOMS[fault], step)
    assert watched.incident["held"] and watched.incident["reproduced"], watched.incident
    assert "held on the device" in watched.incident["hold_note"]
    if late > 1:
        assert f"{late} steps later" in watched.incident["hold_note"]
    assert differences(watched.final, bare.states[step if state is None else state]) == []
    return watched.incident


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SOURCES)
def test_optimizer(name: str, fault: str, tmp_path: Path) -> None:
    incident = check(tmp_path, plain(SETUP.format(SOURCES[name]), FAULTS[fault]), fault)
    assert incident["origin"]["code"].startswith("loss =")  # two steps later, and still the right line


@pytest.mark.parametrize("name", ["SGD-momentum", "AdamW"])
def test_the_first_step(name: str, tmp_path: Path) -> None:
    check(tmp_path, plain(SETUP.format(SOURCES[name]), FAULTS["backward"]), "backward", late=0, step=0, bad=0)


@pytest.mark.parametrize("name", SOURCES)
def test_healthy(name: str, tmp_path: Path) -> None:
    case = Held(tmp_path, plain(SETUP.format(SOURCES[name]), "(out - y).square().mean()"))
    bare, watched = case.bare(), case.watched(env=LATCHED)
    assert watched.incidents == [] and watched.done.exit_code == 0
    assert differences(watched.final, bare.final) == []


def test_the_last_step(tmp_path: Path) -> None:
    """Nobody steps after it: it is seen when the script has ended, which is then not stopped any more."""
    case = Held(tmp_path, plain(SETUP.format(SOURCES["AdamW"]), FAULTS["backward"]), bad=5)
    bare, watched = case.bare(), case.watched(env=LATCHED)
    assert watched.incident["step"] == 5 and watched.incident["held"] and not watched.incident["stopped"]
    assert watched.done.exit_code == 0 and watched.report["status"] != "clean"
    assert "after the script had ended" in watched.incident["replay"]["not_tested"]
    assert differences(watched.final, bare.states[5]) == []


def test_skipping_leaves_out_the_steps_that_ran_meanwhile(tmp_path: Path) -> None:
    script = plain(SETUP.format(SOURCES["AdamW"]), FAULTS["backward"])
    case = Held(tmp_path, script.replace("batches()", f"batches(leave_out=range(BAD, BAD + {LAG} + 1))"), steps=9)
    without, skipped = case.without(), case.skipped(env=LATCHED)
    assert skipped.done.exit_code == 0 and skipped.incident["held"]
    assert differences(skipped.final, without.final) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_schedule_average_and_scaler(fault: str, tmp_path: Path) -> None:
    """What the host wrote in the steps that had no effect is put back: rates, counters, statistics, averaged weights."""
    setup = """
optimizer = torch.optim.AdamW(model.parameters(), 0.01, fused=True)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)
average = torch.optim.swa_utils.AveragedModel(model, use_buffers=True)
"""
    after = "scheduler.step(); average.update_parameters(model)"
    check(tmp_path, plain(setup, FAULTS[fault], after=after, more="s=scheduler, a=average"), fault)


@pytest.mark.parametrize(
    "unscale",
    ["", "scaler.unscale_(optimizer); torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)"],
    ids=["scaled", "clipped"],
)
def test_scaler(unscale: str, tmp_path: Path) -> None:
    setup = "scaler = torch.amp.GradScaler('cpu', init_scale=64.0, growth_interval=2)\n" + SETUP.format(
        SOURCES["AdamW"]
    )
    for fault in FAULTS:
        script = plain(setup, FAULTS[fault], before=unscale, after="scaler.update()", more="scaler=scaler")
        script = script.replace("loss.backward()", "scaler.scale(loss).backward()")
        script = script.replace("optimizer.step()", "scaler.step(optimizer)")
        (tmp_path / fault).mkdir()
        if fault == "forward":
            check(tmp_path / fault, script, fault)
            continue
        case = Held(tmp_path / fault, script)  # gradients under a scaler are its calibration
        bare, watched = case.bare(), case.watched(env=LATCHED)
        assert watched.incidents == []
        assert differences(watched.final, bare.final) == []


@pytest.mark.parametrize(
    "clip", ["norm_(model.parameters(), 0.5)", "value_(model.parameters(), 0.5)"], ids=["norm", "value"]
)
def test_clipping(clip: str, tmp_path: Path) -> None:
    for fault in FAULTS:
        (tmp_path / fault).mkdir()
        script = plain(SETUP.format(SOURCES["Adam"]), FAULTS[fault], before=f"torch.nn.utils.clip_grad_{clip}")
        check(tmp_path / fault, script, fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_second_of_two_optimizers(fault: str, tmp_path: Path) -> None:
    script = f"""{MODEL}
critic = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=True)
second = torch.optim.SGD(critic.parameters(), 0.01, momentum=0.9, fused=True)
keep(model=model, optimizer=optimizer, critic=critic, second=second)
for i, x, y, w in batches():
    second.zero_grad()
    (critic(y).mean() - critic(model(x).detach()).mean()).backward()
    second.step()
    mark()
    optimizer.zero_grad()
    out = model(x) + 0 * critic(model(x))
    loss = {FAULTS[fault]}
    loss.backward()
    optimizer.step()
"""
    incident = check(tmp_path, script, fault, late=1, state=2 * BAD + 1)
    assert "SGD had already taken its own step" in incident["hold_note"]


def test_beside_an_optimizer_that_is_not_fused(tmp_path: Path) -> None:
    """The other one waits for the device anyway: it sees the flag, and takes no step either."""
    setup = """
optimizer = torch.optim.SGD(model[0].parameters(), 0.1, momentum=0.9, fused=True)
other = torch.optim.RMSprop([*model[1].parameters(), *model[3].parameters()], 0.01)
"""
    check(
        tmp_path,
        plain(setup, FAULTS["backward"], after="other.step(); other.zero_grad()", more="other=other"),
        "backward",
        late=0,
    )


def test_accumulation(tmp_path: Path) -> None:
    script = f"""{MODEL}{SETUP.format(SOURCES["AdamW"])}
keep(model=model, optimizer=optimizer)
for i, x, y, w in batches(12):
    out = model(x)
    loss = {FAULTS["backward"]}
    (loss / 2).backward()
    if i % 2:
        optimizer.step()
        optimizer.zero_grad()
"""
    check(tmp_path, script, "backward", step=1, state=2)


def test_a_loss_that_the_script_overwrites(tmp_path: Path) -> None:
    script = plain(SETUP.format(SOURCES["SGD"]), FAULTS["forward"], before="loss.detach().zero_()")
    check(tmp_path, script, "forward")


def test_the_loop_has_ended_when_it_is_seen(tmp_path: Path) -> None:
    loop = plain(SETUP.format(SOURCES["AdamW"]), FAULTS["backward"]).replace("batches()", "batches(BAD + 1)")
    tail = "for i, x, y, w in batches(3):\n    optimizer.zero_grad()\n    (model(x) - y).square().mean().backward()\n    optimizer.step()\n"
    case = Held(tmp_path, loop + tail)
    bare, watched = case.bare(), case.watched(env=LATCHED)
    assert watched.incident["step"] == BAD and watched.incident["held"]
    assert "its loop had ended" in watched.incident["replay"]["not_tested"]
    assert differences(watched.final, bare.states[BAD]) == []


def test_an_exception_before_it_is_seen(tmp_path: Path) -> None:
    """The script's own error comes first on the terminal; the step that was held is told, and is still held."""
    script = plain(SETUP.format(SOURCES["AdamW"]), FAULTS["backward"])
    script = script.replace("    out =", "    if i == BAD + 1: raise KeyError('mine')\n    out =")
    case = Held(tmp_path, script, raises=True)
    bare, watched = case.bare(), case.watched(env=LATCHED)
    assert watched.done.exit_code == 1 and "KeyError: 'mine'" in watched.done.stderr
    assert watched.incident["step"] == BAD and watched.incident["held"]
    assert differences(watched.final, bare.states[BAD]) == []


def test_gradients_that_are_huge_but_finite(tmp_path: Path) -> None:
    """The flag sees only what is not finite. What such gradients spoil is found, and not claimed to be held."""
    script = plain(SETUP.format(SOURCES["AdamW"]), "(out - y).square().mean() * (1e30 if i >= BAD else 1)")
    watched = Held(tmp_path, script).watched(env=LATCHED)
    assert (watched.incident["symptom"], watched.incident["step"]) == ("nonfinite-moment", BAD)
    assert watched.incident["held"] is False
    assert "overflowed the update" in watched.incident["hold_note"]


def test_a_harmless_loss(tmp_path: Path) -> None:
    loss = "nn.functional.cross_entropy(out, torch.full((7,), -100 if i == BAD else 1))"
    case = Held(tmp_path, plain(SETUP.format(SOURCES["SGD-momentum"]), loss))
    bare, watched = case.bare(), case.watched(env=LATCHED)
    assert watched.done.exit_code == 0 and watched.incident["harmless"] and watched.incident["step"] == BAD
    assert differences(watched.final, bare.final) == []


COUNTED = """
import sys
counts = []
def counting(original):
    def counted(self, *args):
        frame = sys._getframe(1)
        if frame.f_code.co_filename.endswith(("live.py", "hold.py", "latch.py", "latching.py", "losses.py", "clipping.py",
                                              "norms.py", "verdicts.py", "pass_end.py", "passes.py")):
            counts.append((i, frame.f_code.co_filename.rsplit("/", 1)[-1], tuple(self.shape)))
        return original(self, *args)
    return counted
for name in ("item", "tolist", "__bool__", "__float__"):
    setattr(torch.Tensor, name, counting(getattr(torch.Tensor, name)))
"""


@pytest.mark.parametrize("latched", [True, False], ids=["latched", "waiting"])
def test_how_often_a_step_waits(latched: bool, tmp_path: Path) -> None:
    """Latched: never, but for copies that lie on the host. Else: once, for loss, clipping and gradients together."""
    setup = (
        f"{COUNTED}optimizer = torch.optim.AdamW(model.parameters(), 0.01, {'fused' if latched else 'foreach'}=True)"
    )
    script = plain(
        setup, "(out - y).square().mean()", before="torch.nn.utils.clip_grad_value_(model.parameters(), 0.5)"
    )
    script += "\nprint(counts)\n"
    done = Held(tmp_path, script).watched(env=LATCHED).done
    counts = [
        found for found in eval(done.stdout.strip().splitlines()[-1]) if found[0] > 0
    ]  # the first step is looked at
    if latched:
        assert {(file, len(shape)) for _, file, shape in counts} == {("latch.py", 1)}
    else:
        assert [(step, file) for step, file, _ in counts] == [(step, "latch.py") for step in range(1, 6)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", SOURCES)
def test_on_cuda(name: str, tmp_path: Path) -> None:
    script = plain(SETUP.format(SOURCES[name]), FAULTS["backward"], model=f"{MODEL}model.cuda()\n")
    script = script.replace(
        "    optimizer.zero_grad()\n", "    x, y, w = x.cuda(), y.cuda(), w.cuda()\n    optimizer.zero_grad()\n"
    )
    case = Held(tmp_path, script)
    bare, watched = case.bare(), case.watched()
    assert (
        watched.incident["step"] == BAD
        and watched.incident["held"]
        and "held on the device" in watched.incident["hold_note"]
    )
    assert differences(watched.final, bare.states[BAD]) == []
