"""Units: truth tables of texts and numbers, round trips, errors that say what is accepted."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sizer import units
from sizer.errors import InvalidQuantity


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("125M", 125_000_000),
        ("1.2B", 1_200_000_000),
        ("1.2b", 1_200_000_000),
        ("350k", 350_000),
        ("124_635_456", 124_635_456),
        (" 7 B ", 7_000_000_000),
        ("0.5G", 500_000_000),
        (".5M", 500_000),
        ("1.25e8", 125_000_000),
        ("1E3K", 1_000_000),
    ],
)
def test_parse_count(text: str, count: int) -> None:
    assert units.parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1kb", 1000),
        ("60MB", 60_000_000),
        ("350 MiB", 367_001_600),
        ("1.2GB", 1_200_000_000),
        ("4GiB", 4_294_967_296),
        ("512", 512),
        ("512B", 512),
    ],
)
def test_parse_bytes_tells_decimal_from_binary(text: str, size: int) -> None:
    assert units.parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["banana", "", "-5M", "12Q", "1e", "1e999", "M", "1.2.3", "0", "nan", "inf", "9" * 40]
)
def test_bad_counts_name_the_field_and_the_value(text: str) -> None:
    with pytest.raises(InvalidQuantity) as caught:
        units.parse_count(text, "params")
    assert str(caught.value).startswith("params: ")
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["60Mb!", "60 megabytes", "60K", "-1MB"])
def test_bad_sizes_say_what_is_accepted(text: str) -> None:
    with pytest.raises(InvalidQuantity, match=r"max-size: cannot read .* KiB, MiB, GiB"):
        units.parse_bytes(text, "max-size")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("5m", 300.0), ("1.5h", 5400.0), ("250ms", 0.25)]
)
def test_parse_seconds(text: str, seconds: float) -> None:
    assert units.parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "12.3 ms"), (3.4, "3.4 s"), (59.99, "1m 00s"), (307.0, "5m 07s"), (7500.0, "2h 05m")],
)
def test_format_seconds(value: float, text: str) -> None:
    assert units.format_seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (999, "999 B"),
        (999_999, "1 MB"),
        (91_234_567, "91.23 MB"),
        (2_000_000_000, "2 GB"),
        (9_999_499_999_999_999, "10000 TB"),
        (10**17, "100000 TB"),
    ],
)
def test_format_bytes(value: int, text: str) -> None:
    assert units.format_bytes(value) == text


@given(st.integers(1, 999), st.sampled_from(["", "K", "M", "B"]))
def test_counts_of_up_to_three_digits_survive_the_round_trip(number: int, suffix: str) -> None:
    value = units.parse_count(f"{number}{suffix}")
    assert units.parse_count(units.format_count(value)) == value


@given(st.integers(1, 2**60))
@example(1515)  # 1.479 KiB reads as 1514 bytes: four digits, then whole bytes
def test_formatted_bytes_are_within_four_digits_and_half_a_byte(value: int) -> None:
    for text in (units.format_bytes(value), units.format_bytes_binary(value)):
        assert abs(units.parse_bytes(text) - value) <= 5.01e-4 * value + 0.5


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(units).failed == 0


@pytest.mark.parametrize(("text", "tokens"), [("4096", 4096), ("128k", 131_072), (" 8K ", 8192), ("-5", -5)])
def test_parse_tokens(text: str, tokens: int) -> None:
    assert units.parse_tokens(text) == tokens


@pytest.mark.parametrize("text", ["128kb", "1.5k", "many", "", "9" * 19])
def test_bad_contexts_say_what_is_accepted(text: str) -> None:
    with pytest.raises(InvalidQuantity, match=r"^context: cannot read .* 4096 or 128k$"):
        units.parse_tokens(text)
