"""The recorded calibration: shapes that were not fitted, predicted from timings on a quiet machine."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.accuracy import calibration

RECORDED = Path(calibration.__file__).with_name("calibration_epyc.json")


def test_unseen_shapes_are_predicted_from_recorded_timings(tmp_path: Path) -> None:
    found = calibration.recorded(RECORDED)
    rows = calibration.predicted(found, calibration.fitted(found), tmp_path)
    small = [row for row in rows if row["file_bytes"] < 2e6]
    assert len(rows) == 9
    assert len(small) == 3
    for what, limit in (("decode", 0.10), ("prefill", 0.15)):
        errors = [abs(row[f"{what}_predicted"] / row[what] - 1) for row in rows]
        assert median(errors[:5]) < limit
        assert median(errors) < limit
    assert all(row["decode_inside"] for row in rows)
    assert all(row["prefill_inside"] for row in small)
    assert all(row["file_bytes_predicted"] == row["file_bytes"] for row in rows)
