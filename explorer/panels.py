"""What both pages show of an estimate: headline figures, breakdown figures, the full table, assumptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from explorer.tables import table_html
from explorer.tiles import Tile, show_tiles
from reports.bars import BARS_STYLE, breakdown_html
from reports.breakdowns import bytes_info, memory_info, parameters_info
from reports.estimate_text import Section, estimate_sections
from reports.wording import NOT_KNOWN, energy_text, fit_text, plain, range_text, rate_text
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from sizer.estimate import Estimate
    from sizer.prediction import Prediction


def show_headline(estimate: Estimate) -> None:
    """Parameters, file, memory, speed and energy as six figures, each with its range or remark below it."""
    parameters, file, memory = estimate.parameters, estimate.file, estimate.memory
    latency, energy = estimate.latency, estimate.energy
    decode = latency.decode_tokens_per_s if latency else None
    first = latency.time_to_first_token_s if latency else None
    show_tiles(
        [
            Tile(
                "Parameters",
                format_count(parameters.total),
                f"{format_count(parameters.non_embedding)} outside embedding and head",
            ),
            Tile(
                "File",
                format_bytes(file.total),
                f"{estimate.format}, {estimate.bits_per_weight:.2f} bits per weight",
            ),
            Tile(
                "Memory",
                format_bytes_binary(memory.total_bytes),
                "no budget known"
                if memory.budget_bytes is None
                else fit_text(memory.total_bytes, memory.budget_bytes),
                None if memory.budget_bytes is None else memory.fits,
            ),
            Tile("Decode, tokens/s", *_speed(estimate, decode, rate_text)),
            Tile("First token", *_speed(estimate, first, format_seconds)),
            Tile("Energy per token", *_speed(estimate, energy, energy_text)),
        ]
    )


def show_breakdowns(estimate: Estimate, key: str) -> None:
    """Parameters, file bytes and memory by part, side by side; `key` sets them apart from others."""
    infos = {"parameters": parameters_info, "file": bytes_info, "memory": memory_info}
    for column, (name, decide) in zip(st.columns(len(infos)), infos.items(), strict=True):
        column.html(f"<style>{BARS_STYLE}</style>{breakdown_html(decide(estimate), f'{key}-{name}')}")


def show_details(estimate: Estimate) -> None:
    """Every figure as a table in sections, and the assumptions it rests on."""
    figures, assumptions = st.tabs(["All figures", "Assumptions"])
    with figures:
        show_figures(estimate)
    with assumptions:
        show_assumptions(estimate)


def show_figures(estimate: Estimate) -> None:
    """Every figure as a table in sections."""
    columns = st.columns(2)
    for place, section in enumerate(estimate_sections(estimate)):
        columns[place % 2].html(_section_html(section))


def show_assumptions(estimate: Estimate) -> None:
    """What the figures rest on."""
    st.markdown("\n".join(f"- {plain(note)}" for note in estimate.assumptions))


def _section_html(section: Section) -> str:
    return table_html(
        (section.title, section.unit, ""),
        [(row.label, row.value, row.remark) for row in section.rows],
        remarks=(2,),
        bold=[place for place, row in enumerate(section.rows) if row.label == "total"],
    )


def _speed(
    estimate: Estimate, prediction: Prediction | None, wording: Callable[[float], str]
) -> tuple[str, str]:
    """A figure, and its range or why it is not known."""
    if prediction is not None:
        return wording(prediction.value), f"{range_text(prediction, wording)}, {prediction.basis.value}"
    return NOT_KNOWN, "choose a device" if estimate.device is None else "nothing known of this device's speed"
