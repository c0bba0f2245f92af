"""Read fifty thousand broken files of every kind, and write what became of them to docs/mutated.md.

    python benchmarks/mutated/mutated.py [--kind config --kind gguf ...] [--seed 1] [--share 1.0]
    python benchmarks/mutated/mutated.py --write

A run adds a line for each kind to measured.jsonl; `--write` writes the page from the last line of each.
Each kind is read in a separate process that may take 200 MB more than before its first file; a file must give
a result or one clear error within a second of processor time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE, RECORD = ROOT / "docs" / "mutated.md", Path(__file__).parent / "measured.jsonl"
MODELS, OTHERS = "tests.sizer.readers.fuzzing", "tests.search.mutated_files"
# Kind: the module that breaks and reads its files, and how many.
COUNTS = {
    "config": (MODELS, 6000),
    "gguf": (MODELS, 6000),
    "safetensors": (MODELS, 5000),
    "index": (MODELS, 3000),
    "packed": (MODELS, 3000),
    "adapter": (MODELS, 3000),
    "adapter config": (MODELS, 3000),
    "split": (MODELS, 3000),
    "unread": (MODELS, 3000),
    "search TOML": (OTHERS, 4000),
    "devices TOML": (OTHERS, 1500),
    "device file": (OTHERS, 2000),
    "llama-bench": (OTHERS, 2500),
    "batch line": (OTHERS, 2500),
    "shape code": (OTHERS, 1000),
    "stored attributes": (OTHERS, 1000),
    "checkpoint": (OTHERS, 1500),
}


def read_kind(kind: str, share: float, seed: int) -> dict[str, Any]:
    """Read the broken files of one kind in a separate process."""
    module, count = COUNTS[kind]
    command = [sys.executable, "-m", module, kind, str(max(1, round(share * count))), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def page(found: dict[str, dict[str, Any]]) -> str:
    """Return docs/mutated.md."""
    rows = [
        f"| {kind} | {result['files']:,} | {result['refused']:,} | {len(result['wrong'])} |"
        for kind, result in found.items()
    ]
    total = sum(result["files"] for result in found.values())
    refused = sum(result["refused"] for result in found.values())
    wrong = sum(len(result["wrong"]) for result in found.values())
    return "\n".join(
        [
            "# Broken files",
            "",
            "Written by `python benchmarks/mutated/mutated.py --write` from what the same program has read:",
            "valid files with numbers, keys, values or bytes changed by a program that knows their layout.",
            "Wrong is whatever is neither a result nor one clear error of at most 1,000 letters, within a",
            "second of processor time and 200 MB.",
            "",
            "| what is read | files | refused | wrong |",
            "|---|---:|---:|---:|",
            *rows,
            f"| all | {total:,} | {refused:,} | {wrong} |",
            "",
        ]
    )


def main() -> None:
    """Read every kind and print what became of its files; write the page where asked to."""
    parser = argparse.ArgumentParser(description="Read broken files of every kind.")
    parser.add_argument("--kind", action="append", choices=tuple(COUNTS), default=None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    wrong = 0
    for kind in given.kind or (() if given.write else COUNTS):
        found = {"kind": kind, "seed": given.seed, **read_kind(kind, given.share, given.seed)}
        wrong += len(found["wrong"])
        print(json.dumps(found)[:1000], flush=True)
        with RECORD.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
    if given.write:
        lines = [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]
        last = {line["kind"]: line for line in lines}
        PAGE.write_text(page({kind: last[kind] for kind in COUNTS}), encoding="utf-8")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
