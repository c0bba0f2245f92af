"""transformers loads an exported folder offline and gives the decoder's own logits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from search.export.export import export_huggingface
from search.export.finalist import TrainedFinalist, load_finalist
from search.run.places import corpus_of
from search.training.decoder import Decoder
from sizer.architecture import Architecture, SharingStrategy
from sizer.errors import InvalidFile
from tests.search.export.conftest import MakeStudy, tiny
from tests.search.export.odd_text import odd_text

transformers = pytest.importorskip("transformers")

CASES = {
    "byte, tied, grouped": (tiny(), "byte"),
    "byte, untied, one head": (tiny(tied=False, heads=1, width=32), "byte"),
    "bpe": (tiny(vocab=320), "bpe"),
    "immediate": (tiny(sharing=SharingStrategy.IMMEDIATE), "byte"),
    "repeat-all": (tiny(sharing=SharingStrategy.REPEAT_ALL), "byte"),
    "middle": (tiny(sharing=SharingStrategy.MIDDLE), "byte"),
    "reverse": (tiny(sharing=SharingStrategy.REVERSE, tied=False), "byte"),
}


def bits_in_transformers(folder: Path, found: TrainedFinalist, storage: str) -> tuple[float, float]:
    """Bits per byte of the folder's model, and the largest difference of logits to the decoder's."""
    assert found.result.config is not None
    corpus = corpus_of(found.result.config, storage)().first
    chunks = corpus.val_chunks(64, 64)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    decoder = Decoder(found.architecture)
    decoder.load_state_dict(dict(found.weights))
    decoder.compute_dtype = torch.float32
    with torch.no_grad():
        logits = model(chunks.windows[:, :-1]).logits
        difference = (logits - decoder(chunks.windows[:, :-1])).abs().max().item()
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), chunks.windows[:, 1:], reduction="none"
    )
    nats = torch.where(chunks.scored_bytes > 0, losses.double(), 0.0).sum().item()
    return nats / math.log(2) / int(chunks.num_bytes.sum()), difference


@pytest.mark.parametrize("name", CASES)
def test_logits_and_scores_are_the_decoders(
    make_study: MakeStudy, storage: str, tmp_path: Path, name: str
) -> None:
    architecture, tokenizer = CASES[name]
    make_study(architecture, tokenizer=tokenizer)
    found = load_finalist("s", 0, storage)
    done = export_huggingface(found, tmp_path / "hf")
    bits, difference = bits_in_transformers(done.path, found, storage)
    assert difference <= 2e-5
    assert bits == pytest.approx(found.bits_per_byte, abs=1e-6)
    assert done.file_bytes == done.predicted_bytes
    assert architecture_has_no_multiplier(done.path, architecture)


def architecture_has_no_multiplier(folder: Path, architecture: Architecture) -> bool:
    """Whether the folder's config is a plain Llama of that shape, with every run of a shared block."""
    config = transformers.AutoConfig.from_pretrained(folder)
    assert config.model_type == "llama"
    assert config.num_hidden_layers == architecture.executed_layers
    assert config.max_position_embeddings == 64  # as trained
    assert config.eos_token_id is None
    assert config.bos_token_id is None
    return not any("multiplier" in key or "scaling" in key for key in config.to_dict())


@pytest.mark.parametrize("tokenizer", ["byte", "bpe"])
def test_tokens_are_those_of_the_corpus(
    make_study: MakeStudy, storage: str, tmp_path: Path, tokenizer: str
) -> None:
    make_study(tiny(vocab=256 if tokenizer == "byte" else 320), tokenizer=tokenizer, steps=2)
    found = load_finalist("s", 0, storage)
    export_huggingface(found, tmp_path / "hf")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert found.result.config is not None
    corpus = corpus_of(found.result.config, storage)().first
    ids = loaded(odd_text()).input_ids
    assert loaded.decode(ids, clean_up_tokenization_spaces=False) == odd_text()
    if tokenizer == "byte":
        assert ids == list(odd_text().encode())
    else:
        tokenizers = pytest.importorskip("tokenizers")
        assert ids == tokenizers.Tokenizer.from_str(corpus.tokenizer_json).encode(odd_text()).ids
        assert corpus.token_bytes[torch.tensor(ids)].sum() == len(odd_text().encode())


def test_a_folder_of_somebody_else_is_left_alone(make_study: MakeStudy, storage: str, tmp_path: Path) -> None:
    make_study(tiny())
    found = load_finalist("s", 0, storage)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidFile, match="exists and is not an export of this model"):
        export_huggingface(found, folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    with pytest.raises(InvalidFile, match="out: cannot write"):
        export_huggingface(found, folder / "notes.txt" / "hf")
    (tmp_path / "hf").mkdir()  # empty: nobody's
    export_huggingface(found, tmp_path / "hf")
    export_huggingface(found, tmp_path / "hf", context_tokens=32)  # its own is replaced
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []
