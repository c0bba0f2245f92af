"""Windows as an axis: which layers slide, models that fill their share, what is refused before the start."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.analysis.decisions.questions import questions
from search.config.axes import AXES, Options
from search.config.config import SearchConfig
from search.config.options import OPTIONS, values_of
from search.config.windows import Windows
from search.run.forecast import small_enough
from search.space.cycles import all_but_every
from search.space.ffn_growth import with_growth
from search.space.formats import file_bytes
from search.space.resolve import resolve
from search.space.windowed import has_windows, windows_in, with_windows
from search.store.results import Candidate
from search.training.scaled_proxy import scaled_proxy
from sizer.architecture import LayerSharing, SharingStrategy
from sizer.errors import SizerError
from sizer.model_estimate import estimate
from sizer.shapes.near_count import architecture_near
from sizer.workload import Workload
from tests.search.records import TINY
from tests.search.space.test_resolve import CONFIG, PLAIN

REVERSE = LayerSharing(strategy=SharingStrategy.REVERSE, repeat=2)
ONE_IN_FOUR = Windows(positions=64, full_every=4)


@given(st.integers(1, 40), st.integers(2, 9))
def test_one_layer_of_each_cycle_sees_everything_and_the_last_always(layers: int, full_every: int) -> None:
    sliding = all_but_every(layers, full_every)
    full = [layer for layer in range(layers) if layer not in sliding]
    assert full[-1] == layers - 1
    assert len(full) == -(-layers // full_every)
    assert all(later - before == full_every for before, later in zip(full, full[1:], strict=False))


@given(st.integers(2, 40), st.integers(2, 9), st.integers(1, 500))
def test_windows_are_found_in_the_model_again(layers: int, full_every: int, positions: int) -> None:
    asked = Windows(positions=positions, full_every=full_every)
    model = with_windows(replace(TINY, num_layers=layers), asked)
    assert model.attention_sinks
    found = windows_in(model)
    assert found.positions == positions
    assert has_windows(model, found)
    assert has_windows(model, asked)
    assert not has_windows(model, Windows(positions=positions + 1, full_every=full_every))
    assert not has_windows(model, Windows())
    if layers > full_every:
        assert found == asked


def test_a_model_without_layers_that_slide_is_plain() -> None:
    one = replace(TINY, num_layers=1)
    assert with_windows(one, ONE_IN_FOUR) == one
    assert with_windows(TINY, Windows()) == TINY
    assert windows_in(TINY) == Windows()
    windowed = with_windows(replace(TINY, num_layers=4), ONE_IN_FOUR)
    assert with_growth(windowed, 4.0, 32) == windowed  # one FFN size for all layers


@pytest.mark.parametrize("format_name", ["Q8_0", "Q4_K_M", "TQ1_0"])
@pytest.mark.parametrize("sharing", [LayerSharing(), REVERSE])
@pytest.mark.parametrize("share", [0.31, 0.5, 1.0])
def test_a_windowed_model_fills_its_share(format_name: str, sharing: LayerSharing, share: float) -> None:
    config = CONFIG.changed(windows=(0, 64), max_size_bytes=4_000_000)
    suggestion = replace(
        PLAIN,
        format=format_name,
        windows=ONE_IN_FOUR,
        executed_layers=8,
        sharing=sharing,
        size_fraction=share,
    )
    resolved = resolve(suggestion, config)
    model, chosen = resolved.candidate.architecture, resolved.candidate.format
    assert resolved.reason is None
    assert has_windows(model, ONE_IN_FOUR)
    assert " w64/" in model.name
    limit = share * config.budget.max_size_bytes
    assert 0.9 * limit <= file_bytes(model, chosen, "llama.cpp") <= limit
    plain = resolve(replace(suggestion, windows=Windows()), config).candidate.architecture
    assert (plain.hidden_size, plain.num_layers) == (model.hidden_size, model.num_layers)
    assert not plain.sliding_layers
    assert not plain.attention_sinks


def test_the_axis_is_every_window_with_every_cycle_and_none_once() -> None:
    config = CONFIG.changed(windows=(0, 16, 64), full_every=(4, 2))
    values = AXES["windows"].values
    assert isinstance(values, Options)
    assert [one.label for one in values.values(config)] == [
        *("none", "16, 1 in 4 full", "16, 1 in 2 full", "64, 1 in 4 full", "64, 1 in 2 full"),
    ]
    assert [one.label for one in values.ordered(config)] == [
        *("16, 1 in 4 full", "16, 1 in 2 full", "64, 1 in 4 full", "64, 1 in 2 full", "none"),
    ]
    assert values_of(OPTIONS["window"], "0,16,64") == {"windows": (0, 16, 64)}
    assert values_of(OPTIONS["full_every"], "4,2") == {"full_every": (4, 2)}
    assert values.values(CONFIG) == (Windows(),)


def test_a_decision_compares_windows_with_none() -> None:
    config = SearchConfig.build(windows=(0, 32), max_size_bytes=600_000, formats=("Q8_0",))
    found = [question for question in questions(config) if question.axis == "windows"]
    assert {(question.first, question.second) for question in found} == {("none", "32, 1 in 4 full")}
    for question in found:
        for plain, windowed in question.pairs:
            assert not plain.architecture.sliding_layers
            assert windows_in(windowed.architecture).positions == 32


def test_a_window_holds_fewer_keys_and_values() -> None:
    """KV buffers of llama.cpp's own log, build 11549: 8.00 MiB of 4096 cells and 4.50 MiB of 768."""
    plain = replace(
        TINY, num_layers=8, hidden_size=512, intermediate_size=1408, num_heads=8, num_kv_heads=4, head_dim=64
    )
    windowed = with_windows(plain, Windows(positions=256, full_every=4))
    held = {
        shape.attention_sinks: estimate(
            architecture=shape,
            format="F16",
            runtime="llama.cpp",
            workload=Workload(context_tokens=4096, prompt_tokens=128, generated_tokens=128),
        ).memory
        for shape in (plain, windowed)
    }
    assert held[False] is not None
    assert held[True] is not None
    assert held[False].kv_cache_bytes == 32 * 2**20
    assert held[True].kv_cache_bytes == (8 + 4) * 2**20 + 2**19
    # of the log of that build, whose graphs hold 1.004 MiB more than this one's: 17.27 MiB and 18.03
    more = held[True].compute_bytes - held[False].compute_bytes
    assert more / 2**20 == pytest.approx(18.0254 - 17.27, abs=0.005)


def test_a_proxy_keeps_window_and_sinks() -> None:
    model = with_windows(
        replace(TINY, num_layers=4, hidden_size=128, head_dim=64, intermediate_size=512), ONE_IN_FOUR
    )
    proxy = scaled_proxy(model, width_scale=0.5)
    assert (proxy.sliding_window, proxy.sliding_layers, proxy.attention_sinks) == (64, (0, 1, 2), True)
    assert proxy.hidden_size == 64


def test_a_large_model_with_windows_is_timed_by_its_first_layers() -> None:
    large = with_windows(architecture_near(450_000_000), ONE_IN_FOUR)
    few, scale = small_enough(large)
    assert few.num_layers < large.num_layers
    assert few.sliding_layers == tuple(i for i in large.sliding_layers if i < few.num_layers)
    assert scale > 1


def test_candidates_differ_by_their_window() -> None:
    model = replace(TINY, num_layers=4)
    named = {
        Candidate(architecture=with_windows(model, windows), format="Q8_0")
        for windows in (Windows(), ONE_IN_FOUR, Windows(positions=32, full_every=4))
    }
    assert len(named) == 3


def test_what_cannot_be_run_or_trained_is_refused_in_one_line() -> None:
    with pytest.raises(
        SizerError, match=r"windows: executorch runs no sliding windows .* accepted: 0, or llama\.cpp"
    ):
        SearchConfig.build(runtime="executorch", windows=(0, 64))
    assert SearchConfig.build(runtime="executorch").space.windows == (0,)
    with pytest.raises(SizerError, match="windows: models are trained on sequences of 128 .* of 128 "):
        SearchConfig.build(windows=(0, 128))
    assert SearchConfig.build(windows=(0, 128), seq_len=256).space.windows == (0, 128)
    with pytest.raises(SizerError, match="full_every: must be a whole number from 2 to 64, got 1"):
        SearchConfig.build(windows=(64,), full_every=(1,))
