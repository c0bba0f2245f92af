"""Every causal model_type of the installed transformers: its count from a small random config, and ours.

    python benchmarks/oracles/model_types.py [SEED]

Prints families with an own reader and those that `sizer.readers.meta_count` counts, each with both counts;
exit 1 where one differs. The reference is transformers' own model on the meta device. Half a minute.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sizer.errors import SizerError
from sizer.families.hf_config import FAMILIES, architecture_from_config
from sizer.readers.meta_worker import count_config
from sizer.tensors import count_parameters, tensor_specs

# Keys that a family needs besides the sizes that all have.
NEEDED: Mapping[str, Mapping[str, Any]] = {
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note": {"num_key_value_heads": 4},
    "dots3_note_text": {"num_key_value_heads": 4},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "layer_types": ["full_attention", "sliding_attention"],
        "activation_sparsity_pattern": [0.0, 0.0],
    },
    "gemma4_assistant": {"hidden_size_per_layer_input": 0},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "hunyuan_v1_moe": {"num_experts": 4, "moe_topk": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_experts": 4, "num_experts_per_tok": 2},
    "mamba2": {"num_heads": 8, "expand": 2, "n_groups": 1},
    "plbart": {"encoder_attention_heads": 4, "decoder_attention_heads": 4},
    "prophetnet": {"num_encoder_layers": 2, "num_decoder_layers": 2, "num_hidden_layers": None},
    "reformer": {"is_decoder": True, "axial_pos_embds": False, "attn_layers": ["local", "local"]},
    "whisper": {"encoder_attention_heads": 4, "decoder_attention_heads": 4},
    "xlnet": {"max_position_embeddings": None, "d_head": 16},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"]},
}
# Rotary positions of these are computed from head_dim, which their classes leave null.
HEAD_DIM = ("helium", "hunyuan_v1_dense", "hunyuan_v1_moe", "mamba2", "ministral", "nemotron")


class CountedType(NamedTuple):
    """Counts of one model_type's small model; `reason` is why transformers or we have none."""

    model_type: str
    own_reader: bool
    theirs: int | None
    ours: int | None
    reason: str = ""

    @property
    def agrees(self) -> bool:
        """True if both counts are the same, or transformers builds no model of the config."""
        return self.theirs is None or self.theirs == self.ours


def causal_model_types() -> tuple[str, ...]:
    """Return every model_type for which transformers has a causal language model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def small_config(model_type: str, seed: int = 0) -> dict[str, Any]:
    """Return a config of two layers and random small sizes that transformers can build."""
    draw = random.Random(f"{model_type} {seed}")
    head_dim = 16
    config = {
        "model_type": model_type,
        "vocab_size": draw.randrange(40, 200),
        "hidden_size": 4 * head_dim,
        "intermediate_size": 8 * draw.randrange(4, 30),
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": draw.randrange(20, 90),
        **dict(zip(("pad_token_id", "bos_token_id", "eos_token_id"), range(3), strict=True)),
        **({"head_dim": head_dim} if model_type in HEAD_DIM else {}),
        **NEEDED.get(model_type, {}),
    }
    return {key: value for key, value in config.items() if value is not None}


def their_count(config: Mapping[str, Any]) -> int:
    """Return parameters of transformers' causal language model on the meta device, tied ones once."""
    import torch
    import transformers

    keys = {key: value for key, value in config.items() if key != "model_type"}
    read = transformers.CONFIG_MAPPING[config["model_type"]](**keys)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(read)  # type: ignore[no-untyped-call]
    model.tie_weights()
    return sum(parameter.numel() for parameter in model.parameters())


def compare(model_type: str, seed: int = 0) -> CountedType:
    """Count a model_type's small model by transformers and by own reader or on the meta device."""
    config = small_config(model_type, seed)
    own = model_type in FAMILIES
    try:
        theirs = their_count(config)
    except Exception as error:  # whatever prevents the model is the row's reason
        reason = " ".join(str(error).split())[:90]
        return CountedType(model_type, own, None, None, f"{type(error).__name__}: {reason}")
    try:
        ours = _own_count(config) if own else _worker_count(config)
    except (SizerError, ValueError) as error:
        return CountedType(model_type, own, theirs, None, str(error))
    return CountedType(model_type, own, theirs, ours)


def _own_count(config: Mapping[str, Any]) -> int:
    return count_parameters(tensor_specs(architecture_from_config(config))).total


def _worker_count(config: Mapping[str, Any]) -> int:
    # the class is named where a model_type has several, as in a config.json
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CLASSES

    answer = count_config({**config, "architectures": [CLASSES[config["model_type"]]]})
    return sum(value for part, value in answer.items() if part in _PARTS)


_PARTS = ("embedding", "attention", "mlp", "norm", "head", "other")


def _lines(rows: list[CountedType]) -> Iterator[str]:
    for title, own in (("own reader", True), ("transformers on the meta device", False)):
        kind = [row for row in rows if row.own_reader is own and row.theirs is not None]
        yield f"{title}: {len(kind)}"
        for row in kind:
            shown = "refused" if row.ours is None else f"{row.ours:>12,}"
            verdict = "" if row.agrees else f"  DIFFERS {row.reason}"
            yield f"  {row.model_type:28} {row.theirs:>12,} {shown}{verdict}"
    unbuilt = [row for row in rows if row.theirs is None]
    yield f"not built by transformers from a small config: {len(unbuilt)}"
    yield from (f"  {row.model_type:28} {row.reason}" for row in unbuilt)


def main() -> int:
    """Print every model_type with both counts; return 1 where one differs."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    rows = [compare(model_type, seed) for model_type in causal_model_types()]
    print("\n".join(_lines(rows)))
    return int(not all(row.agrees for row in rows))


if __name__ == "__main__":
    sys.exit(main())
