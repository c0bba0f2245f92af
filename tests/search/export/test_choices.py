"""Multiple choice: items in the forms that task files have, and likelihoods equal to transformers' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from search.export.choices import (
    Item,
    builtin_tasks,
    continuations,
    pairs_of,
    read_task,
    score_task,
)
from search.export.export import export_gguf, export_huggingface
from search.export.finalist import load_finalist
from search.export.generate import generate
from sizer.errors import MeasurementError, SizerError
from tests.search.export.conftest import MakeStudy, tiny


def one(tmp_path: Path, row: object) -> Item:
    """The item of a file of one line."""
    path = tmp_path / "task.jsonl"
    path.write_text(json.dumps(row) + "\n\n", encoding="utf-8")
    (item,) = read_task(str(path))
    return item


@pytest.mark.parametrize(
    "row",
    [
        {"context": "a", "choices": ["b", "c"], "answer": 1},
        {"ctx": "a", "endings": ["b", "c"], "label": "1"},  # HellaSwag
        {"goal": "a", "sol1": "b", "sol2": "c", "label": 1},  # PIQA
        {"question": "a", "choices": {"text": ["b", "c"], "label": ["A", "B"]}, "answerKey": "B"},  # ARC
        {"sentence": "a", "option1": "b", "option2": "c", "answer": "2"},  # WinoGrande
        {"query": "a", "choices": ["b", "c"], "gold": [1]},  # lm-evaluation-harness
        {"question": "a", "choices": ["b", "c"], "answer": "c"},
        {"prompt": "a", "options": ["b", "c"], "answer": "B"},
    ],
)
def test_forms_of_items(tmp_path: Path, row: object) -> None:
    assert one(tmp_path, row) == Item("a", ("b", "c"), 1)


def test_a_question_about_a_story_is_asked_with_it(tmp_path: Path) -> None:
    siqa = {"context": "Jo slept.", "question": "Why?", "answerA": "a", "answerB": "b", "answerC": "c"}
    assert one(tmp_path, {**siqa, "label": "2"}) == Item("Jo slept. Why?", ("a", "b", "c"), 1)
    race = {"article": "It rained.", "question": "Wet?", "options": ["no", "yes"], "answer": "B"}
    assert one(tmp_path, race) == Item("It rained. Wet?", ("no", "yes"), 1)
    obqa = {"question_stem": "a", "choices": {"text": ["b", "c"], "label": ["A", "B"]}, "answerKey": "B"}
    assert one(tmp_path, obqa) == Item("a", ("b", "c"), 1)


def test_the_blank_of_a_sentence_is_filled(tmp_path: Path) -> None:
    """WinoGrande: the rest of the sentence is scored after each choice (lm-evaluation-harness)."""
    row = {"sentence": "The cup broke as _ fell.", "option1": "it", "option2": "he", "answer": "1"}
    item = one(tmp_path, row)
    assert item == Item("The cup broke as ", ("it", "he"), 0, " fell.")
    assert pairs_of(item) == (("The cup broke as it", " fell."), ("The cup broke as he", " fell."))


def test_a_file_that_aborts_the_engine_or_gives_no_numbers_is_one_line(
    make_study: MakeStudy, storage: str, tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp")
    make_study(tiny(), "F32")
    file = export_gguf(load_finalist("s", 0, storage), tmp_path / "model.gguf").path
    whole, items = file.read_bytes(), read_task("builtin:words")[:2]
    place = whole.index(b"llama.block_count") + len(b"llama.block_count") + 4
    file.write_bytes(whole[:place] + bytes(4) + whole[place + 4 :])
    with pytest.raises(MeasurementError, match="model.gguf' cannot be run: GGML_ASSERT"):
        score_task(file, items)
    file.write_bytes(whole.replace(b"blk.0.attn_q.weight", b"blk.0.attn_z.weight"))
    with pytest.raises(MeasurementError, match="cannot be run: .*'blk.0.attn_q.weight' not found"):
        score_task(file, items)
    file.write_bytes(whole[:-2000] + b"\xff" * 2000)  # NaN in float32
    with pytest.raises(MeasurementError, match="no numbers"):
        score_task(file, items)
    for temperature in (0.0, 0.8):
        with pytest.raises(MeasurementError, match=r"cannot be run: .*its probabilities are no numbers"):
            generate(file, "def", tokens=5, temperature=temperature)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "line 1 of .* is not an object"),
        ("{", "line 1 of .* is not JSON"),
        ('{"choices": ["a", "b"], "answer": 0}', "no context; accepted: a text under context, passage"),
        ('{"context": "a", "choices": ["b"], "answer": 0}', "no choices; accepted: 2 to 64 texts"),
        ('{"context": "a", "choices": ["b", "c"], "answer": 2}', "no answer, got '2'; accepted: a number"),
        ('{"context": "a", "choices": ["b", ""], "answer": 0}', "no choices"),
        ('{"context": "a", "choices": [], "answer": 0}', "no choices; accepted: 2 to 64 texts"),
        ('{"context": "a", "choices": ["b", null], "answer": 0}', "no choices"),
        ('{"ctx": "a", "endings": ["b", "c", "d", "e"], "label": ""}', "no answer, got ''"),  # a test set
        ('{"context": "a", "choices": ["b", "c"], "answer": -1}', "no answer, got '-1'"),
        ('{"context": "a", "choices": ["b", "c"], "answer": 1.0}', "no answer, got '1.0'"),
        ('{"context": "a", "choices": ["b", "c"], "answer": [0, 1]}', "no answer"),
        ('{"context": "a", "choices": ["b", "c"], "answer": "D"}', "no answer, got 'D'; accepted: a number"),
        ('{"context": "a", "choices": ["b", "\\ud83d"], "answer": 0}', "line 1 of .*: half a surrogate pair"),
    ],
)
def test_wrong_items_are_one_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "task.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(SizerError, match=message):
        read_task(str(path))


def test_odd_lines_are_read(tmp_path: Path) -> None:
    """Line ends of Windows and of Unicode inside texts, a byte order mark, no end of the last line."""
    path = tmp_path / "task.jsonl"
    lines = (
        {"query": "größer?\u2028🙂\x85", "choices": ["é", "e\u0301"], "gold": 1},
        {"query": "", "choices": ["\n", " "], "gold": 0, "other": None},
    )
    text = "\ufeff" + "\r\n\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_bytes(text.encode())
    assert read_task(str(path)) == (
        Item("größer?\u2028🙂\x85", ("é", "e\u0301"), 1),
        Item("", ("\n", " "), 0),
    )
    path.write_text(" \n\n", encoding="utf-8")
    with pytest.raises(SizerError, match="has no items"):
        read_task(str(path))


def test_the_packages_own_tasks_are_balanced() -> None:
    assert builtin_tasks() == ("python", "words")
    for name in builtin_tasks():
        answers = [item.answer for item in read_task(f"builtin:{name}")]
        assert len(answers) >= 24
        assert answers.count(0) == answers.count(1)
    with pytest.raises(SizerError, match="task"):
        read_task("builtin:nothing")


def test_a_space_stands_between_context_and_choice() -> None:
    assert continuations(Item("a", ("b", " c"), 0)) == (" b", " c")
    assert continuations(Item("a\n", ("b", "c"), 0)) == ("b", "c")


ITEMS = (
    Item("def function_7(value): return", ("value * 7", "value + 7"), 0),
    Item("def", ("naïve", "x"), 0),
    Item("a long text " * 20, ("ends", "begins"), 1),  # longer than the context of 64 tokens
)


TILE = 64  # queries from which ggml computes attention in tiles (GGML_FA_TILE_Q of ggml-cpu/common.h)


def in_llama_cpp(
    module: torch.nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: object, **settings: Any
) -> tuple[Tensor, None]:
    """Attention as ggml computes it with a cache in F16 (ops.cpp), summed in tiles or key by key."""
    repeats = q.shape[1] // k.shape[1]
    k, v = (values.half().float().repeat_interleave(repeats, 1) for values in (k, v))
    summed = in_tiles if q.shape[2] >= TILE else key_by_key
    return summed(q, k, v, settings["scaling"]).transpose(1, 2), None


def in_tiles(q: Tensor, k: Tensor, v: Tensor, scaling: float) -> Tensor:
    """Weighted sums in float32 of keys and values in F16."""
    later = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu(1)
    return (q @ k.transpose(2, 3) * scaling).masked_fill(later, -torch.inf).softmax(-1) @ v


def key_by_key(q: Tensor, k: Tensor, v: Tensor, scaling: float) -> Tensor:
    """Weighted sums in F16, of queries in F16 as well, one key after the other."""
    q = q.half().float()
    total = torch.zeros_like(q, dtype=torch.float16)
    weight = torch.zeros_like(q[..., :1])
    top = torch.full_like(weight, -torch.inf)
    for key in range(q.shape[2]):
        score = (q * k[:, :, key : key + 1]).sum(-1, keepdim=True) * scaling
        score[:, :, :key] = -torch.inf  # queries before the key
        new = torch.maximum(top, score)
        kept = torch.where(top == -torch.inf, 0.0, (top - new).exp())
        added = torch.where(score == -torch.inf, 0.0, (score - new).exp())
        kept = torch.where(score == -torch.inf, 1.0, kept)
        total = torch.where(kept < 1, (total.float() * kept).half(), total)
        total = (total.float() + v[:, :, key : key + 1] * added).half()
        weight, top = weight * kept + added, new
    return total.float() / weight


def round_as_in_f16(model: torch.nn.Module) -> None:
    """Round matrices and the inputs of their products to F16; a file has its norms in F32."""
    with torch.no_grad():
        for values in model.parameters():
            if values.ndim > 1:
                values.copy_(values.half())
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].half().float(),))


def likelihoods(folder: Path, format_name: str) -> list[list[float]]:
    """Each choice's log-likelihood in transformers, rounded where llama.cpp rounds."""
    transformers = pytest.importorskip("transformers")
    transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS.register("llama.cpp", in_llama_cpp)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="llama.cpp")
    if format_name == "F16":
        round_as_in_f16(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = []
    for item in ITEMS:
        line = []
        for text in continuations(item):
            before, whole = (tokenizer(t).input_ids for t in (item.context, item.context + text))
            own = len(whole) - len(before)
            whole = whole[-65:]
            with torch.no_grad():
                logits = model(torch.tensor([whole[:-1]])).logits[0].double().log_softmax(-1)
            rows = logits[len(whole) - 1 - own :]
            line.append(sum(float(row[t]) for row, t in zip(rows, whole[-own:], strict=True)))
        found.append(line)
    return found


@pytest.mark.parametrize("name", ["F16", "F32"])
def test_likelihoods_are_those_of_transformers(
    make_study: MakeStudy, storage: str, tmp_path: Path, name: str
) -> None:
    """Within 0.001 nats a choice, with llama.cpp's own roundings made in transformers as well."""
    pytest.importorskip("xllamacpp")
    pytest.importorskip("transformers")
    make_study(tiny(vocab=320), name, tokenizer="bpe", learning_rate=1.5e-3)
    found = load_finalist("s", 0, storage)
    scored = score_task(export_gguf(found, tmp_path / "model.gguf").path, ITEMS)
    expected = likelihoods(export_huggingface(found, tmp_path / "hf").path, name)
    for line, values in zip(expected, scored.log_likelihoods, strict=True):
        assert values == pytest.approx(line, abs=1e-3)
    assert scored.items == 3
    assert scored.chance == 0.5
