"""Random small trainings with one bad number in a random place: held, repeated, and never a wrong line.

A flipped bit may come to nothing, or only make a number large. Then the run may stay silent as long as its state stays
finite, and the operation that overflows is a right line by the definition of an origin.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from forkserver import run_bare, run_cli
from hypothesis import HealthCheck, given, settings
from injecting import MARK, Plan, plans

EXAMPLES = 30


def _is_birth(origin: dict[str, Any]) -> bool:
    bad = [one["nan"] + one["posinf"] + one["neginf"] for one in origin["inputs"]]
    return not any(bad) and origin["phase"] in ("forward", "loss", "backward", "optimizer")


def judge(plan: Plan, folder: Path) -> list[str]:
    """What is wrong with the report on `plan`, in words; nothing if all is right."""
    (folder / "train.py").write_text(plan.script, encoding="utf-8")
    bare = run_bare(["train.py"], folder, timeout=120)
    assert bare.exit_code == 0, bare.stderr
    done = run_cli(["run", "--report", "kept", "train.py"], folder, {"STAYFINITE_STRICT": "1"}, timeout=240)
    report = json.loads((folder / "kept" / "report.json").read_text(encoding="utf-8"))
    stopped = [one for one in report["incidents"] if one["stopped"]]
    if not stopped:
        wrong = [] if bare.stdout == "finite\n" else [f"silent, but the state is bad: {report['incidents']}"]
        return wrong if done.stdout == bare.stdout else [*wrong, f"printed {done.stdout}, bare {bare.stdout}"]
    incident = stopped[0]
    wrong = [] if plan.fault == "flip" or not _early(plan, incident) else [f"step {incident['step']} for pass {plan.step}"]
    if not incident["held"] and not incident["hold_note"]:  # a parameter the script itself spoils cannot be held
        wrong.append("not held, and no word on why")
    if not incident["held"] and plan.place not in ("parameter", "moment"):
        wrong.append(f"not held: {incident['hold_note']}")
    back = plan.fault == "flip" and plan.place in ("parameter", "moment")  # flipped once more, it is what it was
    if not incident["reproduced"] and not incident["replay"]["not_tested"] and not back:
        wrong.append("not reproduced")
    origin = incident["origin"]  # where a spoiled parameter was seen too late to be held, its name may be all that is known
    lines = [number for number, line in enumerate(plan.script.splitlines(), 1) if line.endswith(MARK)]
    if origin is None:
        if incident["reproduced"]:
            wrong.append("repeated, and not located")
    elif origin["line"] not in (*([] if incident["held"] else [0]), *lines) and not (plan.fault == "flip" and _is_birth(origin)):
        wrong.append(f"wrong line {origin['line']}: {origin['code']}, {origin['op']}")
    return wrong


def _early(plan: Plan, incident: dict[str, Any]) -> bool:
    """True if the incident was told for an update before the fault was there."""
    updates = plan.step // 2 if plan.loop == "accumulate" and "LBFGS" not in plan.optimizer else plan.step
    return bool(incident["step"] < updates)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(plan=plans())
def test_a_bad_number_anywhere_is_held_and_located(plan: Plan) -> None:
    with tempfile.TemporaryDirectory(prefix="injected-") as folder:
        assert judge(plan, Path(folder)) == [], plan


def test_the_judge_can_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan("mlp", "SGD(P, lr=0.02)", "inline", "loss", "nan", 4, 0, 0)
    assert judge(plan, tmp_path) == []
    monkeypatch.setattr("test_injection.MARK" if __name__ == "test_injection" else f"{__name__}.MARK", "# <- elsewhere")
    assert any(one.startswith("wrong line") for one in judge(plan, tmp_path))
