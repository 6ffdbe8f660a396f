"""Which loops are taken for training steps, and how much of their body."""

from __future__ import annotations

import ast
import textwrap

import pytest

from stayfinite.rewrite.blocks import Analysis, Site


def sites(source: str, **others: str) -> list[Site]:
    """The chosen loops of `source`; `others` are modules beside it."""
    trees = {f"{name}.py": ast.parse(textwrap.dedent(text)) for name, text in others.items()}
    return Analysis({"train.py": ast.parse(textwrap.dedent(source)), **trees}).sites("train.py", 1)


def wrapped(source: str, **others: str) -> list[str]:
    """Each chosen loop as ``target: last statement of the block``."""
    found = []
    for site in sites(source, **others):
        head = ast.unparse(site.loop.target if isinstance(site.loop, ast.For) else site.loop.test)
        last = ast.unparse(site.loop.body[site.extent - 1]).splitlines()[0]
        found.append(f"{head}: {last}")
    return found


BY_HAND = """
    for rows in order.split(30):
        loss = f(x[rows])
        loss.backward()
        with torch.no_grad():
            for p in theta:
                p -= 0.1 * p.grad
"""
CHOSEN = {
    "by hand in a function": (f"def epoch(theta):{BY_HAND}for k in range(6):\n    epoch(theta)\n", ["rows: with torch.no_grad():"]),
    "by hand in a function of a function": (
        f"def epoch(theta):{BY_HAND}def fit(theta):\n    epoch(theta)\nfor k in range(6):\n    print(fit(theta))\n",
        ["rows: with torch.no_grad():"]),
    "by hand in a function that is a step": (
        "def step(w):\n    f(w).backward()\n    w.data -= w.grad\nfor k in range(6):\n    step(w)\n", ["k: step(w)"]),
    "innermost": ("""
        for epoch in range(3):
            for x, y in loader:
                optimizer.zero_grad()
                loss = f(x, y)
                loss.backward()
                optimizer.step()
        """, ["(x, y): optimizer.step()"]),
    "while": ("while step < 10:\n    loss.backward()\n    optimizer.step()\n", ["step < 10: optimizer.step()"]),
    "what comes after stays outside": ("""
        for x in loader:
            loss.backward()
            optimizer.step()
            scheduler.step()
            log(loss)
            if n % 10 == 0:
                torch.save(model, "x")
                evaluate(model)
        """, ["x: scheduler.step()"]),
    "evaluation with a loop of its own": ("""
        for epoch in range(3):
            for x in loader:
                loss.backward()
                optimizer.step()
            for x in test_loader:
                total += model(x)
        """, ["x: optimizer.step()"]),
    "scheduler per epoch stays outside": ("""
        for epoch in range(3):
            for x in loader:
                loss.backward()
                optimizer.step()
            scheduler.step()
        """, ["x: optimizer.step()"]),
    "zero_grad at the end": ("""
        for x in loader:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            print(x)
        """, ["x: optimizer.zero_grad()"]),
    "accumulation by counting": ("""
        for i, x in enumerate(loader):
            loss.backward()
            if (i + 1) % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
            print(i)
        """, ["(i, x): if (i + 1) % 4 == 0:"]),
    "accumulation in an inner loop": ("""
        for step in range(10):
            for micro in range(4):
                loss = f(micro)
                loss.backward()
            optimizer.step()
            print(step)
        """, ["step: optimizer.step()"]),
    "step function": ("""
        def train_step(x):
            loss = f(x)
            loss.backward()
            optimizer.step()
            return loss
        for x in loader:
            loss = train_step(x)
            print(loss)
        """, ["x: loss = train_step(x)"]),
    "half in a function": ("""
        def update(loss):
            loss.backward()
        for x in loader:
            update(f(x))
            optimizer.step()
        """, ["x: optimizer.step()"]),
    "method": ("""
        class Trainer:
            def step(self, x):
                loss = self.f(x)
                loss.backward()
                self.optimizer.step()
            def fit(self, loader):
                for x in loader:
                    self.step(x)
                    self.log()
        """, ["x: self.step(x)"]),
    "function that loops itself": ("""
        def train_epoch(loader):
            for x in loader:
                loss.backward()
                optimizer.step()
        for epoch in range(3):
            train_epoch(loader)
        """, ["x: optimizer.step()"]),
    "optimizer under another name": ("""
        solver = torch.optim.SGD(model.parameters(), lr=0.1)
        for x in loader:
            loss.backward()
            solver.step()
        """, ["x: solver.step()"]),
    "own optimizer class": ("""
        class Descent(torch.optim.Optimizer):
            pass
        d = Descent(model.parameters())
        for x in loader:
            loss.backward()
            d.step()
        """, ["x: d.step()"]),
    "several optimizers": ("""
        for x in loader:
            loss_d.backward()
            opt_d.step()
            loss_g.backward()
            opt_g.step()
            print(x)
        """, ["x: opt_g.step()"]),
    "list of optimizers": ("""
        optimizers = [a, b]
        for x in loader:
            loss.backward()
            for o in optimizers:
                o.step()
            log(x)
        """, ["x: for o in optimizers:"]),
    "closure": ("""
        for x in loader:
            def closure():
                optimizer.zero_grad()
                loss = f(x)
                loss.backward()
                return loss
            optimizer.step(closure)
            log(x)
        """, ["x: optimizer.step(closure)"]),
    "scaler": ("""
        for x in loader:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            log(x)
        """, ["x: scaler.update()"]),
    "environment": ("""
        for t in range(100):
            action = policy(state)
            state, reward, done, _ = env.step(action)
            loss.backward()
            optimizer.step()
            memory.push(state)
            meter.update(loss)
        """, ["t: optimizer.step()"]),
    "environment alone": ("for t in range(9):\n    state = env.step(policy(state))\n    loss.backward()\n", []),
    "by hand": ("""
        for x in loader:
            loss = f(x, w)
            loss.backward()
            with torch.no_grad():
                w -= rate * w.grad
                w.grad.zero_()
        """, ["x: with torch.no_grad():"]),
    "by hand with autograd.grad": ("""
        for x in loader:
            (g,) = torch.autograd.grad(f(x, w), [w])
            w.data.sub_(rate * g)
            print(w)
        """, ["x: print(w)"]),
    "gradients by torch.func": ("""
        slopes = torch.func.vmap(torch.func.grad_and_value(f), in_dims=(None, 0))
        for x in loader:
            grads, losses = slopes(weights, x)
            for p, g in zip(model.parameters(), grads):
                p.grad = g.mean(0)
            optimizer.step()
            log(losses)
        """, ["x: optimizer.step()"]),
    "by hand with torch.func": ("""
        for x in loader:
            g = torch.func.grad(f)(weights, x)
            weights = {k: w - rate * g[k] for k, w in weights.items()}
        """, ["x: weights = {k: w - rate * g[k] for k, w in weights.items()}"]),
    "a method called grad of something else": ("for x in loader:\n    field = mesh.grad(x)\n    show(field(x))\n", []),
    "gradients that are only looked at": ("for x in loader:\n    loss.backward()\n", []),
    "no training": ("for x in loader:\n    print(model(x))\n", []),
    "no backward": ("for x in loader:\n    optimizer.step()\n", []),
    "yield in the block": ("def f():\n    for x in l:\n        loss.backward()\n        yield x\n        optimizer.step()\n", []),
    "yield of what the step gives": (
        "def f():\n    for x in l:\n        loss.backward()\n        yield optimizer.step(x)\n", ["x: yield optimizer.step(x)"],
    ),
    "yield of a step that is sent something": (
        "def f():\n    for x in l:\n        loss.backward()\n        lr = yield optimizer.step()\n", []),
    "yield after the block": (
        "def f():\n    for x in l:\n        loss.backward()\n        optimizer.step()\n        yield x\n", ["x: optimizer.step()"],
    ),
    "await in the block": ("async def f():\n    for x in l:\n        await g()\n        loss.backward()\n        optimizer.step()\n", []),
    "compiled function": ("@torch.compile\ndef f():\n    for x in l:\n        loss.backward()\n        optimizer.step()\n", []),
    "function handed over": ("""
        def step(x):
            loss.backward()
            optimizer.step()
        fast = torch.compile(step)
        for x in loader:
            fast(x)
            log(x)
        """, ["x: fast(x)"]),
    "object that is called": ("""
        class Step:
            def __call__(self, x):
                loss.backward()
                self.optimizer.step()
        step = Step()
        for x in loader:
            step(x)
            log(x)
        """, ["x: step(x)"]),
    "two loops": ("""
        for x in warmup:
            loss.backward()
            optimizer.step()
        for x in loader:
            loss.backward()
            optimizer.step()
            log(x)
        """, ["x: optimizer.step()", "x: optimizer.step()"]),
    "functions that call each other": ("""
        def a(n):
            return b(n - 1)
        def b(n):
            loss.backward()
            optimizer.step()
            return a(n)
        for x in loader:
            a(x)
        """, ["x: a(x)"]),
    "functions that call each other in loops": ("""
        def a(n):
            for x in n:
                b(x)
        def b(n):
            for x in n:
                a(x)
        a(1)
        """, []),
}


@pytest.mark.parametrize("name", sorted(CHOSEN))
def test_choice(name: str) -> None:
    source, expected = CHOSEN[name]
    assert wrapped(source) == expected


def test_a_step_in_another_module() -> None:
    engine = "def fit_batch(model, x):\n    loss.backward()\n    optimizer.step()\n"
    assert wrapped("from engine import fit_batch\nfor x in loader:\n    fit_batch(m, x)\n    log(x)\n", engine=engine) == [
        "x: fit_batch(m, x)"
    ]


def test_an_optimizer_made_in_another_module() -> None:
    parts = "solver = torch.optim.SGD(model.parameters(), lr=0.1)\n"
    assert wrapped("from parts import solver\nfor x in loader:\n    loss.backward()\n    solver.step()\n", parts=parts)


def test_loops_of_other_modules_are_not_counted_here() -> None:
    engine = "def fit():\n    for x in loader:\n        loss.backward()\n        optimizer.step()\n"
    assert wrapped("import engine\nfor epoch in range(3):\n    engine.fit()\n", engine=engine) == []


def test_numbers_and_places() -> None:
    found = sites(CHOSEN["two loops"][0])
    assert [site.block.id for site in found] == [1, 2]
    assert [site.block.line for site in found] == [2, 5]
    assert {site.block.file for site in found} == {"train.py"}
    assert [site.block.function for site in found] == ["<module>", "<module>"]


BODY = """
def record(history, value):
    history.append(value)

class Meter:
    def update(self, value):
        self.total += value
        self.__count += 1

def train(loader, rate):
    global best
    for i, (x, *rest) in enumerate(loader):
        names = [p for p in parameters]
        lookup = {k: v for k, v in pairs}
        key = (lambda z: z)(x)
        loss = f(x)
        loss.backward()
        optimizer.step()
        meter.update(loss)
        counts[key] += 1
        best = max(best, loss)
        setattr(state, "seen", i)
        match x:
            case {"a": first, **others}:
                pass
        with open("x") as file:
            import json as j
        del key
        optimizer.step()
        after = 1
"""


def test_what_a_block_binds_and_changes() -> None:
    (site,) = sites(BODY)
    block = site.block
    bound = {"i", "x", "rest", "names", "lookup", "key", "loss", "best", "first", "others", "file", "j", "after"}
    assert block.stored == bound  # the names of comprehensions and lambdas are their own
    assert {"counts", "meter"} <= block.changed
    assert {"total", "__count", "_Meter__count", "seen"} <= block.attributes
    assert {"meter", "optimizer", "loss"} <= block.receivers
    assert "best" in block.loaded
    assert block.function == "train"
    assert not block.by_hand
