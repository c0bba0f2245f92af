"""The search page's view of one study: models in training, frontier and curves, Stop and Resume."""

from __future__ import annotations

import shlex
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import streamlit as st

from explorer.pages.search.actions import FORGOTTEN, models_of, show_actions, show_state
from explorer.pages.search.controls import STUDY
from explorer.pages.search.studies import (
    known_studies,
    load,
    never_stored,
    reliability_of,
    stored_studies,
)
from explorer.state import Choice
from explorer.widgets.charts import show_figure
from explorer.widgets.controls import choice
from explorer.widgets.decision_views import show_decisions
from explorer.widgets.html import show_table, show_tiles
from explorer.widgets.onward import Way, show_way
from explorer.widgets.study_views import (
    choose_on_frontier,
    show_downloads,
    show_export,
    show_model,
    show_reliability,
)
from reports.figures.searches import watched_curves_figure, watched_curves_info
from reports.html.tiles import Tile
from reports.text.trust import trust_sentence
from reports.text.wording import NOT_KNOWN, budget_texts, escape_markdown, rate_text
from search.analysis.ranking import RankedBy, ranking
from search.run.launch import Activity, activity, log_tail, read_launch
from search.run.learning_curves import read_curves
from search.run.live import State
from search.schedule.plan import rung_steps
from search.schedule.progress_by_rung import RungCount, rung_counts
from sizer.errors import SizerError
from sizer.units import format_seconds

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from search.config.config import SearchConfig
    from search.run.live import LiveStatus
    from search.store.results import SearchResult

REFRESH_S = 2.0
_CHART, _TRIAL, _CONTROL = "search_frontier", "search_trial", "search_control"
_NO_CONTROL = "none"
_LAST_LINES = 20


def watch_view(storage: str) -> None:
    """Draw the view; while the study's process is running it is drawn again every two seconds."""
    if (forgotten := st.session_state.pop(FORGOTTEN, None)) is not None:
        st.toast(escape_markdown(f"{forgotten} is removed."))
    names = known_studies(storage)
    if not names:
        st.session_state[STUDY.key] = ""
        st.info("There is no study yet: start a search in the view Start.")
        return
    if st.session_state[STUDY.key] not in names:
        st.session_state[STUDY.key] = names[-1]
    name = choice(Choice(STUDY.key, STUDY.label, names[-1], names))
    try:
        now = activity(name, storage)
        models, failed = None, False
        if now.owner is None:
            failed = never_stored(name, storage)
            with suppress(SizerError):  # shown below, with the study
                models = models_of(*load(name, storage))
        place = show_actions(name, storage, now, models, can_forget=failed)
        is_busy = now.owner is not None
        st.fragment(_watch, run_every=REFRESH_S if is_busy else None)(name, storage, place, was_busy=is_busy)
    except SizerError as error:
        st.error(escape_markdown(str(error)))


def _watch(name: str, storage: str, place: DeltaGenerator, *, was_busy: bool) -> None:
    now = activity(name, storage)
    if (now.owner is not None) != was_busy:
        st.rerun()  # the whole page: its process has started or ended
    show_state(place, name, now)
    if now.live is not None and now.owner is not None and now.live.is_running:
        _show_progress(now.live)
    found = None
    try:
        found = load(name, storage)
    except SizerError as error:
        if now.owner is None and now.state is not State.FAILED:
            st.error(escape_markdown(str(error)))
    if found is not None:
        config, result = found
        verdict = _show_rungs(config, result)
        if result.trained:
            _show_results(config, result, now, storage, verdict)
    if found is None and never_stored(name, storage):
        _show_start(name, storage, now)
    else:
        _show_log(name, storage)


def _show_progress(live: LiveStatus) -> None:
    share = live.done_steps / live.total_steps if live.total_steps else 0.0
    st.progress(
        min(1.0, share), f"{live.done_steps:,} of {live.total_steps:,} steps, {time_left_text(live.eta_s)}"
    )
    if live.in_training:
        rows = [
            (
                str(run.number),
                run.model,
                run.format,
                f"{run.rung + 1} of {live.rungs}",
                str(run.seed or "first"),
                f"{run.step:,} of {run.steps:,}",
                NOT_KNOWN if run.loss is None else f"{run.loss:.3f}",
                rate_text(run.tokens_per_s) if run.tokens_per_s else NOT_KNOWN,
            )
            for run in live.in_training
        ]
        st.markdown("**In training**")
        head = ("trial", "model", "format", "rung", "seed", "steps", "loss (nats/token)")
        show_table((*head, "tokens/s"), rows, text_columns=("model", "format"))
    age = max(0.0, time.time() - live.written_at_s)
    st.caption(f"updated {format_seconds(max(1.0, round(age)))} ago")


def time_left_text(eta_s: float | None) -> str:
    """Return the time that a search still takes; its last steps are followed by scoring, which has no steps.

    >>> time_left_text(90.0), time_left_text(0.0), time_left_text(None)
    ('about 1m 30s left', 'about to end', 'time left not known yet')
    """
    if eta_s is None:
        return "time left not known yet"
    return f"about {format_seconds(eta_s)} left" if eta_s >= 1 else "about to end"


def _show_rungs(config: SearchConfig, result: SearchResult) -> DeltaGenerator:
    """Draw counts and the best score; return the place next to them for how far to trust it."""
    counts = rung_counts(config, result.records)
    over = sum(bool(record.violations) for record in result.records)
    trained = counts[0]
    ranked = ranking(result)
    best = min((ranked.scores[record.number].bits_per_byte for record in ranked.records), default=None)
    by_law = ", extrapolated" if ranked.by is RankedBy.CARRIED_OVER else ""
    show_tiles(
        [
            Tile("Trained", f"{trained.done + trained.lost} of {trained.expected}"),
            Tile("Over the budget", str(over)),
            Tile("Diverged or failed", str(sum(count.lost for count in counts))),
            Tile(f"Best bits per byte{by_law}", NOT_KNOWN if best is None else f"{best:.4f}"),
        ]
    )
    rows = [_rung_row(count) for count in counts]
    show_table(("rung", "steps", "models done", "diverged", "replicate seeds"), rows)
    verdict = st.container()  # filled last: it takes long for many trials
    where = (result.device or "no device", *budget_texts(result), f"corpus {result.corpus}")
    st.caption(escape_markdown(" · ".join((*where, f"{config.training.sampler} sampler"))))
    return verdict


def _rung_row(count: RungCount) -> tuple[str, ...]:
    return (
        f"{count.rung + 1}",
        f"{count.steps:,}",
        f"{count.done} of {count.expected}",
        str(count.lost),
        str(count.more_seeds),
    )


def _show_results(
    config: SearchConfig, result: SearchResult, now: Activity, storage: str, verdict: DeltaGenerator
) -> None:
    # above the decisions, which come last and push down what is below them
    show_way(Way("study", "All results and export", {"study": result.study}))
    decisions = st.container()
    st.subheader("Frontier so far" if now.owner is not None else "Frontier", divider="gray")
    chosen = choose_on_frontier(result, chart=_CHART, trial=_TRIAL)
    _show_curves(config, result, now, storage, chosen.number)
    show_model(result, chosen, key="search_model")
    show_export(result, chosen, storage, key="search_export")
    if now.owner is None:  # while it trains, the page is drawn too often to click or to weigh decisions
        st.subheader("Whole study", divider="gray")
        show_downloads(result, storage, key="search_download")
        show_decisions(result, decisions)
    st.subheader("Reliability", divider="gray")
    others = [name for name in stored_studies(storage) if name != result.study]
    control = st.selectbox("Compare with study", (_NO_CONTROL, *others), key=_CONTROL)
    compared = _other(control, storage) if control in others else None
    reliability = reliability_of(result.study, storage)
    show_reliability(reliability, result, compared)
    verdict.warning(escape_markdown(trust_sentence(reliability.line)))


def _other(name: str, storage: str) -> SearchResult | None:
    try:
        return load(name, storage)[1]
    except SizerError as error:
        st.info(escape_markdown(str(error)))
        return None


def _show_curves(
    config: SearchConfig, result: SearchResult, now: Activity, storage: str, chosen: int | None
) -> None:
    curves = read_curves(result.study, storage)
    running = now.live.in_training if now.live is not None else ()
    info = watched_curves_info(
        curves,
        chosen=chosen,
        in_training={(run.number, run.seed) for run in running},
        rung_steps=rung_steps(config),
    )
    alt = f"Training loss by step of {info.subtitle}"
    show_figure(watched_curves_figure(info), key="search_curves", alt=alt)


def _show_start(name: str, storage: str, now: Activity) -> None:
    """Draw the command of a search that was never stored, and the end of its log."""
    started = read_launch(name, storage)
    if started is not None:
        st.caption("It was started by this command:")
        st.code(shlex.join(["sizer", *started.arguments]), language="sh", wrap_lines=True)
    lines = [line for line in log_tail(name, storage).splitlines() if line != f"error: {now.reason}"]
    if any(map(str.strip, lines)):
        st.caption("Last lines of its log:")
        st.code("\n".join(lines[-_LAST_LINES:]), language=None, wrap_lines=True)


def _show_log(name: str, storage: str) -> None:
    if text := log_tail(name, storage):
        with st.expander("Log"):
            st.code(text, language=None, height=240)
