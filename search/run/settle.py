"""Train what is expected to change a study's decisions most: more seeds of its models, and pairs of one size.

Before each action every possible one is weighed: by how much it is expected to make the choices of all
questions likelier to be right, for each second that it takes. Nothing is planned ahead and all state is the
study's, so the same study gives the same next action, and a killed run resumes from its checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from search.analysis.decisions.belief import LossModel, PlannedScore
from search.analysis.decisions.costs import RunCosts, run_costs
from search.analysis.decisions.decisions import differences, with_questions
from search.analysis.decisions.evidence import evidence
from search.analysis.decisions.questions import Question, questions
from search.analysis.decisions.value import Action, gains
from search.run.loop import Loop
from search.run.runner import open_for_training
from search.run.signals import stop_on_signal
from search.schedule.plan import PlannedRun, final_rung
from search.space.sampling import encoding_of
from search.space.space import parameters
from search.store.lock import runner_lock
from search.store.results import Candidate, SearchResult, TrialStatus
from search.store.study import OpenStudy
from search.text.corpora import TextInTokens
from search.training.score import train_proxy
from search.training.training_run import StepReport

# Decisions that an action must be expected to make right to be worth its time.
_LEAST_GAIN = 1e-4
_FOLDER = "settle"


class Chosen(NamedTuple):
    """Runs to train next, and what they are expected to bring."""

    runs: tuple[ToTrain, ...]
    gain: float  # decisions made right
    seconds: float


class ToTrain(NamedTuple):
    """One run to the final rung: of a trial, or of a model that is none yet."""

    candidate: Candidate
    trial: int | None
    seed: int  # 0: the study's own
    params: dict[str, object] | None  # of a new trial


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleProgress:
    """Where settling stands."""

    text: str
    done_s: float
    total_s: float


def settle(
    name: str,
    *,
    storage: str,
    seconds: float,
    report: Callable[[SettleProgress], None],
    most_actions: int | None = None,
) -> tuple[SearchResult, bool]:
    """Train for about this many seconds. Returns (result, whether it was stopped).

    Raises StudyError as `resume` does.
    """
    study, corpus = open_for_training(name, storage)
    began = time.monotonic()
    lock = runner_lock(study.checkpoints.parent, study.name, storage)
    with lock as is_taken_over, stop_on_signal() as is_asked_to_stop:

        def should_stop() -> bool:
            return is_asked_to_stop() or is_taken_over()

        study.recover()
        loop = Loop(study=study, hook=lambda progress: None, should_stop=should_stop)
        loop.load_state()
        for _ in count() if most_actions is None else range(most_actions):
            left = seconds - (time.monotonic() - began)
            chosen = next_action(study.result(), left_s=left)
            if chosen is None or chosen.gain < _LEAST_GAIN:
                break
            for run in chosen.runs:
                text = f"{name} {run.candidate.describe()}, seed {run.seed}"

                def on_step(step: StepReport, text: str = text) -> None:
                    report(SettleProgress(text=text, done_s=time.monotonic() - began, total_s=seconds))

                if not _train(run, study, loop, corpus, on_step, should_stop):
                    return study.result(), True
    return study.result(), False


def next_action(result: SearchResult, *, left_s: float) -> Chosen | None:
    """Return the action with the most expected gain in a second; None if none fits into the time left."""
    assert result.config is not None, "a stored study has its configuration"
    asked = questions(result.config)
    known, costs = evidence(result), run_costs(result)
    points, places = with_questions(known.points, asked, result.runtime)
    planned = [PlannedScore(point=place, tokens=costs.tokens) for place in range(len(points))]
    belief = LossModel(points).believe(
        differences(asked, places, len(points)), known.observations, planned=planned
    )
    options = [
        (runs, at, seconds)
        for runs, at in (*_replicates(result), *_pairs(result, asked, places))
        if (seconds := sum(_seconds(run, result, costs) for run in runs)) <= left_s
    ]
    if not options:
        return None
    gain = gains(belief, len(asked), [Action(runs=at, seconds=s) for _, at, s in options])
    best = int(np.argmax(gain / np.array([s for _, _, s in options])))
    runs, _, taken = options[best]
    return Chosen(runs=runs, gain=float(gain[best]), seconds=taken)


def _seconds(run: ToTrain, result: SearchResult, costs: RunCosts) -> float:
    trained = run.candidate.architecture
    if run.trial is not None:
        trained = next(r.trained_architecture for r in result.trained if r.number == run.trial)
    return costs.seconds(trained)


_Option = tuple[tuple[ToTrain, ...], tuple[int, ...]]


def _replicates(result: SearchResult) -> Iterator[_Option]:
    """Yield one more seed of each trained model."""
    for place, record in enumerate(result.trained):
        seed = _next_seed(result, record.number)
        yield (ToTrain(record.candidate, record.number, seed, None),), (place,)


def _pairs(
    result: SearchResult, asked: Sequence[Question], places: dict[Candidate, int]
) -> Iterator[_Option]:
    """Yield both models of each pair of a question, within one seed; models that are trials keep theirs."""
    assert result.config is not None
    known = {r.candidate: r.number for r in result.records if r.repeats is None}
    encoding, done = encoding_of(result.config), set()
    for question in asked:
        for pair, suggested in zip(question.pairs, question.suggested, strict=True):
            if pair in done:
                continue
            done.add(pair)
            runs = []
            for candidate, suggestion in zip(pair, suggested, strict=True):
                trial = known.get(candidate)
                seed = 0 if trial is None else _next_seed(result, trial)
                params = None if trial is not None else parameters(suggestion, result.config, encoding)
                runs.append(ToTrain(candidate, trial, seed, params))
            if all(r.trial is None or r.trial in {t.number for t in result.trained} for r in runs):
                yield tuple(runs), tuple(places[candidate] for candidate in pair)


def _next_seed(result: SearchResult, trial: int) -> int:
    """Return the first seed with which a trial has no run at the final rung, counted from the study's own."""
    assert result.config is not None
    last, own = final_rung(result.config), result.config.training.seed
    record = next(r for r in result.records if r.number == trial)
    used = {run.seed - own for run in record.runs if run.rung == last}
    return next(seed for seed in range(len(used) + 1) if seed not in used)


def _train(
    run: ToTrain,
    study: OpenStudy,
    loop: Loop,
    corpus: TextInTokens,
    on_step: Callable[[StepReport], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Train a run to its end and store it; False if it was stopped."""
    last = final_rung(study.config)
    task = loop.task(PlannedRun(-1 if run.trial is None else run.trial, last, run.seed), run.candidate)
    checkpoint = _checkpoint(study, run)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    result = train_proxy(
        run.candidate,
        corpus.of(task.trained.vocab_size),
        task.training,
        on_step=on_step,
        should_stop=should_stop,
        checkpoint=checkpoint,
        scaled=task.scaled,
    )
    if result.status is TrialStatus.STOPPED:
        return False
    result = replace(result, rung=last)
    if run.trial is not None:
        study.tell_run(run.trial, result)
    else:
        assert run.params is not None
        loop.store_trained(run.params, run.candidate, result, task.scaled)
    checkpoint.unlink(missing_ok=True)
    return True


def _checkpoint(study: OpenStudy, run: ToTrain) -> Path:
    name = sha256(repr((run.candidate, run.seed)).encode()).hexdigest()[:16]
    return study.checkpoints.parent / _FOLDER / f"{name}.npz"
