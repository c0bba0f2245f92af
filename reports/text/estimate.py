"""An estimate as text for the terminal: sections of rows, then what was assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.text.section import TEXT_WIDTH, Row, Section, hanging
from reports.text.speed import beyond_memory_section, speed_section
from reports.text.wording import (
    NOT_KNOWN,
    fit_text,
    limit_bytes_text,
    shape_text,
    share_text,
)
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from sizer.device_share import DeviceShare
    from sizer.model_estimate import Estimate
    from sizer.quality.prediction import Quality
    from sizer.training import TrainingMemory


def estimate_sections(estimate: Estimate) -> tuple[Section, ...]:
    """Return all figures of an estimate as text in sections; parts precede their total."""
    return (
        _architecture(estimate),
        _parameters(estimate),
        *((_weights(estimate),) if estimate.weights else ()),
        *((_memory(estimate),) if estimate.held else ()),
        *((section,) if (section := _download(estimate)) else ()),
        *((speed_section(estimate),) if estimate.latency else ()),
        *((_unsupported(estimate),) if estimate.unsupported else ()),
        *((beyond_memory_section(estimate.beyond_memory),) if estimate.beyond_memory else ()),
    )


# Columns for remarks: in a terminal with fewer, titles may be longer than the labels below them.
_LEAST_REMARK = 20


def estimate_table(
    estimate: Estimate,
    width: int = TEXT_WIDTH,
    training: TrainingMemory | None = None,
    quality: Quality | None = None,
) -> str:
    """Return an estimate as text of at most `width` columns (wider only for a long name), with assumptions.

    Laid out here and not by rich: importing rich takes longer than the whole estimate.
    """
    sections = estimate_sections(estimate)
    if training or quality:
        # what few requests ask for is not compiled at every start
        from reports.text.optional_sections import quality_section, training_section

        sections += (training_section(training),) if training else ()
        sections += (quality_section(quality),) if quality else ()
    rows = [row for section in sections for row in section.rows]
    titles = [len(section.title) for section in sections if section.unit]
    labels = [len(row.label) + 2 for row in rows]
    value_width = max(len(row.value) for row in rows)
    label_width = max(*titles, *labels) + 2
    if width - label_width - value_width < _LEAST_REMARK:  # a long title moves its unit, not every row
        label_width = max(labels) + 1
    lines = []
    for section in sections:
        lines.append(f"{section.title:<{label_width}}{section.unit:>{value_width}}")
        for row in section.rows:
            left = f"  {row.label}".ljust(label_width) + row.value.rjust(value_width) + "  "
            lines += hanging(left, row.remark, width)
        lines.append("")
    notes = (*estimate.assumptions, *(training.assumptions if training else ()))
    if notes:
        lines.append("Assumptions")
    for note in notes:
        lines += hanging("  - ", note, width)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _architecture(estimate: Estimate) -> Section:
    if estimate.shape is None:
        from reports.text.optional_sections import file_shape

        return file_shape(estimate)
    a = estimate.architecture
    layers = f"{a.executed_layers} executed" if a.sharing.repeat > 1 else ""
    rows = [
        Row("name", a.name, shape_text(a)),
        Row("layers", f"{a.num_layers:,}", layers),
        Row("hidden size", f"{a.hidden_size:,}"),
    ]
    if a.expert_width:
        of_hidden = f"{a.mlp.value}, {a.expert_width / a.hidden_size:.2f} x hidden size"
        rows.append(Row("FFN size", f"{a.expert_width:,}", of_hidden))
    rows += _experts(estimate)
    if a.num_heads:
        heads = f"{a.num_kv_heads} KV heads, head size {a.head_dim}"
        rows.append(Row("query heads", f"{a.num_heads:,}", heads))
    rows.append(
        Row(
            "vocabulary",
            f"{a.vocab_size:,}",
            "embedding tied to the head" if a.tie_embeddings else "head not tied to the embedding",
        )
    )
    if a.sharing.repeat > 1:
        which = f"each block but {a.sharing.ends} at each end" if a.sharing.ends else "each block"
        rows.append(Row("sharing", a.sharing.strategy.value, f"{which} repeats {a.sharing.repeat} times"))
    return Section("Architecture", "", tuple(rows))


def _experts(estimate: Estimate) -> tuple[Row, ...]:
    """Return the number of experts and their use; nothing for a dense model."""
    a = estimate.architecture
    if not a.num_experts:
        return ()
    remarks = [f"{a.num_experts_per_tok:,} used per token"]
    if a.shared_expert_intermediate_size:
        remarks.append(
            f"1 shared expert of FFN size {a.shared_expert_intermediate_size:,}, used by every token"
        )
    if a.dense_layers:
        remarks.append(f"{len(a.dense_layers):,} dense layers of FFN size {a.intermediate_size:,}")
    return (Row("experts", f"{a.num_experts:,}", "; ".join(remarks)),)


def _parameters(estimate: Estimate) -> Section:
    p = estimate.parameters
    mixers = "attention and others" if estimate.shape and estimate.shape.recurrent else "attention"
    parts = {"embedding": p.embedding, mixers: p.attention, "FFN": p.mlp, "norm": p.norm}
    tied = estimate.shape is not None and estimate.shape.tie_embeddings
    head_remark = "tied to the embedding" if tied else share_text(p.head, p.total)
    return Section(
        "Parameters",
        "count",
        (
            *(Row(label, f"{count:,}", share_text(count, p.total)) for label, count in parts.items()),
            Row("head", f"{p.head:,}", head_remark),
            Row("total", f"{p.total:,}", f"{format_count(p.total)}, {format_count(p.non_embedding)} of them "
                "outside embedding and head"),
            *(
                (Row("active", f"{p.active:,}", f"{format_count(p.active)}, experts used per token only"),)
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
            Row("bits per weight", f"{estimate.bits_per_weight:.2f}", _nearest_widths(estimate)),
        ),
    )


def _nearest_widths(estimate: Estimate) -> str:
    """Return the hidden sizes at which the format would store the blocks as it means to; empty if it does."""
    if estimate.shape is None or not estimate.weights or estimate.weights.own:
        return ""
    from sizer.advice import wasted_bits

    wasted = [one for one in wasted_bits(estimate) if one.field == "hidden_size"]
    if not wasted:
        return ""
    by_bits: dict[str, list[str]] = {}
    for size, bits in wasted[0].better:
        by_bits.setdefault(f"{bits:.2f}", []).append(f"{size:,}")
    return ", ".join(f"{bits} with hidden size {' or '.join(sizes)}" for bits, sizes in by_bits.items())


def _memory(estimate: Estimate) -> Section:
    memory = estimate.memory
    parts = {
        "weights": memory.weights_bytes,
        "KV cache": memory.kv_cache_bytes,
        "compute buffer": memory.compute_bytes,
        "output buffer": memory.output_bytes,
        "runtime overhead": memory.overhead_bytes,
    }
    rows = [Row(label, f"{size:,}", format_bytes_binary(size)) for label, size in parts.items()]
    rows += [Row(label, f"{size:,}", format_bytes_binary(size)) for label, size in memory.companions.items()]
    total = format_bytes_binary(memory.total_bytes)
    if memory.compute_range is not None:
        rows[2] = Row("compute buffer", NOT_KNOWN, f"not known: {_between(memory.compute_range)}")
        total = f"{total}: {_between(memory.total_range)}"
    rows.append(Row("total", f"{memory.total_bytes:,}", total))
    if (peak := memory.peak) is not None:
        low, high = format_bytes_binary(peak.low), format_bytes_binary(peak.high)
        spread = f"{format_bytes_binary(peak.value)} ({low} to {high})"
        rows.append(Row("peak of the process", f"{peak.value:,}", spread))
    rows += [_share(share) for share in memory.devices]
    if memory.budget_bytes is not None:
        rows.append(Row("memory limit", f"{memory.budget_bytes:,}", limit_bytes_text(memory.budget_bytes)))
        fits = {True: "yes", False: "no", None: "perhaps"}[memory.fits]
        rows.append(Row("fits", fits, fit_text(memory.limited_bytes, memory.budget_bytes)))
        longest = estimate.max_context
        if longest is not None:
            rows.append(Row("largest context", f"{longest.tokens:,}", CONTEXT_LIMITS[longest.limited_by]))
    load = estimate.workload
    title = f"Memory, context {memory.context_tokens:,}, cache {load.cache_type}"
    return Section(title, "bytes", tuple(rows))


def _share(share: DeviceShare) -> Row:
    """Return what one device holds, by part."""
    parts = {"weights": share.weights_bytes, "cache": share.kv_cache_bytes, "compute": share.compute_bytes}
    texts = [f"{label} {format_bytes_binary(size)}" for label, size in parts.items()]
    spread = _between((share.compute_bytes_low, share.compute_bytes_high))
    return Row(f"on the {share.device.upper()}", f"{share.total_bytes:,}", f"{', '.join(texts)} ({spread})")


def _between(ends: tuple[int, int]) -> str:
    return " to ".join(map(format_bytes_binary, ends))


_IN_APPS = ("browser", "phone", "tablet")


def _download(estimate: Estimate) -> Section | None:
    """Return the download of a page's or app's user; None for an engine that other devices have installed."""
    in_app = estimate.device is not None and estimate.device.kind in _IN_APPS
    found = estimate.first_download if in_app or estimate.runtime != "llama.cpp" else None
    if found is None:
        return None
    rows = [Row(label, f"{size:,}", format_bytes(size)) for label, size in found._asdict().items()]
    times = " and ".join(f"{found.seconds(speed):,.0f} s at {speed} Mbit/s" for speed in (10, 50))
    rows.append(Row("total", f"{found.num_bytes:,}", f"{format_bytes(found.num_bytes)}, {times}"))
    return Section("Download", "bytes", tuple(rows))


def _unsupported(estimate: Estimate) -> Section:
    """Return the parts that are not known, each reason once."""
    parts_by_reason: dict[str, list[str]] = {}
    for part, reason in estimate.unsupported.items():
        parts_by_reason.setdefault(reason, []).append(part)
    rows = (Row(", ".join(parts), NOT_KNOWN, reason) for reason, parts in parts_by_reason.items())
    return Section("Not known", "", tuple(rows))


CONTEXT_LIMITS = {
    "memory": "tokens that fit the memory limit",
    "positions": "the model's max_position_embeddings; its memory would fit more",
    "search": "tokens or more fit the memory limit",
}
