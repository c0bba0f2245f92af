"""Every causal model_type of the installed transformers has its count, by own reader or by fallback."""

from __future__ import annotations

import pytest

from benchmarks.oracles.model_types import causal_model_types, compare
from sizer.families.hf_config import FAMILIES

pytest.importorskip("transformers")


@pytest.mark.parametrize("model_type", causal_model_types())
def test_a_small_model_has_transformers_count(model_type: str) -> None:
    row = compare(model_type)
    if row.theirs is None:
        pytest.skip(row.reason)
    assert row.ours == row.theirs, row.reason


def test_most_model_types_that_people_have_are_read_here() -> None:
    read = FAMILIES.keys() & set(causal_model_types())
    assert len(read) >= 80
