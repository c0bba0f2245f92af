"""What accelerate and llm-analysis say of the same models: accelerate itself, llm-analysis by its formulas.

accelerate is run: the two lines of its `estimate-memory` command that count (commands/estimate.py 1.15.0,
create_empty_model and gather_data), on a config instead of a name on the Hub. llm-analysis 0.2.2 asks for
transformers below 5 and cannot be installed beside this project, so its sums are repeated here with the lines
of llm_analysis/analysis.py they come from; tests/benchmarks/accuracy/llm_analysis.csv holds what the package
itself answered (benchmarks/accuracy/record_llm_analysis.py), and a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sizer.architecture import Architecture

# Families whose code is on the Hub, not in transformers, with the shapes of another family.
_SHAPED_LIKE = {"mobilellm": "llama", "minicpm": "llama"}
# accelerate's types for whole models (commands/estimate.py, gather_data): parts of the float32 bytes.
ACCELERATE_PARTS = {32: 1, 16: 2, 8: 4, 4: 8}
# Weight bits llm-analysis has data types for (llm_analysis/dtype_configs/w*a16e16.json), the embedding's.
LLM_ANALYSIS_BITS = (16, 8, 4)
_EMBEDDING_BITS = 16


def transformers_config(config: Mapping[str, Any]) -> Any | None:
    """The config as transformers reads it; None for a family whose code is not in transformers."""
    import transformers

    model_type = _SHAPED_LIKE.get(config["model_type"], config["model_type"])
    if model_type not in transformers.CONFIG_MAPPING:
        return None
    keys = {key: value for key, value in config.items() if key != "model_type"}
    return transformers.CONFIG_MAPPING[model_type](**{"pad_token_id": 0, **keys})


def accelerate_float32_bytes(config: Mapping[str, Any]) -> int | None:
    """Bytes `accelerate estimate-memory` gives for float32: AutoModel, so without a head of its own."""
    import torch
    import transformers
    from accelerate import init_empty_weights
    from accelerate.utils import calculate_maximum_sizes

    read = transformers_config(config)
    if read is None:
        return None
    with init_empty_weights():
        model = transformers.AutoModel.from_config(read, dtype=torch.float32)  # type: ignore[no-untyped-call]
    return int(calculate_maximum_sizes(model)[0])


def llm_analysis_parameters(a: Architecture) -> float:
    """Weights by get_num_params_total (analysis.py 244-337): a shared table, two matrices of 4 x width.

    The width of the MLP is not read from a config (config.py, get_model_config_from_hf), nor is head_dim.
    """
    return a.num_layers * _per_layer(a) + a.vocab_size * a.hidden_size + a.hidden_size


def llm_analysis_bytes(a: Architecture, bits: int) -> float:
    """Bytes of weights in `inference` (analysis.py 351-400, 518-540): the embedding in 16 bits."""
    blocks = (a.num_layers * _per_layer(a) + a.hidden_size) * bits / 8
    return blocks + a.vocab_size * a.hidden_size * _EMBEDDING_BITS / 8


def llm_analysis_kv_bytes(a: Architecture, tokens: int) -> float:
    """Bytes of an F16 cache by get_memory_kv_cache_per_layer (analysis.py 845-878), all layers."""
    head_dim = a.hidden_size / a.num_heads
    return a.num_layers * 2 * tokens * head_dim * a.num_kv_heads * 2


def _per_layer(a: Architecture) -> float:
    attention = 2 * a.hidden_size**2 + 2 * a.hidden_size * (
        a.hidden_size * a.num_kv_heads / max(a.num_heads, 1)
    )
    mlp = 2 * a.hidden_size * (4 * a.hidden_size)
    return attention + mlp + 2 * a.hidden_size
