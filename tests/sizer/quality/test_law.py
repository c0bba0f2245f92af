"""The law: worked by hand, its limits, and which way each term goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.quality.constants import published_law
from sizer.quality.law import (
    NATS,
    PARAMETERS,
    Floats,
    TrainedShapes,
    by_heart,
    loss,
    shapes,
    slopes,
    useful_tokens,
)


def _constants(**values: float) -> Floats:
    """Return a law of E = 1, A = B = 1, exponents 0.5 and 1 and a join of 1, without other terms."""
    known = {
        "floor": 1.0,
        "from_weights": 1.0,
        "weights_exponent": 0.5,
        "from_tokens": 1.0,
        "tokens_exponent": 1.0,
        "join": 1.0,
    }
    return np.log([(known | values).get(name, 1e-12) for name in PARAMETERS])


def _one(weights: float = 2e8, tokens: float = 2e10, **known: float) -> TrainedShapes:
    columns = {name: np.array([value]) for name, value in known.items()}
    return shapes(weights=np.array([weights]), tokens=np.array([tokens]), **columns)


def test_by_hand() -> None:
    assert loss(_constants(), _one())[0] == pytest.approx(3.0)
    # four times the weights halve their part; twice the tokens halve theirs
    assert loss(_constants(), _one(8e8, 4e10))[0] == pytest.approx(1 + 0.5 + 0.5)
    # joined as squares: sqrt(1 + 1)
    assert loss(_constants(join=2.0), _one())[0] == pytest.approx(1 + 2**0.5)


def test_the_u_of_a_shape_is_zero_at_its_best_and_counts_nothing_unknown() -> None:
    bent = _constants(aspect_curvature=0.1, aspect_best=50.0)
    assert loss(bent, _one(aspect=50.0))[0] == pytest.approx(3.0)
    assert loss(bent, _one(aspect=50 * np.e**2))[0] == pytest.approx(3.4)
    assert loss(bent, _one())[0] == pytest.approx(3.0)


def test_few_tokens_and_few_bits_cost() -> None:
    # two tokens a weight are enough; a factor e below costs the constant
    short = _constants(few_tokens=0.2)
    enough = loss(_constants(), _one(1e9, 2e9 / np.e))[0]
    assert loss(short, _one(1e9, 2e9 / np.e))[0] == pytest.approx(enough + 0.2)
    rounded = _constants(few_bits=2.0)
    whole = loss(_constants(), _one(1e9))[0]
    assert loss(rounded, _one(1e9, bits=4.0))[0] == pytest.approx(whole + 2 * np.exp(-3.6))
    assert loss(rounded, _one(1e9, bits=16.0))[0] == whole


def test_tokens_seen_again_count_less_and_less() -> None:
    fresh = useful_tokens(np.array([1e9, 4e9, 1e12]), np.array([1e9, 1e9, 1e9]))
    assert fresh[0] == 1e9
    assert fresh[1] == pytest.approx(1e9 * (1 + 28 * (1 - np.exp(-3 / 28))))
    assert fresh[2] <= 29e9  # however often
    assert useful_tokens(np.array([5e9]), np.array([np.nan]))[0] == 5e9


def test_models_with_more_weights_than_distinct_tokens_learn_them_by_heart() -> None:
    """Published runs of 1.0B weights on 100M tokens (arXiv 2305.16264) reach 4.10, 6.74 and 8.14 nats."""
    passes = np.array([27.0, 75.0, 120.0])
    known = shapes(weights=np.full(3, 1.006e9), tokens=1e8 * passes, unique_tokens=np.full(3, 1e8))
    lost = by_heart(known)
    assert lost[1] - lost[0] == pytest.approx(6.74 - 4.10, abs=0.7)
    assert lost[2] - lost[0] == pytest.approx(8.14 - 4.10, abs=0.7)
    # 100 passes of many tokens cost a small model nothing, nor does one pass anybody
    small = shapes(weights=np.array([1e8]), tokens=np.array([1.5e11]), unique_tokens=np.array([1.5e9]))
    assert by_heart(small) == pytest.approx(0.0, abs=0.02)
    once = shapes(
        weights=np.array([1e9, 1e9]), tokens=np.array([1e8, 1e9]), unique_tokens=np.array([1e8, np.nan])
    )
    assert by_heart(once).tolist() == [0.0, 0.0]


def test_a_shared_block_is_worth_a_fifth_power_of_its_runs() -> None:
    law = _constants()
    assert loss(law, _one(2e8, repeat=2.0))[0] == pytest.approx(loss(law, _one(2e8 * 2**0.2))[0])


@given(st.floats(1e6, 1e11), st.floats(1e7, 1e13), st.floats(1.05, 100))
def test_more_weights_and_more_tokens_never_hurt(weights: float, tokens: float, more: float) -> None:
    law = published_law().mean
    base = loss(law, _one(weights, tokens))[0]
    assert loss(law, _one(weights, tokens * more))[0] < base
    # with tokens enough for both: too few leave the larger untrained
    plenty = max(tokens, 2 * weights * more)
    assert loss(law, _one(weights * more, plenty))[0] < loss(law, _one(weights, plenty))[0]


def test_another_unit_multiplies_everything() -> None:
    law = published_law().mean
    models = _one(1e8, 1e10, aspect=20.0, head_dim=32.0, ffn_ratio=3.0, bits=3.0)
    assert loss(law + NATS * np.log(0.3), models)[0] == pytest.approx(0.3 * loss(law, models)[0])


def test_slopes_are_what_a_small_change_of_each_constant_changes() -> None:
    drawn, count, step = np.random.default_rng(0), 500, 1e-4
    models = shapes(
        weights=10 ** drawn.uniform(7, 10, count),
        tokens=10 ** drawn.uniform(8, 13, count),
        unique_tokens=10 ** drawn.uniform(8, 12, count),
        aspect=drawn.choice([np.nan, 10.0, 100.0], count),
        head_dim=drawn.choice([np.nan, 32.0, 256.0], count),
        ffn_ratio=drawn.uniform(0.5, 5, count),
        repeat=drawn.choice([np.nan, 1.0, 3.0], count),
        bits=drawn.uniform(1.5, 18, count),
    )
    mean = published_law().mean
    changes = [
        loss(mean + change, models) - loss(mean - change, models) for change in step * np.eye(len(mean))
    ]
    assert slopes(mean, models) == pytest.approx(np.stack(changes, axis=1) / (2 * step), abs=1e-6)
