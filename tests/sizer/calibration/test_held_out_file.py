"""The committed held-out predictions: those that the measurements give, and none of other data."""

from __future__ import annotations

from pathlib import Path

import pytest

from sizer.calibration.held_out import held_out_measurements
from sizer.calibration.held_out_file import (
    HELD_OUT,
    PrintedRow,
    data_digest,
    held_out_text,
    kept_held_out,
)


def test_the_file_is_what_the_measurements_give() -> None:
    """Run `python -m sizer.calibration.held_out` if this fails: data or formulas of speed have changed."""
    kept = kept_held_out()
    assert kept is not None, "held_out.csv was made from other data"
    for phase, made in zip(kept, held_out_measurements(), strict=True):
        assert [(j.basis, j.inside, j.of_prompt) for j in phase] == [
            (j.basis, j.inside, j.of_prompt) for j in made
        ]
        for j, other in zip(phase, made, strict=True):
            for name in PrintedRow._fields:
                assert getattr(j.row, name) == getattr(other.row, name)
        for name in ("error", "limit", "measured", "predicted", "low", "high"):
            assert [getattr(j, name) for j in phase] == pytest.approx(
                [getattr(j, name) for j in made], rel=1e-6, abs=1e-8
            )


def test_a_file_of_other_data_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "held_out.csv"
    assert kept_held_out(path) is None
    text = HELD_OUT.read_text(encoding="utf-8")
    path = tmp_path / "of_these_data.csv"
    path.write_text(text, encoding="utf-8")
    assert kept_held_out(path) == kept_held_out()
    path = tmp_path / "of_other_data.csv"
    path.write_text(text.replace(data_digest(), "0" * 64), encoding="utf-8")
    assert kept_held_out(path) is None
    kept = kept_held_out()
    assert kept is not None
    assert text.startswith(held_out_text([]))
    assert len(text.splitlines()) == len(held_out_text([]).splitlines()) + sum(map(len, kept))
