"""Run by a Dask worker before its tasks: training becomes a sleep of TASK_S seconds, with reports."""

from __future__ import annotations

import os
import time
from typing import Any

from search.run import cluster_worker
from search.store.results import ProxyResult, TrialStatus
from search.training.training_run import StepReport

_REPORTS = 20


def _sleep(candidate: Any, text: Any, training: Any, *, on_step: Any, **others: Any) -> ProxyResult:
    seconds = float(os.environ["TASK_S"])
    for step in range(1, _REPORTS + 1):
        time.sleep(seconds / _REPORTS)
        on_step(StepReport(step=step, steps=_REPORTS, loss=1.0, tokens_per_s=1.0))
    return ProxyResult(
        status=TrialStatus.COMPLETE,
        val_bits_per_byte=1.0,
        val_bits_per_byte_sd=0.0,
        val_bits_per_byte_full=1.0,
        num_parameters=1,
        steps=training.steps,
        trained_tokens=1,
        wall_s=seconds,
        seed=training.seed,
    )


setattr(cluster_worker, "train_proxy", _sleep)  # noqa: B010  of a module that does not export it
