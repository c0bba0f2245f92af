"""The search page's view of one study: what is in training, its frontier and curves, Stop and Resume."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.search_studies import STUDY, known_studies, load, stored_studies, trust_of
from explorer.study_views import choose_on_frontier, show_export, show_model, show_trust
from explorer.tables import table_html
from reports.figures import FIGURE_CONFIG
from reports.search_figures import curves_figure, curves_info
from reports.wording import NOT_KNOWN, budget_texts, plain, rate_text
from search.law.scores import RankedBy, ranking
from search.run.curves import read_curves
from search.run.launch import Activity, activity, launch, log_tail, stop
from search.run.live import State
from search.run.plan import rung_steps
from search.run.standing import RungCount, rung_counts
from sizer.errors import SizerError
from sizer.units import format_seconds

if TYPE_CHECKING:
    from search.run.live import Live
    from search.space.config import SearchConfig
    from search.store.results import SearchResult

REFRESH_S = 2.0
_CHART, _TRIAL, _CONTROL = "search_frontier", "search_trial", "search_control"
_STOPPING, _ERROR = "search_stopping", "search_watch_error"
_NO_CONTROL = "none"

_ENDED = {
    State.DONE: "Done: all models that were asked for are trained.",
    State.STOPPED: "Stopped. Resume goes on from where it was.",
    State.EXHAUSTED: "Ended early: the space holds no more new models that fit the budget.",
    State.KILLED: "Its process is gone. Resume goes on from the last checkpoints.",
}


def watch_view(storage: str) -> None:
    """Draw the view; while the study's process is at work it is drawn anew every other second."""
    names = known_studies(storage)
    if not names:
        st.info("There is no study yet: begin one under Start.")
        return
    if st.session_state.get(STUDY) not in names:
        wanted = st.query_params.get("study")
        st.session_state[STUDY] = wanted if wanted in names else names[-1]
    name: str = st.selectbox("Study", names, key=STUDY, persist_state="session")
    st.query_params["study"] = name
    try:
        busy = activity(name, storage).owner is not None
        st.fragment(_watch, run_every=REFRESH_S if busy else None)(name, storage, busy)
    except SizerError as error:
        st.error(plain(str(error)))


def _watch(name: str, storage: str, was_busy: bool) -> None:
    now = activity(name, storage)
    if (now.owner is not None) != was_busy:
        st.rerun()  # the whole page: what is drawn again by itself has begun or ended
    _show_state(name, storage, now)
    try:
        config, result = load(name, storage)
    except SizerError as error:
        if now.owner is None and now.state is not State.FAILED:
            st.error(plain(str(error)))
        _show_log(name, storage)
        return
    _show_rungs(config, result, now)
    if result.trained:
        _show_results(config, result, now, storage)
    _show_log(name, storage)


def _show_state(name: str, storage: str, now: Activity) -> None:
    words, action = st.columns([4, 1], vertical_alignment="center")
    with words:
        _say_state(name, now)
    if now.owner is not None:
        action.button("Stop", key="search_stop", on_click=_stop, args=(name, storage), width="stretch")
    elif now.state is not State.DONE and name in stored_studies(storage):
        action.button(
            "Resume",
            key="search_resume",
            type="primary",
            on_click=_resume,
            args=(name, storage),
            width="stretch",
        )
    if message := st.session_state.pop(_ERROR, None):
        st.error(plain(message))
    if now.live is not None and now.owner is not None and now.live.is_running:
        _show_progress(now.live)


def _say_state(name: str, now: Activity) -> None:
    if now.owner is not None:
        process = f"process {now.owner['pid']} on {now.owner['host']}"
        if st.session_state.get(_STOPPING) == (name, now.owner["pid"]):
            st.info(plain(f"Asked to stop; ends after the current step ({process})."))
        elif now.is_starting:
            st.info(plain(f"Starting: reads its text and times this machine ({process})."))
        elif now.state is State.RUNNING:
            st.info(plain(f"Running ({process}). It goes on when this page is closed."))
        else:
            st.info(plain(f"Writes its report ({process})."))
    elif now.state is State.FAILED:
        st.error(plain(now.reason))
    elif now.state is None:
        st.info("Not running, as far as is written down here.")
    else:
        st.info(_ENDED[now.state])


def _show_progress(live: Live) -> None:
    share = live.done_steps / live.total_steps if live.total_steps else 0.0
    eta = f"about {format_seconds(live.eta_s)} left" if live.eta_s is not None else "time left not known yet"
    st.progress(min(1.0, share), f"{live.done_steps:,} of {live.total_steps:,} steps, {eta}")
    if live.in_training:
        rows = [
            (
                str(run.number),
                run.model,
                run.format,
                f"{run.rung + 1} of {live.rungs}",
                str(run.seed or "") or "own",
                f"{run.step:,} of {run.steps:,}",
                NOT_KNOWN if run.loss is None else f"{run.loss:.3f}",
                rate_text(run.tokens_per_s) if run.tokens_per_s else NOT_KNOWN,
            )
            for run in live.in_training
        ]
        head = ("in training: trial", "model", "format", "rung", "seed", "steps", "loss (nats/token)")
        st.html(table_html((*head, "tokens/s"), rows, left=(0, 1, 2)))
    age = max(0.0, time.time() - live.written_at_s)
    st.caption(f"as told {format_seconds(age)} ago" if age >= 10 else "as told a moment ago")


def _show_rungs(config: SearchConfig, result: SearchResult, now: Activity) -> None:
    wanted = now.live.wanted if now.live is not None else 0
    counts = rung_counts(config, result.records, wanted=wanted)
    over = sum(bool(record.violations) for record in result.records)
    trained = counts[0]
    tiles = st.columns(4)
    tiles[0].metric("Trained", f"{trained.done + trained.lost} of {trained.expected}")
    tiles[1].metric("Over the budget", over)
    tiles[2].metric("Diverged or failed", sum(count.lost for count in counts))
    ranked = ranking(result)
    best = min((ranked.scores[record.number].bits_per_byte for record in ranked.records), default=None)
    by_law = ", carried over" if ranked.by is RankedBy.CARRIED_OVER else ""
    tiles[3].metric(f"Best bits per byte{by_law}", NOT_KNOWN if best is None else f"{best:.4f}")
    rows = [_rung_row(count) for count in counts]
    st.html(table_html(("rung", "steps", "models done", "lost", "other seeds"), rows))
    where = (result.device or "no device", *budget_texts(result), f"corpus {result.corpus}")
    st.caption(plain(" · ".join((*where, f"{config.sampler} sampler"))))


def _rung_row(count: RungCount) -> tuple[str, ...]:
    return (
        f"{count.rung + 1}",
        f"{count.steps:,}",
        f"{count.done} of {count.expected}",
        str(count.lost),
        str(count.more_seeds),
    )


def _show_results(config: SearchConfig, result: SearchResult, now: Activity, storage: str) -> None:
    st.subheader("Frontier so far" if now.owner is not None else "Frontier", divider="gray")
    chosen = choose_on_frontier(result, chart=_CHART, trial=_TRIAL)
    _show_curves(config, result, now, storage, chosen.number)
    show_model(result, chosen, key="search_model")
    show_export(result, chosen, storage, key="search_export")
    st.subheader("How far to trust it", divider="gray")
    others = [name for name in stored_studies(storage) if name != result.study]
    control = st.selectbox("Beside study", (_NO_CONTROL, *others), key=_CONTROL)
    beside = _other(control, storage) if control in others else None
    show_trust(trust_of(result.study, storage), result, beside)


def _other(name: str, storage: str) -> SearchResult | None:
    try:
        return load(name, storage)[1]
    except SizerError as error:
        st.info(plain(str(error)))
        return None


def _show_curves(
    config: SearchConfig, result: SearchResult, now: Activity, storage: str, chosen: int | None
) -> None:
    curves = read_curves(result.study, storage)
    running = now.live.in_training if now.live is not None else ()
    info = curves_info(
        curves,
        chosen=chosen,
        in_training={(run.number, run.seed) for run in running},
        rung_steps=rung_steps(config),
    )
    alt = f"Training loss by step of {len(curves)} runs"
    st.plotly_chart(curves_figure(info), key="search_curves", config=FIGURE_CONFIG, alt=alt)


def _show_log(name: str, storage: str) -> None:
    if text := log_tail(name, storage):
        with st.expander("What it printed"):
            st.code(text, language=None, height=240)


def _stop(name: str, storage: str) -> None:
    try:
        owner: Any = activity(name, storage).owner
        stop(name, storage)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)
    else:
        st.session_state[_STOPPING] = (name, owner["pid"]) if owner else None


def _resume(name: str, storage: str) -> None:
    try:
        launch(name, ["resume", "--", name], storage)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)
