"""What a search will take before it starts: models, steps, tokens and minutes, from steps timed here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from search.config.config import SearchConfig
from search.run.executors import available_cores
from search.schedule.plan import expected_steps, rung_steps
from search.space.ffn_growth import mean_ffn_size
from search.space.initial_points import initial_suggestions
from search.space.resolve import resolve
from search.training.accelerator import training_device
from search.training.decoder import Decoder
from search.training.learning_rates import initialize
from search.training.low_bit import any_few_bits
from search.training.scaled_proxy import proxy_of
from search.training.train_step import make_train_step, update_rule
from search.training.training_run import TrainConfig, backend_of, precision_of
from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity, NoFit
from sizer.tensors import count_parameters, tensor_specs

# Steps timed of each model after one that is not; the fastest counts. Steps that take longer than this, in
# seconds of the clock, are not repeated: a forecast is there within half a minute.
_TIMED = 3
_LONG_STEP_S = 0.5
# With fewer models a search has nothing to choose from; fewer steps are better.
_FEWEST_TRIALS = 8
_FEWEST_STEPS = 50
# Larger models are not timed whole: 20M parameters take a third of a gigabyte and seconds.
_MOST_TIMED_PARAMETERS = 20_000_000
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
    reliable_steps: int  # shorter runs order depths wrongly

    @property
    def doubt(self) -> str:
        """What speaks against the search, as the end of a sentence; empty if nothing does."""
        if self.rungs[-1] >= self.reliable_steps:
            return ""
        return (
            f"; runs of fewer than {self.reliable_steps:,} steps often order depths wrongly: more time, a "
            "smaller size or fewer models give longer ones"
        )

    def text(self) -> str:
        """Format the forecast as one line."""
        from sizer.units import format_count, format_seconds

        ladder = " then ".join(f"{steps:,}" for steps in self.rungs)
        models = f"{self.trials} {'model' if self.trials == 1 else 'models'}"
        return (
            f"{models} for {ladder} steps, {format_count(self.tokens)} tokens, "
            f"about {format_seconds(self.seconds)}"
        )


def forecast(config: SearchConfig, step_s: float) -> Forecast:
    """Forecast what a search takes at `step_s` a step, a worker's models one after the other."""
    steps = expected_steps(config, aside=any_few_bits(config.space.formats, config.budget.runtime))
    return Forecast(
        trials=config.training.trials,
        rungs=rung_steps(config),
        steps=steps,
        tokens=steps * config.training.batch_size * config.training.seq_len,
        step_s=step_s,
        seconds=(steps * step_s + config.training.trials * _MODEL_S) / config.training.workers,
        reliable_steps=config.training.lowest_rung_steps,
    )


# Of float32 weights and their two moments.
_CHECKPOINT_BYTES = 12


def checkpoint_bytes(config: SearchConfig) -> int:
    """Return the most bytes of checkpoints at a time: of all models until the first rung's best are chosen.

    Without later rungs each is removed when its run ends.
    """
    shapes = _architectures(config)
    parameters = sum(count_parameters(tensor_specs(shape)).total for shape in shapes) / len(shapes)
    models = config.training.trials if len(rung_steps(config)) > 1 else config.training.workers
    return round(models * parameters * _CHECKPOINT_BYTES)


def within(config: SearchConfig, seconds: float, step_s: float, *, keep_trials: bool) -> SearchConfig:
    """Return the search that fits into a time: as many models as fit, or fewer steps if those are too few.

    Raises InvalidQuantity where not even the smallest search fits.
    """
    if not keep_trials:
        most = _most(lambda n: forecast(config.changed(trials=n), step_s).seconds <= seconds, 1, 100_000)
        if most >= _FEWEST_TRIALS:
            return config.changed(trials=most)
        config = config.changed(trials=_FEWEST_TRIALS)
    steps = _most(
        lambda n: forecast(config.changed(steps=n), step_s).seconds <= seconds, 1, config.training.steps
    )
    if steps < _FEWEST_STEPS:
        least = forecast(config.changed(steps=_FEWEST_STEPS), step_s).seconds
        raise InvalidQuantity(
            f"minutes: {config.training.trials} models of {_FEWEST_STEPS} steps take about {least / 60:.1f} "
            f"minutes here, got {seconds / 60:g}; accepted: at least that, fewer --trials, or a smaller "
            f"--max-size"
        )
    return config.changed(steps=steps)


def _most(fits: Callable[[int], bool], low: int, high: int) -> int:
    """Return the largest number from low to high that fits; low - 1 if none does."""
    below, above = low - 1, high + 1
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if fits(middle) else (below, middle)
    return below


def _ignore(_timed: int, _of: int) -> None:
    """Take the number of models timed and of all."""


def step_seconds(config: SearchConfig, hook: Callable[[int, int], None] = _ignore) -> float:
    """Time a training step on this machine, in seconds: mean over the shapes that are tried first.

    `hook` is called before each model with the number of models timed so far, and of all.
    """
    way = TrainConfig(
        steps=config.training.steps,
        batch_size=config.training.batch_size,
        seq_len=config.training.seq_len,
        train_on=config.training.train_on,
    )
    small = [small_enough(architecture) for architecture in _architectures(config)]
    shapes = [few for few, _ in small]
    times = timed_steps_s(shapes, way, workers=config.training.workers, hook=hook)
    return sum(scale * time_s for (_, scale), time_s in zip(small, times, strict=True)) / len(times)


def small_enough(architecture: Architecture) -> tuple[Architecture, float]:
    """Return a model that is timed in place of one, and how many times as many parameters that one has.

    Training holds about 16 bytes a parameter: a large model is timed by its first layers, which take their
    share of the time, so that a forecast takes seconds and no gigabytes.
    """
    if architecture.layer_intermediate_sizes:
        size = round(mean_ffn_size(architecture))
        architecture = replace(architecture, intermediate_size=size, layer_intermediate_sizes=())
    total = count_parameters(tensor_specs(architecture)).total
    cannot_be_cut = architecture.layers_differ and not architecture.conv_layers
    if total <= _MOST_TIMED_PARAMETERS or cannot_be_cut:
        return architecture, 1.0
    fewest, runs = architecture.sharing.fewest_layers, architecture.sharing.runs_per_block
    alone = count_parameters(tensor_specs(_first_layers(architecture, fewest))).total
    block = count_parameters(tensor_specs(_first_layers(architecture, fewest + 1))).total - alone
    layers = max(fewest, min(architecture.num_layers, fewest + (_MOST_TIMED_PARAMETERS - alone) // block))
    few = _first_layers(architecture, layers)
    more_runs = runs(architecture.num_layers) / runs(layers)
    return few, total / count_parameters(tensor_specs(few)).total * more_runs


def _first_layers(architecture: Architecture, layers: int) -> Architecture:
    a = architecture
    sliding, convolved = (
        tuple(layer for layer in some if layer < layers) for some in (a.sliding_layers, a.conv_layers)
    )
    return replace(a, num_layers=layers, sliding_layers=sliding, conv_layers=convolved)


def threads_of(workers: int) -> int:
    """Return the threads that train a model: torch's own here, its share of the cores in a worker."""
    return torch.get_num_threads() if workers == 1 else max(1, len(available_cores()) // workers)


def timed_steps_s(
    architectures: Sequence[Architecture],
    way: TrainConfig,
    *,
    workers: int = 1,
    hook: Callable[[int, int], None] = _ignore,
) -> list[float]:
    """Time a training step of each model, in seconds, on a worker's share of the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, len(available_cores()) // workers))
    try:
        times = []
        for number, architecture in enumerate(architectures):
            hook(number, len(architectures))
            times.append(_timed(architecture, way))
        return times
    finally:
        torch.set_num_threads(before)


def _architectures(config: SearchConfig) -> Sequence[Architecture]:
    resolved = [resolve(suggestion, config) for suggestion in initial_suggestions(config)]
    shapes = dict.fromkeys(r.candidate.architecture for r in resolved if r.reason is None)
    if not shapes:
        raise NoFit(f"budget: {resolved[0].reason}")
    return tuple(proxy_of(shape, config) or shape for shape in shapes)


def _timed(architecture: Architecture, way: TrainConfig) -> float:
    device = training_device(way.train_on)
    model = Decoder(architecture)
    initialize(model, architecture, torch.Generator().manual_seed(0))
    model.to(device)
    train_step = make_train_step(
        model,
        batch=way.batch_size,
        seq=way.seq_len,
        dtype=precision_of(way).dtype,
        rule=update_rule(architecture, weight_decay=0.1, clip=1.0),
        fused=backend_of(way).name == "fused",
    )
    train_step.sync_weights()
    shape = (way.batch_size, way.seq_len + 1)
    windows = torch.randint(architecture.vocab_size, shape, generator=torch.Generator().manual_seed(0))
    windows = windows.to(device)
    times = []
    for number in range(1, _TIMED + 2):
        begin = time.perf_counter()
        train_step.step(windows, 1e-3, number)
        train_step.pop_loss()  # waits until the step has ended, wherever it runs
        times.append(time.perf_counter() - begin)
        if times[-1] > _LONG_STEP_S:
            break
    return min(times[1:] or times)
