"""The figure of docs/quality.md: predicted against published losses of tables left out, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from benchmarks.quality.learn import LeftOut

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 420, 52, 180, 20, 46
# Okabe and Ito's colours
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933", "#882255")
# In bits a byte, or above what is drawn.
_LEFT_OUT = ("marin", "datablations_repeated")
_MOST_DOTS = 120


def loss_figure(found: Mapping[str, LeftOut]) -> str:
    """Return SVG: published loss across, predicted upwards, a colour for each table, 120 dots at most."""
    drawn = {name: result for name, result in found.items() if name not in _LEFT_OUT}
    low = min(float(r.table.losses.min()) for r in drawn.values()) - 0.05
    high = max(float(r.table.losses.max()) for r in drawn.values() if r.table.losses.max() < 4.6) + 0.05

    def place(published: float, predicted: float) -> tuple[float, float]:
        across = (published - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)
        up = (predicted - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    (left, bottom), (right, top) = place(low, low), place(high, high)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_HEIGHT - _TOP - _BOTTOM}" '
        'fill="none" stroke="#888888"/>',
        f'<line x1="{left:.1f}" y1="{bottom:.1f}" x2="{right:.1f}" y2="{top:.1f}" stroke="#888888"/>',
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "published loss, nats"),
        f'<g transform="rotate(-90 14 {_HEIGHT / 2})">{_text(14, _HEIGHT / 2, "predicted loss, nats")}</g>',
    ]
    tick = round(2 * low + 0.5) / 2
    while tick < high:
        x, y = place(tick, tick)
        parts += [
            _text(x, _HEIGHT - _BOTTOM + 16, f"{tick:.1f}"),
            _text(_LEFT - 6, y + 4, f"{tick:.1f}", "end"),
        ]
        tick += 0.5
    for number, (name, result) in enumerate(drawn.items()):
        color = _COLORS[number % len(_COLORS)]
        y = _TOP + 14 + 18 * number
        parts += [
            f'<circle cx="{_WIDTH - _RIGHT + 14}" cy="{y - 4}" r="4" fill="{color}"/>',
            _text(_WIDTH - _RIGHT + 24, y, name.replace("_", " "), "start"),
        ]
        step = max(1, len(result.predicted) // _MOST_DOTS)
        pairs = zip(result.table.losses[::step], result.predicted[::step], strict=True)
        for published, predicted in pairs:
            if published < high and low < predicted < high:
                x, at = place(float(published), float(predicted))
                parts.append(
                    f'<circle cx="{x:.1f}" cy="{at:.1f}" r="2.5" fill="{color}" fill-opacity="0.6"/>'
                )
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
