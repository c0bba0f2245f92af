"""The quality law fitted to runs: finds the law they were drawn from and is no surer than it should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality.learn import stored_prior_without
from benchmarks.replay.model_tables import gemstones, gemstones_step
from search.quality.features import RUN_NOISE, Feature, LawRow, ShapeFeatures
from search.quality.law import LawSettings, LossBelief, fit_law, prior_belief
from sizer.errors import StudyError
from tests.search.law_rows import drawn, features, row, true_loss


def _error(rows: list[LawRow], asked: list[ShapeFeatures]) -> float:
    errors = [p.value - true_loss(s) for p, s in zip(fit_law(rows).predict(asked), asked, strict=True)]
    return float(np.sqrt(np.mean(np.square(errors))))


def test_the_law_finds_the_law_it_was_drawn_from_and_better_with_more_runs() -> None:
    new = [r.features for r in drawn(40, noise=0, seed=2)]
    spread = float(np.std([true_loss(shape) for shape in new]))
    few, many = (_error(drawn(count, noise=0.003, seed=1), new) for count in (6, 24))
    assert many < 0.05 * spread
    assert many < few < 0.2 * spread


def test_short_and_long_runs_are_one_law() -> None:
    shapes = [features(d, w, tokens=t) for d, w in ((2, 64), (6, 128), (9, 256)) for t in (3e7, 1e8, 3e8)]
    law = fit_law([row(true_loss(shape), shape) for shape in shapes])
    assert Feature.TOKENS in law.varied
    longer = features(6, 192, tokens=2e9)
    (found,) = law.predict([longer])
    assert found.value == pytest.approx(true_loss(longer), abs=0.03)
    assert found.low < true_loss(longer) < found.high
    assert found.value < law.predict([replace(longer, tokens=3e8)])[0].value


def test_only_features_that_differ_have_deviations() -> None:
    rows = drawn(12, noise=0.01, seed=0)
    assert fit_law(rows).varied == (Feature.DEPTH, Feature.WIDTH, Feature.HEAD_DIM)
    one_depth = [replace(r, features=replace(r.features, depth=8, head_dim=32)) for r in rows]
    assert fit_law(one_depth).varied == (Feature.WIDTH,)
    mixed = [
        replace(r, features=replace(r.features, bits_per_weight=4.5 + i % 2, kv_ratio=1 / (1 + i % 3)))
        for i, r in enumerate(one_depth)
    ]
    assert fit_law(mixed).varied == (Feature.WIDTH, Feature.KV_RATIO, Feature.BITS_PER_WEIGHT)


@pytest.mark.parametrize(
    ("name", "value"),
    [("head_dim", 64.0), ("kv_ratio", 0.25), ("ffn_ratio", 4.0), ("sharing", 2.0), ("embedding_ratio", 0.5)],
)
def test_runs_move_any_feature_against_the_published_law(name: str, value: float) -> None:
    base, other = features(), features(**{name: value})
    low, high = fit_law([row(2.0, base), row(2.2, other)] * 4).predict([base, other])
    assert (low.value, high.value) == pytest.approx((2.0, 2.2), abs=0.02)
    back, forth = fit_law([row(2.2, base), row(2.0, other)] * 4).predict([base, other])
    assert (back.value, forth.value) == pytest.approx((2.2, 2.0), abs=0.02)


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

    assert damage(128) == pytest.approx(8 * np.exp(-1.8), rel=0.15)
    assert damage(512) == pytest.approx(4 * np.exp(-1.8), rel=0.25)


def test_intervals_hold_four_times_in_five() -> None:
    inside, left_out = [], []
    for seed in range(20):
        law = fit_law(drawn(16, noise=0.02, seed=seed))
        left_out.append(law.coverage)
        new = drawn(20, noise=0.02, seed=1000 + seed)
        found = law.predict([r.features for r in new])
        inside += [p.low <= r.loss <= p.high for p, r in zip(found, new, strict=True)]
    assert 0.72 <= np.mean(inside) <= 0.95
    assert 0.72 <= np.mean(left_out) <= 0.95


def test_the_interval_widens_away_from_the_trials() -> None:
    law = fit_law(drawn(16, noise=0.01, seed=3, largest_width=256))
    middle, wide, wider = law.predict([features(8, 128), features(8, 1024), features(8, 8192)])
    assert middle.sd < wide.sd < wider.sd


def test_deviations_in_size_do_not_grow_beyond_what_was_trained() -> None:
    """Runs that gain twice what the law allows from width are no reason to expect so for ever."""
    shapes = [features(6, width) for width in (64, 96, 128, 160, 192, 256)]
    steep = [row(true_loss(s) - 0.1 * float(np.log(s.width / 64)), s) for s in shapes]
    law = fit_law(steep)
    gain = law.predict([shapes[-1]])[0].value - law.predict([features(6, 4096)])[0].value
    plain = true_loss(shapes[-1]) - true_loss(features(6, 4096))
    assert gain < 2 * plain


def test_residuals_larger_than_foreseen_widen_every_interval() -> None:
    rows = drawn(18, noise=0.002, seed=11)
    rows[4] = replace(rows[4], loss=rows[4].loss + 0.2)
    law = fit_law(rows)
    scaled = [(r.loss - p.value) / p.sd for r, p in zip(rows, law.leave_one_out, strict=True)]
    assert law._inflation > 1
    assert float(np.sqrt(np.mean(np.square(scaled)))) == pytest.approx(1)


def test_leave_one_out_does_not_see_the_row() -> None:
    rows = drawn(14, noise=0.01, seed=5)
    law = fit_law(rows)
    for left in (0, 7):
        alone = fit_law([r for i, r in enumerate(rows) if i != left]).predict([rows[left].features])[0]
        # the tangent's place and the noise levels tried come from all rows, so not to the last digit
        assert law.leave_one_out[left].value == pytest.approx(alone.value, abs=0.006)


def test_the_unit_of_the_loss_does_not_matter() -> None:
    rows = drawn(10, noise=0.01, seed=6)
    scaled = [replace(r, loss=r.loss * 1.4427) for r in rows]
    shapes = [features(12, 320), features(40, 64)]
    for a, b in zip(fit_law(rows).predict(shapes), fit_law(scaled).predict(shapes), strict=True):
        assert b.value == pytest.approx(1.4427 * a.value, rel=2e-3)
        assert b.sd == pytest.approx(1.4427 * a.sd, rel=0.1)


def test_a_score_is_shrunk_by_the_share_that_is_chance() -> None:
    rows = drawn(20, noise=0.02, seed=7)
    law = fit_law(rows)
    shapes = [r.features for r in rows]
    expected = law.predict_arrays(shapes)[0]
    losses = np.array([r.loss for r in rows])
    share = np.clip(1 - (RUN_NOISE * losses) ** 2 / law.noise_sd**2, 0, 1)
    assert np.all((share > 0) & (share < 1))
    np.testing.assert_allclose(law.shrunk(shapes), expected + share * (losses - expected))
    # four seeds leave a quarter of the variance
    surer = fit_law([replace(r, runs=4) for r in rows]).shrunk(shapes)
    assert np.abs(surer - losses).max() < np.abs(law.shrunk(shapes) - losses).max()
    # asked after more tokens, a model keeps what is its own
    longer = [replace(shape, tokens=1e10) for shape in shapes]
    gained = law.predict_arrays(longer)[0] - expected
    np.testing.assert_allclose(law.shrunk(longer) - law.shrunk(shapes), gained)


def test_a_belief_is_the_prediction_with_what_losses_have_in_common() -> None:
    law = fit_law(drawn(16, noise=0.01, seed=8))
    shapes = [features(4, 128), features(5, 128), features(24, 512)]
    belief = law.belief(shapes)
    mean, sd = law.predict_arrays(shapes)
    np.testing.assert_allclose(belief.mean, mean)
    assert np.all(belief.sd < sd)  # a run's noise is not in it
    near, far = belief.difference(0, 1), belief.difference(0, 2)
    assert near[0] == pytest.approx(float(mean[0] - mean[1]))
    assert near[1] < far[1]
    draws = law.draws(shapes, 4000, seed=1)
    assert np.cov(draws.T)[0, 1] > 0


def test_runs_update_a_belief_as_the_textbook_has_it() -> None:
    prior = LossBelief(mean=np.array([2.0, 3.0]), covariance=np.array([[0.04, 0.03], [0.03, 0.09]]))
    after = prior.given([0], [2.3], [0.2])
    gain = 0.04 / (0.04 + 0.04)
    assert after.mean == pytest.approx([2.0 + gain * 0.3, 3.0 + 0.03 / 0.08 * 0.3])
    assert after.covariance[0, 0] == pytest.approx(0.04 * (1 - gain))
    twice = prior.given([0, 0], [2.3, 2.3], [0.2, 0.2])
    assert twice.mean[0] == pytest.approx(2.0 + 0.04 / (0.04 + 0.02) * 0.3)


def test_published_tables_and_three_runs_order_gemstones() -> None:
    """Of 22 shapes after 16B tokens three are known: the law of all other tables gives the rest."""
    rows = gemstones(gemstones_step(16e9))
    belief = prior_belief([r.features for r in rows], level=3.0, prior=stored_prior_without("Gemstones"))
    known = [0, 5, 9]
    after = belief.given(known, [rows[i].loss for i in known], [0.01] * 3)
    errors = after.mean - np.array([r.loss for r in rows])
    assert float(np.sqrt(np.mean(errors**2))) < 0.03
    assert np.mean(np.abs(errors) <= 1.2816 * np.hypot(after.sd, 0.01)) >= 0.8
    assert float(after.sd.max()) < 0.2 * float(belief.sd.max())


def test_equal_losses_and_equal_shapes_are_no_trouble() -> None:
    same = [row(2.0, features(d, w)) for d in (2, 4) for w in (64, 128)]
    assert fit_law(same).predict([features(3, 96)])[0].value == pytest.approx(2.0, abs=0.05)
    one = [row(loss) for loss in (2.0, 2.1, 1.9, 2.0)]
    found = fit_law(one)
    assert found.varied == ()
    assert found.predict([features()])[0].value == pytest.approx(2.0, abs=0.01)


def test_too_few_rows_are_an_error() -> None:
    with pytest.raises(StudyError, match="3 trained models are too few; accepted: 4 or more"):
        fit_law(drawn(3, noise=0, seed=0))


def test_settings_matter_little() -> None:
    rows = drawn(20, noise=0.01, seed=9)
    shapes = [r.features for r in drawn(20, noise=0, seed=10)]
    a = fit_law(rows).predict_arrays(shapes)[0]
    b = fit_law(rows, settings=LawSettings(spreads=(3.0,), looseness=(0.02,))).predict_arrays(shapes)[0]
    assert float(np.abs(a - b).max()) < 0.03
