"""The loop of a script makes way for one pass over stored names, and the rest of its text stays as it is."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from stayfinite.rewrite.export import CannotExport, runtime_text, splice


def layout(line: int, function: str = "<module>", **more: Any) -> dict[str, Any]:
    """What a stored step says of its loop, with `x` in its only pass."""
    stored = {"names": {"x": 1}, "items": [], "stepped": 1, "places": []}
    block = {"file": "train.py", "line": line, "function": function}
    return {"block": block, "passes": [stored], "optimizers": [], "places": [], **more}


def export(source: str, folder: Path, function: str = "<module>", **more: Any) -> str:
    """`source` with the loop whose line says `# here` spliced."""
    source = PRELUDE + textwrap.dedent(source).lstrip("\n")
    path = folder / "train.py"
    path.write_bytes(source.encode())
    line = next(number for number, text in enumerate(source.splitlines(), 1) if "# here" in text)
    text, future, docstring = splice(path.read_bytes(), str(path), layout(line, function, **more))
    assert not future and not docstring
    return text


def run(text: str) -> list[Any]:
    """Execute exported `text` with a stand-in for the stored step; gives what `seen` collected."""

    class Stand:
        def at(self, names: dict[str, Any]) -> Any:
            return self

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: Any) -> None:
            raise SystemExit

        def __iter__(self) -> Any:
            return iter([{"x": "stored"}])

        def __getitem__(self, name: str) -> str:
            return f"stored {name}"

        def next(self, iterator: Any, *default: Any) -> Any:
            return "stored item"

    seen: list[Any] = []
    with pytest.raises(SystemExit):
        exec(compile(text, "train.py", "exec"), {"failing_step": Stand(), "seen": seen, "__name__": "__main__"})
    return seen


PRELUDE = """\
class Loss:
    def backward(self):
        seen.append("backward")

opt = type("Optimizer", (), {"step": lambda self: seen.append("step")})()

def take(step=None):
    Loss().backward()
    opt.step()

"""
TAKEN = ["backward", "step"]


def test_module_level(tmp_path: Path) -> None:
    text = export(
        """
        for x in range(9):  # here
            seen.append(x)
            take()
            print("tail")
        seen.append("after")
        """,
        tmp_path,
    )
    assert run(text) == ["stored", *TAKEN]
    assert "tail" not in text and 'seen.append("after")' in text


@pytest.mark.parametrize("leave", ["return x", "break", "continue"])
def test_inside_a_function_with_ways_out(tmp_path: Path, leave: str) -> None:
    text = export(
        f"""
        def main():
            for x in range(9):  # here
                if x:
                    seen.append(x)
                    {leave}
                take()

        main()
        """,
        tmp_path, "main",
    )
    assert run(text) == ["stored"]


@pytest.mark.parametrize("indent", ["\t", "  ", " " * 8])
def test_any_indentation(tmp_path: Path, indent: str) -> None:
    source = """
        def main():
            for x in range(9):  # here
                if x:
                    seen.append(x)

                take()

        main()
        """
    source = textwrap.dedent(source).replace("    ", indent)
    assert run(export(source, tmp_path, "main")) == ["stored", *TAKEN]


def test_a_loop_on_one_line(tmp_path: Path) -> None:
    assert run(export("for x in range(9): l = x; seen.append(l); take()  # here\n", tmp_path)) == ["stored", *TAKEN]


def test_lines_inside_strings_keep_their_place(tmp_path: Path) -> None:
    source = (
        "for x in range(9):  # here\n"
        '    text = """one\n  two\n        three"""\n'
        "    seen.append(text)\n"
        '    name = f"""{x}\n  end"""\n'
        "    seen.append(name)\n"
        "    take(\n  )\n"
    )
    assert run(export(source, tmp_path)) == ["one\n  two\n        three", "stored\n  end", *TAKEN]


def test_a_header_of_several_lines_with_a_comment_below(tmp_path: Path) -> None:
    text = export(
        """
        for x in range(  # here
            9
        ):
            # why

            seen.append(x)
            take()
        else:
            seen.append("else")
        """,
        tmp_path,
    )
    assert run(text) == ["stored", *TAKEN]


def test_next_asks_the_stored_step(tmp_path: Path) -> None:
    source = """
        it = iter("ab")

        def get():
            return next(it), next(iter([1]))

        while True:  # here
            seen.append(get())
            take()
        """
    passes = [{"names": {}, "items": [["b"]], "stepped": 1, "places": []}]
    assert run(export(source, tmp_path, passes=passes)) == [("stored item", 1), *TAKEN]
    with pytest.raises(CannotExport, match="`next` in another module"):
        export(source.replace("next(it), ", ""), tmp_path, passes=passes)


def test_the_surrounding_names_of_a_function(tmp_path: Path) -> None:
    source = """
        def main(epoch=0):
            for x in range(3):  # here
                seen.append(epoch)
                take()

        main()
        """
    places = [{"path": [["local", "epoch"]], "value": 7}, {"path": [["free", "y"]], "value": 7}]
    assert run(export(source, tmp_path, "main", places=places)) == ["stored epoch", *TAKEN]


def test_names_that_only_some_passes_have(tmp_path: Path) -> None:
    source = """
        for x in range(9):  # here
            seen.append(x)
            take()
        """
    one = {"names": {"x": 1}, "items": [], "stepped": 0, "places": []}
    two = {"names": {"x": 1, "total": 2}, "items": [], "stepped": 1, "places": []}
    text = export(source, tmp_path, passes=[one, two])
    assert "if 'total' in failing_pass: total = failing_pass['total']" in text
    assert run(text) == ["stored", *TAKEN]


def test_what_must_stand_first_does(tmp_path: Path) -> None:
    head = '"""What it is."""\nfrom __future__ import annotations\n'
    source = head + PRELUDE + "for x in range(9):\n    take()\n"
    line = len(source.splitlines()) - 1
    text, future, docstring = splice(source.encode(), str(tmp_path / "train.py"), layout(line))
    assert future == ["from __future__ import annotations"] and docstring == "What it is."
    assert "__future__" not in text


def test_other_encodings_and_line_ends(tmp_path: Path) -> None:
    source = "# -*- coding: latin-1 -*-\n" + PRELUDE + "for x in range(9):\n    seen.append('\xe9')\n    take()\n"
    line = len(source.splitlines()) - 2
    content = source.replace("\n", "\r\n").encode("latin-1")
    text, _, _ = splice(content, str(tmp_path / "train.py"), layout(line))
    assert run(text) == ["é", *TAKEN]


def test_a_name_without_value_is_refused(tmp_path: Path) -> None:
    stored = {"names": {"x": {"kind": "opaque", "type": "Image"}}, "items": [], "stepped": 1, "places": []}
    with pytest.raises(CannotExport, match="`x`, which the loop hands to its body, is no plain value: Image"):
        export("for x in range(9):  # here\n    take(x)\n", tmp_path, passes=[stored])


def test_a_line_without_loop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotExport, match=r"line \d+ of train\.py is no training loop"):
        export("x = 1  # here\n", tmp_path)


def test_an_optimizer_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotExport, match="no name in the script leads from the loop to its Adam"):
        export("for x in range(9):  # here\n    take(x)\n", tmp_path, optimizers=[{"path": None, "type": "Adam"}])


def test_our_classes_do_not_meet_the_names_of_the_script() -> None:
    modules = ['"""Doc."""\nfrom __future__ import annotations\nimport json\n\nclass A:\n    """What."""\n    x = 1\n',
               "import json\nfrom stayfinite.one import A\n\nclass B(A):\n    pass\n"]
    text = runtime_text(modules)
    assert "stayfinite" not in text and "__future__" not in text
    namespace: dict[str, Any] = {}
    exec(f"def make():\n{text}\n    return B\n", namespace)
    assert namespace["make"]().x == 1
    assert set(namespace) == {"make", "__builtins__"}
