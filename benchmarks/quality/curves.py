"""Depth against width and bits against size by the law: tables and figures of docs/quality.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from sizer.quality.accuracy import accuracy_map
from sizer.quality.bits import TERNARY_BITS, points_lost
from sizer.quality.constants import published_law
from sizer.quality.law import Floats, loss, shapes

# Decoders of the comparison: tied vocabulary, heads of 64, four of attention's matrices square, FFN as there.
_VOCABULARY, _HEAD_DIM, _FFN = 32_000, 64, 8 / 3
_LAYERS = np.arange(2, 97)
TOTALS = (30e6, 125e6, 350e6, 1e9)
LENGTHS = (4e9, 20e9, 350e9, 1e12)
# Within this of the best loss, a depth is as good.
_AS_GOOD = 0.005
BITS = (TERNARY_BITS, 2.5, 3.0, 4.0, 6.0, 8.0)
_MEGABYTES = np.geomspace(10, 2000, 120)
_TOKENS = 1e12


def widths(total: float) -> Floats:
    """Return the hidden size at each depth that makes a decoder of that many weights, table included."""
    per_layer = (4 + 3 * _FFN) * _LAYERS
    root = np.sqrt(_VOCABULARY**2 + 4 * per_layer * total)
    return np.asarray((root - _VOCABULARY) / (2 * per_layer))


def losses_by_depth(total: float, tokens: float) -> Floats:
    """Return the loss at each depth of decoders of one number of weights, after a training."""
    wide = widths(total)
    models = shapes(
        weights=(4 + 3 * _FFN) * _LAYERS * wide**2,
        tokens=np.full(len(_LAYERS), tokens),
        aspect=wide / _LAYERS,
        head_dim=np.full(len(_LAYERS), float(_HEAD_DIM)),
        ffn_ratio=np.full(len(_LAYERS), 3 * _FFN / 4),
    )
    return loss(published_law().mean, models)


def depth_rows() -> list[Sequence[str]]:
    """Return rows of sizes and lengths: the best depth, depths as good, what shallow and deep ones cost."""
    rows: list[Sequence[str]] = []
    for total in TOTALS:
        for tokens in LENGTHS:
            found = losses_by_depth(total, tokens)
            best, wide = int(found.argmin()), widths(total)
            good = _LAYERS[found <= found.min() + _AS_GOOD]
            half, double = (int(np.abs(_LAYERS - factor * _LAYERS[best]).argmin()) for factor in (0.5, 2))
            rows.append(
                (
                    f"{total / 1e6:,.0f}M, {tokens / 1e9:,.0f}B tokens",
                    f"{_LAYERS[best]} x {wide[best]:.0f}",
                    f"{good[0]} to {good[-1]}",
                    f"{found[half] - found.min():.3f}",
                    f"{found[double] - found.min():.3f}",
                )
            )
    return rows


def depth_figure(total: float = 125e6) -> str:
    """Return SVG: layers across, nats above the best upwards, a line for each length of training."""
    lines = {f"{tokens / 1e9:,.0f}B tokens": losses_by_depth(total, tokens) for tokens in LENGTHS}
    return _figure(
        _LAYERS.astype(float),
        {name: found - found.min() for name, found in lines.items()},
        ticks=(2, 4, 8, 16, 32, 64),
        most=0.1,
        least=0.0,
        step=0.02,
        labels=(f"layers of {total / 1e6:.0f}M weights", "nats above the best depth"),
    )


def accuracies(bits: float, megabytes: Floats) -> Floats:
    """Return accuracies after 1T tokens of models by the bytes of their weights outside the embedding."""
    curve, weights = accuracy_map(), megabytes * 8e6 / bits
    nats = loss(published_law().mean, shapes(weights=weights, tokens=np.full(len(weights), _TOKENS)))
    lost = [points_lost(bits, tokens_per_weight=_TOKENS / w) for w in weights]
    return np.array([curve.accuracy(float(x)) for x in nats]) - lost


def crossings() -> list[Sequence[str]]:
    """Return for each pair of rounded numbers of bits the bytes from which fewer bits are better."""
    rows: list[Sequence[str]] = []
    rounded = BITS[1:]
    for few, more in zip(rounded, rounded[1:], strict=False):
        ahead = accuracies(few, _MEGABYTES) - accuracies(more, _MEGABYTES)
        changes = np.flatnonzero(np.diff(np.sign(ahead))).tolist()
        span = f"{_MEGABYTES[0]:.0f} to {_MEGABYTES[-1]:,.0f} MB"
        if not changes:
            better = few if ahead[0] > 0 else more
            text = f"{better:g} bits from {span}"
        else:
            text = "; ".join(
                f"{few if ahead[i + 1] > 0 else more:g} bits from {_between(i, ahead):,.0f} MB on"
                for i in changes
            )
        rows.append((f"{few:g} against {more:g} bits", text))
    return rows


def _between(index: int, ahead: Floats) -> float:
    """Return the megabytes at which a difference is 0, between two of the grid."""
    share = ahead[index] / (ahead[index] - ahead[index + 1])
    low, high = np.log(_MEGABYTES[index]), np.log(_MEGABYTES[index + 1])
    return float(np.exp(low + share * (high - low)))


def bits_figure() -> str:
    """Return SVG: megabytes across, accuracy upwards, a line for each number of bits."""
    names = {bits: f"{bits:g} bits, {'trained' if bits < 2.2 else 'rounded'}" for bits in BITS}
    return _figure(
        _MEGABYTES,
        {name: accuracies(bits, _MEGABYTES) for bits, name in names.items()},
        ticks=(10, 25, 50, 100, 200, 400, 800, 1600),
        most=62.0,
        least=34.0,
        step=4.0,
        labels=("megabytes of weights outside the embedding", "accuracy, mean of 8 tasks, %"),
    )


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 620, 380, 58, 160, 20, 46
# Okabe and Ito's colours
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def _figure(
    across: Floats,
    lines: Mapping[str, Floats],
    *,
    ticks: Sequence[float],
    most: float,
    least: float,
    step: float,
    labels: tuple[str, str],
) -> str:
    """Return SVG of lines over a logarithmic axis, cut off above `most`."""
    ends = np.log(across[0]), np.log(across[-1])
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x_of(value: float) -> float:
        return float(_LEFT + (np.log(value) - ends[0]) / (ends[1] - ends[0]) * (right - _LEFT))

    def y_of(value: float) -> float:
        return float(bottom - (value - least) / (most - least) * (bottom - _TOP))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}" fill="none" '
        'stroke="#888888"/>',
        _text((_LEFT + right) / 2, _HEIGHT - 8, labels[0]),
        f'<g transform="rotate(-90 14 {_HEIGHT / 2})">{_text(14, _HEIGHT / 2, labels[1])}</g>',
    ]
    parts += [_text(x_of(tick), bottom + 16, f"{tick:g}") for tick in ticks]
    for level in np.arange(least, most + step / 2, step):
        parts.append(_text(_LEFT - 6, y_of(level) + 4, f"{level:g}", "end"))
    for number, (name, values) in enumerate(lines.items()):
        color, y = _COLORS[number], _TOP + 14 + 18 * number
        inside = [(a, v) for a, v in zip(across, values, strict=True) if least <= v <= most]
        path = " ".join(f"{x_of(a):.1f},{y_of(v):.1f}" for a, v in inside)
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>',
            f'<rect x="{right + 12}" y="{y - 6}" width="14" height="4" fill="{color}"/>',
            _text(right + 32, y, name, "start"),
        ]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
