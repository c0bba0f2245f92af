"""The law: loss of a decoder in nats a token over its shape, its training tokens and its bits.

    loss = E + (x^q + y^q)^(1/q) + shape + few tokens + bits
    x = A (N / 200M)^-alpha      N: weights outside the embedding, times repeat^0.2 where blocks are shared
    y = B (D / 20B)^-beta        D: tokens, those seen again counting less and less
    shape: a U in each of ln(width / depth), ln(head width), ln(FFN weights / attention weights)
    few tokens: fewer than two tokens a weight leave a model untrained
    by heart: models with more weights than distinct tokens learn those by heart, and get worse on others
    bits: exp(-0.9 bits), more for small models

With q = 1 that is Chinchilla's law (arXiv 2203.15556). Tables with many lengths per model want q of 2 to 3: a
small model stops gaining from more tokens sooner than a sum predicts (Gemstones' residual falls from 0.020 to
0.008 nats, OLMo's ladder's from 0.017 to 0.005), and with it the exponent of N is nearly the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Logarithms of the law's constants, in this order in every vector of them.
PARAMETERS = (
    "floor",  # E
    "from_weights",  # A
    "weights_exponent",
    "from_tokens",  # B
    "tokens_exponent",
    "join",  # q
    "aspect_curvature",
    "aspect_best",
    "head_curvature",
    "head_best",
    "ffn_curvature",
    "ffn_best",
    "few_tokens",
    "few_bits",
)
# Those that are nats: another tokenizer, or bits a byte, multiplies all of them.
NATS = np.array(
    [name in ("floor", "few_tokens", "few_bits") or name.startswith("from_") or name.endswith("_curvature")
     for name in PARAMETERS]
)  # fmt: skip

REFERENCE_WEIGHTS, REFERENCE_TOKENS = 2e8, 2e10
FEW_TOKENS_PER_WEIGHT = 2.0
# Weights that a block used r times is worth: r^0.2 blocks (MobileLLM, arXiv 2402.14905, tables 6 and 13).
SHARING_EXPONENT = 0.2
# The longer the training, the flatter the U in width / depth and the deeper its best: from 4B to 350B tokens
# Gemstones' curvature falls from 0.016 to 0.011 nats and its best ratio from 58 to 49 (exponents of tokens).
CURVATURE_TOKENS, ASPECT_TOKENS = 0.08, 0.04
# Tokens seen again: after that many repetitions little is learned from more. arXiv 2305.16264 has 15.4,
# where the harm below is not apart; with it, the same runs ask for 28.
REPETITIONS = 28.0
# Learned by heart: most nats, weights for each distinct token at which two thirds of them are lost (of 1B
# weights: smaller models learn less by heart, by the power at the end) and how sharply, and passes that cost
# half of it. Fitted to the runs of arXiv 2305.16264 that repeat their data, the only table that shows it;
# docs/quality.md has the errors at amounts of data that are left out.
BY_HEART = (7.7, 5.5, 1.56, 85.0, 0.38)
BITS_DECAY = 0.9  # as search/data/law_prior.toml
BITS_SIZE = 0.37  # exponent of the damage over weights: ParetoQ's perplexities


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedShapes:
    """Models and their training as columns; NaN where nothing is known, which leaves out that term."""

    weights: Floats  # outside embedding and head
    tokens: Floats
    unique_tokens: Floats
    aspect: Floats  # hidden size over stored layers
    head_dim: Floats
    ffn_ratio: Floats  # FFN weights over attention weights
    repeat: Floats  # runs of each stored block
    bits: Floats  # a weight, as trained or stored

    def __len__(self) -> int:
        return len(self.weights)

    def select(self, some: NDArray[np.bool_] | NDArray[np.int64]) -> TrainedShapes:
        """Return some of them."""
        return TrainedShapes(**{f.name: getattr(self, f.name)[some] for f in fields(self)})


def shapes(*, weights: Floats, tokens: Floats, **known: Floats) -> TrainedShapes:
    """Return columns where only those given are known."""
    columns = {f.name: np.full(len(weights), np.nan) for f in fields(TrainedShapes)}
    given = {"weights": weights, "tokens": tokens, **known}
    return TrainedShapes(**columns | {name: np.asarray(v, np.float64) for name, v in given.items()})


def useful_tokens(tokens: Floats, unique: Floats) -> Floats:
    """Return how many fresh tokens are worth as much as these, of which `unique` are distinct.

    >>> useful_tokens(np.array([4e9, 4e9]), np.array([4e9, 1e9])).round(-7) / 1e9
    array([4.  , 3.84])
    """
    distinct = np.where(np.isfinite(unique), np.minimum(unique, tokens), tokens)
    again = tokens / distinct - 1
    return np.asarray(distinct * (1 + REPETITIONS * (1 - np.exp(-again / REPETITIONS))))


class _Terms(NamedTuple):
    """The terms of the law for some models, and what its slopes need of them."""

    size: Floats  # logarithm of weights, of the reference's
    length: Floats  # logarithm of useful tokens, of the reference's
    by_size: Floats  # logarithms of the two terms that are joined
    by_length: Floats
    joined: Floats
    curvature: dict[str, Floats]
    away: dict[str, Floats]  # from the best of a shape's ratio, as a logarithm
    few_tokens: Floats
    few_bits: Floats


def _terms(p: Mapping[str, float], models: TrainedShapes) -> _Terms:
    join = np.exp(p["join"])
    weights = models.weights * np.where(np.isfinite(models.repeat), models.repeat, 1) ** SHARING_EXPONENT
    size = np.log(weights / REFERENCE_WEIGHTS)
    length = np.log(useful_tokens(models.tokens, models.unique_tokens) / REFERENCE_TOKENS)
    x = p["from_weights"] - np.exp(p["weights_exponent"]) * size
    y = p["from_tokens"] - np.exp(p["tokens_exponent"]) * length
    curvature, away = {}, {}
    for name, column in (("aspect", models.aspect), ("head", models.head_dim), ("ffn", models.ffn_ratio)):
        flatter, deeper = (CURVATURE_TOKENS, ASPECT_TOKENS) if name == "aspect" else (0.0, 0.0)
        away[name] = np.nan_to_num(np.log(column) - p[f"{name}_best"] + deeper * length)
        curvature[name] = np.exp(p[f"{name}_curvature"] - flatter * length)
    return _Terms(
        size=size,
        length=length,
        by_size=x,
        by_length=y,
        joined=np.exp(np.logaddexp(join * x, join * y) / join),
        curvature=curvature,
        away=away,
        few_tokens=np.exp(p["few_tokens"]) * few_tokens(models) ** 2,
        few_bits=np.exp(p["few_bits"]) * bits_damage(models.bits, models.weights),
    )


def loss(parameters: Floats, models: TrainedShapes) -> Floats:
    """Return each model's loss by the law with these constants."""
    p = dict(zip(PARAMETERS, parameters, strict=True))
    terms = _terms(p, models)
    bends = [terms.curvature[name] * away**2 for name, away in terms.away.items()]
    total = np.exp(p["floor"]) + terms.joined + sum(bends)
    return np.asarray(total + terms.few_tokens + by_heart(models) + terms.few_bits)


def slopes(parameters: Floats, models: TrainedShapes) -> Floats:
    """Return the change of each model's loss (rows) by the logarithm of each constant (columns)."""
    p = dict(zip(PARAMETERS, parameters, strict=True))
    terms, join = _terms(p, models), np.exp(p["join"])
    x, y = terms.by_size, terms.by_length
    # how much of the joined term is by size: the steeper the join, the more the larger one counts alone
    share = 1 / (1 + np.exp(np.clip(join * (y - x), -700, 700)))
    by_x, by_y = terms.joined * share, terms.joined * (1 - share)
    found = {
        "floor": np.full(len(models), np.exp(p["floor"])),
        "from_weights": by_x,
        "weights_exponent": -by_x * np.exp(p["weights_exponent"]) * terms.size,
        "from_tokens": by_y,
        "tokens_exponent": -by_y * np.exp(p["tokens_exponent"]) * terms.length,
        "join": by_x * x + by_y * y - terms.joined * np.log(terms.joined),
        "few_tokens": terms.few_tokens,
        "few_bits": terms.few_bits,
    }
    for name, away in terms.away.items():
        bend = terms.curvature[name] * away
        found |= {f"{name}_curvature": bend * away, f"{name}_best": -2 * bend}
    return np.stack([found[name] for name in PARAMETERS], axis=1)


def by_heart(models: TrainedShapes, constants: Sequence[float] = BY_HEART) -> Floats:
    """Return the nats lost by learning few distinct tokens by heart; 0 where data are not repeated.

    >>> known = shapes(weights=np.array([1e9]), tokens=np.array([7.5e9]), unique_tokens=np.array([1e8]))
    >>> by_heart(known).round(1)
    array([3.1])
    """
    nats, weights, sharpness, passes, power = constants
    distinct = np.minimum(np.nan_to_num(models.unique_tokens, nan=np.inf), models.tokens)
    again = models.tokens / distinct - 1
    crowding = models.weights / distinct * (models.weights / 1e9) ** power
    most = nats * -np.expm1(-((crowding / weights) ** sharpness))
    return np.asarray(most * again**2 / (again**2 + passes**2))


def few_tokens(models: TrainedShapes) -> Floats:
    """Return the logarithm of how far tokens fall short of two a weight; 0 where they do not."""
    return np.maximum(0.0, np.log(FEW_TOKENS_PER_WEIGHT * models.weights / models.tokens))


def bits_damage(bits: Floats, weights: Floats) -> Floats:
    """Return how much few bits a weight hurt, as a share of 1B weights with none; NaN hurts nothing."""
    damage = np.exp(-BITS_DECAY * bits) * (weights / 1e9) ** -BITS_SIZE
    return np.asarray(np.where(bits < 16, damage, 0.0))
