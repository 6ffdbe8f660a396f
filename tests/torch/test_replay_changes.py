"""``stayfinite replay`` where things are not as they were: edited scripts, other folders, loops in other places."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from forkserver import run_bare, run_cli
from replaying import MODULE_LEVEL, REPAIR, STRICT, change, line_of_origin, record, replay, said, write


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
        change(tmp_path / "train.py", REPAIR)
        done = replay(tmp_path)
        assert done.exit_code == 1, done.stderr
        assert "did not fail this time" in said(done)

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            (
                [("(6, 16)", "(6, 17)"), ("Norm1d(16)", "Norm1d(17)"), ("(16, 1)", "(17, 1)")],
                "parameter 0.weight has shape [17, 6] here, [16, 6] in the recording",
            ),
            ([("nn.ReLU(), ", "nn.Linear(16, 16), ")], "parameter 2.weight of Sequential is not in the recording"),
            ([("nn.BatchNorm1d(16), ", "")], "buffer 1.running_mean is not in the script's Sequential"),
            ([("optim.Adam(", "optim.SGD(")], "`optimizer` is of class SGD here, Adam in the recording"),
            ([("net.parameters()", "net[0].parameters()")], "Adam has groups of [2] parameters here, [6] in the"),
            ([("net", "model")], "`net` (Sequential) is not there"),
            ([('"done"', '"all done"')], None),
        ],
        ids=["width", "another layer", "a layer less", "optimizer", "groups", "renamed", "same"],
    )
    def test_another_model_is_described(
        self, tmp_path: Path, changes: list[tuple[str, str]], expected: str | None
    ) -> None:
        record(tmp_path, MODULE_LEVEL)
        change(tmp_path / "train.py", *changes)
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
        change(tmp_path / "train.py", ('print("preparing")', "raise KeyError('lost')"))
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

    @pytest.mark.slow
    @pytest.mark.parametrize("where", ["torch.compile(torch.nn.Linear(3, 1))", "torch.nn.Linear(3, 1); model.compile()"])
    def test_a_compiled_model(self, tmp_path: Path, where: str) -> None:
        write(
            tmp_path,
            f"""
            import torch
            torch.manual_seed(0)
            model = {where}
            opt = torch.optim.SGD(model.parameters(), lr=0.01)
            for step in range(9):
                x = torch.rand(8, 3) + 0.1
                x[2] *= step != 5
                loss = (model(x) / x.sum(1, keepdim=True)).mean()  # <- origin
                opt.zero_grad()
                loss.backward()
                opt.step()
            """,
        )
        done = run_cli(["run", "--quiet", "--report", "rep", "train.py"], tmp_path, STRICT, fresh=True, timeout=200)
        assert done.exit_code == 3, done.stderr
        again = run_cli(["replay", "rep"], tmp_path, STRICT, fresh=True, timeout=200)
        assert again.exit_code == 0, again.stderr
        assert "samples 2, as recorded" in said(again)

    def test_a_lazy_model_takes_its_first_pass(self, tmp_path: Path) -> None:
        record(
            tmp_path,
            """
            import torch
            torch.manual_seed(0)
            model = torch.nn.LazyLinear(1)
            opt = torch.optim.SGD(model.parameters(), lr=0.01)
            for step in range(9):
                x = torch.rand(8, 3) + 0.1
                x[2] *= step != 5
                loss = (model(x) / x.sum(1, keepdim=True)).mean()
                opt.zero_grad()
                loss.backward()
                opt.step()
            """,
        )
        done = replay(tmp_path)
        assert done.exit_code == 0, done.stderr
        assert "samples 2, as recorded" in said(done)

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
