"""Files that the pages offer of a shape without weights."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.widgets.export import training_plan_zip, zipped
from search.export.exported import export_folder, exported_paths
from sizer.families.hf_config import architecture_from_config
from tests.search.export.conftest import tiny


@pytest.mark.slow
def test_the_plan_is_of_the_shape() -> None:
    shape = replace(tiny(layers=3, width=96, heads=3), name="a shape: of mine")
    with zipfile.ZipFile(io.BytesIO(training_plan_zip(shape))) as archive:
        assert set(archive.namelist()) == {"config.json", "litgpt.yaml", "plan.json", "plan.md", "train.py"}
        found = architecture_from_config(json.loads(archive.read("config.json")), shape.name)
    same = ("num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "vocab_size")
    assert [getattr(found, name) for name in same] == [getattr(shape, name) for name in same]


def test_a_folder_is_zipped_with_its_files_only(tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "other.txt").write_text("mine", encoding="utf-8")
    with zipfile.ZipFile(io.BytesIO(zipped(tmp_path / "hf"))) as archive:
        assert archive.namelist() == ["config.json"]
        assert archive.read("config.json") == b"{}"


def test_exports_of_a_trial_are_listed_without_others(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'runs' / 'sizer.db'}"
    assert exported_paths("s", 1, storage) == ()
    folder = export_folder("s", storage)
    (folder / "1-hf").mkdir(parents=True)
    for name in ("1-Q4_0.gguf", "1-Q4_0.md", "11-Q4_0.gguf", "1-8da4w-g32-e8.pte"):
        (folder / name).write_bytes(b"")
    names = [path.name for path in exported_paths("s", 1, storage)]
    assert names == ["1-8da4w-g32-e8.pte", "1-Q4_0.gguf", "1-hf"]
