"""Broken files through other readers than those of models, in the bounds of tests.sizer.readers.fuzzing.

`python -m tests.search.mutated_files KIND COUNT SEED` prints what that module does of models' files.
"""

from __future__ import annotations

import io
import json
import random
import sqlite3
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from sizer.devices.device_file import read_device_file
from sizer.devices.device_table import parse_devices
from sizer.request import EstimateRequest
from sizer.shape_code import architecture_of_code, shape_code
from tests.sizer.calibration.test_bench_fuzz import FORMS, damaged
from tests.sizer.calibration.test_bench_text import LOG
from tests.sizer.readers import mutation
from tests.sizer.readers.fuzzing import bound_memory, in_memory, read

ROOT = Path(__file__).resolve().parents[2]
# What is made of a random source, and what then reads it.
Case = tuple[Callable[[Random], bytes], Callable[[Path], object]]

_TOML = (
    *("[" * 900, "{" * 400, "9" * 5000, "1e999", "nan", "-1", "true", '"x"', "''", "[]", "{}", "\x00", "0"),
    *(
        "0x7fffffffffffffff",
        "1979-05-27",
        "\n[a]\n",
        "a.b.c = 1\n",
        '"""',
        "\\u0000",
        "\ud7ff",
        "99999999999",
    ),
    *("a = " + "[" * 900 + "\n", "trials = " + "9" * 5000 + "\n"),
)


def _damaged_toml(dice: Random, text: str) -> bytes:
    """Return a TOML text with values exchanged, or pieces cut and put in."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        lines = text.split("\n")
        at = dice.randrange(len(lines))
        key, equals, _ = lines[at].partition("=")
        if equals and dice.random() < 0.6:
            other = dice.choice(lines).partition("=")[2] or "1"
            lines[at] = f"{key}= {dice.choice((other, other, '1', '0.5', '8', *_TOML))}"
            text = "\n".join(lines)
        else:
            a, b = sorted(dice.randrange(len(text) + 1) for _ in range(2))
            b = min(b, a + dice.choice((0, 1, 5, 50)))
            text = text[:a] + dice.choice((*_TOML, text[a:b] * 2, "")) + text[b:]
    return mutation.broken_text(dice, text.encode("utf-8", "surrogatepass"), 0.1)


def _search_toml(_: Path) -> Case:
    from search.config.config import SearchConfig
    from search.config.presets import presets
    from search.config.reading import field_values, read_toml

    texts = [preset.text for preset in presets().values()]
    return (
        lambda dice: _damaged_toml(dice, dice.choice(texts)),
        lambda path: SearchConfig.build(**field_values(read_toml(path), str(path))),
    )


def _devices_toml(_: Path) -> Case:
    tables = (ROOT / "sizer" / "data" / "devices.toml").read_text(encoding="utf-8").split("\n\n")
    return (
        lambda dice: _damaged_toml(dice, "\n\n".join(dice.sample(tables, 2))),
        lambda path: parse_devices(path.read_bytes().decode("utf-8", "replace"), path.name),
    )


def _device_file(_: Path) -> Case:
    from tests.sizer.devices.test_catalogue import FILE

    return lambda dice: _damaged_toml(dice, FILE), read_device_file


def _llama_bench(_: Path) -> Case:
    from sizer.calibration.llama_bench import read_llama_bench

    forms = list(FORMS.values())
    return lambda dice: damaged(LOG + dice.choice(forms), random.Random(dice.random())), read_llama_bench


def _batch_line(_: Path) -> Case:
    from commands.batch import _batch_line

    line = {
        **{"model": "SmolLM2-135M", "format": "Q4_K_M", "runtime": "llama.cpp", "context": 2048},
        **{"ubatch": 512, "flash_attention": True, "cache_type": "f16", "device": "raspberry-pi-5"},
        **{"sharing": {"strategy": "immediate", "repeat": 2}, "tokens": "1T", "ram": "4GB", "backend": "cpu"},
    }
    keys = [*line, "config", "anchor", "corpus", "sparsity", "lora_rank", "prompt", "generate", "draft"]
    return (
        lambda dice: mutation.broken_text(dice, mutation.dumps(mutation.broken_object(dice, line, keys))),
        lambda path: _batch_line(path.read_bytes().decode("utf-8", "replace")),
    )


def _codes(_: Path) -> Case:
    from sizer.registry import models

    codes = [shape_code(row.architecture) for row in models().values()]

    def broken(dice: Random) -> bytes:
        code = dice.choice(codes)
        for _ in range(dice.choice((1, 1, 2))):
            at = dice.randrange(len(code) + 1)
            piece = dice.choice(
                ("9" * 30, "-1", "0", "1", "2", "8", "64", ".", "x", "~", ",", "*99999999", "", code[:at])
            )
            code = code[:at] + piece + code[at + dice.choice((0, 1, 4)) :]
        return code.encode()

    return broken, lambda path: EstimateRequest(
        model=None, architecture=architecture_of_code(path.read_text(encoding="utf-8"))
    ).run()


def _stored(folder: Path) -> Case:
    """A database of a study with attributes changed: its settings, its records, its runs."""
    from search.store.study import list_studies, load_result

    (folder / "whole.db").write_bytes((ROOT / "docs" / "studies.db").read_bytes())
    with closing(sqlite3.connect(folder / "whole.db")) as database:  # its smallest study
        small = "SELECT study_id FROM trials GROUP BY study_id ORDER BY COUNT(*) LIMIT 1"
        kept = database.execute(small).fetchone()[0]
        trials = "SELECT trial_id FROM trials"
        database.execute(f"DELETE FROM studies WHERE study_id != {kept}")
        database.execute(f"DELETE FROM study_user_attributes WHERE study_id != {kept}")
        database.execute(f"DELETE FROM trials WHERE study_id != {kept}")
        database.execute(f"DELETE FROM trial_user_attributes WHERE trial_id NOT IN ({trials})")
        database.execute(f"DELETE FROM trial_params WHERE trial_id NOT IN ({trials})")
        database.commit()
        database.execute("VACUUM")
    whole = (folder / "whole.db").read_bytes()
    (study,) = list_studies(f"sqlite:///{folder}/whole.db")
    query = "SELECT '{0}', rowid, value_json FROM {0}"
    tables = ("study_user_attributes", "trial_user_attributes")
    with closing(sqlite3.connect(folder / "whole.db")) as database:
        values = [row for table in tables for row in database.execute(query.format(table)).fetchall()]

    def broken(dice: Random) -> bytes:
        path = folder / "broken.db"
        path.write_bytes(whole)
        with closing(sqlite3.connect(path)) as database:
            for table, row, value in dice.sample(values, dice.choice((1, 1, 2))):
                new = json.dumps(_broken_attribute(dice, json.loads(value)).decode("utf-8", "replace"))
                text = new if dice.random() < 0.9 else mutation.broken_text(dice, value.encode(), 1.0)
                database.execute(f"UPDATE {table} SET value_json = ? WHERE rowid = ?", (text, row))
            database.commit()
        return path.read_bytes()

    return broken, lambda path: load_result(study, f"sqlite:///{path}")


def _broken_attribute(dice: Random, value: Any) -> bytes:
    """Return an attribute's text with a key of it, or of an object within it, changed."""
    try:
        document = json.loads(value)
    except (TypeError, ValueError):
        return mutation.dumps(mutation.any_json(dice))
    if not isinstance(document, dict) or not document or dice.random() < 0.1:
        return mutation.dumps(mutation.any_json(dice))
    inner = [key for key, found in document.items() if isinstance(found, dict) and found]
    if inner and dice.random() < 0.6:
        key = dice.choice(inner)
        document[key] = mutation.broken_object(dice, document[key], [*document[key], "x"])
    else:
        document = mutation.broken_object(dice, document, [*document, "x"])
    return mutation.broken_text(dice, mutation.dumps(document), 0.1)


@lru_cache
def _whole_checkpoint() -> tuple[bytes, Any]:
    from search.text.corpus import load_corpus
    from search.training.training_run import TrainConfig, TrainingRun
    from tests.search.tiny_run import TINY

    config = TrainConfig(steps=50, batch_size=2, seq_len=16, fused=False)
    run = TrainingRun(TINY, load_corpus("builtin"), config)
    run.step = 7
    with tempfile.TemporaryDirectory() as name:
        run.save(Path(name) / "c.npz")
        return (Path(name) / "c.npz").read_bytes(), run


def _checkpoint(_: Path) -> Case:
    whole, run = _whole_checkpoint()
    with zipfile.ZipFile(io.BytesIO(whole)) as stored:
        members = {name: stored.read(name) for name in stored.namelist()}

    def broken(dice: Random) -> bytes:
        if dice.random() < 0.5:
            content = bytearray(whole)
            for _ in range(dice.choice((1, 2, 8))):
                mutation.broken_bytes(dice, content, len(content))
            return bytes(content)
        new = dict(members)
        name = dice.choice(sorted(new))
        if dice.random() < 0.5:
            name = "meta.json.npy"
            meta = json.loads(new[name][128:])
            keys = [*meta, "x"]
            import numpy

            text = mutation.dumps(mutation.broken_object(dice, meta, keys))
            out = io.BytesIO()
            numpy.save(out, numpy.frombuffer(text, dtype=numpy.uint8))
            new[name] = out.getvalue()
        else:
            head = bytearray(new[name])
            mutation.broken_bytes(dice, head, 128)
            new[name] = bytes(head)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
            for member, data in new.items():
                file.writestr(member, data)
        return packed.getvalue()

    return broken, run.load


KINDS: dict[str, Callable[[Path], Case]] = {
    "search TOML": _search_toml,
    "devices TOML": _devices_toml,
    "device file": _device_file,
    "llama-bench": _llama_bench,
    "batch line": _batch_line,
    "shape code": _codes,
    "stored attributes": _stored,
    "checkpoint": _checkpoint,
}


def fuzz(kind: str, count: int, seed: int) -> dict[str, Any]:
    """Read that many broken files of a kind; the first 20 wrong ones with their bytes in hexadecimal."""
    wrong: list[dict[str, Any]] = []
    refused = 0
    with tempfile.TemporaryDirectory(dir=in_memory()) as name:
        folder = Path(name)
        make, reader = KINDS[kind](folder)
        path = folder / "x.npz"
        path.write_bytes(make(Random(f"{kind} {seed}")))
        read(reader, path)  # what is loaded once is no file's memory
        bound_memory()
        for number in range(count):
            content = make(Random(f"{kind} {seed} {number}"))
            path.write_bytes(content)
            was_refused, problems = read(reader, path)
            refused += was_refused
            if problems and len(wrong) < 20:
                wrong.append({"number": number, "problems": problems, "bytes": content[:4000].hex()})
    return {"files": count, "refused": refused, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(fuzz(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
