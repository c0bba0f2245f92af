"""Models of experts score in llama.cpp and transformers' Mixtral as the decoder scored them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search.export.executorch import export_executorch
from search.export.export import export_gguf, export_huggingface
from search.export.finalist import TrainedFinalist, load_finalist
from search.export.layout import check_layout
from search.export.llamacpp_scores import validation_bits_per_byte
from search.export.recipe import write_recipe
from search.export.verify import EXACT_SCORE_TOLERANCE, SCORE_TOLERANCE, verify_file
from search.run.places import corpus_of
from search.store.study import load_result
from search.text.corpus import ValidationChunks
from search.training.decoder import Decoder
from search.training.experts import BALANCE_WEIGHT
from sizer.architecture import Architecture, SharingStrategy
from sizer.errors import InvalidArchitecture
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_header import read_gguf
from sizer.tensors import count_parameters, tensor_specs
from tests.search.export.conftest import MakeStudy, tiny

pytest.importorskip("xllamacpp")


def mixed(experts: int = 4, used: int = 2, **shape: object) -> Architecture:
    """A tiny decoder whose tokens use some of their layer's experts."""
    plain = tiny(**{"ffn": 64, **shape})  # type: ignore[arg-type]
    return replace(plain, num_experts=experts, num_experts_per_tok=used)


def chunks_of(storage: str) -> ValidationChunks:
    """The study's validation text."""
    config = load_result("s", storage).config
    assert config is not None
    return corpus_of(config, storage)().first.val_chunks(64, 64)


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
    done = export_gguf(load_finalist("s", 0, storage), tmp_path / "model.gguf")
    (record,) = load_result("s", storage).records
    assert done.file_bytes == done.predicted_bytes == record.file_bytes == done.path.stat().st_size
    header = read_gguf(done.path)
    assert header.architecture_name == "llama"
    assert architecture_from_gguf(header) == replace(model.unrolled(), max_position_embeddings=64)
    score = validation_bits_per_byte(done.path, chunks_of(storage))
    assert score == pytest.approx(done.bits_per_byte, abs=2 * SCORE_TOLERANCE)
    exact = export_gguf(load_finalist("s", 0, storage, format_name="F32"), tmp_path / "exact.gguf")
    score = validation_bits_per_byte(exact.path, chunks_of(storage))
    assert score == pytest.approx(exact.bits_per_byte, abs=EXACT_SCORE_TOLERANCE)


def decoder_of(found: TrainedFinalist) -> Decoder:
    """The finalist as a module."""
    decoder = Decoder(found.architecture)
    decoder.load_state_dict(dict(found.weights))
    return decoder


@pytest.mark.parametrize("sharing", [SharingStrategy.NONE, SharingStrategy.MIDDLE])
def test_transformers_has_the_logits_too(
    make_study: MakeStudy, storage: str, tmp_path: Path, sharing: SharingStrategy
) -> None:
    transformers = pytest.importorskip("transformers")
    make_study(mixed(layers=4, sharing=sharing))
    found = load_finalist("s", 0, storage)
    done = export_huggingface(found, tmp_path / "hf")
    assert done.file_bytes == done.predicted_bytes
    model = transformers.AutoModelForCausalLM.from_pretrained(done.path)
    assert type(model).__name__ == "MixtralForCausalLM"
    assert model.config.num_hidden_layers == found.architecture.executed_layers
    assert model.config.router_aux_loss_coef == BALANCE_WEIGHT
    assert (
        sum(p.numel() for p in model.parameters())
        == count_parameters(tensor_specs(found.architecture.unrolled())).total
    )
    tokens = chunks_of(storage).windows[:, :-1]
    with torch.no_grad():
        difference = (model(tokens).logits - decoder_of(found)(tokens)).abs().max().item()
    assert difference <= 2e-5


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
