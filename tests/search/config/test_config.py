"""SearchConfig: what is refused and how it is said; TOML and the way through JSON."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from search.config.config import FIELDS, TABLES, SearchConfig
from search.config.reading import config_from_dict, read_toml, stored_config
from sizer.errors import InvalidFile, SizerError, UnknownName

ROOT = Path(__file__).resolve().parents[3]


def test_it_survives_json() -> None:
    config = SearchConfig.build(trials=7, formats=("Q8_0",), max_memory_bytes=300_000_000)
    assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_toml_takes_sizes_as_text(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        'max_size_bytes = "1.5MB"\ncontext_tokens = "16k"\nsharing = ["none"]\nlearning_rate = 1e-3\n',
        encoding="utf-8",
    )
    config = config_from_dict(read_toml(file))
    assert (config.budget.max_size_bytes, config.budget.context_tokens) == (1_500_000, 16_384)
    assert (config.space.sharing, config.training.learning_rate) == (("none",), 1e-3)


def test_toml_may_sort_its_fields_into_tables(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        'trials = 3\n[budget]\nmax_size_bytes = "4MB"\n[space]\ntie_embeddings = [false]\n'
        "[training]\nsteps = 9\n",
        encoding="utf-8",
    )
    assert config_from_dict(read_toml(file)) == SearchConfig.build(
        trials=3, max_size_bytes=4_000_000, tie_embeddings=(False,), steps=9
    )


def test_every_field_has_its_table() -> None:
    assert set(TABLES) == {f.name for f in fields(SearchConfig)}
    assert len(FIELDS) == sum(len(names) for names in TABLES.values())
    assert SearchConfig().to_dict().keys() == FIELDS.keys()


def test_a_stored_study_keeps_the_space_it_had() -> None:
    old = stored_config({"formats": ["Q4_K_M"], "max_size_bytes": 2_000_000}, "study old")
    assert (old.space.sharing_repeats, old.space.tie_embeddings, old.space.allow_fallback) == (
        (2,),
        (True,),
        True,
    )
    new = SearchConfig.build(sharing_repeats=(3,), allow_fallback=False)
    assert stored_config(new.to_dict(), "study new") == new


def test_stored_studies_keep_their_very_settings() -> None:
    """Those that the repository keeps were stored flat, one of them before some fields existed."""
    with closing(sqlite3.connect(f"file:{ROOT / 'docs/studies.db'}?mode=ro", uri=True)) as file:
        rows = file.execute("SELECT value_json FROM study_user_attributes WHERE key = 'sizer_config'")
        stored = [json.loads(json.loads(text)) for (text,) in rows]
    assert stored
    for values in stored:
        read = stored_config(values, "study").to_dict()
        # a study compared one vocabulary only, and said its number alone
        assert {key: read[key] for key in values} == {**values, "vocab_size": [values["vocab_size"]]}


def test_a_change_names_its_field_and_leaves_the_others() -> None:
    config = SearchConfig.build(trials=7, vocab_size=300)
    changed = config.changed(trials=8, device=None)
    assert (changed.training.trials, changed.budget.device, changed.space) == (8, None, config.space)
    with pytest.raises(UnknownName, match="unknown field of a search 'trails'; did you mean trials"):
        config.changed(trails=8)


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
        ({"sharing_repeats": [1]}, "sharing_repeats: must be a whole number from 2 to 64, got 1"),
        (
            {"sharing": ["reverse"], "sharing_repeats": [4], "max_executed_layers": 3},
            "sharing_repeats: needs a number up to max_executed_layers, which is 3, got [4]",
        ),
        (
            {"sharing": ["middle"], "sharing_repeats": [2], "sharing_ends": [2], "max_executed_layers": 5},
            "which is 5 less the blocks at both ends ([2] each), got [2]",
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
        ({"head_dims": [0]}, "head_dims: must be a whole number from 1 to 4096, got 0"),
        (
            {"min_executed_layers": 30},
            "min_executed_layers: must not exceed max_executed_layers, got 30 and 24",
        ),
        ({"min_size_fraction": 0.0}, "min_size_fraction: must be a number above 0 and at most 1"),
        ({"min_decode_tokens_per_s": -1.0}, "min_decode_tokens_per_s: must be a number above 0"),
        ({"device": None, "min_decode_tokens_per_s": 5.0}, "min_decode_tokens_per_s: needs a device"),
        ({"objectives": ["speed"]}, "objectives: unknown value 'speed'; accepted: bytes, download, memory"),
        ({"objectives": ["bytes", "bytes"]}, "objectives: must be up to 3 different ones, got bytes, bytes"),
        ({"device": None, "objectives": ["energy"]}, "objectives: energy needs a device to predict it on"),
        ({"device": ["pixel-8", "pixel-8"]}, "device: names a device twice, got pixel-8, pixel-8"),
        ({"device": ["pixel-8", "nokia"]}, "unknown device 'nokia'"),
        ({"cache_types": ["q9"]}, "unknown llama.cpp cache type 'Q9'"),
        ({"cache_types": ["q8_0"], "head_dims": [48]}, "head_dims: must be multiples of 32 with a Q8_0"),
        ({"vocab_size": [512, 1024]}, "vocab_size: tokenizer 'byte' has 256 tokens in any table, got 2"),
        (
            {"vocab_size": [512, 1024], "tokenizer": "bpe", "proxy_vocab_size": 256},
            "proxy_vocab_size: proxies of one vocabulary do not compare 2 of them",
        ),
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
        config_from_dict(read_toml(file))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="config: cannot read .*No such file"):
        read_toml(tmp_path / "none.toml")
