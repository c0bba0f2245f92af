"""Resident memory: against what Linux showed of llama.cpp processes, for five shapes and two contexts."""

from __future__ import annotations

import pytest

from sizer.calibration.bench_models import bench_shape
from sizer.calibration.resident import repacked_bytes, resident_bytes
from sizer.formats.llamacpp import mix
from sizer.runtimes.llamacpp_buffer import compute_bytes, touched_compute_bytes
from sizer.tensors import tensor_specs
from sizer.workload import Workload

MIB = 2**20

# (layers, width, MLP, KV heads, vocabulary), format, and MiB of PSS that loading and running a prompt of 128
# (in a context of 256) and of 1,900 tokens (of 2,048) added to a process: xllamacpp 2026.10.11549, x86, AVX2.
MEASURED = (
    ((30, 576, 1536, 3, 49152), "Q4_K_M", 133.2, 186.4),
    ((12, 768, 2048, 4, 32000), "Q4_K_M", 117.6, 154.8),
    ((20, 640, 1792, 5, 32000), "Q8_0", 138.3, 197.0),
    ((6, 1280, 3584, 4, 32000), "Q5_K_M", 124.5, 161.2),
    ((36, 384, 1024, 2, 32000), "Q4_0", 93.4, 141.6),
)
SHORT = Workload(context_tokens=256, prompt_tokens=128, generated_tokens=4)
LONG = Workload(context_tokens=2048, prompt_tokens=1900, generated_tokens=4)


@pytest.mark.parametrize(("shape", "format_name", "short", "long"), MEASURED)
def test_within_5_percent_or_20_mib_of_what_linux_showed(
    shape: tuple[int, int, int, int, int],
    format_name: str,
    short: float,
    long: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    layers, width, mlp, kv_heads, vocab = shape
    a = bench_shape("x", layers=layers, width=width, mlp=mlp, kv_heads=kv_heads, vocab=vocab)
    stored = mix(format_name).assign(a, tensor_specs(a))
    for workload, measured in ((SHORT, short), (LONG, long)):
        found = resident_bytes(a, stored, workload) / MIB
        assert abs(found - measured) <= max(20, 0.05 * measured)


def test_what_is_repacked_depends_on_the_processor() -> None:
    a = bench_shape("x", layers=2, width=512, mlp=1024, kv_heads=4)
    stored = mix("Q4_K_M").assign(a, tensor_specs(a))
    by_type = {name: sum(t.num_bytes for t in stored if t.type.name == name) for name in ("Q4_K", "Q6_K")}
    assert repacked_bytes(stored, "x86_64") == by_type["Q4_K"]
    assert repacked_bytes(stored, "aarch64") == by_type["Q4_K"] + by_type["Q6_K"]


def test_one_row_of_logits_is_touched_where_a_batch_of_them_is_reserved() -> None:
    a = bench_shape("x", layers=2, width=512, mlp=1024, kv_heads=4)
    workload = Workload(context_tokens=512, prompt_tokens=512 - 4, generated_tokens=4)
    logits = 4 * 32000 * 508
    assert compute_bytes(a, workload) > logits
    assert touched_compute_bytes(a, workload) < logits / 4
