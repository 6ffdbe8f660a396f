"""Runs the user's script again from its start, for experiments over many steps and for patches of its source."""

from __future__ import annotations

from collections.abc import Mapping

from stayfinite.engine.ports import TryOut
from stayfinite.records.diagnosis import Trial
from stayfinite.records.intervention import Intervention
from stayfinite.rewrite.births.second_run import Program
from stayfinite.rewrite.files import UserFiles
from stayfinite.rewrite.trials import TrialRequest, run_trial

_SHARE = 0.25
"""A run that took longer than this share of the budget to fail is not run again: a control, a change and a placebo are three
runs, and one more is a margin."""


def trier(
    program: Program | None, files: UserFiles, *, took: float, budget: float, failed_at: int, watch_for: str, every: int
) -> TryOut | None:
    """What tries a script out; ``None`` if there is none to run.

    **Arguments**: `took`: seconds until the run failed; `budget`: seconds for all experiments; `failed_at`, `watch_for`: the step that
    failed and its symptom; `every`: steps between looks at parameters.
    """
    if program is None or (not program.script and program.module is None):
        return None

    def try_out(
        change: str, *, interventions: tuple[Intervention, ...] = (), sources: Mapping[str, str] | None = None, steps: int = 0,
        seconds: float = 30.0,
    ) -> Trial:
        if took > _SHARE * budget:
            return Trial(change, "not_run", note=(
                f"the run took {took:.0f} s to fail, and {budget:.0f} s are given for all experiments: more with --budget"
            ))
        texts = {files.path(file): text for file, text in (sources or {}).items()}
        return run_trial(TrialRequest(
            program, change, sources=texts, interventions=interventions, steps=steps, seconds=seconds, watch_for=watch_for,
            failed_at=failed_at, every=every,
        ))

    return try_out
