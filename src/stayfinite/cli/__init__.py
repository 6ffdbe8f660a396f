"""The command line. Each command is a module of its own, loaded when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from stayfinite import __version__

_COMMANDS = {
    "run": ("stayfinite.cli.run_command", "run a training script; hold, replay and locate the step that goes bad"),
    "report": ("stayfinite.cli.report_command", "show a recording"),
    "replay": ("stayfinite.cli.replay_command", "run the failing step of a recording again, in a fresh process"),
    "fix": ("stayfinite.cli.fix_command", "change the source as a verified remedy of an incident does"),
    "explain": ("stayfinite.cli.explain_command", "the page of a cause, a detector or a remedy"),
}


class Interrupted(BaseException):
    """Ctrl-C ended the user's script, and its traceback has been shown."""


class _LazyGroup(click.Group):
    """Knows its commands by name and one line; `--help` loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(_COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stayfinite")
def _group() -> None:
    """Find out why a training went nan: put `stayfinite run` in front of the script you already have."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return the exit code.

    **Raises** KeyboardInterrupt if Ctrl-C ended the user's script: let it reach the interpreter, which ends by the
    signal.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        result = _group.main(args=arguments, prog_name="stayfinite", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except Interrupted:
        # the interpreter ends by the signal, as its parent expects, only if it sees the exception itself
        sys.excepthook = lambda *_: None
        raise KeyboardInterrupt from None
    except click.Abort:
        print("stayfinite: interrupted", file=sys.stderr)
        return 130
    return result if isinstance(result, int) else 0
