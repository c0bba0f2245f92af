"""Finished runs of reproductions on disk: one line of JSON each, identified by all that decides a score."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search.reproductions.reproductions import Arm, Reproduction
from search.store.records import proxy_from_dict, proxy_to_dict
from search.store.results import ProxyResult
from search.training.training_run import TRAINER_REVISION, TrainConfig
from sizer.errors import InvalidFile, StudyError

SCHEMA = "sizer.reproduction-run/1"

_KEYS = frozenset(
    (
        "label",
        "seed",
        "steps",
        "model",
        "setting",
        "corpus_digest",
        "fused",
        "dtype",
        "threads",
        "cpu_s",
        "proxy",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionRun:
    """One finished run of an arm."""

    label: str
    seed: int
    threads: int
    cpu_s: float | None  # processor time; None from a worker process, whose parent does not see it
    proxy: ProxyResult


def runs_path(reproduction: Reproduction, folder: Path) -> Path:
    """Return the file of a reproduction's runs."""
    return folder / reproduction.name / "runs.jsonl"


def stored_runs(
    reproduction: Reproduction, folder: Path, steps: int | None = None
) -> tuple[ReproductionRun, ...]:
    """Return finished runs of the current arms, by default of the longest training stored."""
    mine = {arm.label: _model(arm) for arm in reproduction.arms}
    path = runs_path(reproduction, folder)
    rows = [
        row
        for row in read_rows(path)
        if mine.get(row["label"]) == row["model"] and row["setting"] == setting_of(reproduction)
    ]
    if rows and steps is None:
        steps = max(row["steps"] for row in rows)
    return tuple(_run(row, path) for row in rows if row["steps"] == steps)


def _run(row: dict[str, Any], path: Path) -> ReproductionRun:
    try:
        return ReproductionRun(
            label=row["label"],
            seed=row["seed"],
            threads=row["threads"],
            cpu_s=row["cpu_s"],
            proxy=proxy_from_dict(row["proxy"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidFile(f"runs: {str(path)!r} has a line that is no run: {error}") from None


def _model(arm: Arm) -> dict[str, Any]:
    """Return what decides an arm's score, as it reads back from JSON."""
    shape = asdict(arm.candidate.architecture)
    shape.pop("name")
    found: dict[str, Any] = json.loads(json.dumps({"shape": shape, "format": arm.candidate.format}))
    return found


def setting_of(reproduction: Reproduction) -> dict[str, Any]:
    """Return what all arms' scores depend on besides the text, the steps and the seed."""
    return {
        "trainer_revision": TRAINER_REVISION,
        "tokenizer": reproduction.tokenizer.value,
        "batch_size": reproduction.batch_size,
        "seq_len": reproduction.seq_len,
        "val_chunks": reproduction.val_chunks,
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read rows as they were written; lines cut short by a kill are left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile(f"runs: {str(path)!r} cannot be read: {error}") from None
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(row, dict) or row.get("schema") != SCHEMA:
            continue
        if missing := sorted(_KEYS - row.keys()):
            raise InvalidFile(f"runs: {str(path)!r} has a line without {missing[0]!r}; accepted: {SCHEMA}")
        rows.append(row)
    return rows


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a line that is on the disk before this returns, behind whatever a kill left of another."""
    torn = path.is_file() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(("\n" if torn else "") + json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StudyError(f"runs: {str(path)!r} cannot be written: {error.strerror or error}") from None


def row_of(
    arm: Arm,
    setting: dict[str, Any],
    training: TrainConfig,
    result: ProxyResult,
    *,
    corpus_digest: str,
    threads: int,
    cpu_s: float | None,
) -> dict[str, Any]:
    """Return what is kept of a finished run."""
    return {
        "schema": SCHEMA,
        "label": arm.label,
        "seed": training.seed,
        "steps": training.steps,
        "model": _model(arm),
        "setting": setting,
        "corpus_digest": corpus_digest,
        "fused": training.fused,
        "dtype": training.dtype.value,
        "threads": threads,
        "cpu_s": cpu_s,
        "proxy": proxy_to_dict(result),
    }
