"""What a search still has to train: rungs, survivors, finalists and their seeds, read off what is stored.

Nothing here remembers anything: the same finished runs give the same plan, whoever asks and whenever, so a
search goes on after a kill as if it had not been stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, inf
from typing import NamedTuple

from search.space.config import SearchConfig
from search.store.results import ProxyResult, TrialRecord, TrialStatus
from search.trust.finalists import Finalist, overlapping
from search.trust.rungs import RungEntry, RungSettings, ladder, survivors

# Steps of falling rate that runs to the last of several rungs get on top, as a share of the rung's; runs to
# earlier rungs get as many on a copy where they need them to be scored (search/proxy/training.py).
RUNG_COOLDOWN_SHARE = 0.1
WARMUP_SHARE = 0.05  # of the first rung's steps, at most
_MAX_WARMUP = 50


class Run(NamedTuple):
    """One run to train: which trial's candidate, up to which rung, with which seed (0: the study's own)."""

    number: int
    rung: int
    seed: int


class Stage(NamedTuple):
    """What is trained at present: the rung, the trials in it, and the runs that are not done."""

    rung: int
    cohort: tuple[int, ...]
    missing: tuple[Run, ...]


def rung_steps(config: SearchConfig) -> tuple[int, ...]:
    """Steps at the end of each rung, longest last."""
    return ladder(config.steps, eta=config.eta, rungs=config.rungs, lowest=config.lowest_rung_steps)


def final_rung(config: SearchConfig) -> int:
    """The rung whose runs end with a falling rate: the last."""
    return len(rung_steps(config)) - 1


def steps_of(config: SearchConfig, rung: int) -> tuple[int, int | None]:
    """Steps up to which a rung trains and how many of them cool down; None: the trainer's own share."""
    steps = rung_steps(config)
    if len(steps) == 1:
        return steps[0], None
    if rung < len(steps) - 1:
        return steps[rung], 0
    cooldown = cooldown_steps(steps[-1])
    return steps[-1] + cooldown, cooldown


def cooldown_steps(steps: int) -> int:
    """Steps of falling rate after so many at the full one."""
    return ceil(RUNG_COOLDOWN_SHARE * steps)


def warmup_steps(config: SearchConfig) -> int:
    """Steps of rising rate, the same for every run of a study."""
    return min(_MAX_WARMUP, int(WARMUP_SHARE * rung_steps(config)[0]))


def expected_steps(config: SearchConfig, *, aside: bool) -> int:
    """Steps that the whole search trains if no run diverges and no finalists tie.

    `aside`: whether runs to earlier rungs than the last are scored after a cool-down on a copy.
    """
    before, total, count = 0, 0, config.trials
    for rung in range(final_rung(config) + 1):
        if rung:
            count = ceil(count / config.eta)
        end, _ = steps_of(config, rung)
        total += count * (end - before)
        if aside and rung < final_rung(config):
            total += count * cooldown_steps(end)
        before = end
    return total


def stage(config: SearchConfig, records: Iterable[TrialRecord]) -> Stage:
    """Where a search stands whose trials have all been to the first rung; nothing missing: it is done."""
    trained = {r.number: r for r in records if r.repeats is None and r.runs}
    done = {(n, run.rung, run.seed - config.seed): run for n, r in trained.items() for run in r.runs}
    last, settings = final_rung(config), RungSettings(eta=config.eta, bins=config.size_bins)
    cohort = [n for n in trained if _complete(done.get((n, 0, 0)))]
    for rung in range(1, last + 1):
        entries = [_entry(trained[n], done[n, rung - 1, 0]) for n in cohort]
        cohort = list(survivors(entries, settings, first_rung=rung == 1)) if entries else []
        missing = tuple(Run(n, rung, 0) for n in cohort if (n, rung, 0) not in done)
        if missing:
            return Stage(rung, tuple(cohort), missing)
        cohort = [n for n in cohort if _complete(done[n, rung, 0])]
    tied = _tied(config, trained, {n: done[n, last, 0] for n in cohort})
    seeds = range(1, config.final_seeds)
    missing = tuple(Run(n, last, s) for n in tied for s in seeds if (n, last, s) not in done)
    return Stage(last, tuple(cohort), missing)


def _complete(run: ProxyResult | None) -> bool:
    return run is not None and run.status is TrialStatus.COMPLETE


def _entry(record: TrialRecord, run: ProxyResult) -> RungEntry:
    return RungEntry(
        id=record.number,
        size_bytes=record.file_bytes,
        depth=record.candidate.architecture.executed_layers,
        loss=inf if run.val_bits_per_byte is None else run.val_bits_per_byte,
    )


def _tied(
    config: SearchConfig, trained: Mapping[int, TrialRecord], finals: Mapping[int, ProxyResult]
) -> tuple[int, ...]:
    """Finalists that one seed cannot tell from their neighbours on the front."""
    if config.final_seeds == 1:
        return ()
    scored = [
        Finalist(id=n, size_bytes=trained[n].file_bytes, losses=(run.val_chunk_bits,))
        for n, run in finals.items()
        if len(run.val_chunk_bits) > 1  # a study of an earlier version kept none
    ]
    return tuple(sorted({n for pair in overlapping(scored) for n in pair})) if scored else ()
