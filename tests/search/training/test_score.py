"""The trainer: it learns, repeats itself, notices divergence, and scores what is deployed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import search.training.training_run
from search.store.results import Candidate, ProxyResult, TrialStatus
from search.text.corpus import Corpus, ValidationChunks, load_corpus
from search.training.decoder import Decoder
from search.training.low_bit import few_bit_types
from search.training.memory import is_out_of_memory
from search.training.scaled_proxy import scaled_proxy
from search.training.score import bits_per_byte, overall, standard_error, train_proxy
from search.training.train_step import AutogradStep, ProductPrecision
from search.training.training_run import StepReport, TrainConfig
from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidFile, InvalidQuantity, UnknownName
from sizer.formats.stored import StorageType
from sizer.tensors import tensor_specs
from tests.search.tiny_run import CANDIDATE, CONFIG, TINY, same

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(corpus: Corpus) -> tuple[ProxyResult, list[StepReport]]:
    reports: list[StepReport] = []
    return train_proxy(CANDIDATE, corpus, CONFIG, on_step=reports.append), reports


def test_loss_goes_down_on_real_text(trained: tuple[ProxyResult, list[StepReport]]) -> None:
    result, reports = trained
    assert result.status is TrialStatus.COMPLETE
    assert [r.step for r in reports] == [1, 10, 20, 30, 40, 50, 60]
    assert reports[0].loss == pytest.approx(math.log(256), abs=0.3)
    assert reports[-1].loss < 3.2
    assert all(r.tokens_per_s > 0 and r.steps == 60 for r in reports)


def test_result_says_what_was_done(trained: tuple[ProxyResult, list[StepReport]]) -> None:
    result, _ = trained
    # Embedding 256*64; per layer q and o 64*64, k and v 32*64, three of 64*128, two norms; last norm.
    assert result.num_parameters == 256 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128 + 2 * 64) + 64
    assert (result.steps, result.trained_tokens, result.seed) == (60, 60 * 4 * 64, 0)
    assert (result.learning_rate, result.restarts, result.dtype, result.reason) == (2e-3, 0, "fp32", None)
    assert result.wall_s > 0
    assert result.tokens_per_s is not None
    assert result.tokens_per_s > 0


def test_score_is_that_of_quantized_weights(trained: tuple[ProxyResult, list[StepReport]]) -> None:
    result, _ = trained
    assert result.val_bits_per_byte is not None
    assert result.val_bits_per_byte_full is not None
    assert result.val_bits_per_byte_sd is not None
    assert 2.5 < result.val_bits_per_byte_full < 5.0
    assert result.val_bits_per_byte != result.val_bits_per_byte_full
    assert result.val_bits_per_byte >= result.val_bits_per_byte_full - 0.01
    assert 0 < result.val_bits_per_byte_sd < 0.5


def test_ternary_costs_more_than_four_bits(
    corpus: Corpus, trained: tuple[ProxyResult, list[StepReport]]
) -> None:
    wide = replace(TINY, hidden_size=256, intermediate_size=256)
    scores = []
    for name in ("TQ2_0", "Q4_0", "F32"):
        result = train_proxy(
            Candidate(architecture=wide, format=name), corpus, replace(CONFIG, steps=40, val_chunks=8)
        )
        scores.append(result.val_bits_per_byte)
    ternary, four_bits, exact = scores
    assert ternary is not None
    assert ternary > (four_bits or 0) + 0.01
    assert four_bits == pytest.approx(exact, abs=0.05)


def test_losses_are_told_whole_when_rounding_begins_between_two_reports(corpus: Corpus) -> None:
    """Rounding begins at step 49, reports at 40 and 50: once the losses of eight steps were lost there."""
    reports: list[StepReport] = []
    wide = Candidate(architecture=replace(TINY, hidden_size=256, intermediate_size=256), format="TQ2_0")
    result = train_proxy(wide, corpus, replace(CONFIG, val_chunks=8), on_step=reports.append)
    assert result.status is TrialStatus.COMPLETE
    assert [r.step for r in reports] == [1, 10, 20, 30, 40, 50, 60]
    assert min(r.loss for r in reports) > 2.5


def test_a_proxy_is_trained_in_its_models_place(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rounded_while_training(architecture: Architecture, name: str, runtime: str) -> dict[str, StorageType]:
        asked.append(architecture)
        return few_bit_types(architecture, name, runtime)

    monkeypatch.setattr("search.training.score.few_bit_types", rounded_while_training)
    wide = replace(TINY, hidden_size=256, intermediate_size=512, head_dim=128)
    narrow = scaled_proxy(wide, width_scale=0.25)
    brief, candidate = replace(CONFIG, steps=20, val_chunks=8), Candidate(architecture=wide, format="TQ2_0")
    result = train_proxy(candidate, corpus, brief, scaled=narrow)
    assert asked == [wide]
    assert result.num_parameters == sum(spec.num_elements for spec in tensor_specs(narrow))
    assert result.val_bits_per_byte is not None
    # by itself it would be stored in Q4_0, which costs next to nothing
    alone = train_proxy(replace(candidate, architecture=narrow), corpus, brief)
    assert result.val_bits_per_byte > (alone.val_bits_per_byte or 9) + 0.01


def test_seed_decides_everything(corpus: Corpus, trained: tuple[ProxyResult, list[StepReport]]) -> None:
    torch.manual_seed(99)  # the global generator must not matter
    assert same(train_proxy(CANDIDATE, corpus, CONFIG), trained[0])
    other = train_proxy(CANDIDATE, corpus, replace(CONFIG, seed=1))
    assert other.val_bits_per_byte != trained[0].val_bits_per_byte
    assert other.seed == 1


def test_bfloat16_learns_as_well(corpus: Corpus, trained: tuple[ProxyResult, list[StepReport]]) -> None:
    result = train_proxy(CANDIDATE, corpus, replace(CONFIG, dtype=ProductPrecision.BF16))
    assert result.dtype == "bf16"
    assert result.val_bits_per_byte_full == pytest.approx(trained[0].val_bits_per_byte_full, abs=0.1)


def test_divergence_is_told_and_tried_again_at_half_the_rate(corpus: Corpus) -> None:
    reports: list[StepReport] = []
    result = train_proxy(CANDIDATE, corpus, replace(CONFIG, learning_rate=30.0), on_step=reports.append)
    assert result.status is TrialStatus.DIVERGED
    assert (result.val_bits_per_byte, result.val_bits_per_byte_sd, result.val_bits_per_byte_full) == (
        None,
    ) * 3
    assert (result.restarts, result.learning_rate) == (1, 15.0)
    assert result.reason is not None
    assert "diverged at step" in result.reason
    assert [r.step for r in reports].count(1) == 2
    assert result.steps < 60


def test_a_restart_can_save_a_run(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    pop_loss = AutogradStep.pop_loss
    calls = 0

    def breaks_once(self: AutogradStep) -> float:
        nonlocal calls
        calls += 1
        loss = pop_loss(self)
        return math.nan if calls == 2 else loss

    monkeypatch.setattr(AutogradStep, "pop_loss", breaks_once)
    result = train_proxy(CANDIDATE, corpus, replace(CONFIG, steps=20, fused=False))
    assert result.status is TrialStatus.COMPLETE
    assert (result.restarts, result.learning_rate, result.steps) == (1, 1e-3, 20)


@pytest.mark.parametrize(
    ("losses", "diverged_at"),
    [
        ([5.5, 3.0, 2.8, 2.9], None),
        ([5.5, 3.0, math.nan], 2),
        ([5.5, 3.0, math.inf], 2),
        ([math.nan], 0),
        ([5.5, 6.1], 1),  # above the first by more than 0.5
        ([5.5, 5.9, 5.4], None),
        ([5.5, 2.2, 3.15], None),
        ([5.5, 2.2, 3.25], 2),  # collapsed to the frequencies of single bytes
    ],
)
def test_what_counts_as_divergence(losses: list[float], diverged_at: int | None) -> None:
    watch = search.training.training_run._Divergence()
    verdicts = [watch.diverged(loss) for loss in losses]
    assert verdicts.index(True) == diverged_at if diverged_at is not None else not any(verdicts)


def test_stopping_from_outside(corpus: Corpus) -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 7

    result = train_proxy(CANDIDATE, corpus, CONFIG, should_stop=should_stop)
    assert result.status is TrialStatus.STOPPED
    assert (result.steps, result.reason) == (7, "stopped after 7 of 60 steps")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_out_of_memory_is_a_failed_trial(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*args: Any, **kwargs: Any) -> torch.Tensor:
        raise error

    monkeypatch.setattr(AutogradStep, "step", fails)
    result = train_proxy(CANDIDATE, corpus, replace(CONFIG, fused=False))
    assert (result.status, result.reason, result.restarts) == (TrialStatus.FAILED, "out of memory", 0)


def test_torch_really_says_so() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 55)
    assert is_out_of_memory(error.value)


def test_other_errors_are_not_hidden(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(AutogradStep, "step", fails)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train_proxy(CANDIDATE, corpus, replace(CONFIG, fused=False))


def test_bad_input_is_named(corpus: Corpus) -> None:
    with pytest.raises(InvalidArchitecture, match="vocab_size must be at least 256 for corpus 'builtin'"):
        train_proxy(replace(CANDIDATE, architecture=replace(TINY, vocab_size=255)), corpus, CONFIG)
    wide = replace(TINY, hidden_size=256, intermediate_size=256)
    with pytest.raises(UnknownName, match="IQ2"):
        train_proxy(Candidate(architecture=wide, format="IQ2_XS"), corpus, CONFIG)
    with pytest.raises(InvalidFile, match="no window"):
        train_proxy(CANDIDATE, corpus, replace(CONFIG, seq_len=10**9))
    for field, value in (("steps", 0), ("learning_rate", math.nan), ("grad_clip", 0.0), ("dtype", "fp8")):
        with pytest.raises(InvalidQuantity, match=field):
            replace(CONFIG, **{field: value})  # type: ignore[arg-type]


def test_bits_per_byte_of_a_model_that_knows_nothing(corpus: Corpus) -> None:
    bits = bits_per_byte(
        Decoder(TINY), corpus.val_chunks(20, 32)
    )  # all matrices zero: every byte equally likely
    assert bits.shape == (20,)
    assert torch.allclose(bits, torch.full_like(bits, 8.0))


def test_bits_per_byte_count_the_bytes_that_tokens_stand_for() -> None:
    """A model that knows nothing takes log2(vocabulary) bits a token, so that times tokens over bytes."""
    model = Decoder(replace(TINY, vocab_size=1024))  # all matrices zero: 10 bits a token
    scored = torch.tensor([[3, 1, 4, 2], [5, 5, 0, 0], [1, 1, 1, 1]])
    chunks = ValidationChunks(windows=torch.arange(15).view(3, 5), scored_bytes=scored)
    bits = bits_per_byte(model, chunks)
    assert bits.tolist() == pytest.approx([10 * 4 / 10, 10 * 2 / 10, 10 * 4 / 4])
    # 10 tokens of 24 bytes in all, however they are divided
    assert overall(bits, chunks) == pytest.approx(10 * 10 / 24)
    # deviations 4 - 4.1667, 2 - 4.1667, 10 - 4.1667 weighted by 10, 10 and 4 bytes over a mean of 8
    away = [-1 / 6 * 1.25, -13 / 6 * 1.25, 35 / 6 * 0.5]
    assert sum(away) == pytest.approx(0)
    assert standard_error(bits, chunks) == pytest.approx(math.sqrt(sum(x * x for x in away) / 2 / 3))


def test_chunks_of_equal_size_have_the_plain_mean_and_error() -> None:
    bits = torch.tensor([2.0, 2.5, 4.0], dtype=torch.float64)
    chunks = ValidationChunks(
        windows=torch.zeros(3, 9, dtype=torch.int64), scored_bytes=torch.ones(3, 8, dtype=torch.int64)
    )
    assert overall(bits, chunks) == pytest.approx(bits.mean().item())
    assert standard_error(bits, chunks) == pytest.approx(bits.std().item() / math.sqrt(3))


@pytest.mark.parametrize("fused", [True, False])
def test_a_corpus_in_tokens_is_learned_and_scored_in_bits_per_byte(tmp_path: Path, fused: bool) -> None:
    pytest.importorskip("tokenizers")
    text = "".join(f"def function_{n}(value): return value * {n} + {n % 7}\n" for n in range(3000))
    (tmp_path / "text.py").write_text(text, encoding="utf-8")
    corpus = load_corpus(str(tmp_path / "text.py"), tokenizer="bpe", vocab_size=440)
    assert corpus.vocab_size == 440
    candidate = Candidate(architecture=replace(TINY, vocab_size=440), format="Q8_0")
    reports: list[StepReport] = []
    config = replace(CONFIG, steps=30, fused=fused)
    result = train_proxy(candidate, corpus, config, on_step=reports.append)
    assert result.status is TrialStatus.COMPLETE
    assert reports[0].loss == pytest.approx(math.log(440), abs=0.3)  # nats a token
    assert result.val_bits_per_byte is not None
    assert result.val_bits_per_byte_sd is not None
    assert 0.2 < result.val_bits_per_byte < math.log2(440) / corpus.bytes_per_token
    assert 0 < result.val_bits_per_byte_sd < 0.5
    few = replace(candidate, architecture=replace(TINY, vocab_size=439))
    with pytest.raises(InvalidArchitecture, match="vocab_size must be at least 440 for corpus 'text.py'"):
        train_proxy(few, corpus, config)


@pytest.mark.slow
@pytest.mark.parametrize(("num_layers", "hidden_size"), [(2, 512), (2, 64), (24, 64)])
def test_extreme_shapes_do_not_diverge(corpus: Corpus, num_layers: int, hidden_size: int) -> None:
    shape = replace(
        TINY,
        num_layers=num_layers,
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 8 // 3 // 32 * 32,
        num_heads=hidden_size // 32,
    )
    config = TrainConfig(steps=120, batch_size=4, seq_len=64, val_chunks=24)
    result = train_proxy(Candidate(architecture=shape, format="Q8_0"), corpus, config)
    assert (result.status, result.restarts) == (TrialStatus.COMPLETE, 0)
    assert result.val_bits_per_byte is not None
    assert result.val_bits_per_byte < 4.6  # single bytes take 4.9


def test_nothing_here_writes_files(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train_proxy(CANDIDATE, corpus, replace(CONFIG, steps=2, val_chunks=2))
    assert list(tmp_path.iterdir()) == []
