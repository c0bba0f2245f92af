"""The page docs/closed_loop.md: each exported model's quantities, predicted and measured."""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = """# The closed loop: predicted against measured

Made by `python benchmarks/export/closed_loop.py FOLDER{options} --out docs/closed_loop.md`.
Twelve models, two in each of six formats, were searched for, exported by `sizer export` and verified by
`sizer verify` in llama.cpp, one thread, on {machine}, {cores} cores.
Meanwhile {low:.1f} to {high:.1f} processes of this and other programs were running or waiting (load average):
bytes, score and memory do not depend on that, speeds do.
{speeds}
"""
_SPEEDS = "Speeds are predicted from a profile that `sizer calibrate` measured here{doubt}."
_NO_SPEEDS = (
    "So no speeds are compared here: without `--without-speeds` the same command does, on a quiet machine."
)

# Quantity: title, unit, the number by which both are divided, digits
_SHOWN: Mapping[str, tuple[str, float, int]] = {
    "memory_bytes": ("memory, MB", 1e6, 2),
    "load_s": ("load, ms", 1e-3, 1),
    "prefill_tokens_per_s": ("prompt, tokens/s", 1, 0),
    "decode_tokens_per_s": ("decode, tokens/s", 1, 0),
}
_EXACT = {
    "file_bytes": "file bytes equal to those the search predicted",
    "val_bits_per_byte": "score within 0.0005 bits per byte of the search's",
}
_MEMORY = {"memory_bytes": "memory within 5 % or 5 MiB"}
_SPEED = {
    "load_s": "load inside its 80 % range",
    "prefill_tokens_per_s": "prompt speed inside its 80 % range",
    "decode_tokens_per_s": "decoding speed inside its 80 % range",
}


def page(results: Sequence[Mapping[str, Any]], *, profile: str | None, cores: int | None = None) -> str:
    """Return the page as Markdown; without a profile of the machine its speeds are left out."""
    machine, options, speeds = f"a processor of type {platform.machine()}", " --without-speeds", _NO_SPEEDS
    counted = _EXACT | _MEMORY
    shown: Mapping[str, tuple[str, float, int]] = {name: _SHOWN[name] for name in _MEMORY}
    if profile is not None:
        table = tomllib.loads(profile)
        doubt = table["profile"][0].get("doubt")
        machine, options = table["device"]["title"], ""
        speeds = _SPEEDS.format(
            doubt=f", which it marks as not to be trusted ({doubt})" if doubt else "",
        )
        counted, shown = _EXACT | _MEMORY | _SPEED, _SHOWN
    ranges = "5 % or 5 MiB" if profile is None else "80 %; memory: 5 % or 5 MiB"
    loads = [result["load"] for result in results]
    lines = [
        _HEAD.format(
            machine=machine,
            options=options,
            speeds=speeds,
            low=min(loads),
            high=max(loads),
            cores=cores or os.cpu_count(),
        ),
        "| quantity | agrees |",
        "|---|---|",
        *(f"| {text} | {_count(results, quantity)} |" for quantity, text in counted.items()),
        "",
        "## Bytes and score",
        "",
        "| model | tokens, sharing | format | file, as the search counted | exported "
        "| bits per byte, predicted | in llama.cpp | difference |",
        "|---|---|---|---|---|---|---|---|",
        *(_exact_line(result) for result in results),
        "",
        "## Memory" if profile is None else "## Memory and speed",
        "",
        f"Measured, and in brackets predicted with its range ({ranges}); bold if outside.",
        "",
        f"| model | format | {' | '.join(title for title, *_ in shown.values())} |",
        f"|---|---|{'---|' * len(shown)}",
        *(_measured_line(result, shown) for result in results),
        "",
    ]
    return "\n".join(lines)


def agrees(result: Mapping[str, Any], quantity: str) -> bool | None:
    """Return whether a quantity agrees; a file agrees where the search's own count does as well."""
    found = _rows(result)[quantity]["agrees"]
    if quantity == "file_bytes":
        return bool(found) and result["study_file_bytes"] == result["export"]["file_bytes"]
    return None if found is None else bool(found)


def _count(results: Sequence[Mapping[str, Any]], quantity: str) -> str:
    answers = [agrees(result, quantity) for result in results]
    compared = [answer for answer in answers if answer is not None]
    return f"{sum(compared)} of {len(compared)}"


def _rows(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {row["quantity"]: row for row in result["rows"]}


def _exact_line(result: Mapping[str, Any]) -> str:
    score, model = _rows(result)["val_bits_per_byte"], result["model"]
    cells = (
        result["architecture"]["name"],
        f"{model['tokenizer']}, {result['architecture']['sharing']['strategy']}",
        model["format"],
        f"{result['study_file_bytes']:,}",
        f"{result['export']['file_bytes']:,}",
        f"{score['predicted']:.6f}",
        f"{score['measured']:.6f}",
        f"{score['measured'] - score['predicted']:+.6f}",
    )
    return f"| {' | '.join(cells)} |"


def _measured_line(result: Mapping[str, Any], shown: Mapping[str, tuple[str, float, int]]) -> str:
    rows = _rows(result)
    cells = [result["architecture"]["name"], result["model"]["format"]]
    for quantity, (_, unit, digits) in shown.items():
        row = rows[quantity]
        measured, predicted, low, high = (
            "-" if row[key] is None else f"{row[key] / unit:,.{digits}f}"
            for key in ("measured", "predicted", "low", "high")
        )
        marked = f"**{measured}**" if row["agrees"] is False else measured
        cells.append(f"{marked} ({predicted}, {low} to {high})")
    return f"| {' | '.join(cells)} |"
