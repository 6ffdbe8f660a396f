"""State that cannot be put back is said to be so, and long containers are put back by their length."""

from __future__ import annotations

from pathlib import Path

import pytest
from restoring import Restoring, module_level, outcome

from stayfinite.rewrite.undo import DICT_LIMIT, LIST_LIMIT

REFUSED = {
    "iterator": ("it = iter(range(100))\nout = []", "for v in it:\n    out.append(v)\n    break", "out"),
    "generator": ("def g():\n    while True:\n        yield 1\nit = g()\nout = []", "out.append(it.send(None))", "out"),
    "queue": ("import queue\nq = queue.Queue()", "q.put(n)", "q.qsize()"),
    "shortened": ("out = list(range(99))\ndef cut(rows): rows.pop()", "cut(out)", "len(out)"),
    "set": ("s = set(range(99))\ndef note(numbers): numbers.add(-1)", "note(s)", "len(s)"),
    "closed-file": ("f = open(PATH, 'w')", "if not f.closed: f.write('x'); f.close()", "f.closed"),
}
"""Programs whose block cannot be repeated: it must be said, and nothing may be lost."""


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_put_back_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Restoring()
    source = module_level(*REFUSED[name])
    plain = outcome(source, None, tmp_path, monkeypatch)
    assert outcome(source, driver, tmp_path, monkeypatch) == plain
    assert driver.refused


LONG = {
    "list-grows": ("seen = list(range(5000))", "seen.append(n)", "len(seen), seen[-3:]"),
    "dict-grows": ("d = dict.fromkeys(range(5000), 0)", "d[-n - 1] = 1", "len(d)"),
    "set": ("s = set(range(5000))", "s.add(-n)", "len(s)"),
    "deque": ("from collections import deque\nq = deque(range(5000), 5000)", "q.append(n)", "list(q)[-3:], q[0]"),
}


@pytest.mark.parametrize("name", sorted(LONG))
def test_long_containers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, driver = module_level(*LONG[name]), Restoring()
    plain = outcome(source, None, tmp_path, monkeypatch)
    assert outcome(source, driver, tmp_path, monkeypatch) == plain


MIDDLE = {
    "list-item": ("d = list(range(5000))", "d[0] += 1", "d[0]"),
    "list-swap": ("d = list(range(5000))", "d[0], d[-1] = d[-1], d[0]", "d[0], d[-1]"),
    "list-sort": ("d = list(range(5000, 0, -1))", "d.sort(key=lambda v: (v + n) % 7)", "d[:9]"),
    "list-insert": ("d = list(range(5000))", "d.insert(n, -n)", "d[:9], len(d)"),
    "list-delete": ("d = list(range(5000))", "del d[n]", "d[:9], len(d)"),
    "list-shuffle": ("import random\nr = random.Random(3)\nd = list(range(5000))", "r.shuffle(d)", "d[:9]"),
    "list-heap": ("import heapq\nd = list(range(5000))", "heapq.heapreplace(d, 9 - n)", "d[:9]"),
    "list-slice": ("d = list(range(5000))", "d[2:4] = [n]", "d[:9], len(d)"),
    "nested": ("d = {'a': list(range(5000))}", "d['a'][0] += 1", "d['a'][0]"),
    "dict-item": ("d = dict.fromkeys(range(5000), 0)", "d[0] += 1", "d[0]"),
    "dict-pop": ("d = dict.fromkeys(range(5000), 0)", "d.pop(n); d[-1 - n] = 1", "list(d)[:5], list(d)[-3:]"),
    "ring": (
        "class Memory:\n"
        "    def __init__(self): self.rows, self.place = list(range(5000)), 0\n"
        "    def push(self, v):\n"
        "        self.rows[self.place] = v; self.place = (self.place + 1) % 5000\n"
        "m = Memory()",
        "m.push(-n)", "m.rows[:5], m.place",
    ),
    "argument": ("d = [0] * 5\ndef count(rows): rows[0] += 1", "count(d)", "d"),
    "argument-dict": ("d = {'a': 0}\ndef count(rows): rows['a'] += 1", "count(d)", "d"),
    "argument-attribute": ("class M: pass\nm = M()\nm.h = [0]\ndef count(rows): rows[0] += 1", "count(m.h)", "m.h"),
}
"""Elements that are replaced, removed and moved."""


@pytest.mark.parametrize("name", sorted(MIDDLE))
def test_elements_replaced_in_the_middle(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, driver = module_level(*MIDDLE[name]), Restoring()
    plain = outcome(source, None, tmp_path, monkeypatch)
    assert outcome(source, driver, tmp_path, monkeypatch) == plain
    assert driver.refused is None


TOO_LONG = {
    "list": (LIST_LIMIT + 1, "d = [0] * {}"),
    "dict": (DICT_LIMIT + 1, "d = dict.fromkeys(range({}), 0)"),
}


@pytest.mark.parametrize("name", sorted(TOO_LONG))
def test_what_is_too_long_to_be_copied_is_not_repeated(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    length, before = TOO_LONG[name]
    source, driver = module_level(before.format(length) + "\nk = 0", "k += 1\nd[0] += k", "d[0], k"), Restoring()
    plain = outcome(source, None, tmp_path, monkeypatch)
    assert outcome(source, driver, tmp_path, monkeypatch) == plain
    assert driver.refused == f"it replaces elements of a {name} of {length}, which is too long to be copied in each step"


def test_what_only_grows_may_be_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, driver = module_level(f"d = [0] * {LIST_LIMIT + 1}", "d.append(n); d += [n]; d.extend([n])", "d[-9:]"), Restoring()
    plain = outcome(source, None, tmp_path, monkeypatch)
    assert outcome(source, driver, tmp_path, monkeypatch) == plain
    assert driver.refused is None
