"""The best shapes of a budget as a pandas table, and as what `sizer solve --rank law --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.text.wording import above_text, outside_text, rate_text, shape_text
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

    from search.space.design import Design


def design_frame(design: Design, rows: Sequence[int]) -> pd.DataFrame:
    """Return a row for each feasible shape, units in the names; loss as a share above the best's."""
    return pd.DataFrame([_line(design, row) for row in rows])


def _line(design: Design, row: int) -> dict[str, Any]:
    a, ranked = design.architecture(row), design.feasible
    shapes = ranked.shapes
    speed = shapes.decode_tokens_per_s
    return {
        "num_layers": a.num_layers,
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "num_heads": a.num_heads,
        "num_kv_heads": a.num_kv_heads,
        "head_dim": a.head_dim,
        "format": design.format(row),
        "loss_above": float(ranked.above[row]),
        "loss_above_low": float(ranked.low[row]),
        "loss_above_high": float(ranked.high[row]),
        "parameters": int(shapes.parameters[row]),
        "file_bytes": int(shapes.file_bytes[row]),
        "memory_bytes": int(shapes.memory_bytes[row]),
        "decode_tokens_per_s": None if speed is None else float(speed[row]),
        "outside": outside_text(ranked.outside_of(row)),
    }


def best_style(design: Design, rows: Sequence[int]) -> Styler:
    """Return the same rows to look at: numbers to sort by, written as everywhere else."""
    frame = design_frame(design, rows)
    ranked = design.feasible
    losses = [above_text(ranked.above[row], ranked.low[row], ranked.high[row]) for row in rows]
    shapes = [shape_text(design.architecture(row)) for row in rows]
    shown = pd.DataFrame(
        {
            "shape": shapes,
            "FFN size": frame["intermediate_size"],
            "format": frame["format"],
            "expected loss": frame["loss_above"],
            "file": frame["file_bytes"],
            "memory": frame["memory_bytes"],
            "parameters": frame["parameters"],
            **(
                {"decode, tokens/s": frame["decode_tokens_per_s"]}
                if ranked.shapes.decode_tokens_per_s is not None
                else {}
            ),
            "extrapolated": frame["outside"],
        },
    ).set_axis(range(1, len(rows) + 1), axis=0)
    wordings: dict[str, Any] = {
        "FFN size": "{:,}",
        "file": format_bytes,
        "memory": format_bytes_binary,
        "parameters": format_count,
        "decode, tokens/s": rate_text,
    }
    texts = iter(losses)
    style = shown.style.format({name: how for name, how in wordings.items() if name in shown})
    return style.format(lambda _: next(texts), subset=["expected loss"])
