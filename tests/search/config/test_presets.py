"""Presets: each is a whole configuration for a known device, whose space has next to nothing infeasible."""

from __future__ import annotations

import tomllib
from pathlib import Path

import optuna
import pytest

from search.config.config import FIELDS
from search.config.presets import preset, presets
from search.config.reading import config_from_dict, read_toml
from search.space.initial_points import initial_suggestions
from search.space.resolve import resolve
from search.space.space import suggest
from search.training.scaled_proxy import proxy_of
from sizer.budget import Limits
from sizer.errors import UnknownName
from sizer.runtimes import runtime
from sizer.tensors import count_parameters, tensor_specs

NAMES = tuple(presets())


def test_there_are_tiny_and_large_ones_for_many_devices() -> None:
    configs = {name: found.config for name, found in presets().items()}
    assert len({config.budget.device for config in configs.values()}) >= 5
    tiny = [config for config in configs.values() if config.space.vocab_size == (256,)]
    large = [config for config in configs.values() if config.space.vocab_size > (256,)]
    assert len(tiny) >= 3
    assert len(large) >= 3
    assert all(1_000_000 <= config.budget.max_size_bytes <= 8_000_000 for config in tiny)
    assert all(80_000_000 <= config.budget.max_size_bytes <= 1_000_000_000 for config in large)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("-tiny")])
def test_proxies_of_large_models_are_small_enough_for_a_laptop(name: str) -> None:
    config = preset(name).config
    for suggestion in initial_suggestions(config):
        model = resolve(suggestion, config).candidate.architecture
        proxy = proxy_of(model, config)
        assert proxy is not None
        assert count_parameters(tensor_specs(proxy)).total < 16_000_000
        assert proxy.executed_layers == model.executed_layers


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_every_field_that_matters(name: str) -> None:
    found = preset(name.upper())
    assert found.about
    assert not found.about.startswith("#")
    optional = {"min_decode_tokens_per_s", "learning_rate", "teacher", "keep_finalists", "train_on"}
    optional |= {"other_devices", "objectives", "cache_types"}
    optional |= {"tokenizer_bytes"}  # the trained tokenizer's
    if found.config.space.ffn_growths == (1.0,):
        optional |= {"ffn_growths"}  # equal sizes
    if found.config.space.experts == (1,):
        optional |= {"experts", "experts_used"}
    if found.config.space.windows == (0,):
        optional |= {"windows", "full_every"}
    if found.config.space.convolutions == (0,):
        optional |= {"convolutions"}
    if "middle" not in found.config.space.sharing:
        optional |= {"sharing_ends"}
    if found.config.space.vocab_size == (256,):
        optional |= {"proxy_width_scale", "proxy_vocab_size"}
    assert FIELDS.keys() - optional <= found.values.keys()
    assert tomllib.loads(found.text).keys() == {"budget", "space", "training"}
    assert set(found.config.space.formats) <= set(runtime(found.config.budget.runtime).searchable_formats)


def test_a_preset_saved_as_a_file_is_the_same_search(tmp_path: Path) -> None:
    found = preset("raspberry-pi-5-tiny")
    file = tmp_path / "mine.toml"
    file.write_text(found.text, encoding="utf-8")
    assert config_from_dict(read_toml(file)) == found.config


def test_an_unknown_preset_names_the_near_ones() -> None:
    with pytest.raises(UnknownName, match="unknown preset 'raspberry-pi-5'; did you mean raspberry-pi-5-"):
        preset("raspberry-pi-5")


@pytest.mark.parametrize("name", NAMES)
def test_less_than_a_tenth_of_a_space_is_infeasible(name: str) -> None:
    config = preset(name).config
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    budget = Limits(
        max_size_bytes=config.budget.max_size_bytes,
        max_memory_bytes=config.budget.max_memory_bytes,
        min_decode_tokens_per_s=config.budget.min_decode_tokens_per_s,
    )
    infeasible = 0
    for _ in range(50):
        resolved = resolve(suggest(study.ask(), config), config)
        sized = resolved.candidate.deployment(
            runtime=config.budget.runtime,
            device=config.budget.device,
            context_tokens=config.budget.context_tokens,
        )
        infeasible += bool(resolved.reason or budget.violations(sized))
    assert infeasible < 5
