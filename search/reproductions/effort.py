"""How much of a reproduction is trained: what its runs take here, and what fits into a time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from search.reproductions.reproductions import Reproduction
from search.run.forecast import timed_steps_s
from search.training.training_run import TrainConfig
from sizer.errors import InvalidQuantity, StudyError

# Below this early orders have the wrong sign (search notes, section 2.5): time left buys steps before seeds.
TRUSTED_STEPS = 1000
_FEWEST_STEPS = 20
_FEWEST_SEEDS = 2  # one seed does not show chance
_MOST_SEEDS = 12
# Building, scoring and storing a model, as a share of its training, and in seconds.
_SCORING_SHARE, _RUN_S = 0.1, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is trained: steps of a run, and seeds of each arm."""

    steps: int
    seeds: int

    def __post_init__(self) -> None:
        for name, least, most in (("steps", 1, 10_000_000), ("seeds", 1, 100)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidQuantity(f"{name}: must be from {least} to {most}, got {value}")


def step_seconds(reproduction: Reproduction, workers: int = 1) -> dict[str, float]:
    """Time a training step of each arm on this machine, in seconds, by label."""
    way = TrainConfig(
        steps=1,
        batch_size=reproduction.batch_size,
        seq_len=reproduction.seq_len,
        fused=reproduction.fused,
    )
    times = timed_steps_s([arm.candidate.architecture for arm in reproduction.arms], way, workers=workers)
    return {arm.label: time for arm, time in zip(reproduction.arms, times, strict=True)}


def expected_seconds(step_s: dict[str, float], effort: Effort, workers: int = 1) -> float:
    """Return the seconds that all runs of all arms take."""
    return sum(run_seconds(s, effort.steps) for s in step_s.values()) * effort.seeds / workers


def run_seconds(step_s: float, steps: int) -> float:
    """Return the seconds of one run, scoring included."""
    return step_s * steps * (1 + _SCORING_SHARE) + _RUN_S


def within(step_s: dict[str, float], seconds: float, default: Effort, workers: int = 1) -> Effort:
    """Return the most that fits into a time: seeds at the default steps, or two seeds of fewer steps.

    Raises InvalidQuantity where not even that fits.
    """

    def fits(effort: Effort) -> bool:
        return expected_seconds(step_s, effort, workers) <= seconds

    for seeds in range(_MOST_SEEDS, _FEWEST_SEEDS - 1, -1):
        if fits(replace(default, seeds=seeds)):
            return replace(default, seeds=seeds)
    steps = default.steps
    while steps > _FEWEST_STEPS and not fits(Effort(steps=steps, seeds=_FEWEST_SEEDS)):
        steps = max(_FEWEST_STEPS, int(steps * 0.95))
    found = Effort(steps=steps, seeds=_FEWEST_SEEDS)
    if not fits(found):
        least = expected_seconds(step_s, found, workers)
        raise InvalidQuantity(
            f"minutes: {_FEWEST_SEEDS} seeds of {_FEWEST_STEPS} steps take about {least / 60:.1f} minutes "
            f"here, got {seconds / 60:g}; accepted: at least that"
        )
    return found


def effort_within(
    reproduction: Reproduction,
    step_s: dict[str, float],
    minutes: float,
    default: Effort,
    folder: Path,
    workers: int = 1,
) -> Effort:
    """Return what fits into that many minutes; cached, so that a command repeats the same runs.

    Steps timed again on a busier machine would fit otherwise, and nothing finished would count.
    """
    path = folder / reproduction.name / "effort.json"
    asked = {"minutes": minutes, "workers": workers, "default_steps": default.steps}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["asked"] == asked:
            return Effort(steps=kept["steps"], seeds=kept["seeds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or none that can be read: chosen again
    found = within(step_s, 60 * minutes, default, workers)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"asked": asked, **asdict(found)}), encoding="utf-8")
    except OSError as error:
        raise StudyError(f"runs: {str(path)!r} cannot be written: {error.strerror or error}") from None
    return found
