"""Frames: every trial once, counts by hand, what was not trained stays empty."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pandas as pd
import pytest

from reports.tables.study import frontier_frame, rows_with_words, trials_frame
from search.store.results import SearchResult


def test_every_trial_with_its_status(result: SearchResult) -> None:
    frame = trials_frame(result)
    assert list(frame["trial"]) == list(range(16))
    assert frame["status"].value_counts().to_dict() == {"complete": 12, "infeasible": 2, "diverged": 2}
    assert set(frame.loc[frame["on_frontier"], "trial"]) == {0, 1, 4, 5, 8, 10, 12}


def test_untrained_trials_have_no_score_and_whole_numbers_stay_whole(result: SearchResult) -> None:
    frame = trials_frame(result).set_index("trial")
    assert frame.loc[3, ["steps", "val_bits_per_byte", "wall_s", "seed"]].isna().all()
    assert frame.loc[7, "steps"] == 180
    assert frame.loc[[7], "val_bits_per_byte"].isna().all()
    assert str(frame["steps"].dtype) == "Int64"
    assert frame.loc[14, "repeats_trial"] == 4
    assert frame.loc[3, "violations"] == "file 8.781 MB > 6 MB"


def test_figures_are_the_records(result: SearchResult) -> None:
    frame = trials_frame(result).set_index("trial")
    record = result.records[2]
    assert record.decode_tokens_per_s is not None
    row = frame.loc[2]
    assert row["shape"] == "6 x 192, 6 query / 2 KV heads, immediate x2"
    assert (row["num_layers"], row["executed_layers"], row["sharing_repeat"]) == (6, 12, 2)
    assert row["file_bytes"] == record.file_bytes
    assert row["decode_tokens_per_s_low"] == record.decode_tokens_per_s.low
    assert row["val_bits_per_byte"] == 2.2755


def test_csv_there_and_back(result: SearchResult) -> None:
    frame = trials_frame(result)
    again = pd.read_csv(StringIO(frame.to_csv(index=False)))
    assert list(again.columns) == list(frame.columns)
    assert list(again["file_bytes"]) == list(frame["file_bytes"])
    assert list(again["val_bits_per_byte"].dropna()) == list(frame["val_bits_per_byte"].dropna())


def test_frontier_smallest_first(result: SearchResult) -> None:
    assert list(frontier_frame(result)["trial"]) == [12, 0, 1, 4, 5, 8, 10]


def test_an_empty_study_keeps_its_columns(
    result: SearchResult, result_of: Callable[..., SearchResult]
) -> None:
    empty = trials_frame(result_of("raspberry-pi-5", ()))
    assert len(empty) == 0
    assert list(empty.columns) == list(trials_frame(result).columns)
    assert len(frontier_frame(result_of("raspberry-pi-5", ()))) == 0


@pytest.mark.parametrize(("words", "trials"), [("q4_0 DIVERGED", [7, 15]), ("", None), ("no such words", [])])
def test_rows_with_all_the_words_are_kept(result: SearchResult, words: str, trials: list[int] | None) -> None:
    frame = trials_frame(result)
    found = rows_with_words(frame, words)
    if trials is None:
        assert len(found) == len(frame)
    else:
        assert list(found["trial"]) == trials
