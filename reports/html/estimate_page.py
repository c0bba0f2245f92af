"""An estimate as one HTML page that opens offline: the text's figures as tables, drawn, and assumptions."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

import sizer
from reports.figures.breakdowns import known_breakdowns
from reports.figures.speed import speed_figure, speed_info
from reports.figures.stacked_bars import memory_stack_info, step_stack_info
from reports.html.bars import breakdown_html, stack_html
from reports.html.page import figure_html, page_html
from reports.html.tables import table_html
from reports.html.tiles import headline_tiles, tiles_html
from reports.text.estimate import estimate_sections
from reports.text.optional_sections import training_section
from reports.text.rerun import without_folders
from reports.text.section import Section
from reports.text.wording import shape_text
from sizer.atomic_write import atomic_write
from sizer.devices.step_time import at_full_context, step_time
from sizer.errors import InvalidFile

if TYPE_CHECKING:
    from sizer.model_estimate import Estimate
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
        with atomic_write(path, make_folder=False) as file:
            file.write(page.encode())
    except OSError as error:
        raise InvalidFile(
            f"html: cannot write {str(path)!r}: {error.strerror or error}; "
            "accepted: a file in a directory you may write to"
        ) from None


def estimate_html(
    estimate: Estimate, *, training: TrainingMemory | None = None, arguments: Sequence[str] = ()
) -> str:
    """Return the whole page; `arguments` are those of `sizer` that ask for the same estimate."""
    sections = (*estimate_sections(estimate), *((training_section(training),) if training else ()))
    shape = shape_text(estimate.shape) if estimate.shape else "known by its file"
    where = f" on {estimate.device.name}" if estimate.device else ""
    return page_html(
        "estimate.html",
        title=f"{estimate.name}: size, memory and speed",
        name=estimate.name,
        lead=f"{shape}, {estimate.format} for {estimate.runtime}{where}",
        tiles=tiles_html(headline_tiles(estimate)),
        figures=_figures(estimate),
        tables=[_table(one) for one in sections],
        assumptions=(*estimate.assumptions, *(training.assumptions if training else ())),
        command=f"{shlex.join(['sizer', *map(_short, arguments)])}\n" if arguments else "",
        versions=f"sizer {sizer.__version__}; python {platform.python_version()}",
    )


def _figures(estimate: Estimate) -> list[Markup]:
    infos = known_breakdowns(estimate)
    parts = [breakdown_html(info, name) for name, info in infos.items()]
    speed = speed_info(estimate)
    if speed is not None:
        parts.append(figure_html(speed_figure(speed), "speed"))
    if estimate.held is not None and estimate.memory.budget_bytes is not None:
        parts.append(stack_html(memory_stack_info(estimate), "memory-stack"))
    now = step_time(estimate)
    if now is not None:
        info = step_stack_info(now, at_full_context(estimate), estimate.workload)
        parts.append(stack_html(info, "step"))
    return parts


def _table(one: Section) -> Markup:
    unit = one.unit or "value"
    return table_html(
        ("part", unit, "remark"),
        [(row.label, row.value, row.remark) for row in one.rows],
        caption=one.title,
        text_columns=("part", "remark"),
        wide_columns=("remark",),
        bold_rows=[place for place, row in enumerate(one.rows) if row.label == "total"],
    )


def _short(argument: str) -> str:
    """Return an argument without the folders of this machine."""
    name, sign, value = argument.partition("=")
    if sign and name.startswith("--"):
        return f"{name}={without_folders(value)}"
    return without_folders(argument)
