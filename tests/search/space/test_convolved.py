"""Short convolutions as an axis: which layers have them, models that fill their share, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.analysis.decisions.costs import RunCosts
from search.analysis.decisions.decisions import answers, with_questions
from search.analysis.decisions.evidence import Evidence
from search.analysis.decisions.points import Observation
from search.analysis.decisions.questions import questions
from search.config.axes import AXES, Options
from search.config.config import SearchConfig
from search.config.convolutions import Convolutions
from search.config.options import OPTIONS, values_of
from search.config.windows import Windows
from search.run.forecast import small_enough
from search.space.convolved import convolutions_in, has_convolutions, with_convolutions
from search.space.ffn_growth import with_growth
from search.space.formats import file_bytes
from search.space.resolve import resolve
from search.space.windowed import with_windows
from search.store.results import Candidate
from sizer.architecture import LayerSharing, SharingStrategy
from sizer.errors import SizerError
from sizer.model_estimate import estimate
from sizer.shapes.near_count import architecture_near
from sizer.workload import Workload
from tests.search.records import TINY
from tests.search.space.test_resolve import CONFIG, PLAIN

ONE_IN_FOUR = Convolutions(kernel=3, attention_every=4)
TWICE = LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2)


def test_convolutions_are_found_in_the_model_again() -> None:
    model = with_convolutions(replace(TINY, num_layers=6), ONE_IN_FOUR)
    assert model.conv_layers == (0, 2, 3, 4)  # attention in 1 and 5: the last, and four before it
    assert model.qk_norm
    assert convolutions_in(model) == ONE_IN_FOUR
    assert has_convolutions(model, ONE_IN_FOUR)
    assert not has_convolutions(model, replace(ONE_IN_FOUR, kernel=4))
    assert not has_convolutions(model, Convolutions())


def test_a_model_that_can_have_none_is_plain() -> None:
    assert with_convolutions(replace(TINY, num_layers=1), ONE_IN_FOUR) == replace(TINY, num_layers=1)
    assert with_convolutions(TINY, Convolutions()) == TINY
    assert convolutions_in(TINY) == Convolutions()
    shared = replace(TINY, num_layers=4, sharing=TWICE)
    assert with_convolutions(shared, ONE_IN_FOUR) == shared
    convolved = with_convolutions(replace(TINY, num_layers=4), ONE_IN_FOUR)
    assert with_growth(convolved, 4.0, 32) == convolved  # one FFN size for all layers
    assert with_windows(convolved, Windows(positions=16, full_every=4)) == convolved


@pytest.mark.parametrize("format_name", ["Q8_0", "Q4_K_M", "TQ1_0"])
@pytest.mark.parametrize("kv_ratio", [1, 4])
@pytest.mark.parametrize("share", [0.31, 0.5, 1.0])
def test_a_model_with_convolutions_fills_its_share(format_name: str, kv_ratio: int, share: float) -> None:
    config = CONFIG.changed(convolutions=(0, 3), max_size_bytes=4_000_000)
    suggestion = replace(
        PLAIN,
        format=format_name,
        convolutions=ONE_IN_FOUR,
        query_heads_per_kv_head=kv_ratio,
        executed_layers=8,
        size_fraction=share,
    )
    resolved = resolve(suggestion, config)
    model, chosen = resolved.candidate.architecture, resolved.candidate.format
    assert resolved.reason is None
    assert has_convolutions(model, ONE_IN_FOUR)
    assert " c3/4" in model.name
    limit = share * config.budget.max_size_bytes
    assert 0.9 * limit <= file_bytes(model, chosen, "llama.cpp") <= limit
    assert resolve(replace(suggestion, sharing=TWICE), config) == resolved  # convolutions share no blocks
    plain = resolve(replace(suggestion, convolutions=Convolutions()), config).candidate.architecture
    assert not plain.conv_layers
    assert not plain.qk_norm


def test_the_axis_is_every_kernel_with_every_cycle_and_none_once() -> None:
    config = CONFIG.changed(convolutions=(0, 3), full_every=(4, 2))
    values = AXES["convolutions"].values
    assert isinstance(values, Options)
    assert [one.label for one in values.values(config)] == [
        *("none", "3, 1 in 4 attention", "3, 1 in 2 attention"),
    ]
    assert [one.label for one in values.ordered(config)] == [
        *("3, 1 in 4 attention", "3, 1 in 2 attention", "none"),
    ]
    assert values_of(OPTIONS["convolution"], "0,3") == {"convolutions": (0, 3)}
    assert values.values(CONFIG) == (Convolutions(),)


def test_a_decision_about_convolutions_is_by_the_runs_alone() -> None:
    config = SearchConfig.build(convolutions=(0, 3), max_size_bytes=600_000, formats=("Q8_0",))
    found = tuple(question for question in questions(config) if question.axis == "convolutions")
    assert {(question.first, question.second) for question in found} == {("none", "3, 1 in 4 attention")}
    for question in found:
        for plain, convolved in question.pairs:
            assert not plain.architecture.conv_layers
            assert convolutions_in(convolved.architecture).kernel == 3
    points, places = with_questions((), found, "llama.cpp")
    nothing = Evidence(points=(), trials=(), observations=(), paired_sd=0.01)
    costs = RunCosts(tokens=1e6, weights_per_s=1e9, scoring_s=1.0)
    before = answers(points, places, found, nothing, costs)
    assert before.prior.tolist() == [0.5] * len(found)  # the law has no opinion, and there are no runs
    assert before.both == pytest.approx(0.5)
    (plain, convolved), *_ = found[-1].pairs
    scores = ((places[plain], 2.2), (places[convolved], 2.1))
    runs = tuple(
        Observation(point=place, seed=0, tokens=1e6, bits_per_byte=score, scoring_sd=0.01)
        for place, score in scores
    )
    after = answers(points, places, found, replace(nothing, observations=runs), costs)
    assert after.prior.tolist() == before.prior.tolist()
    assert after.both[-1] < 0.1
    assert after.both.tolist() == after.runs.tolist()


def test_attention_layers_alone_hold_keys_and_values() -> None:
    plain = replace(TINY, num_layers=8, hidden_size=512, intermediate_size=1408, num_heads=8, num_kv_heads=4)
    plain = replace(plain, head_dim=64, qk_norm=True)
    held = [
        estimate(
            architecture=shape,
            format="F16",
            runtime="llama.cpp",
            workload=Workload(context_tokens=4096, prompt_tokens=128, generated_tokens=128),
        ).memory
        for shape in (plain, with_convolutions(plain, ONE_IN_FOUR))
    ]
    assert held[0] is not None
    assert held[1] is not None
    assert held[0].kv_cache_bytes == 32 * 2**20
    # two layers of keys and values, and of six the last two inputs in float32
    assert held[1].kv_cache_bytes == 8 * 2**20 + 6 * 2 * 512 * 4


def test_a_large_model_with_convolutions_is_timed_by_its_first_layers() -> None:
    large = with_convolutions(architecture_near(450_000_000), ONE_IN_FOUR)
    few, scale = small_enough(large)
    assert few.num_layers < large.num_layers
    assert few.conv_layers == tuple(i for i in large.conv_layers if i < few.num_layers)
    assert scale > 1


def test_candidates_differ_by_their_convolutions() -> None:
    model = replace(TINY, num_layers=4)
    named = {
        Candidate(architecture=with_convolutions(model, one), format="Q8_0")
        for one in (Convolutions(), ONE_IN_FOUR, replace(ONE_IN_FOUR, kernel=4))
    }
    assert len(named) == 3


def test_what_cannot_be_run_or_trained_is_refused_in_one_line() -> None:
    with pytest.raises(
        SizerError, match=r"convolutions: executorch runs no short .* accepted: 0, or llama\.cpp"
    ):
        SearchConfig.build(runtime="executorch", convolutions=(0, 3))
    assert SearchConfig.build(runtime="executorch").space.convolutions == (0,)
    with pytest.raises(SizerError, match=r"convolutions: a kernel of 1 .* accepted: 0, or 2 to 32 positions"):
        SearchConfig.build(convolutions=(0, 1))
    with pytest.raises(SizerError, match="convolutions: models with .* accepted: 0, or a sharing with none"):
        SearchConfig.build(convolutions=(0, 3), sharing=("immediate",))
    with pytest.raises(SizerError, match="convolutions: must be a whole number from 0 to 32, got 33"):
        SearchConfig.build(convolutions=(33,))
