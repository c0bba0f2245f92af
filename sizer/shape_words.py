"""Words for what a shape has that an engine does not run, by fields of `Architecture`."""

from __future__ import annotations

from collections.abc import Iterable

_WORDS = {
    "position learned": "learned positions",
    "position alibi": "ALiBi positions",
    "position none": "no positions",
    "position_offset": "positions that start at an offset",
    "block_norms": "norms placed differently around blocks",
    "final_norm": "no norm after the last block",
    "embedding_norm": "a norm on the embedding",
    "embedding_size": "an embedding narrower than the blocks",
    "head_bias": "a bias on the head",
    "attention_output_bias": "a bias on the attention output",
    "mlp_bias": "biases in the feed-forward blocks",
    "mlp gelu": "feed-forward blocks with GELU and no gate",
    "mlp relu": "feed-forward blocks with ReLU and no gate",
    "mlp relu2": "feed-forward blocks with squared ReLU",
    "mlp geglu": "feed-forward blocks with GeGLU",
    "norm layernorm": "LayerNorm",
    "sub_norms": "norms inside attention and feed-forward blocks",
    "shared_mlp": "one feed-forward block for all layers",
    "fused_qkv": "one matrix for query, key and value",
    "fused_gate_up": "one matrix for gate and up",
    "qk_norm_all_heads": "one norm over the queries of all heads",
    "qk_norm_each_head": "norms on query and key of each head",
    "qk_norm and qkv_bias together": "norms on query and key with biases of query, key and value",
    "conv_layers": "short convolutions",
    "layer_num_heads": "head counts that differ by layer",
    "layer_intermediate_sizes": "FFN sizes that differ by layer",
    "num_experts": "experts",
    "mamba": "Mamba layers",
    "mamba2": "Mamba-2 layers",
    "delta_net": "gated delta nets",
    "latent_attention": "multi-head latent attention",
    "global_attention": "layers with attention of other widths",
    "per_layer_inputs": "embeddings for each layer",
    "shared_transformer": "transformer blocks that several layers share",
    "layers_without_mixer": "layers without attention",
    "layers_without_mlp": "layers without a feed-forward block",
    "shared_kv_layers": "layers that share a cache",
    "shared_kv_is_stored": "keys and values stored for layers that share a cache",
    "attention_gate": "gates on the attention output",
    "attention_sinks": "attention sinks",
}


def in_words(facts: Iterable[str]) -> str:
    """Return facts of a shape (names of fields, or field and kind) as words in a list."""
    return ", ".join(_WORDS.get(fact, fact.replace("_", " ")) for fact in facts)
