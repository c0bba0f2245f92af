"""The reference table read back: deployed models of it, their runs, and what they score by all seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.reference.models import FORMATS, MODELS, RUNTIME
from search.analysis.decisions.points import ModelPoint, Observation, model_point
from search.analysis.decisions.questions import ONE_SIZE
from search.store.results import Candidate

TABLE = Path(__file__).with_name("table.jsonl")
BATCH_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One score: of a model in a format, after a length of training with a seed."""

    model: str
    format: str
    seed: int
    steps: int
    tokens: float  # cool-down included
    bits_per_byte: float
    scoring_sd: float
    cpu_s: float  # of training from the first step, by the same thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Models of which every seed is there, and their scores."""

    names: tuple[str, ...]  # of models
    points: tuple[ModelPoint, ...]  # of each model in each format
    rows: tuple[TableRow, ...]
    longest: int  # steps

    @property
    def target_tokens(self) -> float:
        """Tokens of the longest runs."""
        return max(row.tokens for row in self.rows)

    @property
    def spared_seed(self) -> int:
        """The last seed: studies that choose their runs never train it."""
        return max(row.seed for row in self.rows)

    def place(self, row: TableRow) -> int:
        """Return the place of a row's point."""
        return self.names.index(row.model) * len(FORMATS) + FORMATS.index(row.format)

    def observations(self, rows: Sequence[TableRow]) -> tuple[Observation, ...]:
        """Return rows as a study would have them."""
        return tuple(
            Observation(
                point=self.place(row),
                seed=row.seed,
                tokens=row.tokens,
                bits_per_byte=row.bits_per_byte,
                scoring_sd=row.scoring_sd,
            )
            for row in rows
        )

    def truth(self, seeds: Sequence[int]) -> dict[int, float]:
        """Return the mean log bits per byte of each point after the longest runs, over some seeds."""
        found: dict[int, list[float]] = {}
        for row in self.rows:
            if row.steps == self.longest and row.seed in seeds:
                found.setdefault(self.place(row), []).append(float(np.log(row.bits_per_byte)))
        return {place: fmean(values) for place, values in found.items()}

    def duels(self) -> tuple[tuple[int, int], ...]:
        """Return pairs of points of one file size, two shapes in one format once only."""
        found, same = [], set()
        for a, b in combinations(range(len(self.points)), 2):
            x, y = self.points[a], self.points[b]
            if x.shape == y.shape or abs(x.size_bytes - y.size_bytes) >= ONE_SIZE * max(
                x.size_bytes, y.size_bytes
            ):
                continue
            if x.format == y.format:
                if (x.shape, y.shape) in same:
                    continue
                same.add((x.shape, y.shape))
            found.append((a, b))
        return tuple(found)


@cache
def read_table(seeds: int = 3) -> Table:
    """Return the models that have all lengths with at least that number of seeds."""
    lines = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if "scores" in line]
    longest = max(line["steps"] for line in lines)
    done: dict[str, set[int]] = {}
    for line in lines:
        if line["steps"] == longest:
            done.setdefault(line["model"], set()).add(line["seed"])
    models = [m for m in MODELS if set(range(seeds)) <= done.get(m.name, set())]
    points = tuple(
        model_point(
            Candidate(architecture=m.architecture, format=name),
            size_bytes=m.file_bytes(name),
            runtime=RUNTIME,
        )
        for m in models
        for name in FORMATS
    )
    names = tuple(m.name for m in models)
    kept = [line for line in lines if line["model"] in names and line["seed"] < seeds]
    return Table(names=names, points=points, rows=tuple(_rows(kept)), longest=longest)


def _rows(lines: Sequence[Mapping[str, Any]]) -> list[TableRow]:
    blocks = np.array([next(iter(line["blocks"].values())) for line in lines])
    rest = np.zeros_like(blocks)
    for steps in {line["steps"] for line in lines}:
        at = [n for n, line in enumerate(lines) if line["steps"] == steps]
        some = blocks[at]
        rest[at] = some - some.mean(0) - some.mean(1, keepdims=True) + some.mean()
    errors = rest.std(1, ddof=1) / np.sqrt(blocks.shape[1])
    spent: dict[tuple[str, int], float] = {}
    found = []
    for line, error in zip(lines, errors, strict=True):
        run = line["model"], line["seed"]
        spent[run] = spent.get(run, 0.0) + line["train_cpu_s"]
        for name, bits in line["scores"].items():
            found.append(
                TableRow(
                    model=line["model"],
                    format=name,
                    seed=line["seed"],
                    steps=line["steps"],
                    tokens=float((line["steps"] + line["cooled_steps"]) * BATCH_TOKENS),
                    bits_per_byte=bits,
                    scoring_sd=float(error),
                    cpu_s=spent[run],
                )
            )
    return found
