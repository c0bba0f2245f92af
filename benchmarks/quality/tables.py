"""Published tables of losses over shape, tokens and bits, as columns of the law (`sizer/quality/law.py`).

Most rows lie in tests/data/quality_tables.csv. Epoch's Chinchilla points (data/svg_extracted_data.csv of
epoch-research/analyzing-chinchilla@9225883742) and Marin's runs (data/runs.json of
marin-community/speedrun@8c942e9bec) come without a licence: who has them as chinchilla_svg.csv and
marin_speedrun.csv gives their directory, and only constants fitted to them are in the package.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import fmean

import numpy as np

from sizer.quality.law import Floats, TrainedShapes, shapes
from sizer.quality.weights import outside_embedding
from tests.published_facts import csv_rows

NAN = float("nan")
# Tables of one origin: left out together.
ORIGIN = {
    "gemstones_cooled": "Gemstones",
    "gemstones_half_rate": "Gemstones",
    "gemstones_constant": "Gemstones",
    "gemstones_hot": "Gemstones",
    "olmo_ladder": "OLMo ladder",
    "cerebras_gpt": "Cerebras-GPT",
    "datablations": "datablations",
    "datablations_repeated": "datablations",
    "chinchilla": "Chinchilla",
    "marin": "Marin",
    "lts": "LTS",
}
# Most rows of one table that the prior is fitted to.
_MOST_ROWS = 60

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityTable:
    """One table: its models, their losses in nats (Marin's in bits a byte) and names."""

    name: str
    models: TrainedShapes
    losses: Floats
    names: tuple[str, ...]

    @property
    def origin(self) -> str:
        """Who trained them."""
        return ORIGIN[self.name]

    def select(self, some: np.ndarray) -> QualityTable:
        """Return some of its rows."""
        rows = np.arange(len(self.losses))[some]
        return QualityTable(
            name=self.name,
            models=self.models.select(rows),
            losses=self.losses[rows],
            names=tuple(self.names[row] for row in rows),
        )

    def thinned(self) -> QualityTable:
        """Return evenly spaced rows, few enough for a fit."""
        count = len(self.losses)
        if count <= _MOST_ROWS:
            return self
        return self.select(np.linspace(0, count - 1, _MOST_ROWS).astype(np.int64))


def shipped() -> dict[str, QualityTable]:
    """Return the tables with losses of tests/data."""
    rows = csv_rows("quality_tables.csv")
    with_loss = [row for row in rows if row["loss_nats"]]
    found = {
        name: _table(name, [row for row in with_loss if row["table"] == name])
        for name in dict.fromkeys(row["table"] for row in with_loss)
    }
    repeated = found["datablations"]
    # models below 45M and runs below 1B tokens were trained too little to be compared (issue of its authors)
    known = (repeated.models.weights > 45e6) & (repeated.models.tokens > 1e9)
    found["datablations_repeated"] = _renamed(repeated.select(known), "datablations_repeated")
    once = known & (repeated.models.tokens <= 1.0001 * repeated.models.unique_tokens)
    found["datablations"] = repeated.select(once)
    return found | {"gemstones_hot": _hot(), "lts": _lts()}


def not_shipped(directory: Path) -> dict[str, QualityTable]:
    """Return the tables without a licence, where somebody has them."""
    found = {}
    for name, file, loss in (
        ("chinchilla", "chinchilla_svg.csv", "loss_nats"),
        ("marin", "marin_speedrun.csv", "bpb"),
    ):
        path = directory / file
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as stream:
                found[name] = _table(name, list(csv.DictReader(stream)), loss)
    return found


def _renamed(table: QualityTable, name: str) -> QualityTable:
    return QualityTable(name=name, models=table.models, losses=table.losses, names=table.names)


def _number(row: Row, key: str) -> float:
    return float(row[key]) if row.get(key) else NAN


def _table(name: str, rows: Sequence[Row], loss: str = "loss_nats") -> QualityTable:
    def column(value: Callable[[Row], float]) -> Floats:
        return np.array([value(row) for row in rows], np.float64)

    return QualityTable(
        name=name,
        models=shapes(
            weights=column(_weights),
            tokens=column(lambda row: _number(row, "tokens")),
            unique_tokens=column(lambda row: _number(row, "unique_tokens")),
            aspect=column(lambda row: _number(row, "width") / _number(row, "layers")),
            head_dim=column(lambda row: _number(row, "head_dim")),
            ffn_ratio=column(_ffn_ratio),
        ),
        losses=column(lambda row: _number(row, loss)),
        names=tuple(row["model"] for row in rows),
    )


def _weights(row: Row) -> float:
    known = _number(row, "params_nonembedding")
    total = _number(row, "params_total")
    return known if known == known else outside_embedding(total, _number(row, "vocab"))


def _ffn_ratio(row: Row) -> float:
    matrices = 2 if row.get("ffn_kind") in ("gelu", "relu2") else 3
    heads, kv_heads = _number(row, "heads"), _number(row, "kv_heads")
    kv_heads = kv_heads if kv_heads == kv_heads else heads
    return matrices * _number(row, "ffn") / (2 * (heads + kv_heads) * _number(row, "head_dim"))


def _hot() -> QualityTable:
    """Return Gemstones' training losses at a constant rate, every fifth checkpoint from 10B tokens."""
    rows = [r for r in csv_rows("gemstones.csv") if float(r["tokens"]) > 9.9e9]
    rows = [r for r in rows if round(float(r["tokens"]) / 2.000683008e9) % 5 == 0]
    known = {r["model"]: r for r in csv_rows("quality_tables.csv") if r["table"] == "gemstones_constant"}
    return _table(
        "gemstones_hot",
        [
            known[f"Gemstone-{r['width']}x{r['depth']}"] | {"tokens": r["tokens"], "loss_nats": r["loss"]}
            for r in rows
        ],
    )


def _lts() -> QualityTable:
    """Return Lite Transformer Search's decoders whose embedding is as wide as they are or wider."""
    rows = [r for r in csv_rows("lts_gpt2_wikitext103.csv") if int(r["d_embed"]) >= int(r["d_model"])]
    width = np.array([float(r["d_model"]) for r in rows])
    heads = [fmean(log(int(text)) for text in r["n_head"].split()) for r in rows]
    return QualityTable(
        name="lts",
        models=shapes(
            weights=np.array([float(r["params_nonembedding"]) for r in rows]),
            # the table does not say how many; all had the same, and levels are a table's own
            tokens=np.full(len(rows), 1e9),
            aspect=width / np.array([float(r["n_layer"]) for r in rows]),
            head_dim=width / np.array([exp(h) for h in heads]),
            ffn_ratio=np.array([float(r["params_ffn"]) / float(r["params_attention"]) for r in rows]),
        ),
        losses=np.array([log(float(r["valid_ppl"])) for r in rows]),
        names=tuple(r["id"] for r in rows),
    )
