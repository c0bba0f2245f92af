"""Corpora in tokens of a BPE: the same text, the same bytes to predict, scores that compare with bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from search.text.corpus import Corpus, load_corpus
from search.text.tokenizer import spellings
from search.training.decoder import Decoder
from search.training.score import bits_per_byte, overall
from sizer.architecture import Architecture
from sizer.errors import InvalidFile, InvalidQuantity, SizerError


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of texts in more than one script."""
    pytest.importorskip("tokenizers")
    root = tmp_path_factory.mktemp("words")
    for number in range(120):
        text = "".join(f"{n} größer als {number * n} und kleiner als 測試{n % 7}\n" for n in range(30))
        (root / f"{number}.txt").write_text(text, encoding="utf-8")
    return root


def _spelled(corpus: Corpus, side: torch.Tensor, spelling: tuple[bytes, ...]) -> bytes:
    return b"".join(spelling[token] for token in side.tolist())


def test_bpe_is_the_same_text_in_fewer_tokens(words: Path, tmp_path: Path) -> None:
    in_bytes = load_corpus(str(words))
    corpus = load_corpus(str(words), tokenizer="bpe", vocab_size=500, cache=tmp_path)
    assert (corpus.tokenizer, corpus.vocab_size, in_bytes.tokenizer) == ("bpe", 500, "byte")
    assert (corpus.name, corpus.num_files, corpus.notes) == (in_bytes.name, 120, in_bytes.notes)
    (written,) = tmp_path.glob("*/tokenizer.json")
    spelling = spellings(written.read_text(encoding="utf-8"))
    assert corpus.token_bytes.tolist() == [len(token) for token in spelling]
    assert _spelled(corpus, corpus.train, spelling) == bytes(in_bytes.train.tolist())
    assert _spelled(corpus, corpus.validation, spelling) == bytes(in_bytes.validation.tolist())
    assert corpus.bytes_per_token == pytest.approx(len(in_bytes.validation) / len(corpus.validation))
    assert corpus.bytes_per_token > 2
    assert in_bytes.bytes_per_token == 1
    windows = corpus.train_batches(0, 4, 32).at(1)
    assert (windows.shape, windows.dtype) == ((4, 33), torch.int64)
    assert 0 <= int(windows.min()) <= int(windows.max()) < 500


def test_bpe_digest_tells_texts_and_vocabularies_apart_and_nothing_else(words: Path, tmp_path: Path) -> None:
    digests = [
        load_corpus(str(words)).digest,
        load_corpus(str(words), tokenizer="bpe", vocab_size=400).digest,
        load_corpus(str(words), tokenizer="bpe", vocab_size=500).digest,
    ]
    assert len(set(digests)) == 3
    for _ in range(2):  # made, then read back
        kept = load_corpus(str(words), tokenizer="BPE", vocab_size=500, cache=tmp_path)
        assert kept.digest == digests[2]
    assert load_corpus(str(words), tokenizer="byte", vocab_size=32_000).digest == digests[0]


@pytest.mark.parametrize(("num_chunks", "seq_len"), [(20, 64), (7, 200), (10**6, 33), (50, 8)])
def test_chunks_are_the_same_bytes_in_every_vocabulary(words: Path, num_chunks: int, seq_len: int) -> None:
    in_bytes = load_corpus(str(words))
    corpus = load_corpus(str(words), tokenizer="bpe", vocab_size=500)
    theirs, ours = in_bytes.val_chunks(num_chunks, seq_len), corpus.val_chunks(num_chunks, seq_len)
    ends = corpus.token_bytes[corpus.validation.int()].cumsum(0).tolist()
    width, total = seq_len + 1, len(in_bytes.validation)
    count = min(num_chunks, total // width)
    starts = [k * (total - width) // max(1, count - 1) for k in range(count)]
    assert len(theirs) == count
    # Worked out one by one: tokens wholly inside the bytes that the byte-level model is scored on.
    expected = []
    for start in starts:
        inside = [
            n for n in range(1, len(ends)) if int(ends[n - 1]) >= start + 1 and int(ends[n]) <= start + width
        ]
        if inside:
            expected.append(inside)
    assert len(ours) == len(expected)
    for row, inside in enumerate(expected):
        scored = ours.scored_bytes[row] > 0
        targets = ours.windows[row, 1:][scored]
        assert targets.tolist() == corpus.validation[inside].tolist()
        assert scored.tolist() == [n < len(inside) for n in range(len(scored))]
        assert int(ours.windows[row, 0]) == int(corpus.validation[inside[0] - 1])
        assert int(ours.num_bytes[row]) == int(corpus.token_bytes[targets].sum())
    longest = int(corpus.token_bytes.max())
    assert int(ours.num_bytes.min()) > seq_len - 2 * longest
    assert int(ours.num_bytes.max()) <= seq_len
    assert ours.windows.shape[1] <= seq_len + 1


def test_a_model_that_knows_nothing_takes_as_many_bits_as_its_tokens(words: Path) -> None:
    """log2(vocabulary) bits a token: 8 a byte, or 9 (of 512) divided by the bytes that a token stands for."""
    scores = {}
    for tokenizer, rows in (("byte", 256), ("bpe", 512)):
        corpus = load_corpus(str(words), tokenizer=tokenizer, vocab_size=rows)
        assert corpus.vocab_size == rows
        model = Decoder(
            Architecture(
                vocab_size=rows,
                num_layers=1,
                hidden_size=32,
                intermediate_size=32,
                num_heads=1,
                num_kv_heads=1,
                head_dim=32,
            )
        )
        chunks = corpus.val_chunks(40, 64)
        scores[tokenizer] = overall(bits_per_byte(model, chunks), chunks)
        scored = int((chunks.scored_bytes > 0).sum())
    assert scores["byte"] == pytest.approx(8)
    assert scores["bpe"] == pytest.approx(9 * scored / int(chunks.num_bytes.sum()))
    assert scores["bpe"] < scores["byte"] / 2


def test_short_text_gives_fewer_tokens_and_says_so(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "a.txt").write_text("ab\n" * 20_000, encoding="utf-8")
    corpus = load_corpus(str(tmp_path / "a.txt"), tokenizer="bpe", vocab_size=4096)
    assert 256 < corpus.vocab_size < 300
    assert corpus.notes[-1] == f"the text gave {corpus.vocab_size} tokens, of 4096 asked for"


def test_stretches_shorter_than_tokens_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "a.txt").write_text(("x" * 50 + "\n") * 1000, encoding="utf-8")
    corpus = load_corpus(str(tmp_path / "a.txt"), tokenizer="bpe", vocab_size=400)
    assert int(corpus.token_bytes.max()) == 50
    with pytest.raises(InvalidFile, match="no token of it lies inside a stretch of 1 bytes"):
        corpus.val_chunks(2, 1)
    with pytest.raises(InvalidFile, match="training tokens hold no window of 50001"):
        corpus.train_batches(0, 1, 50_000)


def test_unusable_vocabularies_are_refused(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SizerError, match="tokenizer: unknown value 'words'; accepted: byte, bpe"):
        load_corpus(str(words), tokenizer="words")
    with pytest.raises(InvalidQuantity, match="vocab_size: tokenizer 'bpe' .* got 256; accepted: such as"):
        load_corpus(str(words), tokenizer="bpe")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SizerError, match="needs the package tokenizers .extra `bpe`.*accepted.*'byte'"):
        load_corpus(str(words), tokenizer="bpe", vocab_size=500)
