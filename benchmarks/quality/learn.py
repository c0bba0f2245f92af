"""What tables have in common: the prior of the law's constants, and how well it predicts tables left out."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.tables import QualityTable
from sizer.quality.law import NATS, PARAMETERS, Floats
from sizer.quality.posterior import UNIT, FittedLaw, Prior, fit_law

# Where learning starts and how far tables differ. The deviations were chosen, not fitted (six origins do not
# fix as many variances): those of a few on a coarse grid whose left-out tables are predicted best. Exponents
# of weights and the join are nearly one number everywhere; levels and exponents of tokens are not.
START = {
    "floor": (1.5, 0.12),
    "from_weights": (1.2, 0.1),
    "weights_exponent": (0.15, 0.1),
    "from_tokens": (1.0, 0.25),
    "tokens_exponent": (0.2, 0.4),
    "join": (2.2, 0.15),
    "aspect_curvature": (0.013, 0.3),
    "aspect_best": (53, 0.2),
    "head_curvature": (0.006, 0.3),
    "head_best": (52, 0.2),
    "ffn_curvature": (0.01, 0.3),
    "ffn_best": (2.0, 0.3),
    "few_tokens": (0.1, 0.5),
    "few_bits": (0.5, 0.4),
}
LEFT_OUT_FILE = Path(__file__).with_name("left_out.toml")
_START_COUNTS = 1.0  # tables
_ROUNDS = 5
# Tables the prior is learned from: one of each kind of training.
TEACHERS = (
    "gemstones_cooled",
    "gemstones_constant",
    "olmo_ladder",
    "cerebras_gpt",
    "datablations",
    "chinchilla",
    "marin",
    "lts",
)


def start() -> Prior:
    """Return what is believed before any table."""
    values = np.array([START[name] for name in PARAMETERS])
    return Prior(mean=np.log(values[:, 0]), sd=values[:, 1])


def learned(tables: Iterable[QualityTable], first: Prior | None = None) -> Prior:
    """Return the prior that these tables agree on: means of their fits, each origin counting once."""
    first = prior = first or start()
    taught = [table.thinned() for table in tables if table.name in TEACHERS]
    counts = Counter(table.origin for table in taught)
    shares = np.array([1 / counts[table.origin] for table in taught])
    for _ in range(_ROUNDS):
        fits = np.array([_in_the_prior_s_unit(fit_law(t.models, t.losses, prior), prior) for t in taught])
        mean = (shares @ fits + _START_COUNTS * first.mean) / (shares.sum() + _START_COUNTS)
        prior = Prior(mean=mean, sd=first.sd)
    return prior


def _in_the_prior_s_unit(law: FittedLaw, prior: Prior) -> Floats:
    """Return a table's constants without the unit of its nats, as far as they can be separated."""
    precision = NATS / prior.sd**2
    away = law.parameters - prior.mean
    unit = (precision @ away) / (precision @ NATS + 1 / UNIT**2)
    return np.asarray(law.parameters - unit * NATS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeftOut:
    """A table predicted from its cheap runs with a prior that its origin did not teach."""

    table: QualityTable  # asked rows only
    calibrated_on: int
    predicted: Floats
    sd: Floats

    @property
    def errors(self) -> Floats:
        """Predicted less published losses."""
        return self.predicted - self.table.losses

    @property
    def rmse(self) -> float:
        """Root mean square error, in the unit of the losses."""
        return float(np.sqrt((self.errors**2).mean()))


def cheapest(table: QualityTable, share: float) -> NDArray[np.bool_]:
    """Return which runs are the cheapest by weights x tokens, that share of them rounded up."""
    order = np.argsort(table.models.weights * table.models.tokens, kind="stable")
    chosen = np.zeros(len(order), np.bool_)
    chosen[order[: ceil(share * len(order))]] = True
    return chosen


def left_out(table: QualityTable, prior: Prior, *, share: float = 0.2) -> LeftOut:
    """Predict a table's dear runs from its cheapest."""
    cheap = cheapest(table, share)
    runs, asked = table.select(cheap), table.select(~cheap)
    predicted, sd = fit_law(runs.models, runs.losses, prior).predict(asked.models)
    return LeftOut(table=asked, calibrated_on=len(runs.losses), predicted=predicted, sd=sd)


def stored_prior_without(origin: str) -> Prior:
    """Return the prior that all origins but one teach, as fit.py last wrote it."""
    document = tomllib.loads(LEFT_OUT_FILE.read_text(encoding="utf-8"))
    (row,) = (row for row in document["law"] if row["without"] == origin)
    return Prior(mean=np.log([float(row[name]) for name in PARAMETERS]), sd=start().sd)


def priors_without_each(tables: Mapping[str, QualityTable]) -> dict[str, Prior]:
    """Return for each origin the prior of all others."""
    origins = dict.fromkeys(table.origin for table in tables.values())
    return {o: learned(t for t in tables.values() if t.origin != o) for o in origins}
