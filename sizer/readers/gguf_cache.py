"""Cache of a GGUF model whose architecture is not read: KV heads, windows and recurrent state from its keys.

Keys: gguf-py's constants.py; what llama.cpp makes of them: src/llama-hparams.cpp and load_arch_hparams of
src/models/*.cpp (llama.cpp as in llama-cpp-python 0.3.36).
"""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import MAX_LAYERS, MAX_WIDTH
from sizer.file_model import CachedLayer
from sizer.readers.gguf_architecture import WINDOW_CYCLES
from sizer.readers.gguf_header import GgufHeader

_FLOAT_BYTES = 4

# Architectures with a window in their files that llama.cpp does not use.
_WITHOUT_WINDOWS = ("phi3", "phimoe", "qwen2", "qwen3", "llama", "mistral3")


def shape_of(header: GgufHeader) -> dict[str, int | None]:
    """Return the sizes that a file's keys state, named as in an estimate's document; None: missing."""
    heads, kv_heads = _most(header, "attention.head_count"), _most(header, "attention.head_count_kv")
    hidden = _number(header, "embedding_length")
    head_dim = _number(header, "attention.key_length") or (hidden // heads if hidden and heads else None)
    embedding = next((t for t in header.tensors if t.name == "token_embd.weight"), None)
    rows = embedding.shape[0] if embedding is not None and len(embedding.shape) == 2 else None
    used, width = _number(header, "expert_used_count"), _number(header, "expert_feed_forward_length")
    return {
        "num_layers": _number(header, "block_count"),
        "executed_layers": _number(header, "block_count"),
        "hidden_size": hidden,
        "intermediate_size": used * width if used and width else _most(header, "feed_forward_length"),
        "num_experts": _number(header, "expert_count") or 0,
        "num_experts_per_tok": used or 0,
        "num_heads": heads,
        "num_kv_heads": heads if kv_heads is None else kv_heads,
        "head_dim": head_dim,
        "vocab_size": rows or _number(header, "vocab_size") or header.tokenizer.num_tokens or None,
        "max_position_embeddings": _number(header, "context_length"),
    }


def cached_layers(header: GgufHeader) -> tuple[tuple[CachedLayer, ...] | None, str]:
    """Return the layers that keep keys and values, and a note on windows; None if the keys state neither."""
    shape = shape_of(header)
    layers, head_dim = shape["num_layers"], shape["head_dim"]
    heads = _per_layer(header, "attention.head_count", layers)
    kv_heads = _per_layer(header, "attention.head_count_kv", layers) or heads
    if layers is None or not kv_heads:
        return None, ""
    if not any(kv_heads):
        return (), ""
    if head_dim is None:
        return None, ""
    value_dim = _number(header, "attention.value_length") or head_dim
    if _number(header, "attention.key_length_mla"):
        value_dim = 0  # latent attention: values are read from the keys' rows
    windows, note = _windows(header, layers)
    attends = _attends(header, layers)
    stored = layers - (_number(header, "attention.shared_kv_layers") or 0)
    return tuple(
        CachedLayer(kv_heads[layer] * head_dim, kv_heads[layer] * value_dim, windows[layer])
        for layer in range(max(stored, 0))
        if kv_heads[layer] and attends[layer]
    ), note


def state_bytes(header: GgufHeader) -> int:
    """Return bytes that recurrent layers keep for each sequence, in F32: past inputs and states."""
    layers = _number(header, "block_count") or 0
    kv_heads = _per_layer(header, "attention.head_count_kv", layers)
    feed_forward = _per_layer(header, "feed_forward_length", layers)
    attends = _attends(header, layers)
    if kv_heads and not all(kv_heads):
        # Nemotron-H's layers without heads are recurrent only where they have no feed-forward block
        lists = bool(feed_forward) and not all(feed_forward)
        recurrent = sum(not kv_heads[i] and not (lists and feed_forward[i]) for i in range(layers))
    elif not all(attends):
        recurrent = layers - sum(attends)
    else:
        recurrent = layers  # Mamba alone, or with attention in every layer (Falcon-H1)
    return _FLOAT_BYTES * recurrent * _state_elements(header)


def _state_elements(header: GgufHeader) -> int:
    """Return elements that one recurrent layer keeps for a sequence."""
    hidden = _number(header, "embedding_length") or 0
    inner, state = _number(header, "ssm.inner_size"), _number(header, "ssm.state_size")
    if inner and state:
        past = (_number(header, "ssm.conv_kernel") or 1) - 1
        return past * (inner + 2 * (_number(header, "ssm.group_count") or 0) * state) + inner * state
    if cached := _number(header, "shortconv.l_cache"):
        return (cached - 1) * hidden
    if head_size := _number(header, "wkv.head_size"):
        return ((_number(header, "token_shift_count") or 2) + head_size) * hidden
    return 0


def _attends(header: GgufHeader, layers: int) -> list[bool]:
    """Return for each layer if it has attention: all, or the last of each interval (gated delta nets)."""
    interval = _number(header, "full_attention_interval")
    return [not interval or (layer + 1) % interval == 0 for layer in range(layers)]


def _windows(header: GgufHeader, layers: int) -> tuple[list[int | None], str]:
    """Return each layer's window by the pattern of the file or of llama.cpp; a note if neither has one."""
    whole: list[int | None] = [None] * layers
    name, window = header.architecture_name or "", _number(header, "attention.sliding_window")
    if not window or name in _WITHOUT_WINDOWS:
        return whole, ""
    pattern = header.metadata.get(f"{name}.attention.sliding_window_pattern")
    if isinstance(pattern, tuple) and len(pattern) == layers:
        return [window if slides else None for slides in pattern], ""
    cycle = pattern if type(pattern) is int else WINDOW_CYCLES.get(name)
    if cycle is None:
        return whole, (
            f"which layers have its window of {window:,} positions is not known: the cache is the whole "
            "context in every layer, the most it can be"
        )
    return [window if not cycle or layer % cycle < cycle - 1 else None for layer in range(layers)], ""


def _number(header: GgufHeader, key: str) -> int | None:
    """Return a whole number of the model's keys; None if it is missing, a list, or out of bounds."""
    value = header.metadata.get(f"{header.architecture_name}.{key}")
    limit = MAX_LAYERS if key == "block_count" else MAX_WIDTH
    return value if type(value) is int and 0 <= value <= limit else None


def _per_layer(header: GgufHeader, key: str, layers: int | None) -> Sequence[int]:
    """Return a number for each layer, from a list or one for all; empty if some are missing."""
    value = header.metadata.get(f"{header.architecture_name}.{key}")
    listed = value if isinstance(value, tuple) else (_number(header, key),) * (layers or 0)
    numbers = [n for n in listed if isinstance(n, int) and 0 <= n <= MAX_WIDTH]
    return numbers if len(numbers) == layers else ()


def _most(header: GgufHeader, key: str) -> int | None:
    """Return the largest of a list, or the one number; None if it is missing."""
    value = header.metadata.get(f"{header.architecture_name}.{key}")
    if isinstance(value, tuple):
        numbers = [n for n in value if type(n) is int and 0 <= n <= MAX_WIDTH]
        return max(numbers, default=None)
    return _number(header, key)
