"""The quality law: finds a law it was drawn from, says how sure it is, and is no surer than it should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import law_prior as fitted_prior
from search.law.law import LawSettings, curved, fit_law
from search.law.law_prior import PRIOR_FILE, LawPrior, Slope, Term, published_prior
from search.law.shapes import LawRow
from sizer.errors import StudyError
from tests.search.law_rows import drawn, features, losses, row, true_loss
from tests.shared_facts import needs_shared


def test_a_curved_column_is_zero_and_as_steep_as_the_logarithm_at_the_middle() -> None:
    near = curved(np.array([1.0, 1.0 + 1e-6]), 0.7)
    assert near[0] == 0
    assert near[1] == pytest.approx(1e-6, rel=1e-3)
    assert curved(np.array([4.0]), 0.5)[0] == pytest.approx((1 - 0.5) / 0.5)


def test_the_law_finds_the_law_it_was_drawn_from() -> None:
    law = fit_law(drawn(24, noise=0.003, seed=1))
    new = [r.features for r in drawn(40, noise=0, seed=2)]
    errors = [p.value - true_loss(s) for p, s in zip(law.predict(new), new, strict=True)]
    assert float(np.sqrt(np.mean(np.square(errors)))) < 0.006
    assert law.leave_one_out_error < 0.01
    assert law.slope(Term.HEAD_DIM).value == pytest.approx(-0.02, abs=0.006)
    assert law.slope(Term.DEPTH).value < -5 * law.slope(Term.DEPTH).sd
    assert law.slope(Term.WIDTH).value < -5 * law.slope(Term.WIDTH).sd


def test_only_terms_that_vary_are_active() -> None:
    rows = drawn(12, noise=0.01, seed=0)
    assert fit_law(rows).terms == (Term.DEPTH, Term.WIDTH, Term.HEAD_DIM)
    one_depth = [replace(r, features=replace(r.features, depth=8, head_dim=32)) for r in rows]
    assert fit_law(one_depth).terms == (Term.WIDTH,)
    mixed = [
        replace(r, features=replace(r.features, bits_per_weight=4.5 + i % 2, kv_ratio=1 / (1 + i % 3)))
        for i, r in enumerate(one_depth)
    ]
    assert fit_law(mixed).terms == (Term.WIDTH, Term.KV_RATIO, Term.BITS, Term.BITS_X_SIZE)


def test_every_term_reads_its_own_feature() -> None:
    """A change of one feature moves the prediction by its slope and nothing else does."""
    base = features()
    for term, value in (
        (Term.HEAD_DIM, 64.0),
        (Term.KV_RATIO, 0.5),
        (Term.FFN_RATIO, 5.0),
        (Term.SHARING, 2.0),
        (Term.EMBEDDING_RATIO, 0.5),
    ):
        other = features(**{term.value: value})
        law = fit_law([row(2.0, base), row(2.2, other)] * 4)
        assert law.terms == (term,)
        low, high = law.predict([base, other])
        assert (low.value, high.value) == pytest.approx((2.0, 2.2), abs=0.01)
        step = np.log(value / getattr(base, term.value))
        assert law.slope(term).value * step == pytest.approx(high.value - low.value)


def test_few_bits_hurt_small_models_more() -> None:
    rows = [
        row(2 + 4 * np.exp(-0.9 * bits) * (1 + small), features(6, width, bits_per_weight=bits))
        for width, small in ((128, 1.0), (512, 0.0))
        for bits in (1.5, 2.5, 3.5, 4.5, 8.5)
    ]
    law = fit_law(rows)

    def damage(width: int) -> float:
        few, many = law.predict([features(6, width, bits_per_weight=b) for b in (2.0, 8.0)])
        return few.value - many.value

    assert damage(128) == pytest.approx(8 * np.exp(-1.8), rel=0.1)
    assert damage(512) == pytest.approx(4 * np.exp(-1.8), rel=0.1)


def test_intervals_hold_four_times_in_five() -> None:
    inside = []
    left_out = []
    for seed in range(20):
        law = fit_law(drawn(16, noise=0.02, seed=seed))
        left_out.append(law.coverage)
        new = drawn(20, noise=0.02, seed=1000 + seed)
        said = law.predict([r.features for r in new])
        inside += [p.low <= r.loss <= p.high for p, r in zip(said, new, strict=True)]
    assert 0.72 <= np.mean(inside) <= 0.92
    assert 0.72 <= np.mean(left_out) <= 0.95


def test_the_interval_widens_away_from_the_trials() -> None:
    law = fit_law(drawn(16, noise=0.01, seed=3, largest_width=256))
    middle, wide, wider = law.predict([features(8, 128), features(8, 1024), features(8, 8192)])
    assert middle.sd < wide.sd < wider.sd


def test_surprise_at_the_largest_trials_widens_what_lies_beyond() -> None:
    rows = drawn(18, noise=0.002, seed=4)
    largest = sorted(rows, key=lambda r: r.features.parameters)[-4:]
    bent = [replace(r, loss=r.loss * 1.15) if r in largest else r for r in rows]
    law = fit_law(bent)
    assert law._inflation_beyond > law._inflation
    inside = features(8, 256)
    outside = features(40, 1024)
    for shape, factor in ((inside, law._inflation), (outside, law._inflation_beyond)):
        assert law.predict([shape])[0].sd == pytest.approx(float(law._uninflated([shape])[1][0]) * factor)


def test_residuals_larger_than_foreseen_widen_every_interval() -> None:
    rows = drawn(18, noise=0.002, seed=11)
    rows[4] = replace(rows[4], loss=rows[4].loss + 0.2)
    law = fit_law(rows)
    scaled = [(r.loss - p.value) / p.sd for r, p in zip(rows, law.leave_one_out, strict=True)]
    assert law._inflation > 1
    assert float(np.sqrt(np.mean(np.square(scaled)))) == pytest.approx(1)
    assert law.predict([features()])[0].sd == pytest.approx(
        law._inflation * float(law._uninflated([features()])[1][0])
    )


def _power(depth: float, width: float, joint: float) -> float:
    """A law of exponents 0.35 in which depth is worth more in wide models."""
    deep, wide = (float(curved(np.array([x]), 0.35)[0]) for x in (depth / 6, width / 128))
    return 2 - 0.15 * deep - 0.2 * wide - joint * deep * wide


def test_the_prediction_is_separable_and_the_interval_is_not_fooled_by_that() -> None:
    shapes = [features(d, w) for d in (2, 4, 8, 16) for w in (64, 128, 192, 256)]
    law = fit_law([row(_power(s.depth, s.width, 0.05), s) for s in shapes])
    corners = [features(d, w) for d in (2, 48) for w in (64, 768)]
    a, b, c, d = law.predict(corners)
    assert a.value - b.value - c.value + d.value == pytest.approx(0, abs=1e-9)
    joint = [p.weight for p in law._fit.posteriors if law._settings[p.form].joint]
    assert sum(joint) > 0.99  # the trials do show the term that the prediction leaves out
    truth = _power(48, 768, 0.05)
    assert abs(d.value - truth) > 0.05
    assert d.low <= truth <= d.high
    plain = fit_law([row(_power(s.depth, s.width, 0.0), s) for s in shapes])
    assert plain.predict(corners)[3].sd < 0.5 * d.sd


def test_leave_one_out_does_not_see_the_row() -> None:
    rows = drawn(14, noise=0.01, seed=5)
    law = fit_law(rows)
    for left in (0, 7):
        alone = fit_law([r for i, r in enumerate(rows) if i != left]).predict([rows[left].features])[0]
        # centres and the noise levels tried come from all rows, so not to the last digit
        assert law.leave_one_out[left].value == pytest.approx(alone.value, abs=0.004)
        moved = [replace(r, loss=r.loss + 0.02) if i == left else r for i, r in enumerate(rows)]
        assert fit_law(moved).leave_one_out[left].value == pytest.approx(
            law.leave_one_out[left].value, abs=0.004
        )


def test_the_unit_of_the_loss_does_not_matter() -> None:
    rows = drawn(10, noise=0.01, seed=6)
    scaled = [replace(r, loss=r.loss * 1.4427) for r in rows]
    shapes = [features(12, 320), features(40, 64)]
    for a, b in zip(fit_law(rows).predict(shapes), fit_law(scaled).predict(shapes), strict=True):
        assert b.value == pytest.approx(1.4427 * a.value)
        assert b.sd == pytest.approx(1.4427 * a.sd)


def test_with_few_trials_the_prior_speaks_with_many_the_trials() -> None:
    wrong = LawPrior(
        slopes={term: Slope(value=0.15, sd=0.01) for term in (Term.DEPTH, Term.WIDTH)},
        bits_decay=0.9,
        bits_parameters=1e9,
    )
    few = drawn(4, noise=0.01, seed=7)
    shape = [features(24, 512), features(2, 64)]

    def gain(rows: list[LawRow], prior: LawPrior | None) -> float:
        large, small = fit_law(rows, prior=prior).predict(shape)
        return small.value - large.value

    assert gain(few, None) > gain(few, wrong)
    many = drawn(40, noise=0.01, seed=8)
    assert gain(many, wrong) == pytest.approx(gain(many, None), rel=0.05)


def test_equal_losses_and_equal_shapes_are_no_trouble() -> None:
    same = [row(2.0, features(d, w)) for d in (2, 4) for w in (64, 128)]
    assert fit_law(same).predict([features(3, 96)])[0].value == pytest.approx(2.0, abs=1e-3)
    one = [row(loss) for loss in (2.0, 2.1, 1.9, 2.0)]
    found = fit_law(one)
    assert found.terms == ()
    assert found.predict([features()])[0].value == pytest.approx(2.0, abs=0.01)


def test_too_few_rows_are_an_error() -> None:
    with pytest.raises(StudyError, match="3 trained models are too few; accepted: 4 or more"):
        fit_law(drawn(3, noise=0, seed=0))


def test_exponents_matter_little() -> None:
    rows = drawn(20, noise=0.01, seed=9)
    other = LawSettings(depth_exponents=(0.05, 0.5, 1.5), width_exponents=(0.05, 0.5, 1.5))
    shapes = [r.features for r in drawn(20, noise=0, seed=10)]
    a, b = fit_law(rows).predict_arrays(shapes)[0], fit_law(rows, settings=other).predict_arrays(shapes)[0]
    assert float(np.abs(a - b).max()) < 0.02
    assert losses(rows)[0] > 0


def test_the_prior_has_the_signs_that_the_tables_show() -> None:
    prior = published_prior()
    assert prior.slopes[Term.DEPTH].value < 0
    assert prior.slopes[Term.WIDTH].value < prior.slopes[Term.DEPTH].value
    assert prior.slopes[Term.BITS].value > 0
    assert prior.slopes[Term.BITS_X_SIZE].value < 0
    # a repeated block adds about nothing beyond what its depth is worth less its sharing
    assert abs(prior.slopes[Term.DEPTH].value + prior.slopes[Term.SHARING].value) < 0.02


@needs_shared
def test_the_prior_file_is_what_its_command_writes() -> None:
    assert fitted_prior.document() == PRIOR_FILE.read_text(encoding="utf-8")


@needs_shared
def test_published_shapes_have_their_published_counts() -> None:
    counts = {round(p.features.parameters / 1e6, 1) for p in fitted_prior.published()}
    assert {134.1, 135.0, 163.2, 142.6, 138.1, 132.4, 124.6, 386.7} <= counts
