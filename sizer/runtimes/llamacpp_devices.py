"""llama.cpp with part of a model on a card: weights, cache and compute buffer of each device.

Slots are the layers and after them the output: with `--gpu-layers N` the last N slots lie on the card, the
input never (i_gpu_start in src/llama-model.cpp of 2026). A tied table is then held twice: on the CPU to look
tokens up, and on the card as the output. Layers that stay on the CPU are multiplied on the card where a
micro-batch is large, with copies of their weights in its compute buffer (ggml_backend_sched, op_offload).
"""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.device_share import DeviceShare
from sizer.formats.gguf_layout import windowed_layers
from sizer.formats.stored import StoredTensor
from sizer.memory import (
    MemoryBreakdown,
    cache_cells,
    global_row_bytes,
    head_bytes,
    state_elements_of_layer,
    window_cells,
)
from sizer.tensors import Access, Role
from sizer.workload import Workload

_FLOAT_BYTES = 4
_INPUT_ROLES = (Role.TOKEN_EMBEDDING, Role.POSITION_EMBEDDING, Role.EMBEDDING_NORM)


def split_memory(
    whole: MemoryBreakdown,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    workload: Workload,
    least_graph_bytes: int,
) -> MemoryBreakdown:
    """Return memory by device, of which `whole` is all on the CPU, with the buffer of its graph.

    `least_graph_bytes` are those of the graph where one token of each sequence has logits, as builds since
    2026 reserve it.
    """
    a, asked = architecture, workload.gpu_layers
    assert asked is not None, "without --gpu-layers everything is on the CPU"
    slots = a.num_layers + 1
    first = max(slots - asked, 0)  # the first slot on the card
    cache = layer_cache_bytes(a, workload)
    by_slot = [0] * (slots + 1)  # the input last
    for tensor in stored:
        by_slot[_slot(tensor, slots)] += tensor.num_bytes
    table = sum(t.num_bytes for t in stored if t.spec.role is Role.TOKEN_EMBEDDING)
    tied = any(t.spec.role is Role.TOKEN_EMBEDDING and t.spec.access is Access.MATMUL for t in stored)
    copy = table if tied and first < slots else 0
    on_cpu = [t.num_bytes for t in stored if 0 <= _slot(t, slots) < first]
    rows = min(workload.ubatch_tokens, workload.context_tokens * workload.batch_size) * a.hidden_size
    graph, least = (max(n - _FLOAT_BYTES * rows, 0) for n in (whole.compute_bytes, least_graph_bytes))
    card = DeviceShare(
        device="gpu",
        weights_bytes=sum(by_slot[first:slots]) + copy,
        kv_cache_bytes=sum(cache[first:]),
        compute_bytes=graph + max(on_cpu, default=0),
        compute_bytes_low=least if first < slots else 0,
        compute_bytes_high=graph + max(by_slot[:first], default=0),
    )
    inputs = _input_bytes(a, workload)
    cpu = DeviceShare(
        device="cpu",
        weights_bytes=by_slot[-1] + sum(by_slot[:first]),
        kv_cache_bytes=whole.kv_cache_bytes - sum(cache[first:]),
        compute_bytes=inputs,
        compute_bytes_low=inputs,
        compute_bytes_high=inputs if first == 0 else max(inputs, _layer_bytes(a, workload) + inputs),
    )
    return whole._replace(
        weights_bytes=card.weights_bytes + cpu.weights_bytes,
        compute_bytes=card.compute_bytes + cpu.compute_bytes,
        devices=(card, cpu),
        notes=(*whole.notes, *_notes(first, slots, tied=tied)),
    )


def _notes(first: int, slots: int, *, tied: bool) -> tuple[str, ...]:
    where = f"{slots - first} of {slots} slots (layers, then the output) are on the card"
    notes = [
        f"{where}; a memory limit is held against the card's share, without the driver's own context "
        "(some hundred MB); compute buffers of devices are approximate"
    ]
    if tied and first < slots:
        notes.append("the tied table is held twice: on the CPU to look tokens up, on the card as the output")
    return tuple(notes)


def _slot(tensor: StoredTensor, slots: int) -> int:
    """Return the slot of a tensor: its layer, the last one for the output; -1 for the input."""
    spec = tensor.spec
    if spec.layer is not None:
        return spec.layer
    return -1 if spec.access is Access.LOOKUP or spec.role in _INPUT_ROLES else slots - 1


def layer_cache_bytes(a: Architecture, workload: Workload) -> list[int]:
    """Return the bytes of keys, values and states that each executed layer keeps."""
    windowed = frozenset(windowed_layers(a))
    cells, own = cache_cells(workload), a.num_layers - a.shared_kv_layers
    each = head_bytes(a, workload.cache_type)
    found = []
    for layer in range(a.num_layers):
        kept = 0
        if layer not in a.layers_without_attention and layer < own:
            heads = 1 if a.latent_attention else a.num_kv_heads
            if a.layer_num_heads:
                heads = a.layer_num_heads[layer] * a.num_kv_heads // a.num_heads
            if a.global_attention is not None and layer in a.global_attention.layers:
                kept = cells * global_row_bytes(a, workload.cache_type)
            else:
                kept = heads * each * (window_cells(a, workload) if layer in windowed else cells)
        found.append(workload.batch_size * (kept + _FLOAT_BYTES * state_elements_of_layer(a, layer)))
    return found


def _input_bytes(a: Architecture, workload: Workload) -> int:
    """Return the bytes of a graph's inputs on the CPU: embedded tokens, the mask, positions."""
    tokens = min(workload.ubatch_tokens, workload.context_tokens * workload.batch_size)
    mask = tokens * cache_cells(workload) * (2 if workload.flash_attention else _FLOAT_BYTES)
    return tokens * a.hidden_size * _FLOAT_BYTES + mask + 4 * _FLOAT_BYTES * tokens


def _layer_bytes(a: Architecture, workload: Workload) -> int:
    """Return the bytes of a layer's largest step on the CPU, at most: its feed-forward block or scores."""
    tokens = min(workload.ubatch_tokens, workload.context_tokens * workload.batch_size)
    widest = max(3 * a.active_mlp_width + 2 * a.hidden_size, 4 * a.q_width + 2 * a.hidden_size)
    if not workload.flash_attention:
        widest = max(widest, a.num_heads * cache_cells(workload) + 2 * a.q_width)
    return _FLOAT_BYTES * tokens * widest
