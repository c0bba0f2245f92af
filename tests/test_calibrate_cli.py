"""`sizer calibrate` and `sizer export-bench-models`: what they print, write and refuse."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import cli
from sizer.calibration import bench_export, executorch_bench, llamacpp_bench
from sizer.calibration.bench_models import bench_models
from tests.sizer.calibration.test_calibrate import SMALL, fake
from tests.sizer.calibration.test_llama_bench import REAL


@pytest.fixture
def sizer(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_results_of_a_phone_become_a_file(sizer: Any, tmp_path: Path) -> None:
    code, out, err = sizer(
        "calibrate", "--from-llama-bench", str(REAL), "--name", "my-phone", "--kind", "phone"
    )
    # the machine that printed it was busy
    assert code == 0
    assert err.startswith("not to be trusted: repeats of 10 of 10 runs differ by more than 10%")
    assert "Q8_0" in out
    assert "GB/s" in out
    assert "use it as --device my-phone.toml" in out
    table = tomllib.loads((tmp_path / "my-phone.toml").read_text(encoding="utf-8"))
    assert (table["device"]["name"], table["device"]["kind"]) == ("my-phone", "phone")


def test_json_is_one_document(sizer: Any, tmp_path: Path) -> None:
    code, out, _ = sizer("calibrate", "--from-llama-bench", str(REAL), "--out", "p.toml", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["schema"] == "sizer.calibration/1"
    assert found["file"] == "p.toml"
    assert found["held_out"]["decode"]["models"] > 0
    (profile,) = tomllib.loads((tmp_path / "p.toml").read_text(encoding="utf-8"))["profile"]
    assert found["bytes_per_s"]["Q8_0"] == pytest.approx(
        profile["bytes_per_s"] / profile["byte_cost"]["Q8_0"], rel=1e-4
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--runtime", "mlx"), "unknown runtime to calibrate 'mlx'; known: executorch, llama.cpp"),
        (
            ("--runtime", "executorch", "--from-llama-bench", "x.json"),
            "runtime: llama-bench measures llama.cpp, got 'executorch'; accepted: llama.cpp",
        ),
        (("--name", "a b"), "cannot name a device"),
        (("--kind", "toaster"), "unknown kind of device 'toaster'"),
        (("--from-llama-bench", "none.json"), "cannot read 'none.json': No such file"),
        (("--out", "no/where.toml"), "is no directory"),
        (("--max-time", "soon"), "max-time: cannot read 'soon'"),
        (("--max-time", "30h"), "max-time: must be at most 24h"),
        (("--threads", "0"), "threads: must be from 1 to 512"),
        (("--gpu-layers", "99"), "gpu-layers: picks runs of a llama-bench file; accepted: together with"),
        (("--only", "x=1"), "only: must be NAME=VALUE, got 'x=1'; accepted names: build_commit, cpu_info"),
    ],
)
def test_bad_input_is_one_line(
    sizer: Any, arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llamacpp_bench, "find_spec", lambda name: object())
    monkeypatch.setattr(llamacpp_bench, "version", lambda name: "1")
    code, out, err = sizer("calibrate", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert [line.startswith("error: ") for line in err.splitlines()].count(True) == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_line(sizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llamacpp_bench, "find_spec", lambda name: None)
    code, out, err = sizer("calibrate")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert 'pip install "sizer[calibrate]"' in err


def test_a_missing_executorch_is_one_line(
    sizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executorch_bench, "find_spec", lambda name: None)
    code, out, err = sizer("calibrate", "--runtime", "executorch")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "not installed: executorch, torchao, torch; " in err
    assert 'pip install "sizer[calibrate-executorch]"' in err
    assert not list(tmp_path.iterdir())


def test_executorch_beside_llamacpp_with_fake_workers(
    sizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the processes, with a script that answers in the worker's place; then an estimate."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "r = json.loads(sys.argv[1])\n"
        "size = {'deep': 3, 'wide': 7, 'tiny': 1, 'middle': 4, 'head': 3}[r['model'].split('-')[-4]]\n"
        "if r['action'] == 'export': pathlib.Path(r['model']).write_bytes(b'x')\n"
        "else: print(json.dumps({'load_s': size / 100, 'prefill_s': [size / 50], 'decode_s': [size / 1000], "
        "'memory_before': None, 'memory_after': None}))\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(executorch_bench, "WORKER", script)
    monkeypatch.setattr(executorch_bench, "find_spec", lambda name: object())
    monkeypatch.setattr(executorch_bench, "version", lambda name: "1.5.1")
    arguments = ("calibrate", "--runtime", "executorch", "--name", "here", "--threads", "2")
    code, out, err = sizer(*arguments, "--max-time", "30s")
    assert code == 0, err
    assert "exports  eta" in err
    assert "timings  eta" in err
    assert "8da4w-g32" in out
    assert "5 models, each predicted without its shape" in out
    code, out, _ = sizer(
        "estimate", "SmolLM2-135M", "--runtime", "executorch", "--device", "here.toml", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["latency"]["decode_tokens_per_s"]["basis"] == "measured"

    from commands import calibrate as command
    from sizer.calibration import calibrate as measured

    monkeypatch.setattr(command, "require_runtime", lambda: "1")
    monkeypatch.setattr(command, "measure_in_process", fake)
    monkeypatch.setattr(measured, "bench_models", lambda: SMALL)
    code, out, err = sizer("calibrate", "--name", "here")
    assert code == 0, err
    assert "kept in the file: executorch on cpu" in out
    profiles = tomllib.loads((tmp_path / "here.toml").read_text(encoding="utf-8"))["profile"]
    assert [p["runtime"] for p in profiles] == ["executorch", "llama.cpp"]


def test_this_machine_with_a_fake_runtime(
    sizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commands import calibrate as command
    from sizer.calibration import calibrate as measured

    monkeypatch.setattr(command, "require_runtime", lambda: "1")
    monkeypatch.setattr(command, "measure_in_process", fake)
    monkeypatch.setattr(measured, "bench_models", lambda: SMALL)
    code, out, err = sizer("calibrate", "--name", "here", "--threads", "2")
    assert code == 0, err
    assert "eta" in err
    assert "decode: median error" in out
    assert "each predicted without its shape" in out
    assert (tmp_path / "here.toml").exists()


def test_an_interrupt_is_130_and_leaves_no_file(
    sizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commands import calibrate as command
    from sizer.calibration import calibrate as measured

    def interrupted(task: Any, threads: int) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "require_runtime", lambda: "1")
    monkeypatch.setattr(command, "measure_in_process", interrupted)
    monkeypatch.setattr(measured, "bench_models", lambda: SMALL)
    assert sizer("calibrate", "--name", "here")[0] == 130
    assert not list(tmp_path.iterdir())


def test_export_prints_commands_and_undoes(
    sizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_export, "bench_models", lambda: SMALL)
    code, out, _ = sizer("export-bench-models", "bench")
    assert code == 0
    for text in (
        "adb push bench/. ",
        "-o jsonl",
        "> results.jsonl",
        "sizer calibrate --from-llama-bench results.jsonl",
        "left free there",
        "--remove",
        *(m.file_name for m in SMALL),
    ):
        assert text in out
    code, out, _ = sizer("export-bench-models", "bench", "--json")
    found = json.loads(out)
    assert found["total_bytes"] == sum(p.stat().st_size for p in (tmp_path / "bench").iterdir())
    assert found["free_bytes"] > 0
    code, out, _ = sizer("export-bench-models", "bench", "--remove")
    assert code == 0
    assert f"{len(SMALL)} files removed" in out
    assert not (tmp_path / "bench").exists()


def test_export_does_not_write_over_other_files(sizer: Any, tmp_path: Path) -> None:
    mine = tmp_path / bench_models()[0].file_name
    mine.write_text("mine", encoding="utf-8")
    code, _, err = sizer("export-bench-models", ".")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "exists and is not the file this command writes" in err
    assert [p.name for p in tmp_path.iterdir()] == [mine.name]
    assert mine.read_text(encoding="utf-8") == "mine"


def bench(name: str) -> str:
    return str(REAL.parent / "bench" / name)


def test_a_set_up_is_picked_and_its_speed_comes_back(sizer: Any, tmp_path: Path) -> None:
    """21 tokens/s without flash attention, 42 with: never the mean."""
    arguments = ("calibrate", "--from-llama-bench", bench("fa-far-apart.json"), "--name", "p")
    code, out, err = sizer(*arguments)
    assert (code, out) == (2, "")
    assert "holds runs of several set-ups: flash attention on, off; accepted: --flash-attention or" in err
    for option, speed in (("--no-flash-attention", 21.0), ("--flash-attention", 42.0)):
        code, _, err = sizer(*arguments, option)
        assert (code, err) == (0, "")
        # a cache of 128 generated tokens without a prompt is read at 64 tokens on average
        code, out, _ = sizer(
            *("estimate", "Llama-3.2-1B", "--format", "Q4_0", "--device", "p.toml", "--json"),
            *("--prompt", "1", "--generate", "126", "--context", "256"),
        )
        assert code == 0
        assert json.loads(out)["latency"]["decode_at_start_tokens_per_s"]["value"] == pytest.approx(
            speed, rel=1e-3
        )


def test_a_doubted_profile_says_so_wherever_it_is_used(sizer: Any, tmp_path: Path) -> None:
    code, _, _ = sizer("calibrate", "--from-llama-bench", str(REAL), "--name", "noisy")
    assert code == 0
    for arguments in (
        ("devices", "noisy.toml"),
        ("estimate", "SmolLM2-135M", "--device", "noisy.toml"),
    ):
        code, out, _ = sizer(*arguments)
        assert code == 0
        assert "not to be trusted" in " ".join(out.split())
    code, out, _ = sizer("devices", "noisy.toml", "--json")
    assert "differ by more than 10%" in json.loads(out)["profiles"][0]["doubt"]
