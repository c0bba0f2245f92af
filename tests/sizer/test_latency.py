"""Predicted speeds: worked by hand, monotonicity, and measured rows within the range."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.device import Device, DeviceKind, Fact, device, load_devices
from sizer.estimate import estimate
from sizer.formats.ggml import TYPES
from sizer.formats.llamacpp import mix
from sizer.formats.stored import stored_tensor
from sizer.latency import Latency, latency, own_profile, profiles
from sizer.prediction import Basis
from sizer.registry import models
from sizer.runtimes import runtime as runtime_by_name
from sizer.tensors import tensor_specs
from sizer.workload import Workload
from tests.sizer.test_latency_work import CONSTANTS

SMOLLM2 = Architecture(
    name="SmolLM2-135M",
    vocab_size=49152,
    num_layers=30,
    hidden_size=576,
    intermediate_size=1536,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
)
SHEET_ONLY = Device(
    name="sheet-only",
    title="known by its bandwidth",
    kind=DeviceKind.BOARD,
    bandwidth_theoretical_bytes_per_s=Fact(20e9, "a test", "2026-11"),
)
ROOM = Workload(context_tokens=32768)


def predicted(
    architecture: Architecture,
    format_name: str = "Q4_K_M",
    on: Device = SHEET_ONLY,
    workload: Workload = ROOM,
    runtime: str = "llama.cpp",
) -> Latency:
    stored = mix(format_name).assign(architecture, tensor_specs(architecture))
    file_bytes = sum(tensor.num_bytes for tensor in stored)
    found = latency(
        runtime=runtime,
        architecture=architecture,
        stored=stored,
        device=on,
        workload=workload,
        file_bytes=file_bytes,
    )
    assert found is not None
    return found


def test_a_device_known_by_its_sheet_uses_the_pooled_constants() -> None:
    known = profiles()
    rate = known.cpu.efficiency * 20e9
    found = predicted(SMOLLM2)
    stored = mix("Q4_K_M").assign(SMOLLM2, tensor_specs(SMOLLM2))
    kv_bytes = (128 + 64) * 2 * 30 * 3 * 64 * 2  # depth x K and V x layers x heads x head_dim x F16
    layer_s = known.seconds_per_layer["llama.cpp", "cpu"]
    seconds = 30 * layer_s + (sum(t.num_bytes for t in stored) + kv_bytes) / rate
    assert found.decode_tokens_per_s.value == pytest.approx(1 / seconds)
    assert found.decode_tokens_per_s.basis is Basis.SPECIFICATION
    assert found.decode_tokens_per_s.high == pytest.approx(
        found.decode_tokens_per_s.value * known.cpu.decode_factor
    )


def test_a_graphics_card_is_compared_with_graphics_cards() -> None:
    card = replace(SHEET_ONLY, backend="cuda")
    found, other = predicted(SMOLLM2, on=card), predicted(SMOLLM2)
    assert found.decode_tokens_per_s.value > other.decode_tokens_per_s.value
    assert found.decode_tokens_per_s.high == pytest.approx(
        found.decode_tokens_per_s.value * profiles().gpu.decode_factor
    )


def test_constants_of_a_device_file_win_and_are_measured() -> None:
    found = predicted(SMOLLM2, on=replace(device("raspberry-pi-5"), profiles=(CONSTANTS,)))
    assert found.decode_tokens_per_s.basis is Basis.FITTED  # as the profile says
    stored = mix("Q4_K_M").assign(SMOLLM2, tensor_specs(SMOLLM2))
    kv_bytes = (128 + 64) * 2 * 30 * 3 * 64 * 2
    seconds = 30 * 1e-4 + (sum(t.num_bytes for t in stored) + kv_bytes) / 10e9
    assert found.decode_tokens_per_s.value == pytest.approx(1 / seconds)
    assert found.decode_tokens_per_s.high == pytest.approx(found.decode_tokens_per_s.value * 1.1)


def test_windows_count_where_the_engine_uses_them() -> None:
    pi, long = (
        device("raspberry-pi-5"),
        Workload(prompt_tokens=4000, generated_tokens=96, context_tokens=4096),
    )

    def speeds(a: Architecture, runtime: str) -> tuple[float, float]:
        engine = runtime_by_name(runtime)
        found = estimate(
            architecture=a,
            format=engine.format_for_bits(16),
            runtime=runtime,
            device=pi,
            workload=replace(long, cache_type=engine.cache_types[0]),
        ).latency
        assert found is not None
        return found.decode_tokens_per_s.value, found.prefill_tokens_per_s.value

    # Gemma 3 270M: 15 of 18 layers read 512 positions of 4048, 1 KiB each
    gemma = models()["gemma-3-270m"].architecture
    whole = replace(gemma, sliding_window=None, sliding_layers=())
    profile = own_profile(pi, "llama.cpp")
    assert profile is not None
    (decode, prefill), (slower, slower_prefill) = speeds(gemma, "llama.cpp"), speeds(whole, "llama.cpp")
    assert 1 / slower - 1 / decode == pytest.approx(15 * (4048 - 512) * 1024 / profile.bytes_per_s)
    assert prefill > slower_prefill
    assert speeds(gemma, "transformers") == speeds(whole, "transformers")
    # Mistral's files are Llama's to llama.cpp, which has no windows for them
    windowed = replace(SMOLLM2, sliding_window=64, sliding_layers=tuple(range(30)))
    assert speeds(windowed, "llama.cpp") == speeds(SMOLLM2, "llama.cpp")


def test_nothing_is_said_of_a_device_without_bandwidth_or_rows() -> None:
    stored = mix("Q4_0").assign(SMOLLM2, tensor_specs(SMOLLM2))
    unknown = Device(name="unknown", title="unknown", kind=DeviceKind.PHONE)
    assert (
        latency(
            runtime="llama.cpp",
            architecture=SMOLLM2,
            stored=stored,
            device=unknown,
            workload=ROOM,
            file_bytes=1,
        )
        is None
    )


def test_the_time_to_the_first_token_is_the_prompt_over_the_prefill_rate() -> None:
    found = predicted(SMOLLM2, on=device("raspberry-pi-5"))
    assert found.time_to_first_token_s.value == pytest.approx(128 / found.prefill_tokens_per_s.value)
    assert found.time_to_first_token_s.high == pytest.approx(128 / found.prefill_tokens_per_s.low)


def test_loading_reads_the_file_and_starts_the_engine() -> None:
    pooled = profiles().start
    stored = mix("F16").assign(SMOLLM2, tensor_specs(SMOLLM2))
    file_bytes = sum(t.num_bytes for t in stored)
    read_s = file_bytes / pooled.storage_read_bytes_per_s
    plain = predicted(SMOLLM2, "F16")
    started = predicted(SMOLLM2, "F16", runtime=pooled.init_runtime)
    assert plain.load_s.value == pytest.approx(read_s)
    assert plain.load_s.high > read_s * pooled.storage_factor
    assert started.load_s.value == pytest.approx(read_s + file_bytes * pooled.init_seconds_per_byte)


def test_a_format_outside_the_measured_bits_gets_the_wider_range() -> None:
    laptop = device("core-i7-13700h")  # measured at F16 only
    assert predicted(SMOLLM2, "F16", on=laptop).decode_tokens_per_s.basis is Basis.FITTED
    quantized = predicted(SMOLLM2, "Q4_K_M", on=laptop).decode_tokens_per_s
    assert quantized.basis is Basis.SPECIFICATION
    assert quantized.high / quantized.value == pytest.approx(profiles().cpu.decode_factor)


def test_a_device_borrows_the_rows_of_its_chip_but_not_their_basis() -> None:
    assert device("pixel-8").soc == device("pixel-8a").soc
    found = predicted(SMOLLM2, on=device("pixel-8")).decode_tokens_per_s
    assert found.value == predicted(SMOLLM2, on=device("pixel-8a")).decode_tokens_per_s.value
    assert found.basis is Basis.SPECIFICATION


QWEN25_05B = Architecture(
    vocab_size=151936,
    num_layers=24,
    hidden_size=896,
    intermediate_size=4864,
    num_heads=14,
    num_kv_heads=2,
    head_dim=64,
    qkv_bias=True,
)
LLAMA32_1B = Architecture(
    vocab_size=128256,
    num_layers=16,
    hidden_size=2048,
    intermediate_size=8192,
    num_heads=32,
    num_kv_heads=8,
    head_dim=64,
)


@pytest.mark.parametrize(
    ("name", "architecture", "format_name", "tokens_per_s"),
    [
        # llama.cpp#26484 (2026-08-03), 4 threads; Q8_0 (0.2924 J/token at 5.55 W) is no row of the fit
        ("raspberry-pi-5", QWEN25_05B, "Q4_K_M", 25.77),
        ("raspberry-pi-5", QWEN25_05B, "Q8_0", 5.55 / 0.2924),
        # stratosphereips/StratosphereLinuxIPS, Ollama
        ("raspberry-pi-5", LLAMA32_1B, "Q4_K_M", 11.22),
        # dambergn/ollama-benchmarks
        ("raspberry-pi-5", LLAMA32_1B, "Q8_0", 7.69),
    ],
)
def test_measured_speeds_are_inside_the_range(
    name: str, architecture: Architecture, format_name: str, tokens_per_s: float
) -> None:
    found = predicted(architecture, format_name, on=device(name)).decode_tokens_per_s
    assert found.basis is Basis.FITTED
    assert found.low <= tokens_per_s <= found.high
    assert found.value == pytest.approx(tokens_per_s, rel=0.25)


ON_SPEED = [name for name, d in load_devices().items() if d.bandwidth_bytes_per_s is not None]
shapes = st.builds(
    lambda layers, heads, width: Architecture(
        vocab_size=32000,
        num_layers=layers,
        hidden_size=64 * width,
        intermediate_size=160 * width,
        num_heads=2 * heads,
        num_kv_heads=heads,
        head_dim=64,
    ),
    st.integers(1, 40),
    st.integers(1, 8),
    st.integers(2, 24),
)
everything = st.tuples(shapes, st.sampled_from(ON_SPEED), st.sampled_from(["Q4_K_M", "Q8_0", "F16", "TQ1_0"]))


@given(everything, st.integers(1, 8))
def test_more_layers_are_not_faster(case: tuple[Architecture, str, str], more: int) -> None:
    architecture, name, format_name = case
    deeper = replace(architecture, num_layers=architecture.num_layers + more)
    small, large = (predicted(a, format_name, on=device(name)) for a in (architecture, deeper))
    assert large.decode_tokens_per_s.value <= small.decode_tokens_per_s.value
    assert large.prefill_tokens_per_s.value <= small.prefill_tokens_per_s.value
    assert large.load_s.value >= small.load_s.value


@given(shapes, st.sampled_from(ON_SPEED))
def test_more_bytes_are_not_faster(architecture: Architecture, name: str) -> None:
    specs = tensor_specs(architecture)
    speeds = []
    for block in ("Q4_0", "Q8_0", "F16", "F32"):
        stored = [stored_tensor(spec, TYPES[block]) for spec in specs]
        found = latency(
            runtime="llama.cpp",
            architecture=architecture,
            stored=stored,
            device=device(name),
            workload=ROOM,
            file_bytes=sum(t.num_bytes for t in stored),
        )
        assert found is not None
        speeds.append(
            (found.decode_tokens_per_s.value, found.prefill_tokens_per_s.value, -found.load_s.value)
        )
    for faster, slower in zip(speeds, speeds[1:], strict=False):
        assert slower[0] < faster[0]
        assert slower[1] <= faster[1]
        assert slower[2] < faster[2]


@given(everything, st.integers(1, 4000), st.integers(1, 4000))
def test_a_deeper_context_is_not_faster(case: tuple[Architecture, str, str], prompt: int, more: int) -> None:
    architecture, name, format_name = case
    speeds = [
        predicted(architecture, format_name, on=device(name), workload=replace(ROOM, prompt_tokens=tokens))
        for tokens in (prompt, prompt + more)
    ]
    assert speeds[1].decode_tokens_per_s.value < speeds[0].decode_tokens_per_s.value
    # reading the weights may bind, the same for both prompts but for rounding
    first, later = (s.time_to_first_token_s.value for s in speeds)
    assert later >= first * (1 - 1e-12)


@given(everything)
def test_values_lie_strictly_inside_their_ranges(case: tuple[Architecture, str, str]) -> None:
    architecture, name, format_name = case
    found = predicted(architecture, format_name, on=device(name))
    for figure in (
        found.load_s,
        found.prefill_tokens_per_s,
        found.time_to_first_token_s,
        found.decode_tokens_per_s,
    ):
        assert 0 < figure.low < figure.value < figure.high


MOBILELLM_125M = Architecture(
    name="MobileLLM-125M",
    vocab_size=32000,
    num_layers=30,
    hidden_size=576,
    intermediate_size=1536,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
)


def _iphone_step_s(architecture: Architecture) -> float:
    stored = [stored_tensor(spec, TYPES["F16"]) for spec in tensor_specs(architecture)]
    found = latency(
        runtime="executorch",
        architecture=architecture,
        stored=stored,
        device=device("iphone-13"),
        workload=Workload(prompt_tokens=1, generated_tokens=1),
        file_bytes=sum(t.num_bytes for t in stored),
    )
    assert found is not None
    return 1 / found.decode_tokens_per_s.value


def test_sharing_layers_in_cache_is_nearly_free_and_storing_them_twice_is_not() -> None:
    # MobileLLM, arXiv 2402.14905 table 7, iPhone 13: 15.6 ms, 16.0 ms (+2.6 %) and 29.0 ms (+86 %)
    once = _iphone_step_s(MOBILELLM_125M)
    shared = replace(MOBILELLM_125M, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2))
    assert once == pytest.approx(0.0156, rel=0.02)
    assert 1.0 < _iphone_step_s(shared) / once <= 1.05
    assert 1.70 <= _iphone_step_s(replace(MOBILELLM_125M, num_layers=60)) / once <= 2.0


def test_sharing_that_leaves_the_cache_costs_as_much_as_separate_layers() -> None:
    again = replace(MOBILELLM_125M, sharing=LayerSharing(strategy=SharingStrategy.REPEAT_ALL, repeat=2))
    assert _iphone_step_s(again) == pytest.approx(_iphone_step_s(replace(MOBILELLM_125M, num_layers=60)))
