"""The most memory a process with MLX takes while it reads a prompt and answers.

Rules of MLX at 846d1762 and of mlx-swift-lm at 14414441. A command buffer is committed at a number of kernels
or elements (backend/metal/device.cpp), at most eleven are under way (transforms.cpp, MAX_ACTIVE_TASKS), and
what a kernel reads lives until its command buffer is done. A cache that grows is a new array, and the old one
stays in MLX's pool of buffers, which gives nothing back below 95 % of what the GPU may use
(backend/metal/allocator.cpp). The process around it and the range are fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sizer.architecture import Architecture
from sizer.formats.stored import StoredTensor, sum_bytes
from sizer.memory import PeakBytes
from sizer.workload import Workload

if TYPE_CHECKING:
    from sizer.devices.device import Device

CACHE_STEP = 256  # KVCache.step
_CHUNK_TOKENS = 512  # mlx-swift-lm, defaultStepSize
_MLX_LM_CHUNK_TOKENS = 2048  # mlx-lm, prefill_step_size; it empties the pool after each

# Of the elements that close a command buffer some are read again by the next ones: the share that is left for
# new ones in chunks of 2,048 tokens, fitted to the peaks that mlx-lm prints.
_MLX_LM_SHARE = 0.7

_COMMAND_BUFFERS = 1 + 10

# Kernels of a block with attention and a gated MLP: norms, matrices, rotations, cache updates, additions.
_KERNELS_PER_BLOCK = 25

# Packed words, and a scale and a bias for each group of 64: elements of a 4-bit matrix for each weight.
_WORDS_PER_WEIGHT = 4 / 32 + 2 / 64

_FLOAT_BYTES = 2

# Fitted to peaks of apps on a Mac and an iPhone (tests/data/mlx_peaks.csv): the app, Metal, its kernels.
_PROCESS_BYTES = 200_000_000
# 80 % of those rows, each predicted without those of its device or of its model, are between these factors.
_LOW_FACTOR, _HIGH_FACTOR = 1.1, 1.25

# Share of the RAM that Metal recommends as working set on machines with 64 GB and more (115,449 MB of 128 GiB
# as llama.cpp prints it for M3 and M4 Max), and MLX's share of that.
_POOL_SHARE = 0.95 * 0.84


class _Gpu(NamedTuple):
    """When MLX sends a command buffer off: after more kernels or elements than these."""

    kernels: int
    elements: int


_PHONE, _BASE, _MAX = _Gpu(20, 40 << 20), _Gpu(40, 40 << 20), _Gpu(50, 50 << 20)


def peak_bytes(
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    workload: Workload,
    cell_bytes: int,
    windowed_bytes: int,
    device: Device | None,
) -> PeakBytes:
    """Return the most bytes of the process, for the workload's prompt and answer.

    `cell_bytes` are those of one token in the caches of all layers, `windowed_bytes` those of them in caches
    that keep no more than the window. The low end is what mlx-lm, which empties its pool, prints as its peak:
    weights, cache and activations alone.
    """
    a, load = architecture, workload
    weights = sum_bytes(stored)
    tokens = load.prompt_tokens + load.generated_tokens
    sizes = cache_sizes(load.prompt_tokens, tokens)

    def cache(cells: int) -> int:
        beyond = max(0, cells - a.sliding_window) if a.sliding_window else 0
        return load.batch_size * (cell_bytes * cells - windowed_bytes * beyond)

    def in_flight(chunk_tokens: int) -> int:
        chunk = load.batch_size * min(load.prompt_tokens, chunk_tokens)
        return in_flight_bytes(a, chunk, _gpu(device))

    value: float = weights + _PROCESS_BYTES + sum(map(cache, sizes)) + in_flight(_CHUNK_TOKENS)
    read = cache(-(-load.prompt_tokens // CACHE_STEP) * CACHE_STEP)
    lowest = weights + max(read + round(_MLX_LM_SHARE * in_flight(_MLX_LM_CHUNK_TOKENS)), cache(sizes[-1]))
    if device is not None and device.ram_bytes is not None:
        most = _POOL_SHARE * device.ram_bytes.value + _PROCESS_BYTES
        value = max(min(value, most), lowest)
    low, high = min(lowest, value / _LOW_FACTOR), max(lowest, value * _HIGH_FACTOR)
    return PeakBytes(round(max(value, low)), round(low), round(high))


def cache_sizes(prompt_tokens: int, all_tokens: int) -> list[int]:
    """Return the cells of every array that a layer's cache was, in order: one for each time that it grew.

    A chunk of the prompt adds whole steps to what is used. While tokens are generated the pool is emptied, so
    that the last array counts once, at the size it grows to.
    """
    sizes: list[int] = []
    used = 0
    while used < prompt_tokens:
        chunk = min(_CHUNK_TOKENS, prompt_tokens - used)
        if not sizes or used + chunk > sizes[-1]:
            kept = sizes[-1] if sizes and used % CACHE_STEP == 0 else used
            sizes.append(kept + -(-chunk // CACHE_STEP) * CACHE_STEP)
        used += chunk
    if all_tokens > sizes[-1]:
        sizes[-1] += -(-(all_tokens - sizes[-1]) // CACHE_STEP) * CACHE_STEP
    return sizes


def in_flight_bytes(architecture: Architecture, tokens: int, gpu: _Gpu) -> int:
    """Return bytes of the activations of the blocks whose command buffers are under way at once."""
    a = architecture
    elements = tokens * block_elements(a)
    weights = a.hidden_size * (
        2 * a.q_width + 2 * a.kv_width + (3 if a.mlp.gated else 2) * a.active_mlp_width
    )
    blocks = min(
        gpu.kernels / _KERNELS_PER_BLOCK, gpu.elements / (elements + round(weights * _WORDS_PER_WEIGHT))
    )
    return round(min(a.executed_layers, _COMMAND_BUFFERS * blocks) * elements * _FLOAT_BYTES)


def block_elements(architecture: Architecture) -> int:
    """Return the numbers that the kernels of a block write for each token.

    Two norms, two projections back and two additions; queries projected, normed, turned, attended and copied;
    keys and values likewise and in the cache; gate, up, activation and product.
    """
    a = architecture
    feed_forward = (4 if a.mlp.gated else 2) * a.active_mlp_width
    return 6 * a.hidden_size + 5 * a.q_width + 6 * a.kv_width + feed_forward


def _gpu(device: Device | None) -> _Gpu:
    """Return the limits of a device's GPU: phones, chips named Max or Ultra, and all others."""
    if device is None:
        return _BASE
    if device.kind in ("phone", "tablet"):
        return _PHONE
    return _MAX if (device.soc or "").lower().endswith(("max", "ultra")) else _BASE
