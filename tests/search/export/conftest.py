"""Studies of one small model each, trained for a few steps, with the weights that a search keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.config.config import SearchConfig
from search.run.places import corpus_of
from search.run.runner import with_tokenizer_bytes
from search.store.results import Candidate, TrialRecord
from search.store.study import create_study
from search.training.score import train_proxy
from search.training.training_run import TrainConfig
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.runtimes import runtime
from tests.search_runs import TEXT

MakeStudy = Callable[..., str]


def tiny(
    *,
    layers: int | None = None,
    width: int = 64,
    heads: int = 2,
    kv_heads: int = 1,
    vocab: int = 256,
    ffn: int = 128,
    tied: bool = True,
    sharing: SharingStrategy = SharingStrategy.NONE,
) -> Architecture:
    """A decoder as searches train them: of two layers, four where the middle ones loop."""
    layers = layers or (4 if sharing is SharingStrategy.MIDDLE else 2)
    return Architecture(
        name=f"{layers}x{width}",
        vocab_size=vocab,
        num_layers=layers,
        hidden_size=width,
        intermediate_size=ffn,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=width // heads,
        tie_embeddings=tied,
        sharing=LayerSharing(
            strategy=sharing,
            repeat=1 if sharing is SharingStrategy.NONE else 2,
            ends=int(sharing is SharingStrategy.MIDDLE),
        ),
    )


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """A new storage in the test's folder."""
    return f"sqlite:///{tmp_path / 'runs' / 'sizer.db'}"


@pytest.fixture
def make_study(tmp_path: Path, storage: str) -> MakeStudy:
    """Make a study named `s` of one trial with weights."""
    text = tmp_path / "text.py"
    text.write_text(TEXT + "\ndef naïve(value): return 'größe'\n" * 30, encoding="utf-8")

    def make(
        architecture: Architecture,
        format_name: str = "Q4_0",
        *,
        tokenizer: str = "byte",
        scaled: Architecture | None = None,
        steps: int = 12,
        learning_rate: float = 6e-3,
        keep: bool = True,
    ) -> str:
        asked = SearchConfig.build(
            corpus=str(text),
            tokenizer=tokenizer,
            vocab_size=architecture.vocab_size,
            trials=1,
            steps=steps,
            seq_len=64,
            batch_size=4,
            val_chunks=64,
            formats=(format_name,),
        )
        corpus = corpus_of(asked, storage)()
        config = with_tokenizer_bytes(asked, corpus)
        about: dict[str, str | int] = {"name": corpus.name, "digest": corpus.digest}
        settings: dict[str, str | int | float] = {"context_tokens": 2048, "dtype": "float32"}
        study = create_study(config, name="s", storage=storage, settings=settings, corpus=about)
        study.begin({})
        candidate = Candidate(architecture=architecture, format=format_name)
        training = TrainConfig(
            steps=steps,
            batch_size=4,
            seq_len=64,
            val_chunks=64,
            warmup_steps=2,
            learning_rate=learning_rate,
        )
        kept = study.finalists / "0-0.npz"
        kept.parent.mkdir(parents=True, exist_ok=True)
        result = train_proxy(candidate, corpus.first, training, checkpoint=kept, scaled=scaled)
        if not keep:
            kept.unlink()
        engine = runtime("llama.cpp")
        stored = engine.store(architecture, format_name)
        study.tell(
            TrialRecord(
                number=0,
                candidate=candidate,
                num_parameters=result.num_parameters,
                file_bytes=engine.file_bytes(architecture, stored)
                .with_metadata(config.budget.tokenizer_bytes)
                .total,
                memory_bytes=1,
                decode_tokens_per_s=None,
                proxy=result,
                scaled=scaled,
            )
        )
        return "s"

    return make
