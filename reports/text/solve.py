"""Architectures that fill a budget as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from reports.text.text_table import Column, TextTable
from reports.text.wording import NOT_KNOWN, decode_text, outside_text, shape_text
from sizer.model_estimate import Estimate
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from search.space.design import Design
    from sizer.quality.prediction import Quality

COLUMNS = ("shape", "FFN size", "parameters", "bits per weight", "file", "memory", "decode tokens/s (range)")

# with the losses there is no room for the bits
LAW, _BITS = "expected loss (range)", COLUMNS[3]


def solve_table(found: Sequence[Estimate], *, more: Mapping[str, Sequence[str]] | None = None) -> TextTable:
    """Return one row a shape, in the order given, with further columns by their heading."""
    more = more or {}
    rows = []
    for number, sized in enumerate(found):
        decode = sized.latency.decode_tokens_per_s if sized.latency else None
        cells = (
            shape_text(sized.architecture),
            f"{sized.architecture.intermediate_size:,}",
            format_count(sized.parameters.total),
            *(() if more else (f"{sized.bits_per_weight:.2f}",)),
            format_bytes(sized.file.total),
            format_bytes_binary(sized.memory.total_bytes),
            decode_text(decode) if decode else NOT_KNOWN,
            *(cells[number] for cells in more.values()),
        )
        rows.append(cells)
    shown = (*(c for c in COLUMNS if c != _BITS), *more) if more else COLUMNS
    return TextTable(
        columns=tuple(
            Column(
                name=name.replace(" (", "\n(").replace("bits per ", "bits per\n"),
                right=name != "shape",
                is_key=name == "shape",
                drop={_BITS: 1, "parameters": 2}.get(name, 0),
            )
            for name in shown
        ),
        rows=tuple(rows),
    )


def quality_columns(reached: Sequence[Sequence[Quality]]) -> dict[str, list[str]]:
    """Return accuracies by training length, a column for each length."""
    columns = {}
    for number, first in enumerate(reached[0] if reached else ()):
        same = all(row[number].tokens == first.tokens for row in reached)
        length = f"{format_count(first.tokens)} tokens" if same else "20 tokens a weight"
        columns[f"accuracy after\n{length} (range)"] = [_accuracy(row[number]) for row in reached]
    return columns


def _accuracy(quality: Quality) -> str:
    return f"{quality.accuracy:.1f} ({quality.low:.1f} to {quality.high:.1f})"


def law_note(design: Design, rows: Sequence[int], reached: Sequence[Sequence[Quality]] = ()) -> Text:
    """Return what the columns of losses or accuracies mean, and in which terms shapes are extrapolated."""
    ranked = design.feasible
    beyond = dict.fromkeys(term for row in rows for term in ranked.outside_of(row))
    outside = f" Extrapolated in: {outside_text(beyond)}." if beyond else ""
    if reached:
        last = reached[0][-1]
        return Text(
            f"The best of {len(ranked.shapes):,} shapes within the budget by their loss after "
            f"{format_count(last.tokens)} training tokens. Accuracies are percent, the mean of eight "
            f"zero-shot tasks, with 80 % ranges; {last.basis}.{outside}"
        )
    return Text(
        f"The best of {len(ranked.shapes):,} shapes within the budget. Losses are relative to the first, "
        "for equal training, by the quality law of published models, with 80 % ranges."
        f"{outside}"
    )
