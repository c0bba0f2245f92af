"""Finalists: paired differences by hand and by simulation, ties, and who needs more seeds."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from search.schedule import finalists
from search.schedule.finalists import Finalist, PairedDifference, PairVerdict, compare, overlapping
from sizer.errors import InvalidQuantity


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(finalists, optionflags=doctest.ELLIPSIS).failed == 0


def test_hard_chunks_cancel() -> None:
    generator = np.random.default_rng(0)
    hard = generator.normal(2.0, 0.5, 64)
    first = (hard + generator.normal(0, 0.01, 64)).tolist()
    second = (hard + 0.02 + generator.normal(0, 0.01, 64)).tolist()
    found = compare([first], [second])
    assert found.mean == pytest.approx(-0.02, abs=0.006)
    assert found.se == pytest.approx(0.01 * 2**0.5 / 8, rel=0.3)
    assert found.verdict is PairVerdict.FIRST
    assert compare([second], [first]).verdict is PairVerdict.SECOND


@pytest.mark.parametrize(
    ("mean", "se", "verdict"),
    [
        (0.019, 0.01, PairVerdict.TIE),
        (-0.019, 0.01, PairVerdict.TIE),
        (0.021, 0.01, PairVerdict.SECOND),
        (-0.021, 0.01, PairVerdict.FIRST),
        (0.0, 0.0, PairVerdict.TIE),
        (1e-9, 0.0, PairVerdict.SECOND),
    ],
)
def test_two_standard_errors_decide(mean: float, se: float, verdict: PairVerdict) -> None:
    assert PairedDifference(mean=mean, se=se, seeds=1, chunks=9).verdict is verdict


def test_the_error_is_that_of_seeds_and_chunks_drawn_anew() -> None:
    """Mean squared error over repetitions, with effects of seed, chunk and both, equals the mean variance."""
    generator = np.random.default_rng(1)
    means, variances = [], []
    for _ in range(3000):
        shape = (3, 20)
        noise = (
            0.03 * generator.standard_normal((3, 1))
            + 0.06 * generator.standard_normal((1, 20))
            + 0.1 * generator.standard_normal(shape)
        )
        found = compare(noise.tolist(), np.zeros(shape).tolist())
        means.append(found.mean)
        variances.append(found.se**2)
    assert float(np.mean(variances)) == pytest.approx(float(np.var(means)), rel=0.12)


def test_one_seed_needs_to_be_told_how_seeds_differ() -> None:
    first, second = [[2.0, 2.1, 2.2]], [[1.9, 2.0, 2.1]]
    assert compare(first, second).verdict is PairVerdict.SECOND
    unsure = compare(first, second, seed_sd=0.1)
    assert unsure.se == pytest.approx(0.1 * 2**0.5)
    assert unsure.verdict is PairVerdict.TIE


def test_two_seeds_speak_for_themselves() -> None:
    first = [[2.0, 2.1], [2.2, 2.3]]
    second = [[1.9, 2.0], [2.0, 2.1]]
    assert compare(first, second, seed_sd=9.0) == compare(first, second)
    assert compare(first, second).mean == pytest.approx(0.15)
    assert compare(first, second).se == pytest.approx(0.05)  # seeds 0.1 and 0.2, chunks alike


def test_seeds_that_only_one_has_are_left_out() -> None:
    assert compare([[2.0, 3.0], [9.0, 9.0]], [[1.0, 2.0]]).seeds == 1


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ([], [[1.0]], "no seed"),
        ([[1.0, 2.0]], [[1.0]], "same chunks"),
        ([[1.0]], [[1.0]], "1 chunks; accepted: 2 or more"),
    ],
)
def test_losses_that_cannot_be_paired_are_refused(
    first: list[list[float]], second: list[list[float]], text: str
) -> None:
    with pytest.raises(InvalidQuantity, match=text):
        compare(first, second)


def _finalist(number: int, size: float, loss: float, spread: float = 0.01) -> Finalist:
    chunks = tuple(loss + spread * (-1) ** (i + (number % 2)) for i in range(16))
    return Finalist(id=number, costs=(size,), losses=(chunks,))


def test_neighbours_on_the_front_that_are_close_need_more_seeds() -> None:
    # differences of an odd and an even number swing by 0.02, so their standard error is 0.0052
    far = [_finalist(0, 100, 3.0), _finalist(1, 200, 2.5), _finalist(2, 300, 2.0)]
    assert overlapping(far) == ()
    near = [*far, _finalist(3, 310, 1.995)]
    assert overlapping(near) == ((2, 3),)
    assert overlapping(near, seed_sd=1.0) == ((0, 1), (1, 2), (2, 3))


def test_a_model_just_behind_the_front_is_paired_with_the_one_before_it() -> None:
    entries = [
        _finalist(0, 100, 3.0),
        _finalist(2, 200, 2.0),
        _finalist(3, 210, 2.004),
        _finalist(5, 220, 2.1),
    ]
    assert overlapping(entries) == ((2, 3),)
    assert overlapping([]) == ()
