"""The page "Open a study": a search's frontier, and everything about the model that is clicked on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.panels import show_breakdowns, show_details, show_headline
from reports.deployment import deployed_estimate
from reports.figures import FIGURE_CONFIG, frontier_figure, frontier_info
from reports.frames import frontier_frame, trials_frame
from reports.trust_notes import trust_notes
from reports.wording import budget_texts, score_text, shape_text
from sizer.errors import SizerError, StudyError
from sizer.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from search.results import SearchResult, TrialRecord

STORAGE, STUDY, CHART, TRIAL = "storage", "study", "frontier", "trial"

_HOW_TO = (
    "A study is what `sizer search run` leaves behind, by default in the folder `runs` of the directory it "
    "was started in. For instance, twenty small models that fit in 2 MB on a Raspberry Pi 5:\n\n"
    "```\nsizer search run --device raspberry-pi-5 --max-size 2MB --trials 20 --study first\n```\n\n"
    "Then reload this page. It can be opened while the search is still running."
)


def page() -> None:
    """Draw the page."""
    st.header("Open a study")
    result = _choose()
    if result is None:
        return
    _show_counts(result)
    if not result.trained:
        st.info(f"Study {result.study} has no trained model yet: {len(result.records)} trials so far.")
        return
    chosen = _show_frontier(result)
    _show_model(result, chosen)
    _show_all(result)


def _choose() -> SearchResult | None:
    # optuna is heavy and only this page needs it
    from search.study import default_storage, list_studies, load_result

    columns = st.columns([3, 2])
    st.session_state.setdefault(STORAGE, st.query_params.get(STORAGE, default_storage()))
    storage = columns[0].text_input(
        "Storage", key=STORAGE, help="An SQLite file or any Optuna storage address."
    )
    try:
        names = list_studies(storage)
    except StudyError as error:
        st.info(str(error))
        st.markdown(_HOW_TO)
        return None
    if not names:
        st.info("This storage holds no study yet.")
        st.markdown(_HOW_TO)
        return None
    wanted = st.query_params.get(STUDY)
    if STUDY not in st.session_state and wanted in names:
        st.session_state[STUDY] = wanted
    name = columns[1].selectbox("Study", names, key=STUDY)
    st.query_params.from_dict({STUDY: name} | ({STORAGE: storage} if storage != default_storage() else {}))
    try:
        return load_result(name, storage)
    except SizerError as error:
        st.error(str(error))
        return None


def _show_counts(result: SearchResult) -> None:
    numbers = trials_frame(result)
    own = numbers[numbers["repeats_trial"].isna()]  # a repeat of an earlier candidate trained nothing
    counts = own["status"].value_counts()
    tiles = st.columns(6)
    tiles[0].metric("Trained", f"{len(result.trained)} of {result.trials_requested}")
    tiles[1].metric("On the frontier", int(numbers["on_frontier"].sum()))
    tiles[2].metric("Over the budget", int(counts.get("infeasible", 0)))
    tiles[3].metric("Diverged", int(counts.get("diverged", 0)))
    tiles[4].metric("Tokens", format_count(int(own["trained_tokens"].sum())))
    tiles[5].metric("Training time", format_seconds(float(own["wall_s"].sum())))
    where = " · ".join((result.device or "no device", *budget_texts(result), f"corpus {result.corpus}"))
    st.caption(where)


def _show_frontier(result: SearchResult) -> TrialRecord:
    """The figure; returns the model clicked on or chosen, the most accurate one at first."""
    info = frontier_info(result)
    by_number = {record.number: record for record in result.trained}
    on_front = [point.trial for point in info.front]
    event: Any = st.plotly_chart(
        frontier_figure(info),
        key=CHART,
        on_select="rerun",
        selection_mode="points",
        config=FIGURE_CONFIG,
        alt=f"Validation bits per byte against file size, {len(on_front)} models on the frontier",
    )
    clicked = [point["customdata"] for point in event["selection"]["points"] if "customdata" in point]
    number = _number(clicked[0]) if clicked else None
    if number in by_number and number != st.session_state.get("clicked"):
        st.session_state[TRIAL] = number
    st.session_state["clicked"] = number
    if st.session_state.get(TRIAL) not in by_number:
        st.session_state[TRIAL] = on_front[-1]
    order = on_front + [number for number in by_number if number not in on_front]
    number = st.selectbox(
        "Model (or click a point above)",
        order,
        key=TRIAL,
        format_func=lambda n: f"trial {n}: {_line(by_number[n])}" + ("" if n in on_front else " (dominated)"),
    )
    return by_number[number]


def _number(customdata: object) -> int | None:
    """A point's trial: plotly.js hands one value back bare or in a list, depending on the trace."""
    value = customdata[0] if isinstance(customdata, list) and customdata else customdata
    return value if isinstance(value, int) else None


def _line(record: TrialRecord) -> str:
    a = record.candidate.architecture
    return (
        f"{shape_text(a)}, {record.candidate.format}, {format_bytes(record.file_bytes)}, {score_text(record)}"
    )


def _exact(record: TrialRecord) -> str:
    """The score without rounding, and what it means: models of few bits are trained as rounded."""
    proxy, name = record.proxy, record.candidate.format
    assert proxy is not None
    assert proxy.val_bits_per_byte_full is not None
    full, score = proxy.val_bits_per_byte_full, proxy.val_bits_per_byte
    if score is not None and full > score:
        return f"trained rounded to {name}; {full:.4f} by the weights behind the rounding"
    return f"{full:.4f} before rounding to {name}"


def _show_model(result: SearchResult, record: TrialRecord) -> None:
    proxy = record.proxy
    assert proxy is not None
    st.subheader(f"Trial {record.number}", divider="gray")
    seeds = f"seed {proxy.seed}" if proxy.seeds == 1 else f"mean of {proxy.seeds} seeds"
    st.markdown(
        f"**{score_text(record)} bits per byte** ({_exact(record)}) after {proxy.steps:,} steps, "
        f"{format_count(proxy.trained_tokens)} tokens and {format_seconds(proxy.wall_s)} of training, {seeds}"
    )
    try:
        sized = deployed_estimate(result, record)
    except SizerError as error:
        st.error(str(error))
        return
    show_headline(sized)
    show_breakdowns(sized, "model")
    show_details(sized)


def _show_all(result: SearchResult) -> None:
    from reports.page import frontier_json

    st.subheader("The whole study", divider="gray")
    st.markdown("\n".join(f"- {note}" for note in trust_notes(result)))
    st.dataframe(trials_frame(result), hide_index=True, key="trials")
    csv, everything, document = st.columns(3)
    csv.download_button(
        "Frontier (CSV)",
        frontier_frame(result).to_csv(index=False),
        f"{result.study}-frontier.csv",
        "text/csv",
    )
    everything.download_button(
        "All trials (CSV)", trials_frame(result).to_csv(index=False), f"{result.study}-trials.csv", "text/csv"
    )
    document.download_button(
        "Frontier (JSON)", frontier_json(result), f"{result.study}-frontier.json", "application/json"
    )


page()
