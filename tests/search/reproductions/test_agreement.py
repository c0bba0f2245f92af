"""Verdicts on published claims: hand-worked differences, ranges and orders."""

from __future__ import annotations

import pytest

from search.reproductions.agreement import (
    AgreementVerdict,
    OrderFinding,
    findings,
    paired_difference,
    student_t,
    verdict,
)
from search.reproductions.reproduction_runs import ReproductionRun
from search.reproductions.reproductions import Claim
from search.stats.rank_correlation import Interval
from tests.search.reproduction_runs import arm, run, small

CLAIM = Claim(text="deep beats wide", better="deep", worse="wide", published=(45.0, 44.0))
QUESTION = Claim(text="deep or wide", better="deep", worse="wide", published=None)
ARMS = (arm("deep", 45.0, 4), arm("wide", 44.0))


@pytest.mark.parametrize(
    ("freedom", "reach"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (10, 2.2281), (399, 1.9659)]
)
def test_students_t_as_in_tables(freedom: float, reach: float) -> None:
    assert student_t(0.95, freedom) == pytest.approx(reach, rel=1e-4)


@pytest.mark.parametrize(("freedom", "reach"), [(1.312, 7.3857), (3.7, 2.8675), (57.1, 2.0024)])
def test_students_t_between_whole_degrees_as_scipy_has_it(freedom: float, reach: float) -> None:
    assert student_t(0.95, freedom) == pytest.approx(reach, rel=1e-4)


def test_seeds_alone_make_the_range_where_text_makes_no_difference() -> None:
    better = [run("deep", 0, [2.0, 2.0]).proxy, run("deep", 1, [2.1, 2.1]).proxy]
    worse = [run("wide", 0, [2.1, 2.1]).proxy, run("wide", 1, [2.24, 2.24]).proxy]
    found = paired_difference(better, worse)
    # 0.10 and 0.14: their mean has the standard error 0.02, with one degree of freedom
    assert found.value == pytest.approx(0.12)
    assert found.low == pytest.approx(0.12 - 12.7062 * 0.02, rel=1e-3)
    assert found.high == pytest.approx(0.12 + 12.7062 * 0.02, rel=1e-3)


def test_text_and_seeds_add_up() -> None:
    better = [run("deep", 0, [2.0, 2.0]).proxy, run("deep", 1, [2.1, 2.1]).proxy]
    worse = [run("wide", 0, [2.05, 2.15]).proxy, run("wide", 1, [2.19, 2.29]).proxy]
    found = paired_difference(better, worse)
    # variances of the mean: 0.0004 over seeds, 0.0025 over chunks (0.07 and 0.17), one degree of freedom
    # each; together 0.0029^2 / (0.0004^2 + 0.0025^2) = 1.312 degrees
    reach = 7.3857 * 0.0029**0.5
    assert found.low == pytest.approx(0.12 - reach, rel=1e-3)
    assert found.high == pytest.approx(0.12 + reach, rel=1e-3)


def test_one_seed_has_a_difference_but_no_range() -> None:
    found = paired_difference([run("deep", 0, [2.0, 2.0]).proxy], [run("wide", 0, [2.3, 2.5]).proxy])
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.high) == (None, None)
    assert verdict(found) is AgreementVerdict.CANNOT_TELL


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.001, 0.2, AgreementVerdict.AGREES),
        (-0.2, -0.001, AgreementVerdict.DISAGREES),
        (-0.001, 0.2, AgreementVerdict.CANNOT_TELL),
        (0.0, 0.2, AgreementVerdict.CANNOT_TELL),
        (None, None, AgreementVerdict.CANNOT_TELL),
    ],
)
def test_a_verdict_is_the_ranges_alone(low: float | None, high: float | None, said: AgreementVerdict) -> None:
    assert verdict(Interval(value=0.1, low=low, high=high)) is said


def _runs(gap: float, wobble: float, seeds: int = 3) -> list[ReproductionRun]:
    """Runs in which deep is better by the gap, give or take the wobble by turns of the seed."""
    found = []
    for seed in range(seeds):
        by = gap + wobble * (-1) ** seed
        found += [run("deep", seed, [2.0, 2.2]), run("wide", seed, [2.0 + by, 2.2 + by])]
    return found


@pytest.mark.parametrize(
    ("gap", "wobble", "said"),
    [
        (0.05, 0.001, AgreementVerdict.AGREES),
        (-0.05, 0.001, AgreementVerdict.DISAGREES),
        (0.05, 0.05, AgreementVerdict.CANNOT_TELL),
    ],
)
def test_claims_are_judged(gap: float, wobble: float, said: AgreementVerdict) -> None:
    found = findings(small(ARMS, [CLAIM, QUESTION]), _runs(gap, wobble))
    judged, asked = found.claims
    assert judged.verdict is said
    assert judged.seeds == 3
    assert asked.verdict is AgreementVerdict.OPEN  # nothing was published that it could agree with
    assert asked.difference == judged.difference


def test_a_diverged_run_takes_its_seed_out_of_the_pairs() -> None:
    runs = [*_runs(0.05, 0.001), run("deep", 3, [2.0, 2.2]), run("wide", 3, [2.0], diverged=True)]
    found = findings(small(ARMS, [CLAIM]), runs)
    assert found.claims[0].seeds == 3
    assert [(a.seeds, a.diverged) for a in found.arms] == [(4, 0), (3, 1)]
    assert found.runs == 8


def test_arms_are_means_over_seeds() -> None:
    runs = [run("deep", 0, [2.0, 2.2]), run("deep", 1, [2.1, 2.3]), run("wide", 0, [3.0, 3.0])]
    deep, wide = findings(small(ARMS, [CLAIM]), runs).arms
    assert deep.bits_per_byte == pytest.approx(2.15)
    assert deep.seed_sd == pytest.approx(0.1 / 2**0.5)  # 2.1 and 2.2
    assert (wide.bits_per_byte, wide.seed_sd) == (3.0, None)


def _order(ours: list[float], seeds: int = 1) -> OrderFinding:
    """The order's finding where the published values rise from arm to arm."""
    arms = [arm(f"{i}", 40.0 + i, layers=i + 1) for i in range(len(ours))]
    runs = [run(f"{i}", seed, [bits]) for i, bits in enumerate(ours) for seed in range(seeds)]
    found = findings(small(arms, ranked=True), runs).order
    assert found is not None
    return found


def test_an_order_as_published_agrees() -> None:
    # nine arms, each better than the one before but for two neighbours: rho = 1 - 6 x 2 / (9 x 80)
    order = _order([2.9, 2.8, 2.7, 2.6, 2.4, 2.5, 2.3, 2.2, 2.1])
    assert order.spearman.value == pytest.approx(1 - 12 / 720)
    assert order.kendall.value == pytest.approx(1 - 2 / 36)
    assert order.verdict is AgreementVerdict.AGREES
    assert order.by_depth == pytest.approx(1.0)  # layers rise with the published values here


def test_an_order_turned_about_disagrees() -> None:
    order = _order([2.1, 2.2, 2.3, 2.5, 2.4, 2.6, 2.7, 2.8, 2.9])
    assert order.spearman.value == pytest.approx(12 / 720 - 1)
    assert order.verdict is AgreementVerdict.DISAGREES


def test_an_order_with_little_in_it_cannot_tell() -> None:
    order = _order([2.5, 2.2, 2.9, 2.1, 2.6, 2.3, 2.8, 2.0, 2.4])
    assert order.spearman.low is not None
    assert order.spearman.high is not None
    assert order.spearman.low < 0 < order.spearman.high
    assert order.verdict is AgreementVerdict.CANNOT_TELL


def test_an_order_of_few_arms_is_none() -> None:
    # four in the published order: by chance once in 24 times, which 95 % must not pass
    order = _order([2.4, 2.3, 2.2, 2.1])
    assert (order.spearman.value, order.verdict) == (None, AgreementVerdict.MISSING)
    assert _order([2.5, 2.4, 2.3, 2.2, 2.1]).verdict is AgreementVerdict.AGREES


def test_nothing_trained_is_said() -> None:
    found = findings(small(ARMS, [CLAIM], ranked=True), [])
    assert found.runs == 0
    assert found.claims[0].difference == Interval(value=None, low=None, high=None)
    assert found.claims[0].verdict is AgreementVerdict.MISSING
    assert found.order is not None
    assert found.order.verdict is AgreementVerdict.MISSING
    assert found.to_dict()["schema"] == "sizer.reproduction/1"
