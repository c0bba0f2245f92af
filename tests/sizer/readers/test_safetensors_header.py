"""Safetensors headers against files that the safetensors package wrote: one file, shards with an index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from sizer.errors import InvalidFile
from sizer.readers import read_model
from sizer.readers.file_tensor import totals_by_type
from sizer.readers.safetensors_header import read_safetensors
from sizer.tensors import tensor_specs
from tests.sizer.readers.handmade import TINY, UNTIED, safetensors_bytes, write_safetensors


@pytest.mark.parametrize("shards", [1, 3])
def test_the_tensors_are_those_that_were_written(tmp_path: Path, shards: int) -> None:
    path = write_safetensors(tmp_path / "tiny", UNTIED, shards=shards)
    header = read_safetensors(path)
    assert len(header.files) == shards
    wanted = {spec.name: ("F16", spec.shape, 2 * spec.num_elements) for spec in tensor_specs(UNTIED)}
    assert {t.name: (t.type, t.shape, t.num_bytes) for t in header.tensors} == wanted
    assert header.file_bytes == sum((path.parent / name).stat().st_size for name in header.files)
    (total,) = totals_by_type(header.tensors)
    assert total.num_bytes == header.file_bytes - header.header_bytes
    for name in header.files:
        with safe_open(path.parent / name, framework="numpy") as oracle:
            assert set(oracle.keys()) == {t.name for t in header.tensors if t.file == name}
            assert (oracle.metadata() or {}) == (header.metadata if shards == 1 else {})


@pytest.mark.parametrize("shards", [1, 2])
def test_as_a_model_it_is_the_config_beside_it(tmp_path: Path, shards: int) -> None:
    path = write_safetensors(tmp_path / "tiny", TINY, shards=shards)
    assert read_model(str(path)) == TINY == read_model(str(path.parent))
    assert read_model(str(path)).name == "tiny"
    (path.parent / "config.json").unlink()
    with pytest.raises(InvalidFile, match="no config.json in its directory"):
        read_model(str(path))


def test_empty_scalar_and_small_types(tmp_path: Path) -> None:
    header = {
        "none": {"dtype": "F32", "shape": [0, 7], "data_offsets": [0, 0]},
        "scalar": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]},
        "halves": {"dtype": "F4", "shape": [3, 2], "data_offsets": [8, 11]},
    }
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors_bytes(header, 11))
    found = {t.name: (t.num_elements, t.num_bytes) for t in read_safetensors(file).tensors}
    assert found == {"none": (0, 0), "scalar": (1, 8), "halves": (6, 3)}


@pytest.mark.parametrize(
    "name",
    ["../x.safetensors", "/etc/x.safetensors", "a\\..\\x.safetensors", "c:x.safetensors", "x.bin", "", 7],
)
def test_shards_lie_beside_their_index(tmp_path: Path, name: object) -> None:
    (tmp_path / "x.safetensors").write_bytes(safetensors_bytes({}))
    folder = tmp_path / "model"
    folder.mkdir()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"t": name}}), encoding="utf-8")
    with pytest.raises(InvalidFile, match="weight_map: file .* names of .safetensors files in the index's"):
        read_safetensors(index)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, "weight_map: missing or not an object"),
        ({"weight_map": []}, "weight_map: missing or not an object"),
        (
            {"weight_map": {"t": "a.safetensors", "u": "a.safetensors"}},
            "weight_map: 'u' is not in 'a.safetensors'",
        ),
        ({"weight_map": {"u": "a.safetensors"}}, "weight_map: 't' in 'a.safetensors' is not in the index"),
        (
            {"weight_map": {"u": "a.safetensors", "x": "none.safetensors"}},
            "weight_map: 't' in 'a.safetensors' is not in the index",
        ),
        ({"weight_map": {"v": "b.safetensors"}}, "weight_map: 'w' in 'b.safetensors' is not in the index"),
        (
            {"weight_map": {"t": "a.safetensors", "v": "b.safetensors", "w": "c.safetensors"}},
            "weight_map: 'w' in 'b.safetensors' is not in the index, or in two shards",
        ),
    ],
)
def test_an_index_that_is_wrong(tmp_path: Path, index: object, message: str) -> None:
    one = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    two = {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}
    (tmp_path / "a.safetensors").write_bytes(safetensors_bytes({"t": one}, 1))
    (tmp_path / "b.safetensors").write_bytes(safetensors_bytes({"v": one, "w": two}, 2))
    (tmp_path / "c.safetensors").write_bytes(safetensors_bytes({"w": one}, 1))
    file = tmp_path / "model.safetensors.index.json"
    file.write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(InvalidFile, match=message):
        read_safetensors(file)
