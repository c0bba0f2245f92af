"""Training lengths that models are compared at: the usual two, or the one asked for."""

from __future__ import annotations

from dataclasses import replace

from sizer.model_estimate import Estimate, estimate
from sizer.quality.lengths import best_first, compared_qualities, qualities
from sizer.quality.prediction import estimated_quality
from sizer.registry import model


def _sized(name: str) -> Estimate:
    return estimate(architecture=model(name).architecture, format="Q4_K_M", runtime="llama.cpp")


def test_without_a_length_twenty_a_weight_and_one_trillion() -> None:
    sized = _sized("SmolLM2-135M")
    short, long = qualities(sized, None, corpus="fineweb-edu")
    assert (short.tokens, long.tokens) == (20 * sized.parameters.total, 10**12)
    assert short.accuracy < long.accuracy
    assert qualities(sized, "300B") == (estimated_quality(sized, "300B"),)


def test_the_best_after_the_longest_training_comes_first_and_encoders_last() -> None:
    encoder = estimate(
        architecture=replace(model("SmolLM2-135M").architecture, model_type="bert"),
        format="Q8_0",
        runtime="llama.cpp",
    )
    found = compared_qualities([encoder, _sized("SmolLM2-135M"), _sized("Qwen3-0.6B")], None)
    assert found[0] is None
    assert best_first(found) == [2, 1, 0]
