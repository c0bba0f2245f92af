"""An estimate's page: the numbers of the text and the JSON document, escaped, whole, without the network."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from reports.figures.speed import speed_figure, speed_info
from reports.html.estimate_page import estimate_html, write_estimate
from reports.text.estimate import estimate_sections
from sizer.architecture import Architecture
from sizer.devices.catalogue import device
from sizer.errors import InvalidFile
from sizer.model_estimate import Estimate, estimate
from sizer.prediction import Basis
from sizer.registry import model
from sizer.training import TrainingPlan, training_memory
from tests.reports.html.html_reader import HtmlReader


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize(
    ("name", "format_name", "target"),
    [
        ("SmolLM2-135M", "Q4_K_M", "raspberry-pi-5"),
        ("Qwen3-0.6B", "Q8_0", "iphone-15-pro"),
        ("MobileLLM-LS-125M", "TQ1_0", None),
    ],
)
def test_the_pages_numbers_are_the_documents(name: str, format_name: str, target: str | None) -> None:
    sized = estimate(
        architecture=model(name).architecture,
        format=format_name,
        device=device(target) if target else None,
    )
    document, found = sized.to_dict(), HtmlReader(estimate_html(sized))
    parameters = found.rows("Parameters")
    keys = {"embedding": "embedding", "attention": "attention", "FFN": "mlp", "norm": "norm"}
    for label, key in {**keys, "total": "total"}.items():
        assert number(parameters[label][0]) == document["parameters"][key]
    file = found.rows("File, ")
    assert number(file["total"][0]) == document["weights"]["file_bytes"]
    for block_type, size in document["weights"]["bytes_by_type"].items():
        assert number(file[block_type][0]) == size
    memory = found.rows("Memory, ")
    assert number(memory["total"][0]) == document["memory"]["total_bytes"]
    assert ("fits" in memory) == (document["memory"]["fits"] is not None)
    if target is not None:
        speed = found.rows(f"Speed and energy on {target}")
        decode = document["latency"]["decode_tokens_per_s"]
        label = f"decode at {sized.workload.context_tokens:,} tokens"
        assert speed[label][0].split()[0] == f"{decode['value']:.3g}"
        assert speed[label][1].endswith(Basis(decode["basis"]).label)
    else:
        assert not any(title.startswith("Speed") for title in found.captions)


def test_the_pages_rows_are_the_texts(worked_out: Estimate) -> None:
    found = HtmlReader(estimate_html(worked_out))
    for section in estimate_sections(worked_out):
        rows = {row.label: (row.value, row.remark) for row in section.rows}
        assert found.rows(section.title) == rows


def test_training_is_a_table_of_its_own(smollm2: Architecture) -> None:
    sized = estimate(architecture=smollm2, format="Q4_K_M")
    trained = training_memory(smollm2, TrainingPlan(batch_size=1, sequence_tokens=256))
    rows = HtmlReader(estimate_html(sized, training=trained)).rows("Training, ")
    assert number(rows["total"][0]) == trained.total_bytes


def test_everything_is_escaped(worked_out: Estimate) -> None:
    evil = "</title><script>alert(1)</script>"
    named = replace(
        worked_out,
        shape=replace(worked_out.architecture, name=evil),
        assumptions=(evil,),
    )
    page = estimate_html(named, arguments=("estimate", evil))
    clean = estimate_html(worked_out, arguments=("estimate", "x"))
    assert page.count("<script") == clean.count("<script")
    assert "alert(1)" in page


def test_the_command_is_said_without_the_machines_folders(worked_out: Estimate) -> None:
    arguments = ("estimate", "--config", "/home/me/secret dir/config.json", "--device=/secret/pi.toml")
    page = unescape(estimate_html(worked_out, arguments=arguments))
    assert "sizer estimate --config config.json --device=pi.toml" in page
    assert "secret" not in page


def test_needs_nothing_from_the_network(worked_out: Estimate) -> None:
    page = estimate_html(worked_out)
    assert "default-src 'none'" in page
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)=\"(https?:)?//", outside)


def test_speed_by_hand(worked_out: Estimate) -> None:
    info = speed_info(worked_out)
    assert info is not None
    # 712 with 0.6 to 1.6 times, and 3,120 likewise
    assert [row.label for row in info.rows] == [
        "decode<br>fitted to benchmarks",
        "prefill<br>from the data sheet",
    ]
    assert [row.text_on_right for row in info.rows] == [True, False]
    rates = [rate for row in info.rows for rate in (row.value, row.low, row.high)]
    assert rates == pytest.approx([712.0, 427.2, 1139.2, 3120.0, 1872.0, 4992.0])
    assert info.rows[0].text == "712 (427 to 1,139)"
    assert info.ticks == (500.0, 1000.0, 2000.0, 5000.0)
    assert speed_figure(info).layout.xaxis.type == "log"
    assert speed_info(replace(worked_out, latency=None)) is None


def test_it_is_written_whole_or_not_at_all(worked_out: Estimate, tmp_path: Path) -> None:
    write_estimate(worked_out, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(InvalidFile, match=r"^html: cannot write '.*missing/page.html': No such file"):
        write_estimate(worked_out, tmp_path / "missing" / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_command_writes_it(
    sizer: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["estimate", "SmolLM2-135M", "--device", "raspberry-pi-5", "--html", "page.html", "--json"]
    monkeypatch.setattr("sys.argv", ["sizer", *line])
    ran = sizer(*line)
    assert (ran.code, ran.err) == (0, "page: page.html\n")  # type: ignore[attr-defined]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert number(HtmlReader(page).rows("Parameters")["total"][0]) == ran.json["parameters"]["total"]  # type: ignore[attr-defined]
    assert "<pre" in page
    assert "sizer estimate SmolLM2-135M --device raspberry-pi-5\n</pre>" in page
    ran = sizer("estimate", "SmolLM2-135M", "--html", "missing/page.html")
    assert ran.code == 2  # type: ignore[attr-defined]
    assert ran.err.startswith("error: html: cannot write 'missing/page.html'")  # type: ignore[attr-defined]
