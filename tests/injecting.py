"""Small random trainings with one bad number put into them at a random point of a random phase.

A `Plan` is drawn by hypothesis and written out as a script. The line that makes the bad number, or first lets it into the
step, ends in ``# <- flaw``; a location on any other line is a wrong one.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from hypothesis import strategies as st

MARK = "# <- flaw"
STEPS = 12
MODELS = ("mlp", "cnn", "rnn", "attention", "norm")
OPTIMIZERS = (
    "SGD(P, lr=0.02)", "SGD(P, lr=0.02, momentum=0.9, nesterov=True)", "Adam(P, lr=2e-3)", "AdamW(P, lr=2e-3, amsgrad=True)",
    "RMSprop(P, lr=1e-3)", "Adagrad(P, lr=0.02)", "NAdam(P, lr=2e-3)", "LBFGS(P, lr=0.1, max_iter=3)",
)
LOOPS = ("inline", "function", "class", "while", "accumulate", "closure")
PLACES = ("data", "target", "activation", "loss", "gradient", "parameter", "moment")
FAULTS = ("nan", "inf", "-inf", "flip")


@dataclass(frozen=True)
class Plan:
    """One training. `step`: the pass, from 0, in which element `element` (modulo the size) of `place` becomes `fault`."""

    model: str
    optimizer: str
    loop: str
    place: str
    fault: str
    step: int
    element: int
    seed: int

    @property
    def script(self) -> str:
        """The training as source text."""
        loop = "closure" if "LBFGS" in self.optimizer else self.loop
        parts = [_HEAD.format(seed=self.seed), _MODELS[self.model], _setup(self), _LOOPS[loop], _END]
        text = "\n".join(textwrap.dedent(part).strip("\n") for part in parts) + "\n"
        for place in PLACES:
            call = f"POKE_{place}"
            used = _pokes(place, self) if place == self.place else ""
            text = _replace_line(text, call, used)
        return _with_reads_marked(text) if self.place == "parameter" else text


def _with_reads_marked(text: str) -> str:
    """`text` with every line that calls a layer marked: where the write into a parameter was over before anybody looked, the
    line that reads it first is all that can be known."""
    lines = text.splitlines()
    reads = [line.lstrip().startswith(("h", "mixed", "return")) and "self." in line for line in lines]
    marked = [f"{line}  {MARK}" if read and not line.endswith(MARK) else line for line, read in zip(lines, reads, strict=True)]
    return "\n".join(marked) + "\n"


def plans() -> st.SearchStrategy[Plan]:
    """All plans. Moments are there from the second update on, for optimizers that have any."""
    return st.builds(
        Plan, st.sampled_from(MODELS), st.sampled_from(OPTIMIZERS), st.sampled_from(LOOPS[:-1]), st.sampled_from(PLACES),
        st.sampled_from(FAULTS), st.integers(2, STEPS - 2), st.integers(0, 10_000), st.integers(0, 50),
    ).filter(lambda plan: plan.place != "moment" or plan.optimizer not in (OPTIMIZERS[0], OPTIMIZERS[-1]))


def _replace_line(text: str, call: str, used: str) -> str:
    """`text` with the lines that consist of `call` replaced by `used`, indented alike, or taken out."""
    kept = []
    for line in text.splitlines():
        if line.strip() != call:
            kept.append(line)
        elif used:
            indent = line[: len(line) - len(line.lstrip())]
            kept += [indent + one for one in used.splitlines()]
    return "\n".join(kept) + "\n"


def _pokes(place: str, plan: Plan) -> str:
    """Statements that put the fault in. Values are made without any literal that says what they are."""
    when, element = plan.step, plan.element
    poke = {
        "nan": "flat[k] = flat[k] * (huge * huge) * 0  " + MARK,
        "inf": "flat[k] = huge * huge  " + MARK,
        "-inf": "flat[k] = -huge * huge  " + MARK,
        "flip": "flat.view(torch.int32)[k] ^= 1 << 30  " + MARK,
    }[plan.fault]
    target = {
        "data": "x", "target": "y", "activation": "h", "loss": "loss.unsqueeze(0)", "gradient": "weights[at].grad",
        "parameter": "weights[at].detach()", "moment": "moments()[at]",
    }[place]
    if place in ("activation", "loss"):
        name = "h" if place == "activation" else "loss"
        delta = {
            "nan": "torch.full_like({0}, big) * big * 0", "inf": "torch.full_like({0}, big) * big",
            "-inf": "torch.full_like({0}, -big) * big", "flip": "torch.full_like({0}, 1e38)",
        }[plan.fault].format(f"{name}.detach()")
        one = f"(torch.arange({name}.numel()).reshape({name}.shape) == {element} % {name}.numel())"
        return f"if tick == {when}:\n    {name} = torch.where({one}, {name} + {delta}, {name})  {MARK}"
    return "\n".join((
        f"if tick == {when}:", f"    at = {element} % max(1, len(weights))", "    with torch.no_grad():",
        f"        flat = {target}.reshape(-1)", f"        k = {element} % flat.numel()", f"        {poke}",
    ))


def _setup(plan: Plan) -> str:
    optimizer = plan.optimizer.replace("P,", "model.parameters(),")
    return f"""
    model = Model()
    optimizer = torch.optim.{optimizer}
    weights = list(model.parameters())
    generator = torch.Generator().manual_seed({plan.seed})
    tick = -1
    big, huge = 2e38, 1e200

    def moments():
        return [t for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t) and t.dim() > 0]

    def batch():
        x = torch.randn(6, 2, 4, 4, generator=generator)
        y = x.mean((1, 2, 3)).tanh()[:, None]
        return x, y
    """


_HEAD = """
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed({seed})
"""

_MODELS = {
    "mlp": """
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(32, 16), nn.Linear(16, 8), nn.Linear(8, 1)

        def forward(self, x):
            h = torch.relu(self.a(x.flatten(1)))  # <- flaw
            POKE_activation
            h = torch.tanh(self.b(h))
            return self.c(h)
    """,
    "cnn": """
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.GELU(), nn.MaxPool2d(2))
            self.out = nn.Linear(24, 1)

        def forward(self, x):
            h = self.body(x)  # <- flaw
            POKE_activation
            return self.out(h.flatten(1))
    """,
    "rnn": """
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(8, 10, batch_first=True)
            self.out = nn.Linear(10, 1)

        def forward(self, x):
            h, _ = self.rnn(x.reshape(6, 4, 8))  # <- flaw
            POKE_activation
            return self.out(h[:, -1])
    """,
    "attention": """
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(8, 12)
            self.attend = nn.MultiheadAttention(12, 3, batch_first=True)
            self.out = nn.Linear(12, 1)

        def forward(self, x):
            h = self.embed(x.reshape(6, 4, 8))  # <- flaw
            POKE_activation
            mixed, _ = self.attend(h, h, h, need_weights=False)
            return self.out((h + mixed).mean(1))
    """,
    "norm": """
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.out = nn.Linear(32, 12), nn.LayerNorm(12), nn.Linear(12, 1)

        def forward(self, x):
            h = self.norm(self.a(x.flatten(1)))  # <- flaw
            POKE_activation
            return self.out(F.silu(h))
    """,
}

_LOOPS = {
    "inline": """
    for tick in range(12):
        x, y = batch()
        POKE_data
        POKE_target
        POKE_parameter
        POKE_moment
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)  # <- flaw
        POKE_loss
        loss.backward()
        POKE_gradient
        optimizer.step()  # <- flaw
    """,
    "function": """
    def step(x, y):
        loss = F.mse_loss(model(x), y)  # <- flaw
        POKE_loss
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        POKE_gradient
        optimizer.step()  # <- flaw
        return loss.item()

    for tick in range(12):
        x, y = batch()
        POKE_data
        POKE_target
        POKE_parameter
        POKE_moment
        seen = step(x, y)
    """,
    "class": """
    class Trainer:
        def __init__(self):
            self.losses = []

        def fit(self):
            global tick
            for tick in range(12):
                x, y = batch()
                POKE_data
                POKE_target
                POKE_parameter
                POKE_moment
                self.update(x, y)

        def update(self, x, y):
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).mean()  # <- flaw
            POKE_loss
            loss.backward()
            POKE_gradient
            optimizer.step()  # <- flaw
            self.losses.append(float(loss))

    Trainer().fit()
    """,
    "while": """
    batches = iter([batch() for _ in range(12)])
    tick = 0
    while True:
        try:
            x, y = next(batches)
        except StopIteration:
            break
        POKE_data
        POKE_target
        POKE_parameter
        POKE_moment
        for p in weights:
            p.grad = None
        guess = model(x)
        loss = F.smooth_l1_loss(guess, y)  # <- flaw
        POKE_loss
        loss.backward()
        POKE_gradient
        optimizer.step()  # <- flaw
        tick += 1
    """,
    "accumulate": """
    for tick in range(12):
        x, y = batch()
        POKE_data
        POKE_target
        POKE_parameter
        POKE_moment
        loss = F.mse_loss(model(x), y) / 2  # <- flaw
        POKE_loss
        loss.backward()
        POKE_gradient
        if tick % 2:
            optimizer.step()  # <- flaw
            optimizer.zero_grad()
    """,
    "closure": """
    for tick in range(12):
        x, y = batch()
        POKE_data
        POKE_target
        POKE_parameter
        POKE_moment

        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)  # <- flaw
            POKE_loss
            loss.backward()
            POKE_gradient
            return loss

        optimizer.step(closure)  # <- flaw
    """,
}

_END = """
bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value.float()).all()]
print("bad" if bad else "finite")
"""
