"""Options of `sizer search run`: one for each field, read alike from the command line and from TOML."""

from __future__ import annotations

from typing import Any

import pytest

from search.config.config import FIELDS, SearchConfig
from search.config.options import OPTIONS, values_of
from search.config.reading import config_from_dict
from sizer.errors import SizerError

# As CLI.md has them.
CONTRACT = (
    *("device", "max_size", "max_memory", "min_decode", "trials", "steps", "seed", "corpus", "workers"),
    *("runtime", "format", "context", "layers", "hidden_size", "head_dim", "kv_ratio", "ffn_ratio"),
    *("vocab_size", "sharing", "cache_type", "objective"),
)


def test_every_field_can_be_given_and_every_option_of_the_contract_is_there() -> None:
    covered = {one.name for option in OPTIONS.values() for one in option.fields} | {"other_devices"}
    assert covered == FIELDS.keys()
    assert set(CONTRACT) <= OPTIONS.keys()


@pytest.mark.parametrize(
    ("option", "given", "fields"),
    [
        ("layers", "4:48", {"min_executed_layers": 4, "max_executed_layers": 48}),
        ("layers", "6", {"min_executed_layers": 6, "max_executed_layers": 6}),
        ("hidden_size", ":512", {"max_hidden_size": 512}),
        ("ffn_ratio", "1:2.5", {"min_ffn_ratio": 1.0, "max_ffn_ratio": 2.5}),
        ("vocab_size", "8192,16384", {"vocab_size": (8192, 16384)}),
        ("format", ["Q4_0", "Q8_0, F16"], {"formats": ("Q4_0", "Q8_0", "F16")}),
        ("device", ["a", "b,c"], {"device": "a", "other_devices": ("b", "c")}),
        ("tie_embeddings", "yes,false", {"tie_embeddings": (True, False)}),
        ("max_size", "3MB", {"max_size_bytes": 3_000_000}),
        ("min_decode", "12.5", {"min_decode_tokens_per_s": 12.5}),
        ("context", "8k", {"context_tokens": 8192}),
        ("objective", ["energy", "ttft"], {"objectives": ("energy", "ttft")}),
    ],
)
def test_text_is_read_as_its_fields(option: str, given: Any, fields: dict[str, Any]) -> None:
    assert values_of(OPTIONS[option], given) == fields
    if "a" not in fields.values():
        more = {"tokenizer": "bpe"} if option == "vocab_size" else {}
        assert config_from_dict({option: given, **more}) == SearchConfig().changed(**fields, **more)


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("layers", "4:x", "layers: cannot read 'x'; accepted: whole numbers"),
        ("layers", ":", "layers: cannot read ':'; accepted: LOW:HIGH"),
        ("kv_ratio", "1,two", "kv-ratio: cannot read 'two'; accepted: whole numbers"),
        ("tie_embeddings", "maybe", "tie-embeddings: must be true or false, got 'maybe'"),
        ("trials", ["3", "4"], "trials: takes one value, got 3, 4"),
        ("max_size", "big", "max-size: cannot read 'big'"),
        ("context", "8kb", "context: cannot read '8kb'; accepted: whole tokens, such as 4096 or 128k"),
    ],
)
def test_bad_text_names_option_and_value(option: str, given: Any, message: str) -> None:
    with pytest.raises(SizerError) as caught:
        values_of(OPTIONS[option], given)
    assert str(caught.value).startswith(message)


def test_an_option_and_its_own_field_are_not_both_given() -> None:
    with pytest.raises(SizerError, match="layers: is given twice in config, by this name and as min_exec"):
        config_from_dict({"layers": "4:8", "min_executed_layers": 3})
    table = {"space": {"layers": "4:8"}, "budget": {"device": ["pixel-8", "raspberry-pi-5"]}}
    read = config_from_dict(table)
    assert (read.space.max_executed_layers, read.budget.devices) == (8, ("pixel-8", "raspberry-pi-5"))
    with pytest.raises(SizerError, match=r"layers: belongs in \[space\]"):
        config_from_dict({"training": {"layers": "4:8"}})


def test_another_runtime_brings_its_own_formats() -> None:
    assert config_from_dict({"runtime": "mlx"}).space.formats[0] == "2bit"
    assert config_from_dict({"runtime": "litert-lm"}).space.formats == ("fp16", "fp32")
    assert config_from_dict({"runtime": "mlx", "format": "8bit"}).space.formats == ("8bit",)
