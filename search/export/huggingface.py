"""A trained model as a Hugging Face folder that AutoModelForCausalLM and AutoTokenizer load offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from search.export.finalist import TrainedFinalist
from search.export.layout import check_layout, huggingface_names, trained_name
from search.training.decoder import NORM_EPSILON, ROPE_THETA
from search.training.experts import BALANCE_WEIGHT
from search.training.safetensors_file import MULTIPLE, WEIGHTS, write_safetensors
from sizer.architecture import Architecture
from sizer.atomic_write import write_text
from sizer.families.hf_config import config_from_architecture
from sizer.formats.groups import StoredPart
from sizer.formats.safetensors import header
from sizer.tensors import tensor_specs

_CLASSES = {
    "granite_swa": "GraniteSWAForCausalLM",
    "lfm2": "Lfm2ForCausalLM",
    "mixtral": "MixtralForCausalLM",
}


def huggingface_config(architecture: Architecture, context_tokens: int) -> dict[str, Any]:
    """Return the config.json of a model; a shared block is stored once for each run.

    Tokens that begin, end or pad a text are null: LlamaConfig's defaults, 1 and 2, are bytes of the text.
    """
    unrolled = replace(architecture.unrolled(), max_position_embeddings=context_tokens)
    config = config_from_architecture(unrolled)
    kind = config["model_type"]
    lfm2, granite = kind == "lfm2", kind == "granite_swa"
    return {
        "architectures": [_CLASSES.get(kind, "LlamaForCausalLM")],
        **config,
        "norm_eps" if lfm2 else "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_THETA,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        **({} if lfm2 else {"attention_bias": False, "mlp_bias": False}),
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "dtype": "float32",
        # Granite's factor is not Llama's unless it is stated
        **({"attention_multiplier": architecture.head_dim**-0.5} if granite else {}),
        **({"router_aux_loss_coef": BALANCE_WEIGHT} if kind == "mixtral" else {}),
    }


def unrolled_weights(architecture: Architecture, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights by Hugging Face name, a shared block once for each run and each expert's alone."""
    a, found = architecture, dict[str, Tensor]()
    for spec in tensor_specs(a.unrolled()):
        tensor = weights[trained_name(a, spec)]
        parts = (tensor,) if spec.used_experts is None else tensor.unbind(0)
        found |= zip(huggingface_names(a, spec), parts, strict=True)
    return found


def stored_bytes(architecture: Architecture) -> int:
    """Return the exact bytes of the file of weights that `write_huggingface` writes."""
    parts = [
        StoredPart(name, "F32", spec.shape if spec.used_experts is None else spec.shape[1:])
        for spec in tensor_specs(architecture.unrolled())
        for name in huggingface_names(architecture, spec)
    ]
    return len(header(parts, "pt", multiple=MULTIPLE)) + sum(part.num_bytes for part in parts)


def write_huggingface(folder: Path, finalist: TrainedFinalist, *, context_tokens: int) -> None:
    """Write config, weights, tokenizer and generation settings into a folder. OSError if it cannot."""
    check_layout(finalist.architecture, experts=True)
    write_safetensors(folder / WEIGHTS, unrolled_weights(finalist.architecture, finalist.weights))
    documents = {
        "config.json": huggingface_config(finalist.architecture, context_tokens),
        "generation_config.json": {"do_sample": True, "temperature": 0.8},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": context_tokens,
            "clean_up_tokenization_spaces": False,
        },
    }
    for name, document in documents.items():
        write_text(folder / name, json.dumps(document, indent=2) + "\n")
    write_text(folder / "tokenizer.json", finalist.vocabulary.tokenizer_json)
