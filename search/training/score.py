"""Train one proxy for some steps and score it as deployed: validation bits per byte of quantized weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from search.store.results import Candidate, ProxyResult, TrialStatus
from search.text.corpus import Corpus, ValidationChunks
from search.training.conditions import check_engine, machine
from search.training.decoder import Decoder, check_parameters
from search.training.low_bit import LowBit, few_bit_types
from search.training.memory import OUT_OF_MEMORY, is_out_of_memory
from search.training.quantize import check_format, deployed_model
from search.training.training_run import RunEnding, StepReport, TrainConfig, TrainingRun, precision_of
from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidFile

MAX_RESTARTS = 1  # a diverged run is tried again at half the rate this often

_EVALUATION_BATCH = 16


def train_proxy(
    candidate: Candidate,
    corpus: Corpus,
    config: TrainConfig,
    *,
    on_step: Callable[[StepReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint: Path | None = None,
    scaled: Architecture | None = None,
) -> ProxyResult:
    """Train the candidate's decoder up to config.steps and score it at its llama.cpp mix.

    A `scaled` proxy is trained in the candidate's place, and scored in the types of the candidate's file.
    With a checkpoint path the run resumes from the file if there is one, and saves to it. A diverged run is
    restarted once at half the rate, which `restarts` and `learning_rate` record. Steps by autograd that run
    out of memory are repeated with the batch in parts (`micro_batch`); a run for which that does not suffice
    is FAILED with the reason OUT_OF_MEMORY, one ended by `should_stop` STOPPED. Same seed, machine and number
    of threads: same result. Bad input raises SizerError, a wrong parameter count ParameterMismatch.
    """
    architecture = candidate.architecture if scaled is None else scaled
    if architecture.vocab_size < corpus.vocab_size:
        raise InvalidArchitecture(
            f"vocab_size must be at least {corpus.vocab_size} for corpus {corpus.name!r} in tokens of "
            f"{corpus.tokenizer!r}, got {architecture.vocab_size}"
        )
    check_format(candidate.architecture, candidate.format, config.runtime)
    check_engine(config)
    chunks = corpus.val_chunks(config.val_chunks, config.seq_len)
    began = time.perf_counter()
    precision, batch_tokens = precision_of(config), config.batch_size * config.seq_len
    with torch.device("meta"):
        num_parameters = check_parameters(Decoder(architecture), architecture)
    result = ProxyResult(
        status=TrialStatus.FAILED,
        val_bits_per_byte=None,
        val_bits_per_byte_sd=None,
        val_bits_per_byte_full=None,
        num_parameters=num_parameters,
        steps=0,
        trained_tokens=0,
        wall_s=0.0,
        seed=config.seed,
        learning_rate=config.learning_rate,
        dtype=precision.value,
        machine=machine(),
    )
    report, stop = on_step or _ignore, should_stop or _never
    try:
        for restarts in range(MAX_RESTARTS + 1):
            halved = replace(config, learning_rate=config.learning_rate / 2**restarts)
            run = _start_or_resume(
                candidate, architecture, corpus, halved, checkpoint if restarts == 0 else None
            )
            run.restarts = max(run.restarts, restarts)
            first = run.step
            ending = run.advance(report, stop, checkpoint)
            steps = run.step
            if ending is RunEnding.DONE and run.is_scored_on_copy:
                ending = run.cool_down_copy(report, stop)
            result = replace(
                result,
                steps=steps,
                trained_tokens=run.step * batch_tokens,
                aside_tokens=(run.step - steps) * batch_tokens,
                tokens_per_s=(run.step - first) * batch_tokens / max(run.trained_s, 1e-9),
                learning_rate=run.config.learning_rate,
                restarts=run.restarts,
                micro_batch=run.micro_batch,
            )
            result = _with_scores(result, run, ending, candidate, chunks)
            if result.status is not TrialStatus.DIVERGED or run.restarts >= MAX_RESTARTS:
                break
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        result = replace(result, status=TrialStatus.FAILED, reason=OUT_OF_MEMORY)
    return replace(result, wall_s=time.perf_counter() - began)


def _ignore(report: StepReport) -> None:
    pass


def _never() -> bool:
    return False


def _start_or_resume(
    candidate: Candidate,
    architecture: Architecture,
    corpus: Corpus,
    config: TrainConfig,
    checkpoint: Path | None,
) -> TrainingRun:
    """Resume from the checkpoint; start fresh if it is missing or unreadable."""

    def new() -> TrainingRun:
        types = few_bit_types(candidate.architecture, candidate.format, config.runtime)
        return TrainingRun(architecture, corpus, config, LowBit(types) if types else None)

    run = new()
    if checkpoint is not None and checkpoint.exists():
        try:
            run.load(checkpoint)
        except InvalidFile:
            return new()
    return run


def _with_scores(
    result: ProxyResult, run: TrainingRun, ending: RunEnding, candidate: Candidate, chunks: ValidationChunks
) -> ProxyResult:
    """Return the result with the run's status and, if it is complete, its scores."""
    if ending is RunEnding.STOPPED:
        reason = f"stopped after {run.step} of {run.config.steps} steps"
        return replace(result, status=TrialStatus.STOPPED, reason=reason)
    if ending is RunEnding.DIVERGED:
        return replace(result, status=TrialStatus.DIVERGED, reason=f"diverged at step {run.step}")
    model = run.model
    full = bits_per_byte(model, chunks)
    run.apply_quantization()
    model = deployed_model(
        model, candidate.architecture, candidate.format, run.config.runtime, candidate.cache_type
    )
    quantized = bits_per_byte(model, chunks)
    if not (full.isfinite().all() and quantized.isfinite().all()):
        return replace(result, status=TrialStatus.DIVERGED, reason="validation loss is not finite")
    return replace(
        result,
        status=TrialStatus.COMPLETE,
        val_bits_per_byte=overall(quantized, chunks),
        val_bits_per_byte_sd=standard_error(quantized, chunks),
        val_bits_per_byte_full=overall(full, chunks),
        val_chunk_bits=tuple(quantized.tolist()),
    )


def bits_per_byte(model: Decoder, chunks: ValidationChunks) -> Tensor:
    """Return the cross-entropy of each chunk in bits per byte, float64 `[chunks]`, computed in float32.

    Fewer chunks at a time where memory does not suffice for _EVALUATION_BATCH.
    """
    batch = _EVALUATION_BATCH
    while True:
        try:
            return _bits_per_byte(model, chunks, batch)
        except (MemoryError, RuntimeError) as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
        batch //= 2


def _bits_per_byte(model: Decoder, chunks: ValidationChunks, batch: int) -> Tensor:
    before, model.compute_dtype = model.compute_dtype, torch.float32
    device = next(model.parameters()).device
    nats = []
    try:
        with torch.no_grad():
            for windows, scored in zip(
                torch.split(chunks.windows, batch), torch.split(chunks.scored_bytes, batch), strict=True
            ):
                losses = model.loss(windows.to(device)).cpu().double()
                nats.append(torch.where(scored > 0, losses, 0.0).sum(1))
    finally:
        model.compute_dtype = before
    return torch.cat(nats) / math.log(2) / chunks.num_bytes


def overall(bits: Tensor, chunks: ValidationChunks) -> float:
    """Return bits per byte of all chunks together, each weighted by its bytes."""
    return (bits * _weights(chunks)).mean().item()


def standard_error(bits: Tensor, chunks: ValidationChunks) -> float:
    """Return the standard error of `overall` for chunks drawn at random: that of a ratio of means."""
    if len(bits) < 2:
        return 0.0
    away = (bits - overall(bits, chunks)) * _weights(chunks)
    return (away.square().sum() / (len(bits) - 1) / len(bits)).sqrt().item()


def _weights(chunks: ValidationChunks) -> Tensor:
    sizes = chunks.num_bytes.double()
    return sizes / sizes.mean()
