"""What a search will take before it starts: models, steps, tokens and minutes, from steps timed here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from search.proxy.accelerator import training_device
from search.proxy.few_bits import any_few_bits
from search.proxy.model import Decoder
from search.proxy.scaled import proxy_of
from search.proxy.scaling import initialize
from search.proxy.stepper import make_stepper, update_rule
from search.proxy.training import TrainConfig, precision_of, uses_written_out_steps
from search.run.executors import available_cores
from search.run.plan import expected_steps, rung_steps
from search.space.config import SearchConfig
from search.space.resolve import resolve_or_say_why
from search.space.starts import starting_proposals
from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity, NoFit

# Steps timed of each model after one that is not; the fastest counts.
_TIMED = 3
# Below so many models a search has nothing to choose from; rather fewer steps than that.
_FEWEST_TRIALS = 8
_FEWEST_STEPS = 50
# Sizing, building, scoring and storing a model, in seconds; a tenth of a minute of training at most.
_MODEL_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Expected work of a search; diverged runs and tied finalists come on top."""

    trials: int
    rungs: tuple[int, ...]
    steps: int  # of all models
    tokens: int
    step_s: float  # of a model of the space, on the cores that a worker has
    seconds: float

    def text(self) -> str:
        """One line."""
        from sizer.units import format_count, format_seconds

        ladder = " then ".join(f"{steps:,}" for steps in self.rungs)
        return (
            f"{self.trials} models for {ladder} steps, {format_count(self.tokens)} tokens, "
            f"about {format_seconds(self.seconds)}"
        )


def forecast(config: SearchConfig, step_s: float) -> Forecast:
    """What a search takes where a step takes `step_s`, a worker's models one after the other."""
    steps = expected_steps(config, aside=any_few_bits(config.formats, config.runtime))
    return Forecast(
        trials=config.trials,
        rungs=rung_steps(config),
        steps=steps,
        tokens=steps * config.batch_size * config.seq_len,
        step_s=step_s,
        seconds=(steps * step_s + config.trials * _MODEL_S) / config.workers,
    )


def within(config: SearchConfig, seconds: float, step_s: float, *, keep_trials: bool) -> SearchConfig:
    """The search that fits into a time: as many models as fit, or fewer steps where those are too few.

    Raises InvalidQuantity where not even the smallest search fits.
    """
    if not keep_trials:
        most = _most(lambda n: forecast(replace(config, trials=n), step_s).seconds <= seconds, 1, 100_000)
        if most >= _FEWEST_TRIALS:
            return replace(config, trials=most)
        config = replace(config, trials=_FEWEST_TRIALS)
    steps = _most(lambda n: forecast(replace(config, steps=n), step_s).seconds <= seconds, 1, config.steps)
    if steps < _FEWEST_STEPS:
        least = forecast(replace(config, steps=_FEWEST_STEPS), step_s).seconds
        raise InvalidQuantity(
            f"minutes: {config.trials} models of {_FEWEST_STEPS} steps take about {least / 60:.1f} minutes "
            f"here, got {seconds / 60:g}; accepted: at least that, fewer --trials, or a smaller --max-size"
        )
    return replace(config, steps=steps)


def _most(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest number from low to high that fits; low - 1 where none does."""
    below, above = low - 1, high + 1
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if fits(middle) else (below, middle)
    return below


def step_seconds(config: SearchConfig) -> float:
    """Seconds of a training step of the space's models: the mean over the shapes tried first, timed here."""
    way = TrainConfig(
        steps=config.steps, batch_size=config.batch_size, seq_len=config.seq_len, train_on=config.train_on
    )
    times = timed_steps_s(_architectures(config), way, workers=config.workers)
    return sum(times) / len(times)


def threads_of(workers: int) -> int:
    """Threads that a model is trained with: torch's own here, its share of the cores in a worker."""
    return torch.get_num_threads() if workers == 1 else max(1, len(available_cores()) // workers)


def timed_steps_s(
    architectures: Sequence[Architecture], way: TrainConfig, *, workers: int = 1
) -> list[float]:
    """Seconds of a training step of each model on a worker's share of the cores, timed here."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, len(available_cores()) // workers))
    try:
        return [_timed(architecture, way) for architecture in architectures]
    finally:
        torch.set_num_threads(before)


def _architectures(config: SearchConfig) -> Sequence[Architecture]:
    resolved = [resolve_or_say_why(proposal, config) for proposal in starting_proposals(config)]
    shapes = dict.fromkeys(r.candidate.architecture for r in resolved if r.reason is None)
    if not shapes:
        raise NoFit(f"budget: {resolved[0].reason}")
    return tuple(proxy_of(shape, config) or shape for shape in shapes)


def _timed(architecture: Architecture, way: TrainConfig) -> float:
    device = training_device(way.train_on)
    model = Decoder(architecture)
    initialize(model, architecture, torch.Generator().manual_seed(0))
    model.to(device)
    stepper = make_stepper(
        model,
        batch=way.batch_size,
        seq=way.seq_len,
        dtype=precision_of(way).dtype,
        rule=update_rule(architecture, weight_decay=0.1, clip=1.0),
        fused=uses_written_out_steps(way),
    )
    stepper.refresh()
    shape = (way.batch_size, way.seq_len + 1)
    windows = torch.randint(architecture.vocab_size, shape, generator=torch.Generator().manual_seed(0))
    windows = windows.to(device)
    times = []
    for number in range(1, _TIMED + 2):
        begin = time.perf_counter()
        stepper.step(windows, 1e-3, number)
        stepper.take_loss()  # waits until the step has ended, wherever it runs
        times.append(time.perf_counter() - begin)
    return min(times[1:])
