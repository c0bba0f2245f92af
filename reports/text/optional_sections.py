"""What some requests add to an estimate: training, quality, changes of shape; not compiled at every start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.text.section import TEXT_WIDTH, Row, Section, hanging
from reports.text.wording import NOT_KNOWN, fit_text
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sizer.advice import Change
    from sizer.model_estimate import Estimate
    from sizer.quality.prediction import Quality
    from sizer.training import TrainingMemory

_METHODS = {"full": "all weights", "lora": "LoRA", "qlora": "QLoRA"}


def training_section(training: TrainingMemory) -> Section:
    """Return memory of a training step by part; parts of 0 bytes are left out."""
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


_TASKS = {"arc_e": "ARC-easy", "arc_c": "ARC-challenge", "boolq": "BoolQ", "piqa": "PIQA", "siqa": "SIQA"}
_TASKS |= {"hellaswag": "HellaSwag", "obqa": "OpenBookQA", "winogrande": "WinoGrande"}


def quality_section(quality: Quality) -> Section:
    """Return what a model would reach after its training as rows of an estimate's table."""
    q = quality
    lost = f"{q.bits_cost_points:.1f} points lost to few bits" if q.bits_cost_points >= 0.05 else ""
    return Section(
        f"Quality after {format_count(q.tokens)} tokens",
        "",
        (
            Row("loss on web text", f"{q.loss_nats:.2f}", "nats a token, 16-bit weights"),
            Row(
                "accuracy, mean of 8 tasks",
                f"{q.accuracy:.1f} %",
                f"{q.low:.1f} to {q.high:.1f} (80 %){'; ' + lost if lost else ''}; {q.basis}",
            ),
            *(
                Row(f"  {_TASKS[t.name]}", f"{t.value:.1f} %", f"{t.low:.1f} to {t.high:.1f}")
                for t in q.tasks
            ),
        ),
    )


def file_shape(estimate: Estimate) -> Section:
    """Return what a file states of a model whose architecture is not read."""
    model = estimate.file_model
    assert model is not None, "a model has an architecture or facts of its file"
    names = {"num_layers": "layers", "hidden_size": "hidden size", "intermediate_size": "FFN size"}
    names |= {"num_heads": "query heads", "num_kv_heads": "KV heads", "vocab_size": "vocabulary"}
    known = {label: value for key, label in names.items() if (value := model.shape.get(key)) is not None}
    rows = (Row("name", model.name, f"{model.kind}: its layers are not read"),)
    return Section("Model", "", rows + tuple(Row(label, f"{value:,}") for label, value in known.items()))


def advice_text(changes: Sequence[Change], advice: Sequence[str], width: int = TEXT_WIDTH) -> str:
    """Return the effect of each change of shape, one a line, then advice on sizes."""
    name_width = max((len(change.name) for change in changes), default=0) + 4
    header, *rows = change_rows(changes)
    lines = [f"{header[0]:<{name_width}}" + _columns(header)]
    lines += [f"  {row[0]:<{name_width - 2}}" + _columns(row) for row in rows]
    for text in advice:
        lines += hanging("  - ", text, width)
    return "\n".join(lines) + "\n"


def change_rows(changes: Sequence[Change]) -> tuple[tuple[str, ...], ...]:
    """Return a header, then the effect of each change of shape, as texts in columns."""
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
