"""Formats outside llama.cpp: bytes against files and arrays that other tools wrote, and published files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.errors import InvalidQuantity, UnknownName
from sizer.families.hf_config import architecture_from_config
from sizer.formats import aqlm, bitnetcpp, bitsandbytes, gptq, hqq, mlc, mlx, onnx, safetensors, torchao
from sizer.formats.recipe import Recipe, canonical_name, for_bits
from sizer.formats.stored import stored_groups
from sizer.registry import model
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.tensors import Access, Role, TensorSpec, tensor_specs
from tests.strategies import architectures, as_llama

_ORACLE = Path(__file__).parent / "data" / "oracle_formats.jsonl"
_ROWS = [json.loads(line) for line in _ORACLE.read_text(encoding="utf-8").splitlines()]
_RECIPES: dict[str, dict[str, Recipe]] = {
    "mlx-lm": dict(mlx.RECIPES),
    "bitsandbytes": dict(bitsandbytes.RECIPES),
    "onnxruntime": {**onnx.RECIPES, **onnx.UNLISTED},
    "torchao": dict(torchao.RECIPES),
}


def _matrix(rows: int, columns: int) -> TensorSpec:
    return TensorSpec(name="w.weight", shape=(rows, columns), role=Role.UP, layer=0, access=Access.MATMUL)


def _rows(tool: str) -> list[Any]:
    return [
        pytest.param(row, id=f"{row['format']} {row.get('shape') or row['config']['hidden_size']}")
        for row in _ROWS
        if row["tool"].startswith(tool)
    ]


@pytest.mark.parametrize("row", _rows("mlx-lm"))
def test_mlx_files_are_those_that_mlx_lm_writes(row: dict[str, Any]) -> None:
    stored = mlx.RECIPES[row["format"]].assign(architecture_from_config(row["config"]))
    file = safetensors.file_bytes(stored, "mlx", multiple=1)
    assert file.tensor_bytes == row["tensor_bytes"]
    # MLX orders the data as its hash map falls, which changes the digits of the offsets
    assert file.total == pytest.approx(row["file_bytes"], abs=3 * len(stored) * 2)


@pytest.mark.parametrize("row", _rows("bitsandbytes") + _rows("onnxruntime") + _rows("torchao"))
def test_a_matrix_takes_the_bytes_that_its_own_tool_gives_it(row: dict[str, Any]) -> None:
    recipe = _RECIPES[row["tool"].split()[0]][row["format"]]
    size = recipe.matrix.tensor_bytes(_matrix(*row["shape"]))
    # double quantization prints its offset in full, of up to 20 digits
    assert 0 <= size - row["tensor_bytes"] <= (20 if row["format"] == "nf4-dq" else 0)


def test_hand_worked_bytes_of_one_matrix() -> None:
    spec = _matrix(64, 256)  # 16,384 weights
    assert mlx.RECIPES["4bit"].matrix.tensor_bytes(spec) == 16_384 // 2 + 256 * (2 + 2)
    assert mlx.RECIPES["3bit-g32"].matrix.tensor_bytes(spec) == 16_384 * 3 // 8 + 512 * 4
    assert mlx.RECIPES["mxfp4"].matrix.tensor_bytes(spec) == 16_384 // 2 + 512
    # qweight, qzeros (64 outputs x 4 bits for each of 2 groups), scales, group of every input
    assert gptq.RECIPES["gptq-4bit-g128"].matrix.tensor_bytes(spec) == 8192 + 2 * 32 + 2 * 64 * 2 + 256 * 4
    assert gptq.RECIPES["awq-4bit-g128"].matrix.tensor_bytes(spec) == 8192 + 2 * 32 + 2 * 64 * 2
    assert mlc.RECIPES["q4f16_1"].matrix.tensor_bytes(spec) == 16_384 // 2 + 512 * 2
    assert mlc.RECIPES["q3f16_1"].matrix.tensor_bytes(_matrix(64, 400)) == 640 * (16 + 2)
    # of 16,384 weights in 64 rows: two codes of one byte for 8, two books of 256 entries of 8, a scale a row
    assert aqlm.RECIPES["aqlm-2x8-g8"].matrix.tensor_bytes(spec) == 16_384 // 8 * 2 + 2 * 256 * 8 * 2 + 64 * 2
    assert torchao.RECIPES["torchao-int4-g128"].matrix.tensor_bytes(spec) == 8192 + 128 * 4
    assert bitnetcpp.RECIPES["I2_S"].matrix.tensor_bytes(spec) == 16_384 // 4 + 32
    assert bitnetcpp.RECIPES["TL1"].matrix.tensor_bytes(spec) == 16_384 // 4 + 32
    # 256 weights of each row in fours for two; of the other 128, 32,768 in all, fives for three: 6,826 bytes
    assert bitnetcpp.RECIPES["TL2"].matrix.tensor_bytes(_matrix(256, 384)) == 23_264


# Bytes of HQQLinear(512 x 256).state_dict() of hqq 0.2.8 with float16; bfloat16's name is a letter longer.
HQQ_BYTES = {
    8: (139_332, 135_236, 133_188),
    4: (73_796, 69_700, 67_652),
    3: (60_740, 56_900, 55_364),
    2: (41_028, 36_932, 34_884),
    1: (24_644, 20_548, 18_500),
}


@pytest.mark.parametrize(("bits", "written"), HQQ_BYTES.items())
def test_hqq_layers_are_those_that_hqq_writes(bits: int, written: tuple[int, ...]) -> None:
    spec = _matrix(512, 256)
    for group, num_bytes in zip((64, 128, 0), written, strict=True):
        assert hqq.recipe(bits, group).matrix.tensor_bytes(spec) == num_bytes + len("b")


@pytest.mark.parametrize(
    ("name", "published"),
    [("Qwen3-0.6B", 335_450_584), ("Qwen3-1.7B", 968_080_210), ("Qwen3-4B", 2_263_022_529)],
)
def test_published_mlx_files(name: str, published: int) -> None:
    """github john-rocky/edge-llm-bench models/artifact-bytes.json."""
    stored = mlx.RECIPES["4bit"].assign(model(name).architecture)
    assert safetensors.file_bytes(stored, "mlx", multiple=1).total == pytest.approx(published, abs=500)


def test_published_gptq_size() -> None:
    """1.16 GB on disk, four bits in groups of 128 (model card Mohaaxa/qwen2.5-1.5b-gptq-4bit)."""
    engine, found = runtime("transformers"), model("Qwen2-1.5B").architecture  # of Qwen2.5-1.5B's shape
    file = engine.file_bytes(found, engine.store(found, "gptq-4bit-g128"))
    assert file.total / 1e9 == pytest.approx(1.16, rel=0.01)


def test_published_bitnet_file() -> None:
    """bitnet-b1.58-2B-4T's I2_S file of 1187801280 bytes; its tokenizer keeps a score for each token."""
    engine, found = runtime("bitnet.cpp"), model("bitnet-b1.58-2B-4T").architecture
    file = engine.file_bytes(found, engine.store(found, "I2_S"))
    assert file.total + 4 * found.vocab_size == pytest.approx(1_187_801_280, abs=10_000)


@pytest.mark.parametrize(("format", "megabytes"), [("fp32", 654), ("fp16", 327), ("q4", 200), ("q4f16", 134)])
def test_published_onnx_files_of_smollm2(format: str, megabytes: int) -> None:
    """Sizes that huggingface.co lists for HuggingFaceTB/SmolLM2-135M-Instruct/onnx, in whole MB."""
    engine, found = runtime("transformers.js"), model("SmolLM2-135M").architecture
    file = engine.file_bytes(found, engine.store(found, format))
    assert file.total / 1e6 == pytest.approx(megabytes, abs=1)


@given(architectures(max_layers=4), st.data())
def test_every_format_of_every_runtime_stores_every_tensor(architecture: Any, data: st.DataObject) -> None:
    engine = runtime(data.draw(st.sampled_from(RUNTIME_NAMES)))
    name = data.draw(st.sampled_from(engine.formats))
    if engine.name == "executorch":  # other shapes are refused
        architecture = as_llama(architecture)
    stored = engine.store(architecture, name)
    kept = {spec.name for spec in tensor_specs(engine.as_stored(architecture))}
    assert {t.spec.name for t in stored} - kept <= {"lm_head.weight"}
    assert kept <= {t.spec.name for t in stored}
    assert all(t.num_bytes > 0 for t in stored)
    assert all(t.type.fits(t.spec.row_length) for t in stored)
    file = engine.file_bytes(architecture, stored)
    assert file.total >= sum(t.num_bytes for t in stored)


@given(architectures(max_layers=3))
def test_a_format_of_more_bits_takes_more_bytes(architecture: Any) -> None:
    sizes = [sum(t.num_bytes for t in mlx.RECIPES[f"{b}bit"].assign(architecture)) for b in (2, 3, 4, 6, 8)]
    assert sizes == sorted(sizes)


def test_a_tied_table_is_stored_twice_only_where_the_engine_does() -> None:
    found = model("SmolLM2-135M").architecture
    assert found.tie_embeddings
    assert sum(t.spec.role is Role.OUTPUT for t in onnx.RECIPES["q4"].assign(found)) == 1
    assert sum(t.spec.role is Role.OUTPUT for t in mlx.RECIPES["4bit"].assign(found)) == 0


def test_names_ignore_case_and_unknown_ones_list_what_is_known() -> None:
    assert canonical_name("web-llm", mlc.RECIPES, "Q4F16_1") == "q4f16_1"
    with pytest.raises(UnknownName, match="unknown mlx format '4bits'; did you mean 4bit"):
        canonical_name("mlx", mlx.RECIPES, "4bits")
    with pytest.raises(
        InvalidQuantity, match="bits: mlx has no customary format for 7 bits; accepted: 2, 3, 4"
    ):
        for_bits("mlx", {2.0: "2bit", 3.0: "3bit", 4.0: "4bit"}, 7)


@pytest.mark.parametrize("name", RUNTIME_NAMES)
def test_every_customary_format_exists(name: str) -> None:
    engine = runtime(name)
    for bits in (1.58, 2, 3, 4, 5, 6, 8, 16, 32):
        try:
            chosen = engine.format_for_bits(bits)
        except InvalidQuantity:
            continue
        assert chosen in engine.formats


@pytest.mark.parametrize("engine", ["mlx", "transformers"])
@pytest.mark.parametrize("name", ["SmolLM2-135M", "LFM2-350M", "gemma-3n-E2B-text", "DeepSeek-V2-Lite"])
def test_groups_of_alike_layers_are_stored_as_each_layer_is(engine: str, name: str) -> None:
    known = runtime(engine)
    stored = known.store(model(name).architecture, known.format_for_bits(4.0))
    grouped = [(t.spec.role, t.spec.shape, t.num_bytes) for t, some in stored_groups(stored) for _ in some]
    listed = [(t.spec.role, t.spec.shape, t.num_bytes) for t in stored]
    assert sorted(grouped) == sorted(listed)
    assert len(stored) == len(listed)
