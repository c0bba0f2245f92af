"""A matrix of 512 x 256 weights as each tool that packs weights stores it: names, types and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Stored = Mapping[str, tuple[str, list[int]]]

# A matrix of 512 x 256 weights (out x in) as each tool stores it. GPTQ: AutoGPTQ's QuantLinear, AWQ:
# AutoAWQ's WQLinear_GEMM, bitsandbytes: Params4bit and Int8Params, compressed-tensors: pack_quantized and
# nvfp4_pack, MLX: mlx.nn.QuantizedLinear, HQQ: HQQLinear, quanto: QLinear, AQLM: QuantizedLinear.
OUT, IN = 512, 256
WEIGHTS = OUT * IN

LAYOUTS: dict[str, tuple[Stored, dict[str, Any], int | None, int | None]] = {
    "gptq 4 bits": (
        {
            "l.qweight": ("I32", [IN // 8, OUT]),
            "l.qzeros": ("I32", [IN // 128, OUT // 8]),
            "l.scales": ("F16", [IN // 128, OUT]),
            "l.g_idx": ("I32", [IN]),
        },
        {},
        4,
        128,
    ),
    "gptq 3 bits": (
        {
            "l.qweight": ("I32", [IN * 3 // 32, OUT]),
            "l.qzeros": ("I32", [2, OUT * 3 // 32]),
            "l.scales": ("F16", [2, OUT]),
        },
        {"quantization_config": {"quant_method": "gptq", "bits": 3, "group_size": 128}},
        3,
        128,
    ),
    "gptq 8 bits, symmetric, no zero points": (
        {
            "l.qweight": ("I32", [IN // 4, OUT]),
            "l.scales": ("BF16", [1, OUT]),
            "l.g_idx": ("I32", [IN]),
        },
        {},
        8,
        256,
    ),
    "awq gemm": (
        {
            "l.qweight": ("I32", [IN, OUT // 8]),
            "l.qzeros": ("I32", [IN // 64, OUT // 8]),
            "l.scales": ("F16", [IN // 64, OUT]),
        },
        {},
        4,
        64,
    ),
    "bitsandbytes nf4": (
        {
            "l.weight": ("U8", [WEIGHTS // 2, 1]),
            "l.weight.absmax": ("F32", [WEIGHTS // 64]),
            "l.weight.quant_map": ("F32", [16]),
            "l.weight.quant_state.bitsandbytes__nf4": ("U8", [80]),
        },
        {},
        4,
        64,
    ),
    "bitsandbytes fp4, double quantization, stored as bfloat16": (
        {
            "l.weight": ("BF16", [WEIGHTS // 4, 1]),
            "l.weight.absmax": ("U8", [WEIGHTS // 64]),
            "l.weight.nested_absmax": ("F32", [WEIGHTS // 64 // 256]),
            "l.weight.nested_quant_map": ("F32", [256]),
            "l.weight.quant_map": ("F32", [16]),
            "l.weight.quant_state.bitsandbytes__fp4": ("U8", [90]),
        },
        {},
        4,
        64,
    ),
    "bitsandbytes int8": (
        {"l.weight": ("I8", [OUT, IN]), "l.SCB": ("F32", [OUT]), "l.weight_format": ("U8", [])},
        {},
        8,
        None,
    ),
    "fp8 by block": (
        {"l.weight": ("F8_E4M3", [OUT, IN]), "l.weight_scale_inv": ("F32", [OUT // 128, IN // 128])},
        {},
        8,
        None,
    ),
    "fp8 with an activation scale": (
        {
            "l.weight": ("F8_E4M3", [OUT, IN]),
            "l.weight_scale": ("BF16", [OUT, 1]),
            "l.input_scale": ("BF16", [1]),
        },
        {},
        8,
        None,
    ),
    "compressed-tensors int4": (
        {
            "l.weight_packed": ("I32", [OUT, IN // 8]),
            "l.weight_scale": ("BF16", [OUT, IN // 128]),
            "l.weight_shape": ("I64", [2]),
        },
        {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128}}},
            }
        },
        4,
        128,
    ),
    "compressed-tensors int3: ten in a word, the last part empty": (
        {
            "l.weight_packed": ("I32", [OUT, 26]),
            "l.weight_scale": ("BF16", [OUT, IN // 64]),
            "l.weight_shape": ("I64", [2]),
        },
        {
            "quantization_config": {
                "config_groups": {"group_0": {"weights": {"num_bits": 3, "group_size": 64}}}
            }
        },
        3,
        64,
    ),
    "compressed-tensors int8": (
        {"l.weight": ("I8", [OUT, IN]), "l.weight_scale": ("BF16", [OUT, 1])},
        {},
        8,
        None,
    ),
    "compressed-tensors nvfp4": (
        {
            "l.weight_packed": ("U8", [OUT, IN // 2]),
            "l.weight_scale": ("F8_E4M3", [OUT, IN // 16]),
            "l.weight_global_scale": ("F32", [1]),
            "l.input_global_scale": ("F32", [1]),
        },
        {},
        4,
        16,
    ),
    "modelopt nvfp4": (
        {
            "l.weight": ("U8", [OUT, IN // 2]),
            "l.weight_scale": ("F8_E4M3", [OUT, IN // 16]),
            "l.weight_scale_2": ("F32", []),
            "l.input_scale": ("F32", []),
        },
        {},
        4,
        16,
    ),
    "mxfp4 experts of gpt-oss": (
        {"l_blocks": ("U8", [4, 128, IN // 32, 16]), "l_scales": ("U8", [4, 128, IN // 32])},
        {},
        4,
        32,
    ),
    "mlx 4 bits": (
        {
            "l.weight": ("U32", [OUT, IN // 8]),
            "l.scales": ("F16", [OUT, IN // 64]),
            "l.biases": ("F16", [OUT, IN // 64]),
        },
        {"quantization": {"group_size": 64, "bits": 4}},
        4,
        64,
    ),
    "mlx 6 bits of one module, 4 of the others": (
        {
            "l.weight": ("U32", [OUT, IN * 6 // 32]),
            "l.scales": ("BF16", [OUT, IN // 64]),
            "l.biases": ("BF16", [OUT, IN // 64]),
        },
        {"quantization": {"group_size": 64, "bits": 4, "l": {"group_size": 64, "bits": 6}}},
        6,
        64,
    ),
    "mlx 5 bits without a config: no other number fits": (
        {
            "l.weight": ("U32", [OUT, IN * 5 // 32]),
            "l.scales": ("BF16", [OUT, IN // 64]),
            "l.biases": ("BF16", [OUT, IN // 64]),
        },
        {},
        5,
        64,
    ),
    "mlx mxfp4": (
        {"l.weight": ("U32", [OUT, IN // 8]), "l.scales": ("U8", [OUT, IN // 32])},
        {},
        4,
        32,
    ),
    "hqq 4 bits": (
        {
            "l.W_q": ("U8", [WEIGHTS // 2 // 64, 64]),
            "l.scale": ("F16", [WEIGHTS // 64, 1]),
            "l.zero": ("F16", [WEIGHTS // 64, 1]),
            "l.shape": ("I64", [2]),
            "l.nbits": ("I64", []),
        },
        {
            "quantization_config": {
                "quant_method": "hqq",
                "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}},
            }
        },
        4,
        64,
    ),
    **{
        f"hqq {bits} bits": (
            {
                "l.W_q": (kind, [rows, 64]),
                "l.scale": ("F16", [WEIGHTS // 64, 1]),
                "l.zero": ("F16", [WEIGHTS // 64, 1]),
                "l.packing": ("U8", [7]),
            },
            {
                "quantization_config": {
                    "quant_method": "hqq",
                    "quant_config": {"weight_quant_params": {"nbits": bits, "group_size": 64}},
                }
            },
            bits,
            64,
        )
        for bits, kind, rows in ((8, "U8", 2048), (3, "I32", 205), (2, "U8", 512), (1, "U8", 256))
    },
    "torchao int4": (
        {
            "l._weight_qdata": ("U8", [OUT, IN // 2]),
            "l._weight_scale": ("BF16", [IN // 128, OUT]),
            "l._weight_zero_point": ("BF16", [IN // 128, OUT]),
        },
        {
            "quantization_config": {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 128}}},
            }
        },
        4,
        128,
    ),
    "torchao float8": (
        {"l.weight:qdata": ("F8_E4M3", [OUT, IN]), "l.weight:scale": ("F32", [OUT, 1])},
        {},
        8,
        None,
    ),
    "quanto 2 bits": (
        {
            "l.weight._data._data": ("U8", [OUT, IN // 4]),
            "l.weight._scale": ("BF16", [OUT, IN // 128]),
            "l.weight._shift": ("BF16", [OUT, IN // 128]),
        },
        {"quantization_config": {"quant_method": "quanto", "weights": "int2"}},
        2,
        None,
    ),
    "aqlm 1x16": (
        {
            "l.codes": ("I16", [OUT, IN // 8, 1]),
            "l.codebooks": ("F16", [1, 65536, 1, 8]),
            "l.scales": ("F16", [OUT, 1, 1, 1]),
        },
        {},
        None,
        None,
    ),
    "aqlm 2x8": (
        {
            "l.codes": ("I8", [OUT, IN // 8, 2]),
            "l.codebooks": ("F16", [2, 256, 1, 8]),
            "l.scales": ("F16", [OUT, 1, 1, 1]),
        },
        {"quantization_config": {"quant_method": "aqlm", "num_codebooks": 2, "nbits_per_codebook": 8}},
        None,
        None,
    ),
    "exl2: half the inputs in 4 bits, half in 3": (
        {
            "l.q_weight": ("I32", [16 + 12, OUT]),
            "l.q_invperm": ("I32", [IN]),
            "l.q_scale": ("I32", [4, OUT // 8]),
            "l.q_scale_max": ("F16", [4]),
            "l.q_groups": ("I16", [8]),
        },
        {"quantization_config": {"quant_method": "exl2", "bits": 3.5}},
        None,
        None,
    ),
    "exl3 3 bits": (
        {
            "l.trellis": ("I16", [IN // 16, OUT // 16, 48]),
            "l.suh": ("F16", [IN]),
            "l.svh": ("F16", [OUT]),
            "l.mcg": ("I32", []),
        },
        {"quantization_config": {"quant_method": "exl3", "bits": 3.0, "head_bits": 6}},
        3,
        None,
    ),
    "bitnet's packed ternary weights": (
        {"l.weight": ("U8", [OUT // 4, IN]), "l.weight_scale": ("BF16", [1])},
        {"quantization_config": {"quant_method": "bitnet"}},
        2,
        None,
    ),
}
