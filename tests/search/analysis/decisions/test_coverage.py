"""Words for decisions follow from what was measured: settled ones were right that often in replays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from search.analysis.decisions.coverage import coverage_from, measured_coverage
from search.analysis.decisions.value import SETTLED

PAGE = Path(__file__).resolve().parents[4] / "docs" / "decisions.md"
WANTED = ((0.7, 0.68), (0.9, 0.88), (SETTLED, 0.95))


@pytest.mark.parametrize(("probability", "least"), WANTED)
def test_decisions_were_right_as_often_as_their_word_claims(probability: float, least: float) -> None:
    found = coverage_from(probability)
    assert found.probability == probability
    assert found.right >= least
    assert found.decisions >= 200


def test_the_product_reads_what_the_page_shows() -> None:
    rows = re.findall(r"\| at least ([\d.]+) \| ([\d.]+) \| ([\d,]+) \|", PAGE.read_text(encoding="utf-8"))
    shown = [(float(p), float(right), int(count.replace(",", ""))) for p, right, count in rows]
    assert [(c.probability, c.right, c.decisions) for c in measured_coverage()] == shown


@pytest.mark.parametrize(
    ("probability", "level"), [(0.3, 0.5), (0.5, 0.5), (0.69, 0.6), (0.96, 0.95), (1.0, 0.95)]
)
def test_a_probability_has_the_coverage_of_the_level_below_it(probability: float, level: float) -> None:
    assert coverage_from(probability).probability == level
