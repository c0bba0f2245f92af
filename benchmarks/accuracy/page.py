"""docs/accuracy.md as text: the comparisons of benchmarks.accuracy.accuracy with their summaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from math import ceil
from statistics import median

from benchmarks.accuracy import accuracy
from benchmarks.accuracy.accuracy import Comparison
from benchmarks.accuracy.latency import latency_section

NONE = "—"
TOOLS = ("sizer", "accelerate", "llm-analysis")
FILE_TOOLS = ("sizer", "sizer, tokenizer not known", "accelerate", "llm-analysis")

_HEAD = """# How near the numbers are

Made by `make accuracy` from published numbers; not edited by hand
(`tests/benchmarks/accuracy/test_accuracy.py` compares).

Beside this calculator stand two that know models by their shape: accelerate {accelerate} (`accelerate
estimate-memory`, run here with transformers {transformers} on each model's config) and llm-analysis 0.2.2
(its formulas, compared with what the package itself answers in
`tests/benchmarks/accuracy/test_other_calculators.py`). Neither was written for files of llama.cpp: accelerate
scales the bytes of float32 to the bits asked for, llm-analysis takes bits for the blocks and 16 bits for the
embedding. What is compared is what somebody would read off them. An error is (answer − published) /
published; below 0.001 % the tables give the difference itself.
"""

_PARAMETERS = """## Parameters

Exact counts that somebody published (sources: `params_source` in `sizer/data/architectures.toml`).
accelerate loads a model without its head (`AutoModel`), so a model whose head is not tied comes out too
small, and counts buffers, such as the frequencies of rotary positions. llm-analysis takes the head as tied,
the feed-forward block as two matrices of 4 x width, and the width of a head as width / heads.
"""

_FILES = """## GGUF files

Published files (sizes in bytes). The column *sizer* knows the tokenizer's bytes from files with the same
tokenizer (`sizer/data/tokenizers.toml`), some of them the very files of this table: it says how well the
rest of the file is known. *Tokenizer not known* leaves those out: the tokenizer in proportion to its rows,
from the other tokenizers. For accelerate and llm-analysis a file type is its nominal bits (Q4_K_M: 4).
The farthest, OpenELM's, is not explained: neither the rule for its fused matrices in the build followed
here nor that of older builds (Q5_K, 0.2 % less) gives the published size; whose build it was is not known.
"""

_BITS = """## Bits per weight

llama.cpp's own table of Llama 3.1 8B (tools/quantize/README.md, commit 311c2c9f), printed to four decimals;
among them the IQ1, IQ2 and IQ3 mixes, which no other comparison here holds.
"""

_PRINTED = """## Sizes printed in a few digits

The same kind of files, known less exactly. Two are far off. 2.96 GiB for Llama 3 8B in Q2_K_S are what it
takes in Q2_K (sizer: 2.96 GiB); 14 GiB for Mistral 7B are more than two bytes for each of its weights.
"""

_MEMORY = """## Memory of llama.cpp

What llama.cpp itself printed when it loaded models of many shapes (CPU, one sequence), to 0.01 MiB: *as
printed* is within half of that. Relative errors are of figures from 1 MiB on; no output buffer is as large.
Some shapes are drawn at random, with heads of a width of their own; llm-analysis takes width / heads, which
holds for those of real models in the rows.
"""

_QUANTIZER = """## Types that llama.cpp's quantizer chose

{whole} of {files} files have every type and the bytes of all tensors equal; {equal:,} of {tensors:,} tensors.
"""


def document() -> str:
    """The whole page."""
    compared, refused, unknown = accuracy.files()
    files, whole, tensors, equal = accuracy.quantizer()
    counted = accuracy.parameters()
    bits = accuracy.bits_per_weight()
    return "\n".join(
        [
            _HEAD.format(accelerate=version("accelerate"), transformers=version("transformers")),
            _PARAMETERS,
            *_summary(counted, TOOLS),
            "",
            *_parameter_table(counted),
            "",
            _FILES,
            *_summary([row for row in compared if not row.note], FILE_TOOLS),
            "",
            *_file_table(compared),
            "",
            *_not_compared(refused, unknown),
            _BITS,
            *_table(
                ("file type", "published", "sizer", "difference"),
                (
                    (name, f"{theirs:.4f}", f"{ours:.4f}", _printed(theirs, ours))
                    for name, theirs, ours in bits
                ),
            ),
            "",
            _PRINTED,
            *_table(
                ("file", "published", "sizer", "error"),
                (
                    (name, f"{theirs:g} {unit}", f"{ours:.3f} {unit}", _signed(ours / theirs - 1))
                    for name, theirs, ours, unit in accuracy.printed_sizes()
                ),
            ),
            "",
            _MEMORY,
            *_memory_table(),
            "",
            _QUANTIZER.format(whole=whole, files=files, equal=equal, tensors=tensors),
            latency_section().rstrip(),
            "",
            "![Predicted against measured speeds](images/accuracy-speed.svg)",
            "",
        ]
    )


def _parameter_table(rows: Sequence[Comparison]) -> list[str]:
    return _table(
        ("model", "published", "sizer", "accelerate", "llm-analysis"),
        (
            (
                row.name,
                f"{row.published:,}",
                *(_difference(row, index) for index in range(len(TOOLS))),
            )
            for row in rows
        ),
    )


def _difference(row: Comparison, tool: int) -> str:
    answer, error = row.answers[tool], row.error(tool)
    if answer is None or error is None:
        return NONE
    if answer == row.published:
        return "equal"
    return _signed(error) if abs(error) >= 1e-5 else f"{answer - row.published:+,.0f}".replace("-", "−")


def _printed(theirs: float, ours: float) -> str:
    return "equal" if round(ours, 4) == theirs else f"{ours - theirs:+.4f}"


def _file_table(rows: Sequence[Comparison]) -> list[str]:
    return _table(
        ("file", "published", *FILE_TOOLS),
        (
            (
                row.name + (f" ({row.note})" if row.note else ""),
                f"{row.published:,}",
                *(_difference(row, index) for index in range(len(FILE_TOOLS))),
            )
            for row in rows
        ),
    )


def _not_compared(refused: Sequence[tuple[str, str]], unknown: Sequence[str]) -> list[str]:
    lines = []
    if refused:
        lines += ["Refused, as no byte count is guessed:", "", *(f"- {n}: {why}" for n, why in refused), ""]
    if unknown:
        lines += [f"Not compared, as their shapes are not in the catalogue: {', '.join(unknown)}.", ""]
    return lines


def _memory_table() -> list[str]:
    def row(part: str, pairs: Sequence[tuple[float, float]]) -> tuple[str, ...]:
        away = [abs(ours - theirs) for theirs, ours in pairs]
        relative = [abs(ours / theirs - 1) for theirs, ours in pairs if theirs >= 1]
        as_printed = sum(distance <= 0.00501 for distance in away)
        return (
            part,
            str(len(pairs)),
            str(as_printed),
            _share(median(relative)) if relative else NONE,
            _share(max(relative)) if relative else NONE,
            f"{max(away):.3f} MiB",
        )

    return _table(
        ("", "rows", "as printed", "median error", "worst", "farthest"),
        (row(part, pairs) for part, pairs in accuracy.memory().items()),
    )


def _summary(rows: Sequence[Comparison], tools: Sequence[str]) -> list[str]:
    """One line a tool: rows it answers, exact ones, median, 90th percentile and worst of its errors."""
    return _table(
        ("", "rows", "exact", "median error", "90 % within", "worst"),
        (_summary_row(rows, index, tool) for index, tool in enumerate(tools)),
    )


def _summary_row(rows: Sequence[Comparison], index: int, tool: str) -> tuple[str, ...]:
    errors = {row.name: error for row in rows if (error := row.error(index)) is not None}
    sizes = [abs(error) for error in errors.values()]
    worst = max(errors, key=lambda name: abs(errors[name]))
    exact = sum(row.answers[index] == row.published for row in rows)
    return (
        tool,
        str(len(sizes)),
        str(exact),
        _share(median(sizes)),
        _share(_nearest_rank(sizes, 0.9)),
        f"{_signed(errors[worst])} ({worst})" if errors[worst] else "0",
    )


def _nearest_rank(values: Sequence[float], part: float) -> float:
    """The smallest value that this part of all values does not exceed."""
    return sorted(values)[ceil(part * len(values)) - 1]


def _share(value: float) -> str:
    """The size of an error in percent; what is not nothing is not printed as nothing."""
    if value < 1e-5:
        return "< 0.001 %" if value else "0"
    return f"{100 * value:.3f} %" if value < 0.001 else f"{100 * value:.1f} %"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−'}{_share(abs(value))}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = "|".join("---:" if index else "---" for index in range(len(head)))
    return [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)]
