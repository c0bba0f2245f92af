"""Predicted speeds: worked by hand, monotonicity, and measured rows within the range."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.devices.catalogue import device
from sizer.devices.constants import profiles
from sizer.devices.device import Device, DeviceKind, Fact
from sizer.devices.latency import Latency, latency, own_profile, pool_of, speed_of
from sizer.formats.ggml import TYPES
from sizer.formats.llamacpp import mix
from sizer.formats.stored import stored_tensor
from sizer.model_estimate import estimate
from sizer.prediction import Basis
from sizer.registry import models
from sizer.runtimes import runtime as runtime_by_name
from sizer.tensors import tensor_specs
from sizer.workload import Workload
from tests.sizer.devices.test_speed_model import CONSTANTS

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
    backend: str | None = None,
) -> Latency:
    stored = mix(format_name).assign(architecture, tensor_specs(architecture))
    file_bytes = sum(tensor.num_bytes for tensor in stored)
    found = latency(
        runtime=runtime,
        architecture=architecture,
        stored=stored,
        device=on,
        backend=backend or on.backend,
        workload=workload,
        format_name=format_name,
        file_bytes=file_bytes,
    )
    assert found is not None
    return found


def test_a_device_known_by_its_sheet_uses_the_pooled_constants() -> None:
    pool = pool_of(SHEET_ONLY, "llama.cpp", "cpu")
    assert pool is not None
    assert (pool.family, pool.runtime) == ("arm-board", "llama.cpp")
    rate = pool.efficiency * 20e9
    found = predicted(SMOLLM2)
    stored = mix("Q4_K_M").assign(SMOLLM2, tensor_specs(SMOLLM2))
    kv_bytes = (128 + 64) * 2 * 30 * 3 * 64 * 2  # depth x K and V x layers x heads x head_dim x F16
    seconds = 30 * pool.seconds_per_layer + (sum(t.num_bytes for t in stored) + kv_bytes) / rate
    assert found.decode_at_start_tokens_per_s.value == pytest.approx(1 / seconds)
    assert found.decode_at_start_tokens_per_s.basis is Basis.SPECIFICATION
    assert found.decode_at_start_tokens_per_s.high == pytest.approx(
        found.decode_at_start_tokens_per_s.value * pool.decode_factor
    )


def test_a_graphics_card_is_compared_with_graphics_cards() -> None:
    card = SHEET_ONLY._replace(backend="cuda", kind=DeviceKind.DESKTOP)
    found, other = predicted(SMOLLM2, on=card), predicted(SMOLLM2)
    assert found.decode_at_start_tokens_per_s.value > other.decode_at_start_tokens_per_s.value
    pool = pool_of(card, "llama.cpp", "cuda")
    assert pool is not None
    assert pool.family == "card"
    assert found.decode_at_start_tokens_per_s.high == pytest.approx(
        found.decode_at_start_tokens_per_s.value * pool.decode_factor
    )


def test_an_engine_without_rows_says_whose_it_borrows() -> None:
    mac = device("macbook-pro-m3-max")
    found = speed_of(mac, "transformers", 4.5, "metal")
    assert found is not None
    assert "no row of transformers on metal: speeds as of other engines" in found.notes[0]
    assert found.decode_factor >= profiles().gpu.engine_factor
    npu = speed_of(device("galaxy-s25"), "executorch", 4.5, "hexagon")
    assert npu is not None
    assert "no row of executorch on hexagon" in npu.notes[0]
    mlx = speed_of(mac, "mlx", 4.5, "metal")
    assert mlx is not None
    assert mlx.notes == ()


def test_without_a_bandwidth_a_phone_is_as_fast_as_measured_phones() -> None:
    phone = Device(name="some-phone", title="a phone", kind=DeviceKind.PHONE)
    pool = pool_of(phone, "llama.cpp", "cpu")
    found = speed_of(phone, "llama.cpp", 4.5, "cpu")
    assert pool is not None
    assert found is not None
    assert found.constants.bytes_per_s == pool.small_bytes_per_s
    assert found.decode_factor >= pool.blind_factor
    assert "no bandwidth known" in found.notes[0]


def test_constants_of_a_device_file_win_and_are_measured() -> None:
    found = predicted(SMOLLM2, on=device("raspberry-pi-5")._replace(profiles=(CONSTANTS,)))
    assert found.decode_at_start_tokens_per_s.basis is Basis.FITTED  # as the profile says
    stored = mix("Q4_K_M").assign(SMOLLM2, tensor_specs(SMOLLM2))
    kv_bytes = (128 + 64) * 2 * 30 * 3 * 64 * 2
    seconds = 30 * 1e-4 + (sum(t.num_bytes for t in stored) + kv_bytes) / 10e9
    assert found.decode_at_start_tokens_per_s.value == pytest.approx(1 / seconds)
    assert found.decode_at_start_tokens_per_s.high == pytest.approx(
        found.decode_at_start_tokens_per_s.value * 1.1
    )


def test_the_headline_is_the_speed_at_the_context_asked_for() -> None:
    """A full cache is read at every step: 2 x 30 layers x 3 heads x 64 x F16 of each position."""
    pi = device("raspberry-pi-5")
    profile = own_profile(pi, "llama.cpp", "cpu")
    assert profile is not None
    found = predicted(SMOLLM2, on=pi, workload=Workload(context_tokens=4096))
    more = 2 * 30 * 3 * 64 * 2 * (4095.5 - (128 + 64))
    gap_s = 1 / found.decode_tokens_per_s.value - 1 / found.decode_at_start_tokens_per_s.value
    assert gap_s == pytest.approx(more / profile.bytes_per_s)


def test_heat_slows_phones_and_machines_without_a_fan() -> None:
    heat = profiles().heat
    assert 0.5 < heat.share < 0.9
    phone = predicted(SMOLLM2, on=device("iphone-17-pro"))
    assert phone.sustained_tokens_per_s is not None
    assert phone.sustained_tokens_per_s.value == pytest.approx(
        heat.share * phone.decode_at_start_tokens_per_s.value
    )
    assert phone.sustained_tokens_per_s.high <= phone.decode_at_start_tokens_per_s.high
    assert predicted(SMOLLM2, on=device("macbook-air-m3")).sustained_tokens_per_s is not None
    assert predicted(SMOLLM2, on=device("mac-mini-m4")).sustained_tokens_per_s is None


def test_formats_that_unpack_slowly_cost_more_on_a_cpu() -> None:
    costs = profiles().formats
    for instructions in ("arm", "x86"):
        q8, q6 = (costs["llama.cpp", instructions, name] for name in ("Q8_0", "Q6_K"))
        assert q8[0] < min(1, q6[0]), instructions
    assert costs["llama.cpp", "arm", "Q6_K"][0] > 1
    # kernels are written for each: prompts in Q8_0 are slower on x86 than on ARM, against Q4_K_M
    assert costs["llama.cpp", "x86", "Q8_0"][1] > 1.2 * costs["llama.cpp", "arm", "Q8_0"][1]
    # a byte of Q8_0 is read faster than one of Q6_K, as there is less to unpack
    pi = device("raspberry-pi-5")
    speeds = {
        name: predicted(SMOLLM2, name, on=pi).decode_at_start_tokens_per_s.value
        for name in ("Q8_0", "Q4_K_M")
    }
    assert speeds["Q8_0"] < speeds["Q4_K_M"]


def test_a_calibrated_device_takes_its_own_costs_of_types_and_no_others() -> None:
    laptop = device("core-i7-13700h")
    timed = CONSTANTS._replace(byte_cost=(("Q8_0", 0.7), ("F32", 1.0)), op_cost=(("Q8_0", 1.1), ("F32", 1.0)))
    found = predicted(SMOLLM2, "Q8_0", on=laptop._replace(profiles=(timed,)))
    stored = mix("Q8_0").assign(SMOLLM2, tensor_specs(SMOLLM2))
    q8 = sum(t.num_bytes for t in stored if t.type.name == "Q8_0")
    f32 = sum(t.num_bytes for t in stored) - q8
    kv_bytes = (128 + 64) * 2 * 30 * 3 * 64 * 2
    seconds = 30 * 1e-4 + (0.7 * q8 + f32 + kv_bytes) / 10e9
    assert found.decode_at_start_tokens_per_s.value == pytest.approx(1 / seconds)
    # of a type that was not timed there the cost on other processors is known
    of_others = profiles().formats["llama.cpp", "x86", "Q8_0"]
    untimed = CONSTANTS._replace(byte_cost=(("Q4_K", 1.0), ("F32", 1.0)))
    found = predicted(SMOLLM2, "Q8_0", on=laptop._replace(profiles=(untimed,)))
    seconds = 30 * 1e-4 + (of_others[0] * (q8 + f32) + kv_bytes) / 10e9
    assert found.decode_at_start_tokens_per_s.value == pytest.approx(1 / seconds)


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
        return found.decode_at_start_tokens_per_s.value, found.prefill_tokens_per_s.value

    # Gemma 3 270M: 15 of 18 layers read 512 positions of 4048, 1 KiB each
    gemma = models()["gemma-3-270m"].architecture
    whole = replace(gemma, sliding_window=None, sliding_layers=())
    profile = own_profile(pi, "llama.cpp", "cpu")
    assert profile is not None
    (decode, prefill), (slower, slower_prefill) = speeds(gemma, "llama.cpp"), speeds(whole, "llama.cpp")
    assert 1 / slower - 1 / decode == pytest.approx(15 * (4048 - 512) * 1024 / profile.bytes_per_s)
    assert prefill > slower_prefill
    assert speeds(gemma, "transformers")[0] > speeds(whole, "transformers")[0]
    # Mistral's files are Llama's to llama.cpp, which has no windows for them
    windowed = replace(SMOLLM2, sliding_window=64, sliding_layers=tuple(range(30)))
    assert speeds(windowed, "llama.cpp") == speeds(SMOLLM2, "llama.cpp")


def test_nothing_is_said_of_a_device_without_bandwidth_or_rows() -> None:
    stored = mix("Q4_0").assign(SMOLLM2, tensor_specs(SMOLLM2))
    # of a card's machine only the card is known
    unknown = Device(name="unknown", title="unknown", kind=DeviceKind.DESKTOP, backend="cuda")
    assert (
        latency(
            runtime="llama.cpp",
            architecture=SMOLLM2,
            stored=stored,
            device=unknown,
            backend="cpu",
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
    assert predicted(SMOLLM2, "F16", on=laptop).decode_at_start_tokens_per_s.basis is Basis.FITTED
    quantized = predicted(SMOLLM2, "Q4_K_M", on=laptop).decode_at_start_tokens_per_s
    assert quantized.basis is Basis.SPECIFICATION
    pool = pool_of(laptop, "llama.cpp", "cpu")
    assert pool is not None
    assert quantized.high / quantized.value >= pool.decode_factor


def test_a_device_borrows_the_rows_of_its_chip_but_not_their_basis() -> None:
    assert device("pixel-8").soc == device("pixel-8a").soc
    found = predicted(SMOLLM2, on=device("pixel-8")).decode_at_start_tokens_per_s
    assert found.value == predicted(SMOLLM2, on=device("pixel-8a")).decode_at_start_tokens_per_s.value
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
    found = predicted(architecture, format_name, on=device(name)).decode_at_start_tokens_per_s
    assert found.basis is Basis.FITTED
    assert found.low <= tokens_per_s <= found.high
    assert found.value == pytest.approx(tokens_per_s, rel=0.28)


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
        backend="metal",
        workload=Workload(prompt_tokens=1, generated_tokens=1),
        file_bytes=sum(t.num_bytes for t in stored),
    )
    assert found is not None
    return 1 / found.decode_at_start_tokens_per_s.value


def test_sharing_layers_in_cache_is_nearly_free_and_storing_them_twice_is_not() -> None:
    # MobileLLM, arXiv 2402.14905 table 7, iPhone 13: 15.6 ms, 16.0 ms (+2.6 %) and 29.0 ms (+86 %)
    once = _iphone_step_s(MOBILELLM_125M)
    shared = replace(MOBILELLM_125M, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2))
    assert once == pytest.approx(0.0156, rel=0.05)
    assert 1.0 < _iphone_step_s(shared) / once <= 1.05
    assert 1.70 <= _iphone_step_s(replace(MOBILELLM_125M, num_layers=60)) / once <= 2.0


def test_sharing_that_leaves_the_cache_costs_as_much_as_separate_layers() -> None:
    again = replace(MOBILELLM_125M, sharing=LayerSharing(strategy=SharingStrategy.REPEAT_ALL, repeat=2))
    assert _iphone_step_s(again) == pytest.approx(_iphone_step_s(replace(MOBILELLM_125M, num_layers=60)))
