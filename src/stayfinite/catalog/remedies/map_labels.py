"""Map labels to 0 .. classes - 1.

What it changes
---------------
Labels that count from 1 have 1 subtracted where the loss is given them; else the last layer gets an output for each label, or
the table a row for each index. A single label of 255 or -1, as unlabelled pixels are marked, is left out by the loss. For an index
of -1, which encoders give what they have never seen, the table gets one row more, and is asked for the row after each index.

When it helps
-------------
A label that no output stands for: a class that was added later, a mark for unknown, counting from 1; a category that was not in
the data from which the encoder was made.

What it may cost
----------------
Which of the two is meant, only the data can say. A row for the unknown learns only where the training has unknown ones too.

Example
-------
::

    labels = torch.tensor([index[name] for name in names])
    loss = F.cross_entropy(scores, mask, ignore_index=255)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog.clues import finite
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.edits.seeking import called, calls, every_call, given, node_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import module_value, named, named_value, number
from stayfinite.catalog.remedy import Scene, location, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats

TITLE = "Map labels to the outputs there are"
CURES = ("label-out-of-range",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("border-label", "label-out-of-range", "unknown-word", "unseen-years")

MARKS = (255, -1)
"""Labels by which data sets mark what has none."""


_LOSSES = ("cross_entropy", "nll_loss")
_LAYERS = {"Linear": (1, "out_features"), "LazyLinear": (0, "out_features"), "Conv1d": (1, "out_channels"),
           "Conv2d": (1, "out_channels"), "Conv3d": (1, "out_channels")}
"""Layers that may make scores -> where the number of outputs stands."""
_TABLES = {"Embedding": (0, "num_embeddings"), "EmbeddingBag": (0, "num_embeddings")}


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """A mark left out by the loss; labels counted from 0; an output or a row for each; a row for what is unknown; else a sentence with
    the labels that were seen."""
    given = case.origin.inputs if case.origin is not None else ()
    labels = next((one for one in given if "int" in one.dtype), None)
    table = next((one for one in given if dtype_facts(one.dtype) is not None and one.shape), None)
    offers = _marked(case, sources, labels)
    if not offers and labels is not None and table is not None and case.origin is not None:
        by_row = case.origin.op == "embedding"
        room = table.shape[0] if by_row or len(table.shape) < 2 else table.shape[1]
        low, high = finite(labels.min), finite(labels.max)
        if low is not None and high is not None and low >= 1.0 and high == room:
            offers += _from_zero(case, sources)
        if low is not None and high is not None and low >= 0.0 and high >= room:
            offers += _widened(sources, room, int(high) + 1 - room, _TABLES if by_row else _LAYERS)
        if low == -1.0 and high is not None and high < room and by_row:
            offers += _row_for_unknown(case, sources)
    if offers:
        return offers
    seen = f" Labels from {show(labels.min)} to {show(labels.max)} were given." if labels is not None else ""
    return [offered(__name__, sources, None, says=f"map the labels to 0 .. classes - 1, or give the network an output for each: which is "
                    f"meant cannot be told from the source.{seen}")]


def _marked(case: Case, sources: Mapping[str, str], labels: TensorStats | None) -> list[Remedy]:
    """The loss leaves out what is marked as having no label."""
    mark = next((one for one in MARKS if labels is not None and finite(labels.max if one > 0 else labels.min) == one), None)
    project = Project(sources)
    at = location(case)
    source = project.get(at.file)
    if mark is None or source is None or case.origin is None or case.origin.op == "embedding":
        return []
    found = [(source, one) for one in calls(source, at.line, *_LOSSES)]
    found = found or list(every_call(project, "CrossEntropyLoss", "NLLLoss"))
    if len(found) != 1:
        return []
    home, call = found[0]
    return [offered(__name__, sources, [home.set_keyword(call, "ignore_index", str(mark))], says=f"Leave out what is marked with {mark}")]


def _from_zero(case: Case, sources: Mapping[str, str]) -> list[Remedy]:
    """1 less where the loss, or the table, is given the labels."""
    scene = Scene(case, sources, named(*_LOSSES, "embedding"))
    source = scene.source
    if source is None or case.origin is None:
        return []
    node = scene.view.node if scene.view is not None else node_at(source, scene.at)
    if not isinstance(node, ast.Call):
        return []
    place = 0 if case.origin.op == "embedding" else 1
    method = scene.view is not None and scene.view.spelled == "method"
    labels = next((one.value for one in node.keywords if one.arg == ("target" if place else "input")), None)
    if labels is None:
        labels = node.args[place] if len(node.args) > place and not method else None
    if labels is None or isinstance(labels, ast.Starred):
        return []
    edits = [source.replace(labels, f"{source.operand(labels)} - 1")]
    return [offered(__name__, sources, edits, says=f"Count `{source.segment(labels)}` from 0")]


def _widened(sources: Mapping[str, str], room: int, more: int, kinds: Mapping[str, tuple[int, str]]) -> list[Remedy]:
    """The only layer, or table, that is built with as many outputs as there is room for gets `more` of them; where no size can be
    read, the only one whose size is not known."""
    project = Project(sources)
    known = [(source, size, _value(project, source, size)) for source, size in _sizes(project, kinds)]
    found = [(source, size) for source, size, value in known if value == room]
    found = found or [(source, size) for source, size, value in known if value is None]
    if len(found) != 1:
        return []
    source, size = found[0]
    shared = [one for home, one in _sizes(project, {**_TABLES, **_LAYERS}) if home is source and ast.dump(one) == ast.dump(size)]
    sizes = shared if isinstance(size, ast.Name) else [size]  # the table and the scores have one more, not what else is counted so
    edits = [source.replace(one, str(room + more) if number(one) is not None else f"{source.operand(one)} + {more}") for one in sizes]
    says = f"Make room for labels up to {room + more - 1}"
    return [offered(__name__, sources, edits, says=says, cost="it is another network: train it again")]


def _row_for_unknown(case: Case, sources: Mapping[str, str]) -> list[Remedy]:
    """The table that is asked for row -1 gets a row before its first one, and whoever asks it counts from there."""
    scene = Scene(case, sources)
    source = scene.source
    call = node_at(source, scene.at) if source is not None else None
    if source is None or not isinstance(call, ast.Call):
        return []
    built = named_value(source, call.func)
    size = _size(built, _TABLES) if isinstance(built, ast.Call) else None
    if not isinstance(built, ast.Call) or size is None:
        return []
    if len(built.args) > 2 or any(one.arg == "padding_idx" for one in built.keywords):
        return []  # the row of the padding would be another one
    name = ast.dump(call.func)
    asking = [one for one in ast.walk(source.class_of(call) or source.tree) if isinstance(one, ast.Call) and ast.dump(one.func) == name]
    if not all(one.args for one in asking):
        return []
    value = number(size)
    edits = [source.replace(size, f"{int(value) + 1}" if value is not None else f"{source.operand(size)} + 1")]
    edits += [source.replace(one.args[0], f"{source.operand(one.args[0])} + 1") for one in asking]
    return [offered(__name__, sources, edits, says="Give what is unknown, -1, a row of its own before the others",
                    cost="it is another network: train it again")]


def _sizes(project: Project, kinds: Mapping[str, tuple[int, str]]) -> Iterator[tuple[Source, ast.expr]]:
    """The numbers of outputs with which layers of `kinds` are built."""
    for source, call in every_call(project, *kinds):
        size = _size(call, kinds)
        if size is not None:
            yield source, size


def _size(call: ast.Call, kinds: Mapping[str, tuple[int, str]]) -> ast.expr | None:
    """The number of outputs with which a layer of `kinds` is built."""
    if called(call) not in kinds:
        return None
    place, name = kinds[called(call)]
    size = given(call, name, place)
    return None if isinstance(size, ast.Starred) else size


def _value(project: Project, source: Source, node: ast.expr) -> float | None:
    """The number that `node` is, where its text says so: a number, a name of one, the length of a list that is written out."""
    for made in project.made(source, node):
        value = number(made.value)
        if value is not None:
            return value
        if isinstance(made.value, ast.Name):
            named_so = module_value(made.source, made.value)
            if named_so is not None and number(named_so) is not None:
                return number(named_so)
        if isinstance(made.value, ast.Call) and called(made.value) == "len" and len(made.value.args) == 1:
            return _length(project, made.source, made.value.args[0])
    return None


def _length(project: Project, source: Source, node: ast.expr) -> float | None:
    for made in project.made(source, node):
        listed = module_value(made.source, made.value) if isinstance(made.value, ast.Name) else None
        for one in (made.value, listed):
            if isinstance(one, (ast.List, ast.Tuple, ast.Set)) and not any(isinstance(x, ast.Starred) for x in one.elts):
                return float(len(one.elts))
            if isinstance(one, ast.Dict) and None not in one.keys:
                return float(len(one.keys))
    return None
