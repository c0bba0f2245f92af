"""GGUF file bytes against published files, and against a file written by the gguf package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sizer.formats import gguf
from sizer.formats.gguf_layout import unknown_layout
from sizer.registry import model, models
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.tensor_spec import bias_of
from sizer.tensors import Role, tensor_specs
from tests.published_facts import csv_rows

CATALOGUE = {name.lower() for name, row in models().items() if not unknown_layout(row.architecture)}


def _published() -> list[dict[str, str]]:
    return [
        row
        for row in csv_rows("gguf_sizes.csv")
        if row["file_bytes"] and row["config_model"].rsplit("/", 1)[-1].lower() in CATALOGUE
    ]


@pytest.mark.parametrize("row", _published(), ids=[f"{r['model']}-{r['quant']}" for r in _published()])
def test_published_file_sizes(row: dict[str, str]) -> None:
    architecture = model(row["config_model"]).architecture
    if row["head_stored"] == "separate":
        architecture = replace(architecture, tie_embeddings=False)
    engine = LlamaCpp()
    file = engine.file_bytes(architecture, engine.store(architecture, row["quant"]))
    if row["tensor_bytes"] and not row["note"].startswith("n_params includes"):
        assert file.tensor_bytes == int(row["tensor_bytes"])
    # the rest is metadata and tokenizer, which publishers vary by some hundred bytes
    assert file.total == pytest.approx(int(row["file_bytes"]), rel=1e-4)


def test_there_are_published_files_to_compare() -> None:
    assert len(_published()) >= 10


def test_the_directory_and_padding_are_what_the_gguf_package_writes(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    writer_module = pytest.importorskip("gguf")
    architecture = replace(model("SmolLM2-135M").architecture, num_layers=2, vocab_size=64, hidden_size=36)
    stored = LlamaCpp().store(architecture, "F16")
    path = tmp_path / "tiny.gguf"
    writer = writer_module.GGUFWriter(str(path), "llama")
    for tensor in stored:
        kind = np.float32 if tensor.type.name == "F32" else np.float16
        writer.add_tensor(gguf.gguf_name(tensor.spec), np.zeros(tensor.spec.shape, dtype=kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    # the one metadata pair the package always writes: key, type, text
    key, text = b"general.architecture", b"llama"
    metadata = 8 + len(key) + 4 + 8 + len(text)
    specs = [t.spec for t in stored]
    header = gguf.FIXED_HEADER_BYTES + metadata + gguf.directory_bytes(specs)
    file = gguf.file_bytes(64, stored)
    # five norms of 36 floats are 144 bytes each, 16 short of a multiple of 32; the matrices need none
    assert file.padding_bytes == 5 * 16
    data = file.tensor_bytes + file.padding_bytes
    assert path.stat().st_size == header + -header % gguf.ALIGNMENT + data


def test_names_and_directory_worked_by_hand() -> None:
    spec = next(s for s in tensor_specs(model("MobileLLM-125M").architecture) if s.role is Role.QUERY)
    assert gguf.gguf_name(spec) == "blk.0.attn_q.weight"
    # 8 + 19 letters, 4 + two dimensions of 8, type 4, offset 8
    assert gguf.directory_bytes([spec]) == 8 + 19 + 4 + 16 + 4 + 8 == 59


def test_an_unknown_vocabulary_is_estimated_in_proportion_with_a_range() -> None:
    known = gguf.tokenizer_bytes(49152)
    assert (known.name, known.value) == ("SmolLM", 1_769_771)
    guess = gguf.tokenizer_bytes(10_000)
    assert guess.name == "unknown tokenizer"
    assert 200_000 < guess.low < guess.value < guess.high < 700_000


def test_parts_sum_to_the_file() -> None:
    architecture = model("MobileLLM-125M").architecture
    engine = LlamaCpp()
    file = engine.file_bytes(architecture, engine.store(architecture, "Q4_K_M"))
    parts = file.tensor_bytes + file.padding_bytes + file.directory_bytes + file.tokenizer_bytes
    assert file.total == parts


def test_biases_have_their_own_names() -> None:
    spec = bias_of(Role.KEY, "model.layers.7.self_attn.k_proj", 128, 7)
    assert gguf.gguf_name(spec) == "blk.7.attn_k.bias"


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # file sizes pinned in public Android catalogues, Q4_K_M
        ("gemma-3-270m", 253_115_424),
        ("gemma-3-1b", 806_058_272),
        ("SmolLM3-3B", 1_915_305_312),
        ("Llama-3.2-3B", 2_019_377_696),
        ("Qwen3-4B", 2_497_280_256),
        ("granite-3.3-2b", 1_545_303_328),
    ],
)
def test_the_range_holds_files_of_a_known_tokenizer(name: str, published: int) -> None:
    a = model(name).architecture
    engine = LlamaCpp()
    file = engine.file_bytes(a, engine.store(a, "Q4_K_M"))
    assert file.low <= published <= file.high
    assert file.total == pytest.approx(published, rel=2e-4)
