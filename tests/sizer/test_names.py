"""Names that people type: each means what it is meant to mean, and the answer says what it was taken for."""

from __future__ import annotations

from typing import Any

import pytest

from sizer.errors import SizerError
from sizer.names import own_mix
from sizer.registry import model
from sizer.request import EstimateRequest
from sizer.runtimes import runtime
from sizer.tensors import tensor_specs
from sizer.training import TrainingPlan, adapted_matrices


def notes(**asked: Any) -> tuple[str, ...]:
    """What an estimate of a small model assumes."""
    return EstimateRequest(model="SmolLM2-135M", **asked).run().estimate.assumptions


@pytest.mark.parametrize(
    ("engine", "typed", "meant"),
    [
        # llama-quantize --help: "alias for Q3_K_M" and so on
        *(("llama.cpp", f"Q{bits}_K", f"Q{bits}_K_M") for bits in (3, 4, 5)),
        *(("llama.cpp", typed, "F16") for typed in ("FP16", "half", "float16", "fp16")),
        ("llama.cpp", "bfloat16", "BF16"),
        ("llama.cpp", "float32", "F32"),
        *(("llama.cpp", typed, "Q4_K_M") for typed in ("int4", "4bit", "4-bit", "4 bits", "Q4")),
        *(("llama.cpp", typed, "Q8_0") for typed in ("int8", "8bit", "Q8")),
        ("llama.cpp", "MXFP4", "MXFP4_MOE"),
        ("llama.cpp", "Q4_0_4_8", "Q4_0"),
        ("transformers", "AWQ", "awq-4bit-g128"),
        ("transformers", "gptq-int4", "gptq-4bit-g128"),
        ("transformers", "bnb-4bit", "nf4"),
        ("executorch", "8da4w", "8da4w-g32-e8"),
        ("mlx", "q4", "4bit"),
        ("litert-lm", "q8", "dynamic_int8"),
        ("transformers", "int4", "nf4"),
        ("transformers", "8bit", "llm.int8"),
        ("transformers", "half", "fp16"),
        ("transformers", "bfloat16", "bf16"),
        ("mlx", "4-bit", "4bit"),
        ("web-llm", "fp16", "q0f16"),
        ("web-llm", "float32", "q0f32"),
    ],
)
def test_formats_by_other_names(engine: str, typed: str, meant: str) -> None:
    assert runtime(engine).format_name(typed) == meant
    if typed.lower() != meant.lower():
        assert f"{typed} is taken for {engine}'s {meant}" in notes(runtime=engine, format=typed)


def test_a_format_of_another_runtime_is_named_with_it() -> None:
    with pytest.raises(SizerError, match=r"format 'nf4'; a format of transformers \(--runtime"):
        EstimateRequest(model="SmolLM2-135M", format="nf4").run()
    with pytest.raises(SizerError, match="^unknown llama.cpp format 'zzz'; known: "):
        EstimateRequest(model="SmolLM2-135M", format="zzz").run()


@pytest.mark.parametrize("typed", ["fp8", "7bit", "Q4_K_M_", "UD-", "int", "", "bit4bit"])
def test_what_no_name_means_is_refused(typed: str) -> None:
    with pytest.raises(SizerError, match="unknown llama.cpp format"):
        runtime("llama.cpp").format_name(typed)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(
            (name, "llama.cpp")
            for name in ("ollama", "llamafile", "LM-Studio", "LM Studio", "koboldcpp", "gpt4all")
        ),
        ("llama-cpp-python", "llama.cpp"),
        ("hf", "transformers"),
        ("mlx-lm", "mlx"),
        ("onnx", "transformers.js"),
    ],
)
def test_programs_by_the_engine_they_use(typed: str, meant: str) -> None:
    assert runtime(typed).name == meant
    assert f"{typed} runs models with {meant}: sized as {meant}" in notes(runtime=typed)


@pytest.mark.parametrize(
    ("typed", "closest"),
    [
        *((name, "transformers") for name in ("vllm", "vLLM", "sglang", "TensorRT-LLM", "tensorrt llm")),
        *((name, "transformers") for name in ("exllamav2", "ctranslate2", "openvino")),
        *((name, "llama.cpp") for name in ("ktransformers", "mnn", "ncnn", "ik_llama.cpp")),
        ("onnxruntime", "transformers.js"),
        ("tflite", "litert-lm"),
    ],
)
def test_engines_that_are_not_modelled_by_the_closest_one(typed: str, closest: str) -> None:
    with pytest.raises(SizerError) as refused:
        runtime(typed)
    expected = (
        f"unknown runtime '{typed}': an engine that sizer does not model; closest: --runtime {closest} ("
    )
    assert str(refused.value).startswith(expected)
    assert "did you mean" not in str(refused.value)


@pytest.mark.parametrize(
    ("bits", "chosen", "near"),
    [
        (2.7, "Q3_K_M", ", at 3 bits the nearest"),
        (7, "Q8_0", ", at 8 bits the nearest"),  # as near to 6: the larger
        (1, "TQ1_0", ", at 1.58 bits the nearest"),
        (4, "Q4_K_M", ""),
    ],
)
def test_the_nearest_bits_are_taken_and_said(bits: float, chosen: str, near: str) -> None:
    assert f"{bits:g} bits means llama.cpp's customary {chosen}{near}" in notes(bits=bits)


@pytest.mark.parametrize("bits", [0, -4, 33, 1e9])
def test_what_is_no_number_of_bits_is_refused(bits: float) -> None:
    with pytest.raises(SizerError, match="accepted: 1 to 32"):
        notes(bits=bits)


@pytest.mark.parametrize(
    ("typed", "low", "nearest", "high"),
    [
        ("UD-Q4_K_XL", "Q4_K_S", "Q4_K_M", "Q5_K_S"),
        ("ud-q2_k_xl", "Q2_K_S", "Q2_K", "Q3_K_S"),
        ("UD-Q8_K_XL", "Q6_K", "Q8_0", "F16"),
        ("UD-IQ2_M", "IQ2_S", "IQ2_M", "IQ3_XXS"),
        ("UD-IQ1_S", "IQ1_S", "IQ1_S", "IQ1_M"),
        ("UD-TQ1_0", "IQ1_S", "IQ1_S", "IQ1_M"),
        ("Q4_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S"),
    ],
)
def test_a_mix_of_unsloths_lies_between_its_neighbours(typed: str, low: str, nearest: str, high: str) -> None:
    assert own_mix(typed) == (low, nearest, high)
    asked = EstimateRequest(model="Llama-3.2-1B", format=typed).run().estimate

    def tensor_bytes(name: str) -> int:
        return EstimateRequest(model="Llama-3.2-1B", format=name).run().estimate.file.tensor_bytes

    assert asked.file.tensor_range == (tensor_bytes(low), tensor_bytes(high))
    assert asked.file.low <= asked.file.total <= asked.file.high
    assert asked.file.total == EstimateRequest(model="Llama-3.2-1B", format=nearest).run().estimate.file.total
    assert asked.assumptions[0].startswith(f"{typed} is a mix that its maker chooses for each model")


@pytest.mark.parametrize("name", ["Q4_K_M", "Q3_K_L", "IQ4_XS", "Q8_0", "TQ1_0", "BF16"])
def test_llama_cpps_mixes_are_nobodys_own(name: str) -> None:
    assert own_mix(name) is None
    assert EstimateRequest(model="Llama-3.2-1B", format=name).run().estimate.file.tensor_range is None


@pytest.mark.parametrize(
    ("name", "typed", "modules"),
    [
        ("distilgpt2", "c_attn", {"qkv_proj"}),
        ("distilgpt2", "c_attn,c_proj", {"qkv_proj", "o_proj", "down_proj"}),
        ("pythia-160m", "query_key_value,dense", {"qkv_proj", "o_proj"}),
        ("pythia-160m", "dense_h_to_4h,dense_4h_to_h", {"up_proj", "down_proj"}),
        ("opt-350m", "fc1,fc2,out_proj", {"up_proj", "down_proj", "o_proj"}),
        ("phi-1_5", "q_proj,dense", {"q_proj", "o_proj"}),
        ("Llama-3.2-1B", "q_proj", {"q_proj"}),
    ],
)
def test_matrices_by_the_names_of_a_models_modules(name: str, typed: str, modules: set[str]) -> None:
    specs = tensor_specs(model(name).architecture)
    plan = TrainingPlan(sequence_tokens=64, lora_rank=4, lora_targets=tuple(typed.split(",")))
    assert {spec.name.split(".")[-2] for spec in adapted_matrices(specs, plan)} == modules


def test_a_fused_matrix_is_no_matrix_of_llamas() -> None:
    with pytest.raises(SizerError, match="lora_targets: no matrix 'c_attn'; accepted: attention, all-linear"):
        notes(lora_rank=4, lora_targets="c_attn")


@pytest.mark.parametrize("name", ["Q3_K", "q4_k", "Q5_K", "Q6_K_M", "Q2_K_M"])
def test_llama_quantizes_own_short_names_are_no_mix_of_others(name: str) -> None:
    # llama-quantize lists "Q4_K : alias for Q4_K_M": one file, not a range
    assert own_mix(name) is None
