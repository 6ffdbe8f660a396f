"""Replay purity: on healthy scripts in many styles, repeating steps changes nothing that anybody can see.

Each script of ``tests/healthy`` (a file, or a folder with a ``train.py``) runs twice, in folders of its own: bare, and
under ``stayfinite run`` with every third step replayed twice, and every fourth surveyed before that. Exit code,
standard output and every file left behind must be equal; each line on standard error must be said as often; losses and
gradients of all replays must have had the same bits; no failure with finite numbers may be told. The scripts print a
digest of their final parameters, buffers and optimizer state: equal output is equal weights.

Comments before the first statement of a script set what is expected of it:

    # replay: none, reason: ...   the step cannot be repeated; if it is left unreplayed, the run says why
    # replay: learns, reason: ... some steps are not repeated, all for this reason, and others are
    # process: fresh              needs an interpreter of its own: it spawns processes or runs a compiler
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forkserver import Completed, run_bare, run_cli

HEALTHY = Path(__file__).resolve().parent.parent / "healthy"
EVERY = 3
SURVEY_EVERY = 4
TIMEOUT = 240.0


@dataclass(frozen=True)
class Script:
    """A healthy script: `path` is what to run, `whole_folder` whether its siblings come along."""

    name: str
    path: Path
    whole_folder: bool
    unrepeatable: str | None
    learns: str | None
    fresh: bool


def _read(path: Path) -> Script:
    whole = path.parent != HEALTHY
    head = []
    for line in path.read_text(encoding="latin-1").splitlines():
        if not line.startswith("#"):
            break
        head.append(line)
    reason = re.search(r"^# replay: none, reason: (.+)$", "\n".join(head), re.MULTILINE)
    learns = re.search(r"^# replay: learns, reason: (.+)$", "\n".join(head), re.MULTILINE)
    return Script(
        name=path.parent.name if whole else path.stem,
        path=path,
        whole_folder=whole,
        unrepeatable=reason[1] if reason else None,
        learns=learns[1] if learns else None,
        fresh="# process: fresh" in head,
    )


SCRIPTS = sorted((_read(p) for p in [*HEALTHY.glob("*.py"), *HEALTHY.glob("*/train.py")]), key=lambda s: s.name)


@dataclass(frozen=True)
class Outcome:
    """What a run left behind. `files` maps relative paths to bytes."""

    done: Completed
    files: dict[str, bytes]
    said: Counter[str]


@dataclass(frozen=True)
class Replays:
    """The forced-replay statistics of a run, summed over its processes."""

    steps: int
    replayed: int
    agreed: int
    differed: list[Any]
    refused: Counter[str]
    surveyed: int
    survey_notes: list[Any]


def _outcome(folder: Path, done: Completed) -> Outcome:
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    said = Counter(done.stderr.replace(str(folder), "").splitlines())
    return Outcome(done, files, said)


def _folder(script: Script, parent: Path) -> Path:
    if script.whole_folder:
        shutil.copytree(script.path.parent, parent, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        parent.mkdir()
        shutil.copy2(script.path, parent)
    return parent


def _replays(log: Path) -> Replays:
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    refused: Counter[str] = Counter()
    for line in lines:
        refused.update(line["not_replayed"])
    return Replays(
        steps=sum(line["steps"] for line in lines),
        replayed=sum(line["replayed"] for line in lines),
        agreed=sum(line["agreed"] for line in lines),
        differed=[d for line in lines for d in line["differed"]],
        refused=refused,
        surveyed=sum(line["surveyed"] for line in lines),
        survey_notes=[note for line in lines for note in line["survey_notes"]],
    )


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One compiler cache for all runs: it would otherwise lie in the system's temporary folder, for good."""
    return {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path_factory.mktemp("inductor"))}


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Rows of the tests that ran, printed at their end."""
    rows: list[str] = []
    yield rows
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{'script':28} steps replayed agreed  bare s replayed s  not replayed")
        print("\n".join(rows))


@pytest.mark.slow
@pytest.mark.timeout(2 * TIMEOUT)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_replays_change_nothing(script: Script, tmp_path: Path, compiled: dict[str, str], table: list[str]) -> None:
    name = script.path.name
    folder = _folder(script, tmp_path / "bare")
    bare = _outcome(folder, run_bare([name], folder, compiled, timeout=TIMEOUT, fresh=script.fresh))
    assert bare.done.exit_code == 0, bare.done.stderr
    assert re.search(r"^weights [0-9a-f]{64}$", bare.done.stdout, re.MULTILINE), bare.done.stdout

    folder, log = _folder(script, tmp_path / "replayed"), tmp_path / "replays.jsonl"
    forced = {"STAYFINITE_REPLAY_EVERY": str(EVERY), "STAYFINITE_REPLAY_LOG": str(log), "STAYFINITE_STRICT": "1"}
    forced["STAYFINITE_SURVEY_EVERY"] = str(SURVEY_EVERY)
    done = run_cli(["run", name], folder, {**compiled, **forced}, timeout=TIMEOUT, fresh=script.fresh)
    watched, replays = _outcome(folder, done), _replays(log)
    table.append(
        f"{script.name:28} {replays.steps:5} {replays.replayed:8} {replays.agreed:6} {bare.done.seconds:7.2f} "
        f"{done.seconds:10.2f}  {'; '.join(f'{n} x {why}' for why, n in replays.refused.items())}"
    )

    assert done.exit_code == 0, done.stderr
    assert done.stdout == bare.done.stdout, done.stderr
    assert sorted(watched.files) == sorted(bare.files)
    assert [n for n in bare.files if watched.files[n] != bare.files[n]] == []
    assert {line: n for line, n in bare.said.items() if watched.said[line] != n} == {}, done.stderr
    assert replays.differed == []
    assert [note for note in replays.survey_notes if note["wrong"]] == []
    assert "training goes on" not in done.stderr  # what a finite symptom is told with
    assert replays.agreed == replays.replayed
    if script.unrepeatable is None:
        assert replays.steps >= EVERY
        assert replays.replayed >= 1, replays.refused
        assert bool(replays.refused) == (script.learns is not None)
        assert all(re.search(script.learns or "", why) for why in replays.refused), replays.refused
        assert replays.surveyed >= 1 or script.learns is not None, replays.survey_notes
    elif replays.replayed == 0 and replays.steps >= EVERY:
        assert replays.refused, f"no step was replayed, and nothing says why: {script.unrepeatable}"


def test_there_are_enough_styles() -> None:
    assert len([s for s in SCRIPTS if s.unrepeatable is None]) >= 40
    assert len({s.name for s in SCRIPTS}) == len(SCRIPTS)


def test_a_difference_would_be_seen(tmp_path: Path) -> None:
    """The comparison itself can fail: a script that draws without a seed is not equal to its bare run."""
    path = tmp_path / "unseeded.py"
    path.write_text("import torch\ntorch.seed()\nprint('weights', torch.rand(4).numpy().tobytes().hex())\n")
    first, second = (run_bare([path.name], tmp_path) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert first.stdout != second.stdout
