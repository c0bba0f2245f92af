"""config.json as people have them: models of recent years with their counts, files written in odd ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sizer.errors import InvalidFile
from sizer.families.hf_config import architecture_from_config
from sizer.readers import read_described_model
from sizer.readers.config_json import read_config_json
from sizer.tensors import count_parameters, tensor_specs
from tests.published_facts import json_lines
from tests.sizer.families.test_hf_config import LLAMA

MODELS = {row["name"]: row for row in json_lines("model_configs.jsonl")}
# A model of Llama's kind with a head of 256, untied: 2 x 131072 x 2048, 18 layers.
SHAPE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "head_dim": 256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 8,
    "num_hidden_layers": 18,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
    "vocab_size": 131072,
}
COUNT = 2 * 131072 * 2048 + 18 * ((2 * 2048 + 2 * 1024) * 2048 + 3 * 2048 * 8192 + 2 * 2048) + 2048


@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_a_models_config_has_the_count_of_its_class(row: dict[str, Any]) -> None:
    architecture = architecture_from_config(row["config"], row["name"])
    assert count_parameters(tensor_specs(architecture)).total == row["parameters"]


TEXT = json.dumps(SHAPE, indent=1)
ODD = {
    "byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "lines of Windows": TEXT.replace("\n", "\r\n").encode(),
    "not a number": TEXT.replace("{", '{"router_aux": NaN, "limit": -Infinity,', 1).encode(),
    "no model_type": json.dumps({k: v for k, v in SHAPE.items() if k != "model_type"}).encode(),
    "null model_type": json.dumps({**SHAPE, "model_type": None}).encode(),
    "experts of none": json.dumps({**SHAPE, "num_local_experts": None, "num_experts": 0}).encode(),
    "no quantization": json.dumps({**SHAPE, "quantization_config": None, "quantization": {}}).encode(),
    "numbers with a point": json.dumps({**SHAPE, "vocab_size": 131072.0}).encode(),
    "the same key twice": TEXT.replace("{", '{"vocab_size": 5,', 1).encode(),
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_files_are_read_as_what_they_say(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text)
    assert count_parameters(tensor_specs(read_config_json(tmp_path))).total == COUNT == 1_669_408_768


def test_a_directory_and_a_file_give_notes_with_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    for path in (tmp_path, tmp_path / "config.json"):
        (note,) = read_described_model(str(path)).notes
        assert note.startswith("left out of the config, so the default of model_type llama: ")
    assert read_described_model("SmolLM2-135M").notes == ()


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\xff", b"[]", b"{'vocab_size': 1}", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(InvalidFile, match="is not a? ?JSON"):
        read_config_json(tmp_path)
