"""Actions on the study that the search page watches: stop, resume, extend, remove."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from reports.text.wording import escape_markdown
from search.run.launch import Activity, activity, forget, launch, stop
from search.run.live import State
from search.schedule.progress_by_rung import rung_counts
from sizer.errors import InvalidQuantity, SizerError

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from search.config.config import SearchConfig
    from search.store.results import SearchResult

# Session key: name of a study that was just removed, for a message on the page without it.
FORGOTTEN = "search_forgotten"
_STOPPING, _ERROR = "search_stopping", "search_watch_error"
_MOST_MODELS = 100_000

_ENDED = {
    State.DONE: "Done: all requested models are trained. Extend trains more.",
    State.STOPPED: "Stopped. Resume continues from the last checkpoints.",
    State.EXHAUSTED: "Ended early: the space has no more new models that fit the budget.",
    State.KILLED: "Its process has died. Resume continues from the last checkpoints.",
}


class Models(NamedTuple):
    """Numbers of models of a stored study."""

    requested: int  # by `run`, or by the last `resume --trials`
    trained: int  # in the first rung


def models_of(config: SearchConfig, result: SearchResult) -> Models:
    """Return the numbers of models that a study has to train and has trained."""
    at = rung_counts(config, result.records)[0]
    return Models(requested=result.trials_requested, trained=at.done + at.lost)


def resume_arguments(name: str, models: int, requested: int) -> list[str]:
    """Return arguments of `sizer search` that resume a study up to a total number of models."""
    more = [f"--trials={models}"] if models != requested else []
    return ["resume", *more, *(["--"] if name.startswith("-") else []), name]


def show_actions(
    name: str, storage: str, now: Activity, models: Models | None, *, can_forget: bool = False
) -> DeltaGenerator:
    """Draw the actions on the study; return a place next to them for the state of its process.

    The button is alone and first in its column, so that nothing drawn later moves it: a press on a button
    that moves before it is released is lost. `models` is None if there is no study.
    """
    action, words = st.columns([1, 4])
    place = words.empty()
    button = action.container(key="first_search_action")  # shows its first element only
    if now.owner is not None:
        button.button("Stop", key="search_stop", on_click=_stop, args=(name, storage), width="stretch")
    elif models is not None:
        field, is_done = _models_key(name, models), now.state is State.DONE
        button.button(
            "Extend" if is_done else "Resume",
            key="search_resume",
            type="primary",
            on_click=_resume,
            args=(name, storage, models, field, is_done),
            width="stretch",
        )
    elif can_forget:
        with button:
            _draw_forget(name, storage)
    if message := st.session_state.pop(_ERROR, None):
        st.error(escape_markdown(message))
    if now.owner is None and models is not None:
        wanted = _draw_models(name, models)
        if now.state is not State.DONE or wanted > models.trained:
            command = shlex.join(["sizer", "search", *resume_arguments(name, wanted, models.requested)])
            st.code(command, language="sh", wrap_lines=True)
    return place


def _models_key(name: str, models: Models) -> str:
    """Return the key of the field of the total number of models.

    Another study, or more models requested elsewhere: another field with its own first value.
    """
    return f"search_models_{_first_value(models)}_{name}"


def _first_value(models: Models) -> int:
    return max(models.requested, models.trained, 1)


def _draw_models(name: str, models: Models) -> int:
    """Draw the field of the total number of models; return its value."""
    first = _first_value(models)
    return int(
        st.number_input(
            "Total models to train",
            max(models.trained, 1),
            max(first, _MOST_MODELS),
            first,
            step=1,
            key=_models_key(name, models),
            width=240,
            help=f"{models.trained} are trained; {models.requested} are requested.",
        )
    )


def _draw_forget(name: str, storage: str) -> None:
    with st.popover("Remove", width="stretch"):
        st.markdown(
            "Removes the log of this search and the record of its start. It ended before it was stored, so "
            "nothing that was trained is lost."
        )
        st.button("Remove it", key="search_forget", type="primary", on_click=_forget, args=(name, storage))


def show_state(place: DeltaGenerator, name: str, now: Activity) -> None:
    """Draw the state of the study's process, or how the last one ended."""
    if now.owner is not None:
        process = f"process {now.owner['pid']} on {now.owner['host']}"
        if st.session_state.get(_STOPPING) == (name, now.owner["pid"]):
            place.info(escape_markdown(f"Stopping after the current step ({process})."))
        elif now.is_starting:
            place.info(escape_markdown(f"Starting: reading the text, timing this machine ({process})."))
        elif now.state is State.RUNNING:
            place.info(escape_markdown(f"Running ({process}). Closing this page does not stop it."))
        else:
            place.info(escape_markdown(f"Writing the report ({process})."))
    elif now.state is State.FAILED:
        place.error(escape_markdown(now.reason))
    elif now.state is None:
        place.info("Not running, as far as its records on this machine show.")
    else:
        place.info(_ENDED[now.state])


def _stop(name: str, storage: str) -> None:
    try:
        owner: Any = activity(name, storage).owner
        stop(name, storage)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)
    else:
        st.session_state[_STOPPING] = (name, owner["pid"]) if owner else None


def _resume(name: str, storage: str, models: Models, field: str, needs_more: bool) -> None:
    """Resume a study; the number is read here, as a click may arrive with a number typed just before it."""
    wanted = int(st.session_state[field])
    try:
        if needs_more and wanted <= models.trained:
            raise InvalidQuantity(
                f"models: {models.trained} are trained already; accepted: a number above that"
            )
        launch(name, resume_arguments(name, wanted, models.requested), storage)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)


def _forget(name: str, storage: str) -> None:
    try:
        forget(name, storage)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)
    else:
        st.session_state[FORGOTTEN] = name
