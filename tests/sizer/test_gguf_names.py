"""GGUF files of the families read here: llama.cpp's own names of tensors, by gguf-py's table."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sizer.errors import InvalidArchitecture
from sizer.families.hf_config import FAMILIES, architecture_from_config
from sizer.formats.gguf import gguf_name
from sizer.formats.gguf_layout import gguf_layout, unknown_layout
from sizer.formats.gguf_names import ARCHITECTURES
from sizer.model_estimate import estimate
from sizer.runtimes.llamacpp import LlamaCpp
from tests.other_layers import BASES as OTHER_LAYERS

SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "num_experts_per_tok": 2,
}
# Names of sizes and flags that some families have, and what makes a small model one of a published kind.
OWN: dict[str, dict[str, Any]] = {
    "bitnet": {"tie_word_embeddings": True},
    "lfm2": {"full_attn_idxs": [1, 3]},
    "bloom": {"n_layer": 8, "n_head": 4},
    "chatglm": {"padded_vocab_size": 96, "ffn_hidden_size": 128, "num_layers": 8, "kv_channels": 16},
    "cohere": {"num_hidden_layers": 64, "use_qk_norm": True},
    "exaone": {"num_layers": 8},
    "phi3small": {"ff_intermediate_size": 128},
    "gpt2": {"n_embd": 64, "n_layer": 8, "n_head": 4},
    "gpt_neox": {"tie_word_embeddings": False},
    "openelm": {"model_dim": 64, "num_transformer_layers": 8, "num_gqa_groups": 2, "head_dim": 16},
}
OWN["deepseek"] = {"first_k_dense_replace": 1, "n_routed_experts": 4, "n_shared_experts": 1}
OWN["openelm"] |= {"normalize_qk_projections": True, "share_input_output_layers": True}
# Names in gguf-py's table for tensors that no file of these models needs: rotations computed on reading,
# a head that is the table, alternatives to separate query, key and value, and next-token layers.
OPTIONAL = {
    *("output", "rope_freqs", "rope_factors_long", "rope_factors_short", "position_embd", "token_types"),
    *("blk.attn_rot_embd", "blk.attn_qkv", "blk.attn_q", "blk.attn_k", "blk.attn_v", "blk.ffn_gate_inp"),
    *("blk.ffn_gate_exps", "blk.ffn_down_exps", "blk.ffn_up_exps", "blk.ffn", "blk.attn_norm_2"),
    *("blk.ffn_act", "blk.attn_q_norm", "blk.attn_k_norm", "blk.ffn_norm_exps"),
}
# The same for single families: a shared expert, the other of two names of one norm, dense blocks.
_SHARED = {"blk.ffn_gate_shexp", "blk.ffn_up_shexp", "blk.ffn_down_shexp"}
OWN_OPTIONAL = {
    "granitemoe": _SHARED,
    "granitemoeshared": _SHARED,
    "lfm2": {"dense_2"},
    "mixtral": {"blk.ffn_gate", "blk.ffn_up", "blk.ffn_down"},
    "phi": {"blk.ffn_norm"},
}
# What our names differ in, each with what the file calls it.
OTHER_NAMES = {"seed_oss": {"blk.ffn_norm": "blk.post_attention_norm"}}
# Younger than gguf-py 0.19: an older model's names and others, as llama.cpp's build 11549 asks for them
# (tests/search/export/test_windows.py has such a file scored there).
YOUNGER = {"granite_swa": ("granite", {"blk.attn_sinks"})}
# Families whose tensors are compared in test_gguf_other_layers.py.
COMPARED = sorted(ARCHITECTURES.keys() & FAMILIES.keys() - OTHER_LAYERS.keys())


def _config(family: str) -> dict[str, Any]:
    return {**SMALL, "model_type": family, **OWN.get(family, {})}


def _names(family: str) -> set[str]:
    """Names of all tensors without number of the block and suffix."""
    architecture = architecture_from_config(_config(family))
    assert unknown_layout(architecture) == ()
    stored = LlamaCpp().store(architecture, "F16")
    names = {re.sub(r"\.(weight|bias)$", "", re.sub(r"^blk\.\d+", "blk", gguf_name(t.spec))) for t in stored}
    other = OTHER_NAMES.get(family, {})
    return {other.get(name, name) for name in names}


def _theirs(name: str) -> set[str]:
    from gguf.constants import MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES

    if name in YOUNGER:
        older, more = YOUNGER[name]
        return _theirs(older) | more
    (kind,) = (kind for kind, text in MODEL_ARCH_NAMES.items() if text == name)
    return {
        TENSOR_NAMES[tensor].replace("blk.{bid}.", "blk.")
        for tensor in MODEL_TENSORS[kind]
        if ".nextn." not in TENSOR_NAMES[tensor]
    }


@pytest.mark.parametrize("family", COMPARED)
def test_a_familys_file_has_the_names_of_its_model_there(family: str) -> None:
    ours, theirs = _names(family), _theirs(ARCHITECTURES[family])
    assert ours <= theirs
    assert theirs - ours <= OPTIONAL | OWN_OPTIONAL.get(family, set())
    assert ours & {"blk.attn_qkv", "blk.attn_q"}


def test_every_name_is_one_of_gguf_py() -> None:
    from gguf.constants import MODEL_ARCH_NAMES

    assert set(ARCHITECTURES.values()) - YOUNGER.keys() <= set(MODEL_ARCH_NAMES.values())


WITHOUT = sorted(FAMILIES.keys() - ARCHITECTURES.keys() - OTHER_LAYERS.keys())


@pytest.mark.parametrize("family", WITHOUT)
def test_a_family_without_a_converter_says_so_or_has_no_file(family: str) -> None:
    architecture = architecture_from_config({**_config(family), "layer_types": None})
    found = estimate(architecture=architecture, format="Q4_K_M")
    if found.weights is None:
        with pytest.raises(InvalidArchitecture, match="llama.cpp runs no model of this kind"):
            LlamaCpp().store(architecture, "Q4_K_M")
    else:
        note = f"llama.cpp has no converter for model_type {family}: "
        assert any(text.startswith(note) for text in found.assumptions)


def test_command_r_plus_is_looked_for_in_64_layers() -> None:
    small = {**SMALL, "model_type": "cohere"}
    assert gguf_layout(architecture_from_config(small)) == "command-r"
    assert gguf_layout(architecture_from_config({**small, "use_qk_norm": True})) is None
    plus = {**small, "use_qk_norm": True, "num_hidden_layers": 64}
    assert gguf_layout(architecture_from_config(plus)) == "command-r"
