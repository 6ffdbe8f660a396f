"""From an expression back to the lines that make its value: the wanted line is reached, in scripts of many styles."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

from stayfinite.rewrite.births.roles import roles
from stayfinite.rewrite.births.sources import Project, Source
from stayfinite.rewrite.births.tracing_back import Reached, trace_back

RATES = {
    "a literal": "opt = SGD(model.parameters(), lr=0.5)  # here\n",
    "a constant": "LR = 0.5  # here\nopt = SGD(model.parameters(), lr=LR)\n",
    "an argument": "def fit(lr):\n    opt = SGD(model.parameters(), lr=lr)\nfit(0.5)  # here\n",
    "a default": "def fit(steps, lr=0.5):  # here\n    opt = SGD(model.parameters(), lr=lr)\nfit(3)\n",
    "an option": "p = ArgumentParser()\np.add_argument('--learning-rate', type=float, default=0.5)  # here\na = p.parse_args()\n"
                 "opt = SGD(model.parameters(), lr=a.learning_rate)\n",
    "a field": "@dataclass\nclass Setup:\n    lr: float = 0.5  # here\ndef main(setup):\n    opt = SGD(model.parameters(), lr=setup.lr)\n"
               "main(Setup())\n",
    "a field that is told": "@dataclass\nclass Setup:\n    lr: float = 0.1\ndef main(setup):\n"
                            "    opt = SGD(model.parameters(), lr=setup.lr)\nmain(Setup(lr=0.5))  # here\n",
    "a dictionary": "config = {'epochs': 3,\n          'lr': 0.5}  # here\nopt = SGD(model.parameters(), lr=config['lr'])\n",
    "a nested dictionary": "config = {'optim': {'lr': 0.5}}  # here\nopt = SGD(model.parameters(), lr=config['optim']['lr'])\n",
    "an attribute of self": "class T:\n    def __init__(self, lr):\n        self.lr = lr\n    def build(self):\n"
                            "        opt = SGD(model.parameters(), lr=self.lr)\nT(0.5)  # here\n",
    "hyperparameters of a module": "class T(Module):\n    def __init__(self, width, lr=0.1):\n        self.save_hyperparameters()\n"
                                   "    def build(self):\n        opt = SGD(self.parameters(), lr=self.hparams.lr)\nT(8, lr=0.5)  # here\n",
    "starred settings": "settings = {'lr': 0.5}  # here\nopt = SGD(model.parameters(), **settings)\n",
    "a class attribute": "class T:\n    lr = 0.5  # here\n    def build(self):\n        opt = SGD(model.parameters(), lr=self.lr)\n",
    "a base class": "class B:\n    def __init__(self, lr):\n        self.lr = lr\nclass T(B):\n    def __init__(self):\n"
                    "        super().__init__(0.5)  # here\n    def build(self):\n        opt = SGD(model.parameters(), lr=self.lr)\n",
    "a function's result": "def rate():\n    return 0.5  # here\nopt = SGD(model.parameters(), lr=rate())\n",
    "settings read back": "config = {'optim': {'lr': 0.5}}  # here\nmine = json.loads(json.dumps(config))\nspec = mine['optim']\n"
                          "opt = SGD(model.parameters(), **spec)\n",
    "rates in turn": "def fit(lr):\n    opt = SGD(model.parameters(), lr=lr)\nfor lr in (0.5, 0.6):  # here\n    fit(lr)\n",
    "a tuple": "lr, steps = 0.5, 100  # here\nopt = SGD(model.parameters(), lr=lr)\n",
}
TABLES = {
    "rows": "x = load()  # here\nfor i in range(3):\n    f(x[i])  # start\n",
    "a loader": "x = load()\nx = (x - 1).float()  # here\nloader = DataLoader(TensorDataset(x, y))\n"
                "for a, b in loader:\n    f(a)  # start\n",
    "the second of a loader": "x = load()\ny = make()  # here\nfor n, (a, b) in enumerate(DataLoader(TensorDataset(x, y))):\n"
                              "    f(b)  # start\n",
    "a data set": "class D(Dataset):\n    def __init__(self, raw):\n        self.x = scale(raw)  # here\n    def __getitem__(self, i):\n"
                  "        return self.x[i], 0\nloader = DataLoader(D(load()))\nfor a, b in loader:\n    f(a)  # start\n",
    "a data set of mappings": "class D(Dataset):\n    def __init__(self):\n        self.t = 1\n        self.x = load()  # here\n"
                              "    def __getitem__(self, i):\n        return {'t': self.t[i], 'x': self.x[i]}\n"
                              "for batch in DataLoader(D()):\n    f(batch['x'])  # start\n",
    "a loader made by a function": "def loaders(x, y):\n    return DataLoader(TensorDataset(x, y)), None\nx = load()  # here\n"
                                   "train, valid = loaders(x, y)\nfor a, b in train:\n    f(a)  # start\n",
    "a part of a data set": "x = load()  # here\nwhole = TensorDataset(x, y)\na, b = random_split(whole, [3, 1])\n"
                            "for p, q in DataLoader(a):\n    f(p)  # start\n",
    "a helper of the step": "def step(a, b):\n    f(a)  # start\nx = load()  # here\n"
                            "for rows in order.split(8):\n    step(x[rows], y[rows])\n",
    "starred": "def step(a, b):\n    f(b)  # start\ntables = (load(),\n          make())  # here\nfor rows in order.split(8):\n"
               "    step(*(t[rows] for t in tables))\n",
    "a generator": "def batches(x, y):\n    for i in range(3):\n        yield x[i], y[i]\ny = make()  # here\nfor a, b in batches(x, y):\n"
                   "    f(b)  # start\n",
    "a record": "class C(NamedTuple):\n    x: Tensor\n    y: Tensor\ndef fit(c):\n    for i in r:\n        f(c.y[i])  # start\n"
                "fit(C(load(),\n      make()))  # here\n",
}


def project(folder: Path, text: str, **others: str) -> tuple[Project, Source]:
    path = folder / "train.py"
    path.write_text(text)
    for name, other in others.items():
        (folder / f"{name}.py").write_text(other)
    found = Project([str(path), *(str(folder / f"{name}.py") for name in others)])
    return found, found.sources[str(path)]


def line_of(text: str, mark: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if line.endswith(f"# {mark}"))


def back(found: Project, source: Source, node: ast.expr) -> list[Reached]:
    return list(trace_back(found, source, node, time.monotonic() + 5))


def lines(reached: list[Reached], *wanted: str) -> list[int]:
    return [part.lineno for one in reached for role, part in roles(one, lambda name: name == "D") if role in wanted]


@pytest.mark.parametrize("style", RATES)
def test_a_rate_is_followed_to_its_number(style: str, tmp_path: Path) -> None:
    text = RATES[style]
    found, source = project(tmp_path, text)
    call = next(node for node in ast.walk(source.tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SGD")
    given = next(keyword for keyword in call.keywords if keyword.arg in ("lr", None))
    pick = () if given.arg else ("lr",)
    reached = list(trace_back(found, source, given.value, time.monotonic() + 5, pick))
    assert lines(reached, "constant", "default")[:1] == [line_of(text, "here")]


@pytest.mark.parametrize("style", TABLES)
def test_a_batch_is_followed_to_what_it_is_cut_from(style: str, tmp_path: Path) -> None:
    text = TABLES[style]
    found, source = project(tmp_path, text)
    start = line_of(text, "start")
    call = next(node for node in ast.walk(source.tree)
                if isinstance(node, ast.Call) and node.lineno == start and getattr(node.func, "id", "") == "f")
    assert lines(back(found, source, call.args[0]), "table")[:1] == [line_of(text, "here")]


PREPARED = {
    "what a function brings along": ("def load():\n    y = log(raw)  # here\n    return x, y\na, b = load()\nb\n", False),
    "what a function is given": ("def tensor(v):\n    return asarray(v)\nb = tensor(raw)  # here\nb\n", True),
}


@pytest.mark.parametrize("style", PREPARED)
def test_a_function_is_the_place_if_it_makes_the_data_and_not_if_it_hands_them_on(style: str, tmp_path: Path) -> None:
    text, is_call = PREPARED[style]
    found, source = project(tmp_path, text)
    last = source.tree.body[-1]
    assert isinstance(last, ast.Expr)
    told = [(role, part.lineno) for one in back(found, source, last.value)
            for role, part in roles(one, lambda name: False, lambda name: name in found.functions)]
    assert next(line for role, line in told if role in ("table", "made")) == line_of(text, "here")
    assert any(role == "call" for role, _ in told) == is_call


def test_other_files_are_looked_into(tmp_path: Path) -> None:
    data = "def covariates():\n    return np.log(table)\n"
    found, source = project(tmp_path, "from data import covariates\nx = covariates()\nx[0]\n", data=data)
    last = source.tree.body[-1]
    assert isinstance(last, ast.Expr)
    reached = back(found, source, last.value)
    assert [Path(one.source.path).name for one in reached if one.how == "return"] == ["data.py"]


def test_a_line_is_read_for_what_it_does(tmp_path: Path) -> None:
    text = ("kept = soft.half()\nkept = kept / total\nb = nn.Parameter(torch.empty(3))\nloader = DataLoader(data)\n"
            "pooled = h.sum(1)\nw = nn.init.normal_(a)\nbirds[3] = 12\n")
    _, source = project(tmp_path, text)
    seen = {}
    for statement in source.tree.body:
        assert isinstance(statement, ast.Assign)
        one = Reached(statement.value, source, (), False, "assigned", 1, ())
        seen[statement.lineno] = {role for role, _ in roles(one, lambda name: False)} - {"made"}
    assert seen == {1: {"cast"}, 2: {"divide"}, 3: {"layer", "reserve"}, 4: {"loader"}, 5: {"sum"}, 6: {"draw"}, 7: {"constant"}}


def test_a_filter_is_the_test_that_lets_items_pass(tmp_path: Path) -> None:
    text = "def usable(p):\n    return len(p) > 3  # here\nreads = [p for p in every if usable(p)]\nreads[0]  # start\n"
    found, source = project(tmp_path, text)
    last = source.tree.body[-1]
    assert isinstance(last, ast.Expr)
    assert lines(back(found, source, last.value), "filter") == [line_of(text, "here")]


def test_recursion_and_a_spent_deadline_end(tmp_path: Path) -> None:
    text = "def f(x):\n    return f(x + g(x))\ndef g(x):\n    return f(x)\ny = f(y)\ny\n"
    found, source = project(tmp_path, text)
    last = source.tree.body[-1]
    assert isinstance(last, ast.Expr)
    assert len(back(found, source, last.value)) < 100
    assert list(trace_back(found, source, last.value, time.monotonic() - 1)) == []


def test_what_does_not_parse_is_left_out(tmp_path: Path) -> None:
    found, _ = project(tmp_path, "x = 1\n", other="def broken(:\n")
    assert len(found.sources) == 1
