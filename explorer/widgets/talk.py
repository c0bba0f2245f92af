"""Talk to an exported model: a prompt, and what llama.cpp writes after it in a separate process."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from explorer.state import Number, Text
from reports.text.wording import escape_markdown
from search.export.generate import Generated, generate
from sizer.errors import SizerError

MAX_TOKENS = 1000
_FIRST_PROMPT = "def "
# A model of a search writes thousands of tokens a second; a file that hangs the engine is given up.
_LIMIT_S = 60.0

_PROMPT = Text("prompt", "Prompt", _FIRST_PROMPT)
_TOKENS = Number[int]("tokens", "Most tokens", 200, 1, MAX_TOKENS, 1)
_TEMPERATURE = Number[float](
    "temperature", "Temperature", 0.8, 0.0, 2.0, 0.1, "0 writes the likeliest token each time."
)


def show_talk(path: Path, *, trained: str, key: str) -> None:
    """Draw a form for a prompt to a GGUF file, and the last answer; `trained` is how long it was trained."""
    with st.form(f"{key}_form"):
        prompt = st.text_area(_PROMPT.label, _PROMPT.first, key=f"{key}_prompt", max_chars=4000)
        left, middle, right = st.columns(3)
        tokens = left.slider(_TOKENS.label, _TOKENS.low, _TOKENS.high, _TOKENS.first, key=f"{key}_tokens")
        temperature = middle.slider(
            _TEMPERATURE.label,
            _TEMPERATURE.low,
            _TEMPERATURE.high,
            _TEMPERATURE.first,
            _TEMPERATURE.step,
            key=f"{key}_temperature",
            help=_TEMPERATURE.help,
        )
        seed = right.number_input("Seed", 0, 1_000_000, 0, key=f"{key}_seed")
        asked = st.form_submit_button("Generate")
    answer = f"{key}_answer"
    if asked:
        st.session_state.pop(answer, None)
        try:
            with st.spinner("llama.cpp is writing ..."):
                found = generate(
                    path, prompt, tokens=tokens, temperature=temperature, seed=int(seed), limit_s=_LIMIT_S
                )
        except SizerError as error:
            st.error(escape_markdown(str(error)))
        else:
            st.session_state[answer] = (str(path), found)
    of, found = st.session_state.get(answer, ("", None))
    if of == str(path) and found is not None:
        _show_answer(found, trained)


def _show_answer(found: Generated, trained: str) -> None:
    st.code(found.prompt + found.text, language=None, wrap_lines=True)
    end = "" if found.finish == "length" else ", ended by itself"
    st.caption(
        escape_markdown(
            f"{found.tokens} tokens written by llama.cpp{end}. {trained}: a sketch of a model, no assistant."
        )
    )
