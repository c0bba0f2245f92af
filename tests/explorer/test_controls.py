"""Controls in an address: several values, and whatever a link may hold."""

from __future__ import annotations

import pytest

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
