"""Families with layers other than attention and Llama's blocks, against transformers on the meta device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.errors import InvalidArchitecture, SizerError
from sizer.families.hf_config import architecture_from_config, read_config
from sizer.model_estimate import estimate
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.shape_code import architecture_of_code, shape_code
from sizer.tensors import count_parameters, mtp_parameters, tensor_specs
from tests.meta_models import our_shapes, their_shapes
from tests.other_layer_strategies import configs
from tests.other_layers import BASES

# Their configuration classes have no number of experts, or no rotation, by default.
INCOMPLETE = ("dots1", "hunyuan_v1_moe", "lfm2_moe")
KEYS = [(family, key) for family, base in BASES.items() for key in base if key != "model_type"]


@pytest.mark.parametrize("family", BASES)
def test_every_tensor_is_transformers(family: str) -> None:
    assert our_shapes(BASES[family]) == their_shapes(BASES[family])


@pytest.mark.parametrize("family", BASES)
def test_a_config_of_its_model_type_alone_takes_transformers_defaults(family: str) -> None:
    assert _same({"model_type": family}) in ((None,) if family in INCOMPLETE else (True,))


@pytest.mark.parametrize(("family", "key"), KEYS)
def test_a_key_left_out_or_null_takes_transformers_default(family: str, key: str) -> None:
    left_out = {k: v for k, v in BASES[family].items() if k != key}
    compared = [_same(config) for config in (left_out, {**BASES[family], key: None})]
    assert False not in compared


def _same(config: dict[str, Any]) -> bool | None:
    """Compare the tensors; None where transformers does not build a model of the config."""
    try:
        theirs = their_shapes(config)
    except Exception:  # transformers raises many kinds
        return None
    try:
        return our_shapes(config) == theirs
    except InvalidArchitecture as error:
        # what transformers takes though its sizes do not fit together may be refused, in words
        return None if "must be" in str(error) or "expected" in str(error) else False


@pytest.mark.parametrize("family", BASES)
def test_random_configs_have_the_shapes_that_transformers_makes(family: str) -> None:
    @settings(max_examples=15, deadline=None)
    @given(configs(family))
    def compare(config: dict[str, Any]) -> None:
        assert our_shapes(config) == their_shapes(config)

    compare()


def _count(config: dict[str, Any]) -> int:
    return count_parameters(tensor_specs(architecture_from_config(config))).total


def test_a_mamba_layer_worked_by_hand() -> None:
    # mamba-130m: 1,536 inner channels, 16 states, time step of rank 768 / 16 = 48
    a = architecture_from_config({"model_type": "mamba", "num_hidden_layers": 24})
    block = 768 + 2 * 1536 * 768 + 1536 * 5 + (48 + 32) * 1536 + 1536 * 49 + 1536 * 17 + 768 * 1536
    assert sum(s.num_elements for s in tensor_specs(a) if s.layer == 0) == block
    assert count_parameters(tensor_specs(a)).total == 50280 * 768 + 24 * block + 768 == 129_135_360


def test_a_mamba2_layer_worked_by_hand() -> None:
    # mamba2-130m: 24 heads of 64, one group of 128 states; in: gate, x, B, C and a time step for each head
    config = {
        "model_type": "mamba2",
        "vocab_size": 50288,
        "hidden_size": 768,
        "num_hidden_layers": 24,
        "num_heads": 24,
        "n_groups": 1,
        "tie_word_embeddings": True,
    }
    channels = 1536 + 2 * 128
    block = 768 + (1536 + channels + 24) * 768 + channels * 5 + 3 * 24 + 1536 + 768 * 1536
    assert _count(config) == 50288 * 768 + 24 * block + 768


PUBLISHED = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "other_layers.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("row", PUBLISHED, ids=[row["model"] for row in PUBLISHED])
def test_published_models(row: dict[str, Any]) -> None:
    assert our_shapes(row["config"]) == their_shapes(row["config"])
    published, total = row["published"], _count(row["config"])
    # whole numbers are exact counts, the others rounded ones: of Gemma 3n with keys and values that later
    # layers have in the file but do not use
    exact = isinstance(published, int)
    assert total == published if exact else total == pytest.approx(published, rel=0.007)


@pytest.mark.parametrize("row", PUBLISHED, ids=[row["model"] for row in PUBLISHED])
def test_nothing_of_a_published_config_is_unknown(row: dict[str, Any]) -> None:
    notes = read_config(row["config"], row["model"]).notes
    assert not [note for note in notes if "not understood" in note]


def test_multi_token_prediction_of_deepseek_v3_is_counted_apart() -> None:
    # the README of DeepSeek-V3: 671B of the model, 11.5B more of its MTP module without table and head
    a = architecture_from_config({"model_type": "deepseek_v3", "num_nextn_predict_layers": 1})
    assert count_parameters(tensor_specs(a)).total == pytest.approx(671.0e9, rel=1e-3)
    assert mtp_parameters(a) == pytest.approx(11.5e9, rel=0.01)
    (note,) = (
        n
        for n in estimate(architecture=a, format="bf16", runtime="transformers").assumptions
        if "multi-token" in n
    )
    assert note.startswith("1 layer for multi-token prediction (11,")
    assert mtp_parameters(architecture_from_config(BASES["deepseek_v2"])) == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mamba", "expand": -1}, "expand: expected a number from 0 to 1000, got -1"),
        ({"model_type": "mamba2", "n_groups": 3}, "mamba2.num_heads must be a multiple of mamba2.num_groups"),
        ({"model_type": "bamba", "mamba_d_head": 3}, "mamba_d_head: expected mamba_n_heads x mamba_d_head"),
        (
            {"model_type": "nemotron_h", "hybrid_override_pattern": "MX"},
            "hybrid_override_pattern: expected 1",
        ),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "M" * 10_001}, "expected 1 to 10000 of"),
        ({"model_type": "granitemoehybrid", "layer_types": ["mamba"]}, "layer_types: expected one of"),
        (
            {"model_type": "qwen3_next", "linear_num_value_heads": 5},
            "delta_net.num_value_heads must be a mul",
        ),
        ({"model_type": "deepseek_v3", "kv_lora_rank": 0}, "latent_attention.kv_rank must be a whole number"),
        ({"model_type": "deepseek_v3", "num_hidden_layers": 10**12}, "num_hidden_layers: expected 1 to"),
        ({"model_type": "gemma3n_text", "intermediate_size": [1, 2]}, "intermediate_size: expected a whole"),
        ({"model_type": "zamba2", "num_hidden_layers": 6}, "layers_block_type: missing"),
        ({"model_type": "hunyuan_v1_moe", "moe_topk": [1, 2]}, "moe_topk: expected the same number for all"),
    ],
    ids=str,
)
def test_refused_configs_name_the_key(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        architecture_from_config(config)


_ANY_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=4),
)


@given(st.sampled_from(sorted(BASES)), st.data())
def test_any_value_is_read_or_refused_in_one_line(family: str, data: st.DataObject) -> None:
    keys = [key for key in BASES[family] if key != "model_type"]
    changes = data.draw(st.dictionaries(st.sampled_from(keys), _ANY_VALUE, max_size=3))
    try:
        a = architecture_from_config({**BASES[family], **changes})
        if a.num_layers < 100:
            count_parameters(tensor_specs(a))
        message = ""
    except SizerError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize("family", BASES)
def test_every_runtime_stores_and_holds_a_model_or_says_why_not(family: str) -> None:
    @settings(max_examples=4, deadline=None)
    @given(configs(family))
    def run(config: dict[str, Any]) -> None:
        shape = architecture_from_config(config)
        assert architecture_of_code(shape_code(shape)) == shape
        for name in RUNTIME_NAMES:
            found = estimate(architecture=shape, format=runtime(name).formats[0], runtime=name)
            json.dumps(found.to_dict())
            if found.held is None:
                assert found.unsupported["weights"]
                continue
            assert found.memory.total_bytes >= found.memory.weights_bytes > 0
            names = [tensor.spec.name for tensor in runtime(name).store(shape, found.format)]
            assert len(set(names)) == len(names)

    run()
