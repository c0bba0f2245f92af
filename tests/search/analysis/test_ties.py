"""Ties: paired by chunk where scores allow it, by hand; neighbours on the front and those near it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.analysis.ties import compared, comparisons
from search.store.results import SearchResult, TrialRecord


def scored(record: TrialRecord, bits: tuple[float, ...], sd: float) -> TrialRecord:
    """The record with these bits per byte by chunk as its only run."""
    run = replace(
        record.runs[0], val_bits_per_byte=sum(bits) / len(bits), val_bits_per_byte_sd=sd, val_chunk_bits=bits
    )
    return replace(record, proxy=run, runs=(run,))


def test_the_same_chunks_are_compared_in_pairs(in_rungs: SearchResult) -> None:
    # Differences 0.1, 0.2, 0.1: mean 0.1333, standard error 0.0333. As independent scores with an error of
    # 0.5 each they would tie.
    first = scored(in_rungs.records[0], (2.0, 3.0, 4.0), 0.5)
    second = scored(in_rungs.records[1], (1.9, 2.8, 3.9), 0.5)
    found = compared(first, second, on_front=True)
    assert (found.difference, found.standard_error) == pytest.approx((0.4 / 3, 0.1 / 3))
    assert found.paired
    assert not found.tied


def test_without_chunks_errors_are_independent(in_rungs: SearchResult) -> None:
    first = scored(in_rungs.records[0], (2.0, 3.0, 4.0), 0.03)
    other_text = scored(in_rungs.records[1], (2.9,), 0.04)
    found = compared(first, other_text, on_front=True)
    assert found.standard_error == pytest.approx(0.05)
    assert not found.paired
    assert not compared(first, replace_bits(other_text, 2.8999), on_front=True).tied
    assert compared(first, replace_bits(other_text, 2.9001), on_front=True).tied
    assert compared(first, replace_bits(other_text, 3.0999), on_front=True).tied


def replace_bits(record: TrialRecord, bits: float) -> TrialRecord:
    assert record.proxy is not None
    return replace(record, proxy=replace(record.proxy, val_bits_per_byte=bits))


def test_a_dominated_model_ties_with_the_member_that_beats_it(in_rungs: SearchResult) -> None:
    small = scored(replace(in_rungs.records[0], file_bytes=100), (3.0, 3.1), 0.0)
    large = scored(replace(in_rungs.records[1], file_bytes=300), (2.0, 2.1), 0.0)
    near = scored(replace(in_rungs.records[2], file_bytes=400), (2.0, 2.2), 0.0)
    far = scored(replace(in_rungs.records[3], file_bytes=400), (2.5, 2.6), 0.0)
    found = comparisons(replace(in_rungs, records=(small, large, near, far)))
    assert [(c.first, c.second, c.on_front, c.tied) for c in found] == [
        (0, 1, True, False),
        (1, 2, False, True),
    ]


def test_nothing_trained_nothing_compared(in_rungs: SearchResult) -> None:
    assert comparisons(replace(in_rungs, records=())) == ()
