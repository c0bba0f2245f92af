"""The page "Compare": the matrix, the downloads and the pair say what `sizer compare --json` says."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import cli
from explorer.pages.compare.inputs import KEYS, MODELS, STATE, compared, model_of
from explorer.state import to_text
from reports.tables.compare import comparison_frame
from sizer.errors import SizerError
from sizer.registry import model
from sizer.runtimes import runtime
from sizer.shape_code import PREFIX, shape_code
from tests.explorer.app_pages import links_of, rows

NAMES = ("SmolLM2-135M", "Llama-2-7B")
DEVICES = ("iphone-15-pro", "raspberry-pi-5")


def test_models_are_ranked_by_what_training_would_make_of_them(page: AppTest) -> None:
    shown = opened(page, models="SmolLM2-135M,Qwen2.5-0.5B", corpus="FineWeb-Edu").dataframe[1].value
    assert shown["model"].tolist() == ["Qwen2.5-0.5B", "SmolLM2-135M"]
    assert list(shown.columns[1:]) == [
        f"accuracy after {length} (range)" for length in ("20 tokens a weight", "1T tokens")
    ]
    one = page.text_input(key=f"{KEYS}tokens").set_value("300B").run().dataframe[1].value
    assert list(one.columns[1:]) == ["accuracy after 300B tokens (range)"]
    assert "training tokens" in page.text_input(key=f"{KEYS}tokens").set_value("3").run().error[0].value


@pytest.fixture
def page(root: Path) -> AppTest:
    """The page, not yet run: a test may first give it an address."""
    return AppTest.from_file(str(root / "explorer" / "pages" / "compare" / "page.py"), default_timeout=120)


def opened(page: AppTest, **query: str) -> AppTest:
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the command line's answer for the same models and devices."""
    devices = " ".join(f"--device {name}" for name in DEVICES)
    return command(f"compare {' '.join(NAMES)} {devices} --format Q8_0 --context 4096 --json")


def command(line: str) -> dict[str, Any]:
    """What a command prints with --json."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main(shlex.split(line)) in (0, 1)
    found: dict[str, Any] = json.loads(printed.getvalue())
    return found


def test_the_matrix_is_the_command_lines(page: AppTest, document: dict[str, Any]) -> None:
    opened(page, models=",".join(NAMES), devices=",".join(DEVICES), format="Q8_0", context="4096")
    shown = page.dataframe[0].value
    assert list(shown.index) == document["models"]
    cells = iter(document["estimates"])
    for name in NAMES:
        for target in DEVICES:
            cell = next(cells)
            if cell["latency"] is None:
                assert cell["memory"]["fits"] is False
                assert shown.loc[[name], target].isna().all()
            else:
                assert shown.loc[name, target] == cell["latency"]["decode_tokens_per_s"]["value"]
            assert shown.loc[name, "memory"] == cell["memory"]["total_bytes"]
            assert shown.loc[name, "file"] == cell["weights"]["file_bytes"]
            assert shown.loc[name, "parameters"] == cell["parameters"]["total"]
    page.selectbox(key="compare_figure").set_value("time_to_first_token_s").run()
    first = page.dataframe[0].value.loc["SmolLM2-135M", "raspberry-pi-5"]
    assert first == document["estimates"][1]["latency"]["time_to_first_token_s"]["value"]


def test_what_is_downloaded_is_the_command_lines_document(document: dict[str, Any]) -> None:
    found, refused = compared(NAMES, DEVICES, "Q8_0", "llama.cpp", 4096)
    assert found is not None
    assert refused == ()
    assert json.loads(json.dumps(found.to_dict())) == document
    frame = comparison_frame(found)
    assert list(frame["fits"]) == [fits for row in document["fits"] for fits in row]
    assert list(frame["file_bytes"]) == [e["weights"]["file_bytes"] for e in document["estimates"]]
    known = [e["latency"] for e in document["estimates"]]
    assert list(frame["decode_tokens_per_s_low"].isna()) == [speeds is None for speeds in known]
    assert list(frame["decode_tokens_per_s_low"].dropna()) == [
        speeds["decode_tokens_per_s"]["low"] for speeds in known if speeds is not None
    ]
    assert list(frame["joules_per_token"].isna()) == [e["energy"] is None for e in document["estimates"]]


def test_downloads(page: AppTest) -> None:
    assert [button.label for button in opened(page).download_button] == ["CSV", "JSON"]


def test_cells_say_whether_a_model_fits(page: AppTest, document: dict[str, Any]) -> None:
    opened(page, models=",".join(NAMES), devices=",".join(DEVICES), format="Q8_0", context="4096")
    assert document["fits"] == [[True, True], [False, False]]
    display = bytes(page.dataframe[0].proto.arrow_data.styler.display_values)
    assert "✓".encode() in display
    assert "✗".encode() in display


def test_sorting_and_filtering(page: AppTest) -> None:
    names = "Qwen2.5-0.5B,Llama-2-7B,SmolLM2-135M"
    opened(page, models=names, devices=",".join(DEVICES), format="Q8_0", context="4096")
    assert list(page.dataframe[0].value.index) == names.split(",")
    page.selectbox(key="compare_sort").set_value("file").run()
    assert list(page.dataframe[0].value.index) == ["SmolLM2-135M", "Qwen2.5-0.5B", "Llama-2-7B"]
    page.selectbox(key="compare_sort").set_value("on raspberry-pi-5").run()
    assert list(page.dataframe[0].value.index) == ["SmolLM2-135M", "Qwen2.5-0.5B", "Llama-2-7B"]
    page.selectbox(key="compare_keep").set_value("fit no device").run()
    assert list(page.dataframe[0].value.index) == ["Llama-2-7B"]
    page.multiselect(key="compare_models").set_value(["SmolLM2-135M"]).run()
    assert not page.exception
    assert "all are left out" in page.info[0].value
    assert page.query_params["keep"] in ("fit no device", ["fit no device"])


def test_two_side_by_side(page: AppTest, document: dict[str, Any]) -> None:
    opened(page, models=",".join(NAMES), devices=",".join(DEVICES), format="Q8_0", context="4096")
    lines = {row[0].removeprefix("≠ "): row for row in rows(page)}
    one, other = document["estimates"][1], document["estimates"][3]
    assert page.selectbox(key="compare_target").value == "raspberry-pi-5"
    sizes = [document["architecture"]["hidden_size"] for document in (one, other)]
    assert lines["hidden_size"][:3] == ("≠ hidden_size", f"{sizes[0]:,}", f"{sizes[1]:,}")
    assert lines["sharing strategy"] == ("sharing strategy", "none", "none", "=", "")
    ratio = other["parameters"]["total"] / one["parameters"]["total"] - 1
    assert f"{ratio:+.1%}".replace("%", " %") in [row[4] for row in rows(page) if len(row) == 5]
    assert {"Open A on Size", "Open B on Size"} <= links_of(page).keys()
    page.selectbox(key="compare_b").set_value("0").run()
    assert not [row for row in rows(page) if row[0].startswith("≠")]


def test_a_link_opens_the_same_page(page: AppTest, root: Path) -> None:
    opened(page, models=",".join(NAMES))
    page.multiselect(key="compare_devices").set_value(["pixel-8a", "macbook-air-m1"])
    page.number_input(key="compare_context").set_value(1024)
    page.selectbox(key="compare_a").set_value("1").run()
    again = AppTest.from_file(str(root / "explorer" / "pages" / "compare" / "page.py"), default_timeout=120)
    for key, values in page.query_params.items():
        again.query_params[key] = values
    again.run()
    assert again.dataframe[0].value.equals(page.dataframe[0].value)
    for control in STATE.controls:
        held = [to_text(p.session_state[control.key]) for p in (page, again)]
        assert held[0] == held[1], control.key


def test_a_shape_of_ones_own(page: AppTest) -> None:
    code = PREFIX + shape_code(model("SmolLM2-135M").architecture)
    opened(page, models=f"SmolLM2-135M,{code}")
    shown = page.dataframe[0].value
    assert list(shown.index) == ["SmolLM2-135M", "custom"]
    assert shown.iloc[0].equals(shown.iloc[1])


def test_no_model_and_one_model(page: AppTest) -> None:
    opened(page).multiselect(key="compare_models").set_value([]).run()
    assert page.info[0].value == "Choose a model, or several, on the left."
    page.multiselect(key="compare_models").set_value(["SmolLM2-135M"]).run()
    assert "Choose a second model" in page.info[0].value
    assert len(page.dataframe[0].value) == 1


def test_without_a_device(page: AppTest) -> None:
    opened(page).multiselect(key="compare_devices").set_value([]).run()
    assert not page.exception
    assert list(page.dataframe[0].value.columns) == ["parameters", "file", "memory", "no device"]


def test_another_engine_takes_its_own_format(page: AppTest) -> None:
    opened(page, models="SmolLM2-135M").selectbox(key="compare_engine").set_value("executorch").run()
    assert not page.exception
    chosen = page.selectbox(key="compare_format").value
    assert chosen in runtime("executorch").formats
    expected = command(f"estimate SmolLM2-135M --runtime executorch --format {chosen} --json")
    assert page.dataframe[0].value["file"].iloc[0] == expected["weights"]["file_bytes"]


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "no-such-model", "shape:hidden_size.<b>", "/etc/passwd"]
)
def test_what_is_no_model_is_one_line(page: AppTest, name: str) -> None:
    opened(page, models=f"SmolLM2-135M,{name}")
    assert len(page.error) == 1
    assert len(page.dataframe[0].value) == 1  # the others are still compared
    assert "<script>" not in str(page.error[0].value).replace("\\<script\\>", "")


def test_only_the_catalogue_and_shapes_are_read(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text("{}", encoding="utf-8")
    for text in (str(config), "hf:org/name"):
        with pytest.raises(SizerError, match="unknown model"):
            model_of(text)


def test_a_bad_link_opens_on_first_values(page: AppTest) -> None:
    opened(page, devices="toaster", format="Q0", context="-1", a="x", figure="<b>")
    assert tuple(page.session_state[f"{KEYS}devices"]) == ("raspberry-pi-5", "iphone-15-pro", "pixel-8a")
    assert tuple(page.session_state[MODELS.key]) == MODELS.first
    assert not page.query_params


def test_ram_and_backend_are_chosen_by_device(page: AppTest) -> None:
    full = "galaxy-s24-12gb@gpu"
    opened(page, models="SmolLM2-135M", devices="raspberry-pi-5,galaxy-s24", variants=full)
    said = command(f"compare SmolLM2-135M --device raspberry-pi-5 --device {full} --json")
    found, _ = compared(("SmolLM2-135M",), ("raspberry-pi-5", full), "Q4_K_M", "llama.cpp", 2048)
    assert found is not None
    assert found.to_dict()["estimates"] == said["estimates"]
    assert set(found.devices) <= set(page.dataframe[0].value.columns)
    # the usual ones again: the device's own name, and nothing in the address
    page.selectbox(key=f"{KEYS}variants_RAM_galaxy-s24").set_value("")
    page.selectbox(key=f"{KEYS}variants_Runs on_galaxy-s24").set_value("").run()
    assert not page.exception
    assert {"raspberry-pi-5", "galaxy-s24"} <= set(page.dataframe[0].value.columns)
    assert "variants" not in page.query_params


@pytest.mark.parametrize(("ram", "variants"), [("12GB", ["galaxy-s24-12gb"]), ("<b>", []), ("3GB", [])])
def test_the_device_of_a_link_is_compared(page: AppTest, ram: str, variants: list[str]) -> None:
    """Other pages have one device: their links to this page name it, also in a new tab."""
    opened(page, models="SmolLM2-135M,Qwen2.5-0.5B", device="galaxy-s24", ram=ram)
    assert page.session_state[f"{KEYS}devices"] == [
        "galaxy-s24",
        "raspberry-pi-5",
        "iphone-15-pro",
        "pixel-8a",
    ]
    assert page.session_state[f"{KEYS}target"] == "galaxy-s24"
    assert page.session_state[f"{KEYS}variants"] == variants
