"""MLX: rotating caches of sliding windows, and the peak of a process against measured ones."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.architecture import Architecture
from sizer.devices.device import Device, DeviceKind, Fact
from sizer.families.hf_config import architecture_from_config
from sizer.memory import PeakBytes
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model
from sizer.runtimes import mlx_peak, runtime
from sizer.runtimes.mlx_peak import block_elements, cache_sizes, in_flight_bytes
from sizer.workload import Workload
from tests.published_facts import csv_rows
from tests.strategies import architectures

_GIB = 2**30
_DEVICES = {
    "Mac Studio (M4 Max, 40 GPU cores, 128 GB)": ("Apple M4 Max", DeviceKind.DESKTOP, 128),
    "Mac (M4 Max, 128 GB)": ("Apple M4 Max", DeviceKind.DESKTOP, 128),
    "Mac (M4 Max, 64 GB)": ("Apple M4 Max", DeviceKind.LAPTOP, 64),
    "MacBook Pro (M3 Pro)": ("Apple M3 Pro", DeviceKind.LAPTOP, 18),
    "iPhone 18 Pro": ("Apple A20 Pro", DeviceKind.PHONE, 12),
}
GEMMA_3_1B = {
    "model_type": "gemma3_text",
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "num_hidden_layers": 26,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "vocab_size": 262144,
    "sliding_window": 512,
}


class _Row(NamedTuple):
    device: str
    model: str
    measured: int
    peak: PeakBytes


def _rows(kind: str) -> list[_Row]:
    """Rows of that kind with the peak predicted for them; a prompt that is not stated is a short one."""
    found = []
    for row in csv_rows("mlx_peaks.csv"):
        if not row["memory_kind"].startswith(kind):
            continue
        soc, device_kind, ram = _DEVICES[row["device"]]
        device = Device(
            name="mac", title="Mac", kind=device_kind, soc=soc, ram_bytes=Fact(ram * _GIB, "named so", "2026")
        )
        name = row["model"]
        architecture = model(name.removesuffix(" untied")).architecture
        if name.endswith(" untied"):
            architecture = replace(architecture, tie_embeddings=False)
        prompt, answer = int(row["prompt_len"] or 20), int(row["gen_len"] or 128)
        load = Workload(
            prompt_tokens=prompt,
            generated_tokens=answer,
            context_tokens=prompt + answer,
            cache_type="BF16",
        )
        engine = runtime("mlx")
        peak = engine.peak(architecture, engine.store(architecture, row["format"]), load, device)
        assert peak is not None
        found.append(_Row(row["device"], name, int(row["peak_bytes"]), peak))
    return found


def test_peaks_of_apps_are_within_20_percent() -> None:
    rows = _rows("phys_footprint")
    assert len(rows) >= 13
    good = [row for row in rows if abs(row.peak.value / row.measured - 1) <= 0.2]
    assert len(good) >= 0.8 * len(rows)
    # a prompt of 43,352 tokens fills all that MLX's pool may take
    longest = max(rows, key=lambda row: row.measured)
    assert longest.peak.value == pytest.approx(longest.measured, rel=0.01)


def test_ranges_hold_four_of_five_rows_of_devices_and_models_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fitted bytes of the process are fitted again without the rows of a device, then of a model."""
    rows = _rows("phys_footprint")
    fitted = mlx_peak._PROCESS_BYTES
    for attribute in ("device", "model"):
        held = 0
        for name in {getattr(row, attribute) for row in rows}:
            others = [row for row in rows if getattr(row, attribute) != name]
            process = fitted + median(row.measured - row.peak.value for row in others)
            monkeypatch.setattr(mlx_peak, "_PROCESS_BYTES", max(0, round(process)))
            again = [row for row in _rows("phys_footprint") if getattr(row, attribute) == name]
            held += sum(row.peak.low <= row.measured <= row.peak.high for row in again)
        monkeypatch.setattr(mlx_peak, "_PROCESS_BYTES", fitted)
        assert held >= 0.8 * len(rows), attribute


def test_the_low_end_is_what_mlx_lm_prints() -> None:
    rows = _rows("mlx-lm")
    assert len(rows) == 12
    for row in rows:
        assert row.peak.low == pytest.approx(row.measured, rel=0.08), row
        assert row.peak.value == pytest.approx(row.measured, rel=0.24), row


def test_short_prompts_take_little_beyond_weights() -> None:
    rows = _rows("MLX peak")
    assert len(rows) == 4
    for row in rows:
        assert row.peak.value == pytest.approx(row.measured, rel=0.2), row


def test_a_cache_grows_by_whole_steps() -> None:
    assert cache_sizes(19, 147) == [256]
    assert cache_sizes(23, 535) == [768]
    # three chunks: each adds 512 cells to the 512 and 1,024 that are used; then the answer
    assert cache_sizes(1338, 1594) == [512, 1024, 1792]
    assert cache_sizes(1338, 1500) == [512, 1024, 1536]
    assert cache_sizes(512, 512) == [512]


def test_blocks_under_way_worked_by_hand() -> None:
    a = model("Qwen3-0.6B").architecture
    # norms, projections and additions of 1,024; 2,048 of queries, 1,024 of keys, 3,072 of the MLP
    assert block_elements(a) == 6 * 1024 + 5 * 2048 + 6 * 1024 + 4 * 3072 == 34_816
    # eleven buffers of 50 kernels are 22 blocks of 25; a phone's of 20 are 8.8
    most, phone = mlx_peak._MAX, mlx_peak._PHONE
    assert in_flight_bytes(a, 512, most) == 22 * 512 * 34_816 * 2
    assert in_flight_bytes(a, 512, phone) == pytest.approx(8.8 * 512 * 34_816 * 2)
    two_layers = replace(a, num_layers=2)
    assert in_flight_bytes(two_layers, 512, most) == 2 * 512 * 34_816 * 2


@settings(max_examples=30)
@given(architectures(), st.integers(1, 3000), st.integers(1, 600))
def test_a_peak_is_above_the_weights_and_grows_with_the_prompt(
    a: Architecture, prompt: int, more: int
) -> None:
    engine = runtime("mlx")
    stored = engine.store(a, "4bit")

    def peak(tokens: int) -> PeakBytes:
        load = Workload(
            prompt_tokens=tokens, generated_tokens=64, context_tokens=tokens + 64, cache_type="BF16"
        )
        found = engine.peak(a, stored, load, None)
        assert found is not None
        return found

    first, second = peak(prompt), peak(prompt + more)
    assert 0 < sum(t.num_bytes for t in stored) <= first.low <= first.value <= first.high
    assert first.value <= 1.01 * second.value


def _sized(engine: str, config: dict[str, object], context: int = 32_768) -> Estimate:
    load = Workload(context_tokens=context, cache_type="BF16")
    return estimate(
        architecture=architecture_from_config(config), format="bf16", runtime=engine, workload=load
    )


@pytest.mark.parametrize("engine", ["mlx", "transformers"])
def test_sliding_layers_keep_their_window(engine: str) -> None:
    """Gemma 3 1B: 4 of 26 layers cache 32,768 tokens, 22 cache 512; keys and values of 256 in two bytes."""
    sized = _sized(engine, GEMMA_3_1B)
    assert sized.memory.kv_cache_bytes == (4 * 32_768 + 22 * 512) * 2 * 256 * 2 == 139 * 2**20
    assert runtime(engine).windowed_layers(sized.architecture) == 22


def test_mlx_lm_rotates_no_cache_of_gemma_2() -> None:
    """Its model has no make_cache, so that every layer has a KVCache (mlx_lm/models/gemma2.py)."""
    config = GEMMA_3_1B | {"model_type": "gemma2", "sliding_window": 4096}
    sized = _sized("mlx", config)
    assert sized.memory.kv_cache_bytes == 26 * 32_768 * 2 * 256 * 2
    assert any("caches the whole context" in note for note in sized.assumptions)
    assert _sized("transformers", config).memory.kv_cache_bytes == 13 * (32_768 + 4096) * 2 * 256 * 2


def test_the_peak_is_in_the_document_and_none_elsewhere() -> None:
    document = _sized("mlx", GEMMA_3_1B).to_dict()
    assert document["memory"]["peak_bytes"].keys() == {"value", "low", "high"}
    assert _sized("transformers", GEMMA_3_1B).to_dict()["memory"]["peak_bytes"] is None
