"""How far a study's ranking can be believed: a line, a table and a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from search.ranking import Interval
from search.results import SearchResult
from search.trust import SCHEMA, RungTrust, beside_control, chosen, rung_trust
from sizer.units import format_count

TAU_LABEL = "tau of those pairs"
_NOTHING = "nothing is known: no model was trained beyond the first rung"


def trust_line(result: SearchResult) -> str:
    """One line: the verdict and the tau it rests on."""
    best = chosen(rung_trust(result))
    if best is None:
        return _NOTHING
    r = best.report
    return (
        f"{r.verdict} (tau {_interval(r.tau_10pct)} over {r.pairs} pairs of one size; "
        f"{best.early_steps:,} against {best.late_steps:,} steps)"
    )


def trust_document(
    result: SearchResult, reports: Sequence[RungTrust], control: SearchResult | None
) -> dict[str, Any]:
    """The document `sizer search trust --json` prints: the comparison that tells most, and all of them."""
    best = chosen(reports)
    main: dict[str, Any] = {
        "schema": SCHEMA,
        "pairs": 0,
        "kendall": None,
        "spearman": None,
        "tau_10pct": {"value": None, "low": None, "high": None},
        "baselines": {},
        "verdict": _NOTHING,
    }
    if best is not None:
        main = best.to_dict()
    document = {**main, "study": result.study, "rungs": [report.to_dict() for report in reports]}
    if control is not None:
        ours, theirs = beside_control(result, control)
        document["control"] = {
            "study": control.study,
            "hypervolume": ours,
            "hypervolume_of_control": theirs,
            "trained_tokens": trained_tokens(result),
            "trained_tokens_of_control": trained_tokens(control),
        }
    return document


def trust_table(
    result: SearchResult, reports: Sequence[RungTrust], control: SearchResult | None
) -> RenderableType:
    """A column for each later rung, a row for each measure; the verdict below."""
    table = Table(title=f"Trust in study {result.study}", box=SIMPLE_HEAD, title_justify="left")
    table.add_column("", no_wrap=True)
    for report in reports:
        table.add_column(rung_heading(report, "\n"), justify="right")
    for label, *cells in trust_rows(reports):
        table.add_row(label, *cells, style="bold" if label == TAU_LABEL else None)
    lines = [f"verdict: {trust_line(result)}"]
    if control is not None:
        lines.append(control_line(result, control))
    return Group(table, *lines) if reports else Group(*lines)


def rung_heading(report: RungTrust, between: str = " ") -> str:
    """Which rungs a comparison is of, such as "1,000 to 3,000 steps"."""
    return f"{report.early_steps:,} to{between}{report.late_steps:,} steps"


def trust_rows(reports: Sequence[RungTrust]) -> tuple[tuple[str, ...], ...]:
    """A row for each measure: its label, then a cell for each comparison."""
    rows = [
        ("models", *(f"{r.report.models}" for r in reports)),
        ("pairs within 10 % of size", *(f"{r.report.pairs}" for r in reports)),
        ("Spearman, all", *(_number(r.report.spearman) for r in reports)),
        ("Kendall, all", *(_number(r.report.kendall) for r in reports)),
        (TAU_LABEL, *(_interval(r.report.tau_10pct) for r in reports)),
    ]
    for name in dict.fromkeys(name for r in reports for name in r.report.baselines):
        cells = (_interval(r.report.baselines[name]) if name in r.report.baselines else "-" for r in reports)
        rows.append((f"  by {name.replace('_', ' ')}", *cells))
    return tuple(rows)


def control_line(result: SearchResult, control: SearchResult) -> str:
    """Hypervolume beside another study's, and what each was trained for."""
    ours, theirs = beside_control(result, control)
    if theirs <= 0:
        return f"hypervolume: {ours:.4f}, {control.study} 0"
    return (
        f"hypervolume: {ours:.4f} after {format_count(trained_tokens(result))} tokens, {control.study} "
        f"{theirs:.4f} after {format_count(trained_tokens(control))} ({ours / theirs - 1:+.1%})"
    )


def trained_tokens(result: SearchResult) -> int:
    """Tokens of all training that the study did."""
    return sum(r.proxy.trained_tokens for r in result.records if r.proxy and r.repeats is None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(interval: Interval) -> str:
    if interval.value is None:
        return "-"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.2f}"
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
