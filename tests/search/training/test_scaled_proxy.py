"""Scaled proxies: what shrinks, what is kept, what is said where integers do not allow it."""

from __future__ import annotations

from dataclasses import replace
from math import log2
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search.config.proxy_width import WIDTH_STEP
from search.training.scaled_proxy import deviations, scaled_proxy, split_blocks
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import SizerError
from sizer.tensors import tensor_specs
from tests.strategies import any_architectures, architectures

# config.json of MobileLLM-125M, SmolLM2-360M and Qwen2.5-0.5B
MOBILELLM = Architecture(
    name="MobileLLM-125M",
    vocab_size=32000,
    num_layers=30,
    hidden_size=576,
    intermediate_size=1536,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
)
SMOLLM2 = replace(
    MOBILELLM,
    name="SmolLM2-360M",
    vocab_size=49152,
    num_layers=32,
    hidden_size=960,
    intermediate_size=2560,
    num_heads=15,
    num_kv_heads=5,
)
QWEN = replace(
    MOBILELLM,
    name="Qwen2.5-0.5B",
    vocab_size=151936,
    num_layers=24,
    hidden_size=896,
    intermediate_size=4864,
    num_heads=14,
    num_kv_heads=2,
    qkv_bias=True,
)

SCALES = st.floats(0.02, 1.0)
_SHRINKS = {"name", "vocab_size", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "head_dim"}


def sizes(a: Architecture) -> tuple[int, ...]:
    """Width, feed-forward width, query heads, KV heads, width of a head."""
    return a.hidden_size, a.intermediate_size, a.num_heads, a.num_kv_heads, a.head_dim


@pytest.mark.parametrize(
    ("model", "scale", "expected", "said"),
    [
        # 576 / 4 = 144 = 9 x 16, 1536 / 4 = 384
        (MOBILELLM, 0.25, (144, 384, 9, 3, 16), ()),
        (MOBILELLM, 0.5, (288, 768, 9, 3, 32), ()),
        # 960 / 4 = 240 = 15 x 16, 2560 / 4 = 640
        (SMOLLM2, 0.25, (240, 640, 15, 5, 16), ()),
        # 576 / 3 = 192, 1536 / 3 = 512; 64 / 3 = 21.3 is a head of 16, of which 12 are 192 wide: 12 / 4
        (MOBILELLM, 1 / 3, (192, 512, 12, 4, 16), ("query heads 12 instead of 9",)),
        # 576 / 8 = 72, in the middle between 64 and 80: the larger. 1536 x 80 / 576 = 213.3: 208, 2.6 x 80.
        # 5 heads of 16 would be as wide as 80; in threes for each KV head 6 are 1.2 times as wide.
        (
            MOBILELLM,
            0.125,
            (80, 208, 6, 2, 16),
            (
                "query heads 6 instead of 9",
                "attention width over hidden_size 1.2 instead of 1",
                "intermediate_size over hidden_size 2.6 instead of 2.67",
            ),
        ),
        # 896 / 4 = 224 = 14 x 16, 4864 / 4 = 1216
        (QWEN, 0.25, (224, 1216, 14, 2, 16), ()),
    ],
)
def test_published_models(
    model: Architecture, scale: float, expected: tuple[int, ...], said: tuple[str, ...]
) -> None:
    proxy = scaled_proxy(model, width_scale=scale)
    assert sizes(proxy) == expected
    assert proxy.vocab_size == model.vocab_size
    assert tuple(d.text for d in deviations(model, proxy)) == said


def test_a_width_can_be_named_and_the_vocabulary_cut() -> None:
    proxy = scaled_proxy(SMOLLM2, hidden_size=96, vocab_size=256)
    assert (proxy.vocab_size, *sizes(proxy)) == (256, 96, 256, 6, 2, 16)
    assert proxy.name == "SmolLM2-360M at width 96"
    assert scaled_proxy(SMOLLM2, hidden_size=960, vocab_size=256) == replace(SMOLLM2, vocab_size=256)


@given(architectures(), SCALES)
def test_what_a_search_compares_is_kept(model: Architecture, scale: float) -> None:
    proxy = scaled_proxy(model, width_scale=scale)
    kept = {f for f in Architecture.__dataclass_fields__ if f not in _SHRINKS}
    assert {f: getattr(proxy, f) for f in kept} == {f: getattr(model, f) for f in kept}
    assert proxy.executed_layers == model.executed_layers
    assert [s.name for s in tensor_specs(proxy)] == [s.name for s in tensor_specs(model)]


@given(architectures(), SCALES)
def test_widths_shrink_in_steps_to_the_nearest(model: Architecture, scale: float) -> None:
    proxy = scaled_proxy(model, width_scale=scale)
    off = abs(proxy.hidden_size - scale * model.hidden_size)
    assert off <= WIDTH_STEP / 2 or proxy.hidden_size == WIDTH_STEP
    if scale < 1 and proxy.hidden_size < model.hidden_size:
        assert proxy.hidden_size % WIDTH_STEP == proxy.intermediate_size % WIDTH_STEP == 0
        assert proxy.head_dim % WIDTH_STEP == 0 or proxy.head_dim == model.head_dim
    for name in ("hidden_size", "intermediate_size", "head_dim"):
        assert getattr(proxy, name) <= max(getattr(model, name), WIDTH_STEP), name


@given(architectures(), SCALES)
def test_a_scale_of_one_changes_nothing_and_scaling_again_neither(model: Architecture, scale: float) -> None:
    assert scaled_proxy(model, width_scale=1) == model
    proxy = scaled_proxy(model, width_scale=scale)
    assert scaled_proxy(proxy, width_scale=1.0) == proxy
    assert deviations(proxy, proxy) == ()


@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([64, 128]),
    st.integers(2, 20),
    st.sampled_from([2, 4]),
)
def test_a_round_scale_keeps_every_ratio(
    group: int, kv_heads: int, head_dim: int, ffn: int, divisor: int
) -> None:
    heads = group * kv_heads
    model = replace(
        MOBILELLM,
        hidden_size=heads * head_dim,
        intermediate_size=ffn * 64,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
    )
    proxy = scaled_proxy(model, width_scale=1 / divisor)
    assert sizes(proxy) == (
        model.hidden_size // divisor,
        model.intermediate_size // divisor,
        heads,
        kv_heads,
        head_dim // divisor,
    )
    assert deviations(model, proxy) == ()


@given(architectures(), SCALES)
def test_attention_is_as_wide_as_its_groups_allow(model: Architecture, scale: float) -> None:
    """No other number of KV heads, with as many query heads to each, comes nearer to the model's ratio."""
    proxy = scaled_proxy(model, width_scale=scale)
    group = model.num_heads // model.num_kv_heads
    assert proxy.num_heads == group * proxy.num_kv_heads
    assume(proxy.hidden_size < model.hidden_size)
    wanted = model.q_width / model.hidden_size

    def off(kv_heads: int) -> float:
        return abs(log2(group * kv_heads * proxy.head_dim / proxy.hidden_size / wanted))

    assert off(proxy.num_kv_heads) <= min(off(kv) for kv in range(1, 300)) + 1e-9


@given(architectures(), SCALES)
def test_every_deviation_is_said(model: Architecture, scale: float) -> None:
    proxy = scaled_proxy(model, width_scale=scale)
    said = {d.name for d in deviations(model, proxy)}
    assert ("query heads" in said) == (proxy.num_heads != model.num_heads)
    same = proxy.q_width * model.hidden_size == model.q_width * proxy.hidden_size
    assert not (same and "attention width over hidden_size" in said)
    if (
        abs(proxy.intermediate_size * model.hidden_size / (model.intermediate_size * proxy.hidden_size) - 1)
        > 0.01
    ):
        assert "intermediate_size over hidden_size" in said


def test_sharing_is_kept() -> None:
    shared = replace(MOBILELLM, sharing=LayerSharing(strategy=SharingStrategy.REVERSE, repeat=2))
    assert scaled_proxy(shared, width_scale=0.25).executed_layers == 60


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "width_scale: give either width_scale or hidden_size, and not both"),
        ({"width_scale": 0.5, "hidden_size": 64}, "width_scale: give either width_scale or hidden_size"),
        ({"width_scale": 0.0}, "width_scale: must be a number above 0 and at most 1, got 0.0"),
        ({"width_scale": 1.5}, "width_scale: must be a number above 0 and at most 1, got 1.5"),
        ({"width_scale": float("nan")}, "width_scale: must be a number above 0 and at most 1, got nan"),
        ({"width_scale": True}, "width_scale: must be a number above 0 and at most 1, got True"),
        ({"hidden_size": 100}, "hidden_size: must be a multiple of 16, got 100"),
        ({"hidden_size": 592}, "hidden_size: must be a whole number from 1 to 576, got 592"),
        ({"hidden_size": 64.0}, "hidden_size: must be a whole number from 1 to 576, got 64.0"),
        ({"width_scale": 0.5, "vocab_size": 0}, "vocab_size: must be a whole number from 1 to 32000, got 0"),
        ({"width_scale": 0.5, "vocab_size": 32001}, "vocab_size: must be a whole number from 1 to 32000"),
    ],
)
def test_refused_scales_name_field_and_value(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SizerError) as caught:
        scaled_proxy(MOBILELLM, **asked)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(any_architectures())
def test_what_the_proxy_cannot_train_is_refused_by_name(model: Architecture) -> None:
    if not model.beyond_llama:
        scaled_proxy(model, width_scale=0.5)
        return
    with pytest.raises(SizerError, match=model.beyond_llama[0]):
        scaled_proxy(model, width_scale=0.5)


def test_blocks_that_rows_are_too_short_for_are_said() -> None:
    model = replace(MOBILELLM, hidden_size=512, intermediate_size=1024, num_heads=8, num_kv_heads=2)
    quarter = scaled_proxy(model, width_scale=0.25)  # rows of 128 and 256
    assert split_blocks(model, quarter, "Q4_K_M", "llama.cpp") == (256,)
    assert split_blocks(model, quarter, "Q8_0", "llama.cpp") == ()
    assert split_blocks(model, quarter, "F16", "llama.cpp") == ()
    assert split_blocks(model, scaled_proxy(model, hidden_size=144), "Q8_0", "llama.cpp") == (32,)
    assert split_blocks(model, scaled_proxy(model, width_scale=0.5), "Q4_K_M", "llama.cpp") == ()
    assert split_blocks(model, quarter, "I2_S", "bitnet.cpp") == ()
