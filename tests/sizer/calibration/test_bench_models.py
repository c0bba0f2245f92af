"""Bench models: files the gguf package reads back, byte for byte as calculated, with finite weights."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from sizer.calibration import bench_models as bench
from sizer.calibration.bench_models import (
    SHAPES,
    TYPE_NAMES,
    BenchModel,
    bench_file_bytes,
    bench_model,
    bench_models,
    bench_shape,
    write_bench_model,
)
from sizer.errors import MeasurementError
from sizer.formats.ggml import TYPES
from sizer.formats.gguf import gguf_name
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_header import read_gguf

SMALL = bench_shape("small", layers=2, width=256, mlp=512, kv_heads=2, vocab=300)


@pytest.mark.parametrize("type_name", TYPE_NAMES)
def test_a_file_is_what_was_calculated(type_name: str, tmp_path: Path) -> None:
    model = BenchModel(SMALL, type_name)
    path = tmp_path / model.file_name
    write_bench_model(path, model)
    assert path.stat().st_size == bench_file_bytes(model)
    assert [p.name for p in tmp_path.iterdir()] == [model.file_name]
    found = gguf.GGUFReader(path)
    assert {t.name: (t.tensor_type.name, int(t.n_bytes)) for t in found.tensors} == {
        gguf_name(t.spec): (t.type.name, t.num_bytes) for t in model.store()
    }
    for tensor in found.tensors:
        # the gguf package has its own decoders of every type
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.isfinite(values).all()
        if tensor.tensor_type.name != "F32":
            assert 1e-4 < values.std() < 1, "weights vary, and stay in a model's range"


def test_our_reader_finds_the_shape(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_bench_model(path, BenchModel(SMALL, "Q4_K"))
    assert architecture_from_gguf(read_gguf(path)) == SMALL


def test_two_files_differ_in_their_weights(tmp_path: Path) -> None:
    model = BenchModel(SMALL, "Q8_0")
    for name in ("a", "b"):
        write_bench_model(tmp_path / name, model)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_every_planned_model_can_be_stored_and_is_known_by_its_file_name() -> None:
    chosen = bench_models()
    assert len({m.file_name for m in chosen}) == len(chosen)
    for model in chosen:
        assert bench_model(f"/data/local/tmp/{model.file_name}") == model
        assert bench_model(f"C:\\bench\\{model.file_name}") == model
        for tensor in model.store():
            assert len(tensor.spec.shape) == 1 or TYPES[model.type_name].fits(tensor.spec.row_length)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "model.gguf",
        "sizer-bench-deep.gguf",
        "sizer-bench-deep-Q9_9.gguf",
        "sizer-bench-deep-Q8_0.gguf.part",
    ],
)
def test_other_files_are_not_taken_for_bench_models(name: str) -> None:
    assert bench_model(name) is None


def test_the_plan_tells_costs_apart() -> None:
    """Two types in every shape, every type in two shapes: else one shape's cost would pass for a type's."""
    shapes_of: dict[str, set[str]] = {}
    for model in bench_models():
        shapes_of.setdefault(model.type_name, set()).add(model.architecture.name)
    assert all(len(shapes) >= 2 for shapes in shapes_of.values())
    whole = {name for name, shape in SHAPES.items() if shape.hidden_size % 256 == 0}
    assert sum(shapes >= whole for shapes in shapes_of.values()) >= 2
    # users train models below two megabytes, and ternary ones: neither is beyond what was measured
    smallest = [m for m in bench_models() if sum(t.num_bytes for t in m.store()) < 2e6]
    assert len({m.architecture.name for m in smallest}) >= 2
    assert len({m.type_name for m in smallest}) >= 3
    assert "TQ1_0" in shapes_of


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(bench, "import_module", refuse)
    with pytest.raises(MeasurementError, match=r"needs the package gguf .*sizer\[calibrate\]"):
        write_bench_model(tmp_path / "m.gguf", BenchModel(SMALL, "Q8_0"))
    assert not list(tmp_path.iterdir())


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="cannot write .*: No such file or directory"):
        write_bench_model(tmp_path / "nowhere" / "m.gguf", BenchModel(SMALL, "Q8_0"))
