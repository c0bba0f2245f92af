"""Accuracy over loss from published families of models: the map, each family's gain, and corpora's.

Averages of eight tasks from tests/data/quality.csv (MobileLLM's tables: one protocol for all families),
weights and tokens from tests/data/model_tokens.csv. Corpora without a family are placed by DCLM's runs
(arXiv 2406.11794), where the same 1.4B model was trained on each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, exp, log
from statistics import fmean

import numpy as np
from scipy.optimize import least_squares

from sizer.quality.accuracy import AccuracyMap, Gain, anchored
from sizer.quality.constants import published_law
from sizer.quality.law import loss, shapes
from sizer.quality.prediction import ACCURACY_Z
from sizer.quality.weights import outside_embedding
from tests.published_facts import csv_rows

# The average of guesses: four tasks of 4 choices, three of 2, one of 3. Models that have learned little lie
# above it: they know which answers are usual (BoolQ's yes).
CHANCE = (25 * 4 + 50 * 3 + 100 / 3) / 8
# Rows of the embedding and of an untied head, by the families' config.json.
_ROWS = {
    "BLOOM": 250880,
    "Cerebras-GPT": 50257,
    "Falcon": 50304,
    "GPT-neo": 50257,
    "Galactica": 50000,
    "MobiLlama": 64000,
    "MobileLLM": 32000,
    "OPT": 50272,
    "Pythia": 100608,
    "Qwen1.5": 151936,
    "RWKV": 100554,
    "TinyLlama": 64000,
}
# Corpora by the families trained on them.
CORPORA = {
    "Pile": ("Pythia", "Cerebras-GPT", "GPT-neo", "RWKV"),
    "RefinedWeb": ("Falcon",),
    "ROOTS": ("BLOOM",),
    "SlimPajama": ("MobiLlama",),
}
# DCLM's runs of one 1.4B model for 28.8B tokens; DCLM-baseline is the one its authors chose.
_DCLM = {
    "C4": "rpj_c4_as_CC",
    "RedPajama": "rpj_rpjCC_as_CC",
    "Dolma": "dolma_v1_no_resample",
    "FineWeb-Edu": "fineweb_edu_sample_350BT",
    "DCLM": "fasttext_openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train_minhash.b15.r93_substr",
}
_REFINEDWEB = "rw_v2"
_GAIN_SD = 0.1  # of a family about the map, in nats
_POINT_SD = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyModel:
    """A published model: family, weights outside the embedding, training tokens, mean of eight tasks."""

    family: str
    name: str
    weights: float
    tokens: float
    accuracy: float


def family_of(name: str) -> str:
    """Return the family of a model by its name."""
    return next(family for family in _ROWS if name.lower().startswith(family.lower()))


def known_tokens() -> list[FamilyModel]:
    """Return weights and tokens of published models; accuracies where MobileLLM's tables have them."""
    averages = {r["model"]: r["avg"] for r in csv_rows("quality.csv") if r["study"] == "final_comparison"}
    return [
        FamilyModel(
            family=family_of(row["model"]),
            name=row["model"],
            weights=outside_embedding(float(row["params_total"]), _ROWS[family_of(row["model"])]),
            tokens=float(row["tokens"]),
            accuracy=float(averages.get(row["model"]) or "nan"),
        )
        for row in csv_rows("model_tokens.csv")
    ]


def family_models() -> list[FamilyModel]:
    """Return the models whose average of eight tasks is published."""
    return [model for model in known_tokens() if model.accuracy == model.accuracy]


def law_losses(models: Sequence[FamilyModel]) -> np.ndarray:
    """Return the loss on web text that the published law gives their weights and tokens."""
    columns = shapes(
        weights=np.array([m.weights for m in models]), tokens=np.array([m.tokens for m in models])
    )
    return loss(published_law().mean, columns)


def fit_map(models: Sequence[FamilyModel]) -> tuple[AccuracyMap, dict[str, float]]:
    """Return the map and each family's gain in nats, likely as normal with the deviations above."""
    families = sorted({m.family for m in models})
    member = np.array([families.index(m.family) for m in models])
    losses, seen = law_losses(models), np.array([m.accuracy for m in models])

    def curve(p: np.ndarray) -> AccuracyMap:
        return AccuracyMap(floor=p[3], top=p[0], middle=p[1], width=exp(p[2]), sd=_POINT_SD)

    def residuals(p: np.ndarray) -> np.ndarray:
        known = curve(p)
        expected = np.array([known.accuracy(x) for x in losses - p[4:][member]])
        start = [(p[0] - 75) / 5, (p[1] - 2.3) / 1, (p[2] - log(0.35)) / 0.5, (p[3] - CHANCE - 2) / 2]
        return np.concatenate([(expected - seen) / _POINT_SD, p[4:] / _GAIN_SD, start])

    found = least_squares(
        residuals, np.concatenate([[75, 2.3, log(0.35), CHANCE + 2], np.zeros(len(families))])
    ).x
    return curve(found), dict(zip(families, map(float, found[4:]), strict=True))


def corpus_gains(curve: AccuracyMap, gains: dict[str, float]) -> dict[str, tuple[float, float, str]]:
    """Return each corpus's gain, its standard deviation in nats and its source."""
    found = {}
    for corpus, families in CORPORA.items():
        values = [gains[family] for family in families if family in gains]
        if values:
            # one family more than there is, at no gain: few families say little of a corpus
            sd = (0.055**2 + 0.055**2 / len(values)) ** 0.5
            found[corpus] = (fmean(values), sd, f"accuracies of {', '.join(families)} (arXiv 2402.14905, 10)")
    runs = {r["corpus"]: r for r in csv_rows("quality_tables.csv") if r["table"] == "dclm" and _small(r)}
    base = curve.loss(float(runs[_REFINEDWEB]["average"]))
    for corpus, name in _DCLM.items():
        if "RefinedWeb" in found:
            ahead = base - curve.loss(float(runs[name]["average"]))
            sd = (found["RefinedWeb"][1] ** 2 + 0.03**2) ** 0.5
            found[corpus] = (found["RefinedWeb"][0] + ahead, sd, "DCLM's 1.4B runs (arXiv 2406.11794)")
    return found


def _small(row: dict[str, str]) -> bool:
    return row["params_total"] == "1439795200" and float(row["tokens"]) < 3e10


# What is known of a recipe when a family is left out.
GIVEN = ("neither", "corpus", "anchor")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutAccuracy:
    """A model's accuracy predicted without its family, and its standard deviation, in points."""

    model: FamilyModel
    given: str
    value: float
    sd: float

    @property
    def deviations(self) -> float:
        """Return how many standard deviations the published accuracy is away."""
        return abs(self.value - self.model.accuracy) / self.sd


@cache
def left_out_accuracies() -> tuple[LeftOutAccuracy, ...]:
    """Predict every model without its family: with neither, with others of its corpus, with an anchor.

    The anchor is the family's smallest model.
    """
    models = family_models()
    found = []
    for family in sorted({m.family for m in models}):
        own = sorted((m for m in models if m.family == family), key=lambda m: m.weights)
        curve, gains = fit_map([m for m in models if m.family != family])
        spread = Gain(nats=0.0, sd=float(np.hypot(np.std(list(gains.values()), ddof=1), 0.08)), basis="")
        corpus = next((name for name, members in CORPORA.items() if family in members), "")
        placed = corpus_gains(curve, gains).get(corpus)
        losses = law_losses(own)
        shown = anchored(curve, float(losses[0]), own[0].accuracy, own[0].weights, prior=spread, name="")
        of_corpus = Gain(nats=placed[0], sd=placed[1], basis="") if placed else None
        for number, (m, x) in enumerate(zip(own, losses, strict=True)):
            for given, gain in zip(GIVEN, (spread, of_corpus, shown if number else None), strict=True):
                if gain is None:
                    continue
                at = float(x) - gain.nats
                sd = float(np.hypot(curve.slope(at) * gain.sd, curve.scatter(m.weights)))
                found.append(LeftOutAccuracy(model=m, given=given, value=curve.accuracy(at), sd=sd))
    return tuple(found)


def placed_z(found: Sequence[LeftOutAccuracy]) -> float:
    """Return the deviations that hold 80 % of accuracies with a corpus or an anchor."""
    away = sorted(one.deviations for one in found if one.given != "neither")
    return away[min(ceil(0.8 * (len(away) + 1)), len(away)) - 1]


def range_z(found: Sequence[LeftOutAccuracy], one: LeftOutAccuracy) -> float:
    """Return the deviations of a prediction's range, as families other than its own show them."""
    others = [other for other in found if other.model.family != one.model.family]
    return ACCURACY_Z if one.given == "neither" else placed_z(others)


def accuracy_document() -> str:
    """Return the text of data/accuracy.toml."""
    models = family_models()
    curve, gains = fit_map(models)
    # the gains are drawn in by their prior: each is off by about this much again
    spread = float(np.hypot(np.std(list(gains.values()), ddof=1), 0.08))
    lines = [
        "# Written by benchmarks/quality/fit.py; do not edit. The map is sizer/quality/accuracy.py.",
        "# Percent, mean of eight zero-shot tasks; gains and deviations in nats, but map.sd in points.",
        "",
        "[map]",
        f"floor = {curve.floor:.4g}",
        f"top = {curve.top:.4g}",
        f"middle = {curve.middle:.4g}",
        f"width = {curve.width:.4g}",
        f"sd = {curve.sd:g}",
        "",
        "[ranges]",
        f"placed = {placed_z(left_out_accuracies()):.3f}",
        "",
        "[families]",
        f"sd = {spread:.3f}",
        *(f'"{family}" = {gain:.3f}' for family, gain in gains.items()),
        "",
    ]
    for name, (gain, sd, source) in sorted(corpus_gains(curve, gains).items()):
        lines += ["[[corpus]]", f'name = "{name}"', f"gain = {gain:.3f}", f"sd = {sd:.3f}"]
        lines += [f'source = "{source}"', ""]
    sources = {row["model"]: row["source"] for row in csv_rows("model_tokens.csv")}
    for model in known_tokens():
        lines += ["[[trained]]", f'name = "{model.name}"', f"weights = {model.weights:.4g}"]
        lines += [f"tokens = {model.tokens:g}", f'source = "{sources[model.name]}"', ""]
    return "\n".join(lines)
