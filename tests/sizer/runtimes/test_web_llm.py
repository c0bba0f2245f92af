"""WebLLM's builds: memory against the list of models that WebLLM ships, cache types, chunk logits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.families.hf_config import architecture_from_config
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.request import EstimateRequest
from sizer.runtimes.web_llm import CHUNK_TOKENS, buffer_bytes, holds_chunk_logits
from sizer.workload import Workload
from tests.published_facts import csv_rows

_KEYS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "vocab_size"),
)


def _config(model_type: str, sizes: str, **more: Any) -> dict[str, Any]:
    numbers = map(int, sizes.split())
    return {"model_type": model_type, **dict(zip(_KEYS, numbers, strict=True)), **more}


_TIED = {"tie_word_embeddings": True}
_UNTIED = {"tie_word_embeddings": False}
_LLAMA_8B = _config("llama", "4096 14336 32 32 8 128256", **_UNTIED)
_MISTRAL = _config("mistral", "4096 14336 32 32 8 32768", **_UNTIED)
# Shapes of models in WebLLM's list, from their config.json; the list's names start with these
_SHAPES = {
    "Llama-3.2-1B": _config("llama", "2048 8192 16 32 8 128256", **_TIED),
    "Llama-3.2-3B": _config("llama", "3072 8192 28 24 8 128256", **_TIED),
    "Llama-3.1-8B": _LLAMA_8B,
    "Llama-3-8B": _LLAMA_8B,
    "DeepSeek-R1-Distill-Llama-8B": _LLAMA_8B,
    "Hermes-3-Llama-3.2-3B": _config("llama", "3072 8192 28 24 8 128256", **_TIED),
    "DeepSeek-R1-Distill-Qwen-7B": _config("qwen2", "3584 18944 28 28 4 152064", **_UNTIED),
    "Qwen2-7B": _config("qwen2", "3584 18944 28 28 4 152064", **_UNTIED),
    "Qwen2.5-Coder-7B": _config("qwen2", "3584 18944 28 28 4 152064", **_UNTIED),
    "Qwen2.5-3B": _config("qwen2", "2048 11008 36 16 2 151936", **_TIED),
    "Qwen2.5-Coder-3B": _config("qwen2", "2048 11008 36 16 2 151936", **_TIED),
    "Qwen2.5-1.5B": _config("qwen2", "1536 8960 28 12 2 151936", **_TIED),
    "Qwen2-1.5B": _config("qwen2", "1536 8960 28 12 2 151936", **_TIED),
    "Qwen2.5-0.5B": _config("qwen2", "896 4864 24 14 2 151936", **_TIED),
    "Qwen2-0.5B": _config("qwen2", "896 4864 24 14 2 151936", **_TIED),
    "Qwen3-0.6B": _config("qwen3", "1024 3072 28 16 8 151936", **_TIED),
    "Qwen3-1.7B": _config("qwen3", "2048 6144 28 16 8 151936", **_TIED),
    "Qwen3-4B": _config("qwen3", "2560 9728 36 32 8 151936", **_TIED),
    "Qwen3-8B": _config("qwen3", "4096 12288 36 32 8 151936", **_UNTIED),
    "Mistral-7B-Instruct-v0.3": _MISTRAL,
    "NeuralHermes-2.5-Mistral-7B": _MISTRAL,
    "WizardMath-7B": _MISTRAL,
    "SmolLM2-1.7B": _config("llama", "2048 8192 24 32 32 49152", **_TIED),
    "SmolLM2-360M": _config("llama", "960 2560 32 15 5 49152", **_TIED),
    "SmolLM2-135M": _config("llama", "576 1536 30 9 3 49152", **_TIED),
    "TinyLlama-1.1B": _config("llama", "2048 5632 22 32 4 32000", **_UNTIED),
    "Phi-3-mini-4k": _config("phi3", "3072 8192 32 32 32 32064", **_UNTIED),
    "Phi-3.5-mini": _config("phi3", "3072 8192 32 32 32 32064", **_UNTIED),
    "Phi-4-mini": _config("phi3", "3072 8192 32 24 8 200064", **_TIED),
    "gemma-2-2b-it": _config("gemma2", "2304 9216 26 8 4 256000", head_dim=256, **_TIED),
    "gemma-2-9b-it": _config("gemma2", "3584 14336 42 16 8 256000", head_dim=256, **_TIED),
    "gemma3-1b-it": _config("gemma3_text", "1152 6912 26 4 1 262144", head_dim=256, **_TIED),
    "Ministral-3-3B": _config("ministral3", "3072 9216 26 32 8 131072", head_dim=128, **_TIED),
    "OLMo-2-1124-7B": _config("olmo2", "4096 11008 32 32 32 100352", **_UNTIED),
    "OLMo-2-0425-1B": _config("olmo2", "2048 8192 16 16 16 100352", **_UNTIED),
    "stablelm-2-zephyr-1_6b": _config("stablelm", "2048 5632 24 32 32 100352", use_qkv_bias=True, **_UNTIED),
}
# Stated in April 2024 for libraries of version 0.2.30 and never since; today's are compiled otherwise.
_OF_OLD_LIBRARIES = ("phi-", "RedPajama", "Llama-2-", "gemma-2b-")


def _rows() -> list[tuple[str, str, int, float]]:
    """Rows of the list that have a shape above: model, build, context, stated MiB."""
    found = []
    for row in csv_rows("web_llm_memory.csv"):
        build = re.search(r"q[034]f(?:16|32)(?:_1)?", row["model"])
        name = max((n for n in _SHAPES if row["model"].startswith(n + "-")), key=len, default=None)
        if build and name and not row["model"].startswith(_OF_OLD_LIBRARIES):
            found.append((name, build[0], int(row["context_len"]), float(row["peak_memory_bytes"]) / 1e6))
    return found


def _architecture(name: str) -> Architecture:
    return architecture_from_config(_SHAPES[name], name)


def test_memory_is_within_2_percent_of_what_the_model_list_states() -> None:
    """vram_required_MB, in fact MiB, of mlc-ai/web-llm at c51c9c0b, src/config.ts."""
    rows = _rows()
    assert len(rows) >= 60
    for name, build, context, stated in rows:
        sized = estimate(
            architecture=_architecture(name),
            format=build,
            runtime="web-llm",
            workload=Workload(context_tokens=context),
        )
        assert sized.memory.total_bytes / 2**20 == pytest.approx(stated, rel=0.02), (name, build, context)


def test_llamas_builds_are_stated_to_the_last_digit() -> None:
    """But for the logits of one token, which the list does not count, and 8B rows whose cache is in MB."""
    exact = ("Llama-3.2", "SmolLM2", "TinyLlama")
    rows = [row for row in _rows() if row[0].startswith(exact)]
    assert len(rows) >= 12
    for name, build, context, stated in rows:
        sized = estimate(
            architecture=_architecture(name),
            format=build,
            runtime="web-llm",
            workload=Workload(context_tokens=context),
        )
        m = sized.memory
        assert (m.total_bytes - m.output_bytes) / 2**20 == pytest.approx(stated, abs=0.006), (name, build)


def test_a_chunks_logits_are_held_where_the_vocabulary_is_fixed() -> None:
    qwen, llama = _architecture("Qwen2.5-0.5B"), _architecture("Llama-3.2-1B")
    assert holds_chunk_logits(qwen)
    assert not holds_chunk_logits(llama)
    # the same tensors, but another definition in mlc-llm
    assert holds_chunk_logits(replace(llama, model_type="ministral3"))
    # no family: that of its tensors
    assert holds_chunk_logits(replace(qwen, model_type=None))
    assert not holds_chunk_logits(replace(llama, model_type=None))
    assert holds_chunk_logits(_architecture("Phi-4-mini"))
    assert not holds_chunk_logits(_architecture("Phi-3.5-mini"))
    sized = estimate(architecture=qwen, format="q4f16_1", runtime="web-llm")
    assert sized.memory.output_bytes == 4 * 1024 * 151_936
    assert any("593.5 MiB for the logits" in note for note in sized.assumptions)


def test_buffers_of_a_chunk_worked_by_hand() -> None:
    small, wide = _architecture("SmolLM2-360M"), _architecture("Llama-3.2-1B")
    # 960 is no multiple of 256: four FFN rows and a residual row a token
    assert buffer_bytes(small, 2) == CHUNK_TOKENS * (4 * 2560 + 960) * 2
    # additions and norms fused: one more of each, in 16-bit builds only
    assert buffer_bytes(wide, 2) == CHUNK_TOKENS * (5 * 8192 + 2 * 2048) * 2
    assert buffer_bytes(wide, 4) == CHUNK_TOKENS * (4 * 8192 + 2048) * 4
    # OLMo 2 norms after its additions, StableLM has layer norms
    assert buffer_bytes(_architecture("OLMo-2-0425-1B"), 2) == CHUNK_TOKENS * (4 * 8192 + 2048) * 2
    assert buffer_bytes(_architecture("stablelm-2-zephyr-1_6b"), 2) == CHUNK_TOKENS * (4 * 5632 + 2048) * 2


def test_the_list_counts_a_cache_in_recurrent_layers_too() -> None:
    """Qwen3.5-0.8B: 24 layers, six of them with attention; within 1 % with a cache in all."""
    config = _config("qwen3_5_text", "1024 3584 24 8 2 248320", head_dim=256, **_TIED) | {
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 16,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
        "attn_output_gate": True,
        "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 6,
    }
    for build, float_bytes, stated in (
        ("q4f16_1", 2, 1629.49),
        ("q4f32_1", 4, 1894.19),
        ("q0f16", 2, 2660.27),
    ):
        sized = estimate(
            architecture=architecture_from_config(config),
            format=build,
            runtime="web-llm",
            workload=Workload(context_tokens=4096),
        )
        in_others = 18 * 4096 * 2 * 2 * 256 * float_bytes
        assert (sized.memory.total_bytes + in_others) / 2**20 == pytest.approx(stated, rel=0.01)
        assert any("counts a cache in every layer" in note for note in sized.assumptions)


def test_a_build_has_one_cache_type() -> None:
    request = EstimateRequest(model="SmolLM2-135M", runtime="web-llm", format="q0f32")
    sized = request.run().estimate
    assert sized.workload.cache_type == "F32"
    assert sized.memory.kv_cache_bytes == 2048 * 30 * 2 * 3 * 64 * 4
    with pytest.raises(InvalidQuantity, match="cache_type: web-llm's q0f32 keeps its cache in F32, got f16"):
        request._replace(cache_type="f16").run()
    # asked for without a request: the build decides
    assert (
        estimate(
            architecture=model("SmolLM2-135M").architecture,
            format="q4f16_1",
            runtime="web-llm",
            workload=Workload(cache_type="F32"),
        ).workload.cache_type
        == "F16"
    )
