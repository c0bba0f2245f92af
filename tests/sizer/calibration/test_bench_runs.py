"""Set-ups of llama-bench: told apart, picked by an option each, never averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sizer.calibration.llama_bench import read_llama_bench
from sizer.errors import InvalidFile
from tests.sizer.calibration.test_bench_text import CASES, PLAIN, as_lines, write

PROMPT, DECODE = PLAIN
GPU = {"backends": "CUDA", "gpu_info": "NVIDIA GeForce RTX 3090"}


def rows(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a generation run for each change, each 1 token/s faster than the one before, from 21 on."""
    found = []
    for number, change in enumerate(changes):
        ns = round(128e9 / (21 + number))
        found.append({**DECODE, "samples_ns": [ns, ns, ns], "avg_ns": ns, **change})
    return found


def decode(path: Path, wanted: dict[str, str]) -> float:
    (sample,) = read_llama_bench(path, wanted=wanted).samples
    assert sample.decode_s is not None
    return 1 / sample.decode_s


@pytest.mark.parametrize(
    ("changes", "name", "said", "picked"),
    [
        (
            ({"flash_attn": False}, {"flash_attn": True}),
            "flash_attention",
            "flash attention on, off; accepted: --flash-attention or --no-flash-attention",
            {"off": 21, "on": 22},
        ),
        (
            ({"flash_attn": 0}, {"flash_attn": -1}),  # -1 is auto: on where the back end has it
            "flash_attention",
            "flash attention off, auto; accepted: --flash-attention or --no-flash-attention",
            {"off": 21, "on": 22, "auto": 22},
        ),
        (
            ({}, {"type_k": "q8_0", "type_v": "q8_0"}, {"type_k": "q4_0"}),
            "cache_type",
            "cache type f16, q8_0, q4_0/f16; accepted: --cache-type",
            {"f16": 21, "Q8_0": 22, "q4_0/f16": 23},
        ),
        (
            ({"n_threads": 2}, {"n_threads": 4}, {"n_threads": 16}),
            "threads",
            "threads 2, 4, 16; accepted: --threads",
            {"2": 21, "16": 23},
        ),
        (
            # Llama-3.2-1B has 16 layers; the output head is one more
            ({**GPU, "n_gpu_layers": 99}, {**GPU, "n_gpu_layers": 16}, {**GPU, "n_gpu_layers": 8}),
            "gpu_layers",
            "layers on the GPU 8, 16, all; accepted: --gpu-layers",
            {"all": 21, "-1": 21, "16": 22, "8": 23},
        ),
        (
            ({**GPU, "n_gpu_layers": 0}, {**GPU, "n_gpu_layers": 99}),
            "backend",
            "back end cpu, cuda; accepted: --backend",
            {"cpu": 21, "cuda": 22, "CUDA": 22},
        ),
        (
            ({"n_batch": 512}, {"n_batch": 2048}),
            "batch_size",
            "batch size 512, 2048; accepted: --batch-size",
            {"512": 21, "2048": 22},
        ),
        (
            ({"n_ubatch": 128}, {"n_ubatch": 512}),
            "ubatch_size",
            "micro-batch size 128, 512; accepted: --ubatch-size",
            {"128": 21, "512": 22},
        ),
        (
            ({**GPU, "split_mode": "layer"}, {**GPU, "split_mode": "row"}),
            "split_mode",
            "split between GPUs row, layer; accepted: --split-mode",
            {"layer": 21, "row": 22},
        ),
        (
            ({**GPU, "n_cpu_moe": 0}, {**GPU, "n_cpu_moe": 10}),
            "cpu_moe",
            "layers whose experts stay on the CPU 0, 10; accepted: --cpu-moe",
            {"0": 21, "10": 22},
        ),
        (
            ({"build_commit": "aaaaaaa"}, {"build_commit": "bbbbbbb"}),
            "build_commit",
            "build aaaaaaa, bbbbbbb; accepted: --only build_commit=VALUE",
            {"aaaaaaa": 21, "bbbbbbb": 22},
        ),
        (
            ({**GPU, "no_kv_offload": False}, {**GPU, "no_kv_offload": True}),
            "no_kv_offload",
            "cache kept on the CPU no, yes; accepted: --only no_kv_offload=VALUE",
            {"no": 21, "yes": 22},
        ),
        (
            ({"cpu_info": "Apple M1"}, {"cpu_info": "Apple M2"}),
            "cpu_info",
            "processor Apple M1, Apple M2; accepted: --only cpu_info=VALUE",
            {"Apple M1": 21, "apple m2": 22},
        ),
    ],
)
def test_each_setting_is_asked_about_and_picked(
    changes: tuple[dict[str, Any], ...], name: str, said: str, picked: dict[str, float], tmp_path: Path
) -> None:
    path = write(tmp_path / "r.jsonl", as_lines(rows(*changes)))
    with pytest.raises(InvalidFile) as caught:
        read_llama_bench(path)
    message = str(caught.value)
    assert message == f"from-llama-bench: r.jsonl holds runs of several set-ups: {said} to pick one"
    for value, speed in picked.items():
        assert decode(path, {name: value}) == pytest.approx(speed, rel=1e-8)
    with pytest.raises(InvalidFile, match="has no runs with .* nonesuch, only with"):
        read_llama_bench(path, wanted={name: "nonesuch"})


def test_settings_that_another_decides_are_not_asked_about(tmp_path: Path) -> None:
    """The CPU's runs had other threads: the back end decides both."""
    path = write(
        tmp_path / "r.jsonl",
        as_lines(
            rows(
                {**GPU, "n_gpu_layers": 0, "n_threads": 8},
                {**GPU, "n_gpu_layers": 99, "n_threads": 1, "type_k": "q8_0", "type_v": "q8_0"},
                {**GPU, "n_gpu_layers": 99, "n_threads": 1},
            )
        ),
    )
    with pytest.raises(
        InvalidFile, match=r": back end cpu, cuda; cache type f16, q8_0; accepted: --backend, --cac"
    ):
        read_llama_bench(path)
    assert decode(path, {"backend": "cpu"}) == pytest.approx(21)
    assert decode(path, {"backend": "cuda", "cache_type": "f16"}) == pytest.approx(23)


def test_all_layers_are_all_layers(tmp_path: Path) -> None:
    """99, -1 and more layers than the model has are one set-up, and a CPU has none on a GPU."""
    for change in (GPU, {}):
        path = write(
            tmp_path / "r.jsonl",
            as_lines(rows(*({**change, "n_gpu_layers": n} for n in (99, -1, 17, 33, 999)))),
        )
        assert len(read_llama_bench(path).samples) == 5


def test_flash_attention_that_is_not_stated_is_not_on(tmp_path: Path) -> None:
    """Of a table without the column the default counts; rows of old builds go with those that have it off."""
    silent = {k: v for k, v in DECODE.items() if k != "flash_attn"}
    path = write(tmp_path / "r.jsonl", as_lines([silent, *rows({"flash_attn": True})]))
    with pytest.raises(InvalidFile, match=r"flash attention on, not stated; accepted: --flash-attention or"):
        read_llama_bench(path)
    assert len(read_llama_bench(path, wanted={"flash_attention": "off"}).samples) == 1
    path = write(tmp_path / "s.jsonl", as_lines([silent, *rows({"flash_attn": False})]))
    assert len(read_llama_bench(path).samples) == 2


def test_fields_that_old_rows_lack_are_their_defaults(tmp_path: Path) -> None:
    old = {k: v for k, v in DECODE.items() if k not in ("n_depth", "use_mmap", "devices", "n_ubatch")}
    path = write(
        tmp_path / "r.jsonl", as_lines([PROMPT, old, {**DECODE, "no_op_offload": 0, "n_cpu_moe": 0}])
    )
    assert len(read_llama_bench(path).samples) == 3


@pytest.mark.parametrize(
    ("change", "backend"),
    [
        ({"backends": "CPU"}, "cpu"),
        ({"backends": "BLAS"}, "cpu"),
        ({"backends": "ZenDNN"}, "cpu"),
        ({"backends": "MTL,BLAS"}, "metal"),
        ({"backends": "BLAS,Metal"}, "metal"),
        ({"backends": "SYCL"}, "sycl"),
        ({"backends": "ROCm"}, "rocm"),
        ({"backends": "HTP"}, "hexagon"),
        ({"backends": "OpenCL,HTP", "devices": "HTP0"}, "hexagon"),
        ({"backends": "OpenCL,HTP", "devices": "GPUOpenCL"}, "opencl"),
        ({"backends": "OpenCL,HTP", "devices": "none"}, "cpu"),
        ({"backends": "CUDA,Vulkan", "devices": "Vulkan0/Vulkan1"}, "vulkan"),
        ({"backends": "CANN"}, "cann"),
        ({"backends": "MUSA"}, "musa"),
        ({"backends": "WebGPU"}, "webgpu"),
        ({"backends": "CUDA,RPC"}, "rpc"),
        ({"backends": "Nexagon-9"}, "other"),
        ({"backends": "Nexagon-9", "n_gpu_layers": 0}, "cpu"),
        # before 2024-11: a field for each
        ({"backends": None, "metal": True, "gpu_blas": True, "blas": True}, "metal"),
        ({"backends": None, "cuda": True, "gpu_blas": True, "gpu_info": "NVIDIA A100"}, "cuda"),
        ({"backends": None, "cuda": True, "gpu_info": "AMD Radeon RX 7900 XT"}, "rocm"),
        ({"backends": None, "cuda": False, "vulkan": True}, "vulkan"),
        ({"backends": None, "sycl": 1}, "sycl"),
        ({"backends": None, "cuda": False, "gpu_blas": True}, "other"),
        ({"backends": None, "cuda": False, "metal": False, "blas": True}, "cpu"),
        ({"backends": None, "cuda": True, "n_gpu_layers": 0}, "cpu"),
    ],
)
def test_the_back_end_is_the_one_that_ran(change: dict[str, Any], backend: str, tmp_path: Path) -> None:
    row = {k: v for k, v in {**DECODE, **change}.items() if v is not None}
    assert read_llama_bench(write(tmp_path / "r.jsonl", as_lines([row]))).backend == backend


@pytest.mark.parametrize(
    ("case", "wanted", "backend", "speeds"),
    [
        ("plain.json", {}, "cpu", {21.0}),
        ("jsonl.jsonl", {}, "cpu", {21.0}),
        ("log-prefix.json", {}, "cpu", {21.0}),
        ("md.md", {}, "cpu", {21.0}),
        ("2023-metal.json", {}, "metal", {60.0}),
        ("sycl.json", {}, "sycl", {90.0}),
        ("embd.json", {}, "cpu", {21.0}),
        ("ctk-q4-ctv-f16.json", {}, "cpu", {19.0}),
        ("ctk-rows.json", {"cache_type": "q8_0"}, "cpu", {19.0}),
        ("fa-rows.json", {"flash_attention": "on"}, "cpu", {23.0}),
        ("fa-rows.json", {"flash_attention": "off"}, "cpu", {21.0}),
        ("fa-far-apart.json", {"flash_attention": "on"}, "cpu", {42.0}),
        ("threads-rows.json", {"threads": "8"}, "cpu", {21.0}),
        ("gemma3-1b.json", {}, "cpu", {15.0}),
        ("imatrix-iq.json", {}, "cpu", {21.0}),
        ("tq.json", {}, "cpu", {21.0}),
        ("real-cix.json", {}, "cpu", {40.39}),
    ],
)
def test_cases_from_the_field(case: str, wanted: dict[str, str], backend: str, speeds: set[float]) -> None:
    found = read_llama_bench(CASES / case, wanted=wanted)
    assert found.backend == backend
    assert {round(1 / s.decode_s, 6) for s in found.samples if s.decode_s} == speeds
    assert found.unknown == ()


def test_prompt_and_generation_in_one_is_a_clear_message() -> None:
    with pytest.raises(InvalidFile, match=r"has no run that only generates \(pp512\+tg128\)") as caught:
        read_llama_bench(CASES / "pg-only.json")
    assert str(caught.value).endswith("accepted: runs with -p 512 -n 128 (pp512, tg128) in place of -pg")


def test_unsteady_repeats_and_partial_offload_are_doubted(tmp_path: Path) -> None:
    """Standard deviation over mean: of 5, 6 and 10 seconds, 2.646 / 7."""
    steady = [{**PROMPT}, {**DECODE}]
    assert read_llama_bench(write(tmp_path / "r.jsonl", as_lines(steady))).doubts == ()
    steady[1]["samples_ns"] = [5_000_000_000, 6_000_000_000, 10_000_000_000]
    (doubt,) = read_llama_bench(write(tmp_path / "r.jsonl", as_lines(steady))).doubts
    assert doubt == "repeats of 1 of 2 runs differ by more than 10% (tg128: 38%)"
    path = write(tmp_path / "r.jsonl", as_lines(rows({**GPU, "n_gpu_layers": 8})))
    found = read_llama_bench(path)
    assert found.doubts == ("only 8 layers ran on the GPU",)
    assert found.setup == "4 threads, flash attention off, 8 layers on the GPU"
