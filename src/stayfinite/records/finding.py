"""What a rule or the run itself has to say beside incidents."""

from __future__ import annotations

import msgspec

NOT_WATCHED = "not-watched"
"""Id of the warning that a process which trains was not watched: a report that holds it is never clean."""


class Warning(msgspec.Struct, frozen=True, tag="warning"):  # noqa: A001  (the contract's word)
    """Something worth knowing that is no incident: benign scaler calibration, absorbed infinities, what was not seen."""

    id: str
    message: str
