"""What one more run, or one more pair of runs, would change of decisions, before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.analysis.decisions.belief import Belief, LossPosterior
from search.stats.gaussian import below
from search.stats.ridge import Floats

# Probability from which a decision is settled, and the deviations of the normal distribution that are it.
SETTLED = 0.95
_Z_SETTLED = 1.6448536269514722
# Runs of each model of a question that are counted up to: beyond, these runs do not settle it.
MOST_SEEDS = 32
# A run is worth nothing for a decision whose options differ by less than this share of the loss.
_POINTS, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_TINY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Runs that belong together: places among the planned runs, and the seconds they take."""

    runs: tuple[int, ...]
    seconds: float


def sd_after(posterior: LossPosterior, question: int, runs: Sequence[int], *, seeds: float) -> float:
    """Return the deviation of a difference after a number of more seeds of each of some planned runs.

    `runs` are places in the posterior.
    """
    c, chosen = posterior.covariance, list(runs)
    between = c[np.ix_(chosen, chosen)] + np.eye(len(chosen)) * posterior.seed_sd**2 / seeds
    across = c[question, chosen]
    explained = float(across @ np.linalg.solve(between, across))
    return float(np.sqrt(max(c[question, question] - explained, 0.0)))


def seeds_to_settle(posterior: LossPosterior, question: int, runs: Sequence[int]) -> int | None:
    """Return how many more seeds of each run settle a question if its mean stays; None if none do."""
    away = abs(float(posterior.mean[question]))
    seeds = 1
    while seeds <= MOST_SEEDS:
        if away >= _Z_SETTLED * sd_after(posterior, question, runs, seeds=seeds):
            return seeds
        seeds += max(1, seeds // 4)
    return None


def gains(belief: Belief, questions: int, actions: Sequence[Action]) -> Floats:
    """Return the expected gain in correct decisions of each action, in decisions.

    Before a run its result is a number drawn from what is believed; after it the better option is chosen
    again. The gain of a question is how much likelier the choice is then to be right.
    """
    posterior, total = belief.likeliest, np.zeros(len(actions))
    mean, sd = posterior.mean[:questions], posterior.sd[:questions]
    now = np.array([_right(m, s) for m, s in zip(mean, sd, strict=True)])
    for place, action in enumerate(actions):
        chosen = [questions + run for run in action.runs]
        c = posterior.covariance
        between = c[np.ix_(chosen, chosen)] + np.eye(len(chosen)) * posterior.seed_sd**2
        across = c[:questions, chosen]
        explained = np.einsum("ij,ji->i", across, np.linalg.solve(between, across.T))
        moved = np.sqrt(np.clip(explained, 0, sd**2))
        left = np.sqrt(np.clip(sd**2 - moved**2, 0, None))
        for q in np.flatnonzero(moved > _TINY):
            after = (
                sum(
                    w * _right(mean[q] + moved[q] * z, left[q])
                    for z, w in zip(_POINTS, _WEIGHTS, strict=True)
                )
                / _WEIGHTS.sum()
            )
            total[place] += max(0.0, after - now[q])
    return total


def _right(mean: float, sd: float) -> float:
    """Return the probability that the option with the lower expected loss is the better one."""
    return below(abs(mean) / sd) if sd > _TINY else 1.0
