"""Words of trust follow from how often they were right in replayed studies, and change with that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from search.analysis.verdict import (
    ClaimCoverage,
    VerdictClaim,
    measured_claims,
    stated_at,
    support,
    verdict,
)

_RIGHT = 0.95


def _levels(**right: float) -> tuple[ClaimCoverage, ...]:
    """Coverage at two supports, 0.8 and 0.95, the same for all claims but those named."""
    return tuple(
        ClaimCoverage(
            claim=claim,
            support=least,
            right=right.get(claim.name.lower(), _RIGHT),
            studies=100,
            wrongly=0.05,
            false_studies=100,
        )
        for claim in VerdictClaim
        for least in (0.8, 0.95)
    )


ALL = dict.fromkeys(VerdictClaim, 0.0)


@pytest.mark.parametrize(
    ("found", "begins"),
    [
        ({VerdictClaim.AGAINST: 0.99}, "not to be trusted: among models of one size short runs rank against"),
        (
            {VerdictClaim.ORDERS: 0.89, VerdictClaim.BETTER: 0.99},
            "cannot tell whether short runs rank models of one size",
        ),
        (
            {VerdictClaim.ORDERS: 0.9, VerdictClaim.BETTER: 0.89},
            "better than chance: cannot tell whether also better than",
        ),
        ({VerdictClaim.ORDERS: 0.9, VerdictClaim.NO_BETTER: 0.9}, "no better than counting parameters"),
        (
            {VerdictClaim.ORDERS: 0.9, VerdictClaim.BETTER: 0.9},
            "better than counting parameters: short runs rank models",
        ),
    ],
)
def test_words_follow_a_studys_support(found: dict[VerdictClaim, float], begins: str) -> None:
    assert verdict(30, {**ALL, **found}, _levels()).text.startswith(begins)


def test_agreement_is_called_good_only_where_that_was_right() -> None:
    found = dict.fromkeys((VerdictClaim.ORDERS, VerdictClaim.BETTER, VerdictClaim.WELL), 0.99)
    assert " well as longer ones do" in verdict(30, found, _levels()).text
    assert " mostly as longer ones do" in verdict(30, found, _levels(well=0.57)).text


@pytest.mark.parametrize("pairs", [0, 9])
def test_few_pairs_have_no_words(pairs: int) -> None:
    judged = verdict(pairs, dict.fromkeys(VerdictClaim, 0.99), _levels())
    assert judged.text.startswith(f"too few pairs to tell: {pairs} pairs")
    assert judged.rests_on is None


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (VerdictClaim.ORDERS, "cannot tell whether short runs"),
        (VerdictClaim.BETTER, "better than chance: cannot tell"),
        (VerdictClaim.NO_BETTER, "better than counting parameters"),
        (VerdictClaim.AGAINST, "no better than counting parameters"),
    ],
)
def test_a_claim_that_was_not_right_often_enough_is_not_stated(claim: VerdictClaim, text: str) -> None:
    """All others are, by the same support."""
    found = {
        **dict.fromkeys(VerdictClaim, 0.99),
        VerdictClaim.NO_BETTER: 0.0 if claim is VerdictClaim.BETTER else 0.99,
    }
    found[VerdictClaim.AGAINST] = 0.99 if claim is VerdictClaim.AGAINST else 0.0
    if claim is VerdictClaim.NO_BETTER:
        found[VerdictClaim.WELL] = 0.0
    measured = _levels(**{claim.name.lower(): 0.85})
    assert verdict(30, found, measured).text.startswith(text)
    assert not verdict(30, found, _levels()).text.startswith(text)


def test_a_threshold_moves_with_what_was_measured() -> None:
    """Right at 0.95 alone: 0.9 is not enough any more; and too few studies measure nothing."""
    weak, strong = (level for level in _levels() if level.claim is VerdictClaim.BETTER)
    measured = (replace(weak, right=0.8), strong)
    assert stated_at(VerdictClaim.BETTER, 0.94, measured) is None
    assert stated_at(VerdictClaim.BETTER, 0.95, measured) is strong
    assert stated_at(VerdictClaim.BETTER, 0.94, (weak, strong)) is weak
    assert stated_at(VerdictClaim.BETTER, 0.96, (weak, replace(strong, studies=29, right=0.1))) is weak
    assert stated_at(VerdictClaim.BETTER, 0.96, (weak, replace(strong, wrongly=0.11))) is None
    assert stated_at(VerdictClaim.BETTER, 0.89, (weak, strong)) is None


def test_support_counts_resamples_in_which_a_claim_holds() -> None:
    """Worked by hand: taus of -1, 0, 0.7 and 1 with gains of -1, 0, 0.1 and 0.2."""
    found = support(np.array([-1.0, 0.0, 0.7, 1.0]), np.array([-1.0, 0.0, 0.1, 0.2]))
    assert found == {
        VerdictClaim.ORDERS: 0.5,
        VerdictClaim.AGAINST: 0.5,
        VerdictClaim.BETTER: 0.5,
        VerdictClaim.NO_BETTER: 0.5,
        VerdictClaim.WELL: 0.5,
    }
    assert set(support(np.array([]), np.array([])).values()) == {0.0}


def test_words_that_the_product_states_keep_their_promise() -> None:
    for claim in VerdictClaim:
        level = stated_at(claim, 1.0)
        assert level is None or (level.right >= 0.9 and level.wrongly <= 0.1 and level.studies >= 30)
    assert {level.claim for level in measured_claims()} == set(VerdictClaim)
