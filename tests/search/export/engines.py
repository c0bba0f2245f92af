"""What other engines must make of an exported model: llama.cpp's score, transformers' logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search.export.export import export_gguf, export_huggingface
from search.export.finalist import TrainedFinalist, load_finalist
from search.export.llamacpp_scores import validation_bits_per_byte
from search.export.verify import EXACT_SCORE_TOLERANCE, SCORE_TOLERANCE
from search.run.places import corpus_of
from search.store.study import load_result
from search.text.corpus import ValidationChunks
from search.training.decoder import Decoder
from sizer.architecture import Architecture
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_header import read_gguf
from sizer.tensors import count_parameters, tensor_specs

# Of few chunks, whose activations are rounded to 8 bits: up to 0.00053 was seen.
FEW_CHUNKS_TOLERANCE = 2 * SCORE_TOLERANCE
LOGITS_TOLERANCE = 2e-5


def chunks_of(storage: str) -> ValidationChunks:
    """The study's validation text."""
    config = load_result("s", storage).config
    assert config is not None
    return corpus_of(config, storage)().first.val_chunks(64, 64)


def decoder_of(found: TrainedFinalist) -> Decoder:
    """The finalist as a module."""
    decoder = Decoder(found.architecture)
    decoder.load_state_dict(dict(found.weights))
    return decoder


def check_llama_cpp(model: Architecture, storage: str, folder: Path, kind: str) -> None:
    """Check the study's file: of that general.architecture, of its bytes, scored as stored and in F32."""
    done = export_gguf(load_finalist("s", 0, storage), folder / "model.gguf")
    (record,) = load_result("s", storage).records
    assert done.file_bytes == done.predicted_bytes == record.file_bytes == done.path.stat().st_size
    header = read_gguf(done.path)
    assert header.architecture_name == kind
    assert architecture_from_gguf(header) == replace(model.unrolled(), max_position_embeddings=64)
    chunks = chunks_of(storage)
    score = validation_bits_per_byte(done.path, chunks)
    assert score == pytest.approx(done.bits_per_byte, abs=FEW_CHUNKS_TOLERANCE)
    exact = export_gguf(load_finalist("s", 0, storage, format_name="F32"), folder / "exact.gguf")
    score = validation_bits_per_byte(exact.path, chunks)
    assert score == pytest.approx(exact.bits_per_byte, abs=EXACT_SCORE_TOLERANCE)


def check_transformers(found: TrainedFinalist, storage: str, folder: Path, class_name: str) -> Any:
    """Return transformers' model of the exported folder: of that class, as many weights, the same logits."""
    transformers = pytest.importorskip("transformers")
    done = export_huggingface(found, folder)
    assert done.file_bytes == done.predicted_bytes
    model = transformers.AutoModelForCausalLM.from_pretrained(done.path)
    assert type(model).__name__ == class_name
    assert model.config.num_hidden_layers == found.architecture.executed_layers
    counted = count_parameters(tensor_specs(found.architecture.unrolled())).total
    assert sum(p.numel() for p in model.parameters()) == counted
    tokens = chunks_of(storage).windows[:, :-1]
    with torch.no_grad():
        difference = (model(tokens).logits - decoder_of(found)(tokens)).abs().max().item()
    assert difference <= LOGITS_TOLERANCE
    return model
