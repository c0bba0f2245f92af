"""Ranges and ticks of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from typing import Any

from sizer.units import format_bytes, format_bytes_binary

# A range of values with no span gets this share of the value itself on either side.
_NO_SPAN = 0.2
_MARGIN = 0.06


def axis_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a linear axis that shows these values with a margin; (0, 1) for none.

    >>> axis_range([1.0, 2.0]), axis_range([5.0])
    ((0.94, 2.06), (4.0, 6.0))
    """
    if not values:
        return (0.0, 1.0)
    margin = _MARGIN * (max(values) - min(values)) or _NO_SPAN * abs(max(values)) or 1.0
    return (min(values) - margin, max(values) + margin)


def log_ticks(
    low: float, high: float, gap: float = 1.0, steps: Sequence[float] = (1, 2, 5)
) -> tuple[float, ...]:
    """Return steps times powers of ten between two positive numbers, at least `gap` times away from both.

    >>> log_ticks(80, 1500), log_ticks(80, 1500, gap=1.5)
    ((100.0, 200.0, 500.0, 1000.0), (200.0, 500.0))
    """
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    return tuple(v for p in powers for m in steps if low * gap <= (v := m * 10.0**p) <= high / gap)


def linear_ticks(
    end: float,
    wording: Callable[[Any], str],
    units: Sequence[int] = (),
    intervals: int = 5,
) -> tuple[tuple[float, str], ...]:
    """Return about `intervals` round positions from 0 to `end`, with their texts.

    With `units`, largest first, positions are whole and round in the unit they are printed in: 5 MiB, not
    5.24 MB.
    """
    unit = next((u for u in units if u <= end / 2), 1)
    rough = max(end / intervals / unit, 1e-9)
    power = 10.0 ** (ceil(log10(rough)) - 1)
    step = next(m for m in (1, 2, 5, 10) if m * power >= 0.8 * rough) * power * unit
    if units:
        step = max(1, round(step))
    return tuple((i * step, wording(i * step)) for i in range(floor(end / step) + 1))


def byte_ticks(low: float, high: float, *, is_binary: bool = False, intervals: int = 4) -> dict[str, Any]:
    """Return ticks of a linear axis of bytes, in the words of every table: "95 KB" or, binary, "9.5 MiB".

    They go on beyond both ends by twice the span, for an axis that is moved. plotly's own say "95kB", and
    "10MB" where a table says "9.54 MiB".

    >>> byte_ticks(92_000, 101_000)["ticktext"][4:6]
    ('95 KB', '100 KB')
    """
    base, wording = (1024, format_bytes_binary) if is_binary else (1000, format_bytes)
    unit = float(base) ** max(0, floor(log10(max(high, 1.0)) / log10(base)))
    span = high - low
    rough = max(span / intervals / unit, 1e-9)
    power = 10.0 ** floor(log10(rough))
    step = next(m for m in (1, 2, 5, 10) if m * power >= 0.999 * rough) * power * unit
    first, last = max(0, ceil((low - 2 * span) / step)), floor((high + 2 * span) / step)
    places = tuple(n * step for n in range(first, last + 1))
    return {"tickvals": places, "ticktext": tuple(wording(place) for place in places)}
