"""How storage types round: the values that the weights of a group can take, declared as data.

`search/training/quantize.py` has one function for every `Levels`. Each storage type has a property or a field
`levels` with one of the four classes of `Rounding`.
"""

from __future__ import annotations

from enum import Enum, unique
from functools import cache
from typing import NamedTuple

# Weights that share a step, where it is no fixed number of them.
ROW, TENSOR = 0, -1


@unique
class StepFrom(Enum):
    """Statistic of a group that, divided by `Levels.divisor`, is the step between its levels."""

    MAGNITUDE = "largest magnitude"
    EXTREME = "weight of largest magnitude, sign kept: that weight is the lowest level"
    MEAN = "mean magnitude"
    RANGE = "largest minus smallest weight; the smallest is stored as an offset"
    EDGE = "as RANGE, then changed so that 0 is a level; the end of larger magnitude is stored as the offset"


@unique
class Ties(Enum):
    """Where a weight halfway between two levels goes."""

    EVEN = "to the even level"
    AWAY = "away from zero"
    UP = "to the higher level"


@unique
class Activations(Enum):
    """How a runtime rounds the rows that a matrix is multiplied with, to 8 bits."""

    SYMMETRIC_INT8 = "each row's largest magnitude is 127 levels"
    AFFINE_INT8 = "256 levels from each row's smallest to its largest value, one of which is 0"


class Levels(NamedTuple):
    """Weights of a group: whole numbers from `low` to `high` times a step, plus an offset in affine types."""

    group: int  # weights of a row that share a step; ROW or TENSOR: all of a row or a tensor
    low: int
    high: int
    step_from: StepFrom
    divisor: float
    dtype: str = "F32"  # type in which steps and offsets are stored
    ties: Ties = Ties.EVEN
    uses_stored_step: bool = False  # levels are found with the step as stored, not with the exact one
    least_step: float = 0.0
    across_rows: bool = False  # groups are cut from the flattened tensor, the last is filled up with zeros
    padded: bool = False  # the last group of each row is filled up with zeros
    codebook: tuple[float, ...] = ()  # levels in place of whole numbers, rising
    step_levels: Levels | None = None  # how steps, less their mean, are rounded in turn
    activations: Activations | None = None

    @property
    def is_ternary(self) -> bool:
        """True if weights are -1, 0 or 1 times the step."""
        return (self.low, self.high) == (-1, 1)


class FloatLevels(NamedTuple):
    """Every weight on its own, in a floating-point type."""

    dtype: str


class SearchedScales(NamedTuple):
    """A block type of ggml whose quantizer searches for its scales (search/training/k_quants.py)."""


class NotModelled(NamedTuple):
    """A type whose rounding is not reproduced, and why."""

    reason: str


Rounding = Levels | FloatLevels | SearchedScales | NotModelled

# NF4 (QLoRA, arXiv 2305.14314, appendix E) and FP4 (bitsandbytes/functional.py, get_4bit_type("fp4")).
NF4_LEVELS = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
    *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
    *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
    *(0.7229568362236023, 1.0),
)
_FP4_MAGNITUDES = tuple(value / 12 for value in (0.0625, 2, 3, 4, 6, 8, 12))
FP4_LEVELS = (*(-value for value in reversed(_FP4_MAGNITUDES)), 0.0, *_FP4_MAGNITUDES)


@cache
def dynamic_levels() -> tuple[float, ...]:
    """Return the signed 8-bit dynamic map that bitsandbytes keeps scales in (functional.create_dynamic_map).

    Seven decades below 1; decade i holds the middles of 2**i equal intervals from 0.1 to 1 of it.
    """
    positive = []
    for decade in range(7):
        count = 2**decade
        width = 0.9 / count
        positive += [10.0 ** (decade - 6) * (0.1 + width * (i + 0.5)) for i in range(count)]
    return tuple(sorted([*(-value for value in positive), 0.0, *positive, 1.0]))
