"""An estimate as text for the terminal: sections of rows, then what was assumed."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from reports.wording import (
    NOT_KNOWN,
    energy_text,
    fit_text,
    range_text,
    rate_text,
    shape_text,
    share_text,
)
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sizer.advice import Change
    from sizer.estimate import Estimate
    from sizer.prediction import Prediction
    from sizer.training import TrainingMemory

TEXT_WIDTH = 100


class Row(NamedTuple):
    """One line of a section: what it is, its value, and a remark (share, range, unit for people)."""

    label: str
    value: str
    remark: str = ""


class Section(NamedTuple):
    """Rows under one heading; `unit` is the unit of bare numbers in it."""

    title: str
    unit: str
    rows: tuple[Row, ...]


def estimate_sections(estimate: Estimate) -> tuple[Section, ...]:
    """Everything an estimate says but its assumptions, as text in sections; parts precede their total."""
    return (
        _architecture(estimate),
        _parameters(estimate),
        _weights(estimate),
        _memory(estimate),
        *((_speed(estimate),) if estimate.latency else ()),
    )


def estimate_table(
    estimate: Estimate, width: int = TEXT_WIDTH, training: TrainingMemory | None = None
) -> str:
    """The estimate as plain text of at most `width` columns (wider only where a name is): sections, notes.

    Laid out here and not by rich: importing rich takes longer than the whole estimate.
    """
    sections = (*estimate_sections(estimate), *((training_section(training),) if training else ()))
    rows = [row for section in sections for row in section.rows]
    titles = [len(section.title) for section in sections]
    label_width = max(*titles, *(len(row.label) + 2 for row in rows)) + 2
    value_width = max(len(row.value) for row in rows)
    lines = []
    for section in sections:
        lines.append(f"{section.title:<{label_width}}{section.unit:>{value_width}}")
        for row in section.rows:
            left = f"  {row.label}".ljust(label_width) + row.value.rjust(value_width) + "  "
            lines += _hanging(left, row.remark, width)
        lines.append("")
    lines.append("Assumptions")
    for note in (*estimate.assumptions, *(training.assumptions if training else ())):
        lines += _hanging("  - ", note, width)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def advice_text(changes: Sequence[Change], advice: Sequence[str], width: int = TEXT_WIDTH) -> str:
    """What each change of shape would do, one a line, then advice on widths."""
    name_width = max((len(change.name) for change in changes), default=0) + 4
    header, *rows = change_rows(changes)
    lines = [f"{header[0]:<{name_width}}" + _columns(header)]
    lines += [f"  {row[0]:<{name_width - 2}}" + _columns(row) for row in rows]
    for text in advice:
        lines += _hanging("  - ", text, width)
    return "\n".join(lines) + "\n"


def change_rows(changes: Sequence[Change]) -> tuple[tuple[str, ...], ...]:
    """A header, then what each change of shape would do, as texts in columns."""
    rows = [("Adding", "parameters", "file", "memory", "decode")]
    for change in changes:
        speed = change.decode_tokens_per_s
        rows.append(
            (
                change.name,
                _signed(change.parameters, format_count),
                _signed(change.file_bytes, format_bytes),
                _signed(change.memory_bytes, format_bytes_binary),
                NOT_KNOWN if speed is None else f"{speed:+.3g} tokens/s",
            )
        )
    return tuple(rows)


def _columns(row: Sequence[str]) -> str:
    _, parameters, file, memory, decode = row
    return f"{parameters:>12}{file:>12}{memory:>12}{decode:>18}"


def _signed(value: int, wording: Callable[[int], str]) -> str:
    return f"{'-' if value < 0 else '+'}{wording(abs(value))}"


def _hanging(left: str, text: str, width: int) -> list[str]:
    """Text after a left part, wrapped to the width under itself."""
    room = max(20, width - len(left))
    first, *more = textwrap.wrap(text, room) or [""]
    return [left + first, *(" " * len(left) + line for line in more)]


def _architecture(estimate: Estimate) -> Section:
    a = estimate.architecture
    layers = f"{a.executed_layers} runs of a block" if a.sharing.repeat > 1 else ""
    rows = [
        Row("name", a.name, shape_text(a)),
        Row("layers", f"{a.num_layers:,}", layers),
        Row("width", f"{a.hidden_size:,}"),
        Row(
            "feed-forward width",
            f"{a.expert_width:,}",
            f"{a.mlp.value}, {a.expert_width / a.hidden_size:.2f} x width",
        ),
        *_experts(estimate),
        Row("heads", f"{a.num_heads:,}", f"{a.num_kv_heads} key-value, {a.head_dim} wide each"),
        Row(
            "vocabulary",
            f"{a.vocab_size:,}",
            "embedding tied to the head" if a.tie_embeddings else "head apart",
        ),
    ]
    if a.sharing.repeat > 1:
        rows.append(Row("sharing", a.sharing.strategy.value, f"each block runs {a.sharing.repeat} times"))
    return Section("Architecture", "", tuple(rows))


def _experts(estimate: Estimate) -> tuple[Row, ...]:
    """How many experts of the feed-forward width there are; nothing for a model without any."""
    a = estimate.architecture
    if not a.num_experts:
        return ()
    remarks = [f"{a.num_experts_per_tok:,} used per token"]
    if a.shared_expert_intermediate_size:
        remarks.append(f"one more, {a.shared_expert_intermediate_size:,} wide, by every token")
    if a.dense_layers:
        remarks.append(f"{len(a.dense_layers):,} layers without, {a.intermediate_size:,} wide")
    return (Row("experts", f"{a.num_experts:,}", "; ".join(remarks)),)


def _parameters(estimate: Estimate) -> Section:
    p = estimate.parameters
    parts = {"embedding": p.embedding, "attention": p.attention, "feed-forward": p.mlp, "norm": p.norm}
    head_remark = (
        "tied to the embedding" if estimate.architecture.tie_embeddings else share_text(p.head, p.total)
    )
    return Section(
        "Parameters",
        "count",
        (
            *(Row(label, f"{count:,}", share_text(count, p.total)) for label, count in parts.items()),
            Row("head", f"{p.head:,}", head_remark),
            Row("total", f"{p.total:,}", f"{format_count(p.total)}, {format_count(p.non_embedding)} of them "
                "outside embedding and head"),
            *(
                (Row("active", f"{p.active:,}", f"{format_count(p.active)}, without experts not chosen"),)
                if p.active != p.total else ()
            ),
        ),
    )  # fmt: skip


def _weights(estimate: Estimate) -> Section:
    file = estimate.file
    rows = [
        Row(name, f"{size:,}", f"{format_bytes(size)}, {share_text(size, file.total)}")
        for name, size in sorted(estimate.bytes_by_type.items(), key=lambda item: -item[1])
    ]
    others = {"padding": file.padding_bytes, "tensor directory": file.directory_bytes}
    if file.tokenizer is not None:
        others["metadata and tokenizer"] = file.tokenizer.value
    rows += [Row(label, f"{size:,}", format_bytes(size)) for label, size in others.items()]
    low, high = format_bytes(file.low), format_bytes(file.high)
    spread = f" ({low} to {high})" if low != high else ""
    return Section(
        f"File, {estimate.format} for {estimate.runtime}",
        "bytes",
        (
            *rows,
            Row("total", f"{file.total:,}", f"{format_bytes(file.total)}{spread}"),
            Row("bits per weight", f"{estimate.bits_per_weight:.2f}"),
        ),
    )


def _memory(estimate: Estimate) -> Section:
    memory = estimate.memory
    parts = {
        "weights": memory.weights_bytes,
        "key-value cache": memory.kv_cache_bytes,
        "compute buffer": memory.compute_bytes,
        "output buffer": memory.output_bytes,
        "runtime overhead": memory.overhead_bytes,
    }
    rows = [Row(label, f"{size:,}", format_bytes_binary(size)) for label, size in parts.items()]
    rows.append(Row("total", f"{memory.total_bytes:,}", format_bytes_binary(memory.total_bytes)))
    if memory.budget_bytes is not None:
        rows.append(Row("budget", f"{memory.budget_bytes:,}", format_bytes_binary(memory.budget_bytes)))
        rows.append(
            Row("fits", "yes" if memory.fits else "no", fit_text(memory.total_bytes, memory.budget_bytes))
        )
    load = estimate.workload
    title = f"Memory, context {memory.context_tokens:,}, cache {load.cache_type}"
    return Section(title, "bytes", tuple(rows))


_METHODS = {"full": "all weights", "lora": "LoRA", "qlora": "QLoRA"}


def training_section(training: TrainingMemory) -> Section:
    """Memory of a training step by part; parts that are nothing are left out."""
    plan = training.plan
    learns = f", rank {plan.lora_rank}, on {', '.join(training.adapted)}" if plan.lora_rank else ""
    rows = [Row("trained weights", f"{training.trainable_parameters:,}", f"{_METHODS[plan.method]}{learns}")]
    rows += [
        Row(name.removesuffix("_bytes").replace("_", " "), f"{size:,}", format_bytes_binary(size))
        for name, size in training.parts.items()
        if size
    ]
    rows.append(Row("total", f"{training.total_bytes:,}", format_bytes_binary(training.total_bytes)))
    if training.budget_bytes is not None:
        fit = fit_text(training.total_bytes, training.budget_bytes)
        rows.append(Row("fits", "yes" if training.fits else "no", fit))
    recomputed = ", checkpointing" if plan.checkpointing else ""
    title = (
        f"Training, {plan.batch_size} x {plan.sequence_tokens:,} tokens, {plan.precision.value}, "
        f"{plan.optimizer.value}{recomputed}"
    )
    return Section(title, "bytes", tuple(rows))


def _speed(estimate: Estimate) -> Section:
    assert estimate.latency is not None
    latency, energy = estimate.latency, estimate.energy
    device = estimate.device.name if estimate.device else NOT_KNOWN
    rows = [
        _predicted("decode", latency.decode_tokens_per_s, rate_text, " tokens/s"),
        _predicted("prefill", latency.prefill_tokens_per_s, rate_text, " tokens/s"),
        _predicted("first token", latency.time_to_first_token_s, format_seconds),
        _predicted("load", latency.load_s, format_seconds),
    ]
    if energy is None:
        rows.append(Row("energy per token", NOT_KNOWN, "no power figure for this device"))
    else:
        rows.append(_predicted("energy per token", energy, energy_text))
    return Section(f"Speed and energy on {device}", "", tuple(rows))


def _predicted(label: str, prediction: Prediction, wording: Callable[[float], str], unit: str = "") -> Row:
    remark = f"{range_text(prediction, wording)}, {prediction.basis.value}"
    return Row(label, f"{wording(prediction.value)}{unit}", remark)
