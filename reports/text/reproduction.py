"""What came of repeating a published comparison: a table for the terminal, Markdown for a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from search.reproductions.agreement import (
    COVERAGE,
    FEWEST_RANKED,
    AgreementVerdict,
    ArmFinding,
    ClaimFinding,
    Findings,
    OrderFinding,
)
from search.reproductions.reproductions import Reproduction
from search.reproductions.with_law import Expected, LawFindings
from search.stats.rank_correlation import Interval
from sizer.units import format_bytes, format_count, format_seconds

_ARM_COLUMNS = ("arm", "published", "proxy", "parameters", "tensors", "bits/byte", "over seeds", "seeds")
_CLAIM_COLUMNS = ("claim", "published", "here, bits/byte", "seeds", "verdict")


def catalogue_table(known: Sequence[Reproduction]) -> RenderableType:
    """Return the reproductions by name, with the work that each takes."""
    table = Table("name", "what", title="Reproductions", box=SIMPLE_HEAD, title_justify="left")
    for column in ("runs", "steps", "tokens", "core minutes"):
        table.add_column(column, justify="right")
    for r in known:
        runs = len(r.arms) * r.seeds
        tokens = runs * r.steps * r.batch_size * r.seq_len
        minutes = f"{r.core_minutes:g}"
        table.add_row(r.name, escape(r.title), f"{runs}", f"{r.steps:,}", format_count(tokens), minutes)
    return table


def reproduction_table(found: Findings) -> RenderableType:
    """Return the report of one reproduction."""
    r = found.reproduction
    arms = Table(*_ARM_COLUMNS, box=SIMPLE_HEAD)
    for arm in found.arms:
        arms.add_row(*map(escape, _arm_cells(arm)))
    claims = Table(*_CLAIM_COLUMNS, box=SIMPLE_HEAD)
    for claim in found.claims:
        claims.add_row(*map(escape, _claim_cells(claim)))
    lines = [r.title, f"published: {r.published}", f"source:    {r.source}", f"matched:   {r.matched}"]
    after = [f"order:     {_order_words(found.order)}"] if found.order else []
    after += [f"with law:  {line}" for line in _law_lines(found.with_law)]
    after += [f"cost:      {_cost(found)}", f"ranges:    {_ranges()}"]
    after += [f"limit:     {limit}" for limit in r.limits]
    return Group(*map(escape, lines), arms, claims, *map(escape, after))


def _arm_cells(found: ArmFinding) -> tuple[str, ...]:
    a = found.arm.candidate.architecture
    which = f"all but {a.sharing.ends} at each end" if a.sharing.ends else "each"
    runs = f", {which} {a.sharing.repeat} times" if a.sharing.repeat > 1 else ""
    diverged = f", {found.diverged} diverged" if found.diverged else ""
    value = "-" if found.arm.published_value is None else f"{found.arm.published_value:g}"
    return (
        found.arm.label,
        value,
        f"{a.num_layers} x {a.hidden_size}{runs}, {found.arm.candidate.format}",
        f"{found.arm.parameters:,}",
        format_bytes(found.arm.tensor_bytes),
        "-" if found.bits_per_byte is None else f"{found.bits_per_byte:.4f}",
        "-" if found.seed_sd is None else f"± {found.seed_sd:.4f}",
        f"{found.seeds}{diverged}",
    )


def _claim_cells(found: ClaimFinding) -> tuple[str, ...]:
    published = found.claim.published
    return (
        found.claim.text,
        "-" if published is None else f"{published[0]:g} against {published[1]:g}",
        _interval(found.difference, digits=4, signed=True),
        f"{found.seeds}",
        found.verdict.value,
    )


def _interval(interval: Interval, *, digits: int, signed: bool = False) -> str:
    if interval.value is None:
        return "-"
    kind = f"{'+' if signed else ''}.{digits}f"
    if interval.low is None or interval.high is None:
        return f"{interval.value:{kind}} (no range)"
    return f"{interval.value:{kind}} ({interval.low:{kind}} to {interval.high:{kind}})"


def _order_words(order: OrderFinding) -> str:
    if order.spearman.value is None:
        return f"{order.verdict.value}: fewer than {FEWEST_RANKED} arms have a score"
    counters = [
        f"{name} {value:.2f}"
        for name, value in (("parameters", order.by_parameters), ("layers", order.by_depth))
        if value is not None
    ]
    counted = f"; counting {', '.join(counters)}" if counters else ""
    return (
        f"{order.verdict.value}: Spearman with the published order "
        f"{_interval(order.spearman, digits=2)}, Kendall {_interval(order.kendall, digits=2)}{counted}"
    )


def _law_lines(found: LawFindings | None) -> list[str]:
    """Return what the law expects of the published models, alone and with the runs, a line a claim."""
    if found is None:
        return []
    after = f"after {format_count(round(found.tokens))} tokens, of the published models"
    lines = [
        f"{after}: {c.claim.text}: by the law alone {_expected(c.law)}, by these runs alone "
        f"{_expected(c.runs)}, by both {_expected(c.both)}; the runs moved it by {c.moved:+.2%}"
        for c in found.claims
    ]
    if found.order is not None:
        law, runs, both = ("-" if rho is None else f"{rho:.2f}" for rho in found.order)
        lines.append(
            f"{after}: Spearman of the order with the published one: by the law alone {law}, by these runs "
            f"alone {runs}, by both {both}"
        )
    return lines


def _expected(found: Expected) -> str:
    return f"{found.share:+.2%} of the loss (probability {found.probability:.2f})"


def _cost(found: Findings) -> str:
    if not found.runs:
        return "nothing is trained"
    r = found.reproduction
    time = (
        f"{format_seconds(found.cpu_s)} of one core"
        if found.cpu_s is not None
        else f"{format_seconds(found.wall_s)} of training"
    )
    return (
        f"{found.runs} runs of {found.steps:,} steps of {r.batch_size} x {r.seq_len} tokens, "
        f"{format_count(found.trained_tokens)} in all, {time} in {' and '.join(found.dtypes)}"
    )


def _ranges() -> str:
    return f"{COVERAGE:.0%}, over seeds and validation text; over arms for orders; positive: as published"


def reproductions_page(all_found: Sequence[Findings], command: str) -> str:
    """Return a Markdown page: verdicts first, then each reproduction."""
    lines = [
        "# Reproductions",
        "",
        f"Made by `{command}`; not to be edited.",
        "",
        "Published comparisons repeated with models of 0.2 to 1.5 million parameters on the sources and "
        "texts of Python's standard library. Arms of a seed read the same batches and are scored on the same "
        "text; a difference is of validation bits per byte, positive where it is as published. Ranges cover "
        f"{COVERAGE:.0%}: of differences over seeds and over text, of orders over resampled arms. A verdict "
        "is the range's alone: *agrees* where all of it is positive, *disagrees* where all of it is "
        "negative, *cannot tell at this size* otherwise.",
        "",
        "| reproduction | claim | published | here | verdict |",
        "|---|---|---|---|---|",
    ]
    for found in all_found:
        name = found.reproduction.name
        if found.order is not None:
            rho = _interval(found.order.spearman, digits=2)
            lines.append(
                _row((name, "the order of all arms", "-", f"Spearman {rho}", found.order.verdict.value))
            )
        for claim in found.claims:
            text, published, here, _, verdict = _claim_cells(claim)
            lines.append(_row((name, text, published, here, verdict)))
    lines += ["", _tally(all_found)]
    for found in all_found:
        lines += ["", *_section(found)]
    return "\n".join([*lines, ""])


def _tally(all_found: Sequence[Findings]) -> str:
    """Count the claims of each verdict."""
    verdicts = [claim.verdict for found in all_found for claim in found.claims]
    verdicts += [found.order.verdict for found in all_found if found.order is not None]
    counts = [(verdict.value, verdicts.count(verdict)) for verdict in AgreementVerdict]
    return f"Verdicts: {', '.join(f'{count} {name}' for name, count in counts if count)}."


def _section(found: Findings) -> list[str]:
    r = found.reproduction
    lines = [
        f"## {r.title}",
        "",
        f"`sizer search reproduce {r.name}`. Published: {r.published} Source: {r.source}. In {r.metric}.",
        "",
        f"Matched: {r.matched}. Cost: {_cost(found)}.",
        "",
        _row(_ARM_COLUMNS),
        "|---" * len(_ARM_COLUMNS) + "|",
        *(_row(_arm_cells(arm)) for arm in found.arms),
        "",
        _row(_CLAIM_COLUMNS),
        "|---" * len(_CLAIM_COLUMNS) + "|",
        *(_row(_claim_cells(claim)) for claim in found.claims),
    ]
    if found.order is not None:
        lines += ["", f"Order of all arms: {_order_words(found.order)}."]
    if found.with_law is not None:
        lines += ["", "With the law of quality (`search/quality/law.py`), positive as published:", ""]
        lines += [f"- {line}" for line in _law_lines(found.with_law)]
    return [*lines, "", "Limits:", "", *(f"- {limit}" for limit in r.limits)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
