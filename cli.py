"""The command line: puts the commands together, turns errors into one line and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from sizer import __version__
from sizer.errors import NoFit, SizerError

_HELP = "Which small language model for this device and budget: will it fit, how fast, how good, how sure."

# Command: module and object. Only the module of the command asked for is loaded: building all of them would
# take longer than the estimate itself.
_COMMANDS = {
    "estimate": ("commands.sizing", "estimate_command"),
    "compare": ("commands.compare", "compare_command"),
    "solve": ("commands.solve", "solve_command"),
    "devices": ("commands.catalogue", "devices_command"),
    "models": ("commands.catalogue", "models_command"),
    "formats": ("commands.catalogue", "formats_command"),
    "inspect": ("commands.inspect", "inspect_command"),
    "calibrate": ("commands.calibrate", "calibrate_command"),
    "export-bench-models": ("commands.bench_models", "export_bench_models_command"),
    "search": ("commands.searching", "app"),
    "app": ("commands.explorer", "app_command"),
}


def _version(value: bool) -> None:
    if value:
        print(f"sizer {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Sizes, searches and explores small language models for devices."""


def build(wanted: str | None = None) -> typer.Typer:
    """The Typer application with one command, or with all of them where none is named."""
    app = typer.Typer(help=_HELP, pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)
    app.callback()(_root)
    for name in (wanted,) if wanted in _COMMANDS else _COMMANDS:
        module, attribute = _COMMANDS[name]
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 it does not fit or nothing found, 2 bad input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    # before torch is loaded: threads that wait by turning keep cores from other programs, and from a second
    # search so badly that each takes five times as long (benchmarks/side_by_side.py)
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        gc.disable()  # freshly imported modules hold nothing to collect, and looking takes milliseconds
        try:
            app = build(given[0])
        finally:
            gc.freeze()  # nor will they ever: later collections need not look at them
            gc.enable()
        return int(app(args=given, prog_name="sizer", standalone_mode=False) or 0)
    except NoFit as error:
        return _fail(str(error), 1)
    except SizerError as error:
        return _fail(str(error), 2)
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        # what Typer itself refuses: an unknown option, a number that is none
        told = getattr(error, "format_message", None)
        return _fail(told() if told else str(error), 2)
    except BrokenPipeError:
        # `sizer models | head`: the reader left; keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def run() -> None:
    """Entry point of the console script."""
    code = main()
    # All that is left dies with the process; the interpreter's own last collections would take a seventh of
    # the time of a short command.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    run()
