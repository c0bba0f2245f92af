"""An estimate as one HTML page that opens offline: the text's figures as tables, drawn, and assumptions."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import sizer
from reports.bars import breakdown_html, stack_html
from reports.breakdowns import bytes_info, memory_info, parameters_info
from reports.estimate_text import Section, estimate_sections, training_section
from reports.exports import replace_file
from reports.figures.speed import speed_figure, speed_info
from reports.page_parts import (
    bullets,
    code,
    figure_part,
    quiet,
    section,
    side_by_side,
    table,
    tiles,
    whole_page,
)
from reports.reproduce import without_folders
from reports.stacks import memory_stack_info, step_stack_info
from reports.wording import energy_text, fit_text, range_text, rate_text, shape_text
from sizer.errors import InvalidFile
from sizer.step_time import at_full_context, step_time
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds

if TYPE_CHECKING:
    from sizer.estimate import Estimate
    from sizer.training import TrainingMemory


def write_estimate(
    estimate: Estimate,
    path: Path,
    *,
    training: TrainingMemory | None = None,
    arguments: Sequence[str] = (),
) -> None:
    """Write the page of an estimate to a file, whole or not at all.

    Raises InvalidFile when it cannot be written.
    """
    page = estimate_html(estimate, training=training, arguments=arguments)
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise InvalidFile(
            f"html: cannot write {str(path)!r}: {error.strerror or error}; "
            "accepted: a file in a directory you may write to"
        ) from None


def estimate_html(
    estimate: Estimate, *, training: TrainingMemory | None = None, arguments: Sequence[str] = ()
) -> str:
    """The whole page as text; `arguments` are those of `sizer` that ask for the same estimate."""
    sections = (*estimate_sections(estimate), *((training_section(training),) if training else ()))
    notes = (*estimate.assumptions, *(training.assumptions if training else ()))
    a = estimate.architecture
    where = f" on {estimate.device.name}" if estimate.device else ""
    head = (
        f"<h1>{escape(a.name)}</h1>\n"
        f'<p class="lead">{escape(f"{shape_text(a)}, {estimate.format} for {estimate.runtime}{where}")}</p>\n'
    )
    body = (
        head
        + tiles(_headline(estimate))
        + section("Where it goes", _figures(estimate))
        + section("All figures", *(_table(one) for one in sections))
        + section("Assumptions", bullets(notes))
        + section("Run it again", *_again(arguments))
    )
    return whole_page(f"{a.name}: size, memory and speed", body)


def _headline(estimate: Estimate) -> Mapping[str, str]:
    memory, latency = estimate.memory, estimate.latency
    figures = {
        "parameters": format_count(estimate.parameters.total),
        f"file, {estimate.bits_per_weight:.2f} bits per weight": format_bytes(estimate.file.total),
    }
    fits = "memory"
    if memory.budget_bytes is not None:
        fits = f"memory, {fit_text(memory.total_bytes, memory.budget_bytes)}"
    figures[fits] = format_bytes_binary(memory.total_bytes)
    if latency is not None:
        decode, first = latency.decode_tokens_per_s, latency.time_to_first_token_s
        figures[f"decode tokens/s, {range_text(decode, rate_text)}"] = rate_text(decode.value)
        figures[f"first token, {range_text(first, format_seconds)}"] = format_seconds(first.value)
    if estimate.energy is not None:
        label = f"energy per token, {range_text(estimate.energy, energy_text)}"
        figures[label] = energy_text(estimate.energy.value)
    return figures


def _figures(estimate: Estimate) -> str:
    infos = {
        "parameters": parameters_info(estimate),
        "file": bytes_info(estimate),
        "memory": memory_info(estimate),
    }
    parts = [breakdown_html(info, name) for name, info in infos.items()]
    speed = speed_info(estimate)
    if speed is not None:
        parts.append(figure_part(speed_figure(speed), "speed"))
    if estimate.memory.budget_bytes is not None:
        parts.append(stack_html(memory_stack_info(estimate), "memory-stack"))
    now = step_time(estimate)
    if now is not None:
        context = estimate.workload.context_tokens
        parts.append(stack_html(step_stack_info(now, at_full_context(estimate), context), "step"))
    return side_by_side(parts)


def _table(one: Section) -> str:
    unit = one.unit or "value"
    return table(
        ("part", unit, "remark"),
        [(row.label, row.value, row.remark) for row in one.rows],
        caption=one.title,
        text_columns=("part", "remark"),
        wide_columns=("remark",),
        marked=[row.label == "total" for row in one.rows],
    )


def _again(arguments: Sequence[str]) -> list[str]:
    made = f"sizer {sizer.__version__}; python {platform.python_version()}"
    if not arguments:
        return [quiet(made)]
    command = shlex.join(["sizer", *map(_short, arguments)])
    return [code(f"{command}\n", "Command"), quiet(made)]


def _short(argument: str) -> str:
    """An argument without the folders of this machine."""
    name, sign, value = argument.partition("=")
    if sign and name.startswith("--"):
        return f"{name}={without_folders(value)}"
    return without_folders(argument)
