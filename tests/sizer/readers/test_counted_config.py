"""What a vision model has outside its text decoder: published totals, and reasons where it is not counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sizer.errors import InvalidArchitecture
from sizer.readers import meta_count, read_described_model, read_model
from sizer.readers.meta_count import CountedModel
from sizer.tensors import count_parameters, tensor_specs
from tests.published_facts import json_lines

(GEMMA,) = (row for row in json_lines("model_configs.jsonl") if row["name"] == "gemma3-4b-vlm")
WHOLE = 4_300_079_472  # google/gemma-3-4b-it: total of its safetensors


def _counted(total: int, outside: int) -> CountedModel:
    parts = dict.fromkeys(("embedding", "attention", "norm", "head"), 0)
    return CountedModel(
        name="gemma",
        model_type="gemma3",
        class_name="Gemma3",
        transformers_version="5",
        mlp=total - outside,
        other=outside,
        outside_text=outside,
        **parts,
    )


def _last_note(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(GEMMA["config"]))
    return read_described_model(str(tmp_path)).notes[-1]


def test_the_rest_of_the_whole_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        meta_count, "count_on_meta", lambda *given: _counted(WHOLE, WHOLE - GEMMA["parameters"])
    )
    assert _last_note(tmp_path) == (
        "419,816,304 parameters outside the text decoder are not part of this estimate: Gemma3 has "
        "4,300,079,472 in all (transformers 5, meta device)"
    )


def test_counts_that_do_not_divide_are_not_subtracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta_count, "count_on_meta", lambda *given: _counted(WHOLE, 5))
    assert "which do not divide as read here" in _last_note(tmp_path)


def test_a_reason_takes_the_place_of_a_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any) -> CountedModel:
        raise InvalidArchitecture("depth: too large")

    monkeypatch.setattr(meta_count, "count_on_meta", refuse)
    assert _last_note(tmp_path) == "what is outside the text decoder is not counted: depth: too large"


def test_reading_a_shape_alone_counts_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_count, "_run_worker", lambda request: pytest.fail("a process was started"))
    (tmp_path / "config.json").write_text(json.dumps(GEMMA["config"]))
    shape = read_model(str(tmp_path))
    assert count_parameters(tensor_specs(shape)).total == GEMMA["parameters"]
    assert len(read_described_model(GEMMA["config"]).notes) == 2


@pytest.mark.slow
def test_gemma_3_4b_has_the_published_total(tmp_path: Path) -> None:
    assert f"has {WHOLE:,} in all" in _last_note(tmp_path)
