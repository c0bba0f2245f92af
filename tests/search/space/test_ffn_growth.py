"""FFN sizes over depth: linear, rounded, of the sum that equal layers have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.config.config import SearchConfig
from search.space.ffn_growth import grown_sizes, growth_of, mean_ffn_size, with_growth
from search.space.formats import file_bytes
from search.space.resolve import resolve
from search.training.scaled_proxy import scaled_proxy
from sizer.architecture import LayerSharing, SharingStrategy
from sizer.errors import SizerError
from sizer.shapes.format_widths import row_multiple
from tests.search.records import TINY
from tests.search.space.test_resolve import CONFIG, PLAIN


@given(
    st.integers(1, 12),
    st.integers(2, 30),
    st.sampled_from([0.125, 0.5, 2.0, 8.0]),
    st.sampled_from([32, 256]),
)
def test_sizes_have_the_mean_and_rise_or_fall(steps: int, layers: int, growth: float, multiple: int) -> None:
    sizes = grown_sizes(steps * multiple, layers, growth, multiple)
    assert sum(sizes) == layers * steps * multiple
    assert all(size >= multiple and size % multiple == 0 for size in sizes)
    assert sizes == tuple(sorted(sizes, reverse=growth < 1))
    if steps > 8:  # more steps than rounding takes
        assert sizes[-1] / sizes[0] == pytest.approx(growth, rel=0.6)


def test_openelm_with_steps_of_one_is_linear() -> None:
    assert grown_sizes(40, 5, 3.0, 1) == (20, 30, 40, 50, 60)
    assert grown_sizes(40, 5, 1 / 3, 1) == (60, 50, 40, 30, 20)


def test_shared_or_single_layers_have_one_size() -> None:
    shared = replace(TINY, sharing=LayerSharing(strategy=SharingStrategy.REVERSE, repeat=2))
    for shape in (shared, replace(TINY, num_layers=1)):
        assert with_growth(shape, 4.0, 32) == shape
    grown = with_growth(replace(TINY, num_layers=3, intermediate_size=256), 3.0, 32)
    assert grown.layer_intermediate_sizes == (128, 256, 384)
    assert (growth_of(grown), mean_ffn_size(grown), grown.intermediate_size) == (3.0, 256.0, 384)
    assert (growth_of(shared), mean_ffn_size(shared)) == (1.0, shared.intermediate_size)


@pytest.mark.parametrize("format_name", ["Q8_0", "Q4_K_M", "Q2_K"])
@pytest.mark.parametrize("growth", [0.25, 3.0])
def test_a_grown_model_fills_its_share(format_name: str, growth: float) -> None:
    config = CONFIG.changed(ffn_growths=(1.0, growth), max_size_bytes=4_000_000)
    suggestion = replace(PLAIN, format=format_name, ffn_growth=growth, executed_layers=8)
    resolved = resolve(suggestion, config)
    a = resolved.candidate.architecture
    assert resolved.reason is None
    assert growth_of(a) == pytest.approx(growth, rel=0.5)
    assert a.name.split()[2].removesuffix("untied") == (
        f"ff{a.layer_intermediate_sizes[0]}-{a.layer_intermediate_sizes[-1]}"
    )
    chosen = resolved.candidate.format  # a format of shorter blocks where those of 256 have no such shape
    multiple = row_multiple("llama.cpp", chosen, a.num_heads // a.num_kv_heads)
    assert all(size % multiple == 0 for size in a.layer_intermediate_sizes)
    limit = suggestion.size_fraction * config.budget.max_size_bytes
    assert 0.9 * limit <= file_bytes(a, chosen, "llama.cpp") <= limit
    equal = resolve(replace(suggestion, ffn_growth=1.0), config).candidate.architecture
    assert (equal.hidden_size, equal.num_layers) == (a.hidden_size, a.num_layers)
    assert not equal.layer_intermediate_sizes


def test_where_a_mix_gives_the_last_layers_more_bits_a_step_is_taken_back() -> None:
    """Q5_K_M: five layers of 768 take 7.99 MB, and growing to four times as much 8.01 MB."""
    config = CONFIG.changed(max_size_bytes=8_000_000, ffn_growths=(4.0,))
    form: dict[str, Any] = {"head_dim": 64, "query_heads_per_kv_head": 1, "size_fraction": 1.0}
    suggestion = replace(PLAIN, format="Q5_K_M", ffn_growth=4.0, **form)
    equal = resolve(replace(suggestion, ffn_growth=1.0), config).candidate.architecture
    grown = with_growth(equal, 4.0, 256)
    assert file_bytes(grown, "Q5_K_M", "llama.cpp") > 8_000_000
    resolved = resolve(suggestion, config)
    a = resolved.candidate.architecture
    assert (resolved.reason, resolved.candidate.format) == (None, "Q5_K_M")
    assert file_bytes(a, "Q5_K_M", "llama.cpp") <= 8_000_000
    assert sum(a.layer_intermediate_sizes) == sum(grown.layer_intermediate_sizes) - 256


def test_other_runtimes_refuse_sizes_by_layer_in_one_line() -> None:
    with pytest.raises(
        SizerError, match=r"ffn_growths: executorch runs no FFN sizes by layer .* accepted: 1"
    ):
        SearchConfig.build(runtime="executorch", ffn_growths=(1.0, 2.0))
    assert SearchConfig.build(runtime="executorch").space.ffn_growths == (1.0,)


def test_a_proxy_keeps_the_growth() -> None:
    grown = with_growth(
        replace(TINY, num_layers=4, hidden_size=128, head_dim=64, intermediate_size=512), 3.0, 32
    )
    proxy = scaled_proxy(grown, width_scale=0.5)
    assert growth_of(proxy) == growth_of(grown)
    assert mean_ffn_size(proxy) == mean_ffn_size(grown) / 2
    assert proxy.intermediate_size == max(proxy.layer_intermediate_sizes)
