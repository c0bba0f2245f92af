"""Output of every command: tables and JSON on stdout, notices on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from sizer.errors import InvalidQuantity
from sizer.units import parse_tokens

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def _tokens_of(text: str | int) -> int:
    """Return the tokens of an option; typer's error names the option."""
    try:
        return parse_tokens(str(text), "")
    except InvalidQuantity as error:
        raise typer.BadParameter(str(error).removeprefix(": ")) from None


def tokens_option(help_text: str) -> Any:
    """Return an option of tokens, such as 4096 or 128k."""
    return typer.Option(parser=_tokens_of, metavar="TOKENS", help=help_text)


CONTEXT = tokens_option("Context length, such as 4096 or 128k.")
JSON = typer.Option("--json", help="One JSON document on stdout.")


class Form(StrEnum):
    """How a command prints its table."""

    TABLE = "table"
    MARKDOWN = "md"
    CSV = "csv"
    JSON = "json"


OUTPUT = typer.Option("--output", "-o", help="How to print the table: table, md, csv or json.")

# A narrower page could not hold its own figures.
_NARROWEST = 40


def out(renderable: RenderableType) -> None:
    """Print a table or text on stdout."""
    console().print(renderable)


def console(*, stderr: bool = False) -> Console:
    """Return a rich console as wide as the terminal or COLUMNS says; 120 columns without both."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    known = stream.isatty() or _columns() is not None
    return Console(stderr=stderr, width=None if known else 120, highlight=False)


def text_width(widest: int) -> int:
    """Return the columns of text on stdout: those of COLUMNS or the terminal, at most `widest`."""
    columns = _columns()
    if columns is None:
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):  # a file or a pipe, or a stream of Python without a file
            return widest
    return min(widest, max(columns, _NARROWEST))


def _columns() -> int | None:
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isdecimal() and 0 < len(text) < 6 and int(text) > 0 else None


def out_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout and nothing else."""
    import json

    print(json.dumps(document, indent=2, allow_nan=False))


def chosen_form(json_output: bool, output: Form) -> Form:
    """Return the form asked for; --json is short for --output json."""
    return Form.JSON if json_output else output


def out_rows(document: Mapping[str, Any], rows: str, form: Form, more: Sequence[str] = ()) -> None:
    """Print a document as JSON, or the list under its key `rows` as CSV or Markdown; nothing of an empty one.

    A key such as "tensors.by_type" is of an object in the document. Rows are flat: `decode_tokens_per_s.low`
    is the key `low` of that object; elements of a list are joined by a semicolon. Numbers are those of the
    document, in the units that their names have. Lists under the keys `more`, where there are any, have an
    element for each row, which is added to it.
    """
    if form is Form.JSON:
        out_json(document)
        return
    added = [[(key, element) for element in document[key]] for key in more if document.get(key)]
    listed: Any = document
    for key in rows.split("."):
        listed = listed[key]
    flat = [dict(_leaves({**row, **dict(extra)})) for row, *extra in zip(listed, *added, strict=True)]
    if not flat:
        return
    columns = list(dict.fromkeys(name for row in flat for name in row))
    lines = [columns, *([row.get(name, "") for name in columns] for row in flat)]
    if form is Form.CSV:
        import csv

        csv.writer(sys.stdout, lineterminator="\n").writerows(lines)
        return
    lines.insert(1, ["---"] * len(columns))
    for line in lines:
        print("| " + " | ".join(_in_markdown(cell) for cell in line) + " |")


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        yield name, "; ".join(_cell(element) for element in value)
    else:
        yield name, "" if value is None else value


def _in_markdown(cell: Any) -> str:
    text = f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    return text.replace("|", "\\|").replace("\n", " ")


def _cell(element: Any) -> str:
    if isinstance(element, Mapping | list):
        import json

        return json.dumps(element)
    return str(element)


def notice(text: str) -> None:
    """Print one line on stderr."""
    print(text, file=sys.stderr)
