"""A study as one HTML page that opens offline, with the same figures as CSV and JSON files beside it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

from reports.breakdowns import breakdown_figure, bytes_info, memory_info, parameters_info
from reports.deployment import deployed_estimate
from reports.documents import frontier_document
from reports.figures import FIGURE_CONFIG, frontier_figure, frontier_info
from reports.frames import frontier_frame, trials_frame
from reports.frontier_text import frontier_cells, frontier_columns
from reports.page_assets import CONTENT_SECURITY_POLICY, SCRIPT, STYLE
from reports.trust_notes import trust_notes
from reports.wording import NOT_KNOWN, budget_texts, rate_text, score_text, shape_text
from search.pareto import frontier
from search.results import SearchResult, TrialRecord, TrialStatus
from sizer.errors import InvalidFile, SizerError
from sizer.units import format_bytes, format_count, format_seconds

_TEXT_COLUMNS = ("shape", "format", "status", "remark")
_TRIAL_COLUMNS = (
    "trial",
    "status",
    "shape",
    "format",
    "file",
    "parameters",
    "decode tokens/s",
    "bits per byte ± se",
    "remark",
)


class ReportFiles(NamedTuple):
    """What `write_report` wrote."""

    html: Path
    frontier_csv: Path
    trials_csv: Path
    frontier_json: Path


def write_report(result: SearchResult, out_dir: Path | str) -> ReportFiles:
    """Write report.html, frontier.csv, trials.csv and frontier.json into a directory, made if need be.

    A reader never sees half a file: each is written beside its place and moved there. Raises InvalidFile when
    the directory cannot be made or written to.
    """
    folder = Path(out_dir)
    files = ReportFiles(
        html=folder / "report.html",
        frontier_csv=folder / "frontier.csv",
        trials_csv=folder / "trials.csv",
        frontier_json=folder / "frontier.json",
    )
    contents: dict[Path, Callable[[], str]] = {
        files.frontier_json: lambda: frontier_json(result),
        files.frontier_csv: lambda: frontier_frame(result).to_csv(index=False),
        files.trials_csv: lambda: trials_frame(result).to_csv(index=False),
        files.html: lambda: report_html(result),
    }
    texts = {path: content() for path, content in contents.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            _replace_text(path, text)
    except OSError as error:
        raise InvalidFile(
            f"out: cannot write to {str(folder)!r}: {error.strerror or error}; "
            "accepted: a directory you may write to, or a new one in such a directory"
        ) from None
    return files


def frontier_json(result: SearchResult) -> str:
    """The frontier document as indented JSON text."""
    return json.dumps(frontier_document(result), indent=2, allow_nan=False) + "\n"


def report_html(result: SearchResult) -> str:
    """The whole page as text; everything that comes from the study is escaped."""
    title = f"{result.study}: frontier of file size and accuracy"
    body = "".join((_head(result), _frontier(result), _models(result), _trust(result), _trials(result)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n<main>\n{body}</main>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _replace_text(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.write(text)
        Path(name).chmod(0o644)  # mkstemp's own 0600 would keep colleagues from reading a shared report
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _head(result: SearchResult) -> str:
    budget = "; ".join(budget_texts(result)) or "no limit"
    asked = {
        "device": result.device or "none: no speed was predicted",
        "runtime": result.runtime,
        "budget": budget,
        "corpus": f"{result.corpus} (digest {result.corpus_digest[:12]})",
        **{key.replace("_", " "): _setting(value) for key, value in result.settings.items()},
    }
    lead = "Which small model to train for this device and budget, and how sure that is."
    return (
        f'<h1>{escape(result.study)}</h1>\n<p class="lead">{lead}</p>\n{_tiles(result)}'
        f"<h2>What was asked</h2>\n{_definitions(asked)}"
    )


def _setting(value: str | int | float) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _tiles(result: SearchResult) -> str:
    # a repeat of an earlier candidate is listed below but was no trial of its own
    own = [record.status for record in result.records if record.repeats is None]
    counts = {status: own.count(status) for status in TrialStatus}
    document = frontier_document(result)
    tiles = {
        "trials asked for": f"{result.trials_requested:,}",
        "trained to a score": f"{len(result.trained):,}",
        "on the frontier": f"{len(document['points']):,}",
        "over the budget, not trained": f"{counts[TrialStatus.INFEASIBLE]:,}",
        "diverged": f"{counts[TrialStatus.DIVERGED]:,}",
        "failed": f"{counts[TrialStatus.FAILED]:,}",
        "tokens trained on": format_count(document["trained_tokens"]),
        "training time": format_seconds(document["wall_s"]),
    }
    cells = "".join(
        f'<div class="tile"><b>{escape(v)}</b><span>{escape(k)}</span></div>' for k, v in tiles.items()
    )
    return f'<div class="tiles">{cells}</div>\n'


def _frontier(result: SearchResult) -> str:
    cells = frontier_cells(result)
    if not cells:
        text = '<p class="notice">No trial came to a score, so there is no frontier yet.</p>'
        return f"<h2>Frontier</h2>\n{text}\n"
    one = (
        '<p class="notice">The frontier has one model only: it is both the smallest and the most accurate of '
        "those trained, so it says nothing about the trade between the two.</p>"
        if len(cells) == 1
        else ""
    )
    figure = _figure_html(frontier_figure(frontier_info(result)), "frontier")
    table = _table(frontier_columns(result), cells)
    return f"<h2>Frontier</h2>\n{one}{figure}{table}"


def _models(result: SearchResult) -> str:
    front = frontier(result)
    if not front:
        return ""
    smallest, best = front[0], front[-1]
    chosen = {"Most accurate model": best, "Smallest model": smallest}
    if smallest.number == best.number:
        chosen = {"The frontier's model": best}
    parts = "".join(_model(result, title, record) for title, record in chosen.items())
    return f"<h2>Where the bytes go</h2>\n{parts}"


def _model(result: SearchResult, title: str, record: TrialRecord) -> str:
    heading = (
        f"<h3>{escape(title)}: trial {record.number}</h3>\n"
        f'<p class="quiet">{escape(shape_text(record.candidate.architecture))} in '
        f"{escape(record.candidate.format)}, {escape(score_text(record))} bits per byte</p>\n"
    )
    try:
        sized = deployed_estimate(result, record)
    except SizerError as error:
        # a study from elsewhere may name a device or format that this version does not know
        return f'{heading}<p class="notice">No breakdown: {escape(str(error))}</p>\n'
    figures = "".join(
        f"<div>{_figure_html(breakdown_figure(info), f'trial-{record.number}-{name}')}</div>"
        for name, info in (
            ("parameters", parameters_info(sized)),
            ("file", bytes_info(sized)),
            ("memory", memory_info(sized)),
        )
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in sized.assumptions)
    return (
        f'{heading}<div class="parts">{figures}</div>\n'
        f'<details><summary class="quiet">assumptions</summary><ul>{notes}</ul></details>\n'
    )


def _trust(result: SearchResult) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in trust_notes(result))
    return f"<h2>How far to trust it</h2>\n<ul>{notes}</ul>\n"


def _trials(result: SearchResult) -> str:
    on_front = {record.number for record in frontier(result)}
    records = sorted(result.records, key=lambda record: record.number)
    rows = tuple(_trial_cells(record) for record in records)
    marked = tuple(record.number in on_front for record in records)
    caption = '<p class="quiet">Models on the frontier are in bold.</p>' if on_front else ""
    return f"<h2>All trials</h2>\n{caption}{_table(_TRIAL_COLUMNS, rows, marked)}"


def _trial_cells(record: TrialRecord) -> tuple[str, ...]:
    reasons = list(record.violations)
    if record.repeats is not None:
        reasons.append(f"same as trial {record.repeats}")
    return (
        str(record.number),
        record.status.value,
        shape_text(record.candidate.architecture),
        record.candidate.format,
        format_bytes(record.file_bytes),
        format_count(record.num_parameters),
        rate_text(record.decode_tokens_per_s.value) if record.decode_tokens_per_s else NOT_KNOWN,
        score_text(record),
        "; ".join(reasons),
    )


def _figure_html(figure: go.Figure, name: str) -> str:
    figure_html: str = plotly.io.to_html(
        figure,
        config=FIGURE_CONFIG,
        include_plotlyjs=False,
        full_html=False,
        default_height=f"{figure.layout.height}px",
        div_id=f"figure-{name}",
    )
    return f'<div class="figure">{figure_html}</div>\n'


def _definitions(items: dict[str, str]) -> str:
    rows = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in items.items()
    )
    return f"<dl>{rows}</dl>\n"


def _table(
    columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...], marked: tuple[bool, ...] | None = None
) -> str:
    kinds = ["wide" if c == "remark" else "" if c in _TEXT_COLUMNS else "number" for c in columns]
    head = "".join(f'<th class="{kind}">{escape(c)}</th>' for c, kind in zip(columns, kinds, strict=True))
    lines = []
    for row, bold in zip(rows, marked or (False,) * len(rows), strict=True):
        cells = "".join(f'<td class="{kind}">{escape(c)}</td>' for c, kind in zip(row, kinds, strict=True))
        lines.append(f"<tr{' class=front' if bold else ''}>{cells}</tr>")
    body = "".join(lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n'
