"""Runs the user's script again from its start, for experiments over many steps and for patches of its source."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from stayfinite.engine.ports import TryOut
from stayfinite.frameworks.torch.clock import Clock
from stayfinite.frameworks.torch.options import Options
from stayfinite.records.diagnosis import Trial
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Intervention
from stayfinite.rewrite.files import UserFiles

_SHARE = 0.25
"""A run that took longer than this share of the budget to fail is not run again: a control, a change and a placebo are three
runs, and one more is a margin."""


def user_sources(options: Options) -> Mapping[str, str]:
    """The text of the user's files, for remedies that change it."""
    return UserFiles(options.folder)


def begins_again(options: Options, clock: Clock) -> Callable[[], bool]:
    """Whether the script may begin again, asked when it matters: whoever started it can do that, it runs in the main thread of the
    process that was started, and what is lost took no longer than the budget."""
    process = os.getpid()

    def can_begin_again() -> bool:
        here = os.getpid() == process and threading.current_thread() is threading.main_thread()
        return options.begins_again and here and clock.ran <= options.budget

    return can_begin_again


def trier(options: Options, case: Case, *, took: float, budget: float) -> TryOut | None:
    """What tries out the script that failed as `case` says; ``None`` if there is none to run.

    **Arguments**: `took`: seconds until it failed; `budget`: seconds for all experiments.
    """
    program = options.program
    if not options.trials or program is None or (not program.script and program.module is None):
        return None
    files = UserFiles(options.folder)

    def try_out(
        change: str, *, interventions: tuple[Intervention, ...] = (), sources: Mapping[str, str] | None = None, steps: int = 0,
        seconds: float = 30.0,
    ) -> Trial:
        if took > _SHARE * budget:
            return Trial(change, "not_run", note=(
                f"the run took {took:.0f} s to fail, and {budget:.0f} s are given for all experiments: more with --budget"
            ))
        from stayfinite.rewrite.trials import TrialRequest, run_trial  # a run without incidents is not run again

        texts = {**options.changed, **{files.path(file): text for file, text in (sources or {}).items()}}
        return run_trial(TrialRequest(
            program, change, sources=texts, interventions=interventions, steps=steps, seconds=seconds, watch_for=case.symptom.detector,
            failed_at=case.step_of_run, every=options.every, prevent=options.prevent,
        ))

    return try_out
