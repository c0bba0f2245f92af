"""LiteRT-LM's weight formats: how ai-edge-quantizer stores a decoder in a .litertlm or .task file.

Bytes of published files (tests/data/litert_files.csv) agree with: a byte or half a byte a weight, blocks of
32 or 128 with a 16-bit scale; a scale (4 bytes) and zero point (8 bytes) for each row of the other quantized
tensors, again for every signature of the model (prefill of several lengths, decode), as a flatbuffer keeps
them with each subgraph's tensors. `dynamic_` formats round activations to 8 bits while they run.
"""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.formats.gguf import tokenizer_bytes
from sizer.formats.groups import F16, F32, RowGroups
from sizer.formats.levels import NotModelled
from sizer.formats.recipe import Recipe, by_name
from sizer.formats.stored import FileBytes, StoredTensor, TokenizerBytes, sum_bytes

_LEVELS = NotModelled("the rounding of ai-edge-quantizer has not been compared with its tool")

_ROW_BYTES = 4 + 8  # scale and zero point of a row, in one signature
_SIGNATURES = 2  # of exports for LiteRT-LM: prefill and decode
_MORE_SIGNATURES, _MOST_MORE = 3, 6  # of litert-community's exports, which have prefill of several lengths
_GRAPH_BYTES = 15_000_000  # the most that files were seen to have beyond weights, scales and tokenizer


def _rows(bits: int, name: str = "") -> RowGroups:
    scales = _ROW_BYTES * _SIGNATURES
    return RowGroups(f"int{bits} rows{name}", bits, 0, scales, padded=True, levels=_LEVELS)


_INT8, _INT4, _INT8_TWO = _rows(8), _rows(4), _rows(8, ", 2 signatures")
_BLOCKS = {group: RowGroups(f"int4 b{group}", 4, group, 2, levels=_LEVELS) for group in (32, 128)}


def _blocks(group: int) -> Recipe:
    about = f"matrices int4 in blocks of {group}, embedding int8 with a scale a row, the rest F32"
    kind = _BLOCKS[group]
    return Recipe(f"dynamic_int4_block{group}", 4, kind, _INT8, kind, F32, about, misfit=_INT8)


RECIPES = by_name(
    (
        _blocks(32),
        _blocks(128),
        Recipe(
            "dynamic_int4", 4, _INT4, _INT4, _INT4, F32,
            "matrices and embedding int4 with a scale a row, the rest F32 (Gemma's QAT files)",
        ),
        Recipe(
            "dynamic_wi4b32_afp32", 4, _BLOCKS[32], _BLOCKS[32], _BLOCKS[32], F32,
            "matrices and embedding int4 in blocks of 32, the rest F32 (for GPUs)", misfit=_INT8_TWO,
        ),
        Recipe(
            "mixed_int4", 4, _BLOCKS[32], _INT8_TWO, _BLOCKS[32], F32,
            "matrices and head int4 in blocks of 32, a second table for the embedding int8, the rest F32",
            unties=True, misfit=_INT8_TWO,
        ),
        Recipe(
            "dynamic_int8", 8, _INT8, _INT8, _INT8, F32,
            "matrices and embedding int8 with a scale a row, the rest F32",
        ),
        Recipe(
            "dynamic_wi8_afp32", 8, _INT8_TWO, _INT8_TWO, _INT8_TWO, F32,
            "as dynamic_int8, with a second table for the embedding", unties=True,
        ),
        Recipe(
            "weight_only_int8", 8, _INT8, _INT8, _INT8, F32,
            "as dynamic_int8, activations stay floats",
        ),
        Recipe("fp16", 16, F16, F16, F16, F16, "every tensor F16"),
        Recipe("fp32", 32, F32, F32, F32, F32, "every tensor F32"),
    )
)  # fmt: skip

# A tokenizer.json takes about this much of the bytes that GGUF files keep of the same tokenizer; compressed
# ones and SentencePiece models take less.
_TOKENIZER_SHARE, _LEAST_SHARE, _MOST_SHARE = 1.2, 0.3, 1.6


def file_bytes(a: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
    """Return the bytes of a .litertlm file; the range is that of tokenizers and numbers of signatures."""
    scales = _ROW_BYTES * sum(
        tensor.spec.num_elements // tensor.spec.row_length
        for tensor in stored
        if tensor.type in (_INT8, _INT4)
    )
    tokenizer = tokenizer_bytes(a.vocab_size).value
    tensor_bytes = sum_bytes(stored)
    more = _MOST_MORE - _MORE_SIGNATURES
    return FileBytes(
        tensor_bytes=tensor_bytes,
        padding_bytes=0,
        directory_bytes=_MORE_SIGNATURES * scales,
        tokenizer=TokenizerBytes(
            "a tokenizer.json or SentencePiece model",
            round(_TOKENIZER_SHARE * tokenizer),
            round(_LEAST_SHARE * tokenizer),
            round(_MOST_SHARE * tokenizer),
        ),
        tensor_range=(
            tensor_bytes - _MORE_SIGNATURES * scales,
            tensor_bytes + more * scales + _GRAPH_BYTES,
        ),
    )
