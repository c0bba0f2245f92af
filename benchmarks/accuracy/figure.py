"""The figure of the accuracy page: predicted against measured decoding speeds, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from sizer.calibration.held_out import FEW, FITTED, SHEET, HeldOutPrediction, predict_decode
from sizer.calibration.measurement_file import read_rows

_SIZE, _MARGIN = 520, 56
_LOW, _HIGH = -0.7, 3.0  # decades of tokens per second: 0.2 to 1000
_COLORS = {FITTED: "#0072b2", FEW: "#e69f00", SHEET: "#999999"}


def latency_figure(judged: Sequence[HeldOutPrediction] | None = None) -> str:
    """SVG of every judged row: measured across, predicted upwards, both in tokens per second, logarithmic."""
    points = judged if judged is not None else predict_decode(read_rows())[0]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_SIZE}" height="{_SIZE}" fill="white"/>',
    ]
    for power in range(0, 4):
        at = _place(power)
        parts.append(_line(at, _SIZE - _MARGIN, at, _MARGIN / 2, "#dddddd"))
        parts.append(_line(_MARGIN, _SIZE - at, _SIZE - _MARGIN / 2, _SIZE - at, "#dddddd"))
        parts.append(_text(at, _SIZE - _MARGIN + 18, f"{10**power}"))
        parts.append(_text(_MARGIN - 18, _SIZE - at + 4, f"{10**power}"))
    low, high = _place(_LOW), _place(_HIGH)
    parts.append(_line(low, _SIZE - low, high, _SIZE - high, "black"))
    for found in points:
        measured = found.row.decode_tokens_per_s or 0.0
        x, y = _place(log10(measured)), _SIZE - _place(log10(found.predicted))
        name = f"{found.row.device} {found.row.model} {found.row.format}: {measured:g}, {found.predicted:.3g}"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_COLORS[found.basis]}" fill-opacity="0.7">'
            f"<title>{name}</title></circle>"
        )
    for place, (basis, color) in enumerate(_COLORS.items()):
        y = _MARGIN / 2 + 18 * (place + 1)
        parts.append(f'<circle cx="{_MARGIN + 16}" cy="{y - 4:.1f}" r="4" fill="{color}"/>')
        parts.append(f'<text x="{_MARGIN + 26}" y="{y:.1f}">{basis}</text>')
    parts.append(_text(_SIZE / 2, _SIZE - 12, "measured tokens/s"))
    parts.append(
        f'<g transform="rotate(-90 16 {_SIZE / 2})">{_text(16, _SIZE / 2, "predicted tokens/s")}</g>'
    )
    return "\n".join([*parts, "</svg>", ""])


def _place(power: float) -> float:
    return _MARGIN + (power - _LOW) / (_HIGH - _LOW) * (_SIZE - 1.5 * _MARGIN)


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{text}</text>'
