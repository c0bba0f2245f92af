"""Short texts for shapes, ranges, speeds and scores, the same in terminal, report and explorer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sizer.units import format_bytes, format_bytes_binary, format_count, format_rate, format_seconds

if TYPE_CHECKING:
    from search.quality.published import LawColumn
    from search.store.results import SearchResult, TrialRecord
    from sizer.architecture import Architecture
    from sizer.devices.step_time import StepTime
    from sizer.prediction import Prediction

NOT_KNOWN = "-"

# What Markdown and Streamlit give a meaning; a colon only before a word, as in the emoji :word:.
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|$~&]|:(?=\S)")

# What takes the time of a decoding step, by the names of sizer.devices.step_time.
STEP_NAMES = {
    "weights": "reading weights",
    "layers": "per-layer overhead",
    "kv_cache": "reading the KV cache",
    "fixed": "per-token overhead",
}


def shape_text(architecture: Architecture) -> str:
    """Return layers x hidden size, heads and sharing: "6 x 192, 6 query / 2 KV heads, immediate x2"."""
    a = architecture
    shared = f", {a.sharing.text}" if a.sharing.repeat > 1 else ""
    heads = f", {a.num_heads} query / {a.num_kv_heads} KV heads" if a.num_heads else ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in a.layer_kinds.items()) if a.recurrent else ""
    windows = ""
    if a.attention_sinks and a.sliding_layers:
        windows = f", window {a.sliding_window} in {len(a.sliding_layers)} of {a.num_layers} layers"
    if a.conv_layers:
        windows = f", convolution of {a.conv_kernel} in {len(a.conv_layers)} of {a.num_layers} layers"
    if a.num_experts:
        windows += f", {a.num_experts_per_tok} of {a.num_experts} experts"
    return f"{a.num_layers} x {a.hidden_size}{heads}{windows}{shared}{kinds and f' ({kinds} layers)'}"


def rate_text(value: float) -> str:
    """Return a rate to three digits, without an exponent: 0.42, 12.3, 1,240.

    >>> rate_text(12.34), rate_text(1240.4)
    ('12.3', '1,240')
    """
    return format_rate(value)


def energy_text(joules: float) -> str:
    """Return an energy to three digits in joules or millijoules."""
    return f"{joules:.3g} J" if joules >= 1 else f"{joules * 1e3:.3g} mJ"


def range_text(prediction: Prediction, wording: Callable[[float], str]) -> str:
    """Return the range of a prediction, such as "9.8 to 15.1"; the unit belongs to `wording`."""
    return f"{wording(prediction.low)} to {wording(prediction.high)}"


def predicted_text(prediction: Prediction, wording: Callable[[float], str]) -> str:
    """Return range and basis of a prediction, such as "9.8 to 15.1, fitted to benchmarks"."""
    return f"{range_text(prediction, wording)}, {prediction.basis.label}"


def decode_text(prediction: Prediction | None) -> str:
    """Return decode tokens per second with their range, such as "12.3 (9.8 to 15.1)"."""
    if prediction is None:
        return NOT_KNOWN
    return f"{rate_text(prediction.value)} ({range_text(prediction, rate_text)})"


def score_text(record: TrialRecord) -> str:
    """Return validation bits per byte with the standard error over the validation chunks."""
    if record.proxy is None or record.proxy.val_bits_per_byte is None:
        return NOT_KNOWN
    error = record.proxy.val_bits_per_byte_sd
    spread = "" if error is None else f" ± {error:.4f}"
    return f"{record.proxy.val_bits_per_byte:.4f}{spread}"


def scales_text(width: str | float | None, vocabulary: str | float | None) -> str:
    """Return how proxies are scaled, such as "0.125 times as wide, vocabulary 256"; empty if they are not."""
    parts = [] if width is None else [f"{width:g} times as wide"]
    return ", ".join([*parts, *([] if vocabulary is None else [f"vocabulary {vocabulary:,}"])])


def fit_text(total_bytes: int, budget_bytes: int) -> str:
    """Return whether a total fits a budget, what is spare in the budget's own units.

    >>> fit_text(3_006_477_107, 4_294_967_296), fit_text(310_000_000, 300_000_000)
    ('fits in 4 GiB, 1.2 GiB to spare', '10 MB too much for 300 MB')
    """
    spare, budget = budget_bytes - total_bytes, limit_bytes_text(budget_bytes)
    wording = format_bytes_binary if budget.endswith("iB") else format_bytes
    if spare < 0:
        return f"{wording(-spare)} too much for {budget}"
    return f"fits in {budget}, {wording(spare)} to spare"


def budget_texts(result: SearchResult) -> tuple[str, ...]:
    """Return the limits of a study, one text for each limit that was given."""
    return limit_texts(
        result.budget.get("max_size_bytes"),
        result.budget.get("max_memory_bytes"),
        result.budget.get("min_decode_tokens_per_s"),
    )


def limit_texts(
    max_size_bytes: float | None, max_memory_bytes: float | None, min_decode_tokens_per_s: float | None
) -> tuple[str, ...]:
    """Return one text for each limit that is given."""
    size, memory, decode = max_size_bytes, max_memory_bytes, min_decode_tokens_per_s
    return (
        *((f"file at most {format_bytes(size)}",) if size is not None else ()),
        *((f"memory at most {limit_bytes_text(memory)}",) if memory is not None else ()),
        *((f"decode at least {rate_text(decode)} tokens/s",) if decode is not None else ()),
    )


def format_bytes_typed(value: int) -> str:
    """Return bytes as a person would type a limit that allows them: three digits, rounded up.

    >>> format_bytes_typed(272_660_689), format_bytes_typed(967_100)
    ('273MB', '968KB')
    """
    units = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"), (1, "B"))
    unit, name = next(one for one in units if value >= one[0] or one[0] == 1)
    step = unit // 100 if value < 10 * unit and unit > 1 else unit
    return f"{-(-value // step) * step / unit:g}{name}"


def limit_bytes_text(value: float) -> str:
    """Return a limit in the units it was most likely typed in: decimal ones where those are round.

    >>> limit_bytes_text(200_000_000), limit_bytes_text(314_572_800)
    ('200 MB', '300 MiB')
    """
    return format_bytes(int(value)) if value % 1_000_000 == 0 else format_bytes_binary(int(value))


def above_text(above: float, low: float, high: float) -> str:
    """Return a loss relative to the lowest, such as "+1.3 % (-0.1 to 2.7)"; "the lowest" for itself.

    >>> above_text(0.0132, -0.0006, 0.027), above_text(0, 0, 0)
    ('+1.3 % (-0.1 to 2.7)', 'the lowest')
    """
    if not (above or low or high):
        return "the lowest"
    return f"{100 * above:+.1f} % ({100 * low:.1f} to {100 * high:.1f})"


_COLUMNS = {
    "weights": "weights outside the embedding",
    "aspect": "hidden size / layers",
    "head_dim": "head size",
    "ffn_ratio": "FFN weights / attention weights",
    "bits": "bits per weight",
}


def outside_text(columns: Iterable[LawColumn]) -> str:
    """Return in words what of a shape lies outside the range that the law was fitted to."""
    return ", ".join(_COLUMNS[column.value] for column in columns)


def outside_ranges(columns: Iterable[LawColumn]) -> str:
    """Return the same with the fitted ranges, such as "head size (8 to 256)"."""
    from search.quality.published import ranges

    known = ranges()
    return ", ".join(
        f"{outside_text([column])} ({_value(known[column][0])} to {_value(known[column][1])})"
        for column in columns
    )


def _value(value: float) -> str:
    if value >= 10_000:
        return format_count(round(value))
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def share_text(part: float, total: float) -> str:
    """Return a share of a total in per cent, such as "21.0 %"; 0 % of an empty total."""
    return f"{100 * part / total if total else 0:.1f} %"


def count_text(value: int) -> str:
    """Return a count in short and in full, such as "124.6M (124,635,456)"."""
    return f"{format_count(value)} ({value:,})"


def binds_texts(
    now: StepTime, full: StepTime | None, context_tokens: int, prompt: str | None
) -> tuple[str, ...]:
    """Return what bounds decoding and prefill, a sentence each."""
    texts = [f"Largest part of a decoding step: {_bound(now)}."]
    if full is not None:
        texts.append(f"At full context ({context_tokens:,} tokens): {_bound(full)}.")
    if prompt is not None:
        what = "arithmetic" if prompt == "arithmetic" else "reading the weights"
        texts.append(f"Prefill is bound by {what}.")
    return tuple(texts)


def _bound(step: StepTime) -> str:
    seconds = step.to_dict()[f"{step.binds}_s"]
    share = share_text(seconds, step.total_s)
    return f"{STEP_NAMES[step.binds]}, {share} of {format_seconds(step.total_s)}"


def escape_markdown(text: str) -> str:
    """Return Markdown that shows a text as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", text)
