"""Predicted against measured for exported models: search, export, verify in llama.cpp, and the page of it.

    python benchmarks/export/closed_loop.py FOLDER [--out docs/closed_loop.md] [--device this.toml] [--again]

Twelve searches of one small model each, two in each of six formats, with byte and BPE tokenizers and every
kind of sharing. Everything stays in FOLDER: stopped or killed, the same command continues. Without --device
this machine is calibrated first, once. --again measures all files once more, as on a quieter machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.export.closed_loop_page import page

ROOT = Path(__file__).resolve().parents[2]
# Most bytes of the file of the byte and the BPE model; blocks of 256 weights need wider matrices.
FORMATS = {
    "F16": (400_000, 900_000),
    "Q8_0": (400_000, 900_000),
    "Q4_0": (400_000, 900_000),
    "Q4_K_M": (900_000, 1_500_000),
    "Q2_K": (600_000, 900_000),
    "TQ1_0": (400_000, 900_000),
}
_TRAINING = {"trials": 1, "steps": 60, "lowest_rung_steps": 60, "batch_size": 4, "val_chunks": 64}
_VOCABULARY = 1024


class Model(NamedTuple):
    """One model to search for: its format, the most bytes of its file, tokens and sharing."""

    format: str
    max_size_bytes: int
    tokenizer: str
    sharing: str

    @property
    def name(self) -> str:
        """Name of its study, such as "q4_0-bpe-reverse"."""
        return f"{self.format.lower()}-{self.tokenizer}-{self.sharing}"

    def config(self) -> str:
        """Return the TOML file of its search."""
        settings: dict[str, Any] = {
            "max_size_bytes": self.max_size_bytes,
            "formats": [self.format],
            "sharing": [self.sharing],
            "tokenizer": self.tokenizer,
            "sampler": "random",
            "min_size_fraction": 0.5,
            **({"vocab_size": _VOCABULARY} if self.tokenizer == "bpe" else {}),
            **_TRAINING,
        }
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def models() -> tuple[Model, ...]:
    """Return two models in each format; every kind of sharing and tokenizer three times or more."""
    sharings = ("none", "reverse", "immediate", "repeat-all")
    return tuple(
        Model(
            format=name,
            max_size_bytes=size,
            tokenizer=tokenizer,
            sharing=sharings[(2 * place + second) % 4],
        )
        for place, (name, sizes) in enumerate(FORMATS.items())
        for second, (size, tokenizer) in enumerate(zip(sizes, ("byte", "bpe"), strict=True))
    )


def sizer(folder: Path, *arguments: str, accepted: Sequence[int] = (0,)) -> dict[str, Any]:
    """Run the command line in the folder; return its JSON document."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *arguments, "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    if done.returncode not in accepted:
        raise SystemExit(f"sizer {' '.join(arguments)}: exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def trained(folder: Path, model: Model) -> None:
    """Search for the model, or go on with its search."""
    if (folder / "runs" / model.name / "finalists").is_dir():
        return
    config = folder / f"{model.name}.toml"
    started = (folder / "runs" / model.name).is_dir()
    if not started:
        config.write_text(model.config(), encoding="utf-8")
    given = ("resume", model.name) if started else ("run", "--config", config.name, "--study", model.name)
    subprocess.run([sys.executable, str(ROOT / "cli.py"), "search", *given], cwd=folder, check=True)


def measured(folder: Path, model: Model, device: Path) -> dict[str, Any]:
    """Export the model and verify its file; return both documents, with the load of the machine."""
    (point,) = sizer(folder, "search", "frontier", model.name)["points"]
    done = sizer(folder, "export", model.name, str(point["trial"]))
    load = os.getloadavg()[0]
    found = sizer(folder, "verify", done["path"], "--device", str(device), accepted=(0, 1))
    return {
        "model": model._asdict(),
        "architecture": point["architecture"],
        "study_file_bytes": point["file_bytes"],
        "export": done,
        "rows": found["rows"],
        "load": load,
    }


def calibrated(folder: Path) -> Path:
    """Return the profile of this machine, measured once."""
    path = folder / "this-machine.toml"
    if not path.exists():
        sizer(folder, "calibrate", "--threads", "1", "--name", "this-machine", "--out", path.name)
    return path


def main() -> None:
    """Search, export and verify what is missing, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="page to write, such as docs/closed_loop.md")
    parser.add_argument("--device", type=Path, help="profile of this machine, from sizer calibrate")
    parser.add_argument("--again", action="store_true", help="measure all files once more")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for model in models():
        trained(folder, model)
    device = given.device.resolve() if given.device is not None else calibrated(folder)
    results: list[Mapping[str, Any]] = []
    for model in models():
        kept = folder / f"{model.name}.json"
        if given.again or not kept.exists():
            found = measured(folder, model, device)
            kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        results.append(json.loads(kept.read_text(encoding="utf-8")))
    text = page(results, profile=device.read_text(encoding="utf-8"))
    if given.out is None:
        print(text)
    else:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
