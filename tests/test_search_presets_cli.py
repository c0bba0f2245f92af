"""`sizer search presets` and `run --preset`: listing, printing, what overrides what; nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cli
from search.config.config import SearchConfig
from search.config.presets import preset, presets
from search.config.reading import config_from_dict, read_toml
from search.run import runner
from sizer.errors import StudyError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SearchConfig]:
    """Configurations that reach the loop, which is not run."""
    seen: list[SearchConfig] = []

    def run(config: SearchConfig, **_: Any) -> None:
        seen.append(config)
        raise StudyError("stopped by the test")

    monkeypatch.setattr(runner, "run", run)
    return seen


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["search", "presets"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in presets())
    assert cli.main(["search", "presets", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["presets"]
    assert [row["name"] for row in listed] == list(presets())
    assert listed[0]["config"]["max_size_bytes"] > 0


def test_a_preset_is_printed_to_start_a_file_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, asked: list[SearchConfig]
) -> None:
    assert cli.main(["search", "presets", "browser-tiny"]) == 0
    file = tmp_path / "mine.toml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    assert config_from_dict(read_toml(file)) == preset("browser-tiny").config
    cli.main(["search", "run", "--config", str(file)])
    cli.main(["search", "run", "--preset", "browser-tiny"])
    assert asked == [preset("browser-tiny").config] * 2


def test_options_override_a_file_and_a_file_a_preset(tmp_path: Path, asked: list[SearchConfig]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('learning_rate = 1e-3\n[budget]\nmax_size_bytes = "3MB"\n', encoding="utf-8")
    run = ["search", "run", "--config", str(file), "--preset", "raspberry-pi-4-tiny"]
    cli.main([*run, "--trials", "7", "--max-memory", "50MB"])
    (config,) = asked
    assert config.training.learning_rate == 1e-3  # of the file
    assert config.budget.max_size_bytes == 3_000_000  # of the file, not the preset's 1 MB
    assert (config.training.trials, config.budget.max_memory_bytes) == (7, 50_000_000)  # of the options
    assert config.budget.device == "raspberry-pi-4"  # of the preset


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["presets", "toaster"], "unknown preset 'toaster'"),
        (["run", "--preset", "toaster"], "unknown preset 'toaster'"),
    ],
)
def test_an_unknown_preset_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["search", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_field_in_the_wrong_table_names_file_and_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[space]\nsteps = 10\n", encoding="utf-8")
    assert cli.main(["search", "run", "--config", str(file)]) == 2
    assert f"steps: belongs in [training] of {file}, got it in [space]" in capsys.readouterr().err
