"""The `twotower` command: finds `twotower/cli/<name>.py` and runs its click command, loading nothing else."""

from __future__ import annotations

import importlib
import shlex
import sys

import click
from click.shell_completion import CompletionItem

from twotower.core.errors import UserError, nearest
from twotower.core.extras import is_extra, missing
from twotower.core.files import CLOSED_TO_US, NO_ROOM
from twotower.core.format import visible
from twotower.core.version import __version__
from twotower.kernels.threads import let_threads_wait

COMMANDS = {
    "best": "Print the best finished run.",
    "cache": "Show or clear what runs share on disk.",
    "checkpoints": "Rank the checkpoints (.pt) under a folder.",
    "clean": "Remove what can be made again from finished runs.",
    "compare": "Compare runs query by query, with paired tests.",
    "diff": "Show how the configs of runs differ.",
    "encode": "Encode a file of texts into vectors, in shards.",
    "evaluate": "Evaluate a trained model on its data or on yours.",
    "export": "Write a model for other libraries, or to the hub.",
    "index": "Build an index for an earlier run.",
    "report": "Write a report on runs as one HTML file.",
    "rerun": "Repeat a run, or a variation of it.",
    "runs": "List all runs in one table.",
    "search": "Search the documents of a trained run.",
    "train": "Train one model, or with -m a sweep.",
    "ui": "Look at runs, search and compare them in the terminal.",
}
"""The commands, which are the files of those names beside this one, and what the list of them says of each: so that the
list is there without loading one of them."""


class _Lazy(click.Group):
    """A click group whose commands are loaded when they are asked for, and no other."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"twotower.cli.{name}").command  # type: ignore[no-any-return]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        items = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return items + click.Command.shell_complete(self, context, incomplete)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            raise UserError(f"No command '{args[0]}'; there are: {', '.join(COMMANDS)}.{nearest(args[0], COMMANDS)}")
        return super().resolve_command(context, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Train, compare, index and search two-tower models."""


def main() -> None:
    """Runs the command line; a user's mistake is one line and exit code 2."""
    let_threads_wait()
    try:
        sys.exit(cli(prog_name="twotower", standalone_mode=False) or 0)
    except UserError as error:
        click.secho(f"twotower: {visible(_with_way_out(error))}", fg="red", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if not is_extra(error.name):
            raise
        needed_by = " ".join(["twotower", *sys.argv[1:2]])
        click.secho(f"twotower: {missing(needed_by, str(error.name))}", fg="red", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        full = error.errno in NO_ROOM  # told of without a name, once a file is open
        if error.errno not in CLOSED_TO_US or (error.filename is None and not full):
            raise
        where = "" if error.filename is None else f" {error.filename}"
        click.secho(f"twotower: cannot write{where}: {error.strerror}.", fg="red", err=True)
        sys.exit(2)
    except click.ClickException as error:
        program = getattr(getattr(error, "ctx", None), "command_path", "twotower")
        click.secho(f"twotower: {error.format_message()} `{program} --help` shows what there is.", fg="red", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Stopped.", err=True)
        sys.exit(130)


def _with_way_out(error: UserError) -> str:
    """Returns the message; where a part is not trusted, with the command that trusts it."""
    package = getattr(error, "package", "")
    if not package:
        return str(error)
    command = shlex.join(["twotower", *sys.argv[1:], "--trust", package])
    return f"{getattr(error, 'refusal', error)} If you trust it: {command}"


if __name__ == "__main__":
    main()
