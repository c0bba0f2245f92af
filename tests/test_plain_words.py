"""Plain words: docstrings of functions start with a verb, dialect stays out, each class name is one class."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("sizer", "search", "reports", "explorer", "commands")
MODULES = [ROOT / "cli.py", ROOT / "app.py"]
MODULES += [p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))]
SOURCES = [*MODULES, *sorted((ROOT / "search").rglob("*.[ch]"))]
IDS = [str(p.relative_to(ROOT)) for p in SOURCES]

# Words that a first-time reader has to decode.
DIALECT = re.compile(
    r"\b(told|begun|beside|anew|so many|come by|comes to|goes on|of its own|left behind|carried over"
    r"|gone on)\b"
)
# First words of a docstring that begins with the thing, not with what the function does.
NOT_VERBS = {"A", "An", "The", "What", "Whether", "Which", "How", "Where", "Why", "Who", "All", "Every"}


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_no_word_of_the_old_dialect(source: Path) -> None:
    found = [line for line in source.read_text(encoding="utf-8").splitlines() if DIALECT.search(line)]
    assert not found, found


def _functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            named = {getattr(d, "id", getattr(d, "attr", "")) for d in node.decorator_list}
            if not named & {"property", "cached_property"}:
                yield node


@pytest.mark.parametrize("module", MODULES, ids=IDS[: len(MODULES)])
def test_a_functions_docstring_begins_with_what_it_does(module: Path) -> None:
    first = {f.name: (ast.get_docstring(f) or "-").split()[0].strip(",.:;") for f in _functions(module)}
    assert {name: word for name, word in first.items() if word in NOT_VERBS} == {}


def test_a_class_name_belongs_to_one_class() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(module.relative_to(ROOT)))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
