"""What `litgpt pretrain` reads: the keys of its configuration, and the model that it builds from a plan.

Needs a separate environment:

    pip install litgpt==0.5.13
    python benchmarks/oracles/litgpt_config.py > tests/data/litgpt_keys.json
    python benchmarks/oracles/litgpt_config.py PLAN/litgpt.yaml     weights, by litgpt's parser
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from importlib.metadata import version


def keys() -> dict[str, object]:
    """Return the names that `litgpt pretrain` takes, and which of them it requires."""
    from litgpt.args import TrainArgs
    from litgpt.config import Config
    from litgpt.pretrain import setup

    parameters = inspect.signature(setup).parameters
    return {
        "litgpt": version("litgpt"),
        "pretrain": list(parameters),
        "required": [name for name, p in parameters.items() if p.default is inspect.Parameter.empty],
        "model_config": [field.name for field in dataclasses.fields(Config)],
        "train": [field.name for field in dataclasses.fields(TrainArgs)],
    }


def weights_of(path: str) -> int:
    """Return the number of weights of the model that a configuration describes, its arguments validated."""
    import torch
    from jsonargparse import ArgumentParser
    from litgpt.model import GPT
    from litgpt.pretrain import setup, validate_args

    parser = ArgumentParser()
    parser.add_function_arguments(setup)
    parser.add_argument("--config", action="config")
    given = parser.instantiate_classes(parser.parse_args(["--config", path]))
    validate_args(given.train, given.eval, given.initial_checkpoint_dir, given.resume)
    assert given.train.gradient_accumulation_iters(1) > 0
    with torch.device("meta"):
        model = GPT(given.model_config)
    if given.train.tie_embeddings:
        model.transformer.wte.weight = model.lm_head.weight
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(weights_of(sys.argv[1]))
    else:
        print(json.dumps(keys(), indent=1))
