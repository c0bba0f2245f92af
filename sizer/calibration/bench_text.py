"""Rows of llama-bench's output in each form it prints: JSON, JSON lines, CSV, SQL and Markdown tables.

Log lines before, between and after them are skipped. Field names are those of llama.cpp
tools/llama-bench/llama-bench.cpp (`test::get_fields`); Markdown's short names are those of its
`markdown_printer`, 2023 to 2026.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sizer.errors import InvalidFile
from sizer.readers.regular_file import open_regular
from sizer.units import BYTE_UNITS, COUNT_UNITS

FIELD = "from-llama-bench"
ACCEPTED = "the output of llama-bench: its Markdown table, or -o json, jsonl, csv or sql"
# Markdown rounds sizes and counts to two decimals; these keys hold by how much either may be off.
SIZE_ROUNDING, COUNT_ROUNDING = "model_size_rounding", "model_n_params_rounding"

_MAX_BYTES = 10 * 10**6
_MAX_RUNS = 20_000
_LEAST_LINE = 6  # shorter ones are no row of any table
# An object with log lines in it is searched that far, and that often
_MAX_OBJECT, _MAX_BRACES = 200_000, 100

_WHOLE = frozenset(
    (
        *("build_number", "n_batch", "n_ubatch", "n_threads", "poll", "model_size", "model_n_params"),
        *("n_gpu_layers", "n_cpu_moe", "main_gpu", "n_prompt", "n_gen", "n_depth", "flash_attn"),
        *("no_op_offload", "fit_target", "fit_min_ctx"),
    )
)
_DECIMAL = frozenset(("avg_ns", "stddev_ns", "avg_ts", "stddev_ts"))
_YES_OR_NO = frozenset(
    (
        *("cpu_strict", "no_kv_offload", "use_mmap", "use_direct_io", "embeddings", "no_host", "mul_mat_q"),
        *("f16_kv", "repack", "metal", "cuda", "vulkan", "opencl", "kompute", "sycl", "cann", "musa"),
        *("gpu_blas", "blas"),
    )
)

# Markdown's names of columns -> fields
_COLUMNS: Mapping[str, str] = {
    "model": "model_type",
    "backend": "backends",
    "ngl": "n_gpu_layers",
    "threads": "n_threads",
    "sm": "split_mode",
    "mg": "main_gpu",
    "nkvo": "no_kv_offload",
    "fa": "flash_attn",
    "dev": "devices",
    "ts": "tensor_split",
    "ot": "tensor_buft_overrides",
    "mmap": "use_mmap",
    "dio": "use_direct_io",
    "lm": "load_mode",
    "embd": "embeddings",
    "nopo": "no_op_offload",
    "noh": "no_host",
    "ncmoe": "n_cpu_moe",
    "mmq": "mul_mat_q",
    "fitt": "fit_target",
    "fitc": "fit_min_ctx",
}
_QUANTITY = re.compile(r"([0-9][0-9,. ]{0,30})\s*([A-Za-z]{0,4})")
_TEST = re.compile(
    r"(?:pp ?([0-9]{1,9}))?(?: ?\+ ?)?(?:tg ?([0-9]{1,9}))?(?: ?@ ?d ?([0-9]{1,9}))?", re.IGNORECASE
)
_GROUPED = re.compile(r"[0-9]{1,3}(?:[, ][0-9]{3})+(?:\.[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[0-9]+,[0-9]{1,2}")
_INSERT = re.compile(r"INSERT INTO \w{1,64} \(([^()]{1,4000})\) VALUES \((.*)\);?", re.IGNORECASE)
# Of a table that is quoted in a message or an issue.
_QUOTED = re.compile(r"^(?:>\s*)+(?=\||build:)")
_BUILD = re.compile(r"build: ([0-9A-Za-z._-]{1,40})(?: \([0-9]{1,9}\))?")
_OBJECT = re.compile(r"[ \t\r\[\],]*\{(?=\s{0,100}(?:[\"}]|\Z)|[ \t\r]*\n(?:[^\n]{0,500}\n){0,5}?[ \t]*\")")
_NAME = re.compile(r"\{\s{0,100}(?:[\"}]|\Z)")
_NOTHING = re.compile(r"\s*\Z")
_CLOSING = re.compile(r"\n[ \t]{0,8}\}")
_JSON_STARTS = tuple('"{}[]')
# Lines of the log in which CUDA, Vulkan and Metal name their device
_DEVICE = re.compile(
    r"(?:\s*Device 0: ([^,|]{1,100}),|ggml_vulkan: 0 = ([^|]{1,100}?) (?:\([^()|]{0,100}\) )?\||"
    r"ggml_metal_\w+: (?:found|picking default) device: (.{1,100}))"
)


class BenchRows(NamedTuple):
    """Rows with the fields of llama-bench's JSON, in the file's order, and what the log has besides."""

    rows: list[dict[str, Any]]
    device: str  # empty where not printed


def read_rows(path: Path) -> BenchRows:
    """Read the rows of a file; InvalidFile if it has none, is cut off within one, or is too large."""
    with open_regular(path, ACCEPTED, FIELD) as (stream, _):
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise InvalidFile(f"{FIELD}: {path.name} is larger than {_MAX_BYTES} bytes; accepted: {ACCEPTED}")
    # Windows' shells redirect as UTF-16 and put a byte-order mark before UTF-8
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding, "replace")
    if not text.strip():
        raise InvalidFile(f"{FIELD}: {path.name} is empty; accepted: {ACCEPTED}")
    return _Reader(path.name, text).read()


class _Reader:
    """State of reading a text: the place, and the table whose rows are being read."""

    def __init__(self, origin: str, text: str) -> None:
        self._origin, self._text = origin, text
        self._at = 0
        self._found = BenchRows([], "")
        self._columns: list[str] = []  # of the current table
        self._delimiter = ""  # of the current CSV table; empty in a Markdown table
        self._decoder = json.JSONDecoder()
        self._braces = 0  # log lines that looked like the begin of an object

    def read(self) -> BenchRows:
        """Read the whole text, line by line; a JSON object may span several."""
        while self._at < len(self._text):
            if not self._json():
                end = self._text.find("\n", self._at)
                end = len(self._text) if end < 0 else end
                self._line(self._text[self._at : end].strip())
                self._at = end + 1
            if len(self._found.rows) > _MAX_RUNS:
                raise InvalidFile(
                    f"{FIELD}: {self._origin} holds more than {_MAX_RUNS} runs; accepted: {ACCEPTED}"
                )
        if not self._found.rows:
            raise InvalidFile(f"{FIELD}: {self._origin} holds no runs of llama-bench; accepted: {ACCEPTED}")
        # `-o json -oe md` prints every run twice, the second time rounded
        exact = [row for row in self._found.rows if SIZE_ROUNDING not in row]
        return self._found._replace(rows=exact or self._found.rows)

    def _cut_off(self, what: str) -> InvalidFile:
        line = self._text.count("\n", 0, self._at) + 1
        return InvalidFile(
            f"{FIELD}: {self._origin} is not {what} from line {line} on: it was cut off or is something "
            f"else; accepted: {ACCEPTED}"
        )

    def _json(self) -> bool:
        """Read the JSON object that begins here, if there is one, and go behind it."""
        found = _OBJECT.match(self._text, self._at)
        if found is None:
            return False
        begin = found.end() - 1
        try:
            value, self._at = self._decoder.raw_decode(self._text, begin)
        except (ValueError, RecursionError):
            value = self._among_log_lines(begin)
        # a log line may begin with a brace; in what llama-bench prints a name in quotes follows it
        if value is None:
            self._braces += 1
            if _NAME.match(self._text, begin) or self._braces > _MAX_BRACES:
                raise self._cut_off("complete JSON")
        self._found.rows.extend(_runs_in(value))
        return value is not None

    def _among_log_lines(self, begin: int) -> Any:
        """Decode an object whose lines have log lines between them, and go behind it; None if it is none."""
        closing = _CLOSING.search(self._text, begin, begin + _MAX_OBJECT)
        if closing is not None:
            lines = self._text[begin : closing.end()].split("\n")
            try:
                value = json.loads("\n".join(line for line in lines if line.lstrip()[:1] in _JSON_STARTS))
            except (ValueError, RecursionError):
                pass
            else:
                self._at = closing.end()
                return value
        return None

    def _line(self, line: str) -> None:
        """Read one line: a table's header, a table's row, an SQL row, or part of the log."""
        if len(line) < _LEAST_LINE:
            return
        line = _QUOTED.sub("", line)
        if (statement := _INSERT.fullmatch(line)) is not None:
            names = [name.strip() for name in statement[1].split(",")]
            self._row(names, _split(statement[2], ",", "'"))
        elif line[:12].upper() == "INSERT INTO ":
            raise self._cut_off("complete SQL")
        elif (header := _csv_header(line)) is not None:
            self._columns, self._delimiter = header
        elif (columns := _markdown_header(line)) is not None:
            self._columns, self._delimiter = columns, ""
        elif self._columns and self._delimiter:
            self._csv_line(line)
        elif self._columns and "|" in line:
            self._markdown_line(line)
        elif (build := _BUILD.match(line)) is not None:
            self._of_build(build[1])
        elif (named := _DEVICE.match(line)) is not None and not self._found.device:
            self._found = self._found._replace(device=next(filter(None, named.groups())).strip())

    def _markdown_line(self, line: str) -> None:
        cells = _cells(line)
        is_row = len(cells) == len(self._columns)
        end = self._text.find("\n", self._at)
        is_last = end < 0 or _NOTHING.match(self._text, end) is not None
        if is_last and line.startswith("|") and not (is_row and line.endswith("|")):
            raise self._cut_off("a complete table")
        if not is_row:
            self._columns = [] if line.startswith("|") else self._columns  # another table
        elif not all(set(cell) <= set("-: ") for cell in cells):
            self._found.rows.append(_markdown_row(self._columns, cells))

    def _of_build(self, build: str) -> None:
        """Add the build, which stands below a table, to the table's rows."""
        for row in reversed(self._found.rows):
            if "build_commit" in row:
                break
            row["build_commit"] = build

    def _csv_line(self, line: str) -> None:
        cells = _split(line, self._delimiter, '"')
        if len(cells) == len(self._columns) and cells != self._columns:
            self._row(self._columns, cells)
        elif len(cells) > len(self._columns) / 2 or line.startswith('"'):
            raise self._cut_off("complete CSV")

    def _row(self, names: list[str], cells: list[str]) -> None:
        if len(names) != len(cells):
            raise self._cut_off("complete SQL")
        # without the field there is a default; an empty cell is no value
        self._found.rows.append(
            {name: _typed(name, cell) for name, cell in zip(names, cells, strict=True) if cell}
        )


def _runs_in(value: Any) -> list[dict[str, Any]]:
    """Return the runs of a decoded object: itself, or those in lists that it holds."""
    if not isinstance(value, dict):
        return []
    inside = (item for found in value.values() if isinstance(found, list) for item in found)
    # tools that convert tables print numbers as text
    return [
        {name: _typed(name, item) if isinstance(item, str) else item for name, item in run.items()}
        for run in ([value] if _is_run(value) else inside)
        if _is_run(run)
    ]


def _is_run(value: Any) -> bool:
    return isinstance(value, dict) and any(name in value for name in ("n_prompt", "n_gen", "model_filename"))


def _split(line: str, delimiter: str, quote: str) -> list[str]:
    """Split one line of CSV, quotes doubled inside quotes; empty if it is none."""
    try:
        return [
            cell.strip()
            for cell in next(
                csv.reader([line], delimiter=delimiter, quotechar=quote, skipinitialspace=True), []
            )
        ]
    except csv.Error:
        return []


def _csv_header(line: str) -> tuple[list[str], str] | None:
    """Return the fields and the delimiter if the line is the head of a CSV table."""
    if "avg_ns" not in line and "avg_ts" not in line:
        return None
    for delimiter in (",", ";", "\t"):
        names = _split(line, delimiter, '"')
        if "n_gen" in names and "n_prompt" in names and ("avg_ns" in names or "avg_ts" in names):
            return names, delimiter
    return None


def _cells(line: str) -> list[str]:
    cells = [cell.strip().strip("*`").strip() for cell in line.split("|")]
    return cells[1 if line.startswith("|") else 0 : -1 if line.endswith("|") else None]


def _markdown_header(line: str) -> list[str] | None:
    """Return the columns if the line is the head of llama-bench's table."""
    if "|" not in line or "t/s" not in line.lower():
        return None
    names = [name.lower() for name in _cells(line)]
    return names if {"model", "test", "t/s"} <= set(names) else None


def _markdown_row(columns: list[str], cells: list[str]) -> dict[str, Any]:
    """Return a table's row under the names of llama-bench's fields."""
    row: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        if column == "size":
            row["model_size"], row[SIZE_ROUNDING] = _rounded(cell, BYTE_UNITS)
        elif column == "params":
            row["model_n_params"], row[COUNT_ROUNDING] = _rounded(cell, COUNT_UNITS)
        elif column == "test":
            row |= _test(cell)
        elif column == "t/s":
            rate, _, spread = (
                cell.replace("+/-", "±").replace("+-", "±").replace("�", "±").replace("Â", "").partition("±")
            )
            row["avg_ts"] = _number(rate)
            if spread.strip():
                row["stddev_ts"] = _number(spread)
        elif cell:
            field = _COLUMNS.get(column, column)
            row[field] = _typed(field, cell)
    row.setdefault("model_filename", row.get("model_type"))
    return row


def _test(cell: str) -> dict[str, Any]:
    """Return prompt, generated tokens and depth of a test such as "pp512", "tg128 @ d4096"."""
    found = _TEST.fullmatch(cell)
    if found is None or not (found[1] or found[2]):
        return {"n_prompt": cell}
    prompt, generated, depth = (int(text or 0) for text in found.groups())
    return {"n_prompt": prompt, "n_gen": generated, "n_depth": depth}


def _rounded(cell: str, units: Mapping[str, float]) -> tuple[Any, int]:
    """Return a quantity such as "727.75 MiB" or "1.24 B", and by how much rounding may have changed it."""
    found = _QUANTITY.fullmatch(cell)
    number = _number(found[1]) if found else cell
    unit = units.get(found[2].upper()) if found else None
    if unit is None or isinstance(number, str):
        return cell, 0
    decimals = len(found[1].strip().partition(".")[2]) if found else 0
    return round(number * unit), round(unit * 10.0**-decimals / 2)


def _number(text: str) -> float | str:
    """Return a number as llama-bench or a spreadsheet prints it; the text itself if it is none."""
    plain = text.strip(" *`")
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "").replace(" ", "")
    elif _DECIMAL_COMMA.fullmatch(plain):
        plain = plain.replace(",", ".")
    try:
        return float(plain)
    except ValueError:
        return text


def _typed(field: str, cell: str) -> Any:
    """Return a cell as JSON has that field: a whole number, a number, yes or no, or text."""
    convert: Callable[[str], Any] | None = None
    if field in _WHOLE or field in _DECIMAL:
        convert = _number
    elif field in _YES_OR_NO:
        convert = {"0": False, "1": True, "false": False, "true": True}.get
    value = convert(cell if convert is _number else cell.lower()) if convert else cell
    if value is None:
        return cell
    return int(value) if field in _WHOLE and isinstance(value, float) and value.is_integer() else value
