"""The choice of a device with its RAM and backend, on every page that chooses one device."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.pages.design.inputs import DEVICE as DESIGN_DEVICE
from explorer.pages.size.state import STATE, request_of
from explorer.widgets.device_choice import ChosenDevice, backends, device_query, ram_sizes
from explorer.widgets.size_link import size_query
from sizer.architecture import Architecture
from sizer.devices.catalogue import device_name, load_devices
from tests.explorer.app_pages import figures, links_of


@pytest.mark.parametrize("name", load_devices())
def test_every_choice_of_every_device_comes_back_from_its_name(name: str) -> None:
    for ram in ram_sizes(name):
        for backend in backends(name):
            asked = device_name(name, ram or None, backend or None)
            assert asked is not None
            found = device_query(asked)
            assert device_name(found["device"], found.get("ram"), found.get("backend")) == asked
            # jetson-orin-nano with 4 GB is a device of the catalogue under its own name
            assert found["device"] in (name, asked.partition("@")[0])
            assert bool(backend) == ("backend" in found)


def test_another_device_takes_the_usual_ram_and_backend() -> None:
    chosen = {"device": "raspberry-pi-5", "ram": "12GB", "backend": "npu"}
    assert ChosenDevice().corrections(chosen) == {"ram": "", "backend": ""}
    kept = {"device": "pixel-8a", "ram": "", "backend": "gpu"}
    assert ChosenDevice().corrections(kept) == {"ram": "", "backend": "gpu"}


def test_a_link_keeps_ram_and_backend(smollm2: Architecture) -> None:
    query = size_query(smollm2, format="Q8_0", device="framework-13-ai-340-16gb@cpu")
    assert {key: query.get(key) for key in ("ram", "backend")} == {"ram": "16GB", "backend": "cpu"}
    values = STATE.from_address(query)
    asked = request_of(values)
    assert (asked.device, asked.ram, asked.backend) == ("framework-13-ai-340", "16GB", "cpu")
    assert STATE.to_address(values) == query


def _page(root: Path, name: str) -> AppTest:
    path = root / "explorer" / "pages" / name / "page.py"
    return AppTest.from_file(str(path), default_timeout=120).run()


def test_less_ram_and_another_backend_change_the_figures(root: Path) -> None:
    page = _page(root, "size")
    page.selectbox(key="device").set_value("pixel-8a")
    page.selectbox(key="engine").set_value("litert-lm").run()
    first = figures(page)
    page.selectbox(key="backend").set_value("cpu").run()
    assert not page.exception
    on_cpu = figures(page)
    page.selectbox(key="backend").set_value("gpu").run()
    assert figures(page) != on_cpu
    assert first in (on_cpu, figures(page))  # the runtime's own choice is one of the two
    # another device has neither
    page.selectbox(key="device").set_value("raspberry-pi-5").run()
    assert page.selectbox(key="backend").value == ""
    page.selectbox(key="ram").set_value("2GB").run()
    assert page.query_params["ram"] == "2GB"
    assert not page.exception


def test_the_start_page_hands_on_the_choice(root: Path) -> None:
    page = _page(root, "start")
    page.selectbox(key="start_device").set_value("raspberry-pi-5").run()
    page.selectbox(key="start_ram").set_value("2GB").run()
    links = [link for link in links_of(page).values() if link.startswith(("size", "design"))]
    assert links
    assert all("ram=2GB" in link for link in links)


def test_the_design_page_asks_for_the_variant() -> None:
    values = {"design_device": "raspberry-pi-5", "design_ram": "2GB", "design_backend": ""}
    assert DESIGN_DEVICE.name(values) == "raspberry-pi-5-2gb"
