"""`stayfinite replay DIR`: the failing step of a recording once more, in a fresh process."""

from __future__ import annotations

from pathlib import Path

import click


class CannotReplay(click.ClickException):
    """The recording cannot be used, or the script does not get as far as the step."""

    exit_code = 2


@click.command("replay")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--incident", "wanted", metavar="ID", help="Which incident, by the beginning of its id.")
@click.option("--budget", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
              help="Time for repetitions of the step, or for runs of the exported script.")
@click.option("--export", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Run nothing; write a Python script that repeats the step without stayfinite.")
@click.option("--smallest", is_flag=True,
              help="With --export: look for the fewest samples with which the step still fails, by running it.")
@click.option("--no-color", is_flag=True, help="Plain text.")
def command(folder: Path, wanted: str | None, budget: float, file: Path | None, smallest: bool, no_color: bool) -> int:
    """Repeat the failing step of a recording in a fresh process, and locate it again.

    DIR is a report folder that `stayfinite run` made. The script is run with the arguments and in the folder it was
    recorded with, up to the loop that failed; there it is given the recorded weights, optimizer state, batch and random
    generators, and the step is repeated. What the script prints until then is muted. If the recording holds no step,
    the whole script runs again. Either way this runs your training code.

    \b
    Exit codes: 0 if the step failed again; 1 if it did not; 2 if it cannot be replayed: no recording, no incident,
    damaged files, or a script that does not fit them any more.
    """
    from stayfinite.errors import StayfiniteError

    if smallest and file is None:
        raise click.UsageError("--smallest is about what --export FILE writes: give both")
    try:
        if file is not None:
            from stayfinite.cli.exporting import export

            export(folder, wanted, file, smallest=budget if smallest else None)
            return 0
        from stayfinite.cli.replaying import replay

        return replay(folder, wanted, budget=budget, color=False if no_color else None)
    except StayfiniteError as error:
        raise CannotReplay(str(error)) from error
