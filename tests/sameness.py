"""Runs the same job bare and under ``stayfinite run``, in the same folder, and keeps all that can be compared.

    bare, watched = both(tmp_path, {"train.py": SOURCE}, ["train.py", "--lr", "1"])
    assert watched == bare
"""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forkserver import Completed, run_bare, run_cli

FAKE = '''
class Loss:
    """Looks like a loss; says what was asked of it."""

    value = 1.0

    def backward(self):
        print("backward")

    def item(self):
        return self.value


class Optimizer:
    def __init__(self, *args, **kwargs):
        self.count = 0

    def zero_grad(self):
        print("zero_grad")

    def step(self):
        self.count += 1
        print("step", self.count)


loss, optimizer = Loss(), Optimizer()
'''
"""A sibling module ``fake``: loops over it are wrapped, and need no framework."""

TRAINER = """
from fake import loss, optimizer
def fit():
    for i in range(2):
        loss.backward()
        optimizer.step()
        print(__name__, i)
"""
"""A sibling module ``trainer`` with such a loop."""


TRAIN = '''
import hashlib
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
BAD = -1

for step in range(8):
    x = torch.randn(16, 4)
    if step == BAD:
        x[3, 1] = float("nan")
    y = x.sum(1, keepdim=True)
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    scheduler.step()
    print(step)

digest = hashlib.sha256()
for tensor in [*model.state_dict().values(), *(v for s in optimizer.state.values() for v in s.values())]:
    digest.update(tensor.numpy().tobytes())
print(digest.hexdigest())
'''
"""A healthy training whose last line is a digest of all weights, buffers and moments."""

FAILING = TRAIN.replace("BAD = -1", "BAD = 4")
"""The same with a NaN in the batch of step 4."""


@dataclass(frozen=True)
class Ended:
    """How a job ended, and the files it left: name -> bytes; byte code apart."""

    exit_code: int
    stdout: str
    stderr: str
    files: dict[str, bytes]


def write_job(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Make `folder` hold exactly `files` (texts are dedented)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())


def both(
    tmp_path: Path,
    files: Mapping[str, str | bytes],
    argv: Sequence[str],
    *,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    own_env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    fresh: bool = False,
    bare_argv: Sequence[str] | None = None,
) -> tuple[Ended, Ended]:
    """`argv` as ``python`` runs it and as ``stayfinite run OPTIONS`` runs it. `own_env` is for the latter alone."""
    folder = tmp_path / "job"
    write_job(folder, files)
    # byte code of ours may be kept: an interpreter of its own starts twice as fast
    env = {"PYTHONDONTWRITEBYTECODE": "", **(env or {})} if fresh else dict(env or {})
    bare = _ended(run_bare(bare_argv or argv, folder, env, stdin=stdin, fresh=fresh), folder)
    write_job(folder, files)
    env = {"STAYFINITE_STRICT": "1", **env, **(own_env or {})}
    watched = _ended(run_cli(["run", *options, *argv], folder, env, stdin=stdin, fresh=fresh), folder)
    return bare, watched


def _ended(done: Completed, folder: Path) -> Ended:
    assert not done.timed_out, done
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }
    return Ended(done.exit_code, done.stdout, done.stderr, files)


def without_runpy(text: str) -> str:
    """A traceback without the frames of the module that ``python -m`` goes through."""
    return re.sub(r'  File "<frozen runpy>", line \d+, in \w+\n', "", text)


def check_loops(folder: Path, source: str | bytes, *, wrapped: bool) -> None:
    """A script over ``fake`` does what it does under ``python``, and its loops are `wrapped` or left as they are."""
    log = folder / "log.jsonl"
    if isinstance(source, str) and "from fake" not in source:
        source = "from fake import loss, optimizer\n" + textwrap.dedent(source).lstrip("\n")
    files = {"train.py": source, "fake.py": FAKE, "trainer.py": TRAINER}
    env = {"STAYFINITE_REPLAY_LOG": str(log)}
    bare, watched = both(folder, files, ["train.py"], own_env=env, stdin="p i\nc\np i\nc\n")
    assert watched == bare
    blocks = json.loads(log.read_text().splitlines()[0])["blocks"]
    assert bool(blocks) == wrapped, blocks
