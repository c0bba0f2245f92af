"""One model for two devices, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import e

import pytest

from search.analysis.common_model import common_model
from search.config.config import SearchConfig
from search.store.results import DeviceFigures, SearchResult, TrialRecord
from sizer.prediction import Basis, Prediction
from tests.search.records import record
from tests.worked_study import study_in_rungs


def _on(device: str, joules: float) -> DeviceFigures:
    energy = Prediction(value=joules, low=joules, high=joules, basis=Basis.FITTED)
    return DeviceFigures(
        device=device,
        memory_bytes=1,
        decode_tokens_per_s=None,
        time_to_first_token_s=None,
        joules_per_token=energy,
    )


def _model(number: int, bits: float, board: float, phone: float) -> TrialRecord:
    return replace(record(number, bits=bits), devices=(_on("raspberry-pi-5", board), _on("pixel-8", phone)))


def _study(*records: TrialRecord) -> SearchResult:
    config = SearchConfig.build(other_devices=("pixel-8",), objectives=("energy",))
    return replace(study_in_rungs(), config=config, records=records)


def test_what_one_model_gives_up_on_each_device() -> None:
    # log joules on the board 0, 1, 2 and on the phone 2, 1, 0; corners 2.2, and 2.1 bits
    study = _study(_model(0, 2.0, 1, e**2), _model(1, 1.2, e, e), _model(2, 1.0, e**2, 1))
    found = common_model(study)
    assert found is not None
    board = {0: 2.2 * 0.1, 1: 1.2 * 0.9, 2: 0.2 * 1.1}
    phone = {0: 0.2 * 0.1, 1: 1.2 * 0.9, 2: 2.2 * 1.1}
    assert found.trial == 1
    assert [choice.best for choice in found.choices] == [max(board, key=board.__getitem__), 2]
    assert [choice.regret for choice in found.choices] == pytest.approx([0.0, 1 - phone[1] / phone[2]])


def test_a_single_model_gives_up_nothing_and_one_device_needs_no_choice() -> None:
    alone = common_model(_study(_model(4, 2.0, 3.0, 1.0)))
    assert alone is not None
    assert (alone.trial, [choice.regret for choice in alone.choices]) == (4, [0.0, 0.0])
    assert common_model(study_in_rungs()) is None
