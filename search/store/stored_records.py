"""Records and runs as a study's attributes hold them, and what a damaged study makes of its reader."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial

from search.store.records import proxy_from_dict, record_from_json
from search.store.results import ProxyResult, TrialRecord, combined
from sizer.errors import InvalidFile, SizerError, StudyError

RECORD, RUN = "sizer_record", "sizer_run"  # attributes: of a trial, of a study


@contextmanager
def damage_errors(name: str) -> Iterator[None]:
    """Turn what a damaged or edited attribute of a study makes of its reader into one StudyError."""
    try:
        yield
    except StudyError:
        raise
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error) if isinstance(error, SizerError) else f"{type(error).__name__}: {error}"
        raise StudyError(
            f"study: {name!r} is damaged in the storage: {' '.join(reason.split())[:300]}"
        ) from None


def later_runs(attributes: Mapping[str, Any]) -> Mapping[int, list[ProxyResult]]:
    """Return the runs of later rungs and other seeds by trial, in order."""
    later: dict[int, list[ProxyResult]] = {}
    for key, text in attributes.items():
        if key.startswith(f"{RUN}/"):
            later.setdefault(int(key.split("/")[1]), []).append(proxy_from_dict(json.loads(text)))
    return {n: sorted(runs, key=lambda run: (run.rung, run.seed)) for n, runs in later.items()}


def with_runs(record: TrialRecord, later: Mapping[int, list[ProxyResult]]) -> TrialRecord:
    """Return a record with its later runs added."""
    if record.proxy is None or record.repeats is not None:
        return record
    runs = (record.proxy, *later.get(record.number, ()))
    return replace(record, proxy=combined(runs), runs=runs)


def records_of(trials: Iterable[FrozenTrial]) -> Iterator[TrialRecord]:
    """Yield the records of finished trials, of the first rung."""
    for trial in trials:
        text = trial.user_attrs.get(RECORD)
        if text is not None and trial.state.is_finished():
            try:
                yield record_from_json(text)
            except InvalidFile as error:
                raise StudyError(f"study: trial {trial.number}: {error}") from None
