"""The command line: assemble the commands, turn errors into one line and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from sizer import __version__
from sizer.errors import NoFit, SizerError

_HELP = "Which small language model for this device and budget: will it fit, how fast, how good, how sure."

# Command: module and object. Only the module of the requested command is loaded: building all of them would
# take longer than the estimate itself.
_COMMANDS = {
    "estimate": ("commands.estimate", "estimate_command"),
    "compare": ("commands.compare", "compare_command"),
    "solve": ("commands.solve", "solve_command"),
    "devices": ("commands.devices", "devices_command"),
    "models": ("commands.models", "models_command"),
    "formats": ("commands.formats", "formats_command"),
    "inspect": ("commands.inspect", "inspect_command"),
    "calibrate": ("commands.calibrate", "calibrate_command"),
    "export-bench-models": ("commands.bench_models", "export_bench_models_command"),
    "search": ("commands.search", "app"),
    "cluster": ("commands.cluster", "cluster_command"),
    "export": ("commands.export", "export_command"),
    "verify": ("commands.verify", "verify_command"),
    "score": ("commands.score", "score_command"),
    "generate": ("commands.generate", "generate_command"),
    "quality": ("commands.quality", "app"),
    "app": ("commands.app", "app_command"),
}


class _WholeHelp(TyperGroup):
    """A group whose help shows the whole first sentence of each command, which Typer cuts at one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names of the commands and their first sentences."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        shown = {name: command for name, command in commands.items() if command and not command.hidden}
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(limit=1000)) for name, one in shown.items()])


def _version(value: bool) -> None:
    if value:
        print(f"sizer {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Size, search and explore small language models for devices."""


def build(wanted: str | None = None) -> typer.Typer:
    """Return the Typer application with one command, or with all if `wanted` is not a command."""
    app = typer.Typer(cls=_WholeHelp, help=_HELP, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(_root)
    for name in (wanted,) if wanted in _COMMANDS else _COMMANDS:
        module, attribute = _COMMANDS[name]
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, cls=_WholeHelp)
        else:
            app.command(name)(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0 done, 1 does not fit or nothing found, 2 bad input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    # before torch is loaded: spinning threads take cores from other programs, and make each of two
    # searches take five times as long (benchmarks/search/side_by_side.py)
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        gc.disable()  # freshly imported modules hold no garbage, and a collection takes milliseconds
        try:
            app = build(given[0])
        finally:
            gc.freeze()  # modules stay alive: later collections can skip them
            gc.enable()
        return int(app(args=given, prog_name="sizer", standalone_mode=False) or 0)
    except NoFit as error:
        return _fail(str(error), 1)
    except SizerError as error:
        return _fail(str(error), 2)
    except ModuleNotFoundError as error:
        from sizer.extras import missing_extra

        missing = missing_extra(error)
        if missing is None:
            raise
        return _fail(str(missing), 2)
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        # errors of Typer: an unknown option, a value that is not a number
        message = getattr(error, "format_message", None)
        return _fail(message() if message else str(error), 2)
    except BrokenPipeError:
        # `sizer models | head` closed the pipe: keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def run() -> None:
    """Entry point of the console script."""
    code = main()
    # The process ends here; the interpreter's final collections would take a seventh of the time of a short
    # command.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    run()
