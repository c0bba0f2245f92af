"""The speed model: costs of a model on any device, and the seconds that a device's constants make of them.

The one place of the formulas: estimates, grids and the fit of the constants use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from sizer.architecture import Architecture, SharingStrategy
from sizer.devices.profile import Profile
from sizer.formats.stored import StoredTensor, stored_groups
from sizer.memory import kv_bytes_per_token, kv_row_bytes
from sizer.tensor_spec import Layers
from sizer.tensors import Access, Group, Role, TensorSpec
from sizer.workload import Workload

# Fewer bits than this are quantized weights (8 bits and the scales of the smallest groups come to 9).
FLOAT_BITS = 15.0
# Bytes of the cache that a step reads for each byte that a CPU would hold. LiteRT-LM keeps 32 bits on a CPU,
# 16 on Metal: on an M4 Max a step at 1,467 tokens is 0.35 ms slower than at 84 (data/measurements.csv), too
# little for its memory to read 32 bits an element. On CPUs a position costs far more than its bytes: 84 us of
# 0.23 MB on a Galaxy S26 that reads weights at 40 GB/s, 220 us on a Pixel 8a at 10 GB/s; with 6, models left
# out on either phone are predicted better.
_CACHE_READ_SHARES = {("litert-lm", "metal"): 0.5, ("litert-lm", "cpu"): 6.0}


class ModelCosts(NamedTuple):
    """Costs of a model in bytes read per decoding step and operations per prompt token, on any device."""

    executed_layers: int
    step_bytes: float  # weights read per step: matrices and vectors, one row of a looked-up embedding
    bits_per_weight: float  # of the weights read
    block_weights: int  # weights one token multiplies with in the executed layers
    head_weights: int  # weights of the output head, which runs for the prompt's last token only
    attention_ops_per_position: int  # operations per token and attended position
    windowed_ops_per_position: int = 0  # of these, in layers that attend to at most `window` positions
    window: int = 0
    unchosen_bytes: float = 0.0  # experts that a step does not use; the tokens of a prompt use all of them
    float_bytes: float = 0.0  # of step_bytes: in matrices of 16- and 32-bit weights
    kv_elements: int = 0  # elements of one cached position, keys and values of all executed layers
    bytes_by_type: tuple[tuple[str, float], ...] = ()  # step_bytes by stored type
    weights_by_type: tuple[tuple[str, int], ...] = ()  # block_weights by stored type
    format_byte_cost: float = 1.0  # of a weight's byte in this format, relative to Q4_K_M: some unpack slowly
    format_op_cost: float = 1.0  # of an operation of a prompt, the same
    activation_elements: int = 0  # inputs and outputs of the blocks' matrices, per token

    @property
    def is_float(self) -> bool:
        """True if the weights read are of 16 and 32 bits."""
        return self.bits_per_weight >= FLOAT_BITS

    def prompt_ops(self, prompt_tokens: int) -> float:
        """Return the operations (multiplications and additions) of a prompt of that many tokens."""
        positions = prompt_tokens * (prompt_tokens + 1) / 2
        linear = 2 * (self.block_weights * prompt_tokens + self.head_weights)
        ops = linear + self.attention_ops_per_position * positions
        if prompt_tokens > self.window and self.windowed_ops_per_position:
            attended = (
                _attended_positions(prompt_tokens, self.window) + self.window / 2
            )  # each token attends to itself, too
            ops -= self.windowed_ops_per_position * (positions - attended)
        return ops

    def attention_ops(self, prompt_tokens: int) -> float:
        """Return those of a prompt's operations that multiply tokens with tokens."""
        return self.prompt_ops(prompt_tokens) - 2 * (self.block_weights * prompt_tokens + self.head_weights)


def _attended_positions(tokens: float, window: int) -> float:
    """Return the sum of earlier positions that `tokens` tokens attend to, each at most `window` of them."""
    inside = min(tokens, window)
    return inside * inside / 2 + (tokens - inside) * window


def model_costs(
    architecture: Architecture, sized: Iterable[tuple[TensorSpec, float, str]], windowed_layers: int = 0
) -> ModelCosts:
    """Return the costs of a model from its tensors, each with its bytes and its type's name."""
    each = ((spec, size, name, (spec.layer,)) for spec, size, name in sized)
    return _costs(architecture, each, windowed_layers)


def stored_costs(
    architecture: Architecture, stored: Sequence[StoredTensor], windowed_layers: int = 0
) -> ModelCosts:
    """Return the costs of a model from its stored tensors."""
    groups = stored_groups(stored)
    sized = ((t.spec, t.num_bytes, t.type.name, layers) for t, layers in groups)
    return _costs(architecture, sized, windowed_layers)


def _costs(
    architecture: Architecture, sized: Iterable[tuple[TensorSpec, float, str, Layers]], windowed_layers: int
) -> ModelCosts:
    """Return the costs from tensors, each with its bytes, its type's name and the layers that have it.

    Where a block runs again at once its weights are still in cache; repeat-all, reverse and middle read them
    again for each run. Of a layer's experts a step reads, and a token computes, num_experts_per_tok: as for
    one sequence, since the number of experts that a batch shares is not known. `windowed_layers` of the
    executed layers attend to the sliding window only; runtimes differ in whether they use windows.
    """
    sharing, stored_layers = architecture.sharing, architecture.num_layers
    at_once = sharing.strategy is SharingStrategy.IMMEDIATE or stored_layers == sharing.fewest_layers
    unchosen_bytes = float_bytes = 0.0
    head = weights_read = activation_elements = 0
    bytes_by_type: dict[str, float] = {}
    weights_by_type: dict[str, int] = {}
    repeats, shares_mlp = sharing.repeat > 1, architecture.shared_mlp
    for spec, num_bytes, type_name, layers in sized:
        count = runs = len(layers)
        if repeats and spec.layer is not None:
            runs = sum(sharing.runs(layer, stored_layers) for layer in layers if layer is not None)
        reads = count if at_once else runs
        elements = spec.num_elements
        is_float = len(spec.shape) > 1 and 8 * num_bytes >= FLOAT_BITS * elements
        if spec.used_experts is not None:
            unchosen_bytes += reads * num_bytes * (1 - spec.active_share)
            num_bytes *= spec.active_share
            elements = spec.active_elements
        if spec.layer is not None:
            if shares_mlp and spec.role.group is Group.MLP:
                reads = runs = count * architecture.executed_layers
            read_bytes = reads * num_bytes
            weights_read += reads * elements
            weights_by_type[type_name] = weights_by_type.get(type_name, 0) + runs * elements
            if len(spec.shape) > 1:
                activation_elements += runs * (spec.used_experts or 1) * sum(spec.shape[-2:])
        elif spec.access is Access.LOOKUP:
            read_bytes = num_bytes * spec.row_length / elements
        else:
            read_bytes = num_bytes
            weights_read += elements
            if spec.role is Role.OUTPUT or spec.role is Role.TOKEN_EMBEDDING:
                head += elements
        bytes_by_type[type_name] = bytes_by_type.get(type_name, 0.0) + read_bytes
        if is_float:
            float_bytes += read_bytes
    step_bytes = sum(bytes_by_type.values())
    heads = sum(architecture.layer_num_heads)
    heads = (
        heads
        or (architecture.executed_layers - len(architecture.layers_without_attention))
        * architecture.num_heads
    )
    return ModelCosts(
        executed_layers=architecture.executed_layers,
        step_bytes=step_bytes,
        bits_per_weight=8 * step_bytes / max(weights_read, 1),
        block_weights=sum(weights_by_type.values()),
        head_weights=head,
        attention_ops_per_position=4 * heads * architecture.head_dim,
        windowed_ops_per_position=4 * windowed_layers * architecture.q_width,
        window=architecture.sliding_window or 0,
        unchosen_bytes=unchosen_bytes,
        float_bytes=float_bytes,
        kv_elements=2 * architecture.executed_layers * architecture.kv_width,
        bytes_by_type=tuple(bytes_by_type.items()),
        weights_by_type=tuple(weights_by_type.items()),
        activation_elements=activation_elements,
    )


@lru_cache(maxsize=256)
def at_full_context(workload: Workload) -> Workload:
    """Return a workload whose one generated token is the last that its context holds: the slowest."""
    last = max(1, workload.context_tokens - 1)
    return replace(workload, prompt_tokens=last, generated_tokens=1) if last > 1 else workload


def kv_bytes_read(architecture: Architecture, workload: Workload, windowed_layers: int = 0) -> float:
    """Return the KV-cache bytes that a decoding step reads, on average over the generated tokens."""
    a, prompt, generated = architecture, workload.prompt_tokens, workload.generated_tokens
    depth = prompt + generated / 2
    kv_bytes = depth * kv_bytes_per_token(a, workload.cache_type)
    if windowed_layers and a.sliding_window is not None:
        window = a.sliding_window
        attended = (
            _attended_positions(prompt + generated, window) - _attended_positions(prompt, window)
        ) / generated
        kv_bytes -= (depth - attended) * windowed_layers * 2 * kv_row_bytes(a, workload.cache_type)
    return workload.batch_size * kv_bytes


def cache_read_share(runtime: str, backend: str) -> float:
    """Return the bytes of cache that an engine reads on a backend for each byte of its usual type."""
    return _CACHE_READ_SHARES.get((runtime, backend), 1.0)


def decode_seconds(model: ModelCosts, kv_bytes: float, constants: Profile) -> float:
    """Return the seconds of one decoding step that reads `kv_bytes` of KV cache.

    `model` and `kv_bytes` may hold columns (numpy arrays) where no constant differs between stored types.
    """
    c = constants
    cost_bytes = (
        model.format_byte_cost * model.step_bytes
        + (c.float_byte_cost - 1) * model.float_bytes
        + c.kv_byte_cost * kv_bytes
    )
    if c.byte_cost:
        cost = dict(c.byte_cost)
        cost_bytes += sum((cost.get(name, 1.0) - 1) * num_bytes for name, num_bytes in model.bytes_by_type)
    element_s = c.kv_element_s + (c.float_kv_element_s if c.float_kv_element_s and model.is_float else 0.0)
    seconds = _layers_seconds(model, c) + cost_bytes / c.bytes_per_s + element_s * model.kv_elements
    return seconds + c.step_element_s * model.activation_elements if c.step_element_s else seconds


def prefill_seconds(
    model: ModelCosts,
    workload: Workload,
    constants: Profile,
    maximum: Callable[[float, float], float] = max,
) -> float:
    """Return the seconds to read the prompts of the batch, micro-batch by micro-batch.

    Each waits for the slower of arithmetic and reading the weights. For columns, `maximum` is numpy's.
    """
    c, tokens = constants, workload.batch_size * workload.prompt_tokens
    batches = ceil(tokens / (c.call_tokens or workload.ubatch_tokens))
    compute_s = (
        workload.batch_size * model.prompt_ops(workload.prompt_tokens) * op_cost(model, c) / c.ops_per_s
        + tokens * model.activation_elements * c.activation_element_s
    )
    if c.attention_op_s:
        compute_s += workload.batch_size * model.attention_ops(workload.prompt_tokens) * c.attention_op_s
    read_s = batches * (model.step_bytes + model.unchosen_bytes) / c.bytes_per_s
    return maximum(compute_s, read_s) + batches * (_layers_seconds(model, c) + c.prompt_fixed_s)


def _layers_seconds(model: ModelCosts, constants: Profile) -> float:
    """Return the seconds that a step takes however few bytes and operations its layers have."""
    return constants.seconds_fixed + constants.seconds_per_layer * model.executed_layers


def op_cost(model: ModelCosts, constants: Profile) -> float:
    """Return the cost of an operation on this model's weights, relative to an operation that costs 1."""
    c = constants
    cost = c.float_op_cost if c.float_op_cost != 1 and model.is_float else 1.0
    if c.op_cost:
        known = dict(c.op_cost)
        weights = sum(count for _, count in model.weights_by_type)
        cost *= sum(known.get(name, 1.0) * count for name, count in model.weights_by_type) / max(weights, 1)
    return cost * model.format_op_cost


def init_seconds(file_bytes: float, constants: Profile) -> float:
    """Return the seconds to start with the file in the operating system's cache."""
    return constants.init_s + file_bytes * constants.init_seconds_per_byte
