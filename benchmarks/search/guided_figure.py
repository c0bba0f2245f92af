"""The figure of the guided searches: finalists of each seed's two searches and their fronts, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from search.analysis.frontier import frontier
from search.store.results import SearchResult, TrialRecord, bits_per_byte

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 340, 320, 52, 12, 34, 46
# Okabe and Ito's blue and vermilion, and another mark each
_GUIDED, _RANDOM = "#0072B2", "#D55E00"

Point = tuple[float, float]


def guided_figure(pairs: Sequence[tuple[str, SearchResult, SearchResult]]) -> str:
    """SVG with a panel for each (title, guided, control): file size across, bits per byte upwards."""
    points = [_objectives(r) for _, *studies in pairs for study in studies for r in study.finalists]
    low, high = _ends([log10(size) for size, _ in points]), _ends([bits for _, bits in points])
    width = _WIDTH * len(pairs)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>',
    ]
    for number, (title, guided, control) in enumerate(pairs):
        panel = _Panel(left=number * _WIDTH, x=low, y=high)
        parts += [*panel.frame(title), *panel.study(control, _RANDOM), *panel.study(guided, _GUIDED)]
    for place, (name, color) in enumerate((("guided", _GUIDED), ("random", _RANDOM))):
        at = _WIDTH - _RIGHT - 140 + 74 * place, _TOP - 14
        parts.append(_mark(at, color))
        parts.append(_text(at[0] + 8, at[1] + 4, name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _ends(values: Sequence[float]) -> Point:
    margin = 0.06 * (max(values) - min(values)) or 0.05
    return min(values) - margin, max(values) + margin


class _Panel:
    """One pair of searches on common axes."""

    def __init__(self, *, left: float, x: Point, y: Point) -> None:
        self._left, self._x, self._y = left, x, y

    def frame(self, title: str) -> list[str]:
        x0, x1 = self._left + _LEFT, self._left + _WIDTH - _RIGHT
        y0, y1 = _HEIGHT - _BOTTOM, _TOP
        parts = [
            f'<rect x="{x0}" y="{y1}" width="{x1 - x0}" height="{y0 - y1}" fill="none" stroke="#888888"/>',
            _text(x0, y1 - 10, title, "start"),
            _text((x0 + x1) / 2, _HEIGHT - 8, "file, kB"),
            f'<g transform="rotate(-90 {self._left + 14} {(y0 + y1) / 2})">'
            f"{_text(self._left + 14, (y0 + y1) / 2, 'bits per byte')}</g>",
        ]
        for kilobytes in (100, 200, 300, 500, 1000):
            if self._x[0] <= log10(1000 * kilobytes) <= self._x[1]:
                at = self._place((1000 * kilobytes, self._y[0]))
                parts.append(_text(at[0], y0 + 15, f"{kilobytes:,}"))
        tenth = round(10 * self._y[0]) + 1
        while tenth / 10 <= self._y[1]:
            _, at_y = self._place((10 ** self._x[0], tenth / 10))
            parts.append(_text(x0 - 6, at_y + 4, f"{tenth / 10:.1f}", "end"))
            tenth += 2
        return parts

    def study(self, result: SearchResult, color: str) -> list[str]:
        front = [self._place(_objectives(r)) for r in frontier(result)]
        stairs = " ".join(
            f"{x:.1f},{y:.1f}"
            for i, point in enumerate(front)
            for x, y in ([point] if not i else [(point[0], front[i - 1][1]), point])
        )
        line = f'<polyline points="{stairs}" fill="none" stroke="{color}" stroke-width="1.5"/>'
        marks = []
        for r in result.finalists:
            size, bits = _objectives(r)
            name = escape(f"trial {r.number}: {size / 1e3:.0f} kB, {bits:.3f} bits per byte")
            marks.append(_mark(self._place((size, bits)), color, name))
        return [line, *marks]

    def _place(self, point: Point) -> Point:
        across = (log10(point[0]) - self._x[0]) / (self._x[1] - self._x[0])
        up = (point[1] - self._y[0]) / (self._y[1] - self._y[0])
        x = self._left + _LEFT + across * (_WIDTH - _LEFT - _RIGHT)
        return x, _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)


def _mark(at: Point, color: str, title: str = "") -> str:
    x, y = at
    inside = f"<title>{title}</title>" if title else ""
    if color == _GUIDED:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}">{inside}</circle>'
    return (
        f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="white" stroke="{color}" '
        f'stroke-width="1.5">{inside}</rect>'
    )


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _objectives(record: TrialRecord) -> tuple[float, float]:
    return float(record.file_bytes), bits_per_byte(record)
