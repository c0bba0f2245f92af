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


BAD_INPUT = {
    ("export", "s", "0", "--to", "onnx"): "unknown to 'onnx'",
    ("export", "s"): "TRIAL: missing; accepted: sizer export s NUMBER --to gguf",
    ("export", "s", "0", "--tokens", "1B"): "tokens: is of a recipe, got --to gguf",
    ("export", "s", "9"): "trial: 9 is not in study 's'; with weights: 0",
    ("export", "s", "0", "--seed", "4"): "seed: trial 0 has no weights of seed 4; accepted: 0",
    ("export", "s", "0", "--context", "0"): "context: must be from 1",
    ("export", "s", "0", "--format", "nf4"): "llama.cpp format",
    ("export", "none", "0"): "study: 'none' does not exist",
    ("export", "s", "0", "--out", "mine.gguf"): "'mine.gguf' exists and is not an export of this model",
    ("export", "s", "0", "--to", "hf", "--out", "mine"): "'mine' exists and is not an export of this model",
    ("export", "s", "0", "--out", "mine.gguf/a.gguf"): "out: cannot write 'mine.gguf/a.gguf': ",
    ("verify", "none.gguf"): "none.gguf",
    ("verify", "mine.gguf"): "mine.gguf",
    ("score", "mine.gguf", "--task", "builtin:words"): "mine.gguf",
    ("generate", "mine.gguf", "def"): "mine.gguf",
    ("generate", "aborts.gguf", "\udcff"): "prompt: is not Unicode text",
    # the engine aborts: no vocabulary to tokenize with
    ("verify", "aborts.gguf"): "aborts.gguf",
    ("score", "aborts.gguf", "--task", "builtin:words"): "llama.cpp: 'aborts.gguf' cannot be run: ",
    ("generate", "aborts.gguf", "def"): "llama.cpp: 'aborts.gguf' cannot be run: ",
}


def test_bad_input_is_one_line(
    sizer: Any,
    make_study: MakeStudy,  # noqa: F811
    storage: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    make_study(tiny(), steps=2)
    whole = Path(sizer("export", "s", "0", "--storage", storage, "--json").json["path"]).read_bytes()
    (tmp_path / "mine.gguf").write_bytes(b"mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "aborts.gguf").write_bytes(whole.replace(b"gpt2", b"none"))
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in BAD_INPUT.items():
        of_study = ("--storage", storage) if arguments[0] == "export" else ()
        done = sizer(*arguments, *of_study)
        assert (done.code, done.out) == (2, ""), arguments
        assert message in done.err, (arguments, done.err)
        assert len(done.err.strip().splitlines()) == 1, (arguments, done.err)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "mine.gguf").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"keep": False},
            "trial: 0 has no weights; with weights: none (a search keeps those of its last rung)",
        ),
        ({"scaled": tiny()}, "trial: 0 was trained as a proxy, 2x64, of 2x128"),
    ],
)
def test_a_trial_that_cannot_be_exported_is_one_line(
    sizer: Any,
    make_study: MakeStudy,  # noqa: F811
    storage: str,  # noqa: F811
    settings: dict[str, Any],
    message: str,
) -> None:
    make_study(tiny(width=128, heads=4, kv_heads=2), steps=2, **settings)
    for target in ("gguf", "hf"):
        done = sizer("export", "s", "0", "--to", target, "--storage", storage)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
        assert len(done.err.strip().splitlines()) == 1
