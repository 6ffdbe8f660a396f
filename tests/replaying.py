"""Scripts that fail only in the right state, and the commands that record and replay them.

What fails depends on numbers that only that state gives: a batch from a shuffled order, a mask of dropout, noise from a
generator of the script's own, a count that the training keeps.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from forkserver import Completed, run_cli

STRICT = {"STAYFINITE_STRICT": "1"}

MODULE_LEVEL = """
    # module level: batch norm, dropout, the process-wide generator of torch
    import torch
    from torch import nn

    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    sheet = torch.rand(256, 6) + 0.1
    print("preparing")
    for step in range(60):
        rows = torch.randint(0, 256, (32,))
        x = sheet[rows]
        level = x.mean(1) * (torch.rand(32) > 0.01 * (step > 30))
        hidden = net(x)
        loss = (hidden.squeeze(1) - torch.log(level)).pow(2).mean()  # <- origin
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("done")
    """

FUNCTION = """
    # a function, a shuffled loader, epochs, a scheduler, arguments of its own
    import argparse
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader, TensorDataset


    def loss_of(model, x, y, weight):
        out = model(x).squeeze(1)
        return weight * ((out - y) ** 2 / x[:, 0]).mean()  # <- origin


    def main():
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, required=True)
        args = parser.parse_args()
        torch.manual_seed(11)
        x = torch.rand(120, 4) + 0.05
        x[77, 0] = 0
        y = x.sum(1)
        model = torch.nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        loader = DataLoader(TensorDataset(x[:70], y[:70]), batch_size=10, shuffle=True)
        for epoch in range(6):
            weight = 1.0 / (1 + epoch)
            if epoch == 3:
                loader = DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True)
            for number, (a, b) in enumerate(loader):
                loss = loss_of(model, a, b, weight)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            scheduler.step()
            print("epoch", epoch, loss.item())


    if __name__ == "__main__":
        main()
    """

CLASS = """
    # a class with a helper, a generator of its own, an exponential average, a count kept across steps
    from dataclasses import dataclass, field

    import numpy as np
    import torch


    @dataclass
    class Batch:
        x: torch.Tensor
        y: torch.Tensor
        weights: list = field(default_factory=list)


    class Trainer:
        def __init__(self):
            torch.manual_seed(5)
            self.rng = np.random.default_rng(17)
            self.model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
            self.seen = 0
            self.average = None
            self.history = []

        def batches(self, count):
            for _ in range(count):
                x = torch.from_numpy(self.rng.normal(size=(16, 3)).astype(np.float32))
                yield Batch(x, x.sum(1, keepdim=True))

        def train_step(self, batch):
            noise = torch.from_numpy(self.rng.integers(0, 12, size=(16, 1))).float()
            spread = noise + (self.seen < 30 * 16)
            out = self.model(batch.x)
            loss = ((out - batch.y).abs() * torch.rsqrt(spread)).mean()  # <- origin
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.seen += len(batch.x)
            value = loss.item()
            self.average = value if self.average is None else 0.9 * self.average + 0.1 * value
            self.history.append(value)
            return value

        def fit(self):
            for batch in self.batches(50):
                value = self.train_step(batch)
            print(self.average)


    Trainer().fit()
    """

ACCUMULATION = """
    # an update every fourth micro-batch; the third of a window spoils the sum
    import torch

    torch.manual_seed(8)
    model = torch.nn.Linear(5, 3)
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    data = torch.randn(400, 5)
    labels = torch.randint(0, 3, (400,))
    order = torch.randperm(400).split(8)
    running = 0.0
    for i, rows in enumerate(order):
        x, y = data[rows], labels[rows]
        if i == 26:
            x, y = x.clone(), y.clone()
            x[4] = 1e30
            y[4] = model(x)[4].argmin()
        scores = model(x)
        loss = -(torch.softmax(scores, 1)[range(8), y].log()).mean() / 4  # <- origin
        loss.backward()
        running += loss.detach()
        if i % 4 == 3:
            opt.step()
            opt.zero_grad()
    print(running)
    """

ENDLESS = """
    # `while` with `next`, a batch from numpy's old generator, an exit at the top
    import numpy as np
    import torch

    np.random.seed(23)
    torch.manual_seed(23)
    net = torch.nn.Linear(4, 2)
    opt = torch.optim.Adam(net.parameters())
    table = np.random.rand(64, 4).astype("float32")


    def draw():
        while True:
            yield torch.from_numpy(table[np.random.randint(64, size=12)])


    stream = draw()
    n = 0
    while True:
        if n == 40:
            break
        x = next(stream)
        scale = torch.from_numpy(np.random.binomial(20, 0.9 if n < 25 else 0.1, size=12).astype("float32"))
        y = net(x).pow(2).sum(1)
        loss = (y / scale).mean()  # <- origin
        opt.zero_grad()
        loss.backward()
        opt.step()
        n += 1
    print("end")
    """

SCRIPTS = {
    "module": MODULE_LEVEL, "function": FUNCTION, "class": CLASS, "accumulation": ACCUMULATION, "endless": ENDLESS,
}
ARGUMENTS = {"function": ["--lr", "0.01"]}

HEALTHY = """
    import torch
    model = torch.nn.Linear(2, 1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        loss = model(torch.ones(3, 2)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    """


def write(folder: Path, source: str, name: str = "train.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(textwrap.dedent(source).lstrip(), encoding="utf-8")
    return path


def line_of_origin(path: Path) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if "# <- origin" in line)


def record(folder: Path, source: str, *options: str, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run `source` in `folder` under stayfinite and give its only incident."""
    write(folder, source)
    done = run_cli(["run", "--quiet", *options, "--report", "rep", "train.py", *arguments], folder, STRICT)
    assert done.exit_code == 3, done.stderr
    report = json.loads((folder / "rep" / "report.json").read_text(encoding="utf-8"))
    assert len(report["incidents"]) == 1
    incident: dict[str, Any] = report["incidents"][0]
    return incident


def replay(folder: Path, *options: str, recording: str = "rep") -> Completed:
    return run_cli(["replay", recording, "--no-color", *options], folder, STRICT)


def said(done: Completed) -> str:
    """All it told, lines joined."""
    return " ".join((done.stdout + " " + done.stderr).split())


def change(path: Path, *pairs: tuple[str, str]) -> None:
    """Replace text in the file at `path`."""
    text = path.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


REPAIR = ("torch.log(level)", "torch.log1p(level)")
"""Takes the fault out of `MODULE_LEVEL`."""
