"""Carries losses from narrow to wide models of the replay tables; writes docs/proxies.md (`make replay`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.quality.learn import stored_prior_without
from benchmarks.replay import proxies
from benchmarks.replay.model_tables import TOKENS_PER_STEP, gemstones, gemstones_step, lts
from search.quality.features import LawRow, ShapeFeatures
from search.quality.law import fit_law
from search.stats.rank_correlation import kendall, tau_of_one_size
from sizer.quality.posterior import Prior

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "proxies.md"

SCALE = 0.25  # of the stand-ins from which a gain is counted
NARROW = 512  # widest Gemstones shape that counts as a proxy
TOKENS = (2e9, 4e9, 6e9, 8e9, 16e9, 32e9, 64e9, 128e9, 350e9)
DRAWS = 20
_Z_80 = 1.2815515655446004
_SAME_DEPTH = (
    1.17  # depths that differ by less count as one, where a residual is looked for at the same depth
)


class Carry(NamedTuple):
    """Wide models predicted from narrow ones; losses in nats, means over the wide models."""

    tau: float
    tau_of_one_size: float
    bias: float
    error: float  # root mean square
    gain: float  # foreseen, from a quarter of the width
    error_of_gain: float  # root mean square of error over gain
    sd: float  # that the law gave
    inside: float  # share of the wide models in their 80 % range


def narrower(shape: ShapeFeatures) -> ShapeFeatures:
    """The same shape at a quarter of its width."""
    return replace(shape, width=SCALE * shape.width)


def carry(narrow: Sequence[LawRow], wide: Sequence[LawRow], *, prior: Prior) -> Carry:
    """Fit to the narrow, ask of the wide, as `search/analysis/extrapolation.py` does."""
    models = [row.features for row in wide]
    law = fit_law(narrow, prior=prior)
    losses = np.array([row.loss for row in wide])
    values, sd = law.predict_arrays(models)
    errors, gains = values - losses, law.predict_arrays([narrower(shape) for shape in models])[0] - values
    sizes = [row.size_bytes for row in wide]
    return Carry(
        tau=kendall(values.tolist(), losses.tolist()) or 0.0,
        tau_of_one_size=tau_of_one_size(values.tolist(), losses.tolist(), sizes) or 0.0,
        bias=float(errors.mean()),
        error=_root_mean_square(errors),
        gain=float(gains.mean()),
        error_of_gain=_root_mean_square(errors / gains),
        sd=float(sd.mean()),
        inside=float(np.mean(np.abs(errors) <= _Z_80 * sd)),
    )


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def gemstones_sides(tokens: float) -> tuple[list[LawRow], list[LawRow]]:
    """Gemstones' narrow and wide shapes after so many tokens; 3 x 768, narrow for its size, is neither."""
    rows = gemstones(gemstones_step(tokens))
    narrow = [row for row in rows if row.features.width <= NARROW]
    return narrow, [row for row in rows if row.features.width > NARROW and row.features.depth > 3]


def gemstones_carry(tokens: float) -> Carry:
    """Ten wide Gemstones from eleven narrow ones."""
    return carry(*gemstones_sides(tokens), prior=stored_prior_without("Gemstones"))


def by_distance(tokens: float) -> list[tuple[str, int, float, float, float]]:
    """Wide models by their width over the widest proxy's: number, bias, error, deviation given."""
    narrow, wide = gemstones_sides(tokens)
    found = []
    for low, high in ((1.5, 2.5), (3.0, 4.0), (5.0, 6.0)):
        some = [row for row in wide if low <= row.features.width / NARROW <= high]
        c = carry(narrow, some, prior=stored_prior_without("Gemstones"))
        found.append((f"{low:g} to {high:g}", len(some), c.bias, c.error, c.sd))
    return found


def residuals_at_one_depth(tokens: float) -> tuple[int, float]:
    """Pairs of a narrow and a wide shape of one depth, and the correlation of what the law misses of both."""
    narrow, wide = gemstones_sides(tokens)
    law = fit_law(narrow, prior=stored_prior_without("Gemstones"))
    missed = {
        row.name: row.loss - value
        for rows in (narrow, wide)
        for row, value in zip(rows, law.predict_arrays([r.features for r in rows])[0], strict=True)
    }
    pairs = [
        (missed[n.name], missed[w.name])
        for n in narrow
        for w in wide
        if abs(log(n.features.depth / w.features.depth)) < log(_SAME_DEPTH)
    ]
    return len(pairs), float(np.corrcoef(np.array(pairs).T)[0, 1])


def lts_wide() -> list[LawRow]:
    """The widest LTS decoders."""
    return [m.row for m in lts() if m.row.features.width == 512]


def lts_carry(widest: int, shapes: int, *, draws: int = DRAWS) -> Carry:
    """All LTS decoders 512 wide from so many of at most `widest`, drawn at random; mean of draws."""
    narrow = [m.row for m in lts() if m.row.features.width <= widest]
    wide = lts_wide()
    found = []
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(narrow))[:shapes]
        found.append(carry([narrow[i] for i in order], wide, prior=stored_prior_without("LTS")))
    return Carry(*np.mean(np.array(found), axis=0).tolist())


def counting_taus(wide: Sequence[LawRow]) -> tuple[float, float]:
    """Kendall's tau and the 10 %-pairs tau of counting the wide models' weights."""
    counts, losses = [-row.features.parameters for row in wide], [row.loss for row in wide]
    return (
        kendall(counts, losses) or 0.0,
        tau_of_one_size(counts, losses, [row.size_bytes for row in wide]) or 0.0,
    )


_HEAD = """\
# From narrow proxies to wide models

Written by `make replay`; do not edit. A search of models too large to train (`proxy_width_scale`) trains
narrower proxies of the same depth and extrapolates their scores with the quality law fitted to them
(`search/analysis/extrapolation.py`). Here the same law, taught by all other tables, is given narrow models of
two tables that others trained, and asked of the wide ones, whose losses are known. Losses in nats; ranges are
meant to hold 80 %.

**What holds.** From 4B tokens (954 steps) on, wide Gemstones come out in order, inside the range and within
0.05 nats, and those of one size far better than by counting. On the other table models of one size come out
better than by counting as well, with errors of 0.04 to 0.1 nats.

**What does not.** After 500 steps wide models have not yet gained what they will: losses are foreseen
0.15 nats too low, and their order is lost.

**The proxies' own order** is worth less than the order extrapolated. No table holds models and their
proxies at one scale; of the few, small ones trained here for it (last section) the order extrapolated
agrees with the models' own better than counting weights does, that of the proxies' scores worse. So a
frontier is that of the scores extrapolated (`search/analysis/ranking.py`).

**Not tested.** Other vocabularies and formats than the models', and more than one seed."""

_GEMSTONES = """\
## Gemstones

Eleven shapes up to {narrow} wide (48M to 117M weights, 11 to 80 layers) against ten of 768 to 3072 (0.5B
to 2B, 7 to 50 layers), after the same steps of about 4M tokens. *One size*: pairs within 10 % of their
bytes; *counting*: both taus of counting weights. *Gain*: what the law foresees from a quarter of the
width."""

_DISTANCE = """\
How far the losses are extrapolated: wide models by their width over that of the widest proxy."""

_RESIDUALS = """\
What a proxy scores above or below the law says next to nothing of wide models of its depth. Correlation
of what the law misses, over {pairs} pairs whose depths differ by less than a sixth: {found}. So what is
extrapolated is the law's word alone."""

_LTS = """\
## Lite Transformer Search

So many decoders drawn at random, 64 to 256 or 64 to 128 wide, against all {wide} that are 512 wide,
trained to the end on WikiText-103; means of {draws} draws. Heads and feed-forward widths differ by layer
in both. Counting weights: tau {tau:.2f}, of one size {one:.2f}. Ranges are the law's own: this table had
no part in them. From one width alone nothing can be extrapolated, and nothing is."""


_TRAINED = """\
## Trained here

{count} byte-level decoders of 2 to 6 layers, 128 to 256 wide, and their proxies at a quarter of the
width, trained alike by the search's own trainer: {steps:,} steps of {batch} x {seq} bytes of `builtin`,
in 16 bits, one seed (`python benchmarks/replay/proxies.py`). Bits per byte. Kendall's tau with the models'
own scores: proxies' scores {by_proxy:.2f}, extrapolated {by_law:.2f}, counting weights {by_counting:.2f}.
Inside the range: {inside} of {count}; bias {bias:+.3f}. The frontier of weights and the models' own scores
has {on_front} of them. The frontier by the scores extrapolated has {law_right} of these and {law_wrong}
others, that by the proxies' scores {proxy_right} and {proxy_wrong} others."""


def _trained() -> list[str]:
    found = proxies.trained()
    by_proxy, by_law, by_counting = proxies.taus(found)
    fronts = proxies.fronts(found)
    inside = [one.extrapolated.low <= one.model_bits <= one.extrapolated.high for one in found]
    text = _TRAINED.format(
        count=len(found),
        steps=proxies.STEPS,
        batch=proxies.BATCH,
        seq=proxies.SEQ_LEN,
        by_proxy=by_proxy,
        by_law=by_law,
        by_counting=by_counting,
        inside=sum(inside),
        on_front=len(fronts.true),
        law_right=len(fronts.by_law & fronts.true),
        law_wrong=len(fronts.by_law - fronts.true),
        proxy_right=len(fronts.by_proxy & fronts.true),
        proxy_wrong=len(fronts.by_proxy - fronts.true),
        bias=float(np.mean([one.extrapolated.value - one.model_bits for one in found])),
    )
    rows = [
        [
            one.model.name,
            f"{one.proxy_bits:.3f}",
            f"{one.model_bits:.3f}",
            f"{one.extrapolated.value:.3f} ({one.extrapolated.low:.3f} to {one.extrapolated.high:.3f})",
        ]
        for one in found
    ]
    return [text, _table(["layers x width", "proxy", "model", "extrapolated"], rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _gemstones_rows() -> list[list[str]]:
    rows = []
    for tokens in TOKENS:
        c, step = gemstones_carry(tokens), gemstones_step(tokens)
        wide = gemstones_sides(tokens)[1]
        counting = " ".join(f"{tau:.2f}" for tau in counting_taus(wide))
        rows.append(
            [
                f"{step:,}",
                f"{step * TOKENS_PER_STEP / 1e9:.0f}B",
                f"{c.tau:.2f}",
                f"{c.tau_of_one_size:.2f}",
                counting,
                f"{c.bias:+.3f}",
                f"{c.error:.3f}",
                f"{c.gain:.3f}",
                f"{c.error_of_gain:.2f}",
                f"{c.sd:.3f}",
                f"{round(c.inside * len(wide))} of {len(wide)}",
            ]
        )
    return rows


def _lts_rows() -> list[list[str]]:
    rows = []
    for widest in (256, 128):
        for shapes in (12, 24, 48):
            c = lts_carry(widest, shapes)
            rows.append(
                [
                    f"{512 // widest}",
                    f"{shapes}",
                    f"{c.tau:.2f}",
                    f"{c.tau_of_one_size:.2f}",
                    f"{c.bias:+.3f}",
                    f"{c.error:.3f}",
                    f"{c.error_of_gain:.2f}",
                    f"{c.sd:.3f}",
                    f"{c.inside:.0%}",
                ]
            )
    return rows


def document() -> str:
    """Text of docs/proxies.md."""
    shared = ["tau", "one size"]
    distance = [
        [f"{gemstones_step(tokens):,}", ratio, count, f"{bias:+.3f}", f"{error:.3f}", f"{sd:.3f}"]
        for tokens in (4e9, 32e9, 350e9)
        for ratio, count, bias, error, sd in by_distance(tokens)
    ]
    residuals = [(gemstones_step(t), *residuals_at_one_depth(t)) for t in (4e9, 8e9, 32e9, 350e9)]
    wide = lts_wide()
    tau, one = counting_taus(wide)
    parts = [
        _HEAD,
        _GEMSTONES.format(narrow=NARROW),
        _table(
            ["steps", "tokens", *shared, "counting", "bias", "error", "gain", "error over gain"]
            + ["deviation given", "inside"],
            _gemstones_rows(),
        ),
        _DISTANCE,
        _table(["steps", "times as wide", "models", "bias", "error", "deviation given"], distance),
        _RESIDUALS.format(
            pairs=residuals[0][1], found=", ".join(f"{r:+.2f} after {s:,} steps" for s, _, r in residuals)
        ),
        _LTS.format(wide=len(wide), draws=DRAWS, tau=tau, one=one),
        _table(
            ["times as wide, at least", "models", *shared, "bias", "error", "error over gain"]
            + ["deviation given", "inside"],
            _lts_rows(),
        ),
        *_trained(),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
