"""Writes docs/quality.md: how well tables and families left out are predicted, bad rows included.

`python benchmarks/quality/page.py DIRECTORY`: DIRECTORY holds the two tables whose rows are not in this
repository (`benchmarks/quality/tables.py` names them).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.quality.baselines import by_count, by_old_law, one_size_rows, without_shape
from benchmarks.quality.causes import causes, epoch_rows
from benchmarks.quality.curves import bits_figure, crossings, depth_figure, depth_rows
from benchmarks.quality.families import GIVEN, left_out_accuracies, range_z
from benchmarks.quality.figure import loss_figure
from benchmarks.quality.learn import LeftOut, left_out, priors_without_each
from benchmarks.quality.tables import QualityTable, not_shipped, shipped
from benchmarks.quality.tasks import tasks_left_out
from search.stats.rank_correlation import spearman
from sizer.quality.accuracy import accuracy_map
from sizer.quality.bits import points_lost
from sizer.quality.constants import published_law
from sizer.quality.law import loss, shapes
from sizer.quality.posterior import fit_law
from sizer.quality.prediction import ACCURACY_Z
from tests.published_facts import csv_rows

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "quality.md"
FIGURE = ROOT / "docs" / "images" / "quality-losses.svg"
_Z_80 = 1.2815515655446004
# As sizer/quality/ladder.py narrows ranges of losses.
_RANGE = 0.9
_SHARE = 0.2

_TEXT = """\
# How good will it get

Written by `python benchmarks/quality/page.py DIRECTORY`; not edited by hand. The law is
`sizer/quality/law.py`, its constants `sizer/data/quality.toml`, the map from loss to accuracy
`sizer/quality/accuracy.py`.

## Tables left out

Each table is predicted by a law that its origin did not teach, calibrated on the cheapest fifth of its
runs by weights x tokens, as `sizer quality fit` does; errors are those of the other four fifths, in nats
(Marin's in bits a byte). *Inside*: share in the range meant to hold 80 %. *In-table*: residual of the
law fitted to the whole table, each run in full (elsewhere many runs count as few). Beside it: loss as a
straight line in the logarithm of weights (*counting*), the same law without shape and with a plain sum of
the two parts (*N-D*, Chinchilla's form, learned and calibrated alike), and the search's old law of depth
and width, which knows no tokens.

{tables}

![Predicted and published losses](images/quality-losses.svg)

What is bad: {bad}

{causes}

Runs that repeat their data, by how often (datablations): beyond 16 passes, models with more weights than
distinct tokens learn those by heart and get worse on others, up to 11 nats. `by_heart` in
`sizer/quality/law.py` has its five constants, and `REPETITIONS` its value, from these very runs. *Amount left
out*: the same with the five constants fitted without the runs of each number of distinct tokens;
larger amounts do not show what 100M tokens repeated hundreds of times cost.

{epochs}

## Models of one size

MobileLLM's ablations at 0.25T tokens (arXiv 2402.14905), which taught none of the law's constants but
were looked at when the U in head width was chosen; tau counts pairs within 10 % of weights. Gemstones:
all 22 shapes after that training, by the law that all other tables teach.

{sizes}

The bottom of the U in width / depth: {bottoms}. Deep and thin wins where a table of embeddings takes a
large part of the weights, since what counts are the weights outside it.

### Depth against width, by training length

Decoders of one number of weights, a tied vocabulary of 32,000 included, heads of 64: the best layers x hidden
size by the law, the depths within 0.005 nats of it, and what half and twice as many layers cost in nats.
Deep and thin wins with training length: the best depth grows with tokens, of small models most, whose table
takes the width. It does not win without end: twice the best depth costs about as much as half of it.

{depths}

![Loss by depth](images/quality-depth.svg)

## Accuracy

Families of models left out of the map (mean of eight zero-shot tasks, percent): without corpus or
anchor, with the other families of its corpus, and with the family's smallest model as an anchor. Ranges
with a corpus or an anchor are as wide as the other families left out show.

{families}

{family_rows}

Each of the eight tasks, by a separate map (`benchmarks/quality/tasks.py`); the family left out is placed by
its smallest model's mean of eight. BoolQ and OpenBookQA hardly move below 3B weights and are the least sure.

{tasks}

## Bits

Points of accuracy lost on Spectra (averages of six tasks at 300B tokens) against
`sizer/quality/bits.py`.

{bits}

At equal bytes of weights outside the embedding, accuracy after 1T tokens by the law, rounded after
training (trained below 2.2 bits), without corpus: the best number of bits is in bold.

{bytes}

Where fewer bits become better, of formats rounded after training:

{crossings}

![Accuracy by megabytes and bits](images/quality-bits.svg)

## Where it is not known

Ranges come from tables and families of decoders between 50M and 16B weights. Instruction tuning,
distillation and tasks other than the eight are not in them. Corpora are placed by few runs each.
"""


def main(directory: str) -> None:
    """Write the page and its figure."""
    tables = shipped() | not_shipped(Path(directory))
    asked = {name: table for name, table in tables.items() if name != "lts"}
    priors = priors_without_each(tables)
    found = {name: left_out(table, priors[table.origin], share=_SHARE) for name, table in asked.items()}
    plain = without_shape(tables)
    families, rows = families_left_out()
    TARGET.write_text(
        _TEXT.format(
            tables=_tables(asked, found, plain),
            bad=_bad(found),
            causes=causes(found),
            epochs=_table(
                ("passes", "runs", "error", "amount left out", "median", "predicted less published"),
                epoch_rows(found["datablations_repeated"]),
            ),
            sizes=_table(("", "counting", "depth", "old law", "the law"), one_size_rows()),
            bottoms=_bottoms(),
            families=families,
            family_rows=rows,
            bits=bits_table(),
            bytes=_bytes(),
            depths=_table(
                ("weights", "best", "as good", "half the layers", "twice the layers"), depth_rows()
            ),
            tasks=_tasks(),
            crossings=_table(("bits", "better"), crossings()),
        ),
        encoding="utf-8",
    )
    FIGURE.write_text(loss_figure(found), encoding="utf-8")
    (FIGURE.parent / "quality-depth.svg").write_text(depth_figure(), encoding="utf-8")
    (FIGURE.parent / "quality-bits.svg").write_text(bits_figure(), encoding="utf-8")


def _table(header: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _tables(
    asked: Mapping[str, QualityTable], found: Mapping[str, LeftOut], plain: Mapping[str, LeftOut]
) -> str:
    rows = []
    for name, result in found.items():
        table = asked[name]
        whole = fit_law(table.models, table.losses, published_law(), share=1.0).predict(table.models)[0]
        old = by_old_law(table)
        rank = spearman(result.predicted.tolist(), result.table.losses.tolist())
        rows.append(
            (
                name.replace("_", " "),
                f"{result.calibrated_on} of {len(table.losses)}",
                f"{result.rmse:.3f}",
                f"{rank:.4f}",
                f"{100 * np.mean(np.abs(result.errors) <= _RANGE * _Z_80 * result.sd):.0f} %",
                f"{np.sqrt(((whole - table.losses) ** 2).mean()):.4f}",
                f"{by_count(table, _SHARE):.3f}",
                f"{plain[name].rmse:.3f}",
                "-" if old is None else f"{old:.3f}",
            )
        )
    header = ("table", "runs used", "error", "Spearman", "inside", "in-table", "counting", "N-D", "old law")
    return _table(header, rows)


def _bad(found: Mapping[str, LeftOut]) -> str:
    """Return the tables that miss 0.05 nats or a rank correlation of 0.98, and their worst row."""
    texts = []
    for name, result in found.items():
        rank = spearman(result.predicted.tolist(), result.table.losses.tolist()) or 0
        if result.rmse <= 0.05 and rank >= 0.98:
            continue
        worst = int(np.abs(result.errors).argmax())
        texts.append(
            f"{name.replace('_', ' ')} (worst: `{result.table.names[worst]}`, "
            f"{result.table.losses[worst]:.2f}, predicted {result.predicted[worst]:.2f})"
        )
    return "; ".join(texts) + "."


def _tasks() -> str:
    """Return errors and ranges of each task of families left out."""
    rows = []
    for task, pairs in tasks_left_out().items():
        away, sd = np.array(pairs).T
        rows.append(
            (
                task,
                str(len(away)),
                f"{np.sqrt((away**2).mean()):.2f}",
                f"+-{ACCURACY_Z * sd.mean():.1f}",
                f"{100 * np.mean(np.abs(away) <= ACCURACY_Z * sd):.0f} %",
            )
        )
    return _table(("task", "models", "error, points", "mean range", "inside"), rows)


def _bottoms() -> str:
    parameters = published_law().mean
    ratios = np.geomspace(2, 500, 2000)
    texts = []
    for tokens in (4e9, 2e10, 3.5e11, 1e12):
        models = shapes(weights=np.full(len(ratios), 1e8), tokens=np.full(len(ratios), tokens), aspect=ratios)
        losses = loss(parameters, models)
        dear = losses[np.abs(ratios - 200).argmin()] - losses.min()
        texts.append(
            f"{ratios[losses.argmin()]:.0f} after {tokens / 1e9:,.0f}B tokens (200 costs {dear:.3f} nats)"
        )
    return ", ".join(texts)


def families_left_out() -> tuple[str, str]:
    """Return the summary of families left out, and the rows."""
    found = left_out_accuracies()
    rows: dict[str, list[str]] = {}
    for one in found:
        cells = rows.setdefault(one.model.name, [one.model.name, f"{one.model.accuracy:.1f}", *"---"])
        half = range_z(found, one) * one.sd
        cells[2 + GIVEN.index(one.given)] = (
            f"{one.value:.1f} ({one.value - half:.1f} to {one.value + half:.1f})"
        )
    summary = []
    for given in GIVEN:
        own = [one for one in found if one.given == given]
        away = np.array([one.value - one.model.accuracy for one in own])
        half_ranges = np.array([range_z(found, one) * one.sd for one in own])
        summary.append(
            (
                given,
                str(len(own)),
                f"{np.sqrt((away**2).mean()):.2f}",
                f"+-{half_ranges.mean():.1f}",
                f"{100 * np.mean(np.abs(away) <= half_ranges):.0f} %",
            )
        )
    header = ("given", "models", "error, points", "mean range", "inside")
    return (
        _table(header, summary),
        _table(("model", "published", "neither", "with its corpus", "with an anchor"), list(rows.values())),
    )


def bits_table() -> str:
    rows = [r for r in csv_rows("quality_tables.csv") if r["table"] == "spectra"]
    full = {r["params_total"]: float(r["average"]) for r in rows if r["bits"] == "16"}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row["bits"] == "16":
            continue
        trained = not row["model"].startswith("QuantLM")
        ratio = float(row["tokens"]) / float(row["params_nonembedding"])
        lost = points_lost(float(row["bits"]), tokens_per_weight=ratio, trained=trained)
        key = row["bits"], "trained" if trained else "rounded"
        found.setdefault(key, []).append((full[row["params_total"]] - float(row["average"]), lost))
    texts = []
    for (bits, how), pairs in sorted(found.items(), key=lambda item: -float(item[0][0])):
        seen, said = np.array(pairs).T
        texts.append(
            (
                f"{bits}, {how}",
                str(len(pairs)),
                f"{seen.min():.1f} to {seen.max():.1f}",
                f"{said.min():.1f} to {said.max():.1f}",
                f"{np.sqrt(((seen - said) ** 2).mean()):.2f}",
            )
        )
    return _table(("bits", "models", "lost", "said", "error, points"), texts)


def _bytes() -> str:
    """Return accuracies by bytes and bits, the best of each number of bytes in bold."""
    curve, every = accuracy_map(), (1.58, 2.5, 3.0, 4.0, 6.0, 8.0)
    rows = []
    for megabytes in (25, 50, 100, 200, 400, 800):
        values = []
        for bits in every:
            weights = megabytes * 8e6 / bits
            x = loss(published_law().mean, shapes(weights=np.array([weights]), tokens=np.array([1e12])))
            values.append(curve.accuracy(float(x[0])) - points_lost(bits, tokens_per_weight=1e12 / weights))
        best = int(np.argmax(values))
        rows.append(
            (f"{megabytes} MB", *(f"**{v:.1f}**" if n == best else f"{v:.1f}" for n, v in enumerate(values)))
        )
    return _table(("weights", *(f"{bits:g} bits" for bits in every)), rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
