"""A trained model of a study with all that its file needs: weights, vocabulary, scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from search.run.places import corpus_of
from search.store.folders import kept_weights
from search.store.results import ProxyResult, SearchResult, TrialRecord
from search.store.study import load_result
from search.text.corpora import Corpora
from search.text.vocabulary import Vocabulary, vocabulary_of
from search.training.decoder import Decoder
from search.training.kept_weights import load_weights
from search.training.low_bit import LowBit, few_bit_types
from search.training.quantize import deployed_model
from search.training.score import bits_per_byte, overall
from sizer.architecture import Architecture
from sizer.errors import InvalidFile, StudyError
from sizer.runtimes import runtime as runtime_by_name

# Bits per byte that a score may differ from the stored one: processors round products differently.
SCORE_TOLERANCE = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedFinalist:
    """A model at the end of its training, with scores recomputed from the weights of its file."""

    result: SearchResult
    record: TrialRecord
    run: ProxyResult
    seed: int  # 0 for the study's own, as in the file's name
    architecture: Architecture  # that the weights are of
    format: str
    runtime: str  # whose format it is
    weights: Mapping[str, Tensor]  # float32, by Hugging Face name; few-bit matrices as they are deployed
    vocabulary: Vocabulary
    bits_per_byte: float  # of the weights in float32
    deployed_bits_per_byte: float  # of the weights rounded to the format
    corpus_digest: str  # of the text in the model's own tokens
    recomputed: float  # unrounded bits per byte that the study stored, made again

    @property
    def is_proxy(self) -> bool:
        """True if another, smaller model was trained in the candidate's place."""
        return self.record.scaled is not None

    @property
    def num_parameters(self) -> int:
        """Number of trained weights; a shared block counts once."""
        return sum(tensor.numel() for tensor in self.weights.values())

    @property
    def context_tokens(self) -> int:
        """Tokens of a training window."""
        assert self.result.config is not None
        return self.result.config.training.seq_len

    @property
    def searched_format(self) -> str:
        """Format that the study scored the model in."""
        return self.record.candidate.format


def load_finalist(
    study: str,
    trial: int,
    storage: str,
    *,
    seed: int | None = None,
    format_name: str | None = None,
    runtime: str | None = None,
    proxy: bool = False,
) -> TrainedFinalist:
    """Load a trial's weights and score them again, unrounded and in a format (by default the study's).

    `seed` None takes the smallest kept. Raises StudyError naming the trials that have weights, and where
    the weights do not give the stored score: then file, text and study do not belong together.
    """
    result = load_result(study, storage)
    record, kept = _record(result, trial, kept_weights(study, storage))
    chosen = next(iter(kept)) if seed is None else seed
    if chosen not in kept:
        raise StudyError(f"seed: trial {trial} has no weights of seed {chosen}; accepted: {_listed(kept)}")
    if record.scaled is not None and not proxy:
        raise StudyError(
            f"trial: {trial} was trained as a proxy, {record.scaled.name}, of {record.candidate.describe()}; "
            "accepted: --to recipe, or --proxy for the proxy itself"
        )
    path = kept[chosen]
    model = _model(path, record)
    config = result.config
    assert config is not None
    run = _stored_run(record, config.training.seed + chosen)
    corpus = _corpus(result, storage).of(record.trained_architecture.vocab_size)
    name, engine = format_name or record.candidate.format, runtime or result.runtime
    name = runtime_by_name(engine).format_name(name)
    chunks = corpus.val_chunks(config.training.val_chunks, config.training.seq_len)
    recomputed = overall(bits_per_byte(model, chunks), chunks)
    _compare(recomputed, run, path)
    types = few_bit_types(record.candidate.architecture, record.candidate.format, result.runtime)
    if types:
        LowBit(types).apply_quantization(model)
    settled = overall(bits_per_byte(model, chunks), chunks) if types else recomputed
    weights = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
    deployed = deployed_model(model, record.trained_architecture, name, engine, record.candidate.cache_type)
    return TrainedFinalist(
        result=result,
        record=record,
        run=run,
        seed=chosen,
        architecture=record.trained_architecture,
        format=name,
        runtime=engine,
        weights=weights,
        vocabulary=vocabulary_of(corpus.tokenizer_json),
        bits_per_byte=settled,
        deployed_bits_per_byte=overall(bits_per_byte(deployed, chunks), chunks),
        corpus_digest=corpus.digest,
        recomputed=recomputed,
    )


def _record(
    result: SearchResult, trial: int, kept: Mapping[int, Mapping[int, Path]]
) -> tuple[TrialRecord, Mapping[int, Path]]:
    record = next((r for r in result.records if r.number == trial), None)
    numbers = [number for number in kept if any(r.number == number for r in result.records)]
    if record is None or trial not in kept:
        why = "has no weights" if record is not None else f"is not in study {result.study!r}"
        accepted = _listed(numbers) if numbers else "none (a search keeps those of its last rung)"
        raise StudyError(f"trial: {trial} {why}; with weights: {accepted}")
    return record, kept[trial]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _model(path: Path, record: TrialRecord) -> Decoder:
    """Read a finalist's decoder; InvalidFile if the file is of another model."""
    kept, expected = load_weights(path), record.trained_architecture
    if kept.architecture != expected:
        raise InvalidFile(f"weights: {str(path)!r} is of another model than {expected.name}")
    model = Decoder(expected)
    try:
        model.load_state_dict(dict(kept.weights))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]  # the first line names no tensor
        raise InvalidFile(f"weights: {str(path)!r} holds no trained model: {reason}") from None
    return model


def _stored_run(record: TrialRecord, seed: int) -> ProxyResult:
    """Return the stored run of that seed to the furthest rung."""
    runs = [run for run in record.runs if run.seed == seed and run.val_bits_per_byte_full is not None]
    if not runs:
        raise StudyError(f"trial: {record.number} has no score of seed {seed} in the study")
    return max(runs, key=lambda run: run.rung)


def _corpus(result: SearchResult, storage: str) -> Corpora:
    """Load the study's text; StudyError if it is not the text that the study was trained on."""
    assert result.config is not None
    corpus = corpus_of(result.config, storage)()
    if corpus.digest != result.corpus_digest:
        raise StudyError(
            f"corpus: {result.corpus!r} has changed since study {result.study!r} was trained (digest "
            f"{corpus.digest[:12]}, was {result.corpus_digest[:12]}); accepted: the text as it was"
        )
    return corpus


def _compare(recomputed: float, run: ProxyResult, path: Path) -> None:
    stored = run.val_bits_per_byte_full
    assert stored is not None
    if not abs(recomputed - stored) <= SCORE_TOLERANCE:
        raise StudyError(
            f"weights: {str(path)!r} scores {recomputed:.5f} bits per byte, the study stored {stored:.5f}: "
            "they do not belong together"
        )
