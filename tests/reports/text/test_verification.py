"""Comparisons of a file as text."""

from __future__ import annotations

from typing import Any

from reports.text.verification import COLUMNS, verification_notes, verification_rows, verification_table


def row(
    quantity: str, values: tuple[float | None, ...], agrees: bool | None, note: str = ""
) -> dict[str, Any]:
    """A row of a document: predicted, low, high, measured."""
    names = ("predicted", "low", "high", "measured")
    return {"quantity": quantity, **dict(zip(names, values, strict=True)), "agrees": agrees, "note": note}


ROWS = [
    row("file_bytes", (12_205_632, 12_205_632, 12_205_632, 12_205_632), True),
    row("val_bits_per_byte", (3.0105318, 3.0100318, 3.0110318, 3.0105438), True),
    row("memory_bytes", (6_720_000, 1_477_120, 11_962_880, 6_600_000), True),
    row("load_s", (0.119, 0.0853, 0.154, None), None, "other programs were running"),
    row("prefill_tokens_per_s", (20_648.4, 890.2, 22_877.0, 99.7), False),
    row("decode_tokens_per_s", (None, None, None, 2000.7), None, "other programs were running"),
]


def test_rows_have_plain_words_units_and_ranges() -> None:
    assert verification_rows(ROWS) == [
        ("file", "12,205,632 B", "", "12,205,632 B", "yes"),
        ("bits per byte", "3.01053", "3.01003 to 3.01103", "3.01054", "yes"),
        ("memory", "6.409 MiB", "1.409 to 11.41 MiB", "6.294 MiB", "yes"),
        ("load", "119 ms", "85.3 to 154 ms", "-", "not compared"),
        ("prefill, tokens/s", "20,648", "890 to 22,877", "99.7", "no"),
        ("decode, tokens/s", "-", "", "2,001", "not compared"),
    ]


def test_a_range_across_units_has_both() -> None:
    (cells,) = verification_rows([row("load_s", (1.0, 0.5, 2.0, 1.0), True)])
    assert cells[2] == "500 ms to 2 s"


def test_equal_notes_are_given_once() -> None:
    assert verification_notes(ROWS) == ("load, decode: other programs were running",)


def test_the_table_fits_80_columns() -> None:
    lines = verification_table(ROWS).lines(80)
    assert max(map(len, lines)) <= 80
    assert len(lines) == 2 + len(ROWS)  # a heading and its rule, a line a row
    assert all(name in lines[0] for name in COLUMNS)
