"""Models of experts score in llama.cpp and transformers' Mixtral as the decoder scored them."""

from __future__ import annotations

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
from search.training.experts import BALANCE_WEIGHT
from sizer.architecture import Architecture, SharingStrategy
from sizer.errors import InvalidArchitecture
from tests.search.export.conftest import MakeStudy, tiny
from tests.search.export.engines import check_llama_cpp, check_transformers

pytest.importorskip("xllamacpp")


def mixed(experts: int = 4, used: int = 2, **shape: Any) -> Architecture:
    """A tiny decoder whose tokens use some of their layer's experts."""
    plain = tiny(**{"ffn": 64, **shape})
    return replace(plain, num_experts=experts, num_experts_per_tok=used)


@pytest.mark.parametrize(
    "model",
    [
        mixed(),
        mixed(8, 3, layers=3, heads=1, width=32, tied=False),
        mixed(3, 2, sharing=SharingStrategy.REVERSE),
    ],
    ids=["2 of 4", "3 of 8, one head", "2 of 3, shared"],
)
def test_llama_cpp_scores_as_the_decoder(
    make_study: MakeStudy, storage: str, tmp_path: Path, model: Architecture
) -> None:
    make_study(model, "Q8_0", steps=40)
    check_llama_cpp(model, storage, tmp_path, "llama")


@pytest.mark.parametrize("sharing", [SharingStrategy.NONE, SharingStrategy.MIDDLE])
def test_transformers_has_the_logits_too(
    make_study: MakeStudy, storage: str, tmp_path: Path, sharing: SharingStrategy
) -> None:
    make_study(mixed(layers=4, sharing=sharing))
    found = load_finalist("s", 0, storage)
    model = check_transformers(found, storage, tmp_path / "hf", "MixtralForCausalLM")
    assert model.config.router_aux_loss_coef == BALANCE_WEIGHT


def test_what_has_no_experts_refuses_in_one_line(make_study: MakeStudy, storage: str, tmp_path: Path) -> None:
    make_study(mixed(), steps=2)
    found = load_finalist("s", 0, storage)
    accepted = "has 4 experts, which this target's Llama has not; accepted: --to gguf or hf"
    with pytest.raises(InvalidArchitecture, match=accepted):
        export_executorch(found, tmp_path / "model.pte")
    with pytest.raises(InvalidArchitecture, match=accepted):
        write_recipe(found.architecture, tmp_path / "plan", tokens=1_000_000)
    with pytest.raises(InvalidArchitecture, match="has dense_layers; accepted: the blocks of Llama"):
        check_layout(replace(mixed(), dense_layers=(0,)), experts=True)
    with pytest.raises(InvalidArchitecture, match="has layer_intermediate_sizes; accepted"):
        check_layout(replace(mixed(), layer_intermediate_sizes=(32, 64)), ffn_by_layer=True, experts=True)


def test_a_file_of_experts_is_verified(make_study: MakeStudy, storage: str, tmp_path: Path) -> None:
    make_study(mixed(), "F32", steps=12)
    path = export_gguf(load_finalist("s", 0, storage), tmp_path / "model.gguf").path
    rows = {row.quantity: row for row in verify_file(path).rows}
    assert {"file_bytes", "tensor_bytes", "val_bits_per_byte", "memory_bytes"} <= set(rows)
    assert all(row.agrees for row in rows.values() if row.agrees is not None), rows
