"""Hand the parameters that train to the optimizer.

What it changes
---------------
The optimizer is built after the model is complete, from the parameters of the model that is trained; nothing detaches what is
between.

When it helps
-------------
A layer was replaced after the optimizer was made, gradients are cleared before the update, or the rate is too small for the
format.

What it may cost
----------------
None.

Example
-------
::

    model[4] = nn.Linear(32, 5)
    optimizer = torch.optim.Adam(model.parameters())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Hand the parameters to the optimizer"
CURES = ("frozen-parameters",)
APPLICABILITY = "display-only"
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "the order of lines is changed, which no patch here does"

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """A sentence with the parameters that stand still."""
    still = [one.name for one in case.survey.parameters if one.change == 0.0][:4] if case.survey is not None else []
    names = f" ({', '.join(still)})" if still else ""
    return [offered(__name__, sources, None, says=f"build the optimizer after the model is complete, from the parameters that are trained"
                    f"{names}, and clear gradients after the update: the order of these lines is yours to choose")]
