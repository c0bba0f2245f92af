"""ExecuTorch: parts of exported files and planned memory exactly, held memory closely; what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.architecture import Architecture, LayerSharing, NormKind, SharingStrategy
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.formats import executorch
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.runtimes.executorch import ExecuTorch, held_bytes, process_bytes, workspace_bytes
from sizer.runtimes.executorch_plan import (
    LAYERS_LAID_OUT,
    SHORT_CHUNK,
    XNNPACK_PADDING_BYTES,
    Live,
    activations,
    activations_of_halves,
    greedy_bytes,
    planned_bytes,
)
from sizer.tensors import Access
from sizer.workload import Workload
from tests.strategies import architectures

_FILE = Path(__file__).parent / "data" / "oracle_executorch.jsonl"
ROWS = [json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()]
# What is not modelled: other float types, an int8 cache
ROWS = [
    row
    for row in ROWS
    if "error" not in row and row["recipe"]["dtype"] == "fp32" and row["recipe"]["cache"] == "F32"
]
TOLERANCE_BYTES = 250_000
# Rows with norms or biases of queries and keys: of another machine, where processes are up to 1.7 MB smaller
OTHER_MACHINE_BYTES = 1_700_000

_EMBEDDINGS = {None: "e32", "8,0": "e8", "4,32": "e4", "8,32": "e8g32"}

SMALL = Architecture(
    vocab_size=1000,
    num_layers=2,
    hidden_size=64,
    intermediate_size=128,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
)


def oracle_architecture(shape: dict[str, Any]) -> Architecture:
    """The model of an oracle row."""
    repeat = shape.get("repeat", 1)
    strategy = SharingStrategy(shape.get("strategy", "immediate")) if repeat > 1 else SharingStrategy.NONE
    return Architecture(
        vocab_size=shape["vocab_size"],
        num_layers=shape["n_layers"],
        hidden_size=shape["dim"],
        intermediate_size=shape["hidden_dim"],
        num_heads=shape["n_heads"],
        num_kv_heads=shape["n_kv_heads"],
        head_dim=shape["head_dim"],
        tie_embeddings=shape.get("tied", False),
        qk_norm=shape.get("qk_norm", False),
        qkv_bias=shape.get("qkv_bias", False),
        sharing=LayerSharing(strategy=strategy, repeat=repeat),
    )


def oracle_format(recipe: dict[str, Any]) -> str:
    """Our name of an oracle row's export options."""
    if recipe["mode"] is None:
        return "fp32"
    rows = "-row" if recipe["mode"] == "8da4w" else ""
    group = f"-g{recipe['group']}" if recipe["group"] else rows
    return f"{recipe['mode']}{group}-{_EMBEDDINGS[recipe['embedding']]}"


def _pieces(row: dict[str, Any]) -> executorch.FilePieces:
    architecture = oracle_architecture(row["model"])
    stored = ExecuTorch().store(architecture, oracle_format(row["recipe"]))
    return executorch.file_pieces(architecture, stored, row["model"]["context"])


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_every_part_of_an_exported_file(row: dict[str, Any]) -> None:
    pieces = _pieces(row)
    assert sum(pieces.matrices) == row["matrix_bytes"] + row["scale_bytes"]
    assert executorch.padded_sum(pieces.constants, executorch.CONSTANT_ALIGNMENT) == row["constant_bytes"]
    assert (len(pieces.graphs), sum(pieces.graphs)) == (row["delegate_blobs"], row["delegate_bytes"])
    assert pieces.program == pytest.approx(row["program_bytes"], abs=128)
    assert pieces.total == pytest.approx(row["file_bytes"], abs=executorch.SEGMENT_ALIGNMENT)


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_planned_memory_is_executorchs(row: dict[str, Any]) -> None:
    shape = row["model"]
    planned = planned_bytes(oracle_architecture(shape), shape["prompt"], shape["context"])
    assert [0, planned] == row["planned_bytes"]


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_held_memory_is_near_a_process_that_ran(row: dict[str, Any]) -> None:
    shape, run = row["model"], row["run"]
    architecture = oracle_architecture(shape)
    stored = ExecuTorch().store(architecture, oracle_format(row["recipe"]))
    pieces = executorch.file_pieces(architecture, stored, shape["context"])
    after = {key: run["decoded"][key] - run["before"][key] for key in ("anonymous", "file")}
    expected = (
        sum(held_bytes(architecture, tensor) for tensor in stored)
        + planned_bytes(architecture, shape["prompt"], shape["context"])
        + workspace_bytes(architecture, run["prompt_tokens"])
        + process_bytes(architecture, pieces, shape["context"])
    )
    tolerance = OTHER_MACHINE_BYTES if shape.get("hf_rope") else TOLERANCE_BYTES
    assert expected == pytest.approx(after["anonymous"] + after["file"], abs=tolerance)


def test_packed_weights_explain_what_loading_adds() -> None:
    """fp32 and 4-bit files of one shape differ in memory by their matrices alone."""
    by_name = {row["name"]: row for row in ROWS}
    full, small = by_name["tiny fp32"], by_name["tiny g32"]
    loaded = [r["run"]["loaded"]["anonymous"] - r["run"]["before"]["anonymous"] for r in (full, small)]
    matrices = [r["matrix_bytes"] + r["scale_bytes"] for r in (full, small)]
    assert loaded[0] - loaded[1] == pytest.approx(matrices[0] - matrices[1], rel=0.02)


def test_a_shared_block_is_stored_once_and_packed_for_each_run() -> None:
    by_name = {row["name"]: row for row in ROWS}
    once, twice = by_name["tiny g32"], by_name["shared twice g32"]
    assert [once[key] for key in ("matrices", "matrix_bytes", "scale_bytes")] == [
        twice[key] for key in ("matrices", "matrix_bytes", "scale_bytes")
    ]
    architecture = oracle_architecture(twice["model"])
    stored = ExecuTorch().store(architecture, oracle_format(twice["recipe"]))
    block = [tensor for tensor in stored if tensor.spec.layer == 0 and tensor.spec.access is Access.MATMUL]
    unshared = replace(architecture, sharing=LayerSharing())
    assert sum(held_bytes(architecture, t) for t in block) == 2 * sum(held_bytes(unshared, t) for t in block)


def test_a_tied_table_is_stored_twice() -> None:
    stored = ExecuTorch().store(replace(SMALL, tie_embeddings=True), "8da4w-g32-e8")
    assert tuple(stored) == tuple(ExecuTorch().store(replace(SMALL, tie_embeddings=False), "8da4w-g32-e8"))
    by_name = {tensor.spec.name: tensor for tensor in stored}
    assert by_name["model.embed_tokens.weight"].num_bytes == 1000 * (64 + 4)
    assert by_name["lm_head.weight"].num_bytes == 1000 * (32 + 2 * 2)


def test_rows_that_are_not_whole_groups_stay_floats() -> None:
    wide = replace(SMALL, hidden_size=96)  # the export would quantize the down projection (128 wide) alone
    stored = ExecuTorch().store(wide, "8da4w-g128-e8")
    quantized = {t.spec.name for t in stored if t.type.name == "8da4w-g128"}
    assert quantized == {f"model.layers.{layer}.mlp.down_proj.weight" for layer in range(2)}


def test_an_embedding_that_is_not_whole_groups_is_refused() -> None:
    with pytest.raises(InvalidArchitecture, match="hidden_size: 8da4w-g32-e4 .* groups of 32, got 80"):
        ExecuTorch().store(replace(SMALL, hidden_size=80), "8da4w-g32-e4")


def test_a_layout_that_was_not_looked_at_is_refused() -> None:
    with pytest.raises(InvalidArchitecture, match="not known .it has LayerNorm"):
        ExecuTorch().store(replace(SMALL, norm=NormKind.LAYERNORM), "fp32")
    with pytest.raises(InvalidArchitecture, match="it has norms on query and key with biases"):
        ExecuTorch().store(replace(SMALL, qk_norm=True, qkv_bias=True), "fp32")
    with pytest.raises(InvalidArchitecture, match="it has biases in the feed-forward blocks"):
        ExecuTorch().store(replace(SMALL, mlp_bias=True), "fp32")


def test_more_than_one_sequence_is_refused() -> None:
    engine = ExecuTorch()
    workload = Workload(cache_type="F32", batch_size=2)
    with pytest.raises(InvalidQuantity, match="batch_size: .* one sequence, got 2"):
        engine.memory(SMALL, engine.store(SMALL, "fp32"), workload)


def test_two_buffers_worked_by_hand() -> None:
    # b lives beside a and gets a buffer of its own; c starts when a is over and goes where it was
    assert greedy_bytes([Live(64, 0, 1), Live(32, 1, 2), Live(40, 2, 3)]) == 64 + 32
    # two short ones fit behind each other beside nothing of the long one
    assert greedy_bytes([Live(64, 0, 1), Live(32, 2, 3), Live(32, 2, 3)]) == 64
    assert greedy_bytes([Live(1, 0, 1), Live(1, 0, 1)]) == 2 * 16


@given(
    st.lists(
        st.tuples(st.integers(1, 10_000), st.integers(0, 30), st.integers(0, 8)).map(
            lambda t: Live(t[0], t[1], t[1] + t[2])
        ),
        min_size=1,
        max_size=40,
    )
)
def test_a_plan_has_room_for_all_that_live_at_once_and_no_more_than_for_all(tensors: list[Live]) -> None:
    sizes = [(t, t.num_bytes + -t.num_bytes % 16) for t in tensors]
    at_once = max(sum(size for t, size in sizes if t.first <= step <= t.last) for step in range(40))
    assert at_once <= greedy_bytes(tensors) <= sum(size for _, size in sizes)


@settings(max_examples=30)
@given(architectures(max_layers=1), st.integers(SHORT_CHUNK, 600))
def test_more_layers_need_no_other_buffers(architecture: Architecture, tokens: int) -> None:
    sizes = {greedy_bytes(activations(architecture, tokens, n)) for n in (LAYERS_LAID_OUT, 7, 10)}
    assert len(sizes) == 1


def test_caches_share_no_buffer() -> None:
    context, end = 256, 14 + 30 * SMALL.num_layers + 8
    caches = [Live(4 * context * SMALL.kv_width, 0, end)] * (2 * SMALL.num_layers)
    together = greedy_bytes(caches + activations(SMALL, 64, SMALL.num_layers))
    assert planned_bytes(SMALL, 64, context) == together + XNNPACK_PADDING_BYTES


def test_an_estimate_adds_up() -> None:
    architecture = model("SmolLM2-135M").architecture
    found = estimate(architecture=architecture, format="8DA4W-G32-E8", runtime="executorch")
    assert found.format == "8da4w-g32-e8"
    assert found.file.tokenizer is None
    assert found.memory.kv_cache_bytes == 2 * 30 * 2048 * 192 * 4
    assert any("tied table is stored twice" in note for note in found.assumptions)
    largest = max(t.num_bytes for t in activations(architecture, 512, 1))
    assert found.memory.compute_bytes > largest == 511 * 1536 * 4


@settings(max_examples=20)
@given(architectures(max_layers=3), st.integers(1, 600), st.booleans())
def test_plans_of_halves_hold_what_lives_at_once(
    architecture: Architecture, tokens: int, normed: bool
) -> None:
    a = replace(architecture, qk_norm=normed, qkv_bias=not normed)
    tensors = activations_of_halves(a, tokens)
    steps = range(max(t.last for t in tensors) + 1)
    at_once = max(sum(t.num_bytes for t in tensors if t.first <= step <= t.last) for step in steps)
    assert all(0 <= t.first <= t.last for t in tensors)
    assert at_once <= greedy_bytes(tensors)


def test_qwen_3_is_sized() -> None:
    """Tables of 128 cosines and sines a position; a second table for the head; norms in 32 bits."""
    a = model("Qwen3-0.6B").architecture
    assert executorch.rotary_bytes(a, 1) == 2 * 128 * 4
    assert executorch.rotary_bytes(model("SmolLM2-135M").architecture, 1) == 2 * 32 * 4
    stored = ExecuTorch().store(a, "8da4w-g32-e8")
    matrices, table = 440_401_920 + 155_582_464, 155_582_464
    expected = matrices // 2 + matrices // 32 * 2 + table + 151_936 * 4 + 65_536 * 4
    assert sum(t.num_bytes for t in stored) == expected
    file = ExecuTorch().file_bytes(a, stored)
    assert 0 < file.total - expected - executorch.rotary_bytes(a, 2048) < 1_000_000
