"""Shapes of all parameters of a config: transformers' own model on the meta device, and ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from sizer.families.hf_config import architecture_from_config
from sizer.tensors import Role, TensorSpec, tensor_specs

# Families whose code is not in transformers but comes with the model: sizer.families.hf_config reads their
# keys, and what it makes of them is compared with published counts instead.
REMOTE_CODE = (
    *(
        "aquila",
        "baichuan",
        "chatglm",
        "deepseek",
        "exaone",
        "internlm",
        "internlm2",
        "mimo",
        "minicpm",
        "mobilellm",
    ),
    *("openelm", "orion", "phi3small", "qwen", "xverse", "Yi"),
)

Shape = tuple[int, ...]


def their_parameters(config: dict[str, Any]) -> dict[str, Shape]:
    """Names and shapes of all parameters transformers makes of a config, tied ones once."""
    import torch
    import transformers

    read = transformers.CONFIG_MAPPING[config["model_type"]](
        **{key: value for key, value in {"pad_token_id": 0, **config}.items() if key != "model_type"}
    )
    encoder = config["model_type"] == "distilbert"
    kind = transformers.AutoModel if encoder else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(read)  # type: ignore[no-untyped-call]
    model.tie_weights()
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


def their_shapes(config: dict[str, Any]) -> Counter[Shape]:
    """Shapes of all parameters transformers makes of a config, as the calculator lists tensors."""
    transposed = config["model_type"] in ("gpt_oss", "llama4_text")  # experts the other way round
    named = their_parameters(config)
    return Counter(_comparable(config, shape) for shape in _as_ours(named, transposed=transposed))


def our_shapes(config: dict[str, Any]) -> Counter[Shape]:
    """Shapes of all tensors that the calculator lists for a config."""
    specs = tensor_specs(architecture_from_config(config))
    return Counter(_comparable(config, _flat(spec)) for spec in specs)


def _flat(spec: TensorSpec) -> Shape:
    """Mamba-2's vectors are matrices in GGUF files alone."""
    small = spec.role in (Role.SSM_D, Role.SSM_NORM) or (spec.role is Role.SSM_A and spec.shape[-1] == 1)
    return (spec.num_elements,) if small else spec.shape


def _comparable(config: dict[str, Any], shape: Shape) -> Shape:
    """GPT-2's Conv1D keeps its matrices the other way round."""
    return tuple(sorted(shape)) if config["model_type"] in ("gpt2", "gpt-sw3", "openai-gpt") else shape


def _as_ours(named: dict[str, Shape], *, transposed: bool) -> Iterator[Shape]:
    """Experts' gate and up apart, norms of a layer's heads together: both as GGUF files have them."""
    heads: Counter[tuple[str, int]] = Counter()
    streams: Counter[tuple[str, Shape]] = Counter()
    for name, shape in named.items():
        if name.endswith("experts.gate_up_proj"):
            experts, rows, columns = shape
            yield from [(experts, columns // 2, rows) if transposed else (experts, rows // 2, columns)] * 2
        elif name.endswith("experts.down_proj") and transposed:
            yield shape[0], shape[2], shape[1]
        elif name.endswith("experts.gate_up_proj_bias"):
            yield from [(shape[0], shape[1] // 2)] * 2
        elif found := re.fullmatch(r".*\.(altup_(?:unembed_)?projections)\.\d+\.weight", name):
            streams[found[1], shape] += 1
        elif name.endswith("moe_statics.e_score_correction_bias"):
            yield shape[1:]
        elif name.endswith("shared_mlp.input_linear.weight"):
            yield from [(shape[0] // 2, shape[1])] * 2
        elif found := re.fullmatch(r"(.*_layernorm)\.norms\.\d+\.weight", name):
            heads[found[1], shape[0]] += 1
        else:
            yield shape
    for (_, shape), count in streams.items():
        yield count, *shape
    for (_, width), count in heads.items():
        yield count, width
