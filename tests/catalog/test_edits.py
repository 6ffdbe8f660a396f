"""Edits of source text: only the span changes, whatever stands round it."""

from __future__ import annotations

import ast
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stayfinite.catalog.edits.changes import fix_of, patched
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project, assigned
from stayfinite.catalog.edits.views import view
from stayfinite.records.fix import CannotApply, Edit, Fix, apply, offset, split_lines

TEXT = st.text(st.sampled_from("ab =()#é漢🙂\t\n\r\x0c\u2028"), max_size=60)


@given(TEXT)
def test_lines_are_cut_where_python_cuts_them(text: str) -> None:
    lines = split_lines(text)
    assert "".join(lines) == text
    assert len(lines) == text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1


@given(TEXT, st.data())
def test_an_edit_changes_its_span_only(text: str, data: st.DataObject) -> None:
    lines = split_lines(text)
    places = [
        (number, len(line[:at].encode()))
        for number, line in enumerate(lines, 1) for at in range(len(line.rstrip("\r\n")) + 1)
    ]
    first, second = sorted(data.draw(st.tuples(st.sampled_from(places), st.sampled_from(places))))
    start, end = offset(lines, *first), offset(lines, *second)
    after = apply(text, [Edit("a.py", *first, *second, "NEW")])
    assert after == text[:start] + "NEW" + text[end:]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5))
def test_edits_that_overlap_are_refused_and_others_all_made(pairs: list[tuple[int, int]]) -> None:
    spans = [(min(pair), max(pair)) for pair in pairs]
    edits = [Edit("a.py", 1, start, 1, end, "<>") for start, end in spans]
    ordered = sorted(spans)
    overlap = any(b < a_end for (_, a_end), (b, _) in pairwise(ordered))
    if overlap:
        with pytest.raises(CannotApply, match="overlap"):
            apply("0123456789", edits)
        return
    after = apply("0123456789", edits)
    assert after.count("<>") == len(edits)
    kept = "".join(digit for at, digit in enumerate("0123456789") if not any(start <= at < end for start, end in spans))
    assert after.replace("<>", "") == kept


def test_a_line_that_has_changed_is_named() -> None:
    edit = Edit("sub/a.py", 2, 0, 2, 1, "y", before="x = 1\n")
    assert apply("a\r\nx = 1\r\n", [edit]) == "a\r\ny = 1\r\n"
    with pytest.raises(CannotApply, match=r"sub/a\.py:2 is no longer what it was: it reads 'z = 1' and was 'x = 1'") as told:
        apply("a\nz = 1\n", [edit])
    assert (told.value.file, told.value.line) == ("sub/a.py", 2)
    with pytest.raises(CannotApply, match="no line 9"):
        apply("a\n", [Edit("a.py", 9, 0, 9, 0, "x")])
    with pytest.raises(CannotApply, match="no column 7"):
        apply("a\n", [Edit("a.py", 1, 7, 1, 7, "x")])


SCRIPT = '''"""Doc."""
import torch  # the library


def f(x, größe):
\tif x is None: return 0
\twerte = torch.log(  # ein Logarithmus
\t\tgröße,
\t)  # Ende
\treturn g(werte, (1), k=2)
'''


def node_of(source: Source, text: str) -> ast.expr:
    return next(one for one in ast.walk(source.tree) if isinstance(one, ast.expr) and source.segment(one) == text)


def after(source: Source, *edits: Edit | None) -> str:
    assert all(edits)
    return apply(source.text, [edit for edit in edits if edit is not None])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_statements_and_arguments_are_put_where_they_belong(newline: str) -> None:
    source = Source("train.py", SCRIPT.replace("\n", newline))
    log = next(one for one in ast.walk(source.tree) if isinstance(one, ast.Call) and source.segment(one).startswith("torch.log"))
    statement = source.statement(log)
    assert statement is not None
    text = after(source, source.insert_before(statement, "a = 1"), source.insert_after(statement, "b = 2"),
                 source.set_keyword(log, "out", "None"), source.importing("import math"))
    expected = SCRIPT.replace("\twerte =", "\ta = 1\n\twerte =").replace("# Ende\n", "# Ende\n\tb = 2\n").replace(
        "\t\tgröße,\n", "\t\tgröße,\n\t\tout=None,\n").replace("# the library\n", "# the library\nimport math\n")
    assert text == expected.replace("\n", newline)
    ast.parse(text)


def test_arguments_behind_parentheses_and_keywords() -> None:
    source = Source("a.py", "f()\ng((1))\nh(*a)\ni(a, lr=0.1)\nj(x for x in y)\n")
    calls = [one for one in ast.walk(source.tree) if isinstance(one, ast.Call)]
    made = [source.set_keyword(call, "lr", "2") for call in calls]
    assert made[2] is None and made[4] is None
    assert after(source, made[0], made[1], made[3]) == "f(lr=2)\ng((1), lr=2)\nh(*a)\ni(a, lr=2)\nj(x for x in y)\n"
    assert source.set_keyword(calls[3], "a", "5", position=0) == source.replace(calls[3].args[0], "5")


def test_no_statement_is_put_where_none_fits() -> None:
    source = Source("a.py", "if a: b = 1\nelif c:\n    d = 1; e = 2\n")
    b, d, e = [one for one in ast.walk(source.tree) if isinstance(one, ast.Assign)]
    branch = source.tree.body[0].orelse[0]  # type: ignore[attr-defined]
    assert source.insert_before(b, "x") is None
    assert source.insert_before(branch, "x") is None
    assert source.insert_after(d, "x") is None
    assert source.insert_after(e, "x") is None


@pytest.mark.parametrize(("imports", "spelled", "added"), [
    ("import torch.nn.functional as F\n", "F.log_softmax", 0),
    ("from torch.nn import functional as fun\n", "fun.log_softmax", 0),
    ("from torch import nn\n", "nn.functional.log_softmax", 0),
    ("import torch\n", "torch.nn.functional.log_softmax", 0),
    ("from torch.nn.functional import log_softmax\n", "log_softmax", 0),
    ("import numpy as np\n", "torch.nn.functional.log_softmax", 1),
])
def test_names_are_spelled_by_the_imports_there_are(imports: str, spelled: str, added: int) -> None:
    source = Source("a.py", f"{imports}\n\ndef f(x):\n    return x\n")
    name, edits = source.spelled("torch.nn.functional.log_softmax", source.tree.body[-1])
    assert (name, len(edits)) == (spelled, added)


def test_a_name_that_is_an_argument_is_no_import() -> None:
    source = Source("a.py", "import torch\nimport torch.nn.functional as F\n\n\ndef f(F, x):\n    return F.softmax(x)\n")
    call = node_of(source, "F.softmax(x)")
    assert view(source, call).spelled == "method"  # type: ignore[union-attr]
    assert source.spelled("torch.nn.functional.relu", call)[0] == "torch.nn.functional.relu"


@pytest.mark.parametrize(("body", "value"), [
    ("p = a(x)\n    y = p", "a(x)"),
    ("p = a(x)\n    if x:\n        y = p", "a(x)"),
    ("if x:\n        p = a(x)\n    y = p", None),
    ("if x:\n        p = a(x)\n    else:\n        y = p", None),
    ("p = a(x)\n    p = b(p)\n    y = p", "b(p)"),
    ("p = a(x)\n    if x:\n        p = 2\n    y = p", None),
    ("p = a(x)\n    for p in x: pass\n    y = p", None),
    ("p, q = a(x)\n    y = p", None),
    ("p = a(x)\n    p += 1\n    y = p", None),
    ("y = (p := a(x)) + p", "a(x)"),
])
def test_what_a_name_was_given(body: str, value: str | None) -> None:
    source = Source("a.py", f"def f(x):\n    {body}\n")
    name = max((one for one in ast.walk(source.tree) if isinstance(one, ast.Name) and one.id == "p"
                and isinstance(one.ctx, ast.Load)), key=lambda one: (one.lineno, one.col_offset))
    hop = assigned(source, name)
    assert (source.segment(hop.value) if hop is not None else None) == value


def test_an_argument_is_followed_to_the_only_call() -> None:
    caller = "from b import loss\n\n\ndef run(m, x):\n    return loss(m(x), 1)\n"
    sources = {"a.py": caller, "b.py": "def loss(p, y):\n    return p.log()\n"}
    project = Project(sources)
    source = project.sources["b.py"]
    name = next(one for one in ast.walk(source.tree) if isinstance(one, ast.Name) and one.id == "p" and isinstance(one.ctx, ast.Load))
    found = list(project.made(source, name))
    assert [made.source.segment(made.value) for made in found] == ["p", "m(x)"]
    twice = Project({**sources, "c.py": "from b import loss\nloss(1, 2)\n"})
    assert len(list(twice.made(twice.sources["b.py"], node_of(twice.sources["b.py"], "p")))) == 1


def test_a_fix_is_a_patch_that_patch_applies(tmp_path: Path) -> None:
    text = SCRIPT.replace("\n", "\r\n") + "ende = 1"  # and no line end at the end
    source = Source("train.py", text)
    log = next(one for one in ast.walk(source.tree) if isinstance(one, ast.Call) and source.segment(one).startswith("torch.log"))
    last = source.tree.body[-1]
    fix = fix_of({"train.py": text}, [source.replace(log.args[0], "größe + 1"), source.replace(last, "ende = 2")])
    assert fix is not None
    wanted = patched({"train.py": text}, fix)["train.py"]
    (tmp_path / "train.py").write_bytes(text.encode())
    done = subprocess.run(["git", "apply", "-p1", "-"], cwd=tmp_path, input=fix.diff.encode(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "train.py").read_bytes().decode() == wanted


def test_what_is_no_python_is_no_fix() -> None:
    sources = {"a.py": "x = 1\n"}
    assert fix_of(sources, [Edit("a.py", 1, 4, 1, 5, "(")]) is None
    assert fix_of(sources, [Edit("a.py", 1, 4, 1, 5, "1")]) is None
    assert fix_of(sources, [Edit("b.py", 1, 0, 1, 0, "y")]) is None
    assert fix_of(sources, [None]) is None
    with pytest.raises(CannotApply, match=r"no source of b\.py"):
        patched(sources, Fix((Edit("b.py", 1, 0, 1, 0, "y"),)))
