"""From a sampler's parameters to a suggestion and back, in either of two encodings."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Any, Protocol

from search.config.axes import AXES, Axis, Options, Suggestion
from search.config.config import SearchConfig
from search.space.formats import smallest_file_bytes


class Suggester(Protocol):
    """What answers with the parameters of a suggestion: an Optuna trial, or an object like one."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return a whole number."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return one of the choices."""
        ...


@unique
class Encoding(StrEnum):
    """How a sampler is asked for a choice among a few options."""

    CATEGORICAL = "categorical"  # by name; for samplers that take categories (TPE, NSGA-II)
    ORDERED = "ordered"  # by number, in an order that means something; for samplers of numbers (GP, CMA-ES)


def least_size_fraction(config: SearchConfig) -> float:
    """Return the smallest share of the size budget tried: as asked, or more where no model is as small."""
    smallest = smallest_file_bytes(config) / config.budget.max_size_bytes
    return min(1.0, max(config.space.min_size_fraction, smallest))


def suggest(trial: Suggester, config: SearchConfig, encoding: Encoding = Encoding.CATEGORICAL) -> Suggestion:
    """Ask the sampler for a suggestion; the only place that calls trial.suggest_*."""
    return Suggestion(**{name: _ask(axis, trial, config, encoding) for name, axis in AXES.items()})


def parameters(
    suggestion: Suggestion, config: SearchConfig, encoding: Encoding = Encoding.CATEGORICAL
) -> dict[str, Any]:
    """Return the sampler's parameters from which `suggest` reads the same suggestion."""
    found: dict[str, Any] = {}
    for name, axis in AXES.items():
        values, value = axis.values, getattr(suggestion, name)
        if not _is_asked(axis, config):
            continue
        if isinstance(values, Options) and encoding is Encoding.ORDERED:
            found[_index_name(axis)] = values.ordered(config).index(value)
        else:
            found[name] = values.label(value) if isinstance(values, Options) else value
    return found


def _ask(axis: Axis, trial: Suggester, config: SearchConfig, encoding: Encoding) -> Any:
    values, name = axis.values, axis.name
    if isinstance(values, Options):
        listed = values.values(config)
        if not _is_asked(axis, config):
            return listed[0]
        if encoding is Encoding.ORDERED:
            return values.ordered(config)[trial.suggest_int(_index_name(axis), 0, len(listed) - 1)]
        by_label = {values.label(value): value for value in listed}
        return by_label[trial.suggest_categorical(name, tuple(by_label))]
    low, high = _bounds(axis, config)
    if not _is_asked(axis, config):
        return high
    if values.whole:
        return trial.suggest_int(name, low, high, log=values.log)
    return trial.suggest_float(name, low, high, step=values.step, log=values.log)


def _is_asked(axis: Axis, config: SearchConfig) -> bool:
    """Return whether the sampler is asked for an axis: of a single option it is not."""
    if isinstance(axis.values, Options):
        return len(axis.values.values(config)) > 1
    low, high = _bounds(axis, config)
    return axis.values.ask_single or low < high


def _bounds(axis: Axis, config: SearchConfig) -> tuple[Any, Any]:
    assert not isinstance(axis.values, Options), axis.name
    low, high = axis.values.bounds(config)
    # no model may be as small as the smallest share asked for
    return (least_size_fraction(config), high) if axis.name == "size_fraction" else (low, high)


def _index_name(axis: Axis) -> str:
    # another name: Optuna refuses one parameter with two distributions in a study
    return f"{axis.name}_index"
