"""The page "Design": what it lists is what `sizer solve --rank quality` and `estimate` say, and why not."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

import cli
from explorer.pages.design.inputs import (
    STATE,
    bytes_text,
    designed,
    pick_code,
    picked_row,
    search_command,
    search_query,
)
from explorer.pages.search.controls import SPACE
from explorer.pages.search.controls import STATE as SEARCH_STATE
from explorer.pages.search.request import SearchForm, request
from explorer.pages.size.state import STATE as SIZE_STATE
from explorer.pages.size.state import chosen_architecture
from explorer.widgets.model_source import start_of
from explorer.widgets.onward import address
from explorer.widgets.size_link import size_query, whole_query
from search.config.config import SearchConfig
from search.config.options import OPTIONS, values_of
from search.space.sized_shapes import DesignQuery
from sizer.budget import Limits
from sizer.units import format_bytes, format_bytes_binary, format_count, parse_bytes
from tests.explorer.app_pages import figures, links_of

# a small budget of one format: few shapes, soon sized
ASKED = {"max_size": "30MB", "formats": "Q4_K_M", "min_decode": "100", "vocabulary": "16k"}
QUERY = DesignQuery(
    budget=Limits(max_size_bytes=30_000_000, min_decode_tokens_per_s=100.0),
    device="raspberry-pi-5",
    vocab_size=16_000,
)
COMMAND = (
    "solve --device raspberry-pi-5 --max-size 30MB --min-decode 100 --vocab-size 16000 --rank quality --json"
)


@pytest.fixture
def page(root: Path) -> AppTest:
    """The page, not yet run: a test may first give it an address."""
    return AppTest.from_file(str(root / "explorer" / "pages" / "design" / "page.py"), default_timeout=180)


def opened(page: AppTest, **query: str) -> AppTest:
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def command(line: str) -> dict[str, Any]:
    """What a command prints with --json."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main(shlex.split(line)) in (0, 1)
    found: dict[str, Any] = json.loads(printed.getvalue())
    return found


@pytest.fixture(scope="module")
def solved() -> dict[str, Any]:
    """Return the command line's answer for the same budget."""
    return command(COMMAND)


def test_the_best_are_the_command_lines(page: AppTest, solved: dict[str, Any]) -> None:
    shown = opened(page, **ASKED).dataframe[0].value
    assert len(shown) == len(solved["estimates"]) == len(solved["law"]) == 10
    for number, (sized, law) in enumerate(zip(solved["estimates"], solved["law"], strict=True)):
        line = shown.iloc[number]
        a = sized["architecture"]
        shape = (
            f"{a['num_layers']} x {a['hidden_size']}, {a['num_heads']} query / {a['num_kv_heads']} KV heads"
        )
        assert (line["shape"], line["FFN size"], line["format"]) == (shape, a["intermediate_size"], "Q4_K_M")
        assert line["file"] == sized["weights"]["file_bytes"] <= 30_000_000
        assert line["memory"] == sized["memory"]["total_bytes"]
        assert line["parameters"] == sized["parameters"]["total"]
        decode = sized["latency"]["decode_tokens_per_s"]["value"]
        assert line["decode, tokens/s"] == pytest.approx(decode, rel=1e-12)
        assert decode >= 100
        assert line["expected loss"] == law["loss_above"]
        assert law["low"] <= law["loss_above"] <= law["high"]
    assert f"{solved['feasible']:,} are within the budget" in page.caption[0].value


def test_the_first_is_shown_as_the_command_line_estimates_it(page: AppTest, solved: dict[str, Any]) -> None:
    opened(page, **ASKED)
    a = solved["estimates"][0]["architecture"]
    flags = " ".join(
        f"--{key.replace('_', '-')} {a[key]}"
        for key in (
            *("num_layers", "hidden_size", "intermediate_size", "num_heads"),
            *("num_kv_heads", "head_dim", "vocab_size"),
        )
    )
    sized = command(f"estimate {flags} --format Q4_K_M --device raspberry-pi-5 --json")
    shown = figures(page)
    assert shown["Parameters"] == format_count(sized["parameters"]["total"])
    assert shown["File"] == format_bytes(sized["weights"]["file_bytes"])
    assert shown["Memory"] == format_bytes_binary(sized["memory"]["total_bytes"])
    assert "Expected loss: the lowest" in page.markdown[0].value
    offered = [button.label for button in page.download_button]
    assert offered[-2:] == ["config.json", "Training plan (zip)"], offered
    reached = solved["quality"][0]
    assert len(reached) == 2
    for quality in reached:
        accuracy = quality["accuracy_8"]
        said = f"{accuracy['value']:.1f} % ({accuracy['low']:.1f} to {accuracy['high']:.1f})"
        assert said in page.markdown[1].value


def test_ranked_by_the_law_for_equal_training(page: AppTest) -> None:
    solved = command(COMMAND.replace("quality", "law"))
    shown = opened(page, **ASKED, rank="law").dataframe[0].value
    assert shown["expected loss"].tolist() == [law["loss_above"] for law in solved["law"]]
    assert not page.warning  # no shape chosen is unlike those of the tables


def test_an_address_chooses_a_shape_and_links_lead_on(page: AppTest) -> None:
    found = designed(QUERY)
    row = found.best(4)[3]
    architecture = found.architecture(row)
    opened(page, **ASKED, pick=pick_code(architecture, "Q4_K_M"))
    chosen = f"{architecture.num_layers} x {architecture.hidden_size}, "
    assert any(subheader.value.startswith(chosen) for subheader in page.subheader)
    links = links_of(page)
    query = size_query(architecture, format="Q4_K_M", device="raspberry-pi-5", context_tokens=2048)
    assert links["Open on Size"] == address("size", whole_query(query))
    values = SIZE_STATE.from_address(query)
    assert chosen_architecture(start_of(values), values) == architecture
    given = {
        name: values[-1] for name, values in parse_qs(urlsplit(links["Search this budget"]).query).items()
    }
    assert given == search_query(QUERY, 0)
    assert (given["max_size"], given["min_decode"], given["context"]) == ("30MB", "100", "2048")
    assert given["formats"] == ",".join(QUERY.formats)
    assert page.code[0].value == search_command(QUERY, 0)
    assert search_command(QUERY, 0).startswith(
        "sizer search run --device raspberry-pi-5 --max-size 30MB --min-decode 100 --"
    )


def test_every_limit_goes_to_the_search() -> None:
    full = replace(QUERY, budget=replace(QUERY.budget, max_size_bytes=None, max_memory_bytes=314_572_800))
    words = shlex.split(search_command(full, 1_234_567))
    assert words[3:11] == [
        *("--device", "raspberry-pi-5", "--max-size", "1234567B"),
        *("--max-memory", "300MiB", "--min-decode", "100"),
    ]


@pytest.mark.parametrize("size", ["4MB", "30MB", "300MB"])
@pytest.mark.parametrize("context", [2048, 4096])
def test_the_command_of_a_search_is_the_search_pages(size: str, context: int) -> None:
    """The command asks for what the page starts: context, formats, vocabulary, space and proxies too."""
    budget = replace(QUERY.budget, max_size_bytes=parse_bytes(size), max_memory_bytes=314_572_800)
    asked = replace(QUERY, budget=budget, context_tokens=context, formats=("Q4_K_M",))
    values = SEARCH_STATE.from_address(search_query(asked, 0))
    fields = {name: values.get(f"search_{name}") for name in SearchForm._fields}
    others = tuple((control.key.removeprefix("search_"), values[control.key]) for control in SPACE)
    form = SearchForm(**fields | {"others": others, "minutes": None, "study": "s"})
    page = request(form, Path.cwd()).config
    words = shlex.split(search_command(asked, 0))[3:]
    given: dict[str, Any] = {}
    for place, word in enumerate(words):
        name, has_value, value = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            option = OPTIONS[name.replace("-", "_")]
            given |= values_of(option, value if has_value else words[place + 1])
    assert SearchConfig().changed(**given).to_dict() == page.to_dict()
    assert (page.budget.context_tokens, page.space.vocab_size) == (context, (16_000,))


@pytest.mark.parametrize("value", [1, 999, 60_000_000, 314_572_800, 1_234_567, 3 * 2**30, 10**9])
def test_bytes_as_an_option_are_read_back(value: int) -> None:
    assert parse_bytes(bytes_text(value)) == value


def test_a_shape_in_an_address_that_is_not_feasible_is_left(page: AppTest) -> None:
    found = designed(QUERY)
    for code in (
        "Q4_K_Mx96x8192x24576x64x8x128",
        "Q9x2x64x192x2x1x32",
        "<script>",
        "Q4_K_Mx1x64x192x3x2x32",
        "x" * 999,
    ):
        assert picked_row(found, code) is None
    row = found.best(3)[2]
    assert picked_row(found, pick_code(found.architecture(row), "Q4_K_M")) == row
    opened(page, **ASKED, pick="<script>alert(1)</script>")
    assert len(page.dataframe[0].value) == 10


def test_depths_are_filtered(page: AppTest) -> None:
    opened(page, **ASKED).number_input(key="design_most").set_value(4).run()
    shapes = page.dataframe[0].value["shape"]
    assert len(shapes)
    assert all(int(shape.split(" x ")[0]) <= 4 for shape in shapes)
    page.number_input(key="design_least").set_value(9).run()
    assert not page.exception
    assert page.info[0].value == "No shape within the budget has 9 to 4 layers."


def test_every_axis_is_drawn(page: AppTest) -> None:
    opened(page, **ASKED)
    for axis in page.selectbox(key="design_axis").options:
        assert axis
    for name in ("memory", "decode", "parameters", "depth", "width"):
        page.selectbox(key="design_axis").set_value(name).run()
        assert not page.exception
    page.selectbox(key="design_device").set_value("none")
    page.text_input(key="design_min_decode").set_value("").run()
    assert not page.exception
    assert page.selectbox(key="design_axis").value == "width"
    assert "decode speed (tokens/s)" not in page.selectbox(key="design_axis").options


def test_nothing_fits_says_which_limit_binds(page: AppTest) -> None:
    opened(page, **ASKED | {"max_size": "1MB"})
    assert "the smallest breaks it: file" in page.warning[0].value.replace("\\", "")
    assert "without the limit on file some would fit" in page.warning[0].value
    assert "of its weights are the embedding of 16,000 tokens" in page.warning[0].value
    assert "a smaller vocabulary" in page.caption[-1].value
    assert not page.dataframe
    page.text_input(key="design_max_size").set_value("30MB")
    page.text_input(key="design_min_decode").set_value("1e7").run()
    assert "without the limit on decode some would fit" in page.warning[0].value


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_size", "<script>", "Max file size: cannot read"),
        ("max_memory", "much", "Memory limit: cannot read 'much'"),
        ("min_decode", "<b>fast</b>", "must be a number above 0"),
        ("min_decode", "nan", "must be a number above 0"),
        ("vocabulary", "1", "vocabulary: must be from 2 to 1,000,000, got '1'"),
        ("context", "16", None),
    ],
)
def test_what_cannot_be_read_is_one_line(page: AppTest, field: str, value: str, message: str | None) -> None:
    opened(page, **ASKED | {field: value})
    if message is None:
        assert not page.error
        return
    assert len(page.error) == 1
    assert message in page.error[0].value.replace("\\", "")
    assert not figures(page)


def test_no_limit_at_all_is_refused(page: AppTest) -> None:
    opened(page, max_size="", device="none")
    assert "there is no limit to fill" in page.error[0].value
    page.text_input(key="design_min_decode").set_value("30").run()
    assert "choose a device" in page.error[0].value


def test_a_device_of_unknown_speed(page: AppTest) -> None:
    opened(page, max_size="5MB", vocabulary="256", formats="Q4_0", device="browser-wasm32", min_decode="10")
    assert "The speed of this device" in page.warning[0].value
    assert "decode, tokens/s" not in page.dataframe[0].value


def test_another_engine_is_sized_one_by_one(page: AppTest) -> None:
    opened(page, max_size="5MB", vocabulary="256", engine="mlx", device="iphone-15-pro")
    assert page.multiselect(key="design_formats").value == ["4bit"]
    assert any("one by one" in caption.value for caption in page.caption)
    assert len(page.dataframe[0].value)


def test_a_link_opens_the_same_page(page: AppTest, root: Path) -> None:
    opened(page, **ASKED)
    page.selectbox(key="design_axis").set_value("depth")
    page.number_input(key="design_least").set_value(3).run()
    again = AppTest.from_file(str(root / "explorer" / "pages" / "design" / "page.py"), default_timeout=180)
    for key, values in page.query_params.items():
        again.query_params[key] = values
    again.run()
    assert again.dataframe[0].value.equals(page.dataframe[0].value)
    assert all(again.session_state[c.key] == page.session_state[c.key] for c in STATE.controls)
