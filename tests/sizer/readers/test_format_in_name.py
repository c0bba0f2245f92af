"""Formats that names of models end in: taken for the estimate, unless another is asked for."""

from __future__ import annotations

import pytest

from sizer.readers import read_described_model
from sizer.readers.format_in_name import format_in_name
from sizer.registry import models
from sizer.request import EstimateRequest

# Names of published checkpoints: runtime and format that their own configs state.
STATED = {
    "Qwen2.5-0.5B-Instruct-AWQ": ("transformers", "awq-4bit-g128"),
    "Qwen2.5-0.5B-Instruct-GPTQ-Int4": ("transformers", "gptq-4bit-g128"),
    "Qwen2.5-0.5B-Instruct-GPTQ-Int8": ("transformers", "gptq-8bit-g128"),
    "unsloth/Llama-3.2-1B-Instruct-bnb-4bit": ("transformers", "nf4-dq"),
    "RedHatAI/Qwen3-0.6B-quantized.w4a16": ("transformers", "gptq-4bit-g128"),
    "Llama-3.2-1B-Instruct-FP8-dynamic": ("transformers", "fp8-channel"),
    "mlx-community/Qwen3-1.7B-4bit": ("mlx", "4bit"),
    "mlx-community/Qwen3-1.7B-4bit-DWQ": ("mlx", "4bit"),
    "SmolLM2-135M-Instruct-Q4_K_M-GGUF": ("llama.cpp", "Q4_K_M"),
    "gemma-3-1b-it-qat-q4_0-gguf": ("llama.cpp", "Q4_0"),
    "qwen2.5:0.5b-instruct-q8_0": ("llama.cpp", "Q8_0"),
    "Llama-3.2-1B-Instruct-q4f16_1-MLC": ("web-llm", "q4f16_1"),
}


@pytest.mark.parametrize(("name", "stated"), STATED.items(), ids=STATED)
def test_the_format_that_a_name_ends_in_is_taken(name: str, stated: tuple[str, str]) -> None:
    found = EstimateRequest(model=name).run().estimate
    assert (found.runtime, found.format) == stated
    assert any("the name's" in note and stated[1] in note for note in found.assumptions)


def test_a_format_or_runtime_that_is_asked_for_is_kept() -> None:
    name = "Qwen2.5-0.5B-Instruct-AWQ"
    by_format = EstimateRequest(model=name, format="Q8_0").run().estimate
    by_bits = EstimateRequest(model=name, bits=8).run().estimate
    by_runtime = EstimateRequest(model=name, runtime="mlx").run().estimate
    assert (by_format.format, by_bits.format) == ("Q8_0", "Q8_0")
    assert (by_runtime.runtime, by_runtime.format) == ("mlx", "4bit")
    assert any("the name's awq" in note for note in by_runtime.assumptions)


def test_names_of_models_themselves_state_no_format() -> None:
    assert [name for name in models() if format_in_name(name, models())] == []
    assert format_in_name("SmolLM2-135M-Instruct-GGUF", models()) is None


def test_the_text_decoder_of_a_vision_model_says_what_is_not_part_of_it() -> None:
    part = read_described_model("SmolVLM-500M-Instruct")
    whole = read_described_model("SmolLM2-360M")
    assert part.architecture.name == "SmolVLM-500M-text"
    assert [note for note in part.notes if "the text decoder of SmolVLM-500M" in note]
    assert whole.notes == ()
