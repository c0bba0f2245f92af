"""How far a study's ranking can be believed: a line, a table and a JSON document."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from search.analysis.ranking import RankedBy, ranking
from search.analysis.reliability import RungTrust, chosen, control_hypervolumes, rung_trust
from search.stats.rank_correlation import Interval
from search.store.results import SearchResult
from sizer.units import format_count

NO_TRUST = "not known, as no model was trained for longer than the others"
TAU_ROW = "tau of those pairs"


def trust_line(result: SearchResult) -> str:
    """Return the verdict, its tau, and whether it is about another score than the one that ranks."""
    best = chosen(rung_trust(result))
    of = (
        ""
        if ranking(result).by is RankedBy.TRAINED
        else "; of the proxies' own scores, which are not the ranking here"
    )
    if best is None:
        return f"{NO_TRUST}{of}"
    r = best.report
    return (
        f"{r.verdict} (tau {_interval(r.tau_10pct)} over {r.pairs} pairs of one size; "
        f"{best.early_steps:,} against {best.late_steps:,} steps){of}"
    )


def measured_line(reports: Sequence[RungTrust]) -> tuple[str, ...]:
    """Return how often the verdict's words were right in replayed studies; nothing if it claims nothing."""
    best = chosen(reports)
    known = None if best is None else best.report.judged.rests_on
    if known is None:
        return ()
    return (
        f"right in {known.right:.0%} of {known.studies} replayed studies that got these words; of "
        f"{known.false_studies} for which they are false, {known.wrongly:.0%} got them",
    )


def trust_sentence(line: str) -> str:
    """Return the verdict as the sentence that stands near a study's best score."""
    return f"How far to trust the order of these models: {line}."


def trust_columns(reports: Sequence[RungTrust]) -> tuple[str, ...]:
    """Return headings of the table of trust: the measure, then a column for each later rung."""
    return ("measure", *(f"{r.early_steps:,} to {r.late_steps:,} steps" for r in reports))


def trust_rows(reports: Sequence[RungTrust]) -> tuple[tuple[str, ...], ...]:
    """Return the table of trust as text: a row for each measure, the deciding tau before its baselines."""
    names = dict.fromkeys(name for r in reports for name in r.report.baselines)
    return (
        ("models", *(f"{r.report.models}" for r in reports)),
        ("pairs within 10 % of size", *(f"{r.report.pairs}" for r in reports)),
        ("Spearman, all", *(_number(r.report.spearman) for r in reports)),
        ("Kendall, all", *(_number(r.report.kendall) for r in reports)),
        (TAU_ROW, *(_interval(r.report.tau_10pct) for r in reports)),
        *((f"  by {name.replace('_', ' ')}", *(_baseline(r, name) for r in reports)) for name in names),
    )


def trust_table(
    result: SearchResult, reports: Sequence[RungTrust], control: SearchResult | None
) -> RenderableType:
    """Return a column for each later rung, a row for each measure, and the verdict below."""
    table = Table(title=f"Trust in study {result.study}", box=SIMPLE_HEAD, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in trust_columns(reports)[1:]:
        table.add_column(heading.replace(" to ", " to\n"), justify="right")
    for row in trust_rows(reports):
        table.add_row(*row, style="bold" if row[0] == TAU_ROW else None)
    lines = [f"verdict: {trust_line(result)}", *measured_line(reports)]
    if control is not None:
        lines.append(control_line(result, control))
    return Group(table, *lines) if reports else Group(*lines)


def control_line(result: SearchResult, control: SearchResult) -> str:
    """Return the hypervolume and the training tokens of this and of the control study."""
    ours, theirs = control_hypervolumes(result, control)
    if theirs <= 0:
        return f"hypervolume: {ours:.4f}, {control.study} 0"
    return (
        f"hypervolume: {ours:.4f} after {format_count(trained_tokens(result))} tokens, {control.study} "
        f"{theirs:.4f} after {format_count(trained_tokens(control))} ({ours / theirs - 1:+.1%})"
    )


def _baseline(report: RungTrust, name: str) -> str:
    known = report.report.baselines
    return _interval(known[name]) if name in known else "-"


def trained_tokens(result: SearchResult) -> int:
    """Return the tokens of all training that the study did."""
    return sum(r.proxy.trained_tokens for r in result.records if r.proxy and r.repeats is None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(interval: Interval) -> str:
    if interval.value is None:
        return "-"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.2f}"
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
