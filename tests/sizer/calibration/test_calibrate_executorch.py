"""Calibrating ExecuTorch: a file from known costs, exports in time, crashes in one line, nothing left."""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from sizer.calibration import executorch_bench
from sizer.calibration.bench_models import bench_shape
from sizer.calibration.calibrate import calibrate_executorch, calibrate_this_machine
from sizer.calibration.device_file import DeviceFile, check_out, write_device_file
from sizer.calibration.executorch_bench import export_models, measure_in_process, require_executorch
from sizer.calibration.executorch_models import (
    CONTEXT_TOKENS,
    FORMAT,
    ExecuTorchModel,
    executorch_models,
    workload,
)
from sizer.calibration.timings import Timing, TimingProgress, TimingTask
from sizer.devices.catalogue import device
from sizer.devices.device import DeviceKind
from sizer.devices.speed_model import init_seconds
from sizer.errors import InvalidFile, MeasurementError
from sizer.formats.executorch import RECIPES, export_options
from sizer.model_estimate import Estimate, estimate
from sizer.prediction import Basis
from sizer.runtimes.executorch import ExecuTorch
from tests.sizer.calibration.test_calibrate import SMALL, nothing
from tests.sizer.calibration.test_calibrate import fake as fake_llamacpp
from tests.sizer.calibration.test_speed_fit import TRUE as LLAMACPP
from tests.sizer.calibration.test_speed_fit import decode_s, prefill_s

TRUE = LLAMACPP._replace(
    runtime="executorch",
    seconds_fixed=5e-5,
    seconds_per_layer=9e-5,
    bytes_per_s=11e9,
    byte_cost=(),
    ops_per_s=200e9,
    op_cost=(),
    activation_element_s=0.0,
    init_s=0.02,
    init_seconds_per_byte=5e-10,
)
TINY = tuple(
    ExecuTorchModel(bench_shape(name, layers=1, width=width, mlp=512, kv_heads=1, vocab=512))
    for name, width in (("one", 64), ("two", 128), ("three", 256))
)


def fake(task: TimingTask, threads: int) -> Timing:
    """A device with known costs."""
    prefill = prefill_s(task.model, task.prompt_tokens, TRUE)
    decode = decode_s(task.model, task.prompt_tokens + task.generated_tokens / 2, TRUE)
    load = init_seconds(task.model.file_bytes, TRUE)
    return Timing(load, (prefill,) * 5, (decode,) * 5, others_share=0.0)


def all_of_them(
    folder: Path, models: Any, budget_s: float, report: Callable[[TimingProgress], None]
) -> list[ExecuTorchModel]:
    """Export no file: nothing reads it."""
    return list(models)


def calibrated(**changed: Any) -> DeviceFile:
    arguments = {
        "name": "my-board",
        "kind": DeviceKind.BOARD,
        "threads": 2,
        "budget_s": 60.0,
        "measure": fake,
        "export": all_of_them,
    }
    return calibrate_executorch(**{**arguments, **changed})


def test_a_few_shallow_shapes_tell_the_costs_apart() -> None:
    (profile,) = tomllib.loads(calibrated().text())["profile"]
    assert (profile["runtime"], profile["backend"]) == ("executorch", "cpu")
    assert "2 threads, median of 15 in 3 rounds" in profile["source"]
    assert profile["seconds_fixed"] == pytest.approx(TRUE.seconds_fixed, rel=0.02)
    assert profile["seconds_per_layer"] == pytest.approx(TRUE.seconds_per_layer, rel=0.01)
    rate = profile["bytes_per_s"] / profile["byte_cost"]["8da4w-g32"]
    assert rate == pytest.approx(11e9, rel=0.02)
    assert profile["ops_per_s"] / profile["op_cost"]["8da4w-g32"] == pytest.approx(200e9, rel=0.05)
    assert profile["init_s"] == pytest.approx(TRUE.init_s, rel=0.05)
    assert 1 <= profile["decode_factor"] < 1.1


def test_the_shapes_differ_where_it_counts() -> None:
    models = executorch_models()
    costs = [m.task(Path()).model.costs for m in models]
    assert len({m.architecture.name for m in models}) == len(models) >= 4
    layers = [c.executed_layers for c in costs]
    assert max(layers) >= 4 * min(layers)
    assert max(c.step_bytes for c in costs) > 50 * min(c.step_bytes for c in costs)
    assert max(c.head_weights / c.block_weights for c in costs) > 5
    for model in models:
        assert model.architecture.intermediate_size % 32 == 0, "else a matrix stays a float one"


def test_the_export_is_asked_for_the_customary_format() -> None:
    assert ExecuTorch.customary[4.0] == FORMAT
    linear = RECIPES[FORMAT].matrix
    options = export_options(FORMAT)
    assert (options["qmode"], options["group_size"]) == ("8da4w", 32)
    assert linear.name == f"{options['qmode']}-g{options['group_size']}"
    assert f'"{options["embedding_quantize"]}"' in RECIPES[FORMAT].about
    request = TINY[1].export_request(Path("x"))
    assert (request["chunk_tokens"], request["context_tokens"]) == (129, CONTEXT_TOKENS)
    assert request["params"]["dim"] == 128
    assert TINY[1].task(Path()).context_tokens == CONTEXT_TOKENS


def predicted(path: Path, model: ExecuTorchModel) -> Estimate:
    """The estimate of a model on a device file's device."""
    return estimate(
        architecture=model.architecture,
        format=FORMAT,
        runtime="executorch",
        device=device(str(path)),
        workload=workload(),
    )


def test_a_file_of_executorch_alone_predicts_as_it_was_fitted(tmp_path: Path) -> None:
    path = tmp_path / "my-board.toml"
    found = calibrated()
    assert write_device_file(path, found) == ()
    model = ExecuTorchModel(bench_shape("unseen", layers=9, width=512, mlp=1408, kv_heads=2))
    speeds = predicted(path, model).latency
    assert speeds is not None
    timed = model.task(Path()).model
    decode = decode_s(timed, 160, found.fit.constants)
    assert speeds.decode_at_start_tokens_per_s.value == pytest.approx(1 / decode, rel=1e-4)
    assert speeds.decode_tokens_per_s.basis is Basis.MEASURED
    assert speeds.prefill_tokens_per_s.basis is Basis.MEASURED
    assert speeds.time_to_first_token_s.value == pytest.approx(
        prefill_s(timed, 128, found.fit.constants), rel=1e-4
    )


def llamacpp_file() -> DeviceFile:
    return calibrate_this_machine(
        name="my-board",
        kind=DeviceKind.BOARD,
        threads=1,
        budget_s=60.0,
        measure=fake_llamacpp,
        models=SMALL,
        write=nothing,
    )


def test_each_runtime_has_its_profile_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "my-board.toml"
    first, second = llamacpp_file(), calibrated()
    assert write_device_file(path, first) == ()
    (alone,) = tomllib.loads(path.read_text(encoding="utf-8"))["profile"]
    assert write_device_file(check_out(path), second) == ("llama.cpp on cpu",)
    profiles = tomllib.loads(path.read_text(encoding="utf-8"))["profile"]
    assert [p["runtime"] for p in profiles] == ["llama.cpp", "executorch"]
    assert profiles[0] == alone
    assert [p.runtime for p in device(str(path)).profiles] == ["llama.cpp", "executorch"]
    # again: the runtime's own profile is replaced, the other stays
    assert write_device_file(path, replace(first, source="again")) == ("executorch on cpu",)
    profiles = tomllib.loads(path.read_text(encoding="utf-8"))["profile"]
    assert [(p["runtime"], p["source"]) for p in profiles] == [
        ("executorch", second.source),
        ("llama.cpp", "again"),
    ]
    text = path.read_text(encoding="utf-8")
    assert text.count("# decode: median error") == 2, "each profile keeps how well it predicts"


@pytest.mark.parametrize("changed", [{"name": "another"}, {"soc": "another chip"}])
def test_profiles_of_another_device_do_not_stay(tmp_path: Path, changed: dict[str, str]) -> None:
    path = tmp_path / "my-board.toml"
    write_device_file(path, replace(llamacpp_file(), **changed))  # type: ignore[arg-type]
    assert write_device_file(path, calibrated()) == ()
    assert [p.runtime for p in device(str(path)).profiles] == ["executorch"]


@pytest.mark.parametrize("damage", ["[[profile]]\nruntime = 3\n", "x = \n", "[[profile]]\n"])
def test_a_damaged_file_is_told_before_anything_is_measured(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "my-board.toml"
    text = calibrated().text() + damage
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"cannot be read as a device file .*accepted: --out"):
        check_out(path)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("missing", executorch_bench.PACKAGES)
def test_a_missing_package_is_one_line(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executorch_bench, "version", lambda name: "1")
    monkeypatch.setattr(executorch_bench, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(MeasurementError) as caught:
        require_executorch()
    text = str(caught.value)
    assert f"not installed: {missing}; " in text
    assert 'pip install "sizer[calibrate-executorch]"' in text
    assert "\n" not in text


def test_the_first_round_ends_in_time_and_says_that_models_are_missing() -> None:
    """Each timing takes 0.5 of 0.8 seconds: the second model is not started, and one shape has no range."""
    seen: list[str] = []

    def slow(task: TimingTask, threads: int) -> Timing:
        seen.append(task.model.name)
        sleep(0.5)
        return fake(task, threads)

    found = calibrated(measure=slow, budget_s=0.8)
    assert len(seen) == 1
    assert found.doubts == ("only 1 of the models could be measured in time",)


@pytest.mark.slow
def test_executorch_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three models really exported and run: bytes to the byte, memory closely, nothing left behind."""
    try:
        require_executorch()
    except MeasurementError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sizes: dict[str, tuple[int, int]] = {}
    held: dict[str, int | None] = {}

    def export(folder: Path, models: Any, budget_s: float, report: Any) -> list[ExecuTorchModel]:
        found = export_models(folder, models, budget_s, report)
        sizes.update({m.name: ((folder / m.file_name).stat().st_size, m.file_bytes) for m in found})
        return found

    def measure(task: TimingTask, threads: int) -> Timing:
        timing = measure_in_process(task, threads)
        held[task.model.name] = timing.resident_bytes
        return timing

    path = tmp_path / "here.toml"
    found = calibrated(export=export, measure=measure, models=TINY, budget_s=1.0, name="here")
    assert not list(tmp_path.iterdir())
    write_device_file(path, found)
    assert len(sizes) == 3
    for written, said in sizes.values():
        assert written == pytest.approx(said, abs=128)
    for model in TINY:
        sized = predicted(path, model)
        bytes_held = held[model.architecture.name]
        assert bytes_held is None or bytes_held == pytest.approx(sized.memory.total_bytes, abs=2_000_000)
        assert sized.latency is not None
        assert sized.latency.decode_at_start_tokens_per_s.basis is Basis.MEASURED
    assert json.dumps(sorted(held)) == '["one", "three", "two"]'
