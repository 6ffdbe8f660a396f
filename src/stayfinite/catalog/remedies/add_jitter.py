"""Add a small number to the diagonal before a decomposition.

What it changes
---------------
`cholesky(K)` becomes `cholesky(K + 1e-4 * eye)`, and likewise solve, inv, eigh: the smallest eigenvalue moves away from 0.

When it helps
-------------
Two equal rows, a kernel with a large length scale or a product of thin matrices have an eigenvalue of 0 but for rounding: not
positive, not invertible.

What it may cost
----------------
A little noise on each observation, or a ridge of that size.

Example
-------
::

    L = torch.linalg.cholesky(K + 1e-4 * torch.eye(len(K)))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import called
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.remedy import Scene, chosen, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Add a small number to the diagonal"
CURES = ("degenerate-decomposition", "domain-error", "singular-gradient")
APPLICABILITY = "unsafe"
EXAMPLES = ("kernel-evidence", "ridge-head")

_DECOMPOSITIONS = frozenset({"cholesky", "solve", "inv", "eigh", "eigvalsh", "inverse", "cholesky_ex", "slogdet",
                             "logdet", "det", "lu_factor", "svd", "svdvals"})


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Two sizes, where a decomposition of a square matrix is written at the origin."""
    scene = Scene(case, sources)
    source = scene.source
    place = case.exception.location if case.exception is not None and not scene.at.file else scene.at
    source = source if source is not None else scene.read(place.file)
    if source is None:
        return []
    found = _decompositions(source, place.line)
    if len(found) != 1:
        return []
    name, imports = source.spelled("torch.eye", found[0])
    argument = found[0].args[0] if found[0].args else found[0].func.value  # type: ignore[attr-defined]
    distinct = called(found[0]) in ("eigh", "eigvalsh", "svd", "svdvals")
    offers = []
    for size in ("1e-4", "1e-2"):
        unit = f"{size} * {name}({{x}}.shape[-1], dtype={{x}}.dtype, device={{x}}.device)"
        if distinct:  # equal eigenvalues or singular values move apart only if the numbers on the diagonal differ
            line, more = source.spelled("torch.linspace", found[0])
            unit, imports = f"{line}(0.0, {size}, {{x}}.shape[-1], dtype={{x}}.dtype, device={{x}}.device).diag_embed()", (*imports, *more)
        edits = [*chosen(source, argument, f"{{x}} + {unit}", "matrix", "square"), *imports]
        offers.append(offered(__name__, sources, edits, says=f"Add {size} to the diagonal"))
    return offers


def _decompositions(source: Source, line: int) -> list[ast.Call]:
    return [
        node for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and called(node) in _DECOMPOSITIONS and node.lineno <= line <= (node.end_lineno or 0)
        and (source.qualified(node.func).startswith("torch.") or not source.qualified(node.func))
        and (node.args or isinstance(node.func, ast.Attribute))
    ]
