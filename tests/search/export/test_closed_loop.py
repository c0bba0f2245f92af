"""From a search to a file that llama.cpp runs: of the bytes that the search counted, with its score."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.search_runs import TEXT

pytest.importorskip("xllamacpp")


BPE = ("bpe", "--vocab-size", "320")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sharing", "tokens", "trials"),
    [
        ("b", "none", ("byte",), 2),
        ("i", "immediate", ("byte",), 1),
        ("m", "middle", ("byte",), 1),
        ("a-long-name-of-a-study.for-32-bpe-tokens", "reverse", BPE, 2),
        ("r", "repeat-all", BPE, 1),
    ],
)
def test_a_search_its_file_and_their_agreement(
    sizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    sharing: str,
    tokens: tuple[str, ...],
    trials: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.py").write_text(TEXT, encoding="utf-8")
    settings = 'val_chunks = 64\nseq_len = 64\nbatch_size = 4\nformats = ["Q4_0", "Q8_0"]\n'
    (tmp_path / "small.toml").write_text(f'{settings}sharing = ["{sharing}"]\n', encoding="utf-8")
    done = sizer(
        *("search", "run", "--config", "small.toml", "--corpus", "text.py", "--study", name, "--tokenizer"),
        *(*tokens, "--trials", str(trials), "--steps", "24", "--max-size", "120KB"),
    )
    assert done.code == 0, done.err
    for point in sizer("search", "frontier", name, "--json").json["points"]:
        made = sizer("export", name, str(point["trial"]), "--json")
        assert made.code == 0, made.err
        assert made.json["file_bytes"] == made.json["predicted_bytes"] == point["file_bytes"]
        seeds = sorted(folder.name for folder in (tmp_path / "runs" / name / "finalists").iterdir())
        scores = [
            sizer("export", name, trial, "--seed", seed, "--out", f"{trial}-{seed}.gguf", "--json").json
            for trial, seed in (folder.split("-") for folder in seeds)
            if trial == str(point["trial"])
        ]
        assert len(scores) > 1 or trials == 1
        if len(scores) > 1:
            assert made.json["checks"][0].endswith(f"(of seed 0; a frontier shows the mean of {len(scores)})")
        assert scores[0]["val_bits_per_byte"] == made.json["val_bits_per_byte"]
        # a point's score is the mean over its seeds
        mean = fmean(score["val_bits_per_byte"] for score in scores)
        assert mean == pytest.approx(point["val_bits_per_byte"], abs=1e-6)
        shape = point["architecture"]
        assert shape["num_layers"] == 1 or shape["sharing"]["strategy"] == sharing  # one block has no order
        verified = sizer("verify", made.json["path"])
        assert verified.code == 0, verified.out
        text = sizer("generate", made.json["path"], "def ", "--tokens", "5", "--temperature", "0")
        assert text.code == 0
        assert text.out.startswith("def ")
