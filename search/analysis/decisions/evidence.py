"""Runs of a study as observations of models: scores, seeds, lengths of training and paired errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.analysis.decisions.points import ModelPoint, Observation
from search.quality.features import trial_features
from search.store.results import ProxyResult, SearchResult, TrialRecord, TrialStatus

# Paired error of a score of which no chunks are kept, bits per byte: that of 64 chunks of 128 bytes.
_UNKNOWN_SD = 0.012


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A study's trained models and their runs."""

    points: tuple[ModelPoint, ...]  # one for each trained trial
    trials: tuple[int, ...]  # their numbers
    observations: tuple[Observation, ...]
    paired_sd: float  # error of a difference of two models' scores by the chunks alone, bits per byte


def evidence(result: SearchResult) -> Evidence:
    """Return all complete runs of a study, of every rung and seed."""
    points, runs = [], []
    for place, record in enumerate(result.trained):
        points.append(_point(record, result))
        runs += [(place, run) for run in _complete(record)]
    sds = paired_errors([run for _, run in runs])
    observations = tuple(
        Observation(
            point=place,
            seed=run.seed,
            tokens=float(run.trained_tokens),
            bits_per_byte=run.val_bits_per_byte or 0.0,
            scoring_sd=sd,
        )
        for (place, run), sd in zip(runs, sds, strict=True)
    )
    return Evidence(
        points=tuple(points),
        trials=tuple(record.number for record in result.trained),
        observations=observations,
        paired_sd=float(np.sqrt(2) * np.median(sds)) if sds else 0.0,
    )


def paired_errors(runs: Sequence[ProxyResult]) -> tuple[float, ...]:
    """Return each score's error that is not common to all models, bits per byte.

    Chunks are the same for all: what makes one hard is common and cancels in differences. What is left after
    each chunk's and each model's mean is the model's own.
    """
    counts = [len(run.val_chunk_bits) for run in runs]
    most = max(counts, default=0)
    same = [run for run, count in zip(runs, counts, strict=True) if count == most and count > 1]
    if len(same) < 2:
        return (_UNKNOWN_SD,) * len(runs)
    bits = np.array([run.val_chunk_bits for run in same])
    rest = bits - bits.mean(0) - bits.mean(1, keepdims=True) + bits.mean()
    # a model's own part is a share 1 - 1 / n of what is left after the mean of n models
    own = rest.std(1, ddof=1) / np.sqrt(most * (1 - 1 / len(same)))
    found = iter(own.tolist())
    return tuple(next(found) if count == most and count > 1 else _UNKNOWN_SD for count in counts)


def _point(record: TrialRecord, result: SearchResult) -> ModelPoint:
    return ModelPoint(
        shape=record.trained_architecture,
        features=trial_features(record, runtime=result.runtime),
        format=record.candidate.format,
        size_bytes=record.file_bytes,
    )


def _complete(record: TrialRecord) -> list[ProxyResult]:
    runs = record.runs or ((record.proxy,) if record.proxy else ())
    return [r for r in runs if r.status is TrialStatus.COMPLETE and r.val_bits_per_byte and r.trained_tokens]
