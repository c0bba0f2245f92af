"""Compare every number that two checkouts print: `python benchmarks/oracles/same_numbers.py OLD NEW`.

Words may change, numbers may not. Each checkout runs the same commands in its own folder: a batch of
estimates (every model of the catalogue in every format of every runtime, some on devices), text and JSON of
single estimates, `solve`, `compare`, and all that is printed of the studies in docs/studies.db. JSON must
hold the same numbers under the same keys; texts must hold each number as often as before. Exit 1
where they differ.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

RUN = [sys.executable, "-c", "from cli import run; run()"]
DEVICES = ("raspberry-pi-5", "iphone-15-pro", "pixel-8a", "macbook-air-m2", "jetson-orin-nano", None)
STORAGE = "sqlite:///docs/studies.db"
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
TEXTS = (
    ("estimate", "--params", "125M", "--bits", "4", "--device", "raspberry-pi-5"),
    ("estimate", "--params", "125M", "--bits", "4", "--lora-rank", "8", "--json"),
    ("estimate", "MobileLLM-125M", "--training", "--sparsity", "0.5", "--json"),
    ("estimate", "SmolLM2-135M", "--device", "iphone-15-pro", "--advice", "--json"),
    (
        "compare",
        "SmolLM2-135M",
        "Qwen2.5-0.5B",
        "--device",
        "raspberry-pi-5",
        "--device",
        "pixel-8a",
        "--json",
    ),
    ("solve", "--device", "raspberry-pi-5", "--max-size", "60MB", "--json"),
    ("solve", "--device", "raspberry-pi-5", "--max-size", "60MB", "--rank", "law", "--json"),
    ("devices", "--json"),
    ("models", "--json"),
    ("formats", "--json"),
)


def main() -> int:
    """Print how many numbers were compared and every difference; 1 where there is one."""
    old, new = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    lines = "\n".join(map(json.dumps, _batch(old)))
    compared, differences = 0, []
    for name, arguments, text in _calls(old, lines):
        ours, theirs = (_output(folder, arguments, text) for folder in (old, new))
        count, found = _compare(ours, theirs)
        compared += count
        differences += [f"{name}: {difference}" for difference in found]
        print(f"{name}: {count:,} numbers, {len(found)} differences", flush=True)
    for difference in differences[:40]:
        print(difference)
    print(f"{compared:,} numbers compared, {len(differences)} differences")
    return 1 if differences else 0


def _batch(folder: Path) -> Iterator[dict[str, Any]]:
    models = json.loads(_output(folder, ("models", "--json"), ""))
    formats = json.loads(_output(folder, ("formats", "--json"), ""))
    names = [model["name"] for model in models["models"]]
    pairs = [(runtime, name) for runtime, found in formats["runtimes"].items() for name in found]
    devices = cycle(DEVICES)
    for name in names:
        for runtime, format_name in pairs:
            yield {
                "model": name,
                "runtime": runtime,
                "format": format_name,
                "device": next(devices),
                "context": 1024,
            }


def _calls(folder: Path, batch: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    yield "batch of estimates", ("estimate", "--batch", "-"), batch
    for arguments in TEXTS:
        yield " ".join(arguments), arguments, ""
    studies = json.loads(_output(folder, ("search", "list", "--storage", STORAGE, "--json"), ""))
    for study in studies["studies"]:
        for what in ("frontier", "trust", "status"):
            for as_json in ((), ("--json",)):
                yield f"{what} {study} {' '.join(as_json)}", (
                    "search", what, study, "--storage", STORAGE, *as_json,
                ), ""  # fmt: skip
        yield f"report of {study}", ("search", "report", study, "--storage", STORAGE, "--out", "{out}"), ""


def _output(folder: Path, arguments: tuple[str, ...], text: str) -> str:
    """Stdout of a command; of a report, the numbers of its tables and page."""
    with tempfile.TemporaryDirectory() as out:
        filled = [part.format(out=out) if part == "{out}" else part for part in arguments]
        done = subprocess.run([*RUN, *filled], cwd=folder, input=text, capture_output=True, text=True)
        if done.returncode not in (0, 1, 2):
            raise SystemExit(f"{folder}: {arguments}: exit {done.returncode}: {done.stderr[-500:]}")
        files = sorted(Path(out).rglob("*.csv"))
        return "\n".join(f.read_text("utf-8").partition("\n")[2] for f in files) if files else done.stdout


def _compare(old: str, new: str) -> tuple[int, list[str]]:
    one, other = list(_numbers(old)), list(_numbers(new))
    known = dict(other)
    if any(where for where, _ in one):
        found = [f"{w} was {v}, is {known.get(w)}" for w, v in one if known.get(w) != v]
    else:
        # a table may wrap elsewhere once its words are longer: each number as often as before, in any order
        before, after = (Counter(value for _, value in found) for found in (one, other))
        found = [f"{value} is missing" for value in (before - after).elements()]
        found += [f"{value} is new" for value in (after - before).elements()]
    return len(one), list(islice(found, 10))


def _numbers(text: str) -> Iterator[tuple[str, Any]]:
    """Numbers of JSON lines by path; of other text, in order and without a path."""
    try:
        whole = json.loads(text)
        documents = [whole]
    except ValueError:
        try:
            documents = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        except ValueError:
            documents = []
    if documents:
        for i, document in enumerate(documents):
            yield from _leaves(document, str(i))
        return
    yield from (("", found.replace(",", "")) for found in NUMBER.findall(text))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{i}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


if __name__ == "__main__":
    sys.exit(main())
