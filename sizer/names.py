"""Names that people type for runtimes, formats and matrices, in addition to the tables' own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sizer.tensors import Role

# Programs that run models with an engine that is known, by what they write about it.
RUNTIME_ALIASES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *(
                "ollama",
                "llamafile",
                "lm-studio",
                "lmstudio",
                "koboldcpp",
                "gpt4all",
                "jan",
                "llama-cpp-python",
            ),
            *("llama-cpp", "llama_cpp", "llamacpp", "llama-server", "llama-cli", "ggml", "gguf"),
            *("text-generation-webui", "pocketpal", "ramalama", "xllamacpp", "node-llama-cpp"),
        ),
        "llama.cpp",
    ),
    **dict.fromkeys(("mlx-lm", "mlx_lm", "mlx-swift"), "mlx"),
    **dict.fromkeys(("hf", "huggingface", "hugging-face", "pytorch", "torch", "peft"), "transformers"),
    **dict.fromkeys(("onnx", "onnxruntime-web", "transformersjs", "transformers-js"), "transformers.js"),
    **dict.fromkeys(("webllm", "mlc", "mlc-llm", "mlc_llm"), "web-llm"),
    **dict.fromkeys(("bitnet", "bitnetcpp", "bitnet-cpp"), "bitnet.cpp"),
    **dict.fromkeys(("et", "pte"), "executorch"),
}

# Engines that are not sized, by the runtime whose model files or memory are nearest to theirs.
_NEAREST_RUNTIMES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("vllm", "sglang", "tensorrt-llm", "tensorrt", "trt-llm", "tgi", "text-generation-inference"),
            *("lmdeploy", "deepspeed", "deepspeed-mii", "aphrodite", "aphrodite-engine"),
            *("lightllm", "unsloth", "exllama", "exllamav2", "exllamav3", "tabbyapi"),
            *("ctranslate2", "openvino"),
            *("openvino-genai", "optimum", "torchtune", "gpt-fast", "candle"),
            *("airllm", "petals", "nexa-sdk", "torchchat", "jax", "tinygrad", "mistral.rs", "mistralrs"),
        ),
        "transformers",
    ),
    **dict.fromkeys(
        (
            *("ktransformers", "ik_llama.cpp", "ik-llama.cpp", "powerinfer", "mnn", "mnn-llm", "ncnn"),
            *("qnn", "genie", "rkllm", "rknn-llm", "fastllm", "llama2.c", "t-mac", "chatllm.cpp"),
        ),
        "llama.cpp",
    ),
    **dict.fromkeys(("tflite", "tensorflow-lite", "mediapipe", "ai-edge-torch", "litert"), "litert-lm"),
    **dict.fromkeys(("onnxruntime", "ort", "onnxruntime-genai"), "transformers.js"),
    **dict.fromkeys(("coreml", "core-ml", "anemll"), "mlx"),
}

# Names of the same plain type, in lower case; an engine has at most one of each.
_SAME_TYPES: tuple[tuple[str, ...], ...] = (
    ("f32", "fp32", "float32", "float", "single", "q0f32"),
    ("f16", "fp16", "float16", "half", "q0f16"),
    ("bf16", "bfloat16"),
)
# llama-quantize's own second names (tools/quantize/quantize.cpp), and the shortest ones in use.
_MIXES: Mapping[str, str] = {
    "q3_k": "Q3_K_M",
    "q4_k": "Q4_K_M",
    "q5_k": "Q5_K_M",
    **{f"q{bits}": f"Q{bits}_K_M" for bits in (3, 4, 5)},
    "q6": "Q6_K",
    "q6_k_m": "Q6_K",
    "q6_k_s": "Q6_K",
    "q8": "Q8_0",
    "q2": "Q2_K",
    "q2_k_m": "Q2_K",
}
# Methods without bits and group, and names of one engine: the formats that are meant, of those an engine has.
_MEANT: Mapping[str, str] = {
    **dict.fromkeys(("awq", "awq-4bit", "awq-int4"), "awq-4bit-g128"),
    **dict.fromkeys(("gptq", "gptq-4bit", "gptq-int4", "w4a16", "autoround", "auto-round"), "gptq-4bit-g128"),
    **dict.fromkeys(("gptq-8bit", "gptq-int8"), "gptq-8bit-g128"),
    **dict.fromkeys(("bnb", "bnb-4bit", "bnb-nf4", "bitsandbytes", "bitsandbytes-4bit", "qlora"), "nf4"),
    **dict.fromkeys(("bnb-8bit", "bitsandbytes-8bit"), "llm.int8"),
    "w8a8": "int8-channel",
    # export_llama's -qmode of ExecuTorch, with the groups and the embedding that its 4 and 8 bits have here
    "8da4w": "8da4w-g32-e8",
    "8da8w": "8da8w-e8",
    "mxfp4": "MXFP4_MOE",
    # llama.cpp packs Q4_0 for a processor while it loads; files of these types are no longer read
    **dict.fromkeys(("q4_0_4_4", "q4_0_4_8", "q4_0_8_8"), "Q4_0"),
}
_BITS = re.compile(r"(?:int|uint|w|q)?(\d+(?:\.\d+)?)[-_ ]?(?:bits?)?|(?:bits?)[-_ ]?(\d+(?:\.\d+)?)")

# Mixes by bits per weight: those of k-quants and those of i-quants.
_LADDERS = (
    (
        *("Q2_K_S", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"),
        *("Q8_0", "F16"),
    ),
    (
        *("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M"),
        *("IQ4_XS", "IQ4_NL", "Q4_K_M"),
    ),
)
# Names of others for mixes of their own: unsloth's "dynamic" ones, and those with a larger head and table.
_OWN_MIX = re.compile(r"(?:ud[-_])?(i?q[1-8](?:_k|_0|_nl|_xxs|_xs|_s|_m)?)(?:_(?:xl|l|m|s))?", re.IGNORECASE)


# Matrices as peft names them, where a model's own modules are called so (peft utils/constants.py), by role.
_FUSED = ("c_attn", "qkv_proj", "query_key_value", "Wqkv", "wqkv", "W_pack", "qkv", "attn_qkv")
LORA_ALIASES: Mapping[str, tuple[Role, ...]] = {
    **dict.fromkeys(_FUSED, (Role.QKV,)),
    **dict.fromkeys(("query", "wq", "q_lin", "q"), (Role.QUERY,)),
    **dict.fromkeys(("key", "wk", "k_lin", "k"), (Role.KEY,)),
    **dict.fromkeys(("value", "wv", "v_lin", "v"), (Role.VALUE,)),
    **dict.fromkeys(("out_proj", "dense", "wo", "out_lin", "o"), (Role.ATTENTION_OUTPUT,)),
    "c_proj": (Role.ATTENTION_OUTPUT, Role.DOWN),  # of GPT-2's attention and of its MLP
    **dict.fromkeys(("c_fc", "fc1", "fc_in", "dense_h_to_4h", "lin1", "w3"), (Role.UP,)),
    **dict.fromkeys(("fc2", "fc_out", "dense_4h_to_h", "lin2", "w2"), (Role.DOWN,)),
    "w1": (Role.GATE,),
    "mlp": (Role.GATE, Role.UP, Role.GATE_UP, Role.DOWN),
}


class OwnMix(NamedTuple):
    """A mix of somebody's own, by the mixes of llama.cpp that it lies between."""

    low: str
    nearest: str
    high: str


def runtime_alias(text: str) -> str | None:
    """Return the runtime that a program of that name runs models with; None for a name that is not known."""
    return RUNTIME_ALIASES.get(text.strip().lower().replace(" ", "-"))


def nearest_runtime(text: str) -> str | None:
    """Return the runtime to size a model for instead of an engine that is not sized; None if not known."""
    return _NEAREST_RUNTIMES.get(re.sub(r"[\s_]+", "-", text.strip().lower()))


def format_alias(text: str, formats: Iterable[str], customary: Mapping[float, str]) -> str | None:
    """Return the one of an engine's formats that is meant by another name; None if none is."""
    wanted = text.strip().lower()
    by_lower = {name.lower(): name for name in formats}
    for names in _SAME_TYPES:
        if wanted in names:
            return next((by_lower[name] for name in names if name in by_lower), None)
    mixed = _MIXES.get(wanted.replace("-", "_"))
    if mixed is not None and mixed.lower() in by_lower:
        return mixed
    meant = _MEANT.get(wanted.replace("_", "-"), _MEANT.get(wanted))
    if meant is not None and meant.lower() in by_lower:
        return by_lower[meant.lower()]
    bits = _BITS.fullmatch(wanted)
    if bits is not None:
        return customary.get(float(bits[1] or bits[2]))
    found = own_mix(text)
    return found.nearest if found is not None and found.nearest.lower() in by_lower else None


def own_mix(text: str) -> OwnMix | None:
    """Return between which mixes of llama.cpp one of unsloth's lies, such as UD-Q4_K_XL; None for others."""
    wanted = text.strip().upper()
    if wanted == "UD-TQ1_0":  # whose tensors are IQ1_S and wider
        return OwnMix("IQ1_S", "IQ1_S", "IQ1_M")
    found = _OWN_MIX.fullmatch(wanted)
    is_llamacpps = wanted.lower() in _MIXES or any(wanted in ladder for ladder in _LADDERS)
    if found is None or is_llamacpps:
        return None
    stem = found[1]
    candidates = (wanted[3:], stem, f"{stem}_M", f"{stem}_XS", stem.replace("_K", "_0"))
    for ladder in _LADDERS:
        for name in candidates:
            if name in ladder:
                place = ladder.index(name)
                return OwnMix(ladder[max(place - 1, 0)], name, ladder[min(place + 1, len(ladder) - 1)])
    return None
