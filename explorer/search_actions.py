"""What can be done with the study that the search page watches: stop it, go on with it, forget it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from reports.wording import plain
from search.run.launch import Activity, activity, forget, launch, stop
from search.run.live import State
from search.run.standing import rung_counts
from sizer.errors import InvalidQuantity, SizerError

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from search.run.live import Live
    from search.space.config import SearchConfig
    from search.store.results import SearchResult

# The name of a study that was just forgotten: the page has to be drawn anew without it.
FORGOTTEN = "search_forgotten"
_STOPPING, _ERROR = "search_stopping", "search_watch_error"
_MOST_MODELS = 100_000

_ENDED = {
    State.DONE: "Done: all models that were asked for are trained. Ask for more to go on.",
    State.STOPPED: "Stopped. Resume goes on from where it was.",
    State.EXHAUSTED: "Ended early: the space holds no more new models that fit the budget.",
    State.KILLED: "Its process is gone. Resume goes on from the last checkpoints.",
}


class Models(NamedTuple):
    """How many models a stored study is to train, and has."""

    first: int  # as asked when it began; what `sizer search resume` alone goes on to
    asked: int  # as asked last, by `resume --trials`
    trained: int  # up to the first rung


def models_of(config: SearchConfig, result: SearchResult, live: Live | None) -> Models:
    """How many models a study is to train, and has."""
    at = rung_counts(config, result.records)[0]
    asked = live.wanted if live is not None else config.trials
    return Models(first=config.trials, asked=asked, trained=at.done + at.lost)


def resume_arguments(name: str, models: int, first: int) -> list[str]:
    """Arguments of `sizer search` that go on with a study up to so many models in all."""
    more = [f"--trials={models}"] if models != first else []
    return ["resume", *more, *(["--"] if name.startswith("-") else []), name]


def show_actions(
    name: str, storage: str, now: Activity, models: Models | None, *, can_forget: bool = False
) -> DeltaGenerator:
    """What can be done with the study, and the place beside it for what its process does.

    Not for a fragment: a press while the server draws one anew is lost. `models`: None where no study is.
    """
    if now.owner is None and models is not None:
        words, *actions = st.columns([3, 1, 1], vertical_alignment="bottom")  # a field's title stands above
    else:
        words, *actions = st.columns([4, 1], vertical_alignment="center")
    place = words.empty()
    if now.owner is not None:
        actions[0].button("Stop", key="search_stop", on_click=_stop, args=(name, storage), width="stretch")
    elif models is not None:
        with actions[0]:
            wanted, field = _draw_models(name, models)
        actions[1].button(
            "Go on with more" if now.state is State.DONE else "Resume",
            key="search_resume",
            type="primary",
            on_click=_resume,
            args=(name, storage, models, field, now.state is State.DONE),
            width="stretch",
        )
        if now.state is not State.DONE or wanted > models.trained:
            command = shlex.join(["sizer", "search", *resume_arguments(name, wanted, models.first)])
            st.code(command, language="sh", wrap_lines=True)
    elif can_forget:
        _draw_forget(name, storage, actions[0])
    if message := st.session_state.pop(_ERROR, None):
        st.error(plain(message))
    return place


def _draw_models(name: str, models: Models) -> tuple[int, str]:
    """The field of how many models to train, and its key."""
    first = max(models.asked, models.trained, 1)
    # another study, or more models asked for elsewhere: another field, that begins anew
    key = f"search_models_{first}_{name}"
    wanted = st.number_input(
        "Models to train in all",
        max(models.trained, 1),
        max(first, _MOST_MODELS),
        first,
        step=1,
        key=key,
        help=f"{models.trained} are trained. Asked for as the study began: {models.first}.",
    )
    return int(wanted), key


def _draw_forget(name: str, storage: str, place: DeltaGenerator) -> None:
    with place.popover("Forget", width="stretch"):
        st.markdown(
            "Removes the log of this search and the record of its start. It never became a study: nothing "
            "that was trained is lost."
        )
        st.button("Forget it", key="search_forget", type="primary", on_click=_forget, args=(name, storage))


def say_state(place: DeltaGenerator, name: str, now: Activity) -> None:
    """Say in that place what the study's process does, or how the last one ended."""
    if now.owner is not None:
        process = f"process {now.owner['pid']} on {now.owner['host']}"
        if st.session_state.get(_STOPPING) == (name, now.owner["pid"]):
            place.info(plain(f"Asked to stop; ends after the current step ({process})."))
        elif now.is_starting:
            place.info(plain(f"Starting: reads its text and times this machine ({process})."))
        elif now.state is State.RUNNING:
            place.info(plain(f"Running ({process}). It goes on when this page is closed."))
        else:
            place.info(plain(f"Writes its report ({process})."))
    elif now.state is State.FAILED:
        place.error(plain(now.reason))
    elif now.state is None:
        place.info("Not running, as far as is written down here.")
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
    """Go on with a study; the number is read here: a click may come with the number typed just before it."""
    wanted = int(st.session_state[field])
    try:
        if needs_more and wanted <= models.trained:
            raise InvalidQuantity(
                f"models: {models.trained} are trained already; accepted: a number above that"
            )
        launch(name, resume_arguments(name, wanted, models.first), storage)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)


def _forget(name: str, storage: str) -> None:
    try:
        forget(name, storage)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)
    else:
        st.session_state[FORGOTTEN] = name
