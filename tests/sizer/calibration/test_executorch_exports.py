"""Exports to ExecuTorch in time; each broken one ends in one line and leaves nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from sizer.calibration import executorch_bench
from sizer.calibration.executorch_bench import export_models, measure_in_process
from sizer.calibration.executorch_models import executorch_models
from sizer.calibration.timings import Timing, TimingProgress
from sizer.errors import MeasurementError
from tests.sizer.calibration.test_calibrate_executorch import TINY, calibrated

WRITES = (
    "import json, sys; r = json.loads(sys.argv[1])\n"
    "open(r['model'], 'wb').write(b'x')\n"
    "print(json.dumps({'file_bytes': 1}))\n"
)


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a script of our own in the worker's place; the empty folder to use as the temporary one."""

    def put(code: str) -> Path:
        script = tmp_path / "worker.py"
        script.write_text(code, encoding="utf-8")
        monkeypatch.setattr(executorch_bench, "WORKER", script)
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        return folder

    return put


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it was ended by SIGSEGV"),
        ("raise SystemExit(3)", "exit code 3: it said nothing"),
        ("raise ValueError('no such operator')", "exit code 1: ValueError: no such operator"),
        ("import sys; sys.stderr.buffer.write(b'\\xff\\xfe'); sys.exit(1)", "exit code 1: "),
        ("print('hello')", "its export wrote no file"),
        (f"{WRITES}\nimport time; time.sleep(60)", "not exported within 1 s"),
    ],
)
def test_a_broken_export_is_one_line_and_leaves_nothing(
    code: str, said: str, worker: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executorch_bench, "_EXPORT_TIMEOUT_S", 1.0)
    folder = worker(code)
    with pytest.raises(MeasurementError) as caught:
        calibrated(export=export_models, models=TINY)
    text = str(caught.value)
    assert text.startswith("calibrate: ExecuTorch failed on sizer-bench-")
    assert said in text
    assert "\n" not in text
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "it was ended by SIGILL"),
        ("print('hello')", "its answer cannot be read"),
        ("print('{\"load_s\": 1}')", "its answer cannot be read"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_a_broken_run_is_one_line_and_leaves_nothing(
    code: str, said: str, worker: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executorch_bench, "_TIMEOUT_S", 1.0)
    folder = worker(f"{WRITES}if r['action'] == 'measure':\n    {code}\n")
    monkeypatch.setattr(executorch_bench, "version", lambda name: "1")
    monkeypatch.setattr(executorch_bench, "find_spec", lambda name: object())
    with pytest.raises(MeasurementError) as caught:
        calibrated(export=export_models, models=TINY, measure=measure_in_process)
    text = str(caught.value)
    assert text.startswith("calibrate: ExecuTorch failed on sizer-bench-")
    assert said in text
    assert "\n" not in text
    assert not list(folder.iterdir())


def test_an_interrupt_ends_the_exports_and_leaves_nothing(worker: Callable[[str], Path]) -> None:
    folder = worker(f"{WRITES}\nimport os, time\nprint(os.getpid())\ntime.sleep(60)")
    started: list[int] = []

    def interrupted(progress: TimingProgress) -> None:
        started.append(progress.total)
        if len(started) > 3:
            raise KeyboardInterrupt

    children, begin = _children(), monotonic()
    with pytest.raises(KeyboardInterrupt):
        calibrated(export=export_models, models=TINY, report=interrupted)
    assert monotonic() - begin < 50, "it waited for what should have been ended"
    assert not list(folder.iterdir())
    assert _children() == children


def _children() -> set[str]:
    tasks = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return set(tasks.read_text(encoding="ascii").split()) if tasks.exists() else set()


@pytest.mark.parametrize(
    ("seconds", "budget_s", "exported"), [("0", 1000.0, 5), ("60 * ('wide' in r['model'])", 8.0, 4)]
)
def test_as_many_are_exported_as_there_is_time_for(
    seconds: str, budget_s: float, exported: int, worker: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = worker(f"{WRITES}import time; time.sleep({seconds})")
    seen: list[TimingProgress] = []
    models = executorch_models()
    begin = monotonic()
    found = export_models(folder, models, budget_s, seen.append)
    assert monotonic() - begin < max(budget_s, 30)
    assert found == [m for m in models if exported == 5 or m.architecture.name != "wide"]
    assert sorted(p.name for p in folder.iterdir()) == sorted(m.file_name for m in found), "no logs"
    assert all(p.what == "exports" and p.left_s >= 0 for p in seen)


def test_without_a_single_export_in_time_the_error_names_a_time(worker: Callable[[str], Path]) -> None:
    folder, begin = worker(f"{WRITES}import time; time.sleep(60)"), monotonic()
    with pytest.raises(MeasurementError, match=r"no model was exported to ExecuTorch within .*: --max-time"):
        calibrated(export=export_models, models=TINY, budget_s=2.0)
    assert monotonic() - begin < 10
    assert not list(folder.iterdir())


def test_no_more_run_at_once_than_there_are_cores(
    worker: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = worker(f"{WRITES}import time; time.sleep(0.3)")
    monkeypatch.setattr(executorch_bench, "physical_cores", lambda: 1)
    seen: list[TimingProgress] = []
    export_models(folder, TINY, 1000.0, seen.append)
    assert {p.model for p in seen} == {"exporting one", "exporting two", "exporting three"}


def test_the_worker_is_asked_for_what_the_task_says(worker: Callable[[str], Path]) -> None:
    code = (
        "import json, sys; r = json.loads(sys.argv[1])\n"
        "print(json.dumps({'load_s': r['threads'], 'prefill_s': [r['prompt_tokens'] / 100], "
        "'decode_s': [r['generated_tokens'], r['repeats']], 'memory_before': None, 'memory_after': None}))"
    )
    folder = worker(code)
    found = measure_in_process(TINY[0].task(folder), 3)
    assert found._replace(others_share=None) == Timing(3.0, (1.28,), (64.0, 5.0))
