"""What one app may hold: one rule a kind of device, variants by name or RAM, and what does not fit."""

from __future__ import annotations

import re

import pytest

from sizer.devices.backend import backends_of, choose_backend
from sizer.devices.catalogue import device, device_name, devices_with, load_devices
from sizer.devices.usable_memory import budget_bytes, usable_memory, variant_for
from sizer.errors import InvalidQuantity, UnknownName
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.request import EstimateRequest
from sizer.runtimes import runtime
from sizer.workload import Workload

GIB = 2**30


def test_every_device_has_a_limit_or_a_reason() -> None:
    for found in load_devices().values():
        for variant in found.variants():
            budget, why = usable_memory(variant, found.backend)
            assert why
            assert budget is None or budget > 0
        if budget_bytes(found) is None:
            assert found.no_memory_limit, found.name


@pytest.mark.parametrize(
    ("name", "backend", "num_bytes"),
    [
        # llama.cpp's logs: recommendedMaxWorkingSetSize 10922.67 MiB of 16 GiB, 147456 of 192 GiB
        ("macbook-pro-m1-pro-16gb", "metal", 10922.67 * 2**20),
        ("mac-studio-m2-ultra-192gb", "metal", 147456 * 2**20),
        # all but 4 GiB, where the CPU computes
        ("macbook-pro-m1-pro-16gb", "cpu", 12 * GIB),
        ("raspberry-pi-4-2gb", "cpu", 0.85 * 2 * GIB),
        ("geforce-rtx-5070", "cuda", 0.95 * 12 * GIB),
        # PocketPal: the lesser of 65 % and all but 1.2 GB
        ("helio-g99-phone", "cpu", 0.65 * 4 * GIB),
        ("core-ultra-7-258v", "cpu", 28 * GIB),
    ],
)
def test_worked_by_hand(name: str, backend: str, num_bytes: float) -> None:
    assert usable_memory(device(name), backend).num_bytes == pytest.approx(num_bytes, rel=1e-6)


def test_the_ram_beside_a_card_is_not_the_cards() -> None:
    assert usable_memory(device("geforce-rtx-5070"), "cpu").num_bytes is None


def test_variants_by_name_and_by_ram() -> None:
    assert device("pi4-2gb") == device("raspberry-pi-4").with_ram(2)
    assert device("raspberry-pi-4-8gb").name == "raspberry-pi-4"
    assert device("raspberry-pi-5-4gb").rows_name == "raspberry-pi-5"
    with pytest.raises(InvalidQuantity, match="3 GB is no variant of raspberry-pi-4; accepted: 1GB, 2GB"):
        device("raspberry-pi-4-3gb")
    with pytest.raises(UnknownName):
        device("toaster-4gb")
    # no sizes are known of a class of machines: any is taken
    assert budget_bytes(device("laptop-ddr5-4800").with_ram(16)) == 12 * GIB


def test_where_the_ram_is_not_fixed_the_least_that_holds_the_model_is_judged() -> None:
    mac = device("macbook-pro-m4-pro")  # 24 or 48 GB
    assert mac.ram_bytes is None
    assert budget_bytes(mac) == 16 * GIB
    held = variant_for(mac, 20 * GIB, "metal")
    assert held.ram_bytes is not None
    assert held.ram_bytes.value == 48 * GIB
    assert variant_for(mac, 200 * GIB, "metal") == held


def test_what_does_not_fit_has_no_speed() -> None:
    # llmfit's community row: Qwen3-30B-A3B Q4_K_M on 12 GB runs at 25.69 tokens/s, partly on the CPU
    moe = model("Qwen3-30B-A3B").architecture
    found = estimate(architecture=moe, format="Q4_K_M", device=device("geforce-rtx-5070"))
    assert found.memory.fits is False
    assert found.latency is None
    assert found.energy is None
    assert "needs 17.78 GiB of 11.4 GiB" in found.unsupported["latency"]


def test_an_8b_model_fits_a_card_of_8_gb() -> None:
    # AlexsJones/llmfit#773: Meta-Llama-3.1-8B-Instruct Q4_K_M wholly on an RTX 2080 of 8 GB, context 4096
    shape = {
        **{"num_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "num_heads": 32},
        **{"num_kv_heads": 8, "vocab_size": 128256, "tie_embeddings": False},
    }
    request = EstimateRequest(**shape, format="Q4_K_M", device="rtx-4060", context=4096)  # type: ignore[arg-type]
    assert request.run().estimate.memory.fits is True


def test_engines_choose_their_backend() -> None:
    phone = device("iphone-15-pro")
    assert choose_backend(phone, runtime("llama.cpp")) == "metal"
    assert choose_backend(phone, runtime("executorch")) == "cpu"
    assert choose_backend(phone, runtime("llama.cpp"), "cpu") == "cpu"
    assert choose_backend(phone, runtime("executorch"), "npu") == "ane"
    assert choose_backend(device("galaxy-s24"), runtime("llama.cpp")) == "cpu"
    assert choose_backend(device("galaxy-s24"), runtime("web-llm")) == "webgpu"
    assert choose_backend(device("raspberry-pi-5"), runtime("mlx")) is None
    assert backends_of(device("mac-mini-m4"), runtime("transformers")) == ("metal", "cpu")
    with pytest.raises(InvalidQuantity, match="llama.cpp on raspberry-pi-5 has no 'npu'; accepted: cpu"):
        choose_backend(device("raspberry-pi-5"), runtime("llama.cpp"), "npu")
    with pytest.raises(InvalidQuantity, match="backend: unknown 'tpu'; accepted: cpu, gpu, npu"):
        choose_backend(phone, runtime("llama.cpp"), "tpu")


def test_a_devices_name_may_state_its_ram_and_what_engines_run_on() -> None:
    plain, on_gpu = device("pixel-8a"), device("pixel-8a@gpu")
    litert = runtime("litert-lm")
    assert (choose_backend(plain, litert), choose_backend(on_gpu, litert)) == ("cpu", "opencl")
    assert choose_backend(on_gpu, litert, "cpu") == "cpu"
    assert on_gpu.rows_name == plain.name
    assert device_name("raspberry-pi-4", "4GB", "cpu") == "raspberry-pi-4-4gb@cpu"
    pi = device("raspberry-pi-4-4gb@cpu")
    assert pi.ram_bytes is not None
    assert (pi.ram_bytes.value, pi.only_kind) == (4 * 2**30, "cpu")
    assert [d.name for d in devices_with(["pixel-8a", "galaxy-s24"], None, "gpu")] == [
        "pixel-8a@gpu",
        "galaxy-s24@gpu",
    ]


@pytest.mark.parametrize(
    ("name", "ram", "backend", "message"),
    [
        ("raspberry-pi-5", None, "gpu", "backend: raspberry-pi-5 has no 'gpu'; accepted: cpu"),
        ("raspberry-pi-5", "3GB", None, "ram: 3 GB is no variant"),
        (None, None, "gpu", "give a device with it"),
        (None, "4GB", None, "give a device with it"),
    ],
)
def test_parts_that_a_device_does_not_have_are_refused(
    name: str | None, ram: str | None, backend: str | None, message: str
) -> None:
    with pytest.raises(InvalidQuantity, match=re.escape(message)):
        device_name(name, ram, backend)


def test_the_backend_decides_limit_and_reason() -> None:
    mac, small = device("macbook-pro-m1-pro-16gb"), model("Qwen3-0.6B").architecture
    on = {
        kind: estimate(architecture=small, format="Q8_0", device=mac, backend=kind) for kind in ("cpu", "gpu")
    }
    assert on["cpu"].memory.budget_bytes == 12 * GIB
    assert on["gpu"].memory.budget_bytes == int(2 / 3 * 16 * GIB)
    assert (on["cpu"].backend, on["gpu"].backend) == ("cpu", "metal")
    none = estimate(
        architecture=small,
        format="4bit",
        runtime="mlx",
        device=device("raspberry-pi-5"),
        workload=Workload(cache_type=runtime("mlx").cache_types[0]),
    )
    assert none.unsupported["latency"] == "mlx runs on metal; raspberry-pi-5 has cpu"
