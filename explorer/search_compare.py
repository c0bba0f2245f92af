"""The search page's view of several studies: their frontiers in one picture, hypervolume from one corner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.charts import show_figure
from explorer.search_studies import load, stored_studies
from explorer.study_views import show_export, show_model
from explorer.tables import table_html
from reports.proxies import ranks_carried
from reports.search_figures import MOST_STUDIES, fronts_figure, fronts_info
from reports.trust_text import trained_tokens
from reports.wording import budget_texts, plain
from search.law.pareto import frontier
from search.trust.trust import side_by_side
from sizer.errors import SizerError
from sizer.units import format_count

if TYPE_CHECKING:
    from search.store.results import SearchResult

STUDIES = "search_compared"
HEAD = ("study", "sampler", "steps", "finalists", "on the frontier", "tokens trained", "hypervolume")


def compare_view(storage: str) -> None:
    """Draw the view."""
    names = stored_studies(storage)
    if STUDIES not in st.session_state:
        st.session_state[STUDIES] = [n for n in st.query_params.get_all("studies") if n in names]
    # a study may have been removed since
    st.session_state[STUDIES] = [name for name in st.session_state[STUDIES] if name in names]
    chosen = st.multiselect(
        "Studies", names, key=STUDIES, max_selections=MOST_STUDIES, persist_state="session"
    )
    st.query_params["studies"] = chosen
    results = []
    for name in chosen:
        try:
            result = load(name, storage)[1]
        except SizerError as error:
            st.error(plain(str(error)))
            continue
        if result.trained:
            results.append(result)
        else:
            st.info(plain(f"Study {name} has no trained model yet."))
    if len(results) < 2:
        st.info("Choose two or more studies with trained models.")
        return
    _show(results, storage)


def compared_rows(results: list[SearchResult]) -> tuple[tuple[str, ...], ...]:
    """A row for each study, in the columns of HEAD."""
    volumes = side_by_side(results)
    return tuple(
        (
            result.study,
            str(result.settings.get("sampler", "-")),
            str(result.settings.get("rungs", result.settings["steps"])),
            str(len(result.finalists)),
            str(len(frontier(result))),
            format_count(trained_tokens(result)),
            f"{volume:.4f}",
        )
        for result, volume in zip(results, volumes, strict=True)
    )


def _show(results: list[SearchResult], storage: str) -> None:
    info = fronts_info(results)
    alt = f"Frontiers of {len(results)} studies: validation bits per byte against file size"
    event = show_figure(
        fronts_figure(info),
        key="search_fronts",
        on_select="rerun",
        selection_mode="points",
        alt=alt,
    )
    st.html(table_html(HEAD, compared_rows(results), left=(0, 1)))
    st.caption(
        "Hypervolume: the area of file size (natural logarithm of bytes) times bits per byte that a frontier "
        "dominates, up to one corner for all; larger is better. It compares searches of one budget, one "
        "text and as many tokens."
    )
    for note in differences(results):
        st.warning(plain(note))
    chosen = _clicked(event, results)
    if chosen is None:
        st.caption("Click a point to see its model.")
        return
    result, number = chosen
    record = next(r for r in result.trained if r.number == number)
    st.markdown(f"Study **{plain(result.study)}**")
    show_model(result, record, key="search_compared_model")
    show_export(result, record, storage, key="search_compared_export")


def differences(results: list[SearchResult]) -> list[str]:
    """Why the studies cannot be compared in earnest."""
    notes = []
    if len({r.corpus_digest for r in results}) > 1:
        texts = ", ".join(f"{r.study}: {r.corpus} {r.corpus_digest[:12]}" for r in results)
        notes.append(f"They were trained and scored on different texts ({texts}).")
    if len({(r.device, budget_texts(r)) for r in results}) > 1:
        budgets = "; ".join(
            f"{r.study}: {', '.join((r.device or 'no device', *budget_texts(r)))}" for r in results
        )
        notes.append(f"They had different budgets ({budgets}).")
    carried = [r.study for r in results if ranks_carried(r)]
    if len(carried) == len(results):
        notes.append(
            "Their scores are carried over to the models by a law each: between the studies stand both laws' "
            "errors. Hypervolume is of what was trained."
        )
    elif carried:
        notes.append(
            f"Scores of {', '.join(carried)} are carried over to the models by the law, those of the others "
            "are of what was trained, as is all hypervolume."
        )
    return notes


def _clicked(event: Any, results: list[SearchResult]) -> tuple[SearchResult, int] | None:
    """The study and the trial of the point clicked on."""
    by_name = {result.study: result for result in results}
    for point in event["selection"]["points"]:
        match point.get("customdata"):
            case [str(study), int(number)] if study in by_name and _has(by_name[study], number):
                return by_name[study], number
    return None


def _has(result: SearchResult, number: int) -> bool:
    return any(record.number == number for record in result.trained)
