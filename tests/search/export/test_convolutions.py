"""Models with short convolutions score in llama.cpp and transformers as the decoder scored them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.export.executorch import export_executorch
from search.export.export import export_gguf
from search.export.finalist import load_finalist
from search.export.layout import check_layout
from search.export.recipe import write_recipe
from search.export.verify import verify_file
from search.store.study import load_result
from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_header import read_gguf
from tests.search.export.conftest import MakeStudy, tiny
from tests.search.export.engines import check_transformers

pytest.importorskip("xllamacpp")


def convolved(convolutions: tuple[int, ...] = (0,), kernel: int = 3, **shape: Any) -> Architecture:
    """A tiny decoder whose first layers have convolutions, and norms of query and key in the others."""
    plain = tiny(**shape)
    return replace(plain, qk_norm=True, conv_layers=convolutions, conv_kernel=kernel)


@pytest.mark.parametrize(
    ("model", "format_name"),
    [(convolved(), "F32"), (convolved((0, 2), kernel=4, layers=4, heads=1, width=32, tied=False), "Q8_0")],
    ids=["one of two", "two of four"],
)
def test_llama_cpp_scores_as_the_decoder(
    make_study: MakeStudy, storage: str, tmp_path: Path, model: Architecture, format_name: str
) -> None:
    make_study(model, format_name, steps=40)
    done = export_gguf(load_finalist("s", 0, storage), tmp_path / "model.gguf")
    (record,) = load_result("s", storage).records
    assert done.file_bytes == done.predicted_bytes == record.file_bytes == done.path.stat().st_size
    header = read_gguf(done.path)
    assert header.architecture_name == "lfm2"
    assert architecture_from_gguf(header) == replace(model, max_position_embeddings=64)
    rows = {row.quantity: row for row in verify_file(done.path).rows}
    score = rows["val_bits_per_byte"]  # within 2e-5 in F32, in Q8_0 within 5e-4
    assert score.predicted == done.bits_per_byte
    assert [quantity for quantity, row in rows.items() if row.agrees is False] == []
    assert score.agrees
    assert rows["memory_bytes"].agrees


def test_transformers_has_the_logits_too(make_study: MakeStudy, storage: str, tmp_path: Path) -> None:
    make_study(convolved((0, 1, 2), layers=4), steps=40)
    found = load_finalist("s", 0, storage)
    check_transformers(found, storage, tmp_path / "hf", "Lfm2ForCausalLM")


def test_what_has_no_convolutions_refuses_in_one_line(make_study: MakeStudy, storage: str) -> None:
    make_study(convolved(), steps=2)
    found = load_finalist("s", 0, storage)
    with pytest.raises(InvalidArchitecture, match="has short convolutions, .*: --to gguf, hf or recipe"):
        export_executorch(found, Path("model.pte"))
    with pytest.raises(InvalidArchitecture, match="has conv_layers; accepted: the blocks of Llama"):
        check_layout(replace(tiny(), conv_layers=(0,)))
    grown = replace(convolved(), layer_intermediate_sizes=(64, 128))
    with pytest.raises(InvalidArchitecture, match="layer_intermediate_sizes; accepted: the blocks of Llama"):
        check_layout(grown, ffn_by_layer=True)


def test_a_training_plan_is_lfm2s(tmp_path: Path) -> None:
    made = write_recipe(convolved(), tmp_path / "plan", tokens=1_000_000)
    config = json.loads((made.path / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "lfm2"
    assert config["layer_types"] == ["conv", "full_attention"]
    assert not (made.path / "litgpt.yaml").exists()
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(made.path))
    plan = json.loads((made.path / "plan.json").read_text(encoding="utf-8"))
    assert set(plan["tensors"]) == {name for name, _ in model.named_parameters()}
    assert plan["tensors"]["model.layers.0.conv.conv.weight"]["deviation"] == pytest.approx(1 / 3)
