"""Numbers that GGUF files write for storage types and file types, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping

from sizer.formats.ggml import TYPES, BlockType

# ggml type of a tensor: enum ggml_type, llama.cpp ggml/include/ggml.h. Numbers that were withdrawn (4, 5,
# 31 to 33, 36 to 38) are left out: other projects use them for types of their own (BitNet's I2_S is 36).
_BLOCK_TYPE_IDS = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    30: "BF16",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
    41: "Q1_0",
    42: "Q2_0",
}
# Plain numbers that files may hold in addition to weights (lookup tables); no mix stores weights so.
_PLAIN_TYPE_IDS = {24: ("I8", 1), 25: ("I16", 2), 26: ("I32", 4), 27: ("I64", 8), 28: ("F64", 8)}

TYPE_BY_ID: Mapping[int, BlockType] = {
    **{number: TYPES[name] for number, name in _BLOCK_TYPE_IDS.items()},
    **{number: BlockType(name, 1, size) for number, (name, size) in _PLAIN_TYPE_IDS.items()},
}

# general.file_type: enum llama_ftype, llama.cpp include/llama.h.
FILE_TYPE_BY_ID: Mapping[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
}
