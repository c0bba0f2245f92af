"""Fake quantization: round weights to what a file of a format stores, to score a proxy as deployed.

No bytes are packed: every function returns the float32 values that the runtime would read back. One function
rounds every type that declares its `Levels`. ggml's types that search for their scales (k-quants, IQ4_NL,
IQ4_XS) have separate functions in `k_quants`. Values are those of ggml as built for x86-64, to the last bit
(compared in tests/search/training/test_quantize.py; a build with fused multiply-add can differ).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from search.training.decoder import Decoder
from search.training.k_quants import QUANTIZERS
from search.training.rounding import as_half, first_extreme, inverse, round_half_away
from search.training.straight_through import int8_affine_rows, int8_rows
from sizer.architecture import Architecture
from sizer.errors import UnknownName
from sizer.formats.ggml import TYPES
from sizer.formats.levels import ROW, TENSOR, Activations, FloatLevels, Levels, NotModelled, StepFrom, Ties
from sizer.formats.stored import StorageType
from sizer.runtimes import DEFAULT_RUNTIME
from sizer.runtimes import runtime as runtime_by_name

# Weights rounded at a time: small enough that the temporaries of a scale search stay in the cache.
_SLICE_ELEMENTS = 1 << 16

_HEAD, _TABLE = "lm_head.weight", "model.embed_tokens.weight"

_ROUNDED_ROWS: Mapping[Activations, Callable[[Tensor], Tensor]] = {
    Activations.SYMMETRIC_INT8: int8_rows,
    Activations.AFFINE_INT8: int8_affine_rows,
}


def _as_stored(x: Tensor, dtype: str) -> Tensor:
    if dtype == "F16":
        return as_half(x)
    return x.bfloat16().float() if dtype == "BF16" else x.clone()


def _step(groups: Tensor, levels: Levels) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the step between levels of each group, its inverse (0 for 0), and the offset of affine types."""
    kind, divisor = levels.step_from, levels.divisor
    if kind is StepFrom.MEAN:
        # bitnet.cpp multiplies by the inverse of the mean and divides by it: two roundings
        per_step = divisor / groups.abs().mean(-1, keepdim=True).clamp(min=levels.least_step)
        return 1 / per_step, per_step, None
    if kind is StepFrom.EXTREME:
        step = first_extreme(groups) / divisor
        return step, inverse(step), None
    if kind is StepFrom.MAGNITUDE:
        step = groups.abs().amax(-1, keepdim=True) / divisor
        step = step.clamp(min=levels.least_step) if levels.least_step else step
        return step, inverse(step), None
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    step = (high - low) / divisor
    if kind is StepFrom.RANGE:
        return step, inverse(step), low
    step = step.clamp(min=levels.least_step)
    from_low = low.abs() > high.abs()
    step, edge = torch.where(from_low, step, -step), torch.where(from_low, low, high)
    level_of_edge = (edge / step).round()
    step = torch.where(level_of_edge == 0, step, edge / level_of_edge)
    return step, inverse(step), torch.where(level_of_edge == 0, 0.0, edge)


@cache
def _codebook(values: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return the values of a codebook and the middles between them."""
    table = torch.tensor(values, dtype=torch.float32)
    return table, (table[1:] + table[:-1]) / 2


def round_groups(groups: Tensor, levels: Levels) -> Tensor:
    """Return float32 weights `[groups, elements]` as read back from a type with these levels."""
    step, per_step, offset = _step(groups, levels)
    stored = _as_stored(step, levels.dtype)
    if levels.step_levels is not None:
        mean = stored.mean()
        stored = _round(stored - mean, levels.step_levels, across_rows=True) + mean
    if levels.codebook:
        table, middles = _codebook(levels.codebook)
        return table[torch.bucketize(groups * per_step, middles)] * stored
    if levels.uses_stored_step:
        step, per_step = stored, inverse(stored)
        offset = None if offset is None else _as_stored(offset, levels.dtype)
    exact = (groups if offset is None else groups - offset) * per_step
    if levels.ties is Ties.UP:
        found = (exact + (0.5 - levels.low)).trunc_().clamp_(0, levels.high - levels.low) + levels.low
    else:
        found = round_half_away(exact) if levels.ties is Ties.AWAY else exact.round_()
        found = found.clamp_(levels.low, levels.high)
    if levels.step_from is StepFrom.MEAN:
        return found / per_step
    values = found * stored
    return values if offset is None else values + _as_stored(offset, levels.dtype)


def _in_slices(source: Tensor, quantize: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to a few rows `[blocks, elements]` at a time."""
    result = torch.empty_like(source)
    step = max(1, _SLICE_ELEMENTS // source.shape[-1])
    for start in range(0, source.shape[0], step):
        result[start : start + step] = quantize(source[start : start + step])
    return result


def _in_blocks(
    tensor: Tensor,
    block: int,
    quantize: Callable[[Tensor], Tensor],
    *,
    across_rows: bool,
    padded: bool = False,
) -> Tensor:
    """Cut a tensor into blocks, of its rows or of all rows in one, and apply a function to them.

    `across_rows`: rows that do not divide into blocks run on into the next; otherwise such rows are filled
    up with zeros if `padded`, or a bug of the caller (storing has fallbacks).
    """
    row = tensor.shape[-1]
    if row % block == 0:
        return _in_slices(tensor.reshape(-1, block), quantize).view(tensor.shape)
    if across_rows:
        filled = F.pad(tensor.flatten(), (0, -tensor.numel() % block))
        return _in_slices(filled.view(-1, block), quantize).flatten()[: tensor.numel()].view(tensor.shape)
    assert padded, f"rows of {row} do not divide into blocks of {block}"
    filled = F.pad(tensor, (0, -row % block))
    return _in_slices(filled.reshape(-1, block), quantize).view(filled.shape)[..., :row].contiguous()


def _round(tensor: Tensor, levels: Levels, *, across_rows: bool) -> Tensor:
    if levels.group == TENSOR:
        return round_groups(tensor.reshape(1, -1), levels).view(tensor.shape)
    if levels.step_levels is not None:  # steps are rounded together
        filled = F.pad(tensor.flatten(), (0, -tensor.numel() % levels.group)).view(-1, levels.group)
        return round_groups(filled, levels).flatten()[: tensor.numel()].view(tensor.shape)
    return _in_blocks(
        tensor,
        tensor.shape[-1] if levels.group == ROW else levels.group,
        lambda groups: round_groups(groups, levels),
        across_rows=across_rows or levels.across_rows,
        padded=levels.padded,
    )


def fake_quantize(tensor: Tensor, kind: StorageType, *, across_rows: bool = False) -> Tensor:
    """Return the tensor as read back from a storage type: float32, same shape.

    Rows must divide into the type's blocks (storing has fallbacks for others). With `across_rows` blocks of
    rows that do not divide run on into the next row, and the last is filled up with zeros.
    """
    source, levels = tensor.detach().float(), kind.levels
    if isinstance(levels, FloatLevels):
        return _as_stored(source, levels.dtype)
    if isinstance(levels, Levels):
        return _round(source, levels, across_rows=across_rows)
    if isinstance(levels, NotModelled):
        raise UnknownName(f"storage type {kind.name!r}: proxies cannot be scored in it: {levels.reason}")
    block = TYPES[kind.name].block_elements
    return _in_blocks(source, block, QUANTIZERS[kind.name], across_rows=across_rows)


def stored_types(
    architecture: Architecture, format_name: str, runtime: str = DEFAULT_RUNTIME
) -> dict[str, StorageType]:
    """Return the type of each of the architecture's own tensors in a runtime's file, by name.

    llama.cpp stores a shared block once for every run and may give the copies different types (Q4_K_M gives
    some layers more bits); a shared block gets the type of the copy that runs first, and `deployed_model`
    makes a block of each. Other runtimes store it once. A runtime that stores a tied table twice gives the
    second the name of a head.
    """
    engine = runtime_by_name(runtime)
    order = architecture.sharing.order(architecture.num_layers)
    if engine.as_stored(architecture).num_layers == architecture.num_layers:
        order = tuple(range(architecture.num_layers))
    types: dict[str, StorageType] = {}
    for stored in engine.store(architecture, engine.format_name(format_name)):
        name, layer = stored.spec.name, stored.spec.layer
        if layer is not None:
            name = _of_block(name, order)
        types.setdefault(name, stored.type)
    return types


def _of_block(name: str, order: Sequence[int]) -> str:
    """Return the name of the tensor that an unrolled model's tensor is a copy of."""
    parts = name.split(".")
    if parts[:2] == ["model", "layers"]:
        parts[2] = str(order[int(parts[2])])
    return ".".join(parts)


def types_differ_by_run(architecture: Architecture, format_name: str, runtime: str = DEFAULT_RUNTIME) -> bool:
    """Return True if a file stores runs of one shared block in different types."""
    if runtime_by_name(runtime).as_stored(architecture).num_layers == architecture.num_layers:
        return False
    order = architecture.sharing.order(architecture.num_layers)
    shared = stored_types(architecture, format_name, runtime)
    each = stored_types(architecture.unrolled(), format_name, runtime)
    return any(kind != shared[_of_block(name, order)] for name, kind in each.items())


def unrolled_decoder(model: Decoder) -> Decoder:
    """Return the same computation with a separate block for each run of a shared one."""
    found = Decoder(model.architecture.unrolled()).to(next(model.parameters()).device)
    found.compute_dtype = model.compute_dtype
    state = model.state_dict()
    found.load_state_dict({name: state[_of_block(name, model.order)] for name in found.state_dict()})
    return found


def check_format(architecture: Architecture, format_name: str, runtime: str = DEFAULT_RUNTIME) -> None:
    """Raise UnknownName if any tensor would be stored in a type whose rounding is not modelled."""
    engine = runtime_by_name(runtime)
    engine.check_searchable(format_name)
    for kind in stored_types(architecture, format_name, runtime).values():
        if isinstance(kind.levels, NotModelled):
            raise UnknownName(f"storage type {kind.name!r}: cannot be scored: {kind.levels.reason}")


def fake_quantized_state(
    state: Mapping[str, Tensor],
    architecture: Architecture,
    format_name: str,
    runtime: str = DEFAULT_RUNTIME,
    *,
    scaled: bool = False,
) -> dict[str, Tensor]:
    """Return a model's state dict as read back from a file of that format; the given tensors are unchanged.

    The tensors of a proxy of the architecture, `scaled`, get the types that the architecture's own have: rows
    that are too short for them share blocks. Where the file stores a tied table twice, so does the result.
    """
    types = stored_types(architecture, format_name, runtime)
    found = {name: fake_quantize(tensor, types[name], across_rows=scaled) for name, tensor in state.items()}
    if _HEAD in types and _HEAD not in state:
        found[_HEAD] = fake_quantize(state[_TABLE], types[_HEAD], across_rows=scaled)
    return found


def cache_rounding(cache_type: str) -> Callable[[Tensor], Tensor] | None:
    """Return how a type of KV cache rounds keys and values; None for floats of 32 bits, which it keeps.

    Blocks of a type do not cross heads, but those of a proxy, whose heads may be shorter than a block.
    """
    if cache_type == "F32":
        return None
    kind = TYPES[cache_type]
    return lambda x: fake_quantize(x.contiguous(), kind, across_rows=True).to(x.dtype)


def deployed_model(
    model: Decoder, architecture: Architecture, format_name: str, runtime: str, cache_type: str | None = None
) -> Decoder:
    """Return a model, or a proxy of an architecture, as the runtime would run it from a file of a format.

    Weights are rounded, and so are activations where the runtime rounds them, and keys and values to a type
    of KV cache that is not the runtime's usual one. A tied model gets a separate head where the runtime
    stores one, and a shared block a copy for each run where the runtime stores them in different types.
    """
    scaled = model.architecture != architecture
    if types_differ_by_run(architecture, format_name, runtime):
        model, architecture = unrolled_decoder(model), architecture.unrolled()
    weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    state = fake_quantized_state(weights, architecture, format_name, runtime, scaled=scaled)
    if _HEAD in state and _HEAD not in weights:
        device, dtype = next(model.parameters()).device, model.compute_dtype
        model = Decoder(replace(model.architecture, tie_embeddings=False)).to(device)
        model.compute_dtype = dtype
    model.load_state_dict(state)
    types = stored_types(architecture, format_name, runtime)
    for name, matrix in model.matrices.items():
        levels = types[name].levels
        activations = levels.activations if isinstance(levels, Levels) else None
        matrix.int8_input = activations is not None
        if activations is not None:
            matrix.round_rows = _ROUNDED_ROWS[activations]
    rounded = None if cache_type is None else cache_rounding(cache_type)
    if rounded is not None:
        model.round_caches(rounded)
    return model
