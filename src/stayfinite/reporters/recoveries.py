"""What was done about a failing run while it ran, counted and in words."""

from __future__ import annotations

import collections

from stayfinite.records.recording import Recording
from stayfinite.records.recovery import Toll
from stayfinite.reporters.document import RecoveryReport


def recovery(recording: Recording) -> RecoveryReport | None:
    """The section of the report; ``None`` where nothing was done."""
    measures, toll = recording.measures, recording.toll
    if toll is None:
        if not measures:
            return None
        counts = collections.Counter(one.kind for one in measures)  # killed, or running still
        toll = Toll(counts["left-out"], counts["mended"], counts["rewound"], counts["remedied"], measures[-1].rate, counts["begun-again"])
    return RecoveryReport(
        left_out=toll.left_out, mended=toll.mended, rewound=toll.rewound, remedied=toll.remedied, rate=toll.rate,
        begun_again=toll.begun_again, told=told(toll), measures=measures,
    )


def told(toll: Toll) -> str:
    """For example ``"3 updates left out, 1 rewind; the learning rate is 0.5 times the script's own"``."""
    counted = (
        (toll.left_out, "update left out", "updates left out"), (toll.mended, "state mended", "states mended"),
        (toll.rewound, "rewind", "rewinds"), (toll.remedied, "remedy applied", "remedies applied"),
        (toll.begun_again, "time begun again with a cure", "times begun again with a cure"),
    )
    parts = [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]
    rate = f"; the learning rate is {toll.rate:.3g} times the script's own" if toll.rate != 1.0 else ""
    return ", ".join(parts) + rate if parts else "nothing could be done"
