"""The page "Evidence": its figures are those of docs/accuracy.md, its filters filter, sources are named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from sizer.calibration.held_out_file import HeldOut, kept_held_out
from sizer.devices.catalogue import load_devices
from sizer.registry import models
from tests.explorer.app_pages import figures


@pytest.fixture(scope="module")
def page() -> AppTest:
    """The page with both its tables unfolded."""
    page = folded()
    for key in ("evidence_rows", "evidence_counts"):
        page.session_state[key] = True
    return page.run()


def folded() -> AppTest:
    """The page as it opens."""
    root = Path(__file__).parents[2]
    file = root / "explorer" / "pages" / "evidence" / "page.py"
    return AppTest.from_file(str(file), default_timeout=600).run()


def htmls(page: AppTest) -> list[str]:
    return [str(block.proto.body) for block in page.get("html")]


def test_the_page_opens_with_its_answer_and_tables_are_drawn_on_demand() -> None:
    page = folded()
    assert not page.dataframe
    assert not page.get("plotly_chart")  # its script is a megabyte
    (drawn,) = (html for html in htmls(page) if "sizer-points" in html)
    assert drawn.count("data-text=") == len(kept()[0])
    assert set(figures(page)) == {"Measurements", "Median error", "90 % within", "Inside the range"}
    page.session_state["evidence_counts"] = True
    assert len(page.run().dataframe) == 1


def kept() -> HeldOut:
    """The predictions that come with the data."""
    found = kept_held_out()
    assert found is not None
    return found


def reset(page: AppTest) -> AppTest:
    for key, value in {
        "evidence_phase": "decoding",
        "evidence_basis": "all",
        "evidence_device": "all",
    }.items():
        page.selectbox(key=key).set_value(value)
    return page.selectbox(key="evidence_engine").set_value("all").run()


def documented(root: Path, heading: str) -> list[tuple[str, ...]]:
    """Lines "all" of docs/accuracy.md after a heading: rows, median, 90 % within, inside."""
    text = (root / "docs" / "accuracy.md").read_text(encoding="utf-8").split(f"\n{heading}\n")[1]
    return re.findall(r"\| all \| (\d+) \| ([\d.]+) % \| ([\d.]+) % \| (\d+)% \|", text)


@pytest.mark.parametrize(("phase", "heading"), [("decoding", "## Speed"), ("reading prompts", "### Prefill")])
def test_the_figures_are_those_of_the_accuracy_page(
    page: AppTest, root: Path, phase: str, heading: str
) -> None:
    reset(page)
    page.selectbox(key="evidence_phase").set_value(phase).run()
    rows, middle, last, inside = documented(root, heading)[0]
    assert figures(page) == {
        "Measurements": rows,
        "Median error": f"{middle}%",
        "90 % within": f"{last}%",
        "Inside the range": f"{inside}%",
    }


def test_a_device_shows_its_rows_and_its_sources(page: AppTest) -> None:
    reset(page)
    page.selectbox(key="evidence_device").set_value("raspberry-pi-5").run()
    judged, _ = kept()
    own = [j for j in judged if j.row.device == "raspberry-pi-5"]
    assert figures(page)["Measurements"] == str(len(own))
    table = page.dataframe[0].value
    assert list(table["measured_tokens_per_s"]) == [j.measured for j in own]
    assert list(table["predicted_tokens_per_s"]) == [j.predicted for j in own]
    html = "".join(htmls(page))
    for fact in load_devices()["raspberry-pi-5"].facts.values():
        assert fact.date in html
        assert fact.source.split(",")[0].split("&")[0] in html
    assert page.query_params == {"device": "raspberry-pi-5"}


def test_engine_and_basis_filter(page: AppTest) -> None:
    reset(page)
    page.selectbox(key="evidence_engine").set_value("executorch")
    page.selectbox(key="evidence_basis").set_value("fitted").run()
    judged, _ = kept()
    wanted = [j for j in judged if (j.row.runtime, j.basis) == ("executorch", "fitted")]
    assert figures(page)["Measurements"] == str(len(wanted))
    assert len(wanted) > 5


def test_a_device_without_measurements_says_so(page: AppTest) -> None:
    reset(page)
    measured = {j.row.device for phase in kept() for j in phase}
    without = next(name for name in load_devices() if name not in measured)
    page.selectbox(key="evidence_device").set_value(without).run()
    assert not figures(page)
    assert "no such published measurement" in page.info[0].value
    assert any(load_devices()[without].title in str(m.value) for m in page.markdown)


def test_everything_can_be_taken_along(page: AppTest) -> None:
    page.session_state["evidence_rows"] = True  # folded again where there was nothing to show
    reset(page)
    assert [b.label for b in page.download_button] == ["These rows (CSV)", "Counts (CSV)"]
    counts = page.dataframe[1].value
    assert (counts["difference"] == counts["calculated"] - counts["published"]).all()
    assert len(counts) == sum(row.params_published is not None for row in models().values()) > 30


_OPEN = """
import sys
from streamlit.testing.v1 import AppTest
page = AppTest.from_file(sys.argv[1], default_timeout=600).run()
assert not page.exception
print(*sorted({"pandas", "scipy", "torch"} & set(sys.modules)))
"""


def test_the_page_opens_without_what_takes_a_second_to_import(root: Path) -> None:
    file = root / "explorer" / "pages" / "evidence" / "page.py"
    ran = subprocess.run(
        [sys.executable, "-c", _OPEN, str(file)], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == []
