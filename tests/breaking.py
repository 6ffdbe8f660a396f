"""Runs ``stayfinite run`` with one function of ours replaced by one that raises.

    done = run_broken(tmp_path, "frameworks.torch.hold:norm", SOURCE)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from forkserver import Completed, run_bare
from sameness import write_job

BROKEN = """
import importlib, sys

def breaks(*args, **kwargs):
    raise RuntimeError("broken on purpose")

module, _, path = {place!r}.partition(":")
owner = importlib.import_module("stayfinite." + module)
*parts, last = path.split(".")
for part in parts:
    owner = getattr(owner, part)
getattr(owner, last)  # it must be there
setattr(owner, last, breaks)

from stayfinite.cli import main
sys.exit(main({argv!r}))
"""


def run_broken(
    folder: Path, place: str, train: str, env: Mapping[str, str] | None = None, *, options: Sequence[str] = ()
) -> Completed:
    """``stayfinite run OPTIONS train.py`` in `folder`, where `place` (``module:Class.function`` below ``stayfinite``)
    raises a RuntimeError, "broken on purpose"."""
    argv = ["run", *options, "train.py"]
    write_job(folder, {"train.py": train, "broken.py": BROKEN.format(place=place, argv=argv)})
    return run_bare(["broken.py"], folder, env)


def switched_off(text: str) -> list[str]:
    """The lines of `text` that say that something of ours broke."""
    return [line for line in text.splitlines() if line.startswith("stayfinite: ") and "is switched off" in line]
