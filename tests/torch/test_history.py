"""Earlier states: what is kept, within which budget, and repetitions over many steps."""

from __future__ import annotations

import gc
import itertools
import math
import types
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from forkserver import run_bare, run_cli
from hypothesis import given
from hypothesis import strategies as st
from sameness import write_job
from torch import nn

from stayfinite.engine.monitor import Monitor
from stayfinite.engine.ports import Outcome, ReplayRequest
from stayfinite.errors import TrainingHalted
from stayfinite.frameworks.torch.history import ring as ring_module
from stayfinite.frameworks.torch.history.ring import Ring, _dispensable
from stayfinite.frameworks.torch.history.windows import size_of
from stayfinite.frameworks.torch.options import Options
from stayfinite.frameworks.torch.session import Session
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.records.incident import Case, Incident
from stayfinite.records.intervention import Intervention, Update
from stayfinite.rewrite.loader import Rewriter, execute


def state_of(subjects: Subjects) -> list[torch.Tensor]:
    moments = [subjects.optimizers[0].state[parameter]["exp_avg"] for parameter in subjects.parameters]
    return [*subjects.parameters, *subjects.buffers, *moments]


def subjects_of(model: nn.Module) -> Subjects:
    optimizer = torch.optim.Adam(model.parameters())
    return Subjects([model], [optimizer], lambda _value: None)


@given(st.integers(4, 16), st.integers(20, 400))
def test_distances_grow_with_age(room: int, steps: int) -> None:
    kept: list[int] = []
    for step in range(steps):
        kept.append(step)
        while len(kept) > room:
            del kept[_dispensable(kept)]
    assert kept[0] == 0 and kept[-1] == steps - 1 and kept == sorted(kept)
    ages = [steps - step for step in kept]
    # whatever the age, there is something at most a few times as old
    assert all(older <= 2 + ages[0] ** (3.0 / (room - 1)) * 4 * newer for older, newer in itertools.pairwise(ages))


def test_copying_takes_its_share_of_the_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(ring_module.time, "thread_time", lambda: clock[0])

    class Slow(ring_module.Kept):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            clock[0] += 0.01

    monkeypatch.setattr(ring_module, "Kept", Slow)
    ring, subjects = Ring(), subjects_of(nn.Linear(3, 3))
    for step in range(2000):
        clock[0] += 0.005
        ring.note(step, subjects, None)
    assert ring.copies > 10
    assert ring.spent / clock[0] <= ring_module.SHARE_OF_TIME


def test_a_state_that_is_too_large_is_not_kept_and_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAYFINITE_HISTORY_LIMIT", "1")
    ring = Ring()
    ring.note(0, subjects_of(nn.Linear(600, 600)), None)
    assert ring.kept == []
    assert ring.refused == "a copy of the state takes 1 MiB, and 1 may be used for history"


def test_what_is_taken_back_is_what_was_there_but_for_rates_and_generators() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    subjects = subjects_of(model)
    optimizer = subjects.optimizers[0]
    ring = Ring()

    def train() -> None:
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()

    train()
    ring.note(1, subjects, None)
    before = [tensor.clone() for tensor in state_of(subjects)]
    train()
    optimizer.param_groups[0]["lr"] = 0.5
    generator = torch.get_rng_state()
    ring.kept[0].rewind()
    assert all(torch.equal(one, other) for one, other in zip(before, state_of(subjects), strict=True))
    assert optimizer.param_groups[0]["lr"] == 0.5 and torch.equal(torch.get_rng_state(), generator)
    assert optimizer.state[subjects.parameters[0]]["step"] == 1


def test_what_holds_a_graph_or_a_frame_is_never_kept() -> None:
    x = torch.randn(3, requires_grad=True)
    assert size_of(torch.randn(4)) == 16
    assert size_of({"x": torch.randn(4), "n": 3}) is not None
    assert size_of(x * 2) is None
    assert size_of([1, {"loss": (x * 2).sum()}]) is None
    assert size_of(iter(())) is None
    assert size_of(n for n in ()) is None
    assert size_of(list(range(100_000))) == 6_400_000


# -- repetitions over many steps -------------------------------------------------------------------------------------

DIVERGES = """
import torch
torch.manual_seed(0)
x = torch.randn(64, 4)
y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Dropout(0.1), torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr={rate}, momentum=0.9)
{before}
for step in range(400):
    rows = torch.randint(0, 64, (16,))
    batch, wanted = x[rows], y[rows]
    {inside}
    loss = (model(batch) - wanted).square().mean() {term}
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    {after}
"""


class Asked:
    """Listens to a session, and asks for the repetitions it is given instead of an investigation."""

    def __init__(self, *requests: ReplayRequest) -> None:
        self.requests = requests
        self.outcomes: list[Outcome] = []
        self.incidents: list[Incident] = []

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_named: None

    def incident(self, incident: Incident) -> None:
        self.incidents.append(incident)

    def investigate(self, case: Case, _live: Outcome, _listener: Any, **_named: Any) -> Generator[ReplayRequest, Outcome, Incident]:
        for request in self.requests:
            self.outcomes.append((yield request))
        return Incident(id="x", case=case)


def held(folder: Path, script: str, *requests: ReplayRequest) -> tuple[Asked, dict[str, Any]]:
    """Run `script` with its loop wrapped until a step is bad; the answers to `requests`, and the script's names."""
    path = folder / "script.py"
    path.write_text(script, encoding="utf-8")
    asked = Asked(*requests)
    session = Session(asked, Options(keep_case=False), asked.investigate, Monitor())  # type: ignore[arg-type]
    module = types.ModuleType("script")
    module.__file__ = str(path)
    session.install()
    try:
        execute(Rewriter(str(folder), lambda _path, error: pytest.fail(str(error))).compile(script, str(path)), module)
    except TrainingHalted:
        pass
    finally:
        session.close()
    return asked, vars(module)


def several(steps: int, intervention: Intervention | None = None) -> ReplayRequest:
    return ReplayRequest("experiment" if intervention else "control", intervention, steps=steps)


def script(rate: float = 0.05, before: str = "", inside: str = "", term: str = "", after: str = "") -> str:
    return DIVERGES.format(rate=rate, before=before, inside=inside, term=term, after=after)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state is kept before each update, whatever that costs."""
    monkeypatch.setattr(ring_module, "SHARE_OF_TIME", 1e9)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    "style",
    [
        {},
        {"before": "scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.98)", "after": "scheduler.step()"},
        {"before": "carried = torch.zeros(16, 1)", "term": "+ 1e-3 * (carried := carried * 0.9 + wanted).mean()"},
        {"before": "noise = 0.0", "inside": "batch = batch + noise", "after": "noise = 1e-3 * loss.item() if step % 2 else 0.0"},
    ],
    ids=["plain", "schedule", "carried", "after the block"],
)
def test_many_steps_are_the_run_again_and_a_lower_rate_does_not_diverge(style: dict[str, str], tmp_path: Path) -> None:
    slow = Update(rate=0.02)
    asked, names = held(tmp_path, script(**style), several(12), several(12, slow), several(12, Update(rate=1.0)), several(1))
    control, slower, placebo, one = asked.outcomes
    assert [outcome.unrepeatable for outcome in asked.outcomes] == [None] * 4
    assert (control.failed, slower.failed, placebo.failed, one.failed) == (True, False, True, True)
    assert 12 <= len(control.losses) == len(slower.losses) <= 16 < one.remembered and control.losses == placebo.losses
    assert slower.effect is not None and len(slower.losses) - slower.effect.applied in (0, 1)  # the held step is left before its update
    assert all(isinstance(loss, float) and math.isfinite(loss) for loss in slower.losses)
    assert asked.incidents[0].held
    weights = names["model"][0].weight
    assert bool(torch.isfinite(weights).all())


@pytest.mark.usefixtures("often")
def test_what_is_not_remembered_between_two_steps_is_noticed(tmp_path: Path) -> None:
    hidden = {"before": "class Box: pass\nbox = Box(); box.x = 1.0", "inside": "box.x = box.x * 1.01", "term": "* box.x"}
    asked, _ = held(tmp_path, script(**hidden), several(8), several(8, Update(rate=0.1)), several(1))
    many, changed, one = asked.outcomes
    assert many.unrepeatable is not None and many.unrepeatable.endswith("something between two steps is not remembered")
    assert changed.unrepeatable == many.unrepeatable
    assert one.unrepeatable is None and one.failed


@pytest.mark.usefixtures("often")
def test_more_steps_than_there_are_and_batches_that_were_written_to(tmp_path: Path) -> None:
    asked, _ = held(tmp_path, script(rate=2.0), several(300))
    assert "latest steps are remembered" in str(asked.outcomes[0].unrepeatable)
    shared = {"before": "noise = shared = torch.zeros(4)", "inside": "batch = batch + noise", "after": "noise = shared.add_(1e-4)"}
    asked, _ = held(tmp_path, script(**shared), several(5), several(1))
    assert asked.outcomes[0].unrepeatable is not None
    assert asked.outcomes[1].unrepeatable is None


@pytest.mark.usefixtures("often")
def test_a_state_keeps_no_graph_alive(tmp_path: Path) -> None:
    class Witness:
        pass

    seen: list[weakref.ref[Any]] = []
    code = script(rate=0.01, term="+ 0 * probe(model[0].weight)").replace("range(400)", "range(30)")
    path = tmp_path / "script.py"
    path.write_text(code, encoding="utf-8")

    class Probe(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weight: torch.Tensor) -> torch.Tensor:
            ctx.witness = Witness()
            seen.append(weakref.ref(ctx.witness))
            return weight.sum()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> Any:
            return torch.zeros(16, 4)

    asked = Asked()
    session = Session(asked, Options(keep_case=False), asked.investigate, Monitor())  # type: ignore[arg-type]
    module = types.ModuleType("script")
    vars(module)["probe"] = Probe.apply
    session.install()
    try:
        execute(Rewriter(str(tmp_path), lambda _path, error: pytest.fail(str(error))).compile(code, str(path)), module)
        assert len(session.ring.kept) > 3 and len(session.ring.windows) > 20
        gc.collect()
        assert len(seen) == 30
        assert sum(ref() is not None for ref in seen) <= 1  # the script's own `loss`
    finally:
        session.close()


def test_a_healthy_run_is_bit_for_bit_what_it_is_without_us(tmp_path: Path) -> None:
    end = "print(loss.item(), [p.double().sum().item() for p in model.parameters()], torch.rand(3))"
    write_job(tmp_path, {"train.py": script(rate=0.01) + end})
    bare, watched = run_bare(["train.py"], tmp_path), run_cli(["run", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert (watched.exit_code, watched.stdout, watched.stderr) == (0, bare.stdout, "")


def test_copying_the_state_is_no_evaluation(tmp_path: Path) -> None:
    """Copies are made in `no_grad`, as evaluations are; a hook for these would have a compiled model compiled anew each step."""
    (tmp_path / "train.py").write_text(
        "import torch\n"
        "from torch.nn.modules.module import _global_forward_hooks as hooks\n"
        "torch.manual_seed(0)\n"
        "model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))\n"
        "optimizer = torch.optim.Adam(model.parameters())\n"
        "seen = set()\n"
        "for step in range(12):\n"
        "    optimizer.zero_grad()\n"
        "    seen.add(len(hooks))\n"
        "    loss = model(torch.randn(6, 4)).square().mean()\n"
        "    loss.backward()\n"
        "    optimizer.step()\n"
        "print(seen)\n"
    )
    done = run_cli(["run", "train.py"], tmp_path)
    assert (done.exit_code, done.stdout.strip()) == (0, "{0}"), done.stderr
