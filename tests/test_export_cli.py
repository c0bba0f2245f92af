"""`sizer export`, `verify` and `score`: from a study to a file that scores, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.search.export.conftest import MakeStudy, make_study, storage, tiny  # noqa: F401

pytest.importorskip("xllamacpp")


def test_from_a_study_to_a_scored_file(
    sizer: Any,
    make_study: MakeStudy,  # noqa: F811
    storage: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    make_study(tiny(), learning_rate=1.5e-3)
    done = sizer("export", "s", "0", "--storage", storage, "--json")
    path = Path(done.json["path"])
    assert path == tmp_path / "runs" / "s" / "export" / "0-Q4_0.gguf"
    assert done.json["file_bytes"] == done.json["predicted_bytes"] == path.stat().st_size
    assert path.with_suffix(".md").read_text(encoding="utf-8").startswith("# 2x64, trial 0 of study s")
    text = sizer("export", "s", "0", "--storage", storage)
    assert text.code == 0
    assert "next: sizer verify" in text.out
    assert "recomputed" in text.err

    found = sizer("verify", str(path), "--json")
    assert found.code == 0
    assert {row["quantity"] for row in found.json["rows"] if row["agrees"]} == {
        *("file_bytes", "tensor_bytes", "val_bits_per_byte", "memory_bytes"),
    }
    scored = sizer("score", str(path), "--task", "builtin:python", "--json")
    assert scored.code == 0
    assert scored.json["items"] == len(scored.json["log_likelihoods"]) >= 24
    assert 0 <= scored.json["accuracy"] <= 1

    path.write_bytes(path.read_bytes() + b"\0" * 32)
    changed = sizer("verify", str(path), "--quick")
    assert changed.code == 1
    assert "no" in changed.out

    page = sizer("export", "s", "0", "--to", "hf", "--out", str(tmp_path / "hf"), "--storage", storage)
    assert page.code == 0
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["model_type"] == "llama"


def test_a_recipe_of_a_catalogue_model(sizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = sizer("export", "MobileLLM-125M", "--to", "recipe", "--tokens", "1T", "--json")
    assert done.code == 0
    assert done.json["parameters"] == 124_635_456
    assert done.json["tokens"] == 10**12
    assert sorted(path.name for path in Path(done.json["path"]).iterdir()) == [
        *("config.json", "litgpt.yaml", "plan.json", "plan.md", "train.py"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "s", "0", "--to", "onnx"), "unknown to 'onnx'"),
        (("export", "s"), "TRIAL: missing; accepted: sizer export s NUMBER --to gguf"),
        (("export", "s", "0", "--tokens", "1B"), "tokens: is of a recipe, got --to gguf"),
        (("export", "s", "9"), "trial: 9 is not in study 's'; with weights: 0"),
        (("export", "s", "0", "--seed", "4"), "seed: trial 0 has no weights of seed 4; accepted: 0"),
        (("export", "s", "0", "--context", "0"), "context: must be from 1"),
        (("export", "s", "0", "--format", "nf4"), "llama.cpp format"),
        (("export", "none", "0"), "study: 'none' does not exist"),
    ],
)
def test_bad_input_is_one_line(
    sizer: Any,
    make_study: MakeStudy,  # noqa: F811
    storage: str,  # noqa: F811
    arguments: tuple[str, ...],
    message: str,
) -> None:
    make_study(tiny(), steps=2)
    done = sizer(*arguments, "--storage", storage)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
