"""The law before any trial: the prior's slopes and nothing else, no surer than other recipes allow."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from benchmarks.replay_tables import gemstones, gemstones_step, lts
from search.law.law import curved
from search.law.law_prior import Term, published_prior
from search.law.prior_law import RECIPE, outside, prior_law
from search.law.shapes import FeatureColumns, LawRow, features_of
from search.trust.ranking import kendall, tau_of_one_size
from sizer.registry import model
from tests.search.law_rows import features
from tests.shared_facts import needs_shared

_Z_80 = 1.2815515655446004


def test_one_feature_moves_the_loss_by_its_slope() -> None:
    prior = published_prior()
    base = features()
    law = prior_law([base])
    for term, name in ((Term.HEAD_DIM, "head_dim"), (Term.FFN_RATIO, "ffn_ratio"), (Term.SHARING, "sharing")):
        other = features(**{name: 2 * getattr(base, name)})
        value, sd = law.above([other], [base])
        slope = prior.slopes[term]
        assert value[0] == pytest.approx(slope.value * np.log(2))
        assert sd[0] == pytest.approx(np.hypot(slope.sd, RECIPE * slope.value) * np.log(2))


def test_depth_and_width_are_curved_about_the_middle_and_exponents_averaged() -> None:
    prior = published_prior()
    shallow, deep = (features(d, 128, bits_per_weight=64.0) for d in (4, 16))  # so many that none is damaged
    law = prior_law([shallow, deep])  # in the middle of them: depth 8
    parts = [float(curved(np.array([2.0]), a)[0] - curved(np.array([0.5]), a)[0]) for a in (0.25, 0.5, 1.0)]
    level = 1 + prior.slopes[Term.DEPTH].value * np.mean(
        [curved(np.array([0.5]), a) for a in (0.25, 0.5, 1.0)]
    )
    value, _ = law.above([deep], [shallow])
    assert value[0] == pytest.approx(prior.slopes[Term.DEPTH].value * np.mean(parts) / level)
    assert law.loss([deep])[0] < 1 < law.loss([shallow])[0]


def test_a_shape_is_not_above_itself_and_that_is_certain() -> None:
    shapes = [features(d, w, bits_per_weight=b) for d, w, b in ((4, 128, 4.5), (9, 512, 8.5), (30, 96, 2.5))]
    law = prior_law(shapes)
    for number, shape in enumerate(shapes):
        value, sd = law.above(shapes, [shape])
        assert value[number] == 0
        assert sd[number] == 0
        others = np.arange(len(shapes)) != number
        assert np.all(sd[others] > 0)


def test_columns_say_what_single_shapes_say() -> None:
    shapes = [features(d, w, ffn_ratio=2.7) for d in (3, 12, 40) for w in (96, 384)]
    names = FeatureColumns.__slots__
    columns = FeatureColumns(**{n: np.array([getattr(s, n) for s in shapes], np.float64) for n in names})
    law = prior_law(columns)
    np.testing.assert_array_equal(law.above(columns, [shapes[0]]), law.above(shapes, [shapes[0]]))


def test_what_lies_outside_of_the_published_models() -> None:
    known = features_of(model("MobileLLM-125M").architecture, bits_per_weight=16)
    tiny = features_of(
        model("MobileLLM-125M").architecture.__class__(
            vocab_size=256,
            num_layers=2,
            hidden_size=64,
            intermediate_size=256,
            num_heads=2,
            num_kv_heads=2,
            head_dim=32,
        ),
        bits_per_weight=4.5,
    )
    found = {term: rows.tolist() for term, rows in outside([known, tiny]).items()}
    assert not any(rows[0] for rows in found.values())
    beyond = {term for term, rows in found.items() if rows[1]}
    assert beyond == {Term.DEPTH, Term.WIDTH, Term.FFN_RATIO, Term.BITS_X_SIZE}


def _pairs_inside(rows: tuple[LawRow, ...]) -> float:
    """Share of pairs of one size whose difference in loss is inside the law's interval."""
    shapes = [row.features for row in rows]
    law = prior_law(shapes)
    inside = []
    for one, other in combinations(rows, 2):
        if abs(one.size_bytes - other.size_bytes) < 0.1 * max(one.size_bytes, other.size_bytes):
            value, sd = law.above([one.features], [other.features])
            inside.append(abs(one.loss / other.loss - 1 - value[0]) <= _Z_80 * sd[0])
    return float(np.mean(inside))


@needs_shared
@pytest.mark.parametrize(
    ("tokens", "tau", "tau_of_size", "held"),
    [(16e9, 0.90, 0.77, 0.97), (64e9, 0.88, 0.66, 1.0), (350e9, 0.87, 0.61, 1.0), (None, 0.81, 0.65, 0.87)],
)
def test_tables_the_prior_has_not_seen(
    tokens: float | None, tau: float, tau_of_size: float, held: float
) -> None:
    """Gemstones after so many tokens, LTS at the end; as search/law/prior_law.py says."""
    rows = tuple(m.row for m in lts()) if tokens is None else gemstones(gemstones_step(tokens))
    shapes = [row.features for row in rows]
    expected = prior_law(shapes).loss(shapes).tolist()
    losses = [row.loss for row in rows]
    assert (kendall(expected, losses) or 0) >= tau
    assert (tau_of_one_size(expected, losses, [row.size_bytes for row in rows]) or 0) >= tau_of_size
    assert _pairs_inside(rows) >= held
