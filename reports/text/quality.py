"""Predicted losses and accuracies as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from reports.text.text_table import Column, TextTable
from sizer.quality.curve import TrainingLength
from sizer.quality.ladder import LadderPrediction, Ranged
from sizer.quality.prediction import Quality
from sizer.units import format_bytes, format_count


def ladder_table(found: Sequence[LadderPrediction]) -> TextTable:
    """Return one row for each asked model, with ranges that hold 80 %."""
    return TextTable(
        columns=(
            Column(name="model", is_key=True),
            Column(name="loss, nats\n(range)", right=True),
            Column(name="accuracy\n(range)", right=True),
        ),
        rows=tuple(
            (
                row.model or "-",
                _ranged(row.loss),
                "not known" if row.accuracy is None else _ranged(row.accuracy),
            )
            for row in found
        ),
        caption=found[0].basis,
    )


def _ranged(figure: Ranged) -> str:
    digits = 1 if figure.value > 10 else 3
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def curve_table(points: Sequence[TrainingLength]) -> TextTable:
    """Return one row for each training length: what is reached, hours and energy by card."""
    cards = [cost.card for cost in points[0].costs]
    shares = ", ".join(f"{100 * cost.utilization:.0f} % of {cost.card}" for cost in points[0].costs)
    return TextTable(
        columns=(
            Column(name="tokens", right=True, is_key=True),
            Column(name="loss,\nnats", right=True),
            Column(name="accuracy, %\n(80 % range)", right=True),
            *(Column(name=f"{card}-\nhours", right=True) for card in cards),
            *(Column(name=f"kWh on\n{card}", right=True, drop=1) for card in cards),
        ),
        rows=tuple(_curve_row(point) for point in points),
        caption=(
            f"{points[0].quality.basis}. Hours of one card, used to {shares}: {points[0].costs[0].source}. "
            "Energy is that of the cards alone."
        ),
    )


def _curve_row(point: TrainingLength) -> tuple[str, ...]:
    q = point.quality
    return (
        format_count(q.tokens),
        f"{q.loss_nats:.3f}",
        f"{q.accuracy:.1f} ({q.low:.1f} to {q.high:.1f})",
        *(f"{_two_digits(cost.hours):,.0f}" for cost in point.costs),
        *(f"{_two_digits(cost.energy_kwh):,.0f}" for cost in point.costs),
    )


def target_text(target: float, point: TrainingLength) -> Text:
    """Return the training that is expected to reach an accuracy."""
    hours = " or ".join(f"{_two_digits(cost.hours):,.0f} {cost.card}-hours" for cost in point.costs)
    q = point.quality
    return Text(
        f"{target:.1f} % needs {format_count(q.tokens)} tokens, {hours} (80 % of such models reach "
        f"{q.low:.1f} to {q.high:.1f} %)."
    )


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def study_table(found: Sequence[tuple[int, str, int, Quality]]) -> TextTable:
    """Return one row for each trial, its model and file: what it would reach after its full training."""
    last = found[0][3]
    return TextTable(
        columns=(
            Column(name="trial", right=True, is_key=True),
            Column(name="model", is_key=True),
            Column(name="file", right=True),
            Column(name="loss,\nnats", right=True),
            Column(name="accuracy, %\n(80 % range)", right=True),
        ),
        rows=tuple(
            (
                str(trial),
                model,
                format_bytes(file_bytes),
                f"{q.loss_nats:.3f}",
                f"{q.accuracy:.1f} ({q.low:.1f} to {q.high:.1f})",
            )
            for trial, model, file_bytes, q in found
        ),
        caption=f"After {format_count(last.tokens)} training tokens; {last.basis}",
    )
