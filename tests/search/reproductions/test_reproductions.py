"""The data of reproductions: sources, published sizes, proxies alike in what they claim to be alike in."""

from __future__ import annotations

import pytest

from search.reproductions.reproductions import Reproduction, Scale, reproduction, reproductions
from search.training.quantize import check_format
from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, UnknownName
from sizer.tensors import count_parameters, tensor_specs
from tests.published_facts import csv_rows

ALL = tuple(reproductions().values())
SHAPE = Architecture(
    vocab_size=32000,
    num_layers=30,
    hidden_size=512,
    intermediate_size=1536,
    num_heads=8,
    num_kv_heads=8,
    head_dim=64,
    tie_embeddings=False,
)


def _count(architecture: Architecture) -> int:
    return count_parameters(tensor_specs(architecture)).total


def test_the_names_asked_for_are_there() -> None:
    wanted = {"depth-vs-width", "swiglu", "tied-embeddings", "gqa", "layer-sharing", "bits"}
    assert set(reproductions()) == wanted
    assert len(reproduction("Depth-vs-Width").arms) == 9
    strategies = {a.candidate.architecture.sharing.strategy for a in reproduction("layer-sharing").arms}
    assert strategies == {"none", "immediate", "repeat-all", "reverse"}


def test_an_unknown_name_lists_what_is_known() -> None:
    with pytest.raises(UnknownName, match="unknown reproduction 'swigl'; did you mean swiglu"):
        reproduction("swigl")


@pytest.mark.parametrize("r", ALL, ids=lambda r: r.name)
def test_everything_is_said_and_has_a_source(r: Reproduction) -> None:
    for text in (r.title, r.source, r.published, r.metric, r.matched, *r.limits):
        assert text.strip()
    assert "arXiv" in r.source or "github" in r.source
    assert r.limits
    assert r.claims
    assert r.steps >= 1000  # below, early orders have the wrong sign
    assert r.seeds >= 2


@pytest.mark.parametrize("r", ALL, ids=lambda r: r.name)
def test_published_values_point_the_way_the_claim_says(r: Reproduction) -> None:
    for claim in r.claims:
        assert claim.better != claim.worse
        if claim.published is not None:
            better, worse = claim.published
            assert (better > worse) if r.higher_is_better else (better < worse), claim.text
            for label, value in zip((claim.better, claim.worse), claim.published, strict=True):
                assert r.arm(label).published_value in (value, None), claim.text


@pytest.mark.parametrize("r", ALL, ids=lambda r: r.name)
def test_published_shapes_have_the_published_parameters(r: Reproduction) -> None:
    for arm in r.arms:
        if arm.published is not None:
            assert arm.published_params_m is not None
            # to 0.1M where a decimal is printed, else to the million
            near = 0.1 if arm.published_params_m % 1 or r.name != "tied-embeddings" else 0.5
            assert _count(arm.published) / 1e6 == pytest.approx(arm.published_params_m, abs=near), arm.label


@pytest.mark.parametrize("r", ALL, ids=lambda r: r.name)
def test_every_proxy_can_be_trained_and_scored(r: Reproduction) -> None:
    for arm in r.arms:
        check_format(arm.candidate.architecture, arm.candidate.format)
        assert 100_000 < arm.parameters < 2_000_000  # a laptop's
        assert arm.tensor_bytes < arm.file_bytes


def test_proxies_of_mobilellms_shapes_are_all_the_same_share() -> None:
    """Matched as published: within the norms (1/16 instead of 1/128), a hundredth of a percent or two."""
    for name in ("depth-vs-width", "swiglu", "tied-embeddings", "layer-sharing"):
        for arm in reproduction(name).arms:
            assert arm.published is not None
            assert _count(arm.published) / arm.parameters == pytest.approx(128, rel=0.003), arm.label


def test_swiglu_and_relu_have_the_same_parameters() -> None:
    relu, swiglu = reproduction("swiglu").arms
    assert relu.parameters == swiglu.parameters == 1_048_800


def test_shared_models_store_what_unshared_ones_do() -> None:
    arms = reproduction("layer-sharing").arms
    assert {arm.parameters for arm in arms} == {1_079_792}
    assert {arm.tensor_bytes for arm in arms} == {2_161_600}
    assert [arm.candidate.architecture.executed_layers for arm in arms] == [4, 8, 8, 8]


def test_the_grouped_pair_is_smaller_as_its_text_says() -> None:
    r = reproduction("gqa")
    whole, grouped = r.arm("350M, all"), r.arm("350M, 1/3 and wider")
    assert grouped.parameters / whole.parameters == pytest.approx(1 - 0.011, abs=0.0005)
    assert whole.published_params_m is not None
    assert grouped.published_params_m is not None
    published = grouped.published_params_m / whole.published_params_m
    assert published == pytest.approx(1 - 0.018, abs=0.0005)


def test_claims_about_file_size_compare_files_of_one_size() -> None:
    r = reproduction("bits")
    at_one_size = [c for c in r.claims if "file size" in c.text]
    assert len(at_one_size) == 3
    for claim in at_one_size:
        sizes = [r.arm(label).tensor_bytes for label in (claim.better, claim.worse)]
        assert max(sizes) / min(sizes) < 1.02, claim.text
    at_one_shape = [c for c in r.claims if "one shape" in c.text]
    assert len(at_one_shape) == 3
    for claim in at_one_shape:
        one, other = (r.arm(label).candidate.architecture for label in (claim.better, claim.worse))
        assert one == other


def test_a_scale_divides_every_count() -> None:
    proxy = Scale(depth=2, width=8, vocab=16, heads=2).of(SHAPE)
    assert (proxy.num_layers, proxy.hidden_size, proxy.intermediate_size) == (15, 64, 192)
    assert (proxy.num_heads, proxy.num_kv_heads, proxy.head_dim) == (4, 4, 16)
    assert (proxy.vocab_size, proxy.tie_embeddings) == (2000, False)


@pytest.mark.parametrize(
    ("scale", "field"),
    [
        (Scale(depth=4, width=8, vocab=16, heads=1), "num_layers"),
        (Scale(depth=2, width=5, vocab=16, heads=1), "hidden_size"),
        (Scale(depth=2, width=8, vocab=7, heads=1), "vocab_size"),
        (Scale(depth=2, width=8, vocab=16, heads=3), "num_heads"),
    ],
)
def test_a_count_that_does_not_divide_is_named(scale: Scale, field: str) -> None:
    with pytest.raises(InvalidArchitecture, match=f"^{field} must be a multiple of"):
        scale.of(SHAPE)


# Where each published value stands in truth/quality.csv: study, model (or its shape), column.
_ROWS = {
    "swiglu": [
        ("ReLU", "design_roadmap", "125M baseline (ReLU FFN)"),
        ("SwiGLU", "depth_vs_width", "125M-class 12L x 768"),
    ],
    "tied-embeddings": [
        ("untied", "embedding_sharing", "125M without emb-share"),
        ("tied", "embedding_sharing", "125M +emb-share"),
        ("tied, deeper", "embedding_sharing", "125M +emb-share, deeper"),
    ],
    "gqa": [
        ("125M, all", "heads_kv_heads", "125M H16 KV16"),
        ("125M, 1/4", "heads_kv_heads", "125M H16 KV4"),
        ("125M, 1/8", "heads_kv_heads", "125M H16 KV2"),
        ("350M, all", "design_roadmap", "350M +embedding sharing"),
        ("350M, 1/3 and wider", "design_roadmap", "350M +GQA (=MobileLLM)"),
    ],
    "layer-sharing": [
        ("none", "layer_sharing_strategy", "125M baseline (no sharing)"),
        ("immediate x2", "layer_sharing_strategy", "125M immediate block-wise share"),
        ("repeat-all x2", "layer_sharing_strategy", "125M repeat-all-over share"),
    ],
}


@pytest.mark.parametrize("name", _ROWS)
def test_values_are_those_of_the_fact_file(name: str) -> None:
    rows = csv_rows("quality.csv")
    for label, study, model in _ROWS[name]:
        # of rows of other amounts of training tokens, the comparison's is the first
        row = next(r for r in rows if r["study"] == study and r["model"] == model)
        arm = reproduction(name).arm(label)
        assert arm.published is not None
        assert arm.published_value == float(row["avg"])
        assert arm.published.hidden_size == int(row["dim"])
        assert arm.published.num_layers == int(row["layers"])
        if row["params_m"]:
            assert arm.published_params_m == float(row["params_m"])
        if row["kv_heads"] and row["heads"]:
            assert (arm.published.num_heads, arm.published.num_kv_heads) == (
                int(row["heads"]),
                int(row["kv_heads"]),
            )


def test_the_nine_shapes_are_those_of_the_fact_file() -> None:
    rows = [r for r in csv_rows("quality.csv") if r["study"] == "depth_vs_width"]
    found = {}
    for arm in reproduction("depth-vs-width").arms:
        assert arm.published is not None
        a = arm.published
        found[a.num_layers, a.hidden_size, a.intermediate_size, a.num_heads] = (
            arm.published_value,
            arm.published_params_m,
        )
    assert found == {
        (int(r["layers"]), int(r["dim"]), int(r["ffn_hidden_derived"]), int(r["heads"])): (
            float(r["avg"]),
            float(r["params_m"]),
        )
        for r in rows
    }


def test_perplexities_are_those_of_the_fact_file() -> None:
    ppl = {
        r["model"].removeprefix("MobileLLM-ParetoQ-"): float(r["wiki_ppl"])
        for r in csv_rows("quality.csv")
        if r["study"] == "paretoq_bits"
    }
    bitnet = {r["model"]: r["other"] for r in csv_rows("quality.csv") if r["study"] == "bitnet_b158"}
    published = [c.published for c in reproduction("bits").claims]
    assert published == [
        (ppl["125M-BF16"], ppl["125M-2-bit"]),
        (ppl["125M-2-bit"], ppl["125M-1.58-bit"]),
        (12.33, 12.87),
        (ppl["600M-1.58-bit"], ppl["125M-BF16"]),
        (ppl["600M-3-bit"], ppl["125M-BF16"]),
        None,
    ]
    assert "PPL 12.33 " in bitnet["LLaMA 700M"]
    assert "PPL 12.87 " in bitnet["BitNet b1.58 700M"]
    # the question that is left open: the two measures of the publication point either way
    assert (ppl["600M-4-bit"], ppl["1.5B-1.58-bit"]) == (8.9, 9.0)
