"""Worker process of meta_count: builds a model of transformers on the meta device and prints its totals.

A line of JSON in, a line of JSON out. Only classes that are part of transformers are built: `auto_map` is
not in the request, and trust_remote_code is false.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

# Virtual memory of the process; meta tensors take none, but position tables are computed in some models.
MEMORY_LIMIT_BYTES = 16 * 2**30

# Auto classes in order, unless `architectures` names another's: a causal language model, else one that holds
# one, else a bare model.
_AUTO_CLASSES = (
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForMultimodalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForMaskedLM",
    "AutoModelForTextToWaveform",
    "AutoModel",
)
# By what a parameter's name holds, first match counts; names are those of modules in transformers.
_PARTS = (
    ("norm", re.compile(r"norm|(^|[._])ln(_|\d|\.)|layernorm")),
    ("attention", re.compile(r"att|qkv|[qkvo]_proj|(^|\.)(mixer|mamba|conv|linear_attn|ssm|temporal_block)")),
    (
        "mlp",
        re.compile(r"mlp|ffn|feed_?forward|experts?|moe|(^|\.)(ff|fc\d|fc_in|fc_out|dense|intermediate)\b"),
    ),
    ("embedding", re.compile(r"embed|wte|wpe|(^|\.)(w|position)\.weight")),
    ("head", re.compile(r"lm_head|(^|\.)(cls|output_projection|prediction)|head\.")),
)
_TOWERS = re.compile(r"visi|visual|image|audio|speech|video|projector|aligner|qformer|resampler|codec|vq")


def count_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the class that transformers builds of a config, and its parameters by part."""
    transformers, torch = import_module("transformers"), import_module("torch")
    transformers.logging.set_verbosity_error()
    model_type = config["model_type"]
    if model_type not in transformers.CONFIG_MAPPING:
        raise ValueError(f"transformers {transformers.__version__} has no model_type {model_type!r}")
    keys = {key: value for key, value in config.items() if key != "model_type"}
    read = transformers.AutoConfig.for_model(model_type, **keys)
    if hasattr(read, "is_decoder") and not read.is_encoder_decoder:
        read.is_decoder = True  # BERT's kind has a language model only as a decoder
    with torch.device("meta"):
        model = _auto_class(transformers, read).from_config(
            read, trust_remote_code=False, attn_implementation="eager"
        )
    model.tie_weights()
    return {
        "class_name": type(model).__name__,
        "transformers_version": transformers.__version__,
        **_totals(model),
    }


def _auto_class(transformers: Any, config: Any) -> Any:
    known = [
        found
        for name in _AUTO_CLASSES
        if (found := getattr(transformers, name, None)) and type(config) in found._model_mapping
    ]
    if not known:
        raise ValueError(f"transformers {transformers.__version__} has no model for {type(config).__name__}")
    wanted = set(config.architectures or ())
    return next((found for found in known if wanted & _names(found._model_mapping[type(config)])), known[0])


def _names(models: Any) -> set[str]:
    """Return the names of a mapping's model or models."""
    return {model.__name__ for model in (models if isinstance(models, tuple) else (models,))}


def _totals(model: Any) -> dict[str, int]:
    """Return weights by part, shared ones once."""
    totals = dict.fromkeys(("embedding", "attention", "mlp", "norm", "head", "other", "outside_text"), 0)
    embedding = _parameter_ids(model.get_input_embeddings)
    head = _parameter_ids(model.get_output_embeddings)
    for name, parameter in model.named_parameters():
        size = parameter.numel()
        if _TOWERS.search(name) and id(parameter) not in embedding | head:
            totals["other"] += size
            totals["outside_text"] += size
        elif id(parameter) in embedding:
            totals["embedding"] += size
        elif id(parameter) in head:
            totals["head"] += size
        else:
            totals[part_of(name)] += size
    return totals


def part_of(name: str) -> str:
    """Return the part of the model that a parameter counts under, by its name."""
    own = name.rsplit(".layers.", 1)[-1].lower()
    return next((part for part, pattern in _PARTS if pattern.search(own)), "other")


def _parameter_ids(module_of: Any) -> set[int]:
    try:
        module = module_of()
    except (NotImplementedError, AttributeError):
        return set()
    return {id(parameter) for parameter in module.parameters()} if module is not None else set()


def _limit_memory() -> None:
    try:
        resource = import_module("resource")
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


def main() -> None:
    """Read a request from standard input and print the answer as the last line of standard output."""
    _limit_memory()
    try:
        answer = count_config(json.load(sys.stdin)["config"])
    except Exception as error:  # whatever a config makes transformers raise is a reason, not a crash
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        answer = {"error": f"{type(error).__name__}: {' '.join(lines[:3])[:180]}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
