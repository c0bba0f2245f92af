"""What a file is: projectors, split models, an index without its shards, GGUF models that are not read."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cli
from sizer.errors import InvalidFile, SizerError
from sizer.families.hf_config import config_from_architecture
from sizer.readers import read_model
from sizer.readers.inspection import inspect_file
from sizer.request import EstimateRequest
from sizer.requests.companions import projector_memory
from tests.sizer.readers.handmade import (
    ARRAY,
    BOOL,
    INT32,
    STRING,
    TINY,
    UINT16,
    UNTIED,
    array,
    entry,
    gguf_bytes,
    pair,
    split_gguf,
    text,
    u32,
    write_gguf,
    write_safetensors,
)


@pytest.mark.parametrize("parts", [2, 3])
def test_all_parts_of_a_split_model_are_added_up(tmp_path: Path, parts: int) -> None:
    files = split_gguf(tmp_path, UNTIED, parts=parts)
    whole = inspect_file(tmp_path / "whole.gguf").to_dict()
    for file in files:
        document = inspect_file(file).to_dict()
        assert (document["role"], document["missing_files"]) == ("model", [])
        assert document["files"] == [f.name for f in files]
        assert document["tensors"] == whole["tensors"]
        assert document["calculator"]["parameters"]["difference"] == 0
        assert document["file_bytes"] == sum(f.stat().st_size for f in files)
        assert replace(read_model(str(file)), name="") == replace(
            read_model(str(tmp_path / "whole.gguf")), name=""
        )


def test_missing_parts_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = split_gguf(tmp_path, UNTIED, parts=3)
    files[1].unlink()
    document = inspect_file(files[0]).to_dict()
    assert (document["role"], document["missing_files"]) == ("split part", ["tiny-00002-of-00003.gguf"])
    assert document["tensors"]["count"] == 14  # 7 of each of two parts
    assert document["notes"] == ["2 of 3 parts found: 14 of 21 tensors; figures are for these"]
    assert document["gguf"]["model"]["num_layers"] == 2
    assert "one of 3 parts" in document["no_architecture"]
    assert cli.main(["inspect", str(files[0])]) == 0
    assert "tiny-00002-of-00003.gguf" in capsys.readouterr().out


def test_a_part_under_another_name_is_one_part(tmp_path: Path) -> None:
    files = split_gguf(tmp_path, UNTIED)
    (tmp_path / "model.gguf").write_bytes(files[0].read_bytes())
    document = inspect_file(tmp_path / "model.gguf").to_dict()
    assert (document["role"], document["files"], document["missing_files"]) == (
        "split part",
        ["model.gguf"],
        [],
    )
    assert document["tensors"]["count"] == 11


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    files = split_gguf(tmp_path, UNTIED)
    files[1].write_bytes(files[0].read_bytes())
    with pytest.raises(InvalidFile, match="split.no: part 0 of 2 in .*00002-of-00002.gguf"):
        inspect_file(files[0])
    with pytest.raises(InvalidFile, match="split.no: 0 in "):
        inspect_file(files[1])


def test_a_projector_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [
        pair("general.architecture", STRING, text("clip")),
        pair("general.type", STRING, text("mmproj")),
        pair("clip.projector_type", STRING, text("gemma3")),
        pair("clip.has_vision_encoder", BOOL, b"\1"),
        u32("clip.vision.image_size", 896),
        u32("clip.vision.block_count", 27),
    ]
    entries = [entry("v.position_embd.weight", [128, 64], 0, 0), entry("mm.w", [256, 128], 1, 32_768)]
    file = tmp_path / "mmproj.gguf"
    file.write_bytes(gguf_bytes(pairs, entries, 32_768 + 65_536))
    document = inspect_file(file).to_dict()
    assert document["role"] == "projector"
    assert document["projector"] == {
        "type": "gemma3",
        "modalities": ["vision"],
        "encoders": {"vision": {"layers": 27, "image_size": 896}},
        "parameters": 128 * 64 + 256 * 128,
        "num_bytes": 4 * 128 * 64 + 2 * 256 * 128,
    }
    assert cli.main(["inspect", str(file)]) == 0
    assert "gemma3 for vision" in capsys.readouterr().out


def test_a_projector_for_sound_of_an_older_writer(tmp_path: Path) -> None:
    pairs = [
        pair("general.architecture", STRING, text("clip")),
        pair("clip.audio.projector_type", STRING, text("ultravox")),
        u32("clip.audio.embedding_length", 1280),
    ]
    (tmp_path / "x.gguf").write_bytes(gguf_bytes(pairs))
    found = inspect_file(tmp_path / "x.gguf").to_dict()["projector"]
    assert (found["type"], found["encoders"]) == ("ultravox", {"audio": {"hidden_size": 1280}})


def test_a_projector_of_before_projector_type(tmp_path: Path) -> None:
    pairs = [
        pair("general.architecture", STRING, text("clip")),
        pair("clip.has_minicpmv_projector", BOOL, b"\1"),
    ]
    entries = [entry("v.blk.0.attn_q.weight", (64, 64), 0, 0), entry("a.conv1d.1.weight", (64,), 0, 16_384)]
    (tmp_path / "x.gguf").write_bytes(gguf_bytes(pairs, entries, data=16_640))
    found = inspect_file(tmp_path / "x.gguf").to_dict()["projector"]
    assert (found["type"], found["modalities"]) == ("minicpmv", ["vision", "audio"])


def test_a_projector_of_which_a_part_is_missing_is_not_added(tmp_path: Path) -> None:
    pairs = [
        pair("general.architecture", STRING, text("clip")),
        *(pair(f"split.{key}", UINT16, struct.pack("<H", n)) for key, n in (("count", 2), ("no", 0))),
    ]
    file = tmp_path / "mmproj-00001-of-00002.gguf"
    file.write_bytes(gguf_bytes(pairs, [entry("v.blk.0.attn_q.weight", (64, 64), 0, 0)], data=16_384))
    with pytest.raises(InvalidFile, match=r"not a whole projector; .*missing: mmproj-00002-of-00002.gguf"):
        projector_memory(file)
    empty = tmp_path / "mmproj.gguf"
    empty.write_bytes(gguf_bytes(pairs[:1]))
    with pytest.raises(InvalidFile, match="not a whole projector"):
        projector_memory(empty)


@pytest.mark.parametrize(
    ("key", "value", "role"),
    [
        ("general.type", "imatrix", "importance matrix"),
        ("general.architecture", "controlvector", "control vector"),
        ("general.architecture", "llama", "model"),
    ],
)
def test_other_kinds_of_gguf_files(tmp_path: Path, key: str, value: str, role: str) -> None:
    (tmp_path / "x.gguf").write_bytes(gguf_bytes([pair(key, STRING, text(value))]))
    assert inspect_file(tmp_path / "x.gguf").to_dict()["role"] == role


def test_keys_of_an_architecture_that_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "made-up"
    pattern = array(BOOL, 4, b"\1\1\1\0")
    pairs = [
        pair("general.architecture", STRING, text(name)),
        u32(f"{name}.block_count", 4),
        u32(f"{name}.embedding_length", 256),
        u32(f"{name}.attention.head_count", 4),
        pair(f"{name}.attention.head_count_kv", ARRAY, array(INT32, 4, struct.pack("<4i", 2, 0, 2, 1))),
        u32(f"{name}.attention.sliding_window", 512),
        pair(f"{name}.attention.sliding_window_pattern", ARRAY, pattern),
        u32(f"{name}.context_length", 8192),
    ]
    file = tmp_path / "x.gguf"
    file.write_bytes(gguf_bytes(pairs, [entry("token_embd.weight", [256, 1000], 1, 0)], 512_000))
    document = inspect_file(file).to_dict()
    assert "general.architecture: 'made-up'" in document["no_architecture"]
    facts = document["gguf"]["model"]
    assert (facts["num_layers"], facts["num_kv_heads"], facts["vocab_size"]) == (4, 2, 1000)
    # the second layer has no KV heads; of the three that have, the pattern gives two a window
    assert (facts["cached_layers"], facts["windows"]) == (3, {"512": 2})
    # no lengths of keys and values: 256 / 4 heads
    assert facts["cached_values_per_token"] == (2 + 0 + 2 + 1) * (64 + 64)
    assert cli.main(["inspect", str(file)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "1,280 (1.28 KB) for a token in F16" in printed


def _index_only(folder: Path, metadata: dict[str, Any]) -> Path:
    path = write_safetensors(folder, TINY, shards=2)
    index = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**index, "metadata": metadata}), encoding="utf-8")
    for shard in folder.glob("*.safetensors"):
        shard.unlink()
    return path


def test_an_index_without_its_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _index_only(tmp_path / "tiny", {"total_size": 184_960})
    for way in (path, path.parent):
        document = inspect_file(way).to_dict()
        assert document["role"] == "index"
        assert len(document["missing_files"]) == 2
        assert (document["tensors"]["count"], document["tensors"]["parameters"]) == (20, 92_480)
        assert document["tensors"]["num_bytes"] == 184_960
        assert document["calculator"] is None
        assert "0 of 2 files found: parameters are those of config.json" in document["notes"][0]
    assert cli.main(["inspect", str(path)]) == 0
    assert "92,480" in capsys.readouterr().out


def test_shards_without_their_index(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "tiny", TINY, shards=3)
    path.unlink()
    for way in (path.parent, path.parent / "model-00002-of-00003.safetensors"):
        document = inspect_file(way).to_dict()
        assert (document["role"], len(document["files"])) == ("model", 3)
        assert document["tensors"]["parameters"] == 92_480
        assert document["calculator"]["parameters"]["difference"] == 0
    (path.parent / "model-00003-of-00003.safetensors").unlink()
    document = inspect_file(path.parent / "model-00002-of-00003.safetensors").to_dict()
    assert document["role"] == "split part"
    assert document["missing_files"] == ["model-00003-of-00003.safetensors"]
    assert document["tensors"]["parameters"] < 92_480
    assert document["notes"] == ["2 of 3 files found: figures are for these"]


def test_a_folder_with_gguf_files(tmp_path: Path) -> None:
    split_gguf(tmp_path, UNTIED)
    (tmp_path / "whole.gguf").unlink()
    assert inspect_file(tmp_path).to_dict()["files"] == [
        "tiny-00001-of-00002.gguf",
        "tiny-00002-of-00002.gguf",
    ]
    write_gguf(tmp_path / "other.gguf", TINY)
    with pytest.raises(InvalidFile, match="holds 3 GGUF files; accepted: one of them, such as 'other.gguf'"):
        inspect_file(tmp_path)


def test_a_folder_of_parts_and_a_projector_is_a_model(tmp_path: Path) -> None:
    files = split_gguf(tmp_path, UNTIED, parts=3)
    (tmp_path / "whole.gguf").unlink()
    alone = EstimateRequest(model=str(files[0])).run().estimate
    write_gguf(tmp_path / "mmproj-tiny.gguf", TINY)
    assert EstimateRequest(model=str(tmp_path)).run().estimate.parameters == alone.parameters
    for file in files:  # as some systems keep names
        file.rename(file.with_name(file.name.upper()))
    assert EstimateRequest(model=str(tmp_path)).run().estimate.parameters == alone.parameters
    write_gguf(tmp_path / "other.gguf", TINY)
    with pytest.raises(InvalidFile, match="holds 4 GGUF files; accepted: one of them"):
        EstimateRequest(model=str(tmp_path)).run()


def test_a_part_under_another_name_asks_for_the_usual_ones(tmp_path: Path) -> None:
    other = split_gguf(tmp_path, UNTIED)[0].rename(tmp_path / "tiny.gguf.part1of2")
    with pytest.raises(SizerError, match=r"one of 2 parts; .* under names such as MODEL-00001-of-00002.gguf"):
        EstimateRequest(model=str(other)).run()


def test_a_config_says_how_weights_are_stored(tmp_path: Path) -> None:
    config = {**config_from_architecture(TINY), "quantization_config": {"quant_method": "gptq", "bits": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    document = inspect_file(tmp_path).to_dict()
    assert document["tensors"]["parameters"] == 92_480
    assert document["notes"][0].startswith("the config's weights are stored as")


def test_an_index_without_totals_and_without_config(tmp_path: Path) -> None:
    path = _index_only(tmp_path / "tiny", {})
    (path.parent / "config.json").unlink()
    document = inspect_file(path).to_dict()
    assert (document["tensors"]["parameters"], document["tensors"]["num_bytes"]) == (None, None)
    assert "parameters are not known, the index says no total_size" in document["notes"][0]
    path = _index_only(tmp_path / "tiny", {"total_parameters": 92_480, "total_size": 1})
    (path.parent / "config.json").unlink()
    document = inspect_file(path).to_dict()
    assert document["tensors"]["parameters"] == 92_480
    assert "less than a bit" in document["notes"][1]


def test_an_index_with_one_of_its_shards(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "tiny", TINY, shards=2)
    (tmp_path / "tiny" / "model-00002-of-00002.safetensors").unlink()
    document = inspect_file(path).to_dict()
    assert document["role"] == "index"
    assert document["files"] == ["model-00001-of-00002.safetensors"]
    assert document["tensors"]["parameters"] == 92_480
    assert document["tensors"]["count"] == 20
    (path.parent / "config.json").write_text(
        json.dumps({**config_from_architecture(TINY), "quantization_config": {"bits": 4}}), encoding="utf-8"
    )
    assert inspect_file(path).to_dict()["tensors"]["parameters"] == 92_480
