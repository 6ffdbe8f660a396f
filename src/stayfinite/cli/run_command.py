"""``stayfinite run SCRIPT``: the script as under ``python``, watched."""

from __future__ import annotations

import os
from pathlib import Path

import click

_SETTINGS = {"ignore_unknown_options": False, "allow_interspersed_args": False, "help_option_names": ["-h", "--help"]}


class _Run(click.Command):
    """Takes everything after ``-m MODULE`` as the module's own, as `python` does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._closed(args))

    def _closed(self, args: list[str]) -> list[str]:
        options = [parameter for parameter in self.params if isinstance(parameter, click.Option)]
        with_value = {name for option in options if not option.is_flag for name in option.opts}
        position = 0
        while position < len(args) and args[position].startswith("-") and args[position] not in ("-", "--"):
            word = args[position]
            position += 2 if word in with_value else 1
            if word.startswith("-m") and position <= len(args):
                return [*args[:position], "--", *args[position:]]
        return args


@click.command("run", cls=_Run, context_settings=_SETTINGS)
@click.option("-m", "module", metavar="MODULE", help="Run a module as `python -m` does; everything after it is its own.")
@click.option(
    "--on-incident", type=click.Choice(["stop", "skip", "recover"]), default="stop", show_default=True,
    help="What to do once a bad step is held: stop; leave the step out and go on; or recover: make a cure that was verified, or go "
         "back and lower the rate.",
)
@click.option("--stop-on", metavar="ID", multiple=True, help="Stop at this finite symptom too, e.g. divergence.")
@click.option("--budget", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
              help="Time for replays of a bad step, for experiments and for trying cures.")
@click.option("--every", type=click.IntRange(min=1), default=50, show_default=True, metavar="N",
              help="Look at parameters and buffers every N steps.")
@click.option("--prevent", metavar="ID", multiple=True,
              help="Change updates before anything fails: clip-outliers, clip-by-weight, clip-update, skip-spikes.")
@click.option("--report", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Write the recording here, always.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE", help="Write report.json here too.")
@click.option("--no-case", is_flag=True, help="Do not store the failing step's tensors.")
@click.option("--no-trials", is_flag=True, envvar="STAYFINITE_NO_TRIALS",
              help="Never run the script again from its start to test a cause or try a cure.")
@click.option("--no-rewrite", is_flag=True, help="Do not wrap training loops; a bad step is held but not replayed.")
@click.option("--no-color", is_flag=True, help="Plain text.")
@click.option("--quiet", is_flag=True, help="Tell nothing on the terminal.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT [ARGS]...")
def command(
    module: str | None,
    on_incident: str,
    stop_on: tuple[str, ...],
    budget: float,
    every: int,
    prevent: tuple[str, ...],
    folder: Path | None,
    json_file: str | None,
    no_case: bool,
    no_trials: bool,
    no_rewrite: bool,
    no_color: bool,
    quiet: bool,
    arguments: tuple[str, ...],
) -> int:
    """Run SCRIPT as `python SCRIPT ARGS` would, and watch every training step.

    A step with a non-finite loss, gradient, parameter or rate is held (nothing is updated), replayed under a
    microscope, and explained on the terminal and in a report folder.

    \b
    Exit codes: the script's own; 3 if an incident stopped it; 2 for wrong use; 4 if stayfinite could not start.
    """
    from stayfinite.cli.runner import Target, run
    from stayfinite.frameworks.torch.options import Options

    _check_stop_on(stop_on)
    _check_prevent(prevent)
    if json_file == "-":
        raise click.UsageError("--json -: standard output belongs to the script; name a file")
    if module is None and not arguments:
        raise click.UsageError("name the script to run: stayfinite run train.py")
    target = Target(None, module, arguments) if module is not None else Target(arguments[0], None, arguments[1:])
    options = Options(
        on_incident=on_incident, budget=budget, every=every, stop_on=frozenset(stop_on), keep_case=not no_case, trials=not no_trials,
        prevent=prevent,
        replay_every=_steps_from("STAYFINITE_REPLAY_EVERY"), survey_every=_steps_from("STAYFINITE_SURVEY_EVERY"),
    )
    return run(
        target, options,
        folder=folder,
        json_file=json_file and os.path.abspath(json_file),  # the script may go elsewhere
        rewrite=not no_rewrite,
        color=False if no_color else None,
        quiet=quiet,
    )


def _check_stop_on(asked: tuple[str, ...]) -> None:
    if asked:
        from stayfinite.engine.monitor import finite_detectors

        known = finite_detectors()
        for name in asked:
            if name not in known:
                raise click.UsageError(f"--stop-on {name}: no such finite symptom; there are {', '.join(known)}")


def _check_prevent(asked: tuple[str, ...]) -> None:
    if asked:
        from stayfinite.catalog.prevention import unknown

        if unknown(asked):
            raise click.UsageError(f"--prevent {unknown(asked)}")


def _steps_from(variable: str) -> int:
    text = os.environ.get(variable, "0") or "0"
    if not text.isdigit():
        raise click.UsageError(f"{variable} is {text!r}; it must be a whole number of steps")
    return int(text)
