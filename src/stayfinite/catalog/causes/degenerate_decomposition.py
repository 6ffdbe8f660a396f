"""A matrix was too close to singular for what was asked of it.

What happens
------------
A Cholesky factor needs a positive definite matrix, an inverse a determinant other than 0. The slopes of singular
values, eigenvectors and determinants divide by differences of singular values or by the determinant: equal ones give
an infinity in the backward pass of a finite forward pass.

How to recognise it
-------------------
The origin is a decomposition, an inverse, a solve or a determinant; either it raised, or its gradient is not finite.
The matrix has equal rows, fewer samples than columns, or a tiny eigenvalue.

What to do
----------
Add a small multiple of the identity, work with more samples than dimensions, use `slogdet` for `log(det)`, `eigvalsh`
and `svdvals` where only values are needed, `lstsq` instead of an inverse.

Example
-------
::

    factor = torch.linalg.cholesky(covariance)
    factor = torch.linalg.cholesky(covariance + 1e-4 * torch.eye(n))

References
----------
pytorch/pytorch#49886, jax-ml/jax#2311, jax-ml/jax#8732, geomstats/geomstats#176
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import born_backward, finite, inputs, kind, raised
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.operator_predictions import stable
from stayfinite.catalog.ops import DECOMPOSITIONS
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction

_REFUSED = (
    r"positive.definite|singular|factorization could not|failed to converge|ill-conditioned|not invertible|lapack"
    r"|repeated singular values|leading minor"
)

TITLE = "Degenerate matrix decomposition"
PRIOR = prior(threads=4)
APPLIES_TO = Scope(phases=COMPUTED, kinds=DECOMPOSITIONS, messages=_REFUSED)
EXAMPLES = ("degenerate-decomposition", "diffusion-direction", "ridge-head")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """What was decomposed, and whether it was the value or the slope that failed."""
    found = []
    if raised(case, _REFUSED) and case.exception is not None:
        found.append(Evidence(f"{case.exception.type}: the matrix was refused", 6.0, "exception"))
    if raised(case, r"non-finite|\bnan\b|\binf\b"):
        found.append(Evidence("the exception says that the matrix was not finite", -6.0, "operand-value"))
    here = kind(case)
    if here.name not in DECOMPOSITIONS:
        return found or [Evidence("the origin is no decomposition", -8.0, "origin-kind")]
    if any(stats.nonfinite for stats in inputs(case)):
        return [*found, Evidence("the matrix itself is not finite: it was made before", -9.0, "operand-value")]
    if born_backward(case):
        at = here.singular_at or "a singular matrix"
        found.append(Evidence(f"the slope of {here.name} is not finite at {at}", 6.0, "origin-kind"))
    else:
        found.append(Evidence(f"the origin is {here.name}, which needs a {here.domain}", 5.0, "origin-kind"))
    matrix = next(iter(inputs(case)), None)
    if matrix is not None and matrix.size > 1 and finite(matrix.min) is not None and matrix.min == matrix.max:
        found.append(Evidence(f"all entries of `{matrix.name}` are equal: its rank is at most 1", 2.0, "operand-value"))
    return found


def predict(case: Case) -> list[Prediction]:
    """With a small multiple of the identity added to the matrix the step passes."""
    return stable(case, "jitter")
