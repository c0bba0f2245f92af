"""Questions that a search can decide: which option of an axis is better, between models of one size.

A question compares two options by pairs of models that differ in that axis and have files of one size: the
bases are the same for both, another shape is solved for each. Bases are fixed by the space alone, so that two
searches of one space answer the same questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from math import exp, log
from typing import Any

from search.config.axes import AXES, Options, Range, Suggestion
from search.config.config import FFN_RATIO_STEP, SearchConfig, Training
from search.space.convolved import has_convolutions
from search.space.experts import experts_in
from search.space.ffn_growth import growth_of, mean_ffn_size
from search.space.formats import file_bytes
from search.space.initial_points import initial_suggestions
from search.space.resolve import solve
from search.space.space import least_size_fraction
from search.space.windowed import has_windows
from search.store.results import Candidate

SIZES = 3  # file sizes at which questions are asked, even on a logarithmic scale
BASES = 2  # pairs behind each question, at most
# Axes that are sizes themselves.
_NOT_ASKED = ("size_fraction",)
# A depth or FFN ratio within this logarithm of what was suggested is that option.
_NEAR = 0.3
# Two models are of one size if their files differ by less than this.
ONE_SIZE = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whether the first option is better than the second, by pairs of models of one size."""

    axis: str
    first: str  # options, in words
    second: str
    size_bytes: float
    pairs: tuple[tuple[Candidate, Candidate], ...]  # one with the first option, one with the second
    suggested: tuple[tuple[Suggestion, Suggestion], ...]  # the points of the space that they are models of


def questions(config: SearchConfig) -> tuple[Question, ...]:
    """Return the questions of a space, axis by axis from the smallest files to the largest."""
    training = Training(tokenizer=config.training.tokenizer)  # of the training nothing else matters
    return _questions(SearchConfig(budget=config.budget, space=config.space, training=training))


@lru_cache(maxsize=4)
def _questions(config: SearchConfig) -> tuple[Question, ...]:
    most = config.budget.max_size_bytes
    least = least_size_fraction(config)
    fractions = sorted({exp(log(least) * (SIZES - 1 - i) / (SIZES - 1)) for i in range(SIZES)})
    found = []
    for name in AXES:
        if name in _NOT_ASKED:
            continue
        for fraction in fractions:
            found += [
                Question(
                    axis=name,
                    first=a,
                    second=b,
                    size_bytes=fraction * most,
                    pairs=tuple(pairs),
                    suggested=tuple(pairs.values()),
                )
                for (a, b), pairs in _pairs(name, fraction, config).items()
            ]
    return tuple(found)


def _pairs(
    axis: str, fraction: float, config: SearchConfig
) -> dict[tuple[str, str], dict[tuple[Candidate, Candidate], tuple[Suggestion, Suggestion]]]:
    """Return pairs of models of one size, with their suggestions, for every two options of an axis."""
    options = _options(axis, config)
    if len(options) < 2:
        return {}
    solved: dict[str, list[tuple[Suggestion, Candidate | None]]] = {}
    for label, value in options.items():
        points = [replace(base, **{axis: value, "size_fraction": fraction}) for base in _bases(config)]
        solved[label] = [(point, _solved(point, axis, config)) for point in points]
    found: dict[tuple[str, str], dict[tuple[Candidate, Candidate], tuple[Suggestion, Suggestion]]] = {}
    for a, b in combinations(options, 2):
        for (of_x, x), (of_y, y) in zip(solved[a], solved[b], strict=True):
            if x is not None and y is not None and x != y and _of_one_size(x, y, config):
                found.setdefault((a, b), {}).setdefault((x, y), (of_x, of_y))
    return found


@lru_cache(maxsize=4)
def _bases(config: SearchConfig) -> tuple[Suggestion, ...]:
    """Return hand-made shapes that options are tried on: deep and thin, and wide."""
    return initial_suggestions(config)[:BASES]


def _options(axis: str, config: SearchConfig) -> dict[str, Any]:
    """Return what an axis is asked about, in words: its options, or low, middle and high of a range."""
    values = AXES[axis].values
    if isinstance(values, Options):
        return {_label(values.label(value)): value for value in values.values(config)}
    assert isinstance(values, Range)
    low, high = values.bounds(config)
    middle = (low * high) ** 0.5 if values.log else (low + high) / 2
    between = [(low * middle) ** 0.5, middle, (middle * high) ** 0.5] if values.log else [low, middle, high]
    rounded = [_as_asked(values, value) for value in between]
    return {f"{value:g}": value for value in sorted(set(rounded))}


def _as_asked(values: Range, value: float) -> float:
    if values.whole:
        return round(value)
    return round(value / FFN_RATIO_STEP) * FFN_RATIO_STEP if values.step else value


def _label(label: str | int | bool) -> str:
    return {True: "yes", False: "no"}[label] if isinstance(label, bool) else str(label)


def _solved(suggestion: Suggestion, axis: str, config: SearchConfig) -> Candidate | None:
    """Return the model of a suggestion; None where there is none of that option."""
    found = solve(suggestion, config)
    return found if found is not None and _has(found, axis, suggestion) else None


def _has(candidate: Candidate, axis: str, suggestion: Suggestion) -> bool:
    """Return whether a model has what was suggested for an axis, or near it."""
    shape, wanted = candidate.architecture, suggestion
    if axis == "sharing":
        return shape.sharing == wanted.sharing
    if axis == "query_heads_per_kv_head":
        return shape.num_heads == wanted.query_heads_per_kv_head * shape.num_kv_heads
    if axis == "executed_layers":
        return abs(log(shape.executed_layers / wanted.executed_layers)) < _NEAR
    if axis == "ffn_ratio":
        return abs(log(mean_ffn_size(shape) / shape.hidden_size / wanted.ffn_ratio)) < _NEAR
    if axis == "ffn_growth":
        return abs(log(growth_of(shape) / wanted.ffn_growth)) < _NEAR
    if axis == "experts":
        return experts_in(shape) == wanted.experts
    if axis == "windows":
        return has_windows(shape, wanted.windows)
    if axis == "convolutions":
        return has_convolutions(shape, wanted.convolutions)
    return True  # other axes are kept as they are by what solves the shape


def _of_one_size(x: Candidate, y: Candidate, config: SearchConfig) -> bool:
    a, b = (file_bytes(c.architecture, c.format, config.budget.runtime) for c in (x, y))
    return abs(a - b) < ONE_SIZE * max(a, b)


def candidates(asked: tuple[Question, ...]) -> Iterator[Candidate]:
    """Yield every model that questions compare."""
    for question in asked:
        for pair in question.pairs:
            yield from pair


__all__ = ["BASES", "ONE_SIZE", "SIZES", "Question", "candidates", "questions"]
