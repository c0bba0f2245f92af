"""Features of shapes: from architectures, from trials, and what a study lets into a law."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest
from hypothesis import given, settings

from search.quality import features as shapes
from search.quality.features import features_of, law_rows, stored_bits_per_weight, trial_features
from search.store.results import SearchResult, TrialStatus
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import InvalidQuantity
from sizer.tensors import count_parameters, tensor_specs
from tests.search.law_rows import features, row
from tests.search.records import TINY, proxy, record
from tests.strategies import any_architectures


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(shapes).failed == 0


def test_sharing_counts_runs_over_stored_layers() -> None:
    shared = replace(TINY, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=3))
    found = features_of(shared, bits_per_weight=8.5)
    assert (found.depth, found.sharing, found.bits_per_weight) == (6, 3, 8.5)
    assert found.parameters == features_of(TINY, bits_per_weight=8.5).parameters


def test_feed_forward_width_is_the_mean_where_layers_differ() -> None:
    varied = replace(TINY, layer_intermediate_sizes=(160, 96))
    assert features_of(varied, bits_per_weight=16).ffn_ratio == 2.0


@settings(max_examples=50, deadline=None)
@given(any_architectures())
def test_any_architecture_has_features(architecture: Architecture) -> None:
    found = features_of(architecture, bits_per_weight=4.5)
    assert found.parameters == count_parameters(tensor_specs(architecture)).total
    assert found.kv_ratio * architecture.num_heads == pytest.approx(architecture.num_kv_heads)


def test_bits_are_those_of_the_file() -> None:
    # matrices of 18 bytes for 32 weights, norms in F32
    specs = tensor_specs(replace(TINY, tie_embeddings=False))
    vectors = sum(s.num_elements for s in specs if len(s.shape) == 1)
    total = sum(s.num_elements for s in specs)
    head = sum(s.num_elements for s in specs if s.name == "lm_head.weight")
    expected = (4.5 * (total - vectors - head) + 8.5 * head + 32 * vectors) / total
    untied = replace(TINY, tie_embeddings=False)
    assert stored_bits_per_weight(untied, format="Q4_0", runtime="llama.cpp") == pytest.approx(expected)


def test_a_law_sees_what_was_trained_in_the_bits_of_what_is_deployed() -> None:
    plain = record()
    narrow = replace(TINY, hidden_size=32, intermediate_size=80, num_heads=1, num_kv_heads=1)
    found = trial_features(replace(plain, scaled=narrow), runtime="llama.cpp")
    deployed = trial_features(plain, runtime="llama.cpp")
    assert (found.width, found.parameters) == (32, count_parameters(tensor_specs(narrow)).total)
    assert (deployed.width, found.bits_per_weight) == (64, deployed.bits_per_weight)


def test_only_models_trained_to_a_score_teach_a_law() -> None:
    diverged = replace(record(1, bits=9.0), proxy=proxy(status=TrialStatus.DIVERGED))
    infeasible = replace(record(2), violations=("too large",))
    again = replace(record(3), repeats=0)
    untrained = replace(record(4), proxy=None)
    result = SearchResult(
        study="s",
        device=None,
        runtime="llama.cpp",
        budget={},
        corpus="builtin",
        corpus_digest="",
        trials_requested=5,
        settings={},
        records=(record(0, bits=2.5, size=123), diverged, infeasible, again, untrained),
    )
    (kept,) = law_rows(result)
    assert (kept.loss, kept.size_bytes, kept.features.depth) == (2.5, 123, 2)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_numbers_that_no_run_has_are_refused(bad: float) -> None:
    with pytest.raises(InvalidQuantity, match="loss of 6x128"):
        row(bad)
    with pytest.raises(InvalidQuantity, match="kv_ratio"):
        features(kv_ratio=bad)
