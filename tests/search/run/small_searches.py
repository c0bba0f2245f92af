"""Searches of seconds: the smallest models, a few steps, a text that is easy to learn."""

from __future__ import annotations

from pathlib import Path

from search.config.config import SearchConfig
from search.run.progress import SearchProgress
from tests.search_runs import TEXT


def write_text(folder: Path) -> Path:
    """The text in a file."""
    file = folder / "text.py"
    file.write_text(TEXT, encoding="utf-8")
    return file


def small_config(corpus: Path, **changes: object) -> SearchConfig:
    """Three models of at most 120 kB for six steps, but for what is changed."""
    tiny = SearchConfig.build(
        max_size_bytes=120_000,
        trials=3,
        steps=6,
        batch_size=2,
        seq_len=32,
        val_chunks=4,
        corpus=str(corpus),
        min_hidden_size=32,
        head_dims=(32,),
        max_executed_layers=3,
        final_seeds=1,
    )
    return tiny.changed(**changes)


def quiet(progress: SearchProgress) -> None:
    """A hook that shows nothing."""
