"""Everything stayfinite raises.

    StayfiniteError
      +-- TrainingHalted      an incident stopped the run; `.incident` is the record
      +-- RecordingError      a folder is not a recording, or it is damaged beyond its first record
      +-- ReplayError         a case cannot be replayed in this process
      +-- UsageError          wrong use of the API or the command line

`LeaveAttempt` and `BeginAgain` are not part of the tree: they unwind the user's own frames, and must not be caught by their
``except Exception``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stayfinite.records.fix import Fix
    from stayfinite.records.incident import Incident


class StayfiniteError(Exception):
    """Base of every error that is meant for users."""


class TrainingHalted(StayfiniteError):
    """A step went bad, was held, and `on_incident="stop"` was asked for. The message is the summary.

    **Attributes**: `incident`, the record of what happened.
    """

    def __init__(self, message: str, incident: Incident) -> None:
        super().__init__(message)
        self.incident = incident


class RecordingError(StayfiniteError):
    """A recording cannot be read. The message names the folder and what to do."""


class ReplayError(StayfiniteError):
    """A stored case cannot be replayed here. The message says why."""


class UsageError(StayfiniteError):
    """An argument is wrong. The message names it, the value, and what is accepted."""


class LeaveAttempt(BaseException):
    """Unwinds the frames between an observed failure and the attempt that holds the step. Never reaches the user."""


class BeginAgain(BaseException):
    """Unwinds the user's script, which then begins again with `fix` made to its source. Never reaches the user."""

    def __init__(self, fix: Fix) -> None:
        super().__init__("the script begins again")
        self.fix = fix
