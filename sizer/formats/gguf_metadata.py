"""Metadata of a GGUF file as bytes: keys, value types and values (ggml docs/gguf.md)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from sizer.architecture import Architecture

_STRING, _ARRAY = 8, 9  # gguf_metadata_value_type
_KINDS = {"UINT32": (4, "<I"), "INT32": (5, "<i"), "FLOAT32": (6, "<f"), "BOOL": (7, "<?")} | {
    "UINT64": (10, "<Q"),
    "FLOAT64": (12, "<d"),
}

# Shape, provenance and padding of an exported file: enough for names of 300 bytes; longer ones take more
# steps.
FIXED_ENTRIES_BYTES = 1536
_PADDING, _PADDING_STEP = "sizer.padding", 512

_NORMAL, _UNUSED = 1, 5  # gguf.TokenType
# llama.cpp wants merges; this one joins characters that no token doubles
_NO_MERGE = "þþ þþ"


class Entry(NamedTuple):
    """A key, the type of its value (such as "UINT32", or "STRING[]" for an array of texts), and the value."""

    key: str
    kind: str
    value: Any


def encoded(entries: Sequence[Entry]) -> bytes:
    """Return the bytes of all entries, in their order."""
    return b"".join(_text(e.key) + _value(e.kind, e.value) for e in entries)


def llama_kind(a: Architecture) -> str:
    """Return general.architecture of a model with Llama's blocks."""
    if a.attention_sinks:
        return "granite_swa"
    if a.conv_layers:
        return "lfm2"
    return "deci" if a.layer_intermediate_sizes else "llama"


def has_rotated_pairs(a: Architecture) -> bool:
    """Return whether llama.cpp rotates pairs of a head's elements; LFM2's are in halves (ROPE_TYPE_NEOX)."""
    return llama_kind(a) != "lfm2"


def llama_entries(
    a: Architecture, *, context_tokens: int, norm_epsilon: float, rope_base: float
) -> tuple[Entry, ...]:
    """Return name and shape of a model with Llama's blocks; a file stores a block for each run.

    With FFN sizes by layer it is one of `deci`, with sliding windows one of `granite_swa`, with short
    convolutions one of `lfm2`, as whose blocks llama.cpp runs them.
    """
    kind, sizes = llama_kind(a), a.layer_intermediate_sizes
    width = Entry(f"{kind}.feed_forward_length", "UINT32", a.intermediate_size)
    if sizes:
        width = Entry(f"{kind}.feed_forward_length", "INT32[]", sizes)
    return (
        Entry("general.architecture", "STRING", kind),
        Entry("general.name", "STRING", a.name),
        Entry(f"{kind}.block_count", "UINT32", a.executed_layers),
        Entry(f"{kind}.context_length", "UINT32", context_tokens),
        Entry(f"{kind}.embedding_length", "UINT32", a.hidden_size),
        width,
        Entry(f"{kind}.attention.head_count", "UINT32", a.num_heads),
        *_kv_head_entries(a, kind),
        Entry(f"{kind}.attention.layer_norm_rms_epsilon", "FLOAT32", norm_epsilon),
        Entry(f"{kind}.rope.dimension_count", "UINT32", a.head_dim),
        Entry(f"{kind}.rope.freq_base", "FLOAT32", rope_base),
        Entry(f"{kind}.vocab_size", "UINT32", a.vocab_size),
        *_expert_entries(a, kind),
        *_window_entries(a, kind),
    )


def _expert_entries(a: Architecture, kind: str) -> tuple[Entry, ...]:
    """Return how many experts there are and how many of them a token uses."""
    if not a.num_experts:
        return ()
    return (
        Entry(f"{kind}.expert_count", "UINT32", a.num_experts),
        Entry(f"{kind}.expert_used_count", "UINT32", a.num_experts_per_tok),
    )


def _kv_head_entries(a: Architecture, kind: str) -> tuple[Entry, ...]:
    """Return the KV heads, of each layer where some have a convolution and none, and then its kernel."""
    key = f"{kind}.attention.head_count_kv"
    if not a.conv_layers:
        return (Entry(key, "UINT32", a.num_kv_heads),)
    without = frozenset(a.conv_layers)
    heads = tuple(0 if layer in without else a.num_kv_heads for layer in range(a.num_layers))
    return (Entry(key, "INT32[]", heads), Entry(f"{kind}.shortconv.l_cache", "UINT32", a.conv_kernel))


def _window_entries(a: Architecture, kind: str) -> tuple[Entry, ...]:
    """Return the window and which runs of layers have it; Granite's factor of the logits is then required."""
    if kind != "granite_swa":
        return ()
    unrolled = a.unrolled()
    sliding = frozenset(unrolled.sliding_layers)
    pattern = tuple(layer in sliding for layer in range(unrolled.num_layers))
    return (
        Entry(f"{kind}.logit_scale", "FLOAT32", 1.0),
        Entry(f"{kind}.attention.sliding_window", "UINT32", a.sliding_window),
        Entry(f"{kind}.attention.sliding_window_pattern", "BOOL[]", pattern),
    )


def byte_level_entries(
    tokens: Sequence[str], merges: Sequence[str], *, end_token: int, vocab_size: int
) -> tuple[Entry, ...]:
    """Return the tokenizer of a byte-level BPE (GPT-2's kind), with unused tokens up to `vocab_size` rows.

    `end_token` begins and ends texts: llama.cpp would otherwise end at token 11.
    """
    spare = vocab_size - len(tokens)
    return (
        Entry("tokenizer.ggml.model", "STRING", "gpt2"),
        Entry("tokenizer.ggml.pre", "STRING", "gpt-2"),
        Entry("tokenizer.ggml.tokens", "STRING[]", (*tokens, *(f"[UNUSED{n}]" for n in range(spare)))),
        Entry("tokenizer.ggml.token_type", "INT32[]", (*(_NORMAL,) * len(tokens), *(_UNUSED,) * spare)),
        Entry("tokenizer.ggml.merges", "STRING[]", tuple(merges) or (_NO_MERGE,)),
        Entry("tokenizer.ggml.bos_token_id", "UINT32", end_token),
        Entry("tokenizer.ggml.eos_token_id", "UINT32", end_token),
        Entry("tokenizer.ggml.add_bos_token", "BOOL", False),
        Entry("tokenizer.ggml.add_eos_token", "BOOL", False),
    )


def padding_entry(entries: Sequence[Entry]) -> Entry:
    """Return an entry that brings these, together with itself, to a whole number of steps of bytes.

    So the size of a file does not depend on the names in it, and is known before they are.
    """
    used = len(encoded((*entries, Entry(_PADDING, "STRING", ""))))
    room = max(FIXED_ENTRIES_BYTES - used, -used % _PADDING_STEP)
    return Entry(_PADDING, "STRING", " " * room)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind: str, value: Any) -> bytes:
    if not kind.endswith("[]"):
        return struct.pack("<I", _number(kind)) + _plain(kind, value)
    item = kind.removesuffix("[]")
    items = b"".join(_plain(item, one) for one in value)
    return struct.pack("<IIQ", _ARRAY, _number(item), len(value)) + items


def _number(kind: str) -> int:
    return _STRING if kind == "STRING" else _KINDS[kind][0]


def _plain(kind: str, value: Any) -> bytes:
    return _text(value) if kind == "STRING" else struct.pack(_KINDS[kind][1], value)
