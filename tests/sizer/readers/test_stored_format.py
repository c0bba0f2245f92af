"""Quantized checkpoints: the format that a config says, by the blocks that each tool writes."""

from __future__ import annotations

import time
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.formats.mlx import MlxGroups
from sizer.readers.config_json import may_be_quantized
from sizer.readers.stored_format import stored_format
from sizer.registry import model
from sizer.request import EstimateRequest
from sizer.runtimes import runtime
from sizer.tensors import tensor_specs

LLAMA_1B: dict[str, Any] = {
    "model_type": "llama",
    "attention_bias": False,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
    "vocab_size": 128256,
}
# As AutoGPTQ, AutoAWQ, bitsandbytes, MLX and torchao write them.
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True, "version": "gemm"}
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
INT8 = {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}
COMPRESSED = {
    "quant_method": "compressed-tensors",
    "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}}},
}


def torchao(name: str, **data: Any) -> dict[str, Any]:
    """Return a block as transformers writes one of torchao's configs."""
    return {"quant_method": "torchao", "quant_type": {"default": {"_type": name, "_data": data}}}


def compressed(**weights: Any) -> dict[str, Any]:
    """Return a block of compressed-tensors (llm-compressor) with one group of weights."""
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}


@pytest.mark.parametrize(
    ("block", "name", "form"),
    [
        (GPTQ, "transformers", "gptq-4bit-g128"),
        ({**GPTQ, "bits": 8, "group_size": 32}, "transformers", "gptq-8bit-g32"),
        (AWQ, "transformers", "awq-4bit-g64"),
        (NF4, "transformers", "nf4"),
        ({**NF4, "bnb_4bit_use_double_quant": True}, "transformers", "nf4-dq"),
        ({"load_in_4bit": True}, "transformers", "fp4"),
        (INT8, "transformers", "llm.int8"),
        (COMPRESSED, "transformers", "gptq-4bit-g128"),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, "transformers", "torchao-int4-g128"),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "transformers", "torchao-int8"),
        (torchao("Int4WeightOnlyConfig", group_size=64), "transformers", "torchao-int4-g64"),
        (torchao("Int8WeightOnlyConfig"), "transformers", "torchao-int8"),
        (torchao("Int8DynamicActivationInt4WeightConfig"), "transformers", "torchao-int4-g32"),
        (
            torchao(
                "Int8DynamicActivationIntxWeightConfig",
                weight_dtype={"_type": "torch.dtype", "_data": "int4"},
                weight_granularity={"_type": "PerGroup", "_data": {"group_size": 64}},
            ),
            "transformers",
            "torchao-int4-g64",
        ),
        (
            torchao(
                "Float8DynamicActivationFloat8WeightConfig",
                granularity=[{"_type": "PerRow", "_data": {}}, {"_type": "PerRow", "_data": {}}],
            ),
            "transformers",
            "fp8-channel",
        ),
        (torchao("Float8WeightOnlyConfig"), "transformers", "fp8"),
        (torchao("AutoQuantConfig"), None, None),
        (
            {
                "quant_method": "torchao",
                "quant_type": "int4_weight_only",
                "quant_type_kwargs": {"group_size": 32},
            },
            "transformers",
            "torchao-int4-g32",
        ),
        (
            {"quant_method": "torchao", "quant_type": "int8_dynamic_activation_int4_weight"},
            "transformers",
            "torchao-int4-g32",
        ),
        (
            {"quant_method": "bitsandbytes", "_load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            "transformers",
            "nf4",
        ),
        ({"quant_method": "bitsandbytes"}, None, None),
        ({"bits": 4, "group_size": 64}, "mlx", "4bit"),
        ({"bits": 6, "group_size": 32}, "mlx", "6bit-g32"),
        ({"bits": 4, "group_size": 32, "mode": "mxfp4"}, "mlx", "mxfp4"),
        ({**GPTQ, "group_size": -1}, "transformers", "gptq-4bit-g128"),
        ({"bits": 1, "group_size": 128}, "mlx", "1bit-g128"),
        ({"bits": 1, "group_size": 64}, None, None),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "transformers", "fp8-block128"),
        ({"quant_method": "fp8", "weight_block_size": None}, "transformers", "fp8"),
        ({"quant_method": "fbgemm_fp8"}, "transformers", "fp8-channel"),
        (compressed(num_bits=8, type="float", strategy="tensor"), "transformers", "fp8"),
        (compressed(num_bits=8, type="float", strategy="channel"), "transformers", "fp8-channel"),
        (compressed(num_bits=8, type="float", strategy=["x"]), "transformers", "fp8"),
        (compressed(num_bits=8, type="int", strategy="channel"), "transformers", "int8-channel"),
        (compressed(num_bits=4, type="float", group_size=16), "transformers", "nvfp4"),
        (compressed(num_bits=4, type="float", group_size=64), None, None),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "transformers", "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": ["FP8"]}, None, None),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 128}, "transformers", "gptq-4bit-g128"),
        ({"quant_method": "eetq", "weights": "int8"}, "transformers", "int8-channel"),
        ({"quant_method": "mxfp4"}, "transformers", "mxfp4"),
        (
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}},
            "transformers",
            "hqq-4bit-g64",
        ),
        (
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 5}}},
            None,
            None,
        ),
        (
            {"quant_method": "aqlm", "num_codebooks": 2, "nbits_per_codebook": 8},
            "transformers",
            "aqlm-2x8-g8",
        ),
        ({"quant_method": "aqlm", "num_codebooks": 10**9}, None, None),
        ({"quant_method": "exl3", "bits": 3.07, "head_bits": 6}, None, None),
        ({"quant_method": "quark"}, None, None),
        ({"quant_method": "a" * 99_000, "bits": 10**40}, None, None),
    ],
    ids=str,
)
def test_a_block_is_one_of_our_formats_or_named(
    block: dict[str, Any], name: str | None, form: str | None
) -> None:
    found = stored_format({**LLAMA_1B, "quantization_config": block})
    assert found is not None
    assert (found.runtime, found.format) == (name, form)
    assert len(found.note) < 300
    assert found.note.isprintable()


@pytest.mark.parametrize(
    ("block", "rules"),
    [
        ({**GPTQ, "dynamic": {"+:.*down.*": {"bits": 8}, "-:.*q_proj": {}}}, "2 rules keep"),
        ({**NF4, "llm_int8_skip_modules": ["lm_head", "model.layers.0.mlp"]}, "1 rule keeps"),
        ({**AWQ, "modules_to_not_convert": ["visual", "lm_head"]}, None),
        (
            {**COMPRESSED, "ignore": ["re:.*vision.*", "lm_head", "re:.*mlp.gate$", "re:.*self_attn"]},
            "1 rule keeps",
        ),
    ],
    ids=str,
)
def test_modules_in_other_types_make_a_format_the_nearest(block: dict[str, Any], rules: str | None) -> None:
    found = stored_format({**LLAMA_1B, "quantization_config": block})
    plain = stored_format({**LLAMA_1B, "quantization_config": {**block, "modules_to_not_convert": None}})
    assert found is not None
    assert plain is not None
    assert (found.runtime, found.format) == (plain.runtime, plain.format)
    assert found.description.endswith(f" ({rules} modules in other types)" if rules else plain.description)
    if rules:
        assert not found.is_exact


EMBEDDING = 128_256 * 2048 * 2
BY_MODULE: list[tuple[dict[str, Any], dict[str, int]]] = [
    # a down projection of 2048 x 8192 at 8 bits: words 16,777,216, zero points 64 x 512 x 4, scales
    # 64 x 2048 x 2, inputs' groups 8192 x 4; the query projections stay 2048 x 2048 in 16 bits
    (
        {**GPTQ, "dynamic": {"+:.*down.*": {"bits": 8}, "-:.*q_proj": {}}},
        {
            "GPTQ-8BIT-G128": 16 * (16_777_216 + 131_072 + 262_144 + 32_768),
            "F16": EMBEDDING + 33 * 2048 * 2 + 16 * 2048 * 2048 * 2,
        },
    ),
    # the 3 matrices of one feed-forward block kept
    (
        {**NF4, "llm_int8_skip_modules": ["lm_head", "model.layers.0.mlp"]},
        {"BF16": EMBEDDING + 33 * 2048 * 2 + 3 * 8192 * 2048 * 2},
    ),
    # attention kept: 2048 x (2048 + 512 + 512 + 2048) in each of 16 layers
    (
        {**COMPRESSED, "ignore": ["re:.*vision.*", "lm_head", "re:.*self_attn"]},
        {"F16": EMBEDDING + 33 * 2048 * 2 + 16 * 2048 * 5120 * 2},
    ),
    # ModelOpt's star: the matrices of layer 15
    (
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head", "model.layers.15*"]},
        {"BF16": EMBEDDING + 33 * 2048 * 2 + (2048 * 5120 + 3 * 2048 * 8192) * 2},
    ),
    # HQQ by the ends of names: 2 bits in groups of 16 are 2048 x 8192 / 4 and 4 bytes a group, and 69
    (
        {
            "quant_method": "hqq",
            "quant_config": {"mlp.down_proj": {"weight_quant_params": {"nbits": 2, "group_size": 16}}},
        },
        {"HQQ-2BIT-G16": 16 * (2048 * 8192 // 4 + 2048 * 8192 // 16 * 4 + 69)},
    ),
    # auto-round: one matrix in 16 bits, one in 8
    (
        {
            **{"quant_method": "auto-round", "bits": 4, "group_size": 128},
            "extra_config": {
                "model.layers.0.mlp.down_proj": {"bits": 16},
                "model.layers.3.mlp.down_proj": {"bits": 8},
            },
        },
        {
            "F16": EMBEDDING + 33 * 2048 * 2 + 2048 * 8192 * 2,
            "GPTQ-8BIT-G128": 16_777_216 + 131_072 + 262_144 + 32_768,
        },
    ),
    # MLX: one matrix in 8 bits, one not packed
    (
        {
            **{"bits": 4, "group_size": 64},
            "language_model.model.layers.0.self_attn.q_proj": {"bits": 8, "group_size": 64},
            "model.layers.1.mlp.down_proj": False,
        },
        {"8bit-g64": 2048 * 2048 + 2048 * 32 * 4, "BF16": 33 * 2048 * 2 + 2048 * 8192 * 2},
    ),
]


@pytest.mark.parametrize(("block", "by_type"), BY_MODULE, ids=lambda value: str(value)[:40])
def test_modules_that_a_config_names_are_counted_as_it_stores_them(
    block: dict[str, Any], by_type: dict[str, int]
) -> None:
    key = "quantization_config" if "quant_method" in block else "quantization"
    sized = EstimateRequest(config={**LLAMA_1B, key: block}).run().estimate
    assert sized.weights is not None
    found = sized.weights.bytes_by_type
    assert {name: found.get(name) for name in by_type} == by_type
    assert sized.format.endswith(" by module")
    assert sized.memory.weights_bytes == sum(found.values()) == sized.weights.file.tensor_bytes
    assert any("modules that its config names are counted" in note for note in sized.assumptions)
    assert not any("no matrix of this model" in note for note in sized.assumptions)


def test_names_that_mean_no_module_are_noted_and_change_nothing() -> None:
    for names in (["model.layers.99.mlp"], ["re:(a+)+$"], ["re:.*.*.*.*self_attn"]):
        block = {**COMPRESSED, "ignore": names}
        sized = EstimateRequest(config={**LLAMA_1B, "quantization_config": block}).run().estimate
        assert sized.format == "gptq-4bit-g128"


def test_hostile_names_of_modules_are_read_in_time() -> None:
    names = [
        "a" * 200 + "!",
        "(a+)+" * 40,
        ".*a" * 60,
        "[0-9]" * 40 + "!",
        r"\d+\d+\d+\d+x",
        *map(str, range(9_000)),
    ]
    start = time.process_time()
    for method in ("awq", "compressed-tensors", "bitsandbytes", "modelopt", "gptq"):
        block = {**GPTQ, "quant_method": method, "ignore": names, "modules_to_not_convert": names}
        EstimateRequest(config={**LLAMA_1B, "quantization_config": {**block, "dynamic": {}}}).run()
    assert time.process_time() - start < 3


def test_every_mapped_format_is_one_of_its_runtime() -> None:
    for block in (GPTQ, AWQ, NF4, INT8, COMPRESSED):
        found = stored_format({"quantization_config": block})
        assert found is not None
        assert found.runtime is not None
        assert found.format in runtime(found.runtime).formats


@pytest.mark.parametrize("block", [None, {}, [], "4bit"])
def test_an_empty_block_is_none(block: object) -> None:
    config = {**LLAMA_1B, "quantization_config": block, "quantization": block}
    assert stored_format(config) is None
    assert EstimateRequest(config=config).run().estimate.runtime == "llama.cpp"


def test_a_vision_models_text_decoder_may_hold_the_block() -> None:
    config = {"model_type": "llava", "text_config": {**LLAMA_1B, "quantization_config": GPTQ}}
    assert may_be_quantized(config)
    estimate = EstimateRequest(config=config).run().estimate
    assert (estimate.runtime, estimate.format) == ("transformers", "gptq-4bit-g128")


def test_an_mlc_config_is_sized_for_web_llm() -> None:
    outer = {"model_type": "llama", "quantization": "q4f16_1", "model_config": LLAMA_1B}
    estimate = EstimateRequest(config=outer).run().estimate
    assert (estimate.runtime, estimate.format) == ("web-llm", "q4f16_1")
    assert estimate.parameters.total == 1_235_814_400


def test_one_bit_of_mlx_is_stored_in_the_words_that_its_file_is_published_with() -> None:
    # huggingface.co counts stored elements: words, scales and biases of prism-ml/Bonsai-8B-mlx-1bit
    config = {**model("Bonsai-8B").config, "quantization": {"bits": 1, "group_size": 128}}
    estimate = EstimateRequest(config=config).run().estimate
    assert (estimate.runtime, estimate.format) == ("mlx", "1bit-g128")
    assert estimate.parameters.total == 8_188_548_096
    kind = MlxGroups("1bit-g128", 1, 128)
    specs = tensor_specs(model("Bonsai-8B").architecture)
    matrices = [spec for spec in specs if len(spec.shape) > 1]
    parts = [prod(part.shape) for spec in matrices for part in kind.parts(spec)]
    assert sum(parts) + sum(s.num_elements for s in specs if len(s.shape) == 1) == 384_131_968


def test_a_published_mlx_file_has_the_bytes_of_its_config() -> None:
    # mlx-community/Llama-3.2-1B-Instruct-4bit: model.safetensors of 695,283,921 bytes
    block = {"group_size": 64, "bits": 4}
    for keys in ({"quantization": block, "quantization_config": block}, {"quantization": block}):
        estimate = EstimateRequest(config={**LLAMA_1B, **keys}).run().estimate
        assert (estimate.runtime, estimate.format) == ("mlx", "4bit")
        assert estimate.parameters.total == 1_235_814_400
        assert estimate.file.total == pytest.approx(695_283_921, rel=1e-5)


def test_what_is_asked_for_wins_and_the_note_says_what_is_stored() -> None:
    config = {**LLAMA_1B, "quantization_config": GPTQ}
    asked = EstimateRequest(config=config, format="Q8_0").run().estimate
    assert (asked.runtime, asked.format) == ("llama.cpp", "Q8_0")
    other = EstimateRequest(config=config, runtime="llama.cpp").run().estimate
    assert (other.runtime, other.format) == ("llama.cpp", "Q4_K_M")
    assert other.assumptions[0] == (
        "the config's weights are stored as GPTQ, 4 bits in groups of 128, which is gptq-4bit-g128 of "
        "transformers: sized in the customary format of the runtime that was asked for"
    )
    same = EstimateRequest(config=config, runtime="transformers").run().estimate
    assert (same.runtime, same.format) == ("transformers", "gptq-4bit-g128")
    unknown = (
        EstimateRequest(config={**LLAMA_1B, "quantization": {"bits": 1, "group_size": 64}}).run().estimate
    )
    assert unknown.assumptions[0] == (
        "the config's weights are stored as mlx, 1 bits in groups of 64, a format that is not known here: "
        "sized in the runtime's customary format"
    )


_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers()))
_KEYS = st.sampled_from(
    ["quant_method", "bits", "group_size", "mode", "load_in_4bit", "bnb_4bit_quant_type", "config_groups"]
)


@given(st.dictionaries(_KEYS, st.one_of(_VALUES, st.dictionaries(st.text(), _VALUES))))
def test_any_block_is_read(block: dict[str, Any]) -> None:
    found = stored_format({"quantization_config": block})
    assert (found is None) == (not block)
    if found is not None and found.runtime is not None:
        assert found.format in runtime(found.runtime).formats


def test_bytes_of_eight_bit_floats_are_those_of_the_matrices_and_their_scales() -> None:
    """Worked by hand from the tensors that transformers and compressed-tensors write for Llama-3.2-1B.

    973,078,528 weights of the blocks a byte each, 262,668,288 of the embedding and 67,584 norms two bytes.
    Scales a layer: 2,048 x 2,048 in 16 x 16 blocks twice, 512 x 2,048 in 4 x 16 twice, 8,192 x 2,048 in
    64 x 16 thrice (2 x 256 + 2 x 64 + 3 x 1,024 = 3,712), of 4 bytes; or of each row (2 x 2,048 + 2 x 512 +
    2 x 8,192 + 2,048 = 23,552), or of 7 matrices, of 2 bytes.
    """
    matrices, rest = 973_078_528, 2 * (262_668_288 + 67_584)
    scales = {"fp8-block128": 16 * 3_712 * 4, "fp8-channel": 16 * 23_552 * 2, "fp8": 16 * 7 * 2}
    for form, held in scales.items():
        found = EstimateRequest(config=LLAMA_1B, runtime="transformers", format=form).run().estimate
        assert found.file.tensor_bytes == matrices + rest + held
    nvfp4 = EstimateRequest(config=LLAMA_1B, runtime="transformers", format="nvfp4").run().estimate
    assert nvfp4.file.tensor_bytes == matrices // 2 + matrices // 16 + 16 * 7 * 8 + rest
