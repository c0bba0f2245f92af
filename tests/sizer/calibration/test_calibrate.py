"""Calibration: rounds, medians, a device file from known costs, crashes in one line, nothing left behind."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sizer.calibration import disk, llamacpp_bench, worker
from sizer.calibration.bench_export import export, remove
from sizer.calibration.bench_models import (
    SHAPES,
    BenchModel,
    bench_file_bytes,
    bench_models,
    bench_shape,
    write_bench_model,
)
from sizer.calibration.calibrate import (
    bench_task,
    calibrate_from_bench,
    calibrate_this_machine,
    check_runtime,
)
from sizer.calibration.device_file import DeviceFile, check_device_kind, check_device_name, check_out
from sizer.calibration.llama_bench import read_llama_bench
from sizer.calibration.llamacpp_bench import measure_in_process
from sizer.calibration.samples import timed_model
from sizer.calibration.timings import (
    Timing,
    TimingProgress,
    TimingTask,
    check_threads,
    physical_cores,
    sample_of,
    time_models,
)
from sizer.devices.catalogue import device
from sizer.devices.device import DeviceKind, Fact
from sizer.devices.speed_model import init_seconds
from sizer.errors import InvalidFile, InvalidQuantity, MeasurementError, UnknownName
from sizer.formats.llamacpp import mix
from sizer.model_estimate import estimate
from sizer.prediction import Basis
from sizer.tensors import tensor_specs
from sizer.workload import Workload
from tests.sizer.calibration.test_llama_bench import REAL
from tests.sizer.calibration.test_speed_fit import TRUE, decode_s, prefill_s, rates

SMALL = tuple(
    BenchModel(bench_shape(name, layers=layers, width=256, mlp=512, kv_heads=2, vocab=512), type_name)
    for name, layers in (("one", 2), ("two", 6), ("three", 12))
    for type_name in ("Q8_0", "Q4_K")
)


def fake(task: TimingTask, threads: int) -> Timing:
    """A device with known costs."""
    decode = decode_s(task.model, task.prompt_tokens + task.generated_tokens / 2)
    prefill = prefill_s(task.model, task.prompt_tokens)
    load = init_seconds(task.model.file_bytes, TRUE)
    return Timing(load, (prefill,) * 3, (decode,) * 3, others_share=0.0)


def nothing(path: Path, model: BenchModel) -> None:
    """Write no file: nothing reads it."""


def calibrated(**changed: Any) -> DeviceFile:
    arguments = {
        "name": "my-board",
        "kind": DeviceKind.BOARD,
        "threads": 4,
        "budget_s": 60.0,
        "measure": fake,
        "write": nothing,
    }
    return calibrate_this_machine(**{**arguments, **changed})


def test_the_device_file_holds_the_costs_that_were_measured() -> None:
    table = tomllib.loads(calibrated().text())
    assert table["device"]["name"] == "my-board"
    assert table["device"]["kind"] == "board"
    assert table["device"]["backend"] == "cpu"
    assert table["device"]["bandwidth_measured_bytes_per_s"].keys() == {"value", "source", "date"}
    (profile,) = table["profile"]
    assert profile["runtime"] == "llama.cpp"
    assert "4 threads, median of 9 in 3 rounds" in profile["source"]
    assert profile["seconds_per_layer"] == pytest.approx(TRUE.seconds_per_layer, rel=0.03)
    for name in ("Q8_0", "Q4_K"):
        rate = profile["bytes_per_s"] / profile["byte_cost"][name]
        assert rate == pytest.approx(rates(TRUE)[0][name], rel=0.03)
        ops = profile["ops_per_s"] / profile["op_cost"][name]
        assert ops == pytest.approx(rates(TRUE)[1][name], rel=0.03)
    assert profile["bits_low"] < 3 < 15 < profile["bits_high"]
    assert 1 <= profile["decode_factor"] < 1.1
    assert 1 <= profile["prefill_factor"] < 1.2
    assert profile["init_s"] == pytest.approx(TRUE.init_s, rel=0.05)


def test_the_device_file_predicts_as_it_was_fitted(tmp_path: Path) -> None:
    """Through --device: an estimate of a bench shape is what the costs say, with basis measured."""
    path = tmp_path / "my-board.toml"
    found = calibrated()
    path.write_text(found.text(), encoding="utf-8")
    board = device(str(path))
    workload = Workload(context_tokens=512, prompt_tokens=128, generated_tokens=24)
    architecture = SHAPES["middle"]
    predicted = estimate(architecture=architecture, format="Q4_K_M", device=board, workload=workload).latency
    assert predicted is not None
    stored = mix("Q4_K_M").assign(architecture, tensor_specs(architecture))
    model = timed_model("x", architecture, stored, file_bytes=1)
    decode = decode_s(model, 140, found.fit.constants)
    assert predicted.decode_at_start_tokens_per_s.value == pytest.approx(1 / decode, rel=1e-4)
    assert predicted.decode_tokens_per_s.basis is Basis.MEASURED
    prefill = prefill_s(model, 128, found.fit.constants)
    assert predicted.time_to_first_token_s.value == pytest.approx(prefill, rel=1e-4)
    assert predicted.prefill_tokens_per_s.basis is Basis.MEASURED


def test_rounds_are_shuffled_and_stop_in_time() -> None:
    tasks = [bench_task(Path(), model) for model in SMALL]
    now = [0.0]
    seen: list[str] = []

    def measure(task: TimingTask, threads: int) -> Timing:
        now[0] += 1.0
        seen.append(task.model.name)
        return fake(task, threads)

    reports: list[TimingProgress] = []
    timed = time_models(
        tasks, threads=1, budget_s=20, rounds=9, measure=measure, report=reports.append, clock=lambda: now[0]
    )
    # six files a round: three rounds of six seconds end within 20, a fourth would not
    assert [len(timings) for _, timings in timed] == [3] * 6
    rounds = [seen[at : at + 6] for at in (0, 6, 12)]
    assert all(sorted(r) == sorted(m.name for m in SMALL) for r in rounds)
    assert all(a != b for a, b in pairwise(rounds))
    assert (reports[-1].done, reports[-1].total, reports[-1].left_s) == (18, 18, 0)
    assert reports[0].total == 18
    assert reports[0].left_s == pytest.approx(17)


def test_one_round_is_made_whatever_the_budget() -> None:
    tasks = [bench_task(Path(), model) for model in SMALL]
    timed = time_models(tasks, threads=1, budget_s=0, measure=fake)
    assert [len(timings) for _, timings in timed] == [1] * 6


def test_samples_are_medians_over_rounds() -> None:
    task = bench_task(Path(), SMALL[0])
    timings = [Timing(1.0, (1.0, 2.0), (0.1, 9.0)), Timing(3.0, (4.0,), (0.2,)), Timing(2.0, (2.0,), (0.3,))]
    sample = sample_of(task, timings)
    assert (sample.load_s, sample.prefill_s) == (2.0, 2.0)
    assert sample.decode_s == pytest.approx(0.25)
    assert sample.depth_tokens == task.prompt_tokens + task.generated_tokens / 2


def test_timings_beside_other_programs_are_left_out_where_there_are_others() -> None:
    task = bench_task(Path(), SMALL[0])
    quiet = Timing(1.0, (1.0,), (0.1,), others_share=0.01)
    beside = Timing(9.0, (9.0,), (0.9,), others_share=0.3)
    worst = Timing(99.0, (99.0,), (9.9,), others_share=0.6)
    assert sample_of(task, [beside, quiet, worst]).decode_s == 0.1
    # all disturbed: what others take only adds, so the fastest is nearest
    mixed = Timing(8.0, (7.0, 6.0), (0.8, 5.0), others_share=0.9)
    found = sample_of(task, [worst, beside, mixed])
    assert (found.load_s, found.prefill_s, found.decode_s) == (8.0, 6.0, 0.8)


def test_what_others_use_is_told_apart_from_what_we_use() -> None:
    before = worker._Times(all_s=100, used_s=40, ours_s=10)
    assert worker._others_share(before, worker._Times(120, 55, 22)) == pytest.approx(0.15)
    assert worker._others_share(before, worker._Times(120, 50, 22)) == 0
    assert worker._others_share(before, None) is None


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held: list[str] = []

    def interrupted(task: TimingTask, threads: int) -> Timing:
        held.extend(p.name for p in task.path.parent.iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrated(measure=interrupted, models=SMALL, write=write_bench_model)
    assert sorted(held) == sorted(m.file_name for m in SMALL)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 0))  # type: ignore[attr-defined]
    with pytest.raises(MeasurementError, match=r"do not fit in .* where 0 B are free"):
        calibrated()


def broken_worker(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TimingTask:
    """A task that is run by a script of our own in the worker's place."""
    script = tmp_path / "worker.py"
    script.write_text(code, encoding="utf-8")
    monkeypatch.setattr(llamacpp_bench, "_WORKER", script)
    return bench_task(tmp_path, SMALL[0])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "it was ended by SIGILL"),
        ("import sys; sys.exit('no such model')", "exit code 1: no such model"),
        (
            "import sys; sys.exit('0.1 E llama_model_load: bad magic\\nRuntimeError: Failed')",
            "exit code 1: 0.1 E llama_model_load: bad magic",
        ),
        ("raise SystemExit(3)", "exit code 3: it said nothing"),
        ("print('hello')", "its answer cannot be read"),
        ("print('{}')", "its answer cannot be read"),
        ("", "its answer cannot be read"),
        (
            'print(\'{"load_s": 1, "prefill_s": [0.1], "decode_s": [0], "memory_before": null, '
            '"memory_after": null}\')',
            "its answer cannot be read",
        ),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_a_broken_runtime_is_one_line(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llamacpp_bench, "_TIMEOUT_S", 1.0)
    task = broken_worker(code, tmp_path, monkeypatch)
    with pytest.raises(MeasurementError) as caught:
        measure_in_process(task, 1)
    text = str(caught.value)
    assert text.startswith(f"calibrate: llama.cpp (xllamacpp) failed on {task.path.name}: ")
    assert said in text
    assert "\n" not in text


def test_the_worker_is_asked_for_what_the_task_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import json, sys; r = json.loads(sys.argv[1])\n"
        "print('noise')\n"
        "print(json.dumps({'load_s': r['threads'], 'prefill_s': [r['prompt_tokens'] / 100], "
        "'decode_s': [r['generated_tokens'], r['context_tokens'] / 100], "
        "'memory_before': {'total': 5, 'anonymous': 2}, 'memory_after': {'total': 9, 'anonymous': 3}}))"
    )
    task = broken_worker(code, tmp_path, monkeypatch)
    found = measure_in_process(task, 3)
    assert found.others_share is None or 0 <= found.others_share <= 1
    assert found._replace(others_share=None) == Timing(3.0, (1.28,), (24.0, 2.56), 4, 1)


def test_a_missing_runtime_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llamacpp_bench, "find_spec", lambda name: None)
    with pytest.raises(
        MeasurementError, match=r"needs the package xllamacpp .*sizer\[calibrate\].*--from-llama-bench"
    ):
        calibrated(measure=measure_in_process)


def test_runtimes_that_cannot_be_measured_are_refused() -> None:
    assert check_runtime("LLAMA.CPP") == "llama.cpp"
    assert check_runtime("ExecuTorch") == "executorch"
    with pytest.raises(UnknownName, match=r"'mlx'; known: executorch, llama\.cpp"):
        check_runtime("mlx")


def test_threads() -> None:
    assert 1 <= physical_cores() == check_threads(None)
    assert check_threads(7) == 7
    for wrong in (0, -1, 513):
        with pytest.raises(InvalidQuantity, match="threads: must be from 1 to 512"):
            check_threads(wrong)


@pytest.mark.parametrize("name", ["", "host", "Host", "a b", "../up", "x" * 65, "-x", 'q"uote'])
def test_names_that_cannot_name_a_device(name: str) -> None:
    with pytest.raises(UnknownName, match="cannot name a device; accepted"):
        check_device_name(name)


def test_kinds() -> None:
    assert check_device_kind("Phone") is DeviceKind.PHONE
    with pytest.raises(UnknownName, match="kind of device 'toaster'"):
        check_device_kind("toaster")


def test_only_our_own_files_are_written_over(tmp_path: Path) -> None:
    path = tmp_path / "my-board.toml"
    assert check_out(path) == path
    path.write_text(calibrated().text(), encoding="utf-8")
    assert check_out(path) == path
    path.write_text("[device]\n", encoding="utf-8")
    with pytest.raises(InvalidFile, match="exists and is no file of sizer calibrate"):
        check_out(path)
    with pytest.raises(InvalidFile, match="is no directory"):
        check_out(tmp_path / "nowhere" / "x.toml")


def test_strange_text_survives_in_the_file() -> None:
    title = 'A "quoted" \\ back\x7fslash\n\t\u00e9 \U0001f600'
    found = DeviceFile(
        name="x",
        title=title + "\ud800",
        kind=DeviceKind.PHONE,
        runtime="llama.cpp",
        backend="cpu",
        source="a test",
        date="2026-11-22",
        fit=calibrated().fit,
        facts={"ram_bytes": Fact(8e9, "so", "2026")},
    )
    table = tomllib.loads(found.text())
    assert table["device"]["title"] == title + "?"
    assert table["device"]["ram_bytes"] == {"value": 8e9, "source": "so", "date": "2026"}


def test_a_phones_results_become_a_device_file() -> None:
    found = calibrate_from_bench(read_llama_bench(REAL), name="my-phone", kind=DeviceKind.PHONE)
    table = tomllib.loads(found.text())
    assert table["device"]["title"] == "AMD EPYC"
    (profile,) = table["profile"]
    assert profile["source"] == "llama-bench 0c1e570, 2 threads, flash attention auto, median of 3"
    assert "load_factor" not in profile
    assert 5e8 < profile["bytes_per_s"] < 5e11
    assert set(profile["byte_cost"]) >= {"Q8_0", "Q4_K"}


def test_export_writes_once_and_never_over_another_file(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "bench"
    done = export(folder, models=SMALL)
    assert done.written == len(SMALL)
    assert done.total_bytes == sum(p.stat().st_size for p in folder.iterdir())
    first = folder / SMALL[0].file_name
    before = first.stat().st_mtime_ns
    assert export(folder, models=SMALL).written == 0
    assert first.stat().st_mtime_ns == before
    first.write_bytes(b"mine")
    (folder / SMALL[1].file_name).unlink()
    with pytest.raises(InvalidFile, match="exists and is not the file this command writes"):
        export(folder, models=SMALL)
    assert first.read_bytes() == b"mine"
    assert not (folder / SMALL[1].file_name).exists(), "nothing is written before all is checked"


def test_remove_takes_only_what_export_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    export(folder, models=SMALL)
    (folder / SMALL[0].file_name).write_bytes(b"mine")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    removed = remove(folder, models=SMALL)
    assert [p.name for p in removed] == [m.file_name for m in SMALL[1:]]
    assert sorted(p.name for p in folder.iterdir()) == sorted(["notes.txt", SMALL[0].file_name])
    for path in folder.iterdir():
        path.unlink()
    export(folder, models=SMALL)
    remove(folder, models=SMALL)
    assert not folder.exists()
    assert remove(folder, models=SMALL) == []


def test_export_into_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InvalidFile, match="DIR: cannot"):
        export(tmp_path / "file", models=SMALL)


def test_the_planned_files_fit_a_phone() -> None:
    assert sum(map(bench_file_bytes, bench_models())) < 1.8e9


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="needs the package xllamacpp")
def test_the_real_runtime_is_measured(tmp_path: Path) -> None:
    """llama.cpp loads our files, and a model twice as deep takes longer."""
    found = calibrated(
        models=SMALL, measure=measure_in_process, write=write_bench_model, budget_s=0.0, threads=1
    )
    times = {s.model.name: s for s in found.fit.samples}
    assert times["three-Q8_0"].decode_s > times["one-Q8_0"].decode_s  # type: ignore[operator]
    assert times["three-Q8_0"].prefill_s > times["one-Q8_0"].prefill_s  # type: ignore[operator]
    assert found.source.startswith("sizer calibrate, xllamacpp 2")
    (profile,) = tomllib.loads(found.text())["profile"]
    assert profile["ops_per_s"] > 1e8
    # a file that is no model: llama.cpp's own word for it
    broken = tmp_path / SMALL[0].file_name
    broken.write_bytes(b"GGUF nonsense" * 100)
    with pytest.raises(MeasurementError, match=r"failed on sizer-bench-one-Q8_0\.gguf: exit code 1: "):
        measure_in_process(bench_task(tmp_path, SMALL[0]), 1)
