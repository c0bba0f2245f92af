"""What an estimate says of a model after its training: published models, corpora, anchors, formats."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sizer.errors import InvalidArchitecture, InvalidQuantity, UnknownName
from sizer.quality.prediction import block_bits, predict, trained_shape
from sizer.registry import model
from sizer.request import EstimateRequest

# Averages of eight tasks, MobileLLM (arXiv 2402.14905, table 3), all at 1T tokens.
_MOBILELLM = {"MobileLLM-350M": 51.3, "MobileLLM-600M": 54.3, "MobileLLM-1B": 57.3, "MobileLLM-1.5B": 59.4}


def test_a_shape_as_the_law_sees_it() -> None:
    a = model("MobileLLM-125M").architecture
    row = trained_shape(a, 1e12)
    # 30 layers of 576: attention 2 x 576 x (9 + 3) x 64, FFN 3 x 576 x 1536, two norms; a last norm
    attention, ffn = 2 * 576 * (9 + 3) * 64, 3 * 576 * 1536
    assert row.weights[0] == 30 * (attention + ffn + 2 * 576) + 576
    assert row.ffn_ratio[0] == pytest.approx(ffn / attention)
    assert (row.aspect[0], row.head_dim[0], row.repeat[0]) == (576 / 30, 64, 1)
    assert trained_shape(model("MobileLLM-LS-125M").architecture, 1e12).repeat[0] == 2


@pytest.mark.parametrize("name", sorted(_MOBILELLM))
def test_larger_models_from_the_smallest_of_the_family(name: str) -> None:
    found = predict(
        trained_shape(model(name).architecture, 1e12), bits_per_weight=16, anchor="MobileLLM-125M@1T=46.3"
    )
    assert found.accuracy == pytest.approx(_MOBILELLM[name], abs=1.6)
    assert found.low <= _MOBILELLM[name] <= found.high


def test_without_corpus_or_anchor_the_range_is_as_wide_as_families_differ() -> None:
    shape = trained_shape(model("MobileLLM-600M").architecture, 1e12)
    alone = predict(shape, bits_per_weight=16)
    named = predict(shape, bits_per_weight=16, corpus="fineweb-edu")
    assert 3 < (alone.high - alone.low) / 2 < 4.6
    assert alone.low <= 54.3 <= alone.high
    assert "families" in alone.basis
    assert named.high - named.low < alone.high - alone.low
    assert named.loss_nats == alone.loss_nats


def test_longer_training_and_more_bits_help() -> None:
    shape = model("SmolLM2-135M").architecture
    short, long = (predict(trained_shape(shape, t), bits_per_weight=16) for t in (2e10, 2e12))
    assert long.loss_nats < short.loss_nats
    assert long.accuracy > short.accuracy
    longest = trained_shape(shape, 2e12)
    three, four, full = (predict(longest, bits_per_weight=b) for b in (3, 4, 16))
    assert three.bits_cost_points > four.bits_cost_points > full.bits_cost_points == 0
    assert three.accuracy < four.accuracy < full.accuracy


def test_few_bits_are_trained_where_a_format_holds_three_levels() -> None:
    """TQ2_0 and I2_S hold -1, 0 and 1; IQ2_XXS, of as many bits, is rounded after training."""

    def lost(format: str, runtime: str = "llama.cpp") -> float:
        found = EstimateRequest(model="Qwen3-0.6B", format=format, runtime=runtime, tokens="1T").run().quality
        assert found is not None
        return found.bits_cost_points

    assert lost("TQ2_0") == lost("TQ1_0") == lost("I2_S", "bitnet.cpp") == pytest.approx(2.3)
    assert lost("IQ2_XXS") > lost("Q3_K_M") > lost("Q4_0") > lost("Q8_0")


def test_bits_are_those_of_the_layers() -> None:
    """Q4_0 holds 4.5 bits a weight in the layers, whatever type the table is stored in."""
    sized = EstimateRequest(model="SmolLM2-135M", format="Q4_0").run().estimate
    assert block_bits(sized) == pytest.approx(4.5, abs=0.05)
    assert sized.bits_per_weight is not None
    assert sized.bits_per_weight > 4.8


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"tokens": "1T", "corpus": "mine"}, UnknownName, "unknown corpus 'mine'"),
        ({"tokens": "1T", "anchor": "46.3"}, InvalidQuantity, "anchor: cannot read '46.3'; accepted: MODEL="),
        ({"tokens": "1T", "anchor": "SmolLM2-135M=463"}, InvalidQuantity, "anchor: cannot read"),
        ({"tokens": "1T", "anchor": "nobody=46"}, UnknownName, "unknown model 'nobody'"),
        (
            {"tokens": "1T", "model": "distilbert"},
            InvalidArchitecture,
            "tokens: distilbert-base-uncased is an encoder (distilbert)",
        ),
        (
            {"tokens": "1T", "anchor": "distilbert=40"},
            InvalidArchitecture,
            "tokens: distilbert is an encoder",
        ),
        ({"tokens": "10"}, InvalidQuantity, "tokens: must be 1M to 1000T training tokens, got 10"),
        ({"tokens": "many"}, InvalidQuantity, "tokens: cannot read 'many'"),
        ({"corpus": "pile"}, InvalidQuantity, "corpus: is about training; give tokens with it"),
        ({"anchor": "SmolLM2-135M=46"}, InvalidQuantity, "anchor: is about training"),
    ],
)
def test_bad_input(given: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        EstimateRequest(**{"model": "SmolLM2-135M"} | given).run()
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mamba-130m", "LFM2-350M", "Mixtral-8x7B-v0.1", "OpenELM-450M", "gpt2"])
def test_layers_of_other_kinds(name: str) -> None:
    """State space, convolutions, experts, layers that differ: a loss and a range, without terms not known."""
    row = trained_shape(model(name).architecture, 1e12)
    found = predict(row, bits_per_weight=16)
    assert 1.5 < found.loss_nats < 3.5
    assert found.low < found.accuracy < found.high
    if name.startswith("mamba"):
        assert np.isnan(row.head_dim[0])


def test_a_batch_line_has_the_same_keys() -> None:
    line = {"model": "MobileLLM-125M", "tokens": 1e12, "corpus": "Pile", "anchor": "Pythia-410M=46.6"}
    document = json.loads(json.dumps(EstimateRequest.from_json(line).run().to_dict()))["quality"]
    assert set(document) == {
        "tokens",
        "corpus",
        "loss_nats",
        "accuracy_8",
        "bits_cost_points",
        "basis",
        "tasks",
    }
    assert set(document["accuracy_8"]) == {"value", "low", "high"}
    assert document["tokens"] == 10**12
    assert "quality" not in EstimateRequest.from_json({"model": "MobileLLM-125M"}).run().to_dict()
    with pytest.raises(InvalidQuantity, match="tokens: must be text"):
        EstimateRequest.from_json(line | {"tokens": 1.5})


def test_a_known_family_need_not_be_in_the_catalogue() -> None:
    found = EstimateRequest(model="opt-1.3b", format="F16", tokens="180B", anchor="OPT-125M=42.6").run()
    assert found.quality is not None
    assert found.quality.accuracy == pytest.approx(52.3, abs=2.5)
