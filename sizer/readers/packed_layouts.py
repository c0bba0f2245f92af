"""Layouts of packed weights in safetensors, one rule each: weights, bits and group size behind stored words.

By the names of the tensors: AutoGPTQ and AutoAWQ (qweight, qzeros, scales), bitsandbytes (weight.absmax,
SCB), FP8 and INT8 with scales, compressed-tensors (weight_packed), MXFP4 of gpt-oss (_blocks), MLX (scales
next to 32-bit weights), HQQ (W_q), torchao (weight_qdata), quanto (weight._data), AQLM (codes), ExLlama
(q_weight, trellis), BitNet's packed ternary weights and ModelOpt's NVFP4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import NamedTuple

from sizer.readers.file_tensor import FileTensor
from sizer.readers.quantization_keys import QuantizationKeys

_WORD_BITS = 32
_MAX_BITS = 8
_FP8 = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
# What MLX quantizes to (mlx.core.quantize: bits and group sizes); 1 bit in builds of others.
_MLX_BITS = (1, 2, 3, 4, 5, 6, 8)
_MLX_GROUPS = (16, 32, 64, 128)


class PackedTensor(NamedTuple):
    """One weight as it is packed: the stored tensors it takes, and the weights and bits they stand for."""

    method: str
    name: str  # of the weight, as an unpacked file would have it
    stored: str  # the tensor that holds the words
    others: tuple[str, ...]  # scales, zero points, shapes
    weights: int | None  # None: the shapes do not show it and no config states it
    bits: int | None
    group_size: int | None
    bits_from: str  # "shapes" or "config"


class Words(NamedTuple):
    """A tensor that may hold packed words, the other tensors of its file, and the keys of its config."""

    tensor: FileTensor
    prefix: str  # the tensor's name without the ending by which its rules were found
    by_name: Mapping[str, FileTensor]
    keys: QuantizationKeys

    @property
    def name(self) -> str:
        """Return the tensor's name."""
        return self.tensor.name

    @property
    def config_bits(self) -> int | None:
        """Return the bits of a weight that the config states for this module."""
        return self.keys.bits(self.prefix)

    @property
    def config_group_size(self) -> int | None:
        """Return the weights that share a scale, as the config states them for this module."""
        return self.keys.group_size(self.prefix)

    def part(self, part: str) -> FileTensor | None:
        """Return another tensor of the same module, such as its "scales"."""
        return self.by_name.get(f"{self.prefix}.{part}")

    def others(self, parts: Sequence[str], module: str | None = None) -> tuple[str, ...]:
        """Return the names of those parts of the module (of `module` instead) that the file has."""
        start = self.prefix if module is None else module
        return tuple(name for part in parts if (name := f"{start}.{part}") in self.by_name)


Rule = Callable[[Words], PackedTensor | None]


def _dims(tensor: FileTensor | None, count: int) -> tuple[int, ...] | None:
    """Return the sizes of a tensor of that many dimensions, none of them 0."""
    if tensor is None or len(tensor.shape) != count or 0 in tensor.shape:
        return None
    return tensor.shape


def _whole(numerator: int, denominator: int) -> int | None:
    """Return a quotient that must be whole and positive."""
    return numerator // denominator if denominator > 0 and numerator > 0 == numerator % denominator else None


def _bits(numerator: int, denominator: int) -> int | None:
    bits = _whole(numerator, denominator)
    return bits if bits is not None and bits <= _MAX_BITS else None


_NOT_SHOWN: tuple[int | None, int | None, int | None] = (None, None, None)


def _along(word_bits: int, rows: int, groups: int, bits: int) -> tuple[int | None, int | None, int | None]:
    """Return weights, bits and group size of rows that are packed along the input."""
    wide = _whole(word_bits, bits)
    return _NOT_SHOWN if wide is None else (wide * rows, bits, _whole(wide, groups))


def _qweight(words: Words) -> PackedTensor | None:
    """GPTQ packs along the input, [in x bits / 32, out]; AWQ along the output, [in, out x bits / 32]."""
    scales = words.part("scales")
    if scales is None:
        return None
    packed, scale, zeros = (_dims(t, 2) for t in (words.tensor, scales, words.part("qzeros")))
    method, (weights, bits, group), source = "gptq", _NOT_SHOWN, "config"
    if packed and scale:
        rows, columns = packed
        groups, out = scale
        stated = words.config_bits
        shown = _bits(_WORD_BITS * zeros[1], out) if zeros else None
        index = _dims(words.part("g_idx"), 1)
        if shown is None and index and columns == out:
            shown = _bits(_WORD_BITS * rows, index[0])
        used, source = (shown, "shapes") if shown else (stated, "config")
        if columns == out and used:
            weights, bits, group = _along(_WORD_BITS * rows, out, groups, used)
        elif used and _WORD_BITS * columns == out * used:
            method, weights, bits, group = "awq", rows * out, used, _whole(rows, groups)
        elif stated and rows == groups:  # AWQ's gemv: scales [out, groups], padded
            method, source = "awq", "config"
            weights, bits, _ = _along(_WORD_BITS * columns, rows, 1, stated)
            group = words.config_group_size
    others = words.others(("scales", "qzeros", "g_idx"))
    return PackedTensor(method, f"{words.prefix}.weight", words.name, others, weights, bits, group, source)


def _bitsandbytes(words: Words) -> PackedTensor | None:
    """4 bits: two weights a byte in a column, whatever type stores the bytes; 8 bits: SCB has the scales."""
    name, tensor = words.name, words.tensor
    if absmax := words.by_name.get(f"{name}.absmax"):
        parts = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
        states = ("quant_state.bitsandbytes__nf4", "quant_state.bitsandbytes__fp4")
        others = words.others((*parts, *states), name)
        weights = 2 * (tensor.num_bytes or 0)
        # a block of 64 has one scale; nested scales are one byte each
        group = _whole(weights, absmax.num_elements)
        return PackedTensor("bitsandbytes", name, name, others, weights, 4, group, "shapes")
    if words.part("SCB") is not None and tensor.type == "I8":
        others = words.others(("SCB", "weight_format"))
        return PackedTensor("bitsandbytes", name, name, others, tensor.num_elements, 8, None, "shapes")
    return None


_SCALES = ("weight_scale", "weight_scale_inv", "weight_scales", "weight_scale_2")
_SCALED_OTHERS = (
    *_SCALES,
    *("weight_zero_point", "weight_global_scale", "input_scale", "input_scale_ub", "input_zero_point"),
    *("input_global_scale", "activation_scale", "output_scale", "weight_shape", "weight_g_idx"),
)


def _scaled(words: Words) -> PackedTensor | None:
    """FP8 and INT8 hold a weight a byte; bytes may also hold two NVFP4 weights, or four of BitNet's."""
    scale = next((found for part in _SCALES if (found := words.part(part)) is not None), None)
    if scale is None:
        return None
    others = words.others(_SCALED_OTHERS)
    name, kind, held = words.name, words.tensor.type, words.tensor.num_elements
    if kind in _FP8:
        return PackedTensor("fp8", name, name, others, held, 8, None, "shapes")
    if kind == "U8" and words.part("weight_scale_2") is not None:
        group = _whole(2 * held, scale.num_elements)
        return PackedTensor("nvfp4", name, name, others, 2 * held, 4, group, "shapes")
    if kind == "U8" and scale.num_elements == 1:
        return PackedTensor("bitnet", name, name, others, 4 * held, 2, None, "shapes")
    if kind == "I8":
        return PackedTensor("int8", name, name, others, held, 8, None, "shapes")
    return None


def _compressed(words: Words) -> PackedTensor | None:
    """compressed-tensors: [out, in / (32 // bits)] words, or two NVFP4 weights a byte."""
    others = words.others(_SCALED_OTHERS)
    tensor, name = words.tensor, f"{words.prefix}.weight"
    scale = words.part("weight_scale")
    groups = prod(scale.shape) if scale else 0
    if tensor.type == "U8":
        weights = 2 * tensor.num_elements
        group = _whole(weights, groups)
        return PackedTensor("compressed-tensors", name, words.name, others, weights, 4, group, "shapes")
    bits, group = words.config_bits, words.config_group_size
    held = None
    if bits:
        per_word = _WORD_BITS // bits
        held = tensor.num_elements * per_word
        # the last word of a row may be part empty; groups of a known size show how many weights there are
        if group and 0 <= held - groups * group < prod(tensor.shape[:-1]) * per_word:
            held = groups * group
    return PackedTensor("compressed-tensors", name, words.name, others, held, bits, group, "config")


def _blocks(words: Words) -> PackedTensor | None:
    """MXFP4 as gpt-oss has it: two weights a byte, a scale of one byte for each block of 32."""
    scales = words.by_name.get(f"{words.prefix}_scales")
    if scales is None or words.tensor.type != "U8" or scales.type != "U8":
        return None
    weights = 2 * words.tensor.num_elements
    group = _whole(weights, scales.num_elements)
    return PackedTensor("mxfp4", words.prefix, words.name, (scales.name,), weights, 4, group, "shapes")


def _mlx(words: Words) -> PackedTensor | None:
    """MLX: words along the input, a scale (and a bias) for each group."""
    scales, tensor = words.part("scales"), words.tensor
    if scales is None or tensor.type != "U32" or not tensor.shape or not scales.shape:
        return None
    others = words.others(("scales", "biases"))
    product = _whole(_WORD_BITS * tensor.shape[-1], scales.shape[-1])  # bits x group size
    bits, group, source = words.config_bits, words.config_group_size, "config"
    if bits is None or (group is not None and product is not None and bits * group != product):
        bits, source = _mlx_bits(product, scales, words.by_name), "shapes"
    group = _whole(product, bits) if bits and product else None
    weights = _whole(_WORD_BITS * tensor.num_elements, bits) if bits else None
    return PackedTensor("mlx", words.name, words.name, others, weights, bits, group, source)


def _mlx_bits(product: int | None, scales: FileTensor, by_name: Mapping[str, FileTensor]) -> int | None:
    """Return the bits that the shapes allow, if only one number does.

    Several do where 4 bits in groups of 64 look like 8 in groups of 32: then the width of the last norm,
    which is that of the embedding's rows, decides.
    """
    if product is None:
        return None
    if scales.type == "U8":  # micro-scaled types: mxfp4, mxfp8 in groups of 32, nvfp4 in groups of 16
        return {4 * 16: 4, 4 * 32: 4, 8 * 32: 8}.get(product)
    fitting = [bits for bits in _MLX_BITS if product % bits == 0 and product // bits in _MLX_GROUPS]
    if len(fitting) == 1:
        return fitting[0]
    for start in ("", "model.", "language_model.model."):
        norm = _dims(by_name.get(f"{start}norm.weight"), 1)
        table = _dims(by_name.get(f"{start}embed_tokens.weight"), 2)
        if norm and table:
            bits = _bits(_WORD_BITS * table[1], norm[0])
            return bits if bits in fitting else None
    return None


# What HQQLinear.state_dict writes in addition to W_q and the bias.
_HQQ_SPARE = 10  # groups that the last words have room for
_HQQ_PARTS = (
    *("scale", "zero", "shape", "nbits", "group_size", "axis", "packing", "channel_wise", "optimize"),
    *("round_zero", "view_as_float", "unpack_view_dtype", "compute_dtype", "quant_scale", "quant_zero"),
    *("offload_meta", "stores_quant_config", "encoded_state_dict", "scale_q", "zero_q", "meta_scale"),
)


def _hqq(words: Words) -> PackedTensor | None:
    """HQQ: 8 // bits weights a byte, or ten 3-bit weights in 32."""
    others, tensor = words.others(_HQQ_PARTS), words.tensor
    bits, group = words.config_bits, words.config_group_size
    held = 8 * (tensor.num_bytes or 0) // tensor.num_elements if tensor.num_elements else 0
    weights = tensor.num_elements * (held // bits) if bits else None
    scale = words.part("scale")
    # the last words of 3 bits may be part empty; groups of a known size show how many weights there are
    if weights and group and scale and 0 <= weights - scale.num_elements * group < _HQQ_SPARE * group:
        weights = scale.num_elements * group
    return PackedTensor("hqq", f"{words.prefix}.weight", words.name, others, weights, bits, group, "config")


_TORCHAO_PARTS = ("scale", "zero_point", "scale_and_zero", "act_pre_scale", "block_size")


def _torchao(words: Words) -> PackedTensor | None:
    """torchao's tensors in parts: a weight a byte, or 4-bit weights two a byte where the config states so."""
    tensor, start = words.tensor, words.name.removesuffix("qdata")
    others = tuple(f"{start}{part}" for part in _TORCHAO_PARTS if f"{start}{part}" in words.by_name)
    name = f"{words.prefix.removesuffix('_').removesuffix('.')}.weight"
    if tensor.type in _FP8:
        return PackedTensor("torchao", name, words.name, others, tensor.num_elements, 8, None, "shapes")
    bits = words.config_bits
    weights = _whole(8 * (tensor.num_bytes or 0), bits) if bits else None
    group = words.config_group_size
    return PackedTensor("torchao", name, words.name, others, weights, bits, group, "config")


_QUANTO_PARTS = ("weight._scale", "weight._shift", "weight_qtype", "input_scale", "output_scale")


def _quanto(words: Words) -> PackedTensor | None:
    """quanto: `_data` of a weight a byte, or 4- and 2-bit weights packed in `_data._data`."""
    others, num_elements = words.others(_QUANTO_PARTS), words.tensor.num_elements
    name = f"{words.prefix}.weight"
    if words.name.endswith("._data._data"):
        bits = words.config_bits
        weights = _whole(8 * num_elements, bits) if bits else None
        return PackedTensor("quanto", name, words.name, others, weights, bits, None, "config")
    return PackedTensor("quanto", name, words.name, others, num_elements, 8, None, "shapes")


def _aqlm(words: Words) -> PackedTensor | None:
    """AQLM: codes [out / o, in / i, books] into codebooks [books, entries, o, i]."""
    books = _dims(words.part("codebooks"), 4)
    codes = _dims(words.tensor, 3)
    if books is None or codes is None:
        return None
    weights = codes[0] * codes[1] * books[2] * books[3]
    others = words.others(("codebooks", "scales"))
    return PackedTensor("aqlm", f"{words.prefix}.weight", words.name, others, weights, None, None, "shapes")


def _exl2(words: Words) -> PackedTensor | None:
    """ExLlamaV2: rows of 2 to 8 bits, each group with its own bits; `q_invperm` has every input."""
    rows, inputs = _dims(words.tensor, 2), _dims(words.part("q_invperm") or words.part("q_perm"), 1)
    if rows is None or inputs is None:
        return None
    others = words.others(("q_invperm", "q_perm", "q_scale", "q_scale_max", "q_groups", "q_group_map"))
    weights = inputs[0] * rows[1]
    bits = _bits(_WORD_BITS * rows[0], inputs[0])  # None where groups differ
    return PackedTensor("exl2", f"{words.prefix}.weight", words.name, others, weights, bits, None, "shapes")


def _exl3(words: Words) -> PackedTensor | None:
    """ExLlamaV3: tiles of 16 x 16 weights, [in / 16, out / 16, 16 x bits] 16-bit words."""
    tiles = _dims(words.tensor, 3)
    if tiles is None or words.tensor.type not in ("I16", "U16"):
        return None
    others = words.others(("suh", "svh", "su", "sv", "mcg", "mul1"))
    name, weights, bits = f"{words.prefix}.weight", 256 * tiles[0] * tiles[1], _bits(tiles[2], 16)
    return PackedTensor("exl3", name, words.name, others, weights, bits, None, "shapes")


# By the end of a stored tensor's name; of several rules the first that knows the tensor.
RULES: Mapping[str, tuple[Rule, ...]] = {
    ".qweight": (_qweight,),
    ".weight_packed": (_compressed,),
    "_blocks": (_blocks,),
    ".W_q": (_hqq,),
    "weight_qdata": (_torchao,),
    "weight:qdata": (_torchao,),
    ".weight._data": (_quanto,),
    ".weight._data._data": (_quanto,),
    ".codes": (_aqlm,),
    ".q_weight": (_exl2,),
    ".trellis": (_exl3,),
    ".weight": (_bitsandbytes, _mlx, _scaled),
}
