"""SearchConfig: what is refused and how it is said; TOML and the way through JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from search.space.config import TABLES, SearchConfig, config_from_dict, load_config, stored_config
from sizer.errors import InvalidFile, SizerError


def test_it_survives_json() -> None:
    config = SearchConfig(trials=7, formats=("Q8_0",), max_memory_bytes=300_000_000)
    assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_toml_takes_sizes_as_text(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text('max_size_bytes = "1.5MB"\nsharing = ["none"]\nlearning_rate = 1e-3\n', encoding="utf-8")
    config = load_config(file)
    assert (config.max_size_bytes, config.sharing, config.learning_rate) == (1_500_000, ("none",), 1e-3)


def test_toml_may_sort_its_fields_into_tables(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        'trials = 3\n[budget]\nmax_size_bytes = "4MB"\n[space]\ntie_embeddings = [false]\n'
        "[training]\nsteps = 9\n",
        encoding="utf-8",
    )
    assert load_config(file) == SearchConfig(
        trials=3, max_size_bytes=4_000_000, tie_embeddings=(False,), steps=9
    )


def test_every_field_has_its_table() -> None:
    sorted_fields = [name for names in TABLES.values() for name in names]
    assert sorted(sorted_fields) == sorted(f.name for f in fields(SearchConfig))


def test_a_stored_study_keeps_the_space_it_had() -> None:
    old = stored_config({"formats": ["Q4_K_M"], "max_size_bytes": 2_000_000}, "study old")
    assert (old.sharing_repeats, old.tie_embeddings, old.allow_fallback) == ((2,), (True,), True)
    new = SearchConfig(sharing_repeats=(3,), allow_fallback=False)
    assert stored_config(new.to_dict(), "study new") == new


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trails": 3}, "unknown key in config 'trails'; did you mean trials"),
        ({"trials": 0}, "trials: must be a whole number from 1 to 100000, got 0"),
        ({"trials": True}, "trials: must be int, got True"),
        ({"steps": "many"}, "steps: must be int, got 'many'"),
        ({"max_size_bytes": "60 potatoes"}, "max_size_bytes: cannot read '60 potatoes'"),
        ({"formats": []}, "formats: must name at least one"),
        ({"formats": "Q4_0"}, "formats: must be a list, got 'Q4_0'"),
        ({"formats": ["Q4_9"]}, "unknown llama.cpp format 'Q4_9'"),
        ({"formats": [4]}, "unknown llama.cpp format '4'"),
        ({"sharing": ["twice"]}, "sharing: unknown value 'twice'; accepted: none, immediate"),
        ({"device": "toaster"}, "unknown device 'toaster'"),
        ({"proxy_width_scale": 0.0}, "proxy_width_scale: must be a number above 0 and at most 1, got 0.0"),
        ({"proxy_width_scale": 2}, "proxy_width_scale: must be a number above 0 and at most 1, got 2"),
        ({"proxy_width_scale": "half"}, "proxy_width_scale: must be float | None, got 'half'"),
        ({"proxy_width_scale": True}, "proxy_width_scale: must be float | None, got True"),
        (
            {"proxy_width_scale": 0.5, "head_dims": [32, 40]},
            "head_dims: must be multiples of 16 with proxy_width_scale, got 40",
        ),
        ({"proxy_vocab_size": 100}, "proxy_vocab_size: must be a whole number from 256 to 10000000, got 100"),
        (
            {"proxy_vocab_size": 512},
            "proxy_vocab_size: must not exceed vocab_size, which is 256, got 512",
        ),
        (
            {"tokenizer": "bpe", "vocab_size": 4096, "proxy_vocab_size": 256},
            "proxy_vocab_size: tokenizer 'bpe' has a token for each of 256 bytes and needs more",
        ),
        ({"runtime": "vllm"}, "unknown runtime 'vllm'"),
        ({"sharing_repeats": [1]}, "sharing_repeats: must be whole numbers from 2 to 64, got 1"),
        (
            {"sharing": ["reverse"], "sharing_repeats": [4], "max_executed_layers": 3},
            "sharing_repeats: needs a number up to max_executed_layers, which is 3, got [4]",
        ),
        ({"tie_embeddings": [1]}, "tie_embeddings: must be true or false, got 1"),
        ({"tie_embeddings": True}, "tie_embeddings: must be a list, got True"),
        ({"allow_fallback": 1}, "allow_fallback: must be bool, got 1"),
        ({"vocab_size": 255}, "vocab_size: must be a whole number from 256 to 10000000, got 255"),
        ({"tokenizer": "words"}, "tokenizer: unknown value 'words'; accepted: byte, bpe"),
        ({"tokenizer": 1}, "tokenizer: must be str, got 1"),
        (
            {"tokenizer": "bpe"},
            "vocab_size: tokenizer 'bpe' has a token for each of 256 bytes and needs more",
        ),
        ({"head_dims": [33]}, "head_dims: must be even for rotary positions, got 33"),
        ({"min_ffn_ratio": 1.2}, "min_ffn_ratio: must be a multiple of 0.5 from 0.5 to 16, got 1.2"),
        ({"max_ffn_ratio": 1.0}, "min_ffn_ratio: must not exceed max_ffn_ratio, got 1.5 and 1.0"),
        ({"space": {"trials": 3}}, "trials: belongs in [training] of config, got it in [space]"),
        ({"space": {"fromats": []}}, "unknown key in [space] of config 'fromats'; did you mean formats"),
        (
            {"seed": 1, "training": {"seed": 2}},
            "seed: is given twice in config, in [training] and outside of it",
        ),
        ({"budget": 3}, "budget: must be a table of fields in config, got 3"),
        ({"head_dims": [0]}, "head_dims: must be whole numbers from 1 to 4096, got 0"),
        (
            {"min_executed_layers": 30},
            "min_executed_layers: must not exceed max_executed_layers, got 30 and 24",
        ),
        ({"min_size_fraction": 0.0}, "min_size_fraction: must be above 0"),
        ({"min_decode_tokens_per_s": -1.0}, "min_decode_tokens_per_s: must be more than 0"),
        ({"device": None, "min_decode_tokens_per_s": 5.0}, "min_decode_tokens_per_s: needs a device"),
    ],
)
def test_refused_settings_name_field_and_value(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SizerError) as caught:
        config_from_dict(values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(b"trials = = 3", "is not valid TOML"), (b"\xff", "not UTF-8")]
)
def test_broken_toml(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "space.toml"
    file.write_bytes(content)
    with pytest.raises(InvalidFile, match=message):
        load_config(file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="config: cannot read .*No such file"):
        load_config(tmp_path / "none.toml")
