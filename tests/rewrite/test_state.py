"""What a block may change is put back before it runs again: containers, attributes, names, files, generators.

Each program runs plain and with every pass through its loop repeated twice; it must come to the same. Half of them
change an object under another name than the one it has elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from restoring import Restoring, in_function, module_level, outcome

STATE = {
    "list": ("seen = []", "seen.append(n)", "seen"),
    "list-iadd": ("seen = []\nalias = seen", "alias += [n]", "seen"),
    "list-item": ("seen = [0, 0, 0]", "seen[n] += n; seen[0] = 9", "seen"),
    "list-slice": ("seen = [0, 0, 0]", "seen[1:] = [n] * 4", "seen"),
    "list-sort": ("seen = [3, 1, 2]", "seen.sort(); seen.append(0)", "seen"),
    "list-del": ("seen = [1, 2, 3, 4, 5]", "del seen[0]", "seen"),
    "list-pop": ("seen = [1, 2, 3, 4, 5]\nout = []", "out.append(seen.pop())", "seen, out"),
    "nested": ("d = {'a': [1, {'b': set()}]}", "d['a'][1]['b'].add(n); d['a'].append(n)", "d"),
    "dict": ("d = {}", "d[n] = d.get(n - 1, 0) + 1; d.setdefault('x', []).append(n)", "d"),
    "dict-order": ("d = {'a': 1, 'b': 2, 'c': 3}", "v = d.pop(next(iter(d))); d['z%d' % n] = v", "list(d.items())"),
    "dict-ior": ("d = {}", "d |= {n: 1}", "d"),
    "set": ("s = {1, 2}", "s |= {n}; s.discard(2); s ^= {7}", "s"),
    "deque": ("from collections import deque\nq = deque([9, 8], maxlen=2)", "q.append(n)", "list(q), q.maxlen"),
    "deque-rotate": (
        "from collections import deque\nq = deque([1, 2, 3])",
        "q.rotate(1); q.appendleft(n)", "list(q)",
    ),
    "counter": (
        "from collections import Counter\nc = Counter('ab')",
        "c['a'] += 1; c.update('bc'); c.subtract('c')", "c",
    ),
    "ordered": (
        "from collections import OrderedDict\no = OrderedDict(a=1, b=2)",
        "o.move_to_end(next(iter(o))); o[n] = n", "list(o.items())",
    ),
    "defaultdict": ("from collections import defaultdict\nd = defaultdict(list)", "d[n % 2].append(n)", "dict(d)"),
    "defaultdict-read": ("from collections import defaultdict\nd = defaultdict(list)", "x = d[n]", "dict(d)"),
    "userdict": ("from collections import UserDict\nd = UserDict()", "d['k'] = d.get('k', 0) + 1", "dict(d)"),
    "attribute": (
        "class M:\n"
        "    def __init__(self): self.n = 0; self.all = []\n"
        "    def update(self, v):\n"
        "        self.n += v; self.all.append(v)\n"
        "m = M()",
        "m.update(1)", "m.n, m.all",
    ),
    "attribute-direct": (
        "class M: pass\nm = M()\nm.n = 0",
        "m.n += 1; m.new = getattr(m, 'new', 0) + 1", "m.n, m.new",
    ),
    "attribute-deep": ("class M: pass\nm = M(); m.a = M(); m.a.b = M(); m.a.b.n = 0", "m.a.b.n += 1", "m.a.b.n"),
    "attribute-of-list": (
        "class M: pass\nms = [M(), M()]\nfor m in ms: m.n = 0",
        "ms[n % 2].n += 1", "[m.n for m in ms]",
    ),
    "slots": (
        "class M:\n"
        "    __slots__ = ('n', 'late')\n"
        "    def __init__(self): self.n = 0\n"
        "    def add(self): self.n += 1; self.late = getattr(self, 'late', 0) + 1\n"
        "m = M()",
        "m.add()", "m.n, m.late",
    ),
    "dataclass": (
        "from dataclasses import dataclass, field\n"
        "@dataclass\n"
        "class M:\n"
        "    n: int = 0\n"
        "    all: list = field(default_factory=list)\n"
        "m = M()",
        "m.n += 1; m.all.append(n)", "m",
    ),
    "dataclass-slots": (
        "from dataclasses import dataclass, field\n"
        "@dataclass(slots=True)\n"
        "class M:\n"
        "    n: int = 0\n"
        "    all: list = field(default_factory=list)\n"
        "m = M()",
        "m.n += 1; m.all.append(n)", "m",
    ),
    "property": (
        "class M:\n"
        "    _n = 0\n"
        "    @property\n"
        "    def n(self): return self._n\n"
        "    @n.setter\n"
        "    def n(self, v): self._n = v\n"
        "m = M()",
        "m.n += 1", "m.n",
    ),
    "class-attribute": (
        "class M:\n"
        "    total = 0\n"
        "    @classmethod\n"
        "    def add(cls): cls.total += 1\n"
        "    @staticmethod\n"
        "    def more(): M.total += 10\n"
        "",
        "M.add(); M.more(); M.total += 100", "M.total",
    ),
    "class-attribute-list": (
        "class M:\n    all = []\n    def add(self): self.all.append(1)\nm = M()",
        "m.add()", "M.all",
    ),
    "mangled": (
        "class M:\n    def __init__(self): self.__n = 0\n    def add(self): self.__n += 1\nm = M()",
        "m.add()", "vars(m)",
    ),
    "setattr": ("class M: n = 0\nm = M()", "setattr(m, 'n', m.n + 1)", "m.n"),
    "vars-update": ("class M: pass\nm = M()\nm.n = 0", "m.__dict__.update(n=m.n + 1)", "m.n"),
    "namespace": (
        "from types import SimpleNamespace\nm = SimpleNamespace(n=0, all=[])",
        "m.n += 1; m.all.append(n)", "m",
    ),
    "namespace-argparse": (
        "import argparse\nm = argparse.Namespace(n=0, best=[])",
        "m.n += 1; m.best.append(n)", "m",
    ),
    "namedtuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'a b')\np = P([], {})",
        "p.a.append(n); p.b[n] = 1", "p",
    ),
    "tuple": ("p = ([], {})", "p[0].append(n); p[1][n] = 1", "p"),
    "global": ("total = 0\ndef add():\n    global total\n    total += 1", "add()", "total"),
    "global-list": ("seen = []\ndef add(v): seen.append(v)", "add(n)", "seen"),
    "global-through-two": (
        "total = 0\ndef inner():\n    global total\n    total += 1\ndef outer(): inner()",
        "outer()", "total",
    ),
    "closure": (
        "def make():\n"
        "    total, all = 0, []\n"
        "    def add(v):\n"
        "        nonlocal total\n"
        "        total += v; all.append(v)\n"
        "        return total, all\n"
        "    return add\n"
        "add = make()",
        "x = add(1)", "add(0)",
    ),
    "function-attribute": ("def f():\n    f.calls += 1\nf.calls = 0", "f()", "f.calls"),
    "default-argument": ("def f(v, seen=[]):\n    seen.append(v)\n    return seen", "x = f(n)", "f(9)"),
    "bound-method": ("class M:\n    n = 0\n    def add(self): self.n += 1\nadd = M().add", "add()", "add.__self__.n"),
    "partial": (
        "import functools\ndef record(where, v): where.append(v)\nseen = []\nadd = functools.partial(record, seen)",
        "add(n)", "seen",
    ),
    "lambda": ("seen = []\nadd = lambda v: seen.append(v)", "add(n)", "seen"),
    "call-object": (
        "class M:\n"
        "    def __init__(self): self.n = 0\n"
        "    def __call__(self, v): self.n += v; return self.n\n"
        "m = M()",
        "x = m(1)", "m.n",
    ),
    "iadd-object": (
        "class M:\n    def __init__(self): self.n = 0\n    def __iadd__(self, v): self.n += v; return self\nm = M()",
        "m += 1", "m.n",
    ),
    "getitem-object": (
        "class M:\n    def __init__(self): self.n = 0\n    def __getitem__(self, i): self.n += 1; return i\nm = M()",
        "x = m[0]", "m.n",
    ),
    "generator": (
        "def g():\n    v = 0\n    while True:\n        v += 1\n        yield v\nit = g()\nout = []",
        "out.append(next(it))", "out",
    ),
    "random": ("import random\nr = random.Random(0)\nout = []", "out.append(r.random())", "out"),
    "numpy": ("import numpy\nr = numpy.random.default_rng(0)\nout = []", "out.append(int(r.integers(100)))", "out"),
    "bytearray": ("b = bytearray(3)", "b[0] += 1; b.append(n)", "b"),
    "array": ("import array\na = array.array('i', [0])", "a[0] += 1; a.append(n)", "a"),
    "heap": ("import heapq\nh = [5]", "heapq.heappush(h, -n); x = heapq.heappop(h)", "h"),
    "stringio": ("import io\nf = io.StringIO()", "f.write(str(n))", "f.getvalue()"),
    "bytesio": ("import io\nf = io.BytesIO(b'abcdef')\nout = []", "out.append(f.read(1))", "out"),
    "file-write": ("f = open(PATH, 'w')", "f.write(str(n)); print(n, file=f)", "(f.close(), open(PATH).read())"),
    "file-read": ("open(PATH, 'w').write('abcdef')\nf = open(PATH)\nout = []", "out.append(f.read(1))", "out"),
    "file-lines": (
        "open(PATH, 'w').write('a\\nb\\nc\\nd\\n')\nf = open(PATH)\nout = []",
        "out.append(f.readline())", "out",
    ),
    "csv": (
        "import csv\nf = open(PATH, 'w')\nw = csv.writer(f)",
        "w.writerow([n])", "(f.close(), open(PATH).read())",
    ),
    "long-list": ("seen = list(range(5000))", "seen.append(n)", "len(seen), seen[-3:]"),
    "long-dict": ("d = dict.fromkeys(range(5000), 0)", "d[-n - 1] = 1", "len(d)"),
    "long-set": ("s = set(range(5000))", "s.add(-n)", "len(s)"),
    "names": ("a = 0\nb = None", "a += 1\nif n == 1: b = a\nc = b", "a, b, c"),
    "del-name": ("a = 5", "a += 1; t = a; del t", "a, 't' in globals()"),
    "unpacking": ("a, b = 0, 1", "a, (b, *rest) = b, (a + b, n, n)", "a, b, rest"),
    "walrus": ("a = 0", "x = [(a := a + 1) for _ in range(2)]", "a, x"),
    "with-as": (
        "import io\nseen = []",
        "with io.StringIO() as f:\n    f.write(str(n)); seen.append(f.getvalue())", "seen",
    ),
    "import-in-loop": ("", "import json as j\nx = j.dumps(n)", "x"),
    "match": ("a = 0", "match {'k': n, 'z': 1}:\n    case {'k': v, **rest}:\n        a += v", "a, v, rest"),
    "nested-for": ("seen = []", "for k in range(2):\n    seen.append(k)", "seen, k"),
    "weak": (
        "import weakref\nclass K: pass\nk = K()\nw = weakref.WeakKeyDictionary()\n",
        "w[k] = w.get(k, 0) + 1", "w[k]",
    ),
    "enum-counter": ("import itertools\nc = itertools.count()\nout = []", "out.append(next(c))", "out"),
    "in-tuple-object": ("class M:\n    n = 0\npair = (M(), 1)", "pair[0].n += 1", "pair[0].n"),
    "dict-values-objects": ("class M:\n    n = 0\nms = {'a': M()}", "for m in ms.values(): m.n += 1", "ms['a'].n"),
    "swap": ("a, b = [1], [2]", "a, b = b, a; a.append(n)", "a, b"),
    "self-cycle": ("class M: pass\nm = M(); m.me = m; m.n = 0", "m.me.n += 1", "m.n"),
    "inherited": (
        "class A:\n"
        "    def __init__(self): self.n = 0\n"
        "    def add(self): self.n += 1\n"
        "class B(A):\n"
        "    def add(self):\n"
        "        super().add(); self.m = self.n\n"
        "m = B()",
        "m.add()", "m.n, m.m",
    ),
    "list-subclass": (
        "class L(list):\n    def put(self, v): self.append(v); self.last = v\nm = L()",
        "m.put(n)", "m, m.last",
    ),
    "dict-subclass": (
        "class L(dict):\n    def put(self, v): self[v] = 1; self.last = v\nm = L()",
        "m.put(n)", "m, m.last",
    ),
    "dict-attr": (
        "class A(dict):\n    __getattr__ = dict.__getitem__\n    __setattr__ = dict.__setitem__\nm = A(n=0)",
        "m.n += 1", "m",
    ),
    "passed-argument": ("seen = []\ndef record(where, v): where.append(v)", "record(seen, n)", "seen"),
    "passed-keyword": ("seen = []\ndef record(v, where): where.append(v)", "record(n, where=seen)", "seen"),
    "passed-attribute": (
        "class M: pass\nm = M()\nm.h = []\ndef record(where, v): where.append(v)",
        "record(m.h, n)", "m.h",
    ),
    "passed-object": ("class M: pass\nm = M()\nm.n = 0\ndef record(where): where.n += 1", "record(m)", "m.n"),
    "passed-dict": ("h = {'loss': []}\ndef record(history, v): history['loss'].append(v)", "record(h, n)", "h"),
    "passed-star": ("a, b = [], []\ndef record(*all):\n    for x in all: x.append(1)", "record(a, b)", "a, b"),
    "passed-to-method": (
        "seen = []\nclass M:\n    def record(self, where, v): where.append(v)\nm = M()",
        "m.record(seen, n)", "seen",
    ),
    "passed-to-constructor": (
        "seen = []\nclass M:\n    def __init__(self, where): self.w = where; where.append(1)\n",
        "m = M(seen)", "seen",
    ),
    "alias-in-block": ("h = {'loss': []}", "x = h['loss']\nx.append(n)", "h"),
    "alias-outside": ("seen = []\nalias = seen", "alias.append(n)", "seen"),
    "loop-alias": ("a, b = [], []", "for x in (a, b):\n    x.append(n)", "a, b"),
    "returned": ("seen = []\ndef get(): return seen", "get().append(n)", "seen"),
    "property-object": (
        "class M:\n    def __init__(self): self._h = []\n    @property\n    def h(self): return self._h\nm = M()",
        "m.h.append(n)", "m._h",
    ),
    "double-buffer": ("cur, nxt = [], []", "cur, nxt = nxt, cur\ncur.append(n)", "cur, nxt"),
    "self-method-arg": (
        "class M:\n"
        "    def __init__(self): self.h = []; self.run()\n"
        "    def run(self): pass\n"
        "    def add(self, v): self._into(self.h, v)\n"
        "    def _into(self, where, v): where.append(v)\n"
        "m = M()",
        "m.add(n)", "m.h",
    ),
    "print-file": ("f = open(PATH, 'w')", "print(n, file=f)", "(f.close(), open(PATH).read())"),
    "file-attr": (
        "class L:\n"
        "    def __init__(self): self.f = open(PATH, 'w')\n"
        "    def log(self, v): self.f.write(str(v))\n"
        "l = L()",
        "l.log(n)", "(l.f.close(), open(PATH).read())",
    ),
    "file-rplus": (
        "open(PATH, 'w').write('abcdef')\nf = open(PATH, 'r+')\nout = []",
        "out.append(f.read(1))", "out, (f.close(), open(PATH).read())",
    ),
    "json-dump": ("import json\nf = open(PATH, 'w')", "json.dump({'n': n}, f)", "(f.close(), open(PATH).read())"),
    "dictwriter": (
        "import csv\nf = open(PATH, 'w')\nw = csv.DictWriter(f, ['n'])",
        "w.writerow({'n': n})", "(f.close(), open(PATH).read())",
    ),
}
"""Name -> what comes before the loop, its block, and what is looked at in the end."""

# programs about names of their module
GLOBAL = {name for name, parts in STATE.items() if "global" in parts[0] or "globals" in parts[2] or "M." in parts[0]}
CASES = [("module", name) for name in sorted(STATE)] + [("function", name) for name in sorted(STATE) if name not in GLOBAL]


@pytest.mark.parametrize(("place", "name"), CASES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_state_is_put_back(place: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (module_level if place == "module" else in_function)(*STATE[name])
    driver = Restoring()
    plain = outcome(source, None, tmp_path, monkeypatch)
    assert outcome(source, driver, tmp_path, monkeypatch) == plain
    assert driver.refused is None
