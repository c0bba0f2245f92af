"""How a study is trained, fixed when it is made: the machine that trains it decides what is faster."""

from __future__ import annotations

import platform
from pathlib import Path

from search.config.config import SearchConfig
from search.schedule.plan import rung_steps
from search.space.sampling import sampler_of
from search.training.accelerator import PROCESSOR, numerics
from search.training.train_step import choose_engine
from search.training.training_run import TRAINER_REVISION, TrainConfig, backend_of, precision_of


def settings_of(config: SearchConfig) -> dict[str, str | int | float]:
    """Return the settings of a new study that is trained on this machine, or on machines like it."""
    teacher = None if config.training.teacher is None else Path(config.training.teacher)
    way = TrainConfig(steps=config.training.steps, train_on=config.training.train_on, teacher=teacher)
    backend = backend_of(way)
    step_s = choose_engine().step_s if config.training.train_on == PROCESSOR else {}
    return {
        "steps": config.training.steps,
        "rungs": ", ".join(map(str, rung_steps(config))),
        "sampler": sampler_of(config),
        "context_tokens": config.budget.context_tokens,
        "batch_size": config.training.batch_size,
        "seq_len": config.training.seq_len,
        "val_chunks": config.training.val_chunks,
        "seed": config.training.seed,
        **_proxies(config),
        "workers": config.training.workers,
        # fixed for the whole study: a resume on a busier machine must not train in another way
        "dtype": precision_of(way).value,
        "engine": backend.name,
        **({} if backend.reason is None else {"engine_reason": backend.reason}),
        "train_on": config.training.train_on,
        **numerics(config.training.train_on),
        **{f"{name.replace(' ', '_')}_step_s": seconds for name, seconds in step_s.items()},
        "trainer_revision": TRAINER_REVISION,
        "machine": f"{platform.machine()} {platform.system()}, Python {platform.python_version()}",
    }


def _proxies(config: SearchConfig) -> dict[str, float | int]:
    """Describe how the trained models differ from the candidates, if they do."""
    values = {
        "proxy_width_scale": config.training.proxy_width_scale,
        "proxy_vocab_size": config.training.proxy_vocab_size,
    }
    return {name: value for name, value in values.items() if value is not None}
