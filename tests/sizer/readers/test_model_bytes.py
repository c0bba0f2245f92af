"""Pasted and uploaded models: the same answers as from a path, whatever the bytes, and no path is opened."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from sizer.errors import SizerError
from sizer.families.hf_config import architecture_from_config
from sizer.readers.config_json import MAX_CONFIG_BYTES
from sizer.readers.model_bytes import printable, read_pasted, read_upload
from sizer.readers.model_file import read_model_file
from sizer.registry import model, models
from tests.sizer.readers.handmade import write_gguf
from tests.sizer.readers.mutation import broken_gguf, broken_text

SMOLLM2 = model("SmolLM2-135M")
TINY = replace(SMOLLM2.architecture, vocab_size=96, hidden_size=64, num_layers=2, intermediate_size=128)
CONFIG = json.dumps(dict(SMOLLM2.config))


@pytest.mark.parametrize("name", models())
def test_every_known_config_pasted_or_uploaded(name: str) -> None:
    row = models()[name]
    text = json.dumps(dict(row.config))
    assert read_pasted(text) == row.architecture
    uploaded = read_upload(io.BytesIO(b"\xef\xbb\xbf" + text.encode()), f"{name}.json")
    assert uploaded == row.architecture
    assert uploaded.name == name


def test_a_gguf_file_whole_or_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file, TINY)
    data = file.read_bytes()
    whole = read_upload(io.BytesIO(data), "../../etc/passwd.gguf")
    assert whole == read_model_file(file)
    start = data[: len(data) - 1000]
    assert read_upload(io.BytesIO(start), "x.gguf") == whole
    with pytest.raises(SizerError):
        read_upload(io.BytesIO(data[:200]), "x.gguf")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "nothing was pasted"),
        ("  \n", "nothing was pasted"),
        ("<script>alert(1)</script>", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("{" * 100_000, "is not JSON"),
        ('{"model_type": "<script>"}', "unknown model_type"),
        ('{"model_type": "llama", "hidden_size": 1e999}', "hidden_size: expected a whole number, got inf"),
        ("\ud800", "is not JSON"),
        ('{"a": "' + "x" * MAX_CONFIG_BYTES + '"}', f"larger than {MAX_CONFIG_BYTES} bytes"),
    ],
)
def test_anything_else_pasted_is_refused_on_one_line(text: str, told: str) -> None:
    with pytest.raises(SizerError, match=told) as error:
        read_pasted(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04", "neither JSON nor GGUF"),
        (b"GGUF", "version"),
        (b"GGUF" + b"\xff" * 100, "version"),
        (b"\x00" * 10, "neither JSON nor GGUF"),
        (b'{"model_type": 3}', "model_type: missing or not text"),
    ],
)
def test_anything_else_uploaded_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(SizerError, match=told):
        read_upload(io.BytesIO(data), "<script>.json")


def test_broken_uploads_are_refused_or_read(tmp_path: Path) -> None:
    random = Random(6)
    write_gguf(tmp_path / "good.gguf", TINY)
    good = (tmp_path / "good.gguf").read_bytes()
    for _ in range(150):
        for data in (broken_gguf(random, good), broken_text(random, CONFIG.encode())):
            with suppress(SizerError):
                assert read_upload(io.BytesIO(data), "x").num_layers >= 1


def test_a_label_is_never_a_path_and_fits_a_line() -> None:
    assert printable("../../etc/passwd") == "passwd"
    assert printable("C:\\Users\\x\\model.gguf") == "model.gguf"
    assert printable("a\x1b[2Jb\n") == "a?[2Jb?"
    assert printable("dir/") == "file"
    assert len(printable("x" * 1000)) == 100


def test_the_uploaded_name_is_the_architectures() -> None:
    assert read_upload(io.BytesIO(CONFIG.encode()), "<b>mine.json").name == "<b>mine"
    assert read_pasted(CONFIG) == architecture_from_config(SMOLLM2.config)
