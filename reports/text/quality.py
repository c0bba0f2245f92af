"""Predicted losses and accuracies as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sizer.quality.curve import TrainingLength
from sizer.quality.ladder import LadderPrediction, Ranged
from sizer.quality.prediction import Quality
from sizer.units import format_bytes, format_count


def ladder_table(found: Sequence[LadderPrediction]) -> Table:
    """Return one row for each asked model, with ranges that hold 80 %."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("model", no_wrap=False)
    table.add_column("loss, nats (range)", justify="right", no_wrap=True)
    table.add_column("accuracy (range)", justify="right", no_wrap=True)
    for row in found:
        accuracy = "not known" if row.accuracy is None else _ranged(row.accuracy)
        table.add_row(Text(row.model or "-"), _ranged(row.loss), accuracy)
    table.caption = found[0].basis
    table.caption_justify = "left"
    return table


def _ranged(figure: Ranged) -> str:
    digits = 1 if figure.value > 10 else 3
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def curve_table(points: Sequence[TrainingLength]) -> Table:
    """Return one row for each training length: what is reached, hours and energy by card."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    cards = [cost.card for cost in points[0].costs]
    columns = ("tokens", "loss, nats", "accuracy, % (80 % range)")
    for name in (*columns, *(f"{card}-hours" for card in cards), *(f"kWh on {card}" for card in cards)):
        table.add_column(name, justify="right", no_wrap=True)
    for point in points:
        q = point.quality
        table.add_row(
            format_count(q.tokens),
            f"{q.loss_nats:.3f}",
            f"{q.accuracy:.1f} ({q.low:.1f} to {q.high:.1f})",
            *(f"{_two_digits(cost.hours):,.0f}" for cost in point.costs),
            *(f"{_two_digits(cost.energy_kwh):,.0f}" for cost in point.costs),
        )
    shares = ", ".join(f"{100 * cost.utilization:.0f} % of {cost.card}" for cost in points[0].costs)
    table.caption = (
        f"{points[0].quality.basis}. Hours of one card, used to {shares}: {points[0].costs[0].source}. "
        "Energy is that of the cards alone."
    )
    table.caption_justify = "left"
    return table


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


def study_table(found: Sequence[tuple[int, str, int, Quality]]) -> Table:
    """Return one row for each trial, its model and file: what it would reach after its full training."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in ("trial", "model", "file", "loss, nats", "accuracy, % (80 % range)"):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=name != "model")
    for trial, model, file_bytes, q in found:
        table.add_row(
            str(trial),
            Text(model),
            format_bytes(file_bytes),
            f"{q.loss_nats:.3f}",
            f"{q.accuracy:.1f} ({q.low:.1f} to {q.high:.1f})",
        )
    last = found[0][3]
    table.caption = f"After {format_count(last.tokens)} training tokens; {last.basis}"
    table.caption_justify = "left"
    return table
