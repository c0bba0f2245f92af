"""Suggestions become models that fill their share of the budget, of the proposed form, or say why not."""

from __future__ import annotations

from dataclasses import replace
from math import log2
from time import process_time

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.config.axes import Suggestion
from search.config.config import SearchConfig
from search.config.convolutions import Convolutions
from search.config.experts import Experts
from search.config.windows import Windows
from search.space.formats import file_bytes, smallest_file_bytes
from search.space.resolve import resolve
from search.space.shape_name import shape_name
from search.space.space import suggest
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.budget import Limits
from sizer.errors import NoFit
from sizer.formats.llamacpp import LlamaCppMix, mix
from sizer.model_estimate import estimate
from sizer.runtimes import runtime
from sizer.shapes.format_widths import row_multiple

CONFIG = SearchConfig()
LARGE = {"head_dims": (64, 128), "query_heads_per_kv_head": (1, 2, 3, 4), "max_hidden_size": 4096}

PLAIN = Suggestion(
    format="Q8_0",
    executed_layers=6,
    head_dim=32,
    query_heads_per_kv_head=2,
    ffn_ratio=2.5,
    sharing=LayerSharing(),
    tie_embeddings=True,
    size_fraction=0.5,
    vocab_size=256,
    cache_type="F16",
    ffn_growth=1.0,
    experts=Experts(),
    windows=Windows(),
    convolutions=Convolutions(),
)

TWICE = LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2)


def _budgets() -> st.SearchStrategy[SearchConfig]:
    """Byte-level models of 60 kB to 8 MB, and models with a tokenizer up to 500 MB."""

    def config(vocab_size: int, megabytes: float, fallback: bool) -> SearchConfig:
        large = LARGE if megabytes > 8 else {}
        return SearchConfig.build(
            vocab_size=vocab_size,
            max_size_bytes=int(megabytes * 1e6),
            allow_fallback=fallback,
            max_executed_layers=48 if megabytes > 8 else 24,
            **large,
        )

    return st.one_of(
        st.builds(config, st.just(256), st.floats(0.06, 8), st.booleans()),
        st.builds(config, st.sampled_from([256, 8192]), st.floats(4, 40), st.booleans()),
        st.builds(config, st.sampled_from([32_000, 49_152]), st.floats(40, 500), st.booleans()),
    )


@st.composite
def _suggestions(draw: st.DrawFn, config: SearchConfig) -> Suggestion:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=draw(st.integers(0, 2**31))))
    return suggest(study.ask(), config)


CASES = _budgets().flatmap(lambda config: st.tuples(st.just(config), _suggestions(config)))


def _size(architecture: Architecture, format_name: str) -> int:
    return estimate(architecture=architecture, format=format_name).file.total


@settings(max_examples=120)
@given(CASES)
def test_the_file_fills_its_share_or_the_reason_is_given(case: tuple[SearchConfig, Suggestion]) -> None:
    config, suggestion = case
    resolved = resolve(suggestion, config)
    limit = suggestion.size_fraction * config.budget.max_size_bytes
    size = _size(resolved.candidate.architecture, resolved.candidate.format)
    if resolved.reason is None:
        assert 0.9 * limit <= size <= limit
    else:
        assert not 0.9 * limit <= size <= limit
        assert resolved.reason.startswith("file: no shape of ")


@settings(max_examples=80)
@given(CASES)
def test_the_form_is_as_proposed(case: tuple[SearchConfig, Suggestion]) -> None:
    config, suggestion = case
    resolved = resolve(suggestion, config)
    a = resolved.candidate.architecture
    assert a.vocab_size == suggestion.vocab_size
    assert a.tie_embeddings == suggestion.tie_embeddings
    assert a.head_dim in config.space.head_dims
    assert a.num_heads * a.head_dim == a.hidden_size
    assert config.space.min_hidden_size <= a.hidden_size <= config.space.max_hidden_size
    assert a.executed_layers <= config.space.max_executed_layers
    assert resolved.candidate.format in config.space.formats
    groups = a.num_heads / a.num_kv_heads / suggestion.query_heads_per_kv_head
    assert 1 / 1.5 <= groups <= 1.5 or (a.num_kv_heads == 1 and groups < 1)
    wanted, ratio = suggestion.ffn_ratio, a.intermediate_size / a.hidden_size
    assert wanted / 2 - 0.5 <= ratio <= wanted * 2 + 2
    if suggestion.sharing.strategy is SharingStrategy.NONE:
        assert a.sharing.repeat == 1
    elif a.sharing.repeat > 1:
        assert a.sharing.repeat == suggestion.sharing.repeat
        # one block run several times is the same model in any order, so it has one name
        same = SharingStrategy.IMMEDIATE if a.num_layers == 1 else suggestion.sharing.strategy
        assert a.sharing.strategy is same


def _fallbacks(architecture: Architecture, format_name: str) -> set[str]:
    """Types of matrices of the blocks that are not what the mix means them to be."""
    unrolled = architecture.unrolled()
    gqa = architecture.num_heads // architecture.num_kv_heads
    by: LlamaCppMix = mix(format_name)
    stored = runtime("llama.cpp").store(architecture, format_name)
    return {
        t.type.name
        for t in stored
        if t.spec.layer is not None
        and len(t.spec.shape) > 1
        and t.type.name != by.layer_types(t.spec.role, unrolled.num_layers, gqa)[t.spec.layer]
    }


@settings(max_examples=80)
@given(CASES)
def test_no_matrix_falls_back_unless_it_may(case: tuple[SearchConfig, Suggestion]) -> None:
    config, suggestion = case
    candidate = resolve(suggestion, config.changed(allow_fallback=False)).candidate
    assert not _fallbacks(candidate.architecture, candidate.format)


@pytest.mark.parametrize("format_name", ["Q4_0", "Q4_K_M"])
@pytest.mark.parametrize("seed", range(3))
def test_no_shape_inside_is_bent_less(format_name: str, seed: int) -> None:
    """Every width, depth and feed-forward width near the suggestion, one estimate each, has no better one."""
    config = SearchConfig.build(
        formats=(format_name,), max_size_bytes=3_000_000, max_hidden_size=512, head_dims=(64,)
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    suggestion = replace(
        suggest(study.ask(), config), sharing=LayerSharing(), size_fraction=1.0, executed_layers=6
    )
    resolved = resolve(suggestion, config).candidate.architecture
    step = 32 if format_name == "Q4_0" else 256
    bends = []
    for layers in (5, 6, 7):
        for like in _widths(resolved, step, suggestion.query_heads_per_kv_head):
            wanted = suggestion.ffn_ratio * like.hidden_size
            for ffn in range(step, int(2 * wanted) + 1, step):
                shape = replace(like, num_layers=layers, intermediate_size=ffn)
                if 2 * ffn >= wanted and 2.7e6 <= _size(shape, format_name) <= 3e6:
                    bends.append(_bend(shape, suggestion))
    assert _bend(resolved, suggestion) <= min(bends) + 0.05


def _widths(like: Architecture, step: int, group: int) -> list[Architecture]:
    """Shapes of every width up to 512 with about as many query heads to a KV head as that."""
    found = []
    for width in range(64, 513, 64):
        heads = width // 64
        divisors = [d for d in range(1, heads + 1) if heads % d == 0]
        kv_heads = min(divisors, key=lambda d: (abs(log2(d * group / heads)), d))
        about = 1 / 1.5 <= heads / kv_heads / group <= 1.5 or (kv_heads == 1 and heads <= group)
        if width % step == 0 and about:
            found.append(replace(like, hidden_size=width, num_heads=heads, num_kv_heads=kv_heads))
    return found


def _bend(shape: Architecture, suggestion: Suggestion) -> float:
    ratio = shape.intermediate_size / shape.hidden_size / suggestion.ffn_ratio
    depth = shape.num_layers / suggestion.executed_layers
    return abs(log2(ratio)) + 2 * abs(log2(depth))


def test_a_k_quant_in_a_tiny_budget() -> None:
    """A width of 256 is too much for 300 kB: another format takes its place, or types fall back, as asked."""
    config = SearchConfig.build(max_size_bytes=300_000)
    suggestion = replace(PLAIN, format="Q4_K_M", size_fraction=1.0)
    replaced = resolve(suggestion, config)
    assert replaced.reason is None
    assert replaced.candidate.format == "Q4_0"
    fallen = resolve(suggestion, config.changed(allow_fallback=True))
    assert fallen.reason is None
    assert fallen.candidate.format == "Q4_K_M"
    assert fallen.candidate.architecture.hidden_size < 256
    assert _fallbacks(fallen.candidate.architecture, "Q4_K_M") >= {"Q5_0"}
    alone = resolve(
        suggestion,
        config.changed(formats=("Q4_K_M",), max_executed_layers=1, min_executed_layers=1, sharing=("none",)),
    )
    assert alone.reason is not None


def test_a_k_quant_is_kept_where_rows_of_256_fill_the_budget() -> None:
    candidate = resolve(
        replace(PLAIN, format="Q4_K_M", executed_layers=8, size_fraction=1.0),
        SearchConfig.build(max_size_bytes=4_000_000),
    ).candidate
    assert candidate.format == "Q4_K_M"
    a = candidate.architecture
    assert (a.hidden_size % 256, a.intermediate_size % 256) == (0, 0)


@pytest.mark.parametrize(
    ("format_name", "group", "multiple"),
    [
        ("F16", 1, 32),
        ("Q4_0", 1, 32),
        ("Q8_0", 4, 32),
        ("Q4_K_M", 1, 256),
        ("TQ1_0", 1, 256),
        # its value matrices and first down projections are Q5_K
        ("IQ4_NL", 1, 256),
    ],
)
def test_rows_each_format_needs(format_name: str, group: int, multiple: int) -> None:
    assert row_multiple("llama.cpp", format_name, group) == multiple


def test_other_engines_are_asked_for_their_own_rows_and_files() -> None:
    assert row_multiple("mlx", runtime("mlx").formats[0]) in (32, 64, 128, 256)
    config = SearchConfig.build(runtime="executorch", formats=("8da4w-g32-e8",), device=None)
    suggestion = replace(PLAIN, format="8da4w-g32-e8", sharing=TWICE, executed_layers=8)
    resolved = resolve(suggestion, config)
    assert resolved.reason is None
    a = resolved.candidate.architecture
    assert a.sharing.repeat == 2
    assert 0.9e6 <= file_bytes(a, "8da4w-g32-e8", "executorch") <= 1e6


def test_a_depth_that_no_width_is_narrow_enough_for_becomes_less() -> None:
    config = SearchConfig.build(max_size_bytes=100_000, formats=("Q8_0",))
    resolved = resolve(replace(PLAIN, executed_layers=24, size_fraction=1.0), config)
    assert resolved.reason is None
    assert 2 <= resolved.candidate.architecture.num_layers < 12


def test_a_budget_below_the_smallest_model_says_so() -> None:
    config = SearchConfig.build(max_size_bytes=20_000)
    resolved = resolve(replace(PLAIN, size_fraction=1.0), config)
    assert resolved.reason is not None
    assert "of 2 to 24 layers and a width of 32 to 1024 has a file of 18 KB to 20 KB" in resolved.reason
    size = _size(resolved.candidate.architecture, resolved.candidate.format)
    assert size >= smallest_file_bytes(config) > 20_000
    # the budget itself says no as well, so that the candidate can never be trained
    sized = estimate(architecture=resolved.candidate.architecture, format=resolved.candidate.format)
    assert Limits(max_size_bytes=20_000).violations(sized)


def test_a_space_that_is_too_narrow_says_what_would_be_nearest() -> None:
    config = SearchConfig.build(max_size_bytes=5_000_000, max_hidden_size=64, max_executed_layers=4)
    reason = resolve(replace(PLAIN, size_fraction=1.0), config).reason
    assert reason is not None
    assert "has a file of 4.5 MB to 5 MB; the nearest is" in reason


def test_widths_that_no_head_divides() -> None:
    config = SearchConfig.build(min_hidden_size=100, max_hidden_size=120, formats=("Q8_0",))
    with pytest.raises(
        NoFit, match=r"hidden_size: no width from 100 to 120 is a multiple of head_dim \(32, 64\)"
    ):
        resolve(PLAIN, config)


def test_the_same_point_resolves_to_the_same_candidate() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    suggestion = suggest(study.ask(), CONFIG)
    assert resolve(suggestion, CONFIG).candidate == resolve(suggestion, CONFIG).candidate


def test_candidates_are_the_same_whatever_they_are_called() -> None:
    candidate = resolve(PLAIN, CONFIG).candidate
    renamed = replace(candidate, architecture=replace(candidate.architecture, name="another"))
    assert renamed == candidate
    assert len({renamed, candidate}) == 1


def test_one_block_run_twice_is_one_model() -> None:
    config = SearchConfig.build(max_executed_layers=2, max_size_bytes=300_000)
    points = [
        replace(PLAIN, sharing=LayerSharing(strategy=s, repeat=2), executed_layers=2, size_fraction=1.0)
        for s in (SharingStrategy.IMMEDIATE, SharingStrategy.REPEAT_ALL, SharingStrategy.REVERSE)
    ]
    assert len({resolve(point, config).candidate for point in points}) == 1


@pytest.mark.parametrize(("ends", "layers"), [(1, 4), (1, 9), (2, 6), (2, 12)])
def test_a_middle_that_loops_has_ends_of_its_own(ends: int, layers: int) -> None:
    config = CONFIG.changed(sharing=("middle",), sharing_ends=(ends,))
    middle = LayerSharing(strategy=SharingStrategy.MIDDLE, repeat=2, ends=ends)
    resolved = resolve(replace(PLAIN, sharing=middle, executed_layers=layers), config)
    a = resolved.candidate.architecture
    assert resolved.reason is None
    assert a.sharing == middle
    assert a.num_layers > 2 * ends
    assert abs(a.executed_layers - layers) <= max(2, 0.25 * layers)
    assert a.name.endswith(f"middlex2e{ends}")
    # llama.cpp stores the looped blocks once for each run: as many bytes as without sharing
    plain = replace(a, num_layers=a.executed_layers, sharing=LayerSharing())
    assert _size(a, PLAIN.format) == _size(plain, PLAIN.format)


def test_names_describe_the_shape() -> None:
    suggestion = replace(PLAIN, sharing=TWICE, tie_embeddings=False)
    a = resolve(suggestion, CONFIG).candidate.architecture
    assert a.name == shape_name(a)
    assert a.name.startswith(f"{a.num_layers}x{a.hidden_size} ")
    assert a.name.endswith("immediatex2 untied")


def test_a_shape_of_125m_is_found_in_a_moment() -> None:
    config = SearchConfig.build(
        vocab_size=32_000,
        max_size_bytes=100_000_000,
        max_executed_layers=48,
        **LARGE,
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
    suggestions = [suggest(study.ask(), config) for _ in range(30)]
    resolve(suggestions[0], config)
    times = []
    for suggestion in suggestions:
        start = process_time()
        resolve(suggestion, config)
        times.append(process_time() - start)
    assert sorted(times)[15] < 0.05
