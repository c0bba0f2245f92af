"""Records of a running search, packed and unpacked, and the candidates they had."""

from __future__ import annotations

import sys
import zlib
from dataclasses import replace

from search.run.record_shelf import KnownCandidates, RecordShelf
from tests.worked_study import study_in_rungs


def test_a_record_is_read_as_it_was_put() -> None:
    shelf, records = RecordShelf(), study_in_rungs().records
    for record in records:
        shelf[record.number] = record
    assert list(shelf.values()) == list(records)
    assert max(shelf) == records[-1].number
    assert sys.getsizeof(shelf._packed[0]) < 2000
    alone = RecordShelf()  # by itself: without another record's text as dictionary
    alone[1] = replace(records[1], number=1)
    shelf[1] = replace(records[1], number=1)
    assert len(shelf._packed[1]) < 0.7 * len(zlib.compress(alone._dictionary, 1))


def test_a_candidate_is_known_by_its_first_trial_and_by_all_that_counts() -> None:
    known, first = KnownCandidates(), study_in_rungs().records[0].candidate
    assert known.trial_of(first) is None
    known.add(first, 3)
    known.add(first, 7)
    renamed = replace(first, architecture=replace(first.architecture, name="other"))
    assert first == renamed
    assert known.trial_of(renamed) == 3
    # shapes whose hashes are equal
    untied = replace(first, architecture=replace(first.architecture, tie_embeddings=False))
    assert (known.trial_of(untied), known.trial_of(replace(first, format="Q8_0"))) == (None, None)
