"""What the figure of predicted against measured speeds shows; reports/html/scatter.py draws it."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING, NamedTuple

from reports.figures.axes import log_ticks
from reports.text.evidence import BASIS_LABELS, HELD_OUT, device_title
from reports.text.wording import rate_text

if TYPE_CHECKING:
    from sizer.calibration.predicted_speed import PredictedSpeed, PrintedSpeed

_MARGIN = 1.15  # beyond the outermost values


class JudgedPoint(NamedTuple):
    """One measured speed as it is drawn, and the lines under the pointer."""

    measured: float
    predicted: float
    low: float
    high: float
    basis: str
    text: str


class EvidenceInfo(NamedTuple):
    """Every decision about the figure of predicted against measured speeds."""

    title: str
    subtitle: str
    points: tuple[JudgedPoint, ...]
    span: tuple[float, float]  # of both axes
    ticks: tuple[tuple[float, str], ...]  # of both axes
    what: str  # "decode" or "prompt"


def evidence_info(judged: Sequence[PredictedSpeed[PrintedSpeed]]) -> EvidenceInfo:
    """Decide what the figure shows: one span for both axes, so exact predictions lie on the diagonal."""
    points = tuple(_point(j) for j in judged)
    values = [v for p in points for v in (p.measured, p.low, p.high)]
    low, high = (min(values), max(values)) if values else (1.0, 10.0)
    span = low / _MARGIN, high * _MARGIN
    # on a long axis powers of ten alone
    steps = (1, 2, 5) if span[1] / span[0] < 100 else (1,)
    inside = sum(j.inside for j in judged)
    return EvidenceInfo(
        title="Predicted against measured speed",
        subtitle=f"{inside} of {len(points)} lie inside their range",
        points=points,
        span=span,
        ticks=tuple((t, rate_text(t)) for t in log_ticks(*span, steps=steps)),
        what="prompt" if judged and judged[0].of_prompt else "decode",
    )


def _point(j: PredictedSpeed[PrintedSpeed]) -> JudgedPoint:
    row = j.row
    lines = (
        f"{row.model} {row.format}",
        f"{device_title(row.device)}, {row.runtime} ({row.backend})",
        f"measured {rate_text(j.measured)} tokens/s",
        f"predicted {rate_text(j.predicted)} ({rate_text(j.low)} to {rate_text(j.high)}), "
        f"{exp(j.error) - 1:+.0%}",
        f"{BASIS_LABELS[j.basis]}: without {HELD_OUT[j.basis]}",
    )
    return JudgedPoint(j.measured, j.predicted, j.low, j.high, j.basis, "\n".join(lines))
