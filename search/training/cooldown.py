"""Length of the cool-down: steps of falling learning rate at the end of a run."""

from __future__ import annotations

from math import ceil

# Extra steps of falling rate of runs to the last of several rungs, as a share of the rung's steps. Runs to
# earlier rungs get as many on a copy if they need them to be scored (search/training/training_run.py).
RUNG_COOLDOWN_SHARE = 0.1


def cooldown_steps(steps: int) -> int:
    """Return the number of steps of falling rate after a number of steps at the full rate."""
    return ceil(RUNG_COOLDOWN_SHARE * steps)
