"""The smallest step that still fails: what is left out was tried, and what is left is needed."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from forkserver import run_bare, run_cli
from hypothesis import given, settings
from hypothesis import strategies as st
from replaying import STRICT, replay, said

from stayfinite.frameworks.torch.stored.smaller import Smallest, Step, shrink, with_rows

SIZE = 12


def stored(passes: int = 1, size: int = SIZE) -> Step:
    """A step whose passes are handed the numbers 0 to `size`, as a tensor, a list, and an array inside a tuple."""
    written = [
        {
            "names": {"x": {"kind": "tensor", "value": f"x{n}"}, "words": {"kind": "list", "type": "list", "value": list(range(size))},
                      "rate": {"kind": "tensor", "value": "rate"}},
            "items": [[{"kind": "tuple", "value": [{"kind": "array", "value": f"y{n}"}, 3]}], None],
            "places": [{"path": [["local", "table"]], "value": {"kind": "tensor", "value": "table"}}],
        }
        for n in range(passes)
    ]
    tensors = {f"{name}{n}": torch.arange(size) for n in range(passes) for name in "xy"}
    return Step({"passes": written, "places": []}, {**tensors, "rate": torch.ones(3), "table": torch.arange(size)})


def rows_of(step: Step) -> list[int]:
    """The samples of `step`; all that it is handed has the same ones, and what is not handed has all."""
    rows: list[int] = step.tensors["x0"].tolist()
    assert step.layout["passes"][0]["names"]["words"]["value"] == rows == step.tensors["y0"].tolist()
    assert len(step.tensors["table"]) == SIZE and len(step.tensors["rate"]) == 3
    return rows


@given(st.sets(st.integers(0, SIZE - 1), min_size=1), st.sets(st.integers(-2, SIZE + 2)))
def test_what_is_left_is_what_it_takes(needed: set[int], told: set[int]) -> None:
    found = shrink(stored(), SIZE, sorted(told), lambda step: needed <= set(rows_of(step)))
    assert set(rows_of(found.step)) == needed
    assert found.rows == (tuple(sorted(needed)) if len(needed) < SIZE else None)


@given(st.integers(2, SIZE), st.integers(0, 30))
@settings(max_examples=30)
def test_it_ends_with_what_was_seen_to_fail_when_time_is_up(least: int, runs: int) -> None:
    """Whenever it ends, what it gives is the whole step or one that failed."""
    seen: list[list[int]] = [list(range(SIZE))]

    def fails(step: Step) -> bool | None:
        nonlocal runs
        runs -= 1
        if runs < 0:
            return None
        failed = len(rows_of(step)) >= least
        if failed:
            seen.append(rows_of(step))
        return failed

    assert rows_of(shrink(stored(), SIZE, (), fails).step) in seen


def test_a_pass_that_fails_alone_is_enough() -> None:
    step = stored(3)
    keys = [one["names"]["x"]["value"] for one in step.layout["passes"]]

    def fails(candidate: Step) -> bool:
        return any(one["names"]["x"]["value"] == keys[1] for one in candidate.layout["passes"])

    found = shrink(step, None, (), fails)
    assert found.passes == (1,) and len(found.step.layout["passes"]) == 1 and "no batch" in found.why_not


def test_a_batch_that_is_not_handed_over_is_not_cut() -> None:
    step = stored()
    for name in ("x", "words"):
        del step.layout["passes"][0]["names"][name]
    step.layout["passes"][0]["items"] = []
    assert with_rows(step, [1], SIZE) is None
    assert "cuts one out" in shrink(step, SIZE, (), lambda step: True).why_not


LOADER = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(1)
    x = torch.rand(96, 5) + 0.1
    x[70] = 0
    net = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for share, in DataLoader(TensorDataset(x), batch_size=16, shuffle=True):
        weight = share / share.sum(1, keepdim=True)
        loss = net(weight).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def recorded(folder: Path, source: str) -> None:
    (folder / "train.py").write_text(textwrap.dedent(source), encoding="utf-8")
    assert run_cli(["run", "--quiet", "--report", "rep", "train.py"], folder, STRICT).exit_code == 3


def handed(file: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(file)


def test_the_guilty_sample_alone_is_exported(tmp_path: Path) -> None:
    recorded(tmp_path, LOADER)
    done = replay(tmp_path, "--export", "small.py", "--smallest")
    assert done.exit_code == 0, done.stderr
    assert "it still fails with 1 of 16 samples" in said(done)
    assert "1 of 16 samples" in (tmp_path / "small.py").read_text("utf-8")[:400]
    batches = [value for value in handed(tmp_path / "small.safetensors").values() if value.shape == (1, 5)]
    assert any(not value.any() for value in batches)  # row 70
    alone = run_bare(["small.py"], tmp_path)
    assert alone.exit_code == 1 and "the step still fails" in alone.stdout


@pytest.mark.slow
def test_another_failure_is_not_taken_for_it(tmp_path: Path) -> None:
    """Alone in its batch a sample raises, because a layer normalises over it: that is not the failure that was recorded."""
    recorded(tmp_path, LOADER.replace("nn.Linear(5, 1)", "nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 1))"))
    done = replay(tmp_path, "--export", "small.py", "--smallest")
    assert "it still fails with 2 of 16 samples" in said(done)
    assert run_bare(["small.py"], tmp_path).exit_code == 1


def test_smallest_without_export_is_refused(tmp_path: Path) -> None:
    recorded(tmp_path, LOADER)
    done = replay(tmp_path, "--smallest")
    assert done.exit_code == 2 and "--export FILE" in said(done)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["hang", "exit"])
def test_a_candidate_that_hangs_or_leaves_does_no_harm(tmp_path: Path, ending: str) -> None:
    """What a script does with fewer samples is its own business; the whole step is what is left."""
    act = "import time; time.sleep(600)" if ending == "hang" else "raise SystemExit(1)"
    source = LOADER.replace("weight = share", f"if len(share) < 16:\n            {act}\n        weight = share")
    recorded(tmp_path, source)
    done = replay(tmp_path, "--export", "small.py", "--smallest", "--budget", "8")
    assert done.exit_code == 0, done.stderr
    assert "nothing could be left out" in said(done)
    assert run_bare(["small.py"], tmp_path).exit_code == 1


def test_nothing_left_out_is_said() -> None:
    found = shrink(stored(), SIZE, (3,), lambda step: False)
    assert found == Smallest(found.step, why_not="with any part of the batch left out the step does not fail in the same way")
