"""The device catalogue: every number sourced, clear errors for a bad file or name, the host measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sizer.devices.catalogue import device, devices_named, load_devices, this_host
from sizer.devices.device import HOST, DeviceKind, Fact
from sizer.devices.device_file import parse_file
from sizer.devices.device_names import key
from sizer.devices.device_table import parse_devices
from sizer.devices.usable_memory import budget_bytes, memory_notes
from sizer.errors import InvalidFile, UnknownName
from sizer.prediction import Basis

GIB = 2**30
EXPECTED = {
    "iphone-14",
    "iphone-16-pro",
    "iphone-17-pro",
    "ipad-pro-m1",
    "ipad-pro-m4",
    "pixel-9",
    "pixel-10",
    "galaxy-s22",
    "galaxy-s23",
    "galaxy-s25",
    "galaxy-a25",
    "raspberry-pi-500-plus",
    "orange-pi-5",
    "jetson-orin-nx",
    "jetson-agx-orin",
    "macbook-air-m1",
    "macbook-air-m2",
    "macbook-air-m3",
    "mac-mini-m4",
    "macbook-pro-m5",
    "core-i7-13700h",
    "framework-13-ai-340",
    "snapdragon-x-elite",
    "steam-deck",
    "geforce-gtx-1050-ti",
    "geforce-rtx-4090",
    "browser-wasm32",
    "browser-webgpu",
    "raspberry-pi-5",
    "raspberry-pi-4",
    "iphone-15-pro",
    "iphone-13",
    "galaxy-s24",
    "pixel-8",
    "oneplus-12",
    "macbook-pro-m3-pro",
    "core-ultra-7-258v",
    "jetson-orin-nano",
}


def test_the_catalogue_has_the_devices_people_ask_for() -> None:
    assert set(load_devices()) >= EXPECTED


@pytest.mark.parametrize("name", load_devices())
def test_every_number_has_a_source_and_a_date(name: str) -> None:
    for field, fact in load_devices()[name].facts.items():
        assert fact.value > 0, field
        assert len(fact.source) > 4, field
        assert re.fullmatch(r"\d{4}-\d\d(-\d\d)?", fact.date), field


@pytest.mark.parametrize("name", load_devices())
def test_names_are_slugs_and_measured_bandwidth_is_below_the_sheet(name: str) -> None:
    found = load_devices()[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    sheet, measured = found.bandwidth_theoretical_bytes_per_s, found.bandwidth_measured_bytes_per_s
    if sheet and measured:
        assert measured.value < sheet.value
        assert found.bandwidth_bytes_per_s == measured


def test_facts_of_the_raspberry_pi_5() -> None:
    # truth/devices.csv: 8 GB, LPDDR4X-4267 on 32 bits
    pi = device("raspberry-pi-5")
    assert pi.kind is DeviceKind.BOARD
    assert pi.ram_bytes is not None
    assert pi.ram_bytes.value == 8 * GIB
    assert pi.bandwidth_theoretical_bytes_per_s is not None
    assert pi.bandwidth_theoretical_bytes_per_s.value == pytest.approx(4267e6 * 4, rel=1e-3)


def test_an_app_limit_is_the_budget_where_known_and_a_share_of_ram_elsewhere() -> None:
    # iPhone 15 Pro: 3341 MiB before the system ends an app without the entitlement
    assert budget_bytes(device("iphone-15-pro")) == 3341 * 2**20
    assert budget_bytes(device("raspberry-pi-5")) == int(0.85 * 8 * GIB)
    assert "85%" in memory_notes(device("raspberry-pi-5"), "cpu")[0]
    assert budget_bytes(device("pixel-8a")) == int(0.65 * 8 * GIB)


def test_names_and_aliases_ignore_case() -> None:
    assert device(" PI5 ") == device("Raspberry-Pi-5")


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Raspberry Pi 5", "raspberry-pi-5"),
        ("rpi 5", "raspberry-pi-5"),
        ("Samsung Galaxy S24 Ultra", "galaxy-s24-ultra"),
        ("Samsung A15", "galaxy-a15"),
        ("M2 MacBook Air", "macbook-air-m2"),
        ("NVIDIA GeForce RTX 4070", "geforce-rtx-4070"),
        ("RTX4090", "geforce-rtx-4090"),
        ("iPhone SE (3rd gen)", "iphone-se-3"),
        ("Orin Nano", "jetson-orin-nano"),
        ("Intel N100", "laptop-intel-n100"),
        ("A17 Pro", "iphone-15-pro"),
        ("4090", "geforce-rtx-4090"),
        # a card in its PC, a chip with its GPU cores, a device with its chip, a year, a chip in its laptop
        ("Ryzen 9 7950X (Nvidia 4080)", "geforce-rtx-4080"),
        ("desktop with RTX 3080", "geforce-rtx-3080"),
        ("Apple M3 Pro (18 GPU cores)", "macbook-pro-m3-pro"),
        ("Apple M3 Max (30 GPU cores)", "macbook-pro-m3-max-30"),
        ("Framework 13 (Ryzen AI 5 340)", "framework-13-ai-340"),
        ("MacBook Pro (2023 M3)", "macbook-pro-m3"),
        ("laptop, Core Ultra 7 258V (32 GB LPDDR5X-8533)", "core-ultra-7-258v"),
        ("M4 Mac mini (10 core - 32GB)", "mac-mini-m4-32gb"),
        ("Mac Studio (M4 Max, 40 GPU cores, 128 GB)", "mac-studio-m4-max-128gb"),
    ],
)
def test_words_as_people_type_them(typed: str, name: str) -> None:
    assert device(typed).name == name


def test_ram_may_stand_behind_the_words() -> None:
    pi = device("Raspberry Pi 5 (16 GB)")
    assert pi.rows_name == "raspberry-pi-5"
    assert pi.ram_bytes is not None
    assert pi.ram_bytes.value == 16 * 2**30
    assert device("Pixel 8a @gpu").only_kind == "gpu"


def test_a_chip_of_several_devices_names_them() -> None:
    with pytest.raises(UnknownName, match="accepted: one of pixel-8, pixel-8-pro, pixel-8a"):
        device("Tensor G3")
    for other in ("RX 5999", "iPhone 99", "with", "+", "Pi 5 (Radeon RX 5999)"):
        with pytest.raises(UnknownName, match="unknown device"):
            device(other)


def test_no_two_devices_have_names_of_the_same_words() -> None:
    keys = [key(d.name) for d in load_devices().values()]
    assert len(set(keys)) == len(keys)


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(UnknownName, match="unknown device 'raspbery-pi-5'; did you mean raspberry-pi-5"):
        device("raspbery-pi-5")
    with pytest.raises(UnknownName, match=r"; did you mean mid-range\? known: \d+ devices \(sizer devices"):
        devices_named("midrange")
    with pytest.raises(UnknownName) as raised:  # no list of all names behind the nearest
        device("toaster")
    assert len(str(raised.value)) < 100


GOOD = """
[board]
title = "A board"
kind = "board"
ram_bytes = { value = 1024, source = "a page", date = "2026-11" }
"""


def test_a_good_table_is_read() -> None:
    assert parse_devices(GOOD, "x.toml")["board"].ram_bytes == Fact(1024, "a page", "2026-11")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ram_bytes", "ram_gb", "unknown key 'ram_gb'; accepted: .*ram_bytes"),
        (', date = "2026-11"', "", "ram_bytes: needs exactly value, source and date"),
        ('source = "a page", ', "", "ram_bytes: needs exactly value, source and date"),
        ('"a page"', '" "', "source must be text"),
        ("1024", "-1", "value must be a number above 0, got -1"),
        ("1024", "true", "value must be a number above 0, got True"),
        ("1024", "nan", "value must be a number above 0, got nan"),
        ('kind = "board"', 'kind = "fridge"', "unknown value 'fridge'; accepted: phone, tablet"),
        ('title = "A board"', "", "title must be text"),
        ('kind = "board"', 'kind = "board"\naliases = ["host"]', "already belongs to .* or is reserved"),
        ('kind = "board"', 'kind = "board"\nload_power_scope = "wall"', "belong together"),
        ("[board]", "[board", "not valid TOML"),
    ],
)
def test_a_bad_table_is_named(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InvalidFile, match=message):
        parse_devices(GOOD.replace(old, new), "x.toml")


def test_limits_with_and_without_the_entitlement_are_apart() -> None:
    # truth/devices.csv: iPhone 13 Pro 3.12 and 4.20 GB
    phone = device("iphone-13-pro")
    assert phone.app_memory_bytes is not None
    assert phone.app_memory_entitled_bytes is not None
    assert (phone.app_memory_bytes.value, phone.app_memory_entitled_bytes.value) == (3.12e9, 4.2e9)
    assert budget_bytes(phone) == 3_120_000_000


FILE = """
[device]
name = "my-board"
title = "My board"
kind = "board"
ram_bytes = { value = 1024, source = "a page", date = "2026-11" }

[[profile]]
runtime = "llama.cpp"
source = "calibrate"
date = "2026-11-22"
seconds_fixed = 0
seconds_per_layer = 1e-4
bytes_per_s = 1e10
byte_cost = { Q5_0 = 1.4 }
bits_low = 4.5
bits_high = 8.5
decode_factor = 1.1
"""


def test_a_device_file_is_a_device_with_profiles_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "My-Board.toml"
    path.write_text(FILE, encoding="utf-8")
    found = device(str(path))
    assert found.name == "my-board"
    assert found.ram_bytes == Fact(1024, "a page", "2026-11")
    (profile,) = found.profiles
    assert (profile.runtime, profile.backend, profile.basis) == ("llama.cpp", "cpu", Basis.MEASURED)
    assert (profile.bytes_per_s, profile.byte_cost, profile.ops_per_s) == (1e10, (("Q5_0", 1.4),), 0)
    assert profile.bits_range == pytest.approx((3.6, 10.625))


PROFILE = "[[profile]]" + FILE.split("[[profile]]")[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "my-board"', "", "device: needs a name of letters, .* got None"),
        ('name = "my-board"', 'name = "../x"', "device: needs a name of letters"),
        ('name = "my-board"', 'name = "host"', "name 'host' is reserved"),
        ("[device]", "[board]", "unknown table 'board'; accepted: device, profile"),
        ("[[profile]]", "[profile]", "expected \\[\\[profile\\]\\] tables"),
        ("seconds_fixed", "seconds_fix", "profile 1: unknown key 'seconds_fix'; accepted: runtime"),
        ("bytes_per_s = 1e10", "", "profile 1: bytes_per_s must be a number from 1 to 1e\\+16, got None"),
        (
            "bytes_per_s = 1e10",
            "bytes_per_s = inf",
            "bytes_per_s must be a number from 1 to 1e\\+16, got inf",
        ),
        ("bytes_per_s = 1e10", "bytes_per_s = nan", "bytes_per_s must be a number from 1 .* got nan"),
        ("bytes_per_s = 1e10", 'bytes_per_s = "fast"', "bytes_per_s must be a number .* got 'fast'"),
        ("seconds_fixed = 0", "seconds_fixed = true", "seconds_fixed must be a number .* got True"),
        ("decode_factor = 1.1", "decode_factor = 0.9", "decode_factor must be a number from 1 "),
        ("bits_high = 8.5", "bits_high = 4", "bits_low 4.5 is above bits_high 4"),
        ("Q5_0 = 1.4", "Q5_0 = 0", "byte_cost.Q5_0 must be a number"),
        ("decode_factor = 1.1", "decode_factor = 1.1\nops_per_s = 1e9", "belong together"),
        ('runtime = "llama.cpp"', 'runtime = "llama.cpp"\nbackend = "npu"', "backend: unknown value 'npu'"),
        ('source = "calibrate"', 'source = " "', "source must be text"),
        (PROFILE, PROFILE + PROFILE, "profile 2: a second one of llama.cpp on cpu"),
        ('kind = "board"', 'kind = "board"\nbackend = 3', "backend: unknown value 3; accepted: cpu, metal"),
        ("[device]", "[device", "not valid TOML"),
    ],
)
def test_nonsense_in_a_device_file_is_named(old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(InvalidFile, match=f"^my.toml: .*{message}") as caught:
        parse_file(FILE.replace(old, new), "my.toml")
    assert "\n" not in str(caught.value).strip()


def test_a_device_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="gone.toml: no such device file"):
        device(str(tmp_path / "gone.toml"))
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(InvalidFile, match="folder.toml: no such device file"):
        device(str(folder))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidFile, match="binary.toml: cannot be read"):
        device(str(binary))


def test_two_devices_cannot_share_a_label() -> None:
    with pytest.raises(InvalidFile, match="already belongs to 'board'"):
        parse_devices(GOOD + GOOD.replace("[board]", '[other]\naliases = ["Board"]'), "x.toml")


def test_the_host_is_measured_once() -> None:
    host = device("HOST")
    assert host.name == HOST
    assert host is this_host()
    assert host.bandwidth_measured_bytes_per_s is not None
    # the slowest board of the catalogue and the fastest machine sold, with room on both sides
    assert 5e8 < host.bandwidth_measured_bytes_per_s.value < 4e12
    assert host.bandwidth_theoretical_bytes_per_s is None
    assert host.ram_bytes is not None
    assert host.ram_bytes.value > 2**28


@pytest.mark.parametrize("name", load_devices())
def test_a_device_read_alone_is_the_one_of_the_catalogue(name: str) -> None:
    assert device(name) == load_devices()[name]
    assert device(name.upper()) == load_devices()[name]
