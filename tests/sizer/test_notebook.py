"""Tables for notebooks: the document's figures, everything escaped, nothing heavy loaded to make them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from search.analysis.notebook import FrontierTable
from search.store.results import SearchResult
from sizer.architecture import Architecture, PositionKind
from sizer.devices.catalogue import device
from sizer.html_table import html_table
from sizer.model_estimate import estimate
from sizer.prediction import Basis


def cells(page: str) -> dict[str, list[str]]:
    """Cells by the heading of their row."""
    found = {}
    for heading, rest in re.findall(r"<th scope=\"row\"[^>]*>(.*?)</th>(.*?)</tr>", page):
        found[unescape(heading)] = [unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", rest)]
    return found


def test_an_estimate_in_a_notebook(smollm2: Architecture) -> None:
    sized = estimate(architecture=smollm2, format="Q4_K_M", device=device("raspberry-pi-5"))
    page, document = sized._repr_html_(), sized.to_dict()
    found = cells(page)
    assert found["parameters"] == ["134.5M", "134,515,008"]
    assert found["file"][1] == f"{document['weights']['bits_per_weight']:.2f} bits per weight"
    decode = document["latency"]["decode_tokens_per_s"]
    assert found["decode, tokens/s"][0] == f"{decode['value']:.3g}"
    assert found["decode, tokens/s"][1].endswith(Basis(decode["basis"]).label)
    assert "fits in" in found["memory"][1]
    assert "<caption>SmolLM2-135M, Q4_K_M for llama.cpp on raspberry-pi-5</caption>" in page


def test_without_a_device(smollm2: Architecture) -> None:
    found = cells(estimate(architecture=smollm2, format="Q4_K_M")._repr_html_())
    assert set(found) == {"shape", "parameters", "file", "memory"}


def test_a_study_in_a_notebook(result: SearchResult) -> None:
    page = FrontierTable(result)._repr_html_()
    found = cells(page)
    assert list(found) == ["12", "0", "1", "4", "5", "8", "10"]
    assert found["12"][:2] == ["3 x 160", "Q4_0"]
    assert found["12"][-1] == "2.5230 ± 0.0071"
    assert "7 of 11 trained models" in page


def test_an_empty_study_has_a_table_too(result: SearchResult) -> None:
    assert "0 of 0 trained models" in FrontierTable(replace(result, records=()))._repr_html_()


def test_names_are_escaped(smollm2: Architecture, result: SearchResult) -> None:
    evil = "<script>alert(1)</script>"
    named = estimate(architecture=replace(smollm2, name=evil), format="Q4_K_M")._repr_html_()
    study = FrontierTable(replace(result, study=evil, device=evil))._repr_html_()
    heading = html_table([evil], [[evil]], caption=evil)
    for page in (named, study, heading, html_table(["a", evil], [["b", evil]], caption="c")):
        assert "<script" not in page
        assert "&lt;script&gt;" in page


@pytest.mark.parametrize("bold", [(), (0,)])
def test_rows_and_marks(bold: tuple[int, ...]) -> None:
    page = html_table(["a", "b"], [["1", "x"], ["2", "y"]], caption="c", text_columns=["b"], bold_rows=bold)
    assert page.count('<tr class="bold">') == len(bold)
    assert page.count('scope="col"') == page.count('scope="row"') == 2


def test_a_row_that_does_not_fit_its_columns_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        html_table(["a", "b"], [["1"]], caption="c")


def test_an_estimates_table_loads_no_reports(root: Path) -> None:
    code = (
        "from sizer.model_estimate import estimate; from sizer.registry import model; import sys\n"
        "estimate(architecture=model('SmolLM2-135M').architecture, format='Q4_0')._repr_html_()\n"
        "print([m for m in ('reports', 'search', 'pandas', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_what_a_runtime_cannot_hold_shows_its_count_and_the_reason(smollm2: Architecture) -> None:
    other = replace(smollm2, position=PositionKind.ALIBI)
    found = cells(estimate(architecture=other, format="Q4_K_M")._repr_html_())
    assert set(found) == {"shape", "parameters", "weights", "memory"}
    assert "runs no model of this kind" in found["weights"][1]
