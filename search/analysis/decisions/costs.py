"""Seconds that one more run of a model takes, by a study's own runs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from search.config.config import SearchConfig
from search.schedule.plan import final_rung, steps_of
from search.store.results import SearchResult
from sizer.architecture import Architecture
from sizer.tensors import count_parameters, tensor_specs

# Of a study without timed runs: multiplications and additions of trained weights in a second.
_USUAL_SPEED = 5e9


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCosts:
    """What runs to the final rung take."""

    tokens: float  # of one run, its cool-down included
    weights_per_s: float  # executed weights x tokens in a second
    scoring_s: float

    def seconds(self, architecture: Architecture) -> float:
        """Return the seconds of one run of a model from its first step."""
        return self.tokens * executed_weights(architecture) / self.weights_per_s + self.scoring_s


def executed_weights(architecture: Architecture) -> float:
    """Return the weights that a token passes through, shared blocks counted each time they run."""
    counts = count_parameters(tensor_specs(architecture))
    rest = counts.total - counts.embedding - counts.head
    table = architecture.vocab_size * architecture.hidden_size
    return float(rest * architecture.executed_layers / architecture.num_layers + table)


def final_tokens(config: SearchConfig) -> float:
    """Return the tokens of a run to the final rung, its cool-down included."""
    steps, _ = steps_of(config, final_rung(config))
    return float(steps * config.training.batch_size * config.training.seq_len)


def run_costs(result: SearchResult) -> RunCosts:
    """Return what runs of a study take, by the median of those that it has timed."""
    assert result.config is not None, "a stored study has its configuration"
    speeds, scoring = [], []
    for record in result.trained:
        for run in record.runs:
            if run.tokens_per_s:
                speeds.append(run.tokens_per_s * executed_weights(record.trained_architecture))
    if result.records:
        scoring = [
            max(0.0, run.wall_s - run.trained_tokens / run.tokens_per_s)
            for record in result.trained
            for run in record.runs[:1]
            if run.tokens_per_s
        ]
    return RunCosts(
        tokens=final_tokens(result.config),
        weights_per_s=median(speeds) if speeds else _USUAL_SPEED,
        scoring_s=median(scoring) if scoring else 0.0,
    )
