"""Experts as an axis: models that fill their share, what is refused before the start, what decisions ask."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.text.wording import shape_text
from search.analysis.decisions.belief import UNKNOWN_TO_LAW
from search.analysis.decisions.decisions import DecisionBasis, decide
from search.analysis.decisions.questions import questions
from search.config.axes import AXES, Options
from search.config.config import SearchConfig
from search.config.convolutions import Convolutions
from search.config.experts import Experts, experts_of
from search.config.options import OPTIONS, values_of
from search.config.windows import Windows
from search.quality.features import features_of, law_columns
from search.space.convolved import with_convolutions
from search.space.experts import experts_in, with_experts
from search.space.ffn_growth import with_growth
from search.space.formats import file_bytes
from search.space.resolve import resolve, solve
from search.space.windowed import with_windows
from search.store.results import SearchResult
from sizer.architecture import LayerSharing, SharingStrategy
from sizer.devices.catalogue import device
from sizer.errors import SizerError
from sizer.model_estimate import estimate
from sizer.workload import Workload
from tests.search.records import TINY
from tests.search.space.test_resolve import CONFIG, PLAIN

REVERSE = LayerSharing(strategy=SharingStrategy.REVERSE, repeat=2)
TWO_OF_FOUR = Experts(count=4, used=2)


@given(st.integers(2, 8), st.integers(2, 8), st.integers(1, 40))
def test_experts_are_found_in_the_model_again(count: int, used: int, size: int) -> None:
    asked = Experts(count=max(count, used), used=used)
    whole = replace(TINY, intermediate_size=32 * size * asked.count)
    model = with_experts(whole, asked)
    assert experts_in(model) == asked
    assert model.intermediate_size == 32 * size
    assert model.active_mlp_width == 32 * size * used


def test_one_expert_is_plain_and_experts_go_with_no_other_kind_of_layer() -> None:
    assert with_experts(TINY, Experts()) == TINY
    assert experts_in(TINY) == Experts()
    mixed = with_experts(replace(TINY, num_layers=8), TWO_OF_FOUR)
    assert with_windows(mixed, Windows(positions=64, full_every=4)) == mixed
    assert with_convolutions(mixed, Convolutions(kernel=3, attention_every=4)) == mixed
    assert with_growth(mixed, 4.0, 32) == mixed
    assert shape_text(mixed) == "8 x 64, 2 query / 1 KV heads, 2 of 4 experts"


@pytest.mark.parametrize("format_name", ["Q8_0", "Q4_0", "Q4_K_M", "TQ1_0"])
@pytest.mark.parametrize("sharing", [LayerSharing(), REVERSE])
@pytest.mark.parametrize("share", [0.31, 1.0])
@pytest.mark.parametrize("experts", [TWO_OF_FOUR, Experts(count=8, used=2), Experts(count=3, used=2)])
def test_a_model_of_experts_fills_its_share(
    format_name: str, sharing: LayerSharing, share: float, experts: Experts
) -> None:
    config = CONFIG.changed(experts=(1, 3, 4, 8), max_size_bytes=8_000_000)
    suggestion = replace(
        PLAIN,
        format=format_name,
        experts=experts,
        executed_layers=8,
        sharing=sharing,
        size_fraction=share,
    )
    resolved = resolve(suggestion, config)
    model, chosen = resolved.candidate.architecture, resolved.candidate.format
    assert resolved.reason is None
    assert experts_in(model) == experts
    assert f" {experts.used}of{experts.count}x{model.intermediate_size}" in model.name
    limit = share * config.budget.max_size_bytes
    assert 0.9 * limit <= file_bytes(model, chosen, "llama.cpp") <= limit
    ratio = model.active_mlp_width / model.hidden_size
    assert 0.4 * suggestion.ffn_ratio < ratio < 2.5 * suggestion.ffn_ratio


def test_types_that_a_mix_gives_to_experts_are_met_in_some_rounds() -> None:
    """A block as wide as all experts has other types: counted so, 13 layers would fit, and do not."""
    config = CONFIG.changed(experts=(1, 8), max_size_bytes=20_000_000)
    experts = Experts(count=8, used=2)
    found = solve(
        replace(
            PLAIN,
            format="Q4_K_M",
            experts=experts,
            executed_layers=16,
            size_fraction=0.6959,
            head_dim=64,
            ffn_ratio=3.0,
        ),
        config,
    )
    assert found is not None
    assert (found.architecture.num_layers, experts_in(found.architecture)) == (12, experts)
    assert 0.9 * 13_918_000 <= file_bytes(found.architecture, "Q4_K_M", "llama.cpp") <= 13_918_000


def test_where_no_model_of_experts_fits_there_is_one_without() -> None:
    config = CONFIG.changed(experts=(1, 8), formats=("TQ1_0",), max_size_bytes=110_000, head_dims=(64,))
    resolved = resolve(
        replace(PLAIN, format="TQ1_0", head_dim=64, experts=Experts(count=8, used=2), executed_layers=2),
        config,
    )
    assert experts_in(resolved.candidate.architecture) == Experts()


def test_the_axis_is_every_number_with_every_use_and_none_once() -> None:
    config = CONFIG.changed(experts=(1, 8, 4, 2), experts_used=(2, 3))
    values = AXES["experts"].values
    assert isinstance(values, Options)
    assert [one.label for one in values.values(config)] == [
        *("none", "2 of 8", "3 of 8", "2 of 4", "3 of 4", "2 of 2"),
    ]
    assert [one.label for one in values.ordered(config)] == [
        *("none", "2 of 2", "3 of 4", "2 of 4", "3 of 8", "2 of 8"),
    ]
    assert values_of(OPTIONS["experts"], "1,4,8") == {"experts": (1, 4, 8)}
    assert values_of(OPTIONS["experts_used"], "2,3") == {"experts_used": (2, 3)}
    assert values.values(CONFIG) == (Experts(),)
    assert experts_of((1, 1), (2,)) == (Experts(), Experts())


def test_what_cannot_be_searched_is_refused_by_field() -> None:
    with pytest.raises(SizerError, match="experts_used: of 2 experts a token cannot use 3; accepted: 2 to 2"):
        SearchConfig.build(experts=(1, 2), experts_used=(3,))
    with pytest.raises(SizerError, match="experts: must be a whole number from 1 to 8, got 9"):
        SearchConfig.build(experts=(9,))
    with pytest.raises(SizerError, match="experts_used: must be a whole number from 2 to 8, got 1"):
        SearchConfig.build(experts=(4,), experts_used=(1,))
    for runtime in ("executorch", "transformers", "bitnet.cpp"):
        with pytest.raises(
            SizerError, match=r"experts: .* runs no experts .*\[1, 4\]; accepted: 1, or llama.cpp"
        ):
            SearchConfig.build(runtime=runtime, experts=(1, 4))


def test_a_decision_compares_experts_with_none_and_the_law_does_not_know_them() -> None:
    config = SearchConfig.build(experts=(1, 4), max_size_bytes=600_000, formats=("Q8_0",))
    found = [question for question in questions(config) if question.axis == "experts"]
    assert {(question.first, question.second) for question in found} == {("none", "2 of 4")}
    for question in found:
        for plain, mixed in question.pairs:
            assert experts_in(plain.architecture) == Experts()
            assert experts_in(mixed.architecture) == TWO_OF_FOUR
    assert "experts" in UNKNOWN_TO_LAW
    nothing = SearchResult(
        study="s",
        device=None,
        runtime="llama.cpp",
        budget={},
        corpus="builtin",
        corpus_digest="",
        trials_requested=4,
        settings={},
        records=(),
        config=config,
    )
    asked = [decision for decision in decide(nothing).decisions if decision.axis == "experts"]
    assert {(d.prior_probability, d.basis) for d in asked} == {(0.5, DecisionBasis.RUNS)}


def test_the_law_counts_all_weights_stored() -> None:
    whole = replace(TINY, intermediate_size=512)
    dense, mixed = (
        features_of(shape, bits_per_weight=4.5, tokens=1e7)
        for shape in (whole, with_experts(whole, TWO_OF_FOUR))
    )
    assert (dense.experts, mixed.experts) == (1.0, 2.0)
    assert mixed.ffn_ratio == dense.ffn_ratio / 2  # of what a token uses
    weights = law_columns((dense, mixed)).weights
    assert weights[0] == weights[1]


def test_a_token_reads_its_experts_alone() -> None:
    """Half the experts are used: decoding is faster than of a dense model of the same file."""
    whole = replace(TINY, num_layers=12, hidden_size=512, intermediate_size=8192, num_heads=8, num_kv_heads=8)
    dense, mixed = (
        estimate(
            architecture=replace(shape, head_dim=64),
            format="Q8_0",
            runtime="llama.cpp",
            workload=Workload.within(2048, "F16"),
            device=device("raspberry-pi-5"),
        )
        for shape in (whole, with_experts(whole, TWO_OF_FOUR))
    )
    assert abs(mixed.file.total / dense.file.total - 1) < 0.01
    assert dense.latency is not None
    assert mixed.latency is not None
    assert mixed.latency.decode_tokens_per_s.value > 1.3 * dense.latency.decode_tokens_per_s.value
