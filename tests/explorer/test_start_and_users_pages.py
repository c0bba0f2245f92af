"""The page of three questions and the page of users: what they show, what goes along."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from reports.tables.users import share_text, users_csv
from sizer.audience import IN_APPLICATION, IN_BROWSER, reach
from sizer.devices.catalogue import device, devices_named
from sizer.registry import model
from tests.explorer.app_pages import figures, fine, links_of, rows

USERS = tuple((one, 10.0) for one in devices_named("mid-range"))


def opened(root: Path, page: str, **query: str) -> AppTest:
    test = AppTest.from_file(str(root / "explorer" / "pages" / page / "page.py"), default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    return fine(test.run())


def query_of(link: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(link).query).items()}


def test_each_question_is_one_click_from_its_answer(root: Path) -> None:
    page = opened(root, "start")
    page.selectbox("start_device").set_value("galaxy-s24")
    page.text_input("start_typed").set_value("350M")
    page.text_input("start_max_size").set_value("300MB")
    links = links_of(page.run())
    size = query_of(links["Show its size and speed"])
    assert (size["count"], size["device"]) == ("350M", "galaxy-s24")
    best = query_of(links["Show the best shapes"])
    assert (best["max_size"], best["device"]) == ("300MB", "galaxy-s24")
    assert query_of(links["Show the share of devices"])["count"] == "350M"
    page.text_input("start_typed").set_value("no such model")
    assert "Show its size and speed" not in links_of(page.run())
    assert page.warning


def test_the_share_of_devices_is_the_calculators(root: Path) -> None:
    page = opened(root, "users", start="a known model", model="Qwen2.5-0.5B", rate="40.0")
    found = [reach(model("Qwen2.5-0.5B").architecture, USERS, runtime=name) for name in IN_BROWSER]
    table = {row[0]: row for row in rows(page)}
    for one in found:
        assert table[one.runtime][2] == share_text(one.fits())
        assert table[one.runtime][3] == share_text(one.is_fast(40))
        assert table[one.runtime][4] == share_text(one.is_fast(40, surely=True))
    best = max(one.is_fast(40) or 0 for one in found)
    assert figures(page)["At least 40 tokens/s for"] == share_text(best)
    assert set(links_of(page)) == {"Size it on one device", "Find a better shape", "Compare models"}


def test_every_runtime_on_every_device_is_a_row_of_a_csv() -> None:
    found = [reach(model("Qwen2.5-0.5B").architecture, USERS, runtime=name) for name in IN_BROWSER]
    rows_of_file = list(csv.DictReader(io.StringIO(users_csv(found))))
    assert len(rows_of_file) == len(USERS) * sum(bool(one.estimates) for one in found)
    for one in found:
        mine = [row for row in rows_of_file if row["runtime"] == one.runtime]
        assert sum(float(row["share_percent"]) for row in mine) == pytest.approx(100)
        fast = sum(
            float(row["share_percent"]) for row in mine if float(row["decode_tokens_per_s"] or 0) >= 10
        )
        assert fast == pytest.approx(100 * (one.is_fast(10) or 0))


def test_shares_are_in_the_address_and_change_the_answer(root: Path) -> None:
    shares = ",".join(f"{one.name}:{0 if one.kind.value == 'phone' else 50}" for one, _ in USERS)
    query = {"start": "a known model", "model": "Qwen2.5-0.5B", "where": "an application", "rate": "40.0"}
    page = opened(root, "users", **query, shares=shares)
    laptops = tuple((one, 50.0) for one, _ in USERS if one.kind.value != "phone")
    only = reach(model("Qwen2.5-0.5B").architecture, laptops, runtime="llama.cpp")
    assert {row[0]: row for row in rows(page)}["llama.cpp"][3] == share_text(only.is_fast(40))
    page.number_input("users_share_pixel-9a").set_value(50.0)
    fine(page.run())
    assert "pixel-9a:50" in "".join(page.query_params["shares"])


@pytest.mark.parametrize("shares", ["pixel-9a:nan", "pixel-9a:1e9", "nosuch:5", "<b>", "pixel-9a:-3"])
def test_shares_that_are_none_are_left_out_of_an_address(root: Path, shares: str) -> None:
    assert figures(opened(root, "users", shares=shares))["It fits for"] == "100 %"


def test_ram_and_backend_of_users_devices_are_in_the_address(root: Path) -> None:
    query = {"start": "a known model", "model": "Qwen2.5-0.5B", "where": "an application", "rate": "40.0"}
    page = opened(root, "users", **query, devices="galaxy-s24", variants="galaxy-s24-12gb@gpu,no-such-device")
    users = ((device("galaxy-s24-12gb@gpu"), 10.0),)
    table = {row[0]: row for row in rows(page)}
    assert "Samsung Galaxy S24 (12 GB) (GPU)" in table
    for name in IN_APPLICATION:
        only = reach(model("Qwen2.5-0.5B").architecture, users, runtime=name)
        if only.estimates:
            assert table[name][3] == share_text(only.is_fast(40))
        else:  # a runtime without a backend of that kind says so, and the others stand
            assert any(only.reason in caption.value.replace("\\", "") for caption in page.caption)
