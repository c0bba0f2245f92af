"""The page of the replay and its figure: text and SVG from what benchmarks/replay/replay.py finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.replay.replay import (
    SEEDS,
    START,
    TRIALS,
    billions,
    climb,
    counter_taus,
    extrapolate,
    final_front,
    kept_by_loss,
    kept_of_front,
    law_on_lts,
    mean_regrets,
    regret_curve,
    trust_at,
)
from search.quality.law import LawSettings
from search.schedule.rungs import RungSettings

_DRAWS = 30
# What the search's former law was off by and held, by docs/replay.md of commit bf48ee9.
_FORMER = (
    (16e9, -0.100, 4),
    (32e9, -0.089, 6),
    (64e9, -0.041, 6),
    (100e9, -0.045, 6),
    (150e9, -0.035, 6),
    (200e9, -0.014, 6),
    (250e9, -0.031, 6),
    (300e9, -0.037, 6),
    (350e9, -0.035, 6),
)
_BINS = (1, 2, 3, 4, 5, 6)

_HEAD = """\
# The search, replayed

Written by `make replay`; do not edit. The search's rungs, law and proposals (`search/schedule/rungs.py`,
`search/quality/law.py`, `search/quality/acquisition.py`, `search/analysis/reliability.py`) run on two tables
of models that others trained, without training anything: Gemstones (22 shapes of depth and width, 48M to 2B
weights, 175 checkpoints each up to 350B tokens) and Lite Transformer Search (LTS, 200 GPT-2-like decoders on
WikiText-103 with heads and feed-forward widths that differ by layer). Pairs of one size differ by less than
10 % in bytes; tau counts ordered pairs right less wrong over both. Each table is replayed with the law that
all other tables teach (`benchmarks/quality/left_out.toml`). How a fit averages over the spread of the law's
constants and over deviations was chosen after seeing both (below)."""

_HALVING = """\
## Halving keeps the front

Of the {front} Gemstones shapes on the final front, those that keeping half (11 of 22) at a rung keeps; 11
is the most there is. By loss alone, small models are lost. `first rung` also keeps the deepest and the
shallowest of each of 4 bins, whatever they scored, and so more models."""

_LADDERS = """\
All the way: rungs at the given tokens, `eta` as given, 4 bins. Tokens are those of all runs together, as a
share of training all 22 to the end."""

_LAW = """\
## The law ranks models of one size

Fitted to so many LTS models drawn at random, {draws} draws. *Left out*: each drawn model predicted from the
other drawn ones, pairs of all draws together. *Others*: models not drawn. *Without embedding* matches pairs
on weights outside the embedding, as the notes of this project do: there the counters are at their worst.
*Inside*: share of the others inside the law's 80 % interval."""

_COUNTERS = """\
Counting, over all 200: parameters {p:.2f} ({pn:.2f} without embedding), attention parameters {a:.2f}
({an:.2f})."""

_SENSITIVITY = """\
What the choices matter, with 24 models (8 where it says so):"""

_BEYOND = """\
## The law beyond what it has seen

Fitted to the 12 Gemstones shapes below 150M weights, asked of the 6 of 1B and 2B, all at the same number of
tokens. Errors in nats. The size law (loss over the number of weights alone) is nearer in loss where it is,
but says nothing of shapes of one size. The six errors of a row go together, so rows, not models, are what
coverage is counted over. *Former law*: bias and models inside by the law of depth and width that the search
had before (commit bf48ee9), which knew no tokens."""

_REGRET = """\
## Proposals find the front sooner

LTS again: {start} models at random, then one at a time by expected hypervolume improvement under the law
fitted to those seen, with constants freer than elsewhere (`PROPOSALS` in `search/quality/law.py`), against
going on at random from the same start; {seeds} seeds. Regret is the share of the hypervolume (log bytes by
loss) of all 200 that is missing.

![Regret by trial](images/replay-regret.svg)"""

_TRUST = """\
## What `trust` would have said

Gemstones after so many tokens against the end: {pairs} pairs of one size among 22 shapes; ranges are 80 %,
over shapes drawn anew. Counting parameters has a tau of {p:.2f} there, attention parameters {a:.2f}, the
quality law (left out) {q:.2f}."""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _halving() -> list[str]:
    rows = []
    for tokens in (2e9, 4e9, 8e9, 16e9, 24e9, 32e9, 48e9, 64e9, 128e9):
        first = kept_of_front(tokens, bins=4, first_rung=True)
        kept = [kept_of_front(tokens, bins=bins)[0] for bins in _BINS]
        rows.append([billions(tokens), kept_by_loss(tokens), *kept, f"{first[0]} (of {first[1]})"])
    head = ["tokens", "by loss", *(f"{b} bins" if b > 1 else "1 bin" for b in _BINS), "first rung"]
    ladders = []
    for rungs in ((350e9 / 9, 350e9 / 3, 350e9), (32e9, 350e9)):
        for eta in (2.0, 3.0):
            found = climb(rungs, RungSettings(eta=eta))
            names = ", ".join(f"{tokens / 1e9:.0f}B" for tokens in found.rungs)
            ladders.append([names, f"{eta:g}", found.finalists, found.of_front, f"{found.cost:.0%}"])
    return [
        _HALVING.format(front=len(final_front())),
        _table(head, rows),
        _LADDERS,
        _table(["rungs", "eta", "finalists", "of the front", "tokens"], ladders),
    ]


def _law() -> list[str]:
    rows = []
    for shapes in (8, 12, 24, 48):
        s = law_on_lts(shapes, seeds=_DRAWS)
        rows.append(
            [
                shapes,
                f"{s.left_out_tau:.2f} ({s.left_out_pairs} pairs)",
                f"{s.tau:.2f} (worst {s.worst_tau:.2f})",
                f"{s.tau_non_embedding:.2f}",
                f"{s.error:.3f}",
                f"{s.coverage:.0%}",
            ]
        )
    head = ["models", "left out, tau", "others, tau", "without embedding", "error, nats", "inside"]
    (p, pn), (a, an) = (
        counter_taus(lambda row: row.features.parameters),
        counter_taus(lambda row: row.features.attention_parameters),
    )
    choices = {
        "as it is": law_on_lts(24, seeds=_DRAWS),
        "constants spread as between tables": law_on_lts(
            24, seeds=_DRAWS, settings=LawSettings(spreads=(1.0,))
        ),
        "spread twice as far": law_on_lts(24, seeds=_DRAWS, settings=LawSettings(spreads=(2.0,))),
        "spread ten times as far": law_on_lts(24, seeds=_DRAWS, settings=LawSettings(spreads=(10.0,))),
        "next to no deviations": law_on_lts(24, seeds=_DRAWS, settings=LawSettings(looseness=(0.001,))),
        "8 models": law_on_lts(8, seeds=_DRAWS),
        "8 models, spread ten times as far": law_on_lts(
            8, seeds=_DRAWS, settings=LawSettings(spreads=(10.0,))
        ),
    }
    lines = [
        [name, f"{s.left_out_tau:.2f}", f"{s.tau:.2f}", f"{s.error:.3f}", f"{s.coverage:.0%}"]
        for name, s in choices.items()
    ]
    return [
        _LAW.format(draws=_DRAWS),
        _table(head, rows),
        _COUNTERS.format(p=p, pn=pn, a=a, an=an),
        _SENSITIVITY,
        _table(["choice", "left out, tau", "others, tau", "error, nats", "inside"], lines),
    ]


def _beyond() -> list[str]:
    rows = []
    for tokens, former_bias, former_inside in _FORMER:
        e = extrapolate(tokens)
        rows.append(
            [
                billions(tokens),
                f"{e.tau:.2f}",
                f"{e.bias:+.3f}",
                f"{e.error:.3f}",
                f"{e.sd:.3f}",
                f"{e.inside} of {e.large}",
                f"{e.size_law_error:.3f}",
                f"{former_bias:+.3f}",
                f"{former_inside} of {e.large}",
            ]
        )
    head = [
        "tokens",
        "tau",
        "bias",
        "error",
        "deviation given",
        "inside 80 %",
        "size law's error",
        "former law: bias",
        "inside",
    ]
    return [_BEYOND, _table(head, rows)]


def _regret() -> list[str]:
    rows = []
    for after in (START, 12, 16, 20, 30, 40):
        guided, at_random, better = mean_regrets(range(SEEDS), after)
        ratio = f"{guided / at_random:.2f}"
        rows.append([after, f"{guided:.3f}", f"{at_random:.3f}", ratio, f"{better} of {SEEDS}"])
    head = ["trials", "guided", "random", "ratio", "guided lower in"]
    return [_REGRET.format(start=START, seeds=SEEDS), _table(head, rows)]


def _trust() -> list[str]:
    rows = []
    report = trust_at(350e9)
    for tokens in (2e9, 4e9, 8e9, 16e9, 32e9, 64e9):
        r = trust_at(tokens)
        tau = f"{r.tau_10pct.value:.2f} ({r.tau_10pct.low:.2f} to {r.tau_10pct.high:.2f})"
        rows.append([billions(tokens), f"{r.spearman:.3f}", tau, f"{r.top_recall:.2f}", r.verdict])
    values = {name: tau.value for name, tau in report.baselines.items()}
    text = _TRUST.format(
        pairs=report.pairs,
        p=values["parameters"],
        a=values["attention_parameters"],
        q=values["quality_law"],
    )
    return [text, _table(["tokens", "Spearman", "10 %-pairs tau", "top-fifth recall", "verdict"], rows)]


def document() -> str:
    """Text of docs/replay.md."""
    parts = [_HEAD, *_halving(), *_law(), *_beyond(), *_regret(), *_trust()]
    return "\n\n".join(parts) + "\n"


_WIDTH, _HEIGHT, _MARGIN = 620, 380, 56
_COLORS = {"guided": "#0072b2", "random": "#999999"}


def regret_figure() -> str:
    """SVG of mean regret by trial, guided and at random, with the middle 80 % of the seeds."""
    curves = [regret_curve(seed) for seed in range(SEEDS)]
    values = {
        "guided": np.array([c.guided for c in curves]),
        "random": np.array([c.random for c in curves]),
    }
    top = 0.4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for share in (0.0, 0.1, 0.2, 0.3, 0.4):
        y = _y(share, top)
        parts.append(f'<line x1="{_MARGIN}" y1="{y:.1f}" x2="{_WIDTH - 16}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_MARGIN - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.1f}</text>')
    for trial in (START, 20, 30, TRIALS):
        x = _x(trial)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _MARGIN + 18}" text-anchor="middle">{trial}</text>')
    trials = range(START, TRIALS + 1)
    for name, found in values.items():
        low, high = np.quantile(found, (0.1, 0.9), axis=0)
        band = [(t, high[t - 1]) for t in trials] + [(t, low[t - 1]) for t in reversed(trials)]
        parts.append(f'<polygon points="{_path(band, top)}" fill="{_COLORS[name]}" fill-opacity="0.2"/>')
        mean = [(t, float(found[:, t - 1].mean())) for t in trials]
        parts.append(
            f'<polyline points="{_path(mean, top)}" fill="none" stroke="{_COLORS[name]}" stroke-width="2"/>'
        )
    for place, name in enumerate(_COLORS):
        y = 24 + 18 * place
        parts.append(f'<rect x="{_WIDTH - 130}" y="{y - 10}" width="14" height="10" fill="{_COLORS[name]}"/>')
        parts.append(f'<text x="{_WIDTH - 110}" y="{y}">{name}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 12}" text-anchor="middle">models trained</text>')
    parts.append(
        f'<g transform="rotate(-90 16 {_HEIGHT / 2})"><text x="16" y="{_HEIGHT / 2}" text-anchor="middle">'
        "hypervolume regret</text></g>"
    )
    return "\n".join([*parts, "</svg>", ""])


def _x(trial: float) -> float:
    return _MARGIN + (trial - START) / (TRIALS - START) * (_WIDTH - _MARGIN - 16)


def _y(share: float, top: float) -> float:
    return 16 + (1 - min(share, top) / top) * (_HEIGHT - _MARGIN - 16)


def _path(points: Iterable[tuple[float, float]], top: float) -> str:
    return " ".join(f"{_x(x):.1f},{_y(y, top):.1f}" for x, y in points)
