"""Assumptions about a config.json: defaults taken, and keys not understood that could add tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sizer.errors import shown
from sizer.families.config_keys import RecordedConfig

# Keys without effect on tensors: token ids, dropout, rotary positions, multipliers, training, loading.
_HARMLESS = re.compile(
    r"""_?(id|ids|index|token|tokens)$ | dropout | p?drop$ | (^|_)eps(ilon)?$ | initializer
    | (^|_)init(_|$) | _std$ | ^rope | ^no_rope | _?rotary_(pct|emb_base|dim|percent|base)
    | partial_rotary_factor | ^rotary | scal(e|ing)(_|$) | multiplier | softcap | loss | jitter
    | temperature | dtype | version | ^_ | implementation | ^output_ | ^return_ | ^use_return | label
    | ^auto_map$ | ^task | tokenizer | cache | ^(max|min)_length | penalty | beam | ^num_return
    | ^is_(encoder_decoder|decoder)$ | problem_type | summary | ^pretraining_tp$ | ^(fp|bf)(16|32)
    | flash | unsloth | ^clip_qkv$ | ^max_position | ^original_max_position
    | ^(n_ctx|n_positions|seq_length|seq_len|model_max_length|max_seq_len|max_sequence_length)$
    | ^architectures$ | ^model_type$ | ^name$ | ^norm_topk_prob$ | query_pre_attn_scalar
    | use_bidirectional | slow_but_exact | residual_connection_post | gradient_checkpointing
    | ^torchscript$ | ^pruned_heads$ | chunk_size | ^layer_norm_eps
    | ^(do_sample|early_stopping|top_k|top_p|typical_p|prefix)$ | bad_words | suppress | forced
    | ^quantization | compression_config | offset_alibi | skip_bias_add | ^masked_softmax | layerdrop
    | ^attention_softmax_in_fp32 | scale_attn | reorder_and_upcast | ^window_size$ | ^attention_types$
    | mup_ | dim_model_base | ^source$ | params_ | ^sharing$ | ^add_(bos|eos) | qa_ | sinusoidal
    | hidden_act | ^use_(mrope|qkv_bias_free)$ | mrope | ^use_sliding_window$ | ^max_window_layers$
    | ^(sliding_)?window | ^transformers | ^attn_temperature | floor_scale | attention_chunk_size
    | for_llm_class | time_step | rescale_prenorm | residual_in_fp32 | mambapy | associative_scan
    | topk_(method|group)$ | scoring_func | routed_scaling | ^n_group$ | mamba_ssm_dtype""",
    re.VERBOSE,
)
# Of texts only those that name a kind of block; other texts describe no tensor.
_KIND = re.compile(r"(attn|attention|norm|layer|mixer|mlp|ffn|block|ffw).*(type|kind|class|cfg|impl)s?$")
_MOST_SHOWN = 12


def config_notes(config: RecordedConfig) -> Iterator[str]:
    """Yield what a reader assumed about a config: one line for defaults, one for keys it does not know."""
    taken = ", ".join(
        f"{key} {_text(value)}" for key, value in config.defaults.items() if not key.startswith("_")
    )
    if taken:
        yield f"left out of the config, so the default of model_type {config.get('model_type')}: {taken}"
    if unknown := dict(unread_keys(config)):
        listed = ", ".join(f"{shown(key)[1:-1]} {shown(value)}" for key, value in unknown.items())
        yield f"keys not understood, which could add tensors that are not counted: {listed}"


def unread_keys(config: RecordedConfig) -> Iterator[tuple[str, object]]:
    """Yield keys that no reader asked for and that could describe tensors, at most a dozen."""
    found = 0
    for key, value in dict.items(config):
        if key in config.asked or not _may_add_tensors(key, value):
            continue
        found += 1
        if found > _MOST_SHOWN:
            return
        yield key, value


def _may_add_tensors(key: object, value: object) -> bool:
    if value is None or value is False or isinstance(value, float) or not isinstance(key, str):
        return False
    if isinstance(value, int | list | Mapping) and not value:
        return False
    if isinstance(value, str) and not _KIND.search(key):
        return False
    return not _HARMLESS.search(key)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
