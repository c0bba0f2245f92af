"""GGUF files of every family that is read: transformers' tensors under the gguf package's names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, SizerError
from sizer.families.hf_config import architecture_from_config
from sizer.readers.gguf_architecture import FAMILIES, architecture_from_gguf
from sizer.readers.gguf_header import GgufHeader, read_gguf
from sizer.readers.gguf_values import LongArray
from sizer.readers.inspection import inspect_file
from tests.meta_models import Shape, their_parameters

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2}
LOCAL_EXPERTS = {"num_local_experts": 6, "num_experts_per_tok": 2}
FALCON = {"model_type": "falcon", "bias": False, "num_kv_heads": 2}

# Value of general.architecture, and a config of such a model; the family's variants apart.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "arcee": ("arcee", {"model_type": "arcee"}),
    "bloom": ("bloom", {"model_type": "bloom", "n_layer": 3, "n_head": 4}),
    "cohere2": ("cohere2", {"model_type": "cohere2", "sliding_window": 64}),
    "command-r": ("command-r", {"model_type": "cohere"}),
    "deci": ("deci", {"model_type": "llama"}),
    "ernie4_5": ("ernie4_5", {"model_type": "ernie4_5", "head_dim": 32}),
    "exaone": ("exaone", {"model_type": "llama"}),
    "exaone4": ("exaone4", {"model_type": "exaone4"}),
    "falcon 7B": ("falcon", {"model_type": "falcon"}),
    "falcon 40B": ("falcon", {**FALCON, "new_decoder_architecture": True}),
    "falcon 11B": ("falcon", {**FALCON, "new_decoder_architecture": True, "num_ln_in_parallel_attn": 1}),
    "gemma": ("gemma", {"model_type": "gemma", "head_dim": 32}),
    "gemma2": ("gemma2", {"model_type": "gemma2", "head_dim": 32}),
    "gemma3": ("gemma3", {"model_type": "gemma3_text", "head_dim": 32}),
    "glm4": ("glm4", {"model_type": "glm4", "head_dim": 16}),
    "gpt2": ("gpt2", {"model_type": "gpt2", "n_positions": 512, "n_inner": 160}),
    "gptneox": ("gptneox", {"model_type": "gpt_neox"}),
    "granite": ("granite", {"model_type": "granite", "tie_word_embeddings": True}),
    "granite with biases": (
        "granite",
        {"model_type": "granite", "attention_bias": True, "mlp_bias": True},
    ),
    "granitemoe": ("granitemoe", {"model_type": "granitemoe", **LOCAL_EXPERTS, "tie_word_embeddings": True}),
    "granitemoe with a shared expert": (
        "granitemoe",
        {"model_type": "granitemoeshared", **LOCAL_EXPERTS, "shared_intermediate_size": 32},
    ),
    "hunyuan-dense": ("hunyuan-dense", {"model_type": "hunyuan_v1_dense", "head_dim": 16}),
    "internlm2": ("internlm2", {"model_type": "llama"}),
    "lfm2": (
        "lfm2",
        {
            "model_type": "lfm2",
            "layer_types": ["conv", "full_attention", "conv"],
            "conv_L_cache": 4,
            "block_auto_adjust_ff_dim": False,
        },
    ),
    "llama": ("llama", {"model_type": "llama"}),
    "mixtral": ("llama", {"model_type": "mixtral", **LOCAL_EXPERTS}),
    "mistral3": ("mistral3", {"model_type": "ministral3", "head_dim": 32}),
    "nemotron": ("nemotron", {"model_type": "nemotron", "head_dim": 16}),
    "olmo": ("olmo", {"model_type": "olmo"}),
    "olmo2": ("olmo2", {"model_type": "olmo2"}),
    "olmoe": ("olmoe", {"model_type": "olmoe", **EXPERTS}),
    "phi2": ("phi2", {"model_type": "phi", "num_key_value_heads": 4}),
    "phi3": ("phi3", {"model_type": "phi3"}),
    "qwen2": ("qwen2", {"model_type": "qwen2"}),
    "qwen2moe": (
        "qwen2moe",
        {
            "model_type": "qwen2_moe",
            **EXPERTS,
            "moe_intermediate_size": 48,
            "shared_expert_intermediate_size": 32,
        },
    ),
    "qwen3": ("qwen3", {"model_type": "qwen3", "head_dim": 32}),
    "qwen3moe": (
        "qwen3moe",
        {"model_type": "qwen3_moe", **EXPERTS, "head_dim": 32, "moe_intermediate_size": 48},
    ),
    "qwen2vl": ("qwen2vl", {"model_type": "qwen2"}),
    "qwen3vl": ("qwen3vl", {"model_type": "qwen3", "head_dim": 32}),
    "smollm3": ("smollm3", {"model_type": "smollm3"}),
    "stablelm": ("stablelm", {"model_type": "stablelm", "use_qkv_bias": True}),
    "stablelm 12B": (
        "stablelm",
        {"model_type": "stablelm", "use_parallel_residual": True, "qk_layernorm": True},
    ),
    "starcoder2": ("starcoder2", {"model_type": "starcoder2"}),
    "xverse": ("xverse", {"model_type": "llama"}),
}
# What transformers 5 calls tensors that the package's map knows by their names in older files.
_OWN_NAMES = {
    "mlp.experts.down_proj": gguf.MODEL_TENSOR.FFN_DOWN_EXP,
    "block_sparse_moe.experts.down_proj": gguf.MODEL_TENSOR.FFN_DOWN_EXP,
    "block_sparse_moe.router.weight": gguf.MODEL_TENSOR.FFN_GATE_INP,
    "shared_mlp.output_linear.weight": gguf.MODEL_TENSOR.FFN_DOWN_SHEXP,
}
_FUSED = {
    "experts.gate_up_proj": (gguf.MODEL_TENSOR.FFN_GATE_EXP, gguf.MODEL_TENSOR.FFN_UP_EXP),
    "shared_mlp.input_linear.weight": (gguf.MODEL_TENSOR.FFN_GATE_SHEXP, gguf.MODEL_TENSOR.FFN_UP_SHEXP),
}


def _named(arch: gguf.MODEL_ARCH, config: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    """transformers' tensors as convert_hf_to_gguf.py writes them: experts apart, norms of heads together."""
    layers = SIZES["num_hidden_layers"]
    known = gguf.get_tensor_name_map(arch, layers)
    for name, shape in their_parameters(config).items():
        block = int(found[1]) if (found := re.search(r"\.(\d+)\.", name)) else None
        fused = [kinds for end, kinds in _FUSED.items() if name.endswith(end)]
        own = [kind for end, kind in _OWN_NAMES.items() if name.endswith(end)]
        head = re.fullmatch(r".*\.([qk])_layernorm\.norms\.(\d+)\.weight", name)
        if fused:
            *outer, rows, columns = shape
            for kind in fused[0]:
                yield f"{gguf.TENSOR_NAMES[kind].format(bid=block)}.weight", (*outer, rows // 2, columns)
        elif own:
            yield f"{gguf.TENSOR_NAMES[own[0]].format(bid=block)}.weight", shape
        elif head:
            heads = config["num_attention_heads" if head[1] == "q" else "num_key_value_heads"]
            if head[2] == "0":
                yield f"blk.{block}.attn_{head[1]}_norm.weight", (heads, *shape)
        else:
            bare = name.removeprefix("transformer.") if config["model_type"] == "bloom" else name
            written = known.get_name(bare, try_suffixes=(".weight", ".bias"))
            assert written is not None, name
            # Conv1D has its matrices the other way round; a short convolution's channels are alone
            matrix = config["model_type"] == "gpt2" and len(shape) == 2 and block is not None
            yield written, shape[::-1] if matrix else tuple(n for n in shape if n > 1)


def _config(case: str) -> dict[str, Any]:
    config = {**SIZES, **CASES[case][1]}
    gpt2 = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
    names = gpt2 if config["model_type"] == "gpt2" else {}
    return {names.get(key, key): value for key, value in config.items()}


def _write(
    path: Path, case: str, *, change: Callable[[dict[str, Any]], None] = lambda keys: None, drop: str = ""
) -> Architecture:
    """The case's file with the keys that the converter writes; the architecture its config describes."""
    family, config = CASES[case][0], _config(case)
    a = architecture_from_config(config, "model")
    arch = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == family)
    keys: dict[str, Any] = {
        "context_length": a.max_position_embeddings,
        "embedding_length": a.hidden_size,
        "block_count": a.num_layers,
        "feed_forward_length": a.intermediate_size,
        "attention.head_count": a.num_heads,
    }
    if family not in ("gpt2", "gptneox"):
        keys["attention.head_count_kv"] = a.num_kv_heads
    if "head_dim" in config:
        keys |= {"attention.key_length": a.head_dim, "attention.value_length": a.head_dim}
    if a.num_experts:
        keys |= {"expert_count": a.num_experts, "expert_used_count": a.num_experts_per_tok}
    if a.moe_intermediate_size:
        keys["expert_feed_forward_length"] = a.moe_intermediate_size
    if a.shared_expert_intermediate_size:
        keys["expert_shared_feed_forward_length"] = a.shared_expert_intermediate_size
    if a.sliding_window:
        keys["attention.sliding_window"] = a.sliding_window
    if a.conv_layers:
        keys["shortconv.l_cache"] = a.conv_kernel
        keys["attention.head_count_kv"] = [
            0 if layer in a.conv_layers else a.num_kv_heads for layer in range(a.num_layers)
        ]
    change(keys)
    writer = gguf.GGUFWriter(path, family)
    writer.add_name("model")
    for key, value in keys.items():
        full = f"{family}.{key}"
        writer.add_array(full, value) if isinstance(value, list) else writer.add_uint32(full, value)
    for name, shape in _named(arch, config):
        if name != drop:
            writer.add_tensor(name, np.zeros(shape, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return a


def test_every_family_has_a_case() -> None:
    # gguf-py has no names of granite_swa yet: tests/search/export/test_windows.py has its files
    assert {family for family, _ in CASES.values()} == FAMILIES.keys() - {"minicpm", "granite_swa"}


def test_the_keys_are_those_of_the_gguf_package() -> None:
    written = {
        value
        for part in ("LLM", "Attention", "ShortConv")
        for value in vars(getattr(gguf.Keys, part)).values()
        if isinstance(value, str)
    }
    for key in (
        "context_length",
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.sliding_window",
        "expert_count",
        "expert_used_count",
        "expert_feed_forward_length",
        "expert_shared_feed_forward_length",
        "shortconv.l_cache",
    ):
        assert f"{{arch}}.{key}" in written


@pytest.mark.parametrize("case", CASES)
def test_a_written_file_is_read_back_as_its_config_says(tmp_path: Path, case: str) -> None:
    expected = _write(tmp_path / "model.gguf", case)
    assert architecture_from_gguf(read_gguf(tmp_path / "model.gguf")) == expected


@pytest.mark.parametrize("case", CASES)
def test_the_calculator_counts_what_the_file_holds(tmp_path: Path, case: str) -> None:
    _write(tmp_path / "model.gguf", case)
    found = inspect_file(tmp_path / "model.gguf")
    assert found.agreement is not None, found.no_architecture
    assert found.agreement.parameters_difference == 0


def test_ffn_sizes_of_deci_are_those_of_each_layer(tmp_path: Path) -> None:
    _write(tmp_path / "model.gguf", "deci", change=lambda keys: keys.update(feed_forward_length=[96, 160]))
    with pytest.raises(InvalidArchitecture, match="accepted: a size above 0 for each of 3 layers"):
        architecture_from_gguf(read_gguf(tmp_path / "model.gguf"))
    _write(
        tmp_path / "more.gguf", "deci", change=lambda keys: keys.update(feed_forward_length=[96, 160, 160])
    )
    with pytest.raises(InvalidArchitecture, match="has 129,472 weights, but the file holds 141,760"):
        architecture_from_gguf(read_gguf(tmp_path / "more.gguf"))


# The first four families compare file and calculator instead: a difference is told in figures there.
@pytest.mark.parametrize("case", [c for c in CASES if CASES[c][0] not in ("llama", "qwen2", "qwen3")])
def test_a_file_with_a_tensor_less_is_refused(tmp_path: Path, case: str) -> None:
    drop = "blk.2.ffn_down_exps.weight" if "expert" in str(CASES[case][1]) else "blk.2.ffn_down.weight"
    _write(tmp_path / "model.gguf", case, drop=drop)
    with pytest.raises(InvalidArchitecture, match=r"has [\d,]+ weights, but the file holds [\d,]+; acc"):
        architecture_from_gguf(read_gguf(tmp_path / "model.gguf"))


def test_frequencies_of_long_contexts_are_no_weights(tmp_path: Path) -> None:
    expected = _write(tmp_path / "model.gguf", "phi3")
    header = read_gguf(tmp_path / "model.gguf")
    factors = replace(header.tensors[0], name="rope_factors_long.weight", shape=(8,))
    assert architecture_from_gguf(replace(header, tensors=(*header.tensors, factors))) == expected


@pytest.mark.parametrize(
    ("case", "changed", "message"),
    [
        ("granitemoe", {"expert_used_count": 7}, "num_experts_per_tok must be a whole number from 1 to 6"),
        ("granitemoe", {"expert_count": 5}, "granitemoe with these keys has"),
        ("granitemoe", {"expert_used_count": None}, "granitemoe.expert_used_count: missing"),
        ("phi3", {"expert_count": 8}, "phi3.expert_count: mixtures of experts are not supported"),
        ("gemma2", {"feed_forward_length": 128}, "gemma2 with these keys has"),
        ("gemma2", {"block_count": 4}, "gemma2.block_count: 4, but tensors of block 3 are missing"),
        ("gemma2", {"block_count": 2}, "gemma2 with these keys has"),
        ("gemma2", {"block_count": 2**32 - 1}, "but tensors of block 4294967294 are missing"),
        ("lfm2", {"attention.head_count_kv": [0, 2]}, r"lfm2.attention.head_count_kv: \[0, 2\]; accepted"),
        ("lfm2", {"attention.head_count_kv": [0, 2, 1]}, r"for each of 3 layers 0 or the same number"),
        ("lfm2", {"attention.head_count_kv": [0, 0, 0]}, r"for each of 3 layers 0 or the same number"),
        ("lfm2", {"shortconv.l_cache": None}, "lfm2.shortconv.l_cache: missing"),
        ("falcon 7B", {"attention.head_count_kv": 3}, "num_heads must be a multiple of num_kv_heads"),
        ("olmo2", {"attention.head_count": 0}, "0 heads"),
    ],
)
def test_keys_that_do_not_fit_the_tensors(
    tmp_path: Path, case: str, changed: dict[str, Any], message: str
) -> None:
    def change(keys: dict[str, Any]) -> None:
        keys |= changed
        for key in [key for key, value in keys.items() if value is None]:
            del keys[key]

    _write(tmp_path / "model.gguf", case, change=change)
    with pytest.raises(InvalidArchitecture, match=message):
        architecture_from_gguf(read_gguf(tmp_path / "model.gguf"))


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> list[GgufHeader]:
    folder = tmp_path_factory.mktemp("families")
    for number, case in enumerate(CASES):
        _write(folder / f"{number}.gguf", case)
    return [read_gguf(folder / f"{number}.gguf") for number in range(len(CASES))]


_NUMBERS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.integers(0, 9), st.floats(), st.booleans())
_SCALARS = st.one_of(_NUMBERS, st.text())
_VALUES = st.one_of(
    _SCALARS, st.lists(_SCALARS, max_size=4).map(tuple), st.just(LongArray(type="uint32", count=10**9))
)


@given(st.data())
def test_any_value_under_any_key_is_read_or_refused_in_one_line(
    headers: list[GgufHeader], data: st.DataObject
) -> None:
    header = data.draw(st.sampled_from(headers))
    keys = st.sampled_from(sorted(header.metadata))
    changed = data.draw(st.dictionaries(keys, _VALUES, max_size=3))
    kept = data.draw(st.integers(0, len(header.tensors)))
    try:
        architecture_from_gguf(
            replace(header, metadata={**header.metadata, **changed}, tensors=header.tensors[-kept:])
        )
    except SizerError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
