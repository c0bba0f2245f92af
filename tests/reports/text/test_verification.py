"""Comparisons of a file as text."""

from __future__ import annotations

from reports.text.verification import COLUMNS, verification_notes, verification_rows

ROWS = [
    {
        "quantity": "file_bytes",
        "predicted": 205632,
        "low": 205632,
        "high": 205632,
        "measured": 205632,
        "agrees": True,
        "note": "",
    },
    {
        "quantity": "decode_tokens_per_s",
        "predicted": 3457.4,
        "low": 2841.2,
        "high": 4206.0,
        "measured": 2000.7,
        "agrees": False,
        "note": "",
    },
    {
        "quantity": "val_bits_per_byte",
        "predicted": 3.0105318,
        "low": None,
        "high": None,
        "measured": None,
        "agrees": None,
        "note": "not compared: the text is gone",
    },
]


def test_rows_have_ranges_and_verdicts() -> None:
    assert len(COLUMNS) == 5
    assert verification_rows(ROWS) == [
        ("file_bytes", "205,632", "", "205,632", "yes"),
        ("decode_tokens_per_s", "3,457", "2,841 to 4,206", "2,001", "no"),
        ("val_bits_per_byte", "3.0105", "", "-", "not compared"),
    ]
    assert verification_notes(ROWS) == ("val_bits_per_byte: not compared: the text is gone",)
