"""Parts of a study on a page: the frontier to click in, one of its models, the ranking's reliability."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from explorer.widgets.charts import show_figure
from explorer.widgets.downloads import download_name, study_downloads
from explorer.widgets.estimate_widgets import show_breakdowns, show_details, show_headline
from explorer.widgets.export import show_trial_export
from explorer.widgets.html import show_table
from explorer.widgets.onward import Way, show_way
from explorer.widgets.size_link import size_query, whole_query
from reports.export.files import NO_PARQUET, has_parquet
from reports.figures import frontier_figure, frontier_info
from reports.text.scaled_proxies import frontier_notes, ranked_text, ranks_extrapolated, score_cells
from reports.text.trust import TAU_ROW, control_line, trust_columns, trust_rows
from reports.text.wording import escape_markdown, shape_text
from search.store.folders import kept_weights
from sizer.errors import SizerError, StudyError
from sizer.families.hf_config import config_from_architecture
from sizer.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from search.analysis.reliability import RungTrust
    from search.store.results import SearchResult, TrialRecord


class Reliability(NamedTuple):
    """Reliability of a study's ranking: comparisons by rung, the verdict, and notes."""

    reports: tuple[RungTrust, ...]
    line: str
    notes: tuple[str, ...]


def choose_on_frontier(result: SearchResult, *, chart: str, trial: str) -> TrialRecord:
    """Draw the frontier and a menu; return the clicked or chosen model, at first the most accurate one.

    `chart` and `trial` are the widgets' session keys, which differ between pages.
    """
    info, carried = frontier_info(result), ranks_extrapolated(result)
    by_number = {record.number: record for record in result.trained}
    on_front = [point.trial for point in info.front]
    event = show_figure(
        frontier_figure(info),
        key=chart,
        on_select="rerun",
        selection_mode="points",
        alt=f"{'Carried-over' if carried else 'Validation'} bits per byte against file size, "
        f"{len(on_front)} models on the frontier",
    )
    if carried:
        st.caption(escape_markdown(" ".join(frontier_notes(result))))
    clicked = [point["customdata"] for point in event["selection"]["points"] if "customdata" in point]
    number, before = _number(clicked[0]) if clicked else None, f"{chart}_clicked"
    if number in by_number and number != st.session_state.get(before):
        st.session_state[trial] = number
    st.session_state[before] = number
    if st.session_state.get(trial) not in by_number:
        st.session_state[trial] = on_front[-1]
    order = on_front + [number for number in by_number if number not in on_front]
    number = st.selectbox(
        "Model (or click a point above)",
        order,
        key=trial,
        format_func=lambda n: (
            f"trial {n}: {_line(result, by_number[n])}" + ("" if n in on_front else " (dominated)")
        ),
    )
    return by_number[number]


def show_model(result: SearchResult, record: TrialRecord, *, key: str) -> None:
    """Draw a model's score and its estimate as deployed; `key` starts the session keys of its charts."""
    proxy = record.proxy
    assert proxy is not None
    st.subheader(f"Trial {record.number}", divider="gray")
    seeds = f"seed {proxy.seed}" if proxy.seeds == 1 else f"mean of {proxy.seeds} seeds"
    st.markdown(
        f"**{escape_markdown(ranked_text(result, record))}** ({_exact(record)}) after {proxy.steps:,} steps, "
        f"{format_count(proxy.trained_tokens)} tokens and {format_seconds(proxy.wall_s)} of training, {seeds}"
    )
    try:
        sized = result.deployment(record)
    except SizerError as error:
        st.error(escape_markdown(str(error)))
        return
    show_headline(sized)
    show_breakdowns(sized, key)
    with st.expander("All figures and assumptions"):  # long: export and downloads stand below
        show_details(sized)


def show_export(result: SearchResult, record: TrialRecord, storage: str, *, key: str) -> None:
    """Draw the model's configuration to download, commands that print it, and where its weights are."""
    architecture, name = record.candidate.architecture, shlex.quote(result.study)
    config = download_name(result.study, f"{record.number}.json")
    device = f" --device {shlex.quote(result.device)}" if result.device else ""
    commands = [
        f"sizer search frontier {name} --json",
        f"sizer search report {name}",
        f"sizer estimate --config {shlex.quote(config)} --format {record.candidate.format}{device}",
    ]
    st.code("\n".join(commands), language="sh")
    left, right = st.columns(2)
    left.download_button(
        "Configuration (JSON)",
        json.dumps(config_from_architecture(architecture), indent=2),
        config,
        "application/json",
        key=f"{key}_config",
    )
    query = _size_query(result, record)
    if query is not None:
        with right:
            show_way(Way("size", "Open on Size", whole_query(query)))
    kept: list[Path] = []
    with suppress(StudyError):  # a name that is a path, as only other programs give, has no folder
        kept = list(kept_weights(result.study, storage).get(record.number, {}).values())
    if kept:
        st.caption(escape_markdown(f"Weights: {', '.join(map(str, kept))}"))
        show_trial_export(result, record, storage, key=key)
    else:
        st.caption("Its weights were not kept: a search keeps those of its last rung.")


def show_downloads(result: SearchResult, storage: str, *, key: str) -> None:
    """Draw download buttons for the study's report and tables; a file is made when its button is clicked."""
    row = st.container(horizontal=True)
    for place, download in enumerate(study_downloads(result, storage)):
        row.download_button(
            download.label,
            download.make,
            download.file_name,
            download.mime,
            key=f"{key}_{place}",
            on_click="ignore",
            type="secondary" if place else "primary",
        )
    st.caption(
        "The files of `sizer search report`, made at the click: some seconds for the report, a minute for "
        "thousands of trials. It opens without the explorer and without a network."
    )
    if not has_parquet():
        st.caption(escape_markdown(NO_PARQUET))


def show_reliability(reliability: Reliability, result: SearchResult, control: SearchResult | None) -> None:
    """Draw the output of `sizer search trust`."""
    st.markdown(f"**Verdict:** {escape_markdown(reliability.line)}")
    if reliability.reports:  # more than one rung was trained
        rows = trust_rows(reliability.reports)
        bold = [place for place, row in enumerate(rows) if row[0] == TAU_ROW]
        show_table(trust_columns(reliability.reports), rows, bold_rows=bold)
    if control is not None:
        try:
            st.markdown(escape_markdown(control_line(result, control)))
        except SizerError as error:
            st.info(escape_markdown(str(error)))
    with st.expander("Notes on reliability"):
        st.markdown("\n".join(f"- {escape_markdown(note)}" for note in reliability.notes))


def _size_query(result: SearchResult, record: TrialRecord) -> dict[str, str] | None:
    """Return the parameters of the model on the size page; None if it cannot show it (a device file)."""
    try:
        return size_query(
            record.candidate.architecture,
            format=record.candidate.format,
            runtime=result.runtime,
            device=result.device,
            context_tokens=int(result.settings["context_tokens"]),
        )
    except SizerError:
        return None


def _number(customdata: object) -> int | None:
    """Return a point's trial: plotly.js returns one value bare or in a list, depending on the trace."""
    value = customdata[0] if isinstance(customdata, list) and customdata else customdata
    return value if isinstance(value, int) else None


def _line(result: SearchResult, record: TrialRecord) -> str:
    a, score = record.candidate.architecture, score_cells(result, record)[0]
    return f"{shape_text(a)}, {record.candidate.format}, {format_bytes(record.file_bytes)}, {score}"


def _exact(record: TrialRecord) -> str:
    """Return the score before quantization, or that of a model trained with quantized weights."""
    proxy, name = record.proxy, record.candidate.format
    assert proxy is not None
    assert proxy.val_bits_per_byte_full is not None
    full, score = proxy.val_bits_per_byte_full, proxy.val_bits_per_byte
    if score is not None and full > score:
        return f"trained quantized to {name}; {full:.4f} with the unquantized weights"
    return f"{full:.4f} before quantization to {name}"
