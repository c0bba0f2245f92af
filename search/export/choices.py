"""Multiple choice by log-likelihood in llama.cpp: the items of a task, and the share a file gets right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

from search.export.llamacpp_scores import OnProgress, ask, context_of, finite, is_unicode
from sizer.errors import InvalidFile, UnknownName
from sizer.readers.regular_file import open_regular

SCHEMA = "sizer.score/1"
MAX_TASK_BYTES, MAX_ITEMS, MAX_CHOICES = 64 * 2**20, 100_000, 64

# What task files call the same things (lm-evaluation-harness' local JSONL, HellaSwag, PIQA, ARC, BoolQ).
_CONTEXTS = (
    *("context", "passage", "article", "ctx", "query", "question", "question_stem", "prompt", "goal"),
    *("sentence", "input"),
)
# Texts that a question is about: both are given (SIQA, RACE, BoolQ).
_STORIES = ("context", "passage", "article")
_BLANK = "_"  # of WinoGrande's sentences, filled by the choice
_CHOICES = ("choices", "endings", "options")
_PAIRS = (("sol1", "sol2"), ("option1", "option2"))
_ANSWERS = ("gold", "label", "answer", "answerKey", "target")
_BUILTIN = "builtin:"


class Item(NamedTuple):
    """A question: what comes before, the choices that may follow, and the number of the right one.

    With `after`, a choice stands between the context and it, and what is scored is what comes after.
    """

    context: str
    choices: tuple[str, ...]
    answer: int
    after: str = ""


class TaskScore(NamedTuple):
    """Share of items right by the sum of log-likelihoods, and by that sum per character of the choice."""

    accuracy: float
    accuracy_norm: float
    se: float | None  # None for one item, which does not show how items differ
    items: int
    chance: float
    log_likelihoods: tuple[tuple[float, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the document of `sizer score --json`."""
        return {
            "schema": SCHEMA,
            "accuracy": self.accuracy,
            "accuracy_norm": self.accuracy_norm,
            "se": self.se,
            "items": self.items,
            "chance": self.chance,
            "log_likelihoods": [list(line) for line in self.log_likelihoods],
        }


def builtin_tasks() -> tuple[str, ...]:
    """Return the names of the tasks in the package."""
    folder = files("search") / "data" / "tasks"
    return tuple(sorted(entry.name.removesuffix(".jsonl") for entry in folder.iterdir()))


def read_task(source: str) -> tuple[Item, ...]:
    """Read the items of a JSONL file, or of a task in the package (`builtin:NAME`).

    InvalidFile names the line, the key and what is accepted.
    """
    if source.startswith(_BUILTIN):
        name = source.removeprefix(_BUILTIN)
        if name not in builtin_tasks():
            raise UnknownName.of("task", name, builtin_tasks())
        text = (files("search") / "data" / "tasks" / f"{name}.jsonl").read_text(encoding="utf-8")
    else:
        text = _read(Path(source))
    items = [
        _item(line, f"task: line {number} of {source!r}")
        for number, line in enumerate(text.split("\n"), 1)  # U+2028 and such may be in a text
        if line.strip()
    ]
    if not items:
        raise InvalidFile(f"task: {source!r} has no items; accepted: one JSON object a line")
    if len(items) > MAX_ITEMS:
        raise InvalidFile(f"task: {source!r} has {len(items):,} items; accepted: at most {MAX_ITEMS:,}")
    return tuple(items)


def _read(path: Path) -> str:
    with open_regular(path, "a JSONL file of multiple-choice items") as (stream, size):
        if size > MAX_TASK_BYTES:
            raise InvalidFile(f"task: {str(path)!r} has {size:,} bytes; accepted: at most {MAX_TASK_BYTES:,}")
        data = stream.read(size)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidFile(f"task: {str(path)!r} is not UTF-8 text; accepted: JSON lines") from None


def _item(line: str, where: str) -> Item:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidFile(f"{where} is not JSON; accepted: an object with context, choices, answer") from None
    if not isinstance(row, Mapping):
        raise InvalidFile(f"{where} is not an object; accepted: one with context, choices, answer")
    context = next((row[key] for key in _CONTEXTS if isinstance(row.get(key), str)), None)
    if context is None:
        raise InvalidFile(f"{where}: no context; accepted: a text under {', '.join(_CONTEXTS)}")
    question = row.get("question")
    if isinstance(question, str) and any(row.get(key) == context for key in _STORIES):
        context = f"{context.rstrip()} {question}".lstrip()
    choices, labels = _choices(row, where)
    answer = _answer(row, choices, labels, where)
    for given in (context, *choices):
        if not is_unicode(given):
            raise InvalidFile(f"{where}: half a surrogate pair in {given[:20]!a}; accepted: Unicode text")
    before, blank, after = context.partition(_BLANK)
    if "option1" in row and blank and after.strip():
        return Item(before, choices, answer, after)
    return Item(context, choices, answer)


def _choices(row: Mapping[str, Any], where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the choices and their labels."""
    found: Any = next((row[key] for key in _CHOICES if key in row), None)
    labels: Any = ()
    if isinstance(found, Mapping):  # ARC
        found, labels = found.get("text"), found.get("label", ())
    if found is None and "answerA" in row:  # SIQA
        names = [f"answer{letter}" for letter in "ABC" if f"answer{letter}" in row]
        found, labels = [row[name] for name in names], [str(number) for number in range(1, len(names) + 1)]
    if found is None:
        found = next(([row[a], row[b]] for a, b in _PAIRS if a in row and b in row), None)
    texts = isinstance(found, list) and all(isinstance(choice, str) and choice for choice in found)
    if not texts or not 2 <= len(found) <= MAX_CHOICES:
        raise InvalidFile(
            f"{where}: no choices; accepted: 2 to {MAX_CHOICES} texts under {', '.join(_CHOICES)}, or sol1 "
            "and sol2"
        )
    return tuple(found), tuple(map(str, labels)) if isinstance(labels, list) else ()


def _answer(row: Mapping[str, Any], choices: Sequence[str], labels: Sequence[str], where: str) -> int:
    value = next((row[key] for key in _ANSWERS if key in row), None)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool):
        value = int(value)
    number: int | None = None
    if isinstance(value, str):
        if value in labels:
            number = labels.index(value)
        elif value in choices:
            number = choices.index(value)
        elif value.isascii() and value.isdigit():
            number = int(value) - ("option1" in row)
        elif len(value) == 1 and value.isascii() and value.isalpha():
            number = ord(value.upper()) - ord("A")
    elif isinstance(value, int):
        number = value
    if number is None or not 0 <= number < len(choices):
        raise InvalidFile(
            f"{where}: no answer, got {str(value)[:40]!r}; accepted: a number from 0 to {len(choices) - 1}, "
            f"a label or the choice itself under {', '.join(_ANSWERS)}"
        )
    return number


def pairs_of(item: Item) -> tuple[tuple[str, str], ...]:
    """Return for each choice the text before and the text that is scored."""
    if item.after:
        return tuple((item.context + choice, item.after) for choice in item.choices)
    return tuple((item.context, text) for text in continuations(item))


def continuations(item: Item) -> tuple[str, ...]:
    """Return the texts that may follow the context: a space before each choice where there is none."""
    joined = not item.context or item.context[-1].isspace()
    return tuple(c if joined or c[0].isspace() else f" {c}" for c in item.choices)


def score_task(
    path: Path, items: Sequence[Item], *, threads: int = 1, on_progress: OnProgress | None = None
) -> TaskScore:
    """Score a GGUF file on items in llama.cpp; MeasurementError if the engine cannot run the file."""
    context = context_of(path)  # longer items lose their beginning
    pairs = [pair for item in items for pair in pairs_of(item)]
    answers = iter(
        ask(
            path,
            "choices",
            pairs,
            context_tokens=context,
            threads=threads,
            on_progress=on_progress or (lambda done, total: None),
        )
    )
    sums = [[finite(path, float(next(answers)[0])) for _ in item.choices] for item in items]
    return _score(items, sums)


def _score(items: Sequence[Item], sums: Sequence[Sequence[float]]) -> TaskScore:
    right = right_per_character = 0
    for item, line in zip(items, sums, strict=True):
        per_character = [
            value / len(item.after or choice) for value, choice in zip(line, item.choices, strict=True)
        ]
        right += _best(line) == item.answer
        right_per_character += _best(per_character) == item.answer
    count = len(items)
    share = right / count
    return TaskScore(
        accuracy=share,
        accuracy_norm=right_per_character / count,
        se=sqrt(share * (1 - share) / (count - 1)) if count > 1 else None,
        items=count,
        chance=sum(1 / len(item.choices) for item in items) / count,
        log_likelihoods=tuple(tuple(line) for line in sums),
    )


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
