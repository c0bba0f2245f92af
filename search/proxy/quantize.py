"""Fake quantization: weights as they come back from ggml's block types, to score a proxy as deployed.

Each function rounds float32 weights, `[..., blocks, block_elements]`, the way the reference quantizer of
ggml/src/ggml-quants.c does (`quantize_row_*_ref`, no importance matrix; as in llama-cpp-python 0.3.36) and
returns what `dequantize_row_*` would read back. No bytes are packed. Equal to ggml's own values for the types
without a search, and for Q3_K. The other types that search for a scale (k-quants, IQ4_NL, IQ4_XS) add their
sums in another order and so, in one or two super-blocks of a hundred, settle on another scale of nearly the
same error: root mean square error over a tensor within 0.1 % of ggml's.

bitnet.cpp's types have one scale for a tensor: the mean magnitude, as weight_quant of its
utils/convert-hf-to-gguf-bitnet.py takes it (BitNet b1.58, arXiv 2402.17764).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from search.proxy.k_quants import iq4_nl, iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k
from search.proxy.rounding import as_half, first_extreme, inverse, round_half_away
from sizer.architecture import Architecture
from sizer.errors import UnknownName
from sizer.formats.ggml import TYPES
from sizer.formats.llamacpp import BASE_TYPES
from sizer.formats.stored import StorageType
from sizer.runtimes import runtime as runtime_by_name

LLAMA_CPP, BITNET_CPP = "llama.cpp", "bitnet.cpp"

# Smallest mean magnitude that weight_quant of convert-hf-to-gguf-bitnet.py divides by.
_LEAST_MEAN = 1e-5

# Weights rounded at a time: small enough that the temporaries of a scale search stay in the cache.
_SLICE_ELEMENTS = 1 << 16


def _f32(x: Tensor) -> Tensor:
    return x.clone()


def _bf16(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def _q8_0(x: Tensor) -> Tensor:
    scale = x.abs().amax(-1, keepdim=True) / 127
    return round_half_away(x * inverse(scale)) * as_half(scale)


def _symmetric(bits: int) -> Callable[[Tensor], Tensor]:
    """Q4_0 and Q5_0: the largest weight is the most negative level."""
    half = 1 << (bits - 1)

    def quantize(x: Tensor) -> Tensor:
        scale = first_extreme(x) / -half
        levels = (x * inverse(scale) + (half + 0.5)).trunc().clamp(max=2 * half - 1)
        return (levels - half) * as_half(scale)

    return quantize


def _affine(bits: int) -> Callable[[Tensor], Tensor]:
    """Q4_1 and Q5_1: levels from the smallest to the largest weight."""
    top = (1 << bits) - 1

    def quantize(x: Tensor) -> Tensor:
        low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
        scale = (high - low) / top
        levels = ((x - low) * inverse(scale) + 0.5).trunc().clamp(max=top)
        return levels * as_half(scale) + as_half(low)

    return quantize


def _ternary(x: Tensor) -> Tensor:
    """TQ1_0 and TQ2_0: -1, 0 or 1 times the largest magnitude; they differ only in how trits are packed."""
    scale = x.abs().amax(-1, keepdim=True)
    return round_half_away(x * inverse(scale)) * as_half(scale)


def absmean_ternary(x: Tensor) -> Tensor:
    """-1, 0 or 1 times the mean magnitude along the last axis, whichever is nearest; halves to even."""
    inverse_scale = 1 / x.abs().mean(-1, keepdim=True).clamp(min=_LEAST_MEAN)
    return (x * inverse_scale).round_().clamp_(-1, 1) / inverse_scale


# Types with one scale for a whole tensor: bitnet.cpp's, which differ only in how trits are packed.
WHOLE_TENSOR = ("I2_S", "TL1", "TL2")

_QUANTIZERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "F32": _f32,
    "F16": as_half,
    "BF16": _bf16,
    "Q8_0": _q8_0,
    "Q4_0": _symmetric(4),
    "Q5_0": _symmetric(5),
    "Q4_1": _affine(4),
    "Q5_1": _affine(5),
    "TQ1_0": _ternary,
    "TQ2_0": _ternary,
    "IQ4_NL": iq4_nl,
    "IQ4_XS": iq4_xs,
    "Q2_K": q2_k,
    "Q3_K": q3_k,
    "Q4_K": q4_k,
    "Q5_K": q5_k,
    "Q6_K": q6_k,
    **dict.fromkeys(WHOLE_TENSOR, absmean_ternary),
}


def _quantizer(name: str) -> Callable[[Tensor], Tensor]:
    try:
        return _QUANTIZERS[name]
    except KeyError:
        raise UnknownName.of("block type to quantize proxies with", name, _QUANTIZERS) from None


def fake_quantize(tensor: Tensor, block_type: StorageType | str, *, across_rows: bool = False) -> Tensor:
    """The tensor as read back from that type: float32, same shape, rows cut into its blocks.

    A row length that does not divide into blocks is a bug of the caller: `LlamaCppMix.assign` has fallbacks.
    With `across_rows` blocks of such rows run on into the next, and the last is filled up with zeros.
    """
    name = block_type if isinstance(block_type, str) else block_type.name
    quantize = _quantizer(name)
    if name in WHOLE_TENSOR:
        return quantize(tensor.detach().float().reshape(1, -1)).view(tensor.shape)
    block = TYPES[name].block_elements
    if across_rows and tensor.shape[-1] % block:
        filled = F.pad(tensor.detach().float().flatten(), (0, -tensor.numel() % block))
        return fake_quantize(filled, name)[: tensor.numel()].view(tensor.shape)
    assert tensor.shape[-1] % block == 0, f"rows of {tensor.shape[-1]} do not divide into {name} blocks"
    source = tensor.detach().float().reshape(-1, block)
    result = torch.empty_like(source)
    step = max(1, _SLICE_ELEMENTS // block)
    for start in range(0, source.shape[0], step):
        result[start : start + step] = quantize(source[start : start + step])
    return result.view(tensor.shape)


def fake_quantize_(tensor: Tensor, block_type: StorageType | str) -> Tensor:
    """The same, written back into the tensor, which is returned."""
    with torch.no_grad():
        return tensor.copy_(fake_quantize(tensor, block_type))


def stored_types(
    architecture: Architecture, format_name: str, runtime: str = LLAMA_CPP
) -> dict[str, StorageType]:
    """Type of each of the architecture's own tensors in a runtime's file, by name.

    llama.cpp stores a shared block once for every run and may give the copies different types (Q4_K_M gives
    some layers more bits); the proxy has one block, so it gets the type of the copy that runs first.
    """
    engine = runtime_by_name(runtime)
    order = architecture.sharing.order(architecture.num_layers)
    types: dict[str, StorageType] = {}
    for stored in engine.store(architecture, engine.format_name(format_name)):
        name, layer = stored.spec.name, stored.spec.layer
        if layer is not None:
            name = name.replace(f"layers.{layer}.", f"layers.{order[layer]}.", 1)
        types.setdefault(name, stored.type)
    return types


def check_format(architecture: Architecture, format_name: str, runtime: str = LLAMA_CPP) -> None:
    """Raise UnknownName if the format needs a type that has no fake quantizer here (IQ1, IQ2, IQ3)."""
    for kind in stored_types(architecture, format_name, runtime).values():
        _quantizer(kind.name)


def supported_formats(runtime: str = LLAMA_CPP) -> tuple[str, ...]:
    """Formats of a runtime every tensor of which can be fake-quantized at any width."""
    if runtime == LLAMA_CPP:
        return tuple(name for name in BASE_TYPES if not name.startswith(("IQ1", "IQ2", "IQ3")))
    return runtime_by_name(runtime).formats if runtime == BITNET_CPP else ()


def fake_quantized_state(
    state: Mapping[str, Tensor],
    architecture: Architecture,
    format_name: str,
    runtime: str = LLAMA_CPP,
    *,
    scaled: bool = False,
) -> dict[str, Tensor]:
    """A model's state dict as read back from a file of that format; the given tensors are left alone.

    The tensors of a proxy of the architecture, `scaled`, get the types that the architecture's own have: rows
    that are too short for them share blocks.
    """
    types = stored_types(architecture, format_name, runtime)
    return {name: fake_quantize(tensor, types[name], across_rows=scaled) for name, tensor in state.items()}
