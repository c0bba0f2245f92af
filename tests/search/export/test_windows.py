"""Models with sliding windows score in llama.cpp and transformers as the decoder scored them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search.export.executorch import export_executorch
from search.export.export import export_gguf
from search.export.finalist import TrainedFinalist, load_finalist
from search.export.layout import check_layout
from search.export.llamacpp_scores import ask
from search.export.recipe import write_recipe
from search.training.decoder import Decoder
from sizer.architecture import Architecture, SharingStrategy
from sizer.errors import InvalidArchitecture
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_header import read_gguf
from tests.search.export.conftest import MakeStudy, tiny
from tests.search.export.engines import check_llama_cpp, check_transformers, chunks_of, decoder_of

pytest.importorskip("xllamacpp")


def windowed(window: int = 8, sliding: tuple[int, ...] = (0,), **shape: Any) -> Architecture:
    """A tiny decoder whose first layer looks back on a few positions."""
    plain = tiny(**shape)
    return replace(plain, attention_sinks=True, sliding_window=window, sliding_layers=sliding)


@pytest.mark.parametrize(
    "model",
    [
        windowed(),
        windowed(layers=3, sliding=(0, 1), heads=1, width=32, tied=False),
        windowed(sharing=SharingStrategy.REVERSE),
    ],
    ids=["one", "two, one head", "shared"],
)
def test_llama_cpp_scores_as_the_decoder(
    make_study: MakeStudy, storage: str, tmp_path: Path, model: Architecture
) -> None:
    make_study(model, "Q8_0", steps=40)
    check_llama_cpp(model, storage, tmp_path, "granite_swa")


def with_strong_sinks(found: TrainedFinalist) -> TrainedFinalist:
    """The model with sinks that take a large share of every head's attention, another of each."""
    weights = {
        name: torch.linspace(1.0, 3.0, tensor.numel()) if name.endswith(".sinks") else tensor
        for name, tensor in found.weights.items()
    }
    return replace(found, weights=weights)


def test_llama_cpp_has_the_logits_of_windows_and_sinks(
    make_study: MakeStudy, storage: str, tmp_path: Path
) -> None:
    make_study(windowed(layers=3, sliding=(0, 1)), "Q8_0", steps=40)
    found = with_strong_sinks(load_finalist("s", 0, storage, format_name="F32"))
    path = export_gguf(found, tmp_path / "model.gguf").path
    windows = chunks_of(storage).windows[:8]
    answers = torch.tensor(ask(path, "windows", windows.tolist(), context_tokens=256))

    def difference(model: Decoder) -> float:
        with torch.no_grad():
            logits = model(windows[:, :-1]).log_softmax(-1)
        return float((answers - logits.gather(-1, windows[:, 1:].unsqueeze(-1)).squeeze(-1)).abs().max())

    weak = decoder_of(load_finalist("s", 0, storage, format_name="F32"))
    wider = decoder_of(found)
    for layer in wider.model.layers[:2]:
        layer.self_attn.window = 9  # type: ignore[union-attr]
    assert difference(decoder_of(found)) < 2e-3  # keys and values are cached in half floats
    assert difference(weak) > 0.1
    assert difference(wider) > 0.05


@pytest.mark.parametrize("sharing", [SharingStrategy.NONE, SharingStrategy.MIDDLE])
def test_transformers_has_the_logits_too(
    make_study: MakeStudy, storage: str, tmp_path: Path, sharing: SharingStrategy
) -> None:
    make_study(windowed(layers=4, sliding=(0, 1, 2), sharing=sharing))
    found = with_strong_sinks(load_finalist("s", 0, storage))
    check_transformers(found, storage, tmp_path / "hf", "GraniteSWAForCausalLM")


def test_what_has_no_windows_refuses_in_one_line(make_study: MakeStudy, storage: str) -> None:
    make_study(windowed(), steps=2)
    found = load_finalist("s", 0, storage)
    with pytest.raises(InvalidArchitecture, match="has sliding windows, .*: --to gguf, hf or recipe"):
        export_executorch(found, Path("model.pte"))
    with pytest.raises(InvalidArchitecture, match="has sliding_layers; accepted: the blocks of Llama"):
        check_layout(replace(tiny(), sliding_window=4, sliding_layers=(0,)))
    with pytest.raises(InvalidArchitecture, match="has attention_sinks; accepted: the blocks of Llama"):
        check_layout(replace(tiny(), attention_sinks=True))


def test_a_training_plan_is_granites(tmp_path: Path) -> None:
    made = write_recipe(windowed(), tmp_path / "plan", tokens=1_000_000)
    config = json.loads((made.path / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "granite_swa"
    assert config["layer_types"] == ["sliding_attention", "full_attention"]
    assert config["attention_multiplier"] == 32**-0.5
    assert not (made.path / "litgpt.yaml").exists()
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(made.path))
    plan = json.loads((made.path / "plan.json").read_text(encoding="utf-8"))
    assert set(plan["tensors"]) == {name for name, _ in model.named_parameters()}


def test_a_file_with_a_broken_pattern_names_its_key(
    make_study: MakeStudy, storage: str, tmp_path: Path
) -> None:
    make_study(windowed(), steps=2)
    found = load_finalist("s", 0, storage)
    path = export_gguf(found, tmp_path / "model.gguf").path
    header = read_gguf(path)
    key = "granite_swa.attention.sliding_window_pattern"
    broken = replace(header, metadata={**header.metadata, key: (True,)})
    with pytest.raises(InvalidArchitecture, match=rf"{key}: .*accepted: true or false for 2 layers"):
        architecture_from_gguf(broken)
