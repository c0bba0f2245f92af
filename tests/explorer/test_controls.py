"""Controls in an address: several values, and whatever a link may hold."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from explorer.controls import Choices, Number, Text, from_text, to_text

KNOWN = Choices("formats", "Formats", ("Q4_0",), ("Q4_0", "Q8_0", "F16"))
FREE = KNOWN._replace(free=True)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (None, ("Q4_0",)),
        ("Q8_0,F16", ("Q8_0", "F16")),
        ("F16,,F16", ("F16",)),
        ("", ()),
        ("Q8_0,<script>", ("Q4_0",)),
    ],
)
def test_several_in_an_address(given: str | None, read: tuple[str, ...]) -> None:
    assert from_text(KNOWN, given) == read


def test_free_texts_are_taken_as_they_are() -> None:
    assert from_text(FREE, "Q8_0,shape:hidden_size.64") == ("Q8_0", "shape:hidden_size.64")


def test_values_go_into_an_address_and_come_back() -> None:
    for control, value in (
        (KNOWN, ("F16", "Q8_0")),
        (Number("n", "N", 3, 1, 9, 1), 7),
        (Text("t", "T", ""), "60MB"),
    ):
        assert from_text(control, to_text(value)) == value
    assert to_text(["F16", "Q8_0"]) == "F16,Q8_0"


def _menus() -> None:
    import streamlit as st

    from explorer.controls import Choice, Choices, choice, choices

    for key, sent in (("device", "/etc/board.toml"), ("devices", ["b", "/etc/board.toml"])):
        st.session_state.setdefault(key, sent)
    one = choice(Choice("device", "Device", "a", ("a", "b")))
    several = choices(Choices("devices", "Devices", ("a",), ("a", "b")))
    st.text(f"{one} {several} {st.session_state['device']} {st.session_state['devices']}")


def test_what_a_browser_sends_that_is_no_option_is_dropped() -> None:
    """A device's name may be a file's. Streamlit sees to it: no page checks its menus' values again."""
    page = AppTest.from_function(_menus).run()
    assert not page.exception
    assert page.text[0].value == "a ('b',) a ['b']"
