"""What a search still has to train: rungs, survivors, finalists and their seeds, read off what is stored.

Nothing here remembers anything: the same finished runs give the same plan, whoever asks and whenever, so a
search continues after a kill as if it had not been stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, inf
from typing import NamedTuple

from search.config.config import SearchConfig
from search.schedule.audit import AUDIT_SEEDS, AuditModel, audit_sample
from search.schedule.finalists import Finalist, overlapping
from search.schedule.rungs import RungEntry, RungSettings, rung_lengths, survivors
from search.store.results import ProxyResult, TrialRecord, TrialStatus
from search.training.cooldown import cooldown_steps

WARMUP_SHARE = 0.05  # of the first rung's steps, at most
_MAX_WARMUP = 50


class PlannedRun(NamedTuple):
    """One run to train: which trial's candidate, up to which rung, with which seed (0: the study's own)."""

    number: int
    rung: int
    seed: int


class Stage(NamedTuple):
    """What is trained at present: the rung, the trials in it, and the runs that are not done."""

    rung: int
    cohort: tuple[int, ...]
    missing: tuple[PlannedRun, ...]


def rung_steps(config: SearchConfig) -> tuple[int, ...]:
    """Return the training steps at the end of each rung, longest last."""
    return rung_lengths(
        config.training.steps,
        eta=config.training.eta,
        rungs=config.training.rungs,
        lowest=config.training.lowest_rung_steps,
    )


def final_rung(config: SearchConfig) -> int:
    """Return the last rung, whose runs end with a falling rate."""
    return len(rung_steps(config)) - 1


def steps_of(config: SearchConfig, rung: int) -> tuple[int, int | None]:
    """Return the steps up to which a rung trains and its cool-down steps; None: the trainer's own share."""
    steps = rung_steps(config)
    if len(steps) == 1:
        return steps[0], None
    if rung < len(steps) - 1:
        return steps[rung], 0
    cooldown = cooldown_steps(steps[-1])
    return steps[-1] + cooldown, cooldown


def warmup_steps(config: SearchConfig) -> int:
    """Return the steps of rising rate, the same for every run of a study."""
    return min(_MAX_WARMUP, int(WARMUP_SHARE * rung_steps(config)[0]))


def expected_steps(config: SearchConfig, *, aside: bool) -> int:
    """Return the steps of the whole search if no run diverges and no finalists tie.

    `aside`: whether runs to earlier rungs than the last are scored after a cool-down on a copy.
    """
    before, total, count = 0, 0, config.training.trials
    audited = 2 * _audit_pairs(config) if count > 1 else 0
    for rung in range(final_rung(config) + 1):
        if rung:
            count = min(count, ceil(count / config.training.eta) + audited)
        end, _ = steps_of(config, rung)
        total += count * (end - before)
        if aside and rung < final_rung(config):
            total += count * cooldown_steps(end)
        before = end
    return total + min(audited, config.training.trials) * (AUDIT_SEEDS - 1) * before


def steps_of_more_seeds(config: SearchConfig, current: Stage) -> int | None:
    """Return the steps of what a stage has left where it is other seeds alone, which nothing follows.

    None for any other stage: how many finalists will tie, nobody knows before they are scored.
    """
    if not current.missing or not all(run.seed for run in current.missing):
        return None
    return sum(steps_of(config, run.rung)[0] for run in current.missing)


def _audit_pairs(config: SearchConfig) -> int:
    return config.training.audit_pairs if config.training.final_seeds > 1 else 0


def audited_trials(config: SearchConfig, records: Iterable[TrialRecord]) -> tuple[int, ...]:
    """Return the trials of a search's audit pairs, chosen when its first rung is complete."""
    own = config.training.seed
    models = {
        r.number: AuditModel(shape=r.candidate.architecture, size_bytes=r.file_bytes)
        for r in records
        if r.repeats is None and any(run.rung == 0 and run.seed == own and _complete(run) for run in r.runs)
    }
    return audit_sample(models, _audit_pairs(config))


def stage(config: SearchConfig, records: Iterable[TrialRecord]) -> Stage:
    """Return the stage of a search whose trials have all been in the first rung; no missing runs: done."""
    trained = {r.number: r for r in records if r.repeats is None and r.runs}
    done = {(n, run.rung, run.seed - config.training.seed): run for n, r in trained.items() for run in r.runs}
    last, settings = final_rung(config), RungSettings(eta=config.training.eta, bins=config.training.size_bins)
    cohort = [n for n in trained if _complete(done.get((n, 0, 0)))]
    audit = audited_trials(config, trained.values())
    for rung in range(1, last + 1):
        entries = [_entry(config, trained[n], done[n, rung - 1, 0]) for n in cohort]
        cohort = list(survivors(entries, settings, first_rung=rung == 1, audit=audit)) if entries else []
        missing = tuple(PlannedRun(n, rung, 0) for n in cohort if (n, rung, 0) not in done)
        if missing:
            return Stage(rung, tuple(cohort), missing)
        cohort = [n for n in cohort if _complete(done[n, rung, 0])]
    tied = _tied(config, trained, {n: done[n, last, 0] for n in cohort})
    seeds = range(1, config.training.final_seeds)
    wanted = {(n, s) for n in tied for s in seeds}
    wanted |= {(n, s) for n in audit if n in cohort for s in range(1, AUDIT_SEEDS)}
    missing = tuple(PlannedRun(n, last, s) for n, s in sorted(wanted) if (n, last, s) not in done)
    return Stage(last, tuple(cohort), missing)


def _complete(run: ProxyResult | None) -> bool:
    return run is not None and run.status is TrialStatus.COMPLETE


def _entry(config: SearchConfig, record: TrialRecord, run: ProxyResult) -> RungEntry:
    return RungEntry(
        id=record.number,
        costs=record.costs(config.objectives),
        depth=record.candidate.architecture.executed_layers,
        loss=inf if run.val_bits_per_byte is None else run.val_bits_per_byte,
    )


def _tied(
    config: SearchConfig, trained: Mapping[int, TrialRecord], finals: Mapping[int, ProxyResult]
) -> tuple[int, ...]:
    """Return finalists that one seed cannot separate from their neighbours on the front."""
    if config.training.final_seeds == 1:
        return ()
    scored = [
        Finalist(id=n, costs=trained[n].costs(config.objectives), losses=(run.val_chunk_bits,))
        for n, run in finals.items()
        if len(run.val_chunk_bits) > 1  # a study of an earlier version kept none
    ]
    return tuple(sorted({n for pair in overlapping(scored) for n in pair})) if scored else ()
