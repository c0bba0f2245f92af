"""Models with sliding windows score in llama.cpp and transformers as the decoder scored them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search.export.export import export_gguf
from search.export.finalist import load_finalist
from search.export.llamacpp_scores import validation_bits_per_byte
from search.export.verify import EXACT_SCORE_TOLERANCE, SCORE_TOLERANCE
from search.run.places import corpus_of
from search.store.study import load_result
from search.text.corpus import ValidationChunks
from sizer.architecture import Architecture, SharingStrategy
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_header import read_gguf
from tests.search.export.conftest import MakeStudy, tiny

pytest.importorskip("xllamacpp")


def windowed(window: int = 8, sliding: tuple[int, ...] = (0,), **shape: object) -> Architecture:
    """A tiny decoder whose first layer looks back on a few positions."""
    plain = tiny(**shape)  # type: ignore[arg-type]
    return replace(plain, attention_sinks=True, sliding_window=window, sliding_layers=sliding)


def chunks_of(storage: str) -> ValidationChunks:
    """The study's validation text."""
    config = load_result("s", storage).config
    assert config is not None
    return corpus_of(config, storage)().first.val_chunks(64, 64)


@pytest.mark.parametrize(
    "model",
    [
        windowed(),
        windowed(layers=3, sliding=(0, 1), heads=1, width=32, tied=False),
        windowed(sharing=SharingStrategy.REVERSE),
    ],
    ids=["one", "two, one head", "shared"],
)
def test_llama_cpp_scores_as_the_decoder(
    make_study: MakeStudy, storage: str, tmp_path: Path, model: Architecture
) -> None:
    make_study(model, "Q8_0", steps=40)
    done = export_gguf(load_finalist("s", 0, storage), tmp_path / "model.gguf")
    (record,) = load_result("s", storage).records
    assert done.file_bytes == done.predicted_bytes == record.file_bytes == done.path.stat().st_size
    header = read_gguf(done.path)
    assert header.architecture_name == "granite_swa"
    assert architecture_from_gguf(header) == replace(model.unrolled(), max_position_embeddings=64)
    score = validation_bits_per_byte(done.path, chunks_of(storage))
    assert score == pytest.approx(done.bits_per_byte, abs=2 * SCORE_TOLERANCE)
    exact = export_gguf(load_finalist("s", 0, storage, format_name="F32"), tmp_path / "exact.gguf")
    score = validation_bits_per_byte(exact.path, chunks_of(storage))
    print(score, exact.bits_per_byte, score - exact.bits_per_byte)
    assert score == pytest.approx(exact.bits_per_byte, abs=EXACT_SCORE_TOLERANCE)
