"""Short texts for shapes, ranges, speeds and scores, the same in terminal, report and explorer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sizer.units import format_bytes, format_bytes_binary, format_count, format_rate, format_seconds

if TYPE_CHECKING:
    from search.law.law_prior import Term
    from search.store.results import SearchResult, TrialRecord
    from sizer.architecture import Architecture
    from sizer.prediction import Prediction
    from sizer.step_time import StepTime

NOT_KNOWN = "-"

# What Markdown and Streamlit give a meaning; a colon only before a word, as in the emoji :word:.
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|$~&]|:(?=\S)")

# What takes the time of a decoding step, by the names of sizer.step_time.
STEP_NAMES = {
    "weights": "reading weights",
    "layers": "the cost of each layer",
    "kv_cache": "reading the KV cache",
    "fixed": "the cost of each step",
}


def shape_text(architecture: Architecture) -> str:
    """Layers x width, query/KV heads and sharing, such as "6 x 192, 6/2 heads, immediate x2"."""
    a = architecture
    shared = f", {a.sharing.strategy.value} x{a.sharing.repeat}" if a.sharing.repeat > 1 else ""
    return f"{a.num_layers} x {a.hidden_size}, {a.num_heads}/{a.num_kv_heads} heads{shared}"


def rate_text(value: float) -> str:
    """Rate to three digits, without an exponent: 0.42, 12.3, 1,240.

    >>> rate_text(12.34), rate_text(1240.4)
    ('12.3', '1,240')
    """
    return format_rate(value)


def energy_text(joules: float) -> str:
    """Energy to three digits in joules or millijoules."""
    return f"{joules:.3g} J" if joules >= 1 else f"{joules * 1e3:.3g} mJ"


def range_text(prediction: Prediction, wording: Callable[[float], str]) -> str:
    """Range of a prediction, such as "9.8 to 15.1"; the unit belongs to `wording`."""
    return f"{wording(prediction.low)} to {wording(prediction.high)}"


def decode_text(prediction: Prediction | None) -> str:
    """Decode tokens per second with their range, such as "12.3 (9.8 to 15.1)"."""
    if prediction is None:
        return NOT_KNOWN
    return f"{rate_text(prediction.value)} ({range_text(prediction, rate_text)})"


def score_text(record: TrialRecord) -> str:
    """Validation bits per byte with the standard error over the validation chunks."""
    if record.proxy is None or record.proxy.val_bits_per_byte is None:
        return NOT_KNOWN
    error = record.proxy.val_bits_per_byte_sd
    spread = "" if error is None else f" ± {error:.4f}"
    return f"{record.proxy.val_bits_per_byte:.4f}{spread}"


def scales_text(width: str | float | None, vocabulary: str | float | None) -> str:
    """How proxies are scaled, such as "0.125 times as wide, vocabulary 256"; empty where they are not."""
    parts = [] if width is None else [f"{width:g} times as wide"]
    return ", ".join([*parts, *([] if vocabulary is None else [f"vocabulary {vocabulary:,}"])])


def fit_text(total_bytes: int, budget_bytes: int) -> str:
    """Whether a total fits a budget and by how much, such as "fits in 4 GiB, 1.2 GiB to spare"."""
    spare, budget = budget_bytes - total_bytes, format_bytes_binary(budget_bytes)
    if spare < 0:
        return f"{format_bytes_binary(-spare)} too much for {budget}"
    return f"fits in {budget}, {format_bytes_binary(spare)} to spare"


def budget_texts(result: SearchResult) -> tuple[str, ...]:
    """The limits a study was run under, one text per limit that was given."""
    return limit_texts(
        result.budget.get("max_size_bytes"),
        result.budget.get("max_memory_bytes"),
        result.budget.get("min_decode_tokens_per_s"),
    )


def limit_texts(
    max_size_bytes: float | None, max_memory_bytes: float | None, min_decode_tokens_per_s: float | None
) -> tuple[str, ...]:
    """One text per limit that is given."""
    size, memory, decode = max_size_bytes, max_memory_bytes, min_decode_tokens_per_s
    return (
        *((f"file at most {format_bytes(size)}",) if size is not None else ()),
        *((f"memory at most {format_bytes_binary(memory)}",) if memory is not None else ()),
        *((f"decode at least {rate_text(decode)} tokens/s",) if decode is not None else ()),
    )


def above_text(above: float, low: float, high: float) -> str:
    """Loss expected above another's, with its range, such as "+1.3 % (-0.1 to 2.7)"; "the lowest" where none.

    >>> above_text(0.0132, -0.0006, 0.027), above_text(0, 0, 0)
    ('+1.3 % (-0.1 to 2.7)', 'the lowest')
    """
    if not (above or low or high):
        return "the lowest"
    return f"{100 * above:+.1f} % ({100 * low:.1f} to {100 * high:.1f})"


_TERMS = {
    "head_dim": "width of a head",
    "kv_ratio": "KV heads per head",
    "ffn_ratio": "feed-forward width over width",
    "embedding_ratio": "width of the embedding",
    "bits": "bits per weight",
    "bits_x_size": "number of weights",
}


def outside_text(terms: Iterable[Term]) -> str:
    """Features of which a shape has more or less than any model the law was fitted to, in words."""
    return ", ".join(_TERMS.get(term.value, term.value) for term in terms)


def outside_ranges(terms: Iterable[Term]) -> str:
    """The same with what the law was fitted to, such as "width (384 to 5,120)"."""
    from search.law.law_prior import published_prior

    seen = published_prior().seen
    return ", ".join(
        f"{outside_text([term])} ({_value(seen[term].least)} to {_value(seen[term].most)})" for term in terms
    )


def _value(value: float) -> str:
    if value >= 10_000:
        return format_count(round(value))
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def share_text(part: float, total: float) -> str:
    """Share of a total in per cent, such as "21.0 %"; nothing of nothing is 0 %."""
    return f"{100 * part / total if total else 0:.1f} %"


def count_text(value: int) -> str:
    """Count in short and in full, such as "124.6M (124,635,456)"."""
    return f"{format_count(value)} ({value:,})"


def binds_texts(
    now: StepTime, full: StepTime | None, context_tokens: int, prompt: str | None
) -> tuple[str, ...]:
    """What decoding and the prompt wait for, a sentence each."""
    texts = [f"Decoding waits most for {_bound(now)}."]
    if full is not None:
        texts.append(f"At the end of a full context of {context_tokens:,} tokens, for {_bound(full)}.")
    if prompt is not None:
        what = "arithmetic, not for memory" if prompt == "arithmetic" else "the weights to be read"
        texts.append(f"The prompt waits for {what}.")
    return tuple(texts)


def _bound(step: StepTime) -> str:
    seconds = step.to_dict()[f"{step.binds}_s"]
    share = share_text(seconds, step.total_s)
    return f"{STEP_NAMES[step.binds]}: {share} of a step of {format_seconds(step.total_s)}"


def plain(text: str) -> str:
    """Text of somebody else's as Markdown that shows it as it stands."""
    return _MARKDOWN.sub(r"\\\g<0>", text)
