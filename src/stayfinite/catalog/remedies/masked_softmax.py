"""Give a row without any allowed entry a softmax of zeros.

What it changes
---------------
Rows whose scores are all -inf are set to 0 before the softmax and to 0 after it. Where the softmax is inside of an attention
layer, its mask is lifted from rows that it covers entirely. All other rows stay bit for bit.

When it helps
-------------
The softmax of a row of -inf is 0 / 0: a sample of padding only, a query that may look at nothing, no legal action.

What it may cost
----------------
A row of zeros has no attention at all: what comes out for such a sample is what the layers after it make of nothing. An attention
layer looks at the padding of such a sample instead. Leaving such samples out of the batch may say more.

Example
-------
::

    empty = torch.isneginf(scores).all(dim=1, keepdim=True)
    attention = torch.softmax(scores.masked_fill(empty, 0.0), dim=1).masked_fill(empty, 0.0)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import called, node_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import named
from stayfinite.catalog.remedy import Scene, chosen, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Give rows without an allowed entry a softmax of zeros"
CURES = ("softmax-over-masked-row",)
APPLICABILITY = "safe"
SAME_FUNCTION = True
UNUSED_ELEMENTS = True
EXAMPLES = ("co2-gap-attention", "empty-document", "shop-history")

_COVERS = {"key_padding_mask": 1, "src_key_padding_mask": 1, "memory_key_padding_mask": 1, "tgt_key_padding_mask": 1, "attn_mask": -1}
"""Masks that attention layers are given, ``True`` where nothing may be looked at: the dimension that runs over keys."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the softmax is written in the source, or a mask is handed to the layer that takes it."""
    if case.origin is None or case.origin.op not in ("softmax", "log_softmax", "attention"):
        return []
    form = Stable(place(case), "safe-softmax")
    scene = Scene(case, sources, named("softmax"))
    source, seen = scene.source, scene.view
    if source is not None and (seen is None or seen.first is None):
        lifted = _lifted(source, node_at(source, scene.at))
        if lifted is not None:
            return [offered(__name__, sources, lifted, form, says="Lift the mask of rows that it covers entirely")]
    if source is None or seen is None or seen.first is None:
        return [offered(__name__, sources, None, form, says="the softmax is inside of a library call: leave out samples whose mask "
                        "allows nothing, or allow one entry of each row")]
    dim = seen.option("dim", 1, "axis")
    statement = source.statement(seen.node)
    if dim is None or statement is None:
        return [offered(__name__, sources, None, form, says="the softmax does not say over which dimension it goes: give it a dim")]
    over, empty = source.segment(dim), source.fresh(seen.node, "empty", "nothing_allowed")
    name, imports = source.spelled("torch.isneginf", seen.node)
    edits: list[Edit | None] = [*imports]
    scores = source.segment(seen.first)
    if not isinstance(seen.first, ast.Name):
        scores = source.fresh(seen.node, "scores", "logits")
        edits.append(source.insert_before(statement, f"{scores} = {source.segment(seen.first)}\n"
                                          f"{empty} = {name}({scores}).all(dim={over}, keepdim=True)"))
    else:
        edits.append(source.insert_before(statement, f"{empty} = {name}({scores}).all(dim={over}, keepdim=True)"))
    whole = source.spliced(seen.node, seen.first, f"{scores}.masked_fill({empty}, 0.0)")
    edits.append(source.replace(seen.node, f"{whole}.masked_fill({empty}, 0.0)"))
    return [offered(__name__, sources, edits, form)]


def _lifted(source: Source, call: ast.expr | None) -> list[Edit | None] | None:
    """Edits after which the mask that `call` gives an attention layer covers no row entirely; ``None`` where it gives none by its
    name, or several: none is known to be the one that covers a row."""
    given = [
        (one.arg, one.value) for one in (call.keywords if isinstance(call, ast.Call) else ())
        if one.arg in _COVERS and not (isinstance(one.value, ast.Constant) and one.value.value is None)
    ]
    if call is None or len(given) != 1:
        return None
    name, mask = given[0]
    if called(call) == "scaled_dot_product_attention":  # there, ``True`` is what may be looked at
        return chosen(source, mask, "{x} | ~{x}.any(dim=-1, keepdim=True)", "mask", "visible")
    return chosen(source, mask, f"{{x}} & ~{{x}}.all(dim={_COVERS[name]}, keepdim=True)", "padding", "mask")
