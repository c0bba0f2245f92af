"""A page's state: values in an address, the session and links, and whatever a link may hold."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer.state import Choice, Choices, Number, PageState, Text, Values, from_text, to_text

KNOWN = Choices("formats", "Formats", ("Q4_0",), ("Q4_0", "Q8_0", "F16"))
FREE = KNOWN._replace(free=True)
REPEATED = FREE._replace(repeated=True)


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
    assert from_text(REPEATED, ["a,b", "c"]) == ("a,b", "c")


@pytest.mark.parametrize(
    ("control", "text", "value"),
    [
        (Number("n", "N", 3, 1, 9, 1), "7", 7),
        (Number("n", "N", 3, 1, 9, 1), "10", 3),
        (Number("n", "N", 3, 1, 9, 1), "7.0", 3),
        (Number("n", "N", 3.0, 0.5, 9.0, 0.5), "7.5", 7.5),
        (Number("n", "N", 3.0, 0.5, 9.0, 0.5), "nan", 3.0),
        (Number("n", "N", 3.0, 0.5, 9.0, 0.5), "<b>", 3.0),
        (Choice("c", "C", "a", ("a", "b")), "b", "b"),
        (Choice("c", "C", "a", ("a", "b")), "<b>", "a"),
    ],
)
def test_what_a_control_does_not_accept_is_its_first_value(control: Any, text: str, value: Any) -> None:
    assert from_text(control, text) == value


def test_values_go_into_an_address_and_come_back() -> None:
    for control, value in (
        (KNOWN, ("F16", "Q8_0")),
        (Number("n", "N", 3, 1, 9, 1), 7),
        (Text("t", "T", ""), "60MB"),
    ):
        assert from_text(control, to_text(value)) == value
    assert to_text(["F16", "Q8_0"]) == "F16,Q8_0"


KIND = Choice("x_kind", "Kind", "small", ("small", "large"))
SIZE = Number("x_size", "Size", 1, 1, 99, 1)
TAGS = REPEATED._replace(key="x_tags", first=())


def _size_of_kind(values: Values) -> dict[str, int]:
    return {"x_size": 10 if values["x_kind"] == "large" else 1}


STATE = PageState(
    prefix="x_",
    controls=(KIND, SIZE, TAGS),
    firsts=_size_of_kind,
    corrections=lambda values: {"x_size": min(values["x_size"], 50)},
    unused=lambda values: {"x_tags"} if values["x_kind"] == "large" else set(),
)


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ({}, ("small", 1, ())),
        ({"kind": "large"}, ("large", 10, ())),
        ({"kind": "large", "size": "12"}, ("large", 12, ())),
        ({"size": "2", "tags": ["a,b", "c"]}, ("small", 2, ("a,b", "c"))),
    ],
)
def test_an_address_holds_what_differs_from_the_first_values(
    query: dict[str, Any], values: tuple[Any, ...]
) -> None:
    read = STATE.from_address(query)
    assert tuple(read.values()) == values
    assert STATE.to_address(read) == query


def test_values_without_effect_are_left_out() -> None:
    assert STATE.to_address({"x_kind": "large", "x_size": 10, "x_tags": ["a"]}) == {"kind": "large"}


def _two_pages() -> None:
    import streamlit as st

    from explorer.state import Number, PageState

    other = st.session_state.get("other_page", False)
    prefix = "y_" if other else "x_"
    control = Number(f"{prefix}size", "Size", 1, 1, 99, 1)
    page_state = PageState(prefix=prefix, controls=(control,))
    page_state.load()
    st.slider("Size", 1, 99, key=control.key, persist_state="session")
    page_state.save()


def test_a_link_counts_once_and_the_session_after_it() -> None:
    page = AppTest.from_function(_two_pages)
    page.query_params["size"] = "5"
    assert page.run().slider[0].value == 5
    page.slider[0].set_value(7).run()
    assert page.query_params["size"] in ("7", ["7"])
    # an address that the browser sent before it got the new one
    page.query_params["size"] = "5"
    assert page.run().slider[0].value == 7
    # another page, and back by a link and without one
    page.session_state["other_page"] = True
    page.query_params.clear()
    assert page.run().slider[0].value == 1
    page.session_state["other_page"] = False
    page.query_params.clear()
    assert page.run().slider[0].value == 7
    assert page.query_params["size"] in ("7", ["7"])
    page.session_state["other_page"] = True
    page.run()
    page.session_state["other_page"] = False
    page.query_params["size"] = "9"
    assert page.run().slider[0].value == 9


def _menus() -> None:
    import streamlit as st

    from explorer.state import Choice, Choices
    from explorer.widgets.controls import choice, choices

    for key, sent in (("device", "/etc/board.toml"), ("devices", ["b", "/etc/board.toml"])):
        st.session_state.setdefault(key, sent)
    one = choice(Choice("device", "Device", "a", ("a", "b")))
    several = choices(Choices("devices", "Devices", ("a",), ("a", "b")))
    st.text(f"{one} {several} {st.session_state['device']} {st.session_state['devices']}")


def test_what_a_browser_sends_that_is_no_option_is_dropped() -> None:
    """A device's name may be a file's. Streamlit drops it: no page checks its menus' values again."""
    page = AppTest.from_function(_menus).run()
    assert not page.exception
    assert page.text[0].value == "a ('b',) a ['b']"


def _pages_with_a_budget() -> None:
    import streamlit as st

    from explorer.state import Choice, Choices, Number, PageState, Text

    device = Choice("a_device", "Device", "pi", ("pi", "phone"))
    first = PageState(
        prefix="a_",
        controls=(device, Choice("a_format", "F", "Q4", ("Q4", "Q8")), Text("a_max_size", "S", "")),
    )
    second = PageState(
        prefix="b_",
        controls=(
            device._replace(key="b_device"),
            Choices("b_formats", "F", ("Q4", "Q8"), ("Q4", "Q8")),
            Text("b_max_size", "S", "60MB"),
            Number("b_context", "C", 2048, 1, 9999, 1),
        ),
    )
    state = {"a": first, "b": second}[st.session_state["show"]]
    state.load()
    for key, value in st.session_state.get("choose", {}).items():
        st.session_state[key] = value
    state.save()


def test_what_was_chosen_on_one_page_is_taken_over_by_the_next() -> None:
    app = AppTest.from_function(_pages_with_a_budget)
    app.session_state["show"] = "b"
    app.run()
    assert (app.session_state["b_device"], app.session_state["b_max_size"]) == ("pi", "60MB")
    app.session_state["show"] = "a"
    app.session_state["choose"] = {"a_device": "phone", "a_format": "Q8", "a_max_size": "300MB"}
    app.run()
    app.session_state["show"], app.session_state["choose"] = "b", {}
    app.query_params.clear()
    app.run()
    assert app.session_state["b_device"] == "phone"
    assert app.session_state["b_formats"] == ["Q8"]
    assert app.session_state["b_max_size"] == "300MB"
    assert app.session_state["b_context"] == 2048  # nobody chose another
    app.session_state["choose"] = {"b_device": "pi", "b_formats": ["Q8", "Q4"]}  # a first value, chosen
    app.run()
    app.session_state["show"], app.session_state["choose"] = "a", {}
    app.query_params.clear()
    app.run()
    assert (app.session_state["a_device"], app.session_state["a_format"]) == ("pi", "Q8")


def test_what_a_page_has_from_other_pages_gives_way_to_its_address() -> None:
    app = AppTest.from_function(_pages_with_a_budget)
    app.session_state["show"] = "a"
    app.session_state["choose"] = {"a_device": "phone", "a_max_size": "300MB"}
    app.run()
    app.session_state["show"], app.session_state["choose"] = "b", {}
    app.query_params.clear()
    app.query_params["max_size"] = "20MB"
    app.run()
    assert (app.session_state["b_device"], app.session_state["b_max_size"]) == ("phone", "20MB")


def test_what_an_address_holds_for_other_pages_is_kept() -> None:
    """A link in a new tab: page "a" has no context, the next page has."""
    app = AppTest.from_function(_pages_with_a_budget)
    app.session_state["show"] = "a"
    app.query_params["device"], app.query_params["context"] = "phone", "4096"
    app.run()
    app.session_state["show"] = "b"
    app.query_params.clear()
    app.run()
    assert (app.session_state["b_device"], app.session_state["b_context"]) == ("phone", 4096)


def test_what_an_address_asks_for_in_vain_is_named() -> None:
    controls = (KNOWN, Number("context", "C", 2048, 16, 9999, 1), Choice("engine", "R", "a", ("a", "b")))
    state = PageState(
        prefix="", controls=(*controls, Text("size", "S", ""), Number("r", "R", 1.0, 0.5, 9.0, 0.5))
    )
    good = {"formats": "Q8_0,F16", "context": "4096", "runtime": "b", "size": "60MB", "r": "2"}
    assert state.ignored(good) == ()
    assert state.ignored({"context": "2048", "engine": "a", "r": "1"}) == ()
    assert state.from_address({"runtime": "b"})["engine"] == "b"
    bad = {"formats": "Q9", "context": "1", "engine": "<b>", "nosuch": "x"}
    assert state.ignored(bad) == ("formats=Q9", "context=1", "engine=<b>", "nosuch=x")
