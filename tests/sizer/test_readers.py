"""Reading a model by catalogue name or config.json; hostile and broken files give one clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sizer.errors import InvalidFile, SizerError, UnknownName
from sizer.readers import read_model
from sizer.readers.config_json import MAX_CONFIG_BYTES
from sizer.registry import model
from tests.sizer.families.test_hf_config import LLAMA


def test_a_catalogue_name_in_any_case_with_or_without_its_owner() -> None:
    assert (
        read_model("mobilellm-125m")
        == read_model("facebook/MobileLLM-125M")
        == model("MobileLLM-125M").architecture
    )


def test_a_config_file_and_its_directory_are_the_same_model(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    assert read_model(str(folder)) == read_model(str(folder / "config.json"))
    assert read_model(str(folder)).name == "tiny-llama"


def test_an_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(UnknownName, match="unknown model .*'MobileLM-125M'; did you mean MobileLLM-125M"):
        read_model("MobileLM-125M")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[1, 2]", "is not a JSON object"),
        (b"[" * 100_000, "is not JSON"),
        (b" " * (MAX_CONFIG_BYTES + 1), "is larger than"),
        (b'{"model_type": "mobilellm"}', "hidden_size: missing"),
        (
            b'{"model_type": "llama", "num_attention_heads": 1e999}',
            "num_attention_heads: expected a whole number",
        ),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(SizerError, match=message):
        read_model(str(file))


def test_a_missing_file_and_a_directory_without_config(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InvalidFile, match="model: cannot read .*No such file"):
            read_model(str(path))
