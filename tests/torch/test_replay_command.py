"""``stayfinite replay``: the stored step fails again in a fresh process, at the same line and for the same samples.

In every script what fails depends on numbers that only the right state gives: a batch from a shuffled order, a mask of
dropout, noise from a generator of the script's own, a count that the training keeps.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from forkserver import Completed, run_bare, run_cli

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

SCRIPTS = {"module": MODULE_LEVEL, "function": FUNCTION, "class": CLASS, "accumulation": ACCUMULATION, "endless": ENDLESS}
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


@pytest.fixture(scope="module", params=list(SCRIPTS))
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, Any]]:
    """A script's name, the folder it ran in, and its incident."""
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    incident = record(folder, SCRIPTS[name], arguments=tuple(ARGUMENTS.get(name, ())))
    return name, folder, incident


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole recording."""
    folder = tmp_path_factory.mktemp("good")
    record(folder, MODULE_LEVEL)
    return folder


class TestStoredStep:
    def test_it_fails_again_at_the_same_line_for_the_same_samples(self, recorded: tuple[str, Path, dict[str, Any]]) -> None:
        _, folder, incident = recorded
        origin = incident["origin"]
        assert origin["line"] == line_of_origin(folder / "train.py")
        done = replay(folder)
        assert done.exit_code == 0, done.stderr
        samples = f", samples {', '.join(map(str, origin['samples'][:10]))}" if origin["samples"] else ""
        expected = f"it happened again: {origin['op']} at train.py:{origin['line']}{samples}, as recorded"
        assert expected in said(done)
        assert "Replayed twice, and it happened again." in done.stdout

    def test_the_same_report_is_told(self, recorded: tuple[str, Path, dict[str, Any]]) -> None:
        """To the last digit of every number: shapes, counts, the element that did it, the bits of evidence."""
        _, folder, incident = recorded
        bodies = []
        for done in (replay(folder), run_cli(["report", "rep", "--no-color"], folder)):
            lines = done.stdout.splitlines()
            bodies.append(lines[lines.index(f"✗ step {incident['step']}: {headline(lines)}") : lines.index("  next")])
        assert bodies[0] == bodies[1]
        assert any(f"train.py:{incident['origin']['line']}" in line for line in bodies[0])

    def test_what_the_script_prints_is_muted(self, recorded: tuple[str, Path, dict[str, Any]]) -> None:
        name, folder, _ = recorded
        done = replay(folder)
        assert "is muted" in done.stdout
        assert "preparing" not in done.stdout.replace("train.py", "")
        assert name != "function" or "epoch" not in done.stdout

    def test_the_tensors_are_plain_files(self, recorded: tuple[str, Path, dict[str, Any]]) -> None:
        _, folder, incident = recorded
        case = folder / "rep" / "cases" / incident["id"]
        assert sorted(path.name for path in case.iterdir()) == ["case.json", "case.safetensors"]
        layout = json.loads((case / "case.json").read_text(encoding="ascii"))
        assert layout["schema"] == "stayfinite.case/1" and layout["step"] == incident["step"]
        assert layout["block"]["file"] == "train.py" and layout["left_out"] == []

    def test_the_exported_script_fails_without_stayfinite(
        self, recorded: tuple[str, Path, dict[str, Any]], tmp_path: Path
    ) -> None:
        _, folder, _ = recorded
        done = replay(folder, "--export", str(tmp_path / "again.py"))
        assert done.exit_code == 0, done.stderr
        write(tmp_path / "fake" / "stayfinite", "raise SystemExit('stayfinite was imported')", "__init__.py")
        alone = run_bare([str(tmp_path / "again.py")], tmp_path, {"PYTHONPATH": str(tmp_path / "fake")})
        assert alone.exit_code == 1, alone.stderr
        losses = next(line for line in alone.stdout.splitlines() if line.startswith("loss: "))
        assert "nan" in losses or "inf" in losses
        assert "the step still fails" in alone.stdout

    def test_the_exported_step_succeeds_once_the_fault_is_gone(
        self, recorded: tuple[str, Path, dict[str, Any]], tmp_path: Path
    ) -> None:
        _, folder, _ = recorded
        assert replay(folder, "--export", str(tmp_path / "again.py")).exit_code == 0
        text = (tmp_path / "again.py").read_text(encoding="utf-8")
        line = next(line for line in text.splitlines() if "# <- origin" in line)
        mended = line.split("#")[0].rstrip()
        for old, new in (
            ("torch.log(level)", "torch.log(level + 1)"), ("/ x[:, 0]", "/ (x[:, 0] + 1)"),
            ("torch.rsqrt(spread)", "torch.rsqrt(spread + 1)"), ("/ scale", "/ (scale + 1)"),
            ("-(torch.softmax(scores, 1)[range(8), y].log()).mean()", "torch.log_softmax(scores.clamp(-9, 9), 1).mean()"),
        ):
            mended = mended.replace(old, new)
        assert mended != line.split("#")[0].rstrip()
        (tmp_path / "again.py").write_text(text.replace(line, mended), encoding="utf-8")
        alone = run_bare([str(tmp_path / "again.py")], tmp_path)
        assert alone.exit_code == 0, alone.stdout + alone.stderr
        assert "the step does not fail" in alone.stdout


class TestChangedScripts:
    def test_lines_that_moved_do_not_matter(self, tmp_path: Path) -> None:
        record(tmp_path, MODULE_LEVEL)
        path = tmp_path / "train.py"
        path.write_text("# a comment\n\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
        done = replay(tmp_path)
        assert done.exit_code == 0, done.stderr
        assert "train.py was edited since the recording" in said(done)
        assert f"it happened again: log at train.py:{line_of_origin(path)}" in said(done)

    def test_a_repaired_script_does_not_fail(self, tmp_path: Path) -> None:
        record(tmp_path, MODULE_LEVEL)
        path = tmp_path / "train.py"
        path.write_text(path.read_text(encoding="utf-8").replace("torch.log(level)", "torch.log1p(level)"), encoding="utf-8")
        done = replay(tmp_path)
        assert done.exit_code == 1, done.stderr
        assert "did not fail this time" in said(done)

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("(6, 16)", "(6, 17)", "parameter 0.weight has shape [17, 6] here, [16, 6] in the recording"),
            ("nn.ReLU(), ", "nn.ReLU(), nn.Linear(16, 16), ", "parameter 3.weight of Sequential is not in the recording"),
            ("optim.Adam(", "optim.SGD(", "`optimizer` is a SGD here, a Adam in the recording"),
            ("net = nn", "other = net = nn", None),
        ],
    )
    def test_another_model_is_described(self, tmp_path: Path, old: str, new: str, expected: str | None) -> None:
        record(tmp_path, MODULE_LEVEL)
        path = tmp_path / "train.py"
        text = path.read_text(encoding="utf-8")
        if "ReLU" in old:
            text = text.replace("BatchNorm1d(16)", "BatchNorm1d(16)")
        changed = text.replace(old, new).replace("nn.BatchNorm1d(16)", "nn.BatchNorm1d(17)" if "17" in new else "nn.BatchNorm1d(16)")
        path.write_text(changed.replace("nn.Linear(16, 1)", "nn.Linear(17, 1)") if "17" in new else changed, encoding="utf-8")
        done = replay(tmp_path)
        if expected is None:
            assert done.exit_code == 0, done.stderr
        else:
            assert done.exit_code == 2
            assert expected in said(done)
            assert "train.py was edited since the recording" in said(done)

    def test_a_loop_that_is_gone(self, tmp_path: Path) -> None:
        record(tmp_path, MODULE_LEVEL)
        write(tmp_path, "print('nothing to see')")
        done = replay(tmp_path)
        assert done.exit_code == 2
        assert "ended without reaching the loop in line" in said(done)

    def test_a_script_that_raises_on_its_way(self, tmp_path: Path) -> None:
        record(tmp_path, MODULE_LEVEL)
        path = tmp_path / "train.py"
        path.write_text(path.read_text(encoding="utf-8").replace('print("preparing")', "raise KeyError('lost')"), encoding="utf-8")
        done = replay(tmp_path)
        assert done.exit_code == 2
        assert "KeyError: 'lost'" in done.stderr and "raised KeyError before it reached" in said(done)
        assert "stayfinite/" not in done.stderr.split("Error:")[0]

    def test_a_script_that_is_gone(self, tmp_path: Path) -> None:
        record(tmp_path, MODULE_LEVEL)
        (tmp_path / "train.py").unlink()
        done = replay(tmp_path)
        assert done.exit_code == 2 and "cannot be run again" in said(done)


class TestPlaces:
    def test_it_runs_where_it_ran_then(self, tmp_path: Path) -> None:
        source = 'open("here.txt").close()\n' + textwrap.dedent(MODULE_LEVEL)
        write(tmp_path / "code", source)
        (tmp_path / "here.txt").touch()
        done = run_cli(["run", "--quiet", "--report", "out/rep", "code/train.py"], tmp_path, STRICT)
        assert done.exit_code == 3, done.stderr
        (tmp_path / "elsewhere").mkdir()
        again = run_cli(["replay", "../out/rep"], tmp_path / "elsewhere", STRICT)
        assert again.exit_code == 0, again.stderr
        export = run_cli(["replay", "../out/rep", "--export", "x.py"], tmp_path / "elsewhere", STRICT)
        assert export.exit_code == 0 and (tmp_path / "elsewhere" / "x.safetensors").exists()
        assert run_bare(["x.py"], tmp_path / "elsewhere").exit_code == 1

    def test_a_module(self, tmp_path: Path) -> None:
        write(tmp_path / "pkg", "", "__init__.py")
        write(tmp_path / "pkg", "import torch\n\ndef level(x):\n    return torch.log(x)\n", "losses.py")
        source = textwrap.dedent(MODULE_LEVEL).replace("torch.log(level)", "losses.level(level)")
        write(tmp_path / "pkg", "from . import losses\n" + source, "fit.py")
        done = run_cli(["run", "--quiet", "--report", "rep", "-m", "pkg.fit"], tmp_path, STRICT)
        assert done.exit_code == 3, done.stderr
        again = replay(tmp_path)
        assert again.exit_code == 0 and "it happened again: log at losses.py:4" in said(again), said(again)
        assert replay(tmp_path, "--export", "x.py").exit_code == 0
        alone = run_bare(["x.py"], tmp_path)
        assert alone.exit_code == 1, alone.stderr

    def test_a_loop_in_a_helper_module_replays_but_is_not_exported(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            """
            import torch

            def fit(model, opt, data):
                for step, x in enumerate(data):
                    loss = (model(x) / x.min()).mean()  # <- origin
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
            """,
            "fitting.py",
        )
        record(
            tmp_path,
            """
            import torch
            from fitting import fit
            torch.manual_seed(1)
            model = torch.nn.Linear(3, 1)
            data = [torch.rand(4, 3) + 0.1 for _ in range(20)]
            data[12][2, 1] = 0
            fit(model, torch.optim.Adam(model.parameters()), data)
            """,
        )
        done = replay(tmp_path)
        assert done.exit_code == 0, done.stderr
        assert f"at fitting.py:{line_of_origin(tmp_path / 'fitting.py')}" in said(done)
        export = replay(tmp_path, "--export", "x.py")
        assert export.exit_code == 2
        assert "its loop is in fitting.py, not in train.py" in said(export)
        assert not (tmp_path / "x.py").exists()

    def test_nothing_the_script_left_is_overwritten(self, tmp_path: Path) -> None:
        source = textwrap.dedent(MODULE_LEVEL)
        head, loop = source.split('print("preparing")\n')
        body = textwrap.indent(loop, "    ")
        end = "finally:\n    open('weights.txt', 'w').write(str(step))\n"
        record(tmp_path, f"{head}try:\n{body}{end}")
        before = (tmp_path / "weights.txt").read_text(encoding="utf-8")
        assert replay(tmp_path).exit_code == 0
        assert (tmp_path / "weights.txt").read_text(encoding="utf-8") == before
        assert replay(tmp_path, "--export", "x.py").exit_code == 0
        assert run_bare(["x.py"], tmp_path).exit_code == 1
        assert (tmp_path / "weights.txt").read_text(encoding="utf-8") == before

    def test_a_second_training_of_the_same_script(self, tmp_path: Path) -> None:
        record(
            tmp_path,
            """
            import torch

            def train(seed, bad):
                torch.manual_seed(seed)
                model = torch.nn.Linear(3, 1)
                opt = torch.optim.Adam(model.parameters())
                for step in range(12):
                    x = torch.rand(8, 3)
                    x[3] *= not (bad and step == 7)
                    loss = (model(x) / x.sum(1, keepdim=True)).pow(2).mean()  # <- origin
                    opt.zero_grad()
                    loss.backward()
                    opt.step()

            train(1, False)
            train(2, True)
            """,
        )
        done = replay(tmp_path)
        assert done.exit_code == 0, done.stderr
        assert "samples 3, as recorded" in said(done)

    def test_a_step_given_to_a_guard(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            """
            import stayfinite, torch

            torch.manual_seed(0)
            model = torch.nn.Linear(3, 1)
            opt = torch.optim.Adam(model.parameters())
            guard = stayfinite.watch(model, opt, report="rep", quiet=True)

            @guard.step
            def step(x):
                loss = torch.log(model(x).abs() * x[:, :1]).mean()  # <- origin
                opt.zero_grad()
                loss.backward()
                opt.step()

            for n in range(12):
                x = torch.rand(8, 3) + 0.1
                x[5, 0] *= n != 9
                step(x)
            """,
        )
        done = run_bare(["train.py"], tmp_path, STRICT)
        assert "TrainingHalted" in done.stderr
        again = replay(tmp_path)
        assert again.exit_code == 0, again.stderr
        assert "samples 5, as recorded" in said(again)
        assert "cannot be exported" in said(replay(tmp_path, "--export", "x.py"))


class TestDamage:
    @pytest.fixture
    def case(self, good: Path) -> Any:
        """The folder of a stored step; what a test does to it is undone."""
        place = next((good / "rep" / "cases").iterdir())
        before = {path: path.read_bytes() for path in place.iterdir()}
        yield place
        for path, content in before.items():
            path.write_bytes(content)

    @pytest.mark.parametrize(
        ("damage", "expected"),
        [
            (lambda case: cut(case / "case.safetensors", 100), "were written"),
            (lambda case: flip(case / "case.safetensors"), "SHA-256"),
            (lambda case: (case / "case.safetensors").unlink(), "case.safetensors is damaged"),
            (lambda case: cut(case / "case.json", 300), "it is not JSON"),
            (lambda case: (case / "case.json").write_text("[]", encoding="ascii"), "it is not a stored step"),
            (lambda case: (case / "case.json").write_bytes(b"\xff\x00"), "is damaged"),
            (lambda case: edit(case / "case.json", schema="stayfinite.case/9"), "this version reads stayfinite.case/1"),
            (lambda case: edit(case / "case.json", passes=None), "it lacks passes"),
            (lambda case: edit(case / "case.json", passes=[{}]), "could not be put back"),
            (lambda case: edit(case / "case.json", parameters=[{"name": "w"}]), "parameter w is not there"),
        ],
        ids=["cut", "flipped", "missing", "json cut", "another json", "bytes", "newer", "incomplete", "hollow", "nameless"],
    )
    def test_a_damaged_step_is_named(self, good: Path, case: Path, damage: Any, expected: str) -> None:
        damage(case)
        done = run_cli(["replay", "rep"], good)
        assert done.exit_code == 2, done.stdout
        assert expected in said(done)
        assert "Traceback" not in done.stderr

    def test_a_folder_that_is_no_recording(self, tmp_path: Path) -> None:
        for folder in ("nowhere", "."):
            done = replay(tmp_path, recording=folder)
            assert done.exit_code == 2 and "stayfinite run" in said(done) or "no such folder" in said(done)

    def test_a_healthy_recording(self, tmp_path: Path) -> None:
        write(tmp_path, HEALTHY)
        assert run_cli(["run", "--report", "rep", "train.py"], tmp_path, STRICT).exit_code == 0
        done = replay(tmp_path)
        assert done.exit_code == 2
        assert "holds no incident: nothing went bad in that run" in said(done)

    def test_an_incident_it_does_not_have(self, good: Path) -> None:
        done = replay(good, "--incident", "zzz")
        assert done.exit_code == 2 and "0 incidents whose id begins with 'zzz'" in said(done)

    def test_an_incident_by_the_beginning_of_its_id(self, good: Path) -> None:
        name = next((good / "rep" / "cases").iterdir()).name
        assert replay(good, "--incident", name[:5]).exit_code == 0

    def test_export_does_not_overwrite_a_script(self, good: Path) -> None:
        before = (good / "train.py").read_bytes()
        done = replay(good, "--export", "train.py")
        assert done.exit_code == 2 and "was not made by --export" in said(done)
        assert (good / "train.py").read_bytes() == before
        assert replay(good, "--export", "x.txt").exit_code == 2
        assert [replay(good, "--export", "x.py").exit_code for _ in range(2)] == [0, 0]


class TestWithoutAStoredStep:
    def test_no_case_runs_the_script_again(self, tmp_path: Path) -> None:
        incident = record(tmp_path, MODULE_LEVEL, "--no-case")
        assert not (tmp_path / "rep" / "cases").exists()
        done = replay(tmp_path)
        assert done.exit_code == 0, done.stderr
        text = said(done)
        assert "running the script again from its start" in text and "preparing" in text
        assert f"it happened again: log at train.py:{incident['origin']['line']}" in text
        assert f"in step {incident['step']}" in text
        export = replay(tmp_path, "--export", "x.py")
        assert export.exit_code == 2 and "without --no-case" in said(export)

    def test_a_script_that_was_repaired(self, tmp_path: Path) -> None:
        record(tmp_path, MODULE_LEVEL, "--no-case")
        path = tmp_path / "train.py"
        path.write_text(path.read_text(encoding="utf-8").replace("torch.log(level)", "torch.log1p(level)"), encoding="utf-8")
        done = replay(tmp_path)
        assert done.exit_code == 1
        assert "it did not happen again: nonfinite-loss" in said(done) and "nothing went bad now" in said(done)

    def test_a_step_that_is_too_large_is_not_kept(self, tmp_path: Path) -> None:
        source = textwrap.dedent(MODULE_LEVEL).replace(
            "optimizer = ", "net.register_parameter('table', nn.Parameter(torch.zeros(300 * 2**18)))\noptimizer = "
        )
        write(tmp_path, source.replace("Adam", "SGD"))
        done = run_cli(["run", "--report", "rep", "train.py"], tmp_path, STRICT)
        assert done.exit_code == 3
        warnings = json.loads((tmp_path / "rep" / "report.json").read_text(encoding="utf-8"))["warnings"]
        told = next(w["message"] for w in warnings if w["id"] == "case-not-kept")
        assert "parameters and moments take 300 MiB; at most 256 MiB are kept" in told
        assert not list((tmp_path / "rep").glob("cases/*/*"))

    def test_a_batch_without_plain_form_replays_as_far_as_it_can(self, tmp_path: Path) -> None:
        record(
            tmp_path,
            """
            import io
            import torch

            torch.manual_seed(0)
            model = torch.nn.Linear(3, 1)
            opt = torch.optim.SGD(model.parameters(), lr=0.1)
            samples = [io.BytesIO(bytes([4, 5, n != 6])) for n in range(9)]
            for sample in samples:
                x = torch.tensor(list(sample.getvalue())).float()
                loss = (model(x) / x[2]).mean()
                opt.zero_grad()
                loss.backward()
                opt.step()
            """,
        )
        done = replay(tmp_path)
        assert done.exit_code == 1
        assert "sample is not in the recording: a BytesIO has no plain form" in said(done)
        export = replay(tmp_path, "--export", "x.py")
        assert export.exit_code == 2
        assert "`sample`, which the loop hands to its body, is no plain value: BytesIO" in said(export)


def headline(lines: list[str]) -> str:
    """What the first line with a cross says after the step."""
    return next(line for line in lines if line.startswith("✗ step")).partition(": ")[2]


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:-size])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 16
    path.write_bytes(content)


def edit(path: Path, **sections: Any) -> None:
    """Change sections of a layout; None takes one out."""
    layout = json.loads(path.read_text(encoding="ascii"))
    for name, value in sections.items():
        if value is None:
            del layout[name]
        else:
            layout[name] = value
    path.write_text(json.dumps(layout), encoding="ascii")
