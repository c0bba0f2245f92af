"""`sizer estimate --batch`: one JSON object per line in, one estimate per line out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from commands.console import notice
from sizer.errors import InvalidFile, SizerError
from sizer.request import EstimateRequest

MAX_LINE = 4 * 2**20  # characters


def run_batch(source: str) -> int:
    """Print estimates for JSON lines, in order; return 2 if any line was bad, else 0."""
    if source == "-":
        failed = _batch_lines(_bounded(sys.stdin))
    else:
        try:
            with Path(source).open(encoding="utf-8") as stream:
                failed = _batch_lines(_bounded(stream))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise InvalidFile(f"batch: cannot read {source!r}: {reason}; accepted: a file or -") from None
    if failed:
        notice(f"error: {failed} bad line(s) in {source}")
    return 2 if failed else 0


def _bounded(stream: TextIO) -> Iterator[str]:
    """Yield the lines of a stream; InvalidFile for one without an end, such as a device's."""
    while line := stream.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise InvalidFile(f"batch: a line of over {MAX_LINE:,} characters; accepted: one JSON object")
        yield line


def _batch_lines(lines: Iterable[str]) -> int:
    """Print the estimate of every line; return the number of bad lines."""
    failed = 0
    document: dict[str, Any]
    for line in lines:
        if not line.strip():
            continue
        try:
            document = _batch_line(line)
        except SizerError as error:
            document, failed = {"error": str(error)}, failed + 1
        # flushed: the program that reads the pipe may wait for each answer
        print(json.dumps(document, allow_nan=False), flush=True)
    return failed


def _batch_line(line: str) -> dict[str, Any]:
    """Return the estimate that a line asks for as plain JSON values."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidFile("line: not JSON; accepted: one JSON object a line") from None
    return EstimateRequest.from_json(values).run().to_dict()
