"""The page "Size a model": it shows the figures of estimate(), whatever is set."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer.widgets.size_link import size_query
from reports.text.wording import NOT_KNOWN, energy_text, rate_text
from sizer.advice import alignment_advice, sensitivities
from sizer.architecture import Architecture
from sizer.devices.catalogue import device
from sizer.errors import SizerError
from sizer.model_estimate import Estimate, estimate
from sizer.registry import models
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.sweeps import over_context, over_formats
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds
from sizer.workload import Workload
from tests.explorer.app_pages import figures, rows, text

Sizer = Callable[..., Any]


@pytest.fixture
def page(root: Path) -> AppTest:
    """The page as it opens."""
    return AppTest.from_file(str(root / "explorer" / "pages" / "size" / "page.py"), default_timeout=120).run()


def shown(page: AppTest) -> dict[str, str]:
    """Headline figures by label; the page must not have failed."""
    assert not page.exception
    assert not page.error
    return figures(page)


def caption(page: AppTest) -> str:
    return unescaped(str(page.caption[0].value))


def unescaped(markdown: str) -> str:
    """Text as a person reads it: without the strokes that keep Markdown from it."""
    return re.sub(r"\\(.)", r"\1", markdown)


def errors(page: AppTest) -> list[str]:
    """Errors as a person reads them."""
    assert not page.exception
    return [unescaped(str(error.value)) for error in page.error]


def check(page: AppTest, sized: Estimate) -> None:
    figures = shown(page)
    assert figures["Parameters"] == format_count(sized.parameters.total)
    assert figures["File"] == format_bytes(sized.file.total)
    assert figures["Memory"] == format_bytes_binary(sized.memory.total_bytes)
    if sized.latency is None:  # an engine that does not run on the device
        assert figures["Decode, tokens/s"] == NOT_KNOWN
        return
    assert float(figures["Decode, tokens/s"].replace(",", "")) == pytest.approx(
        sized.latency.decode_tokens_per_s.value, rel=0.01
    )
    assert figures[f"TTFT, {sized.workload.prompt_tokens:,}-token prompt"] == format_seconds(
        sized.latency.time_to_first_token_s.value
    )


def test_opens_on_a_known_model(page: AppTest, smollm2: Architecture) -> None:
    check(page, estimate(architecture=smollm2, format="Q4_K_M", device=device("raspberry-pi-5")))
    assert "(134,515,008) parameters" in caption(page)
    assert not page.query_params


def test_every_known_model_is_shown_exactly(page: AppTest) -> None:
    for name, row in models().items():
        page.selectbox(key="model").set_value(name).run()
        if errors(page):
            # the command line gives the same error
            with pytest.raises(SizerError, match=re.escape(errors(page)[0])):
                estimate(architecture=row.architecture, format="Q4_K_M")
            continue
        expected = estimate(architecture=row.architecture, format="Q4_K_M").parameters.total
        assert f"({expected:,}) parameters" in caption(page), name
        assert caption(page).startswith(f"{name}: ")


@pytest.mark.parametrize("engine", [name for name in RUNTIME_NAMES if name != "llama.cpp"])
def test_every_engine_has_its_own_formats_and_cache(
    page: AppTest, smollm2: Architecture, engine: str
) -> None:
    page.selectbox(key="engine").set_value(engine).run()
    known = runtime(engine)
    chosen = page.selectbox(key="format").value
    assert chosen in known.formats
    assert tuple(page.selectbox(key="format").options) == known.formats
    assert tuple(page.selectbox(key="cache").options) == known.cache_types
    check(
        page,
        estimate(architecture=smollm2, format=chosen, runtime=engine, device=device("raspberry-pi-5")),
    )
    page.selectbox(key="engine").set_value("llama.cpp").run()
    assert page.selectbox(key="format").value == "Q4_K_M"


def test_format_device_context_and_cache(page: AppTest, smollm2: Architecture) -> None:
    page.selectbox(key="format").set_value("Q8_0")
    page.selectbox(key="device").set_value("iphone-15-pro")
    page.number_input(key="context").set_value(8192)
    page.selectbox(key="cache").set_value("Q8_0").run()
    check(
        page,
        estimate(
            architecture=smollm2,
            format="Q8_0",
            device=device("iphone-15-pro"),
            workload=Workload(context_tokens=8192, cache_type="Q8_0"),
        ),
    )


def test_a_slider_changes_the_count(page: AppTest) -> None:
    before = shown(page)["Parameters"]
    page.slider(key="layers").set_value(15).run()
    # SmolLM2-135M: 28,311,552 embedding, 576 in the last norm, 3,540,096 a block; 15 blocks are left
    assert "(81,413,568) parameters" in caption(page)
    assert caption(page).startswith("custom: 15 x 576")
    assert shown(page)["Parameters"] != before


def test_the_feed_forward_width_follows_the_width(page: AppTest) -> None:
    page.slider(key="width").set_value(768).run()
    assert page.number_input(key="ffn").value == 2048
    page.number_input(key="ffn").set_value(1024).run()
    page.slider(key="width").set_value(384).run()
    assert page.number_input(key="ffn").value == 512


def test_heads_keep_to_whole_groups(page: AppTest) -> None:
    page.slider(key="heads").set_value(8).run()
    # of 1, 2, 4 and 8 the nearest to 3 in ratio
    assert page.slider(key="kv_heads").value == 4
    shown(page)


def test_a_parameter_count(page: AppTest) -> None:
    page.selectbox(key="start").set_value("a parameter count").run()
    page.text_input(key="count").set_value("30M").run()
    count = int(caption(page).split("(")[1].split(")")[0].replace(",", ""))
    assert abs(count / 30e6 - 1) < 0.05
    page.text_input(key="count").set_value("thirty").run()
    assert errors(page) == [
        "parameters: cannot read 'thirty'; accepted: a number with K, M, B or T, such as 125M or 1.2B"
    ]


def test_a_shape_made_for_a_count_has_no_positions_to_exceed(page: AppTest) -> None:
    page.selectbox(key="start").set_value("a parameter count").run()
    page.number_input(key="context").set_value(8192).run()
    assert "positions" not in text(page)
    assert "tokens that fit the memory limit" in text(page)


def test_sharing_runs_blocks_again(page: AppTest) -> None:
    page.selectbox(key="sharing").set_value("immediate").run()
    assert "immediate x2" in caption(page)
    assert "(134,515,008) parameters" in caption(page)  # shared blocks are counted once
    view(page, "Assumptions")
    assert any("60 blocks in the file for 30 trained ones" in str(m.value) for m in page.markdown)


def test_no_device_no_speed(page: AppTest) -> None:
    page.selectbox(key="device").set_value("none").run()
    assert shown(page)["Decode, tokens/s"] == "-"
    assert "choose a device" in text(page)


def test_a_shape_that_cannot_be_is_one_line(page: AppTest) -> None:
    page.slider(key="kv_heads").set_value(2).run()
    assert not page.exception
    message = "num_heads must be a multiple of num_kv_heads, got num_heads 9 and num_kv_heads 2"
    assert errors(page) == [message]
    assert not figures(page)


def test_a_link_opens_the_same_page(page: AppTest, root: Path) -> None:
    page.selectbox(key="model").set_value("Qwen2.5-0.5B").run()
    page.slider(key="layers").set_value(20).run()
    page.toggle(key="tied").set_value(False).run()
    linked = AppTest.from_file(str(root / "explorer" / "pages" / "size" / "page.py"), default_timeout=120)
    for key, value in page.query_params.items():
        linked.query_params[key] = value
    linked.run()
    assert caption(linked) == caption(page)
    assert shown(linked) == shown(page)


@pytest.mark.parametrize(
    ("key", "value"),
    [("layers", "-3"), ("layers", "9999999"), ("layers", "²"), ("format", "<b>"), ("tied", "maybe")],
)
def test_a_bad_link_opens_on_first_values(root: Path, key: str, value: str) -> None:
    linked = AppTest.from_file(str(root / "explorer" / "pages" / "size" / "page.py"), default_timeout=120)
    linked.query_params[key] = value
    linked.run()
    assert "(134,515,008) parameters" in caption(linked)


def view(page: AppTest, name: str) -> AppTest:
    """The page turned to one of its views."""
    page.session_state["view"] = name
    return page.run()


def json_of(sizer: Sizer, command: str) -> dict[str, Any]:
    """What the command line answers to a copied command."""
    words = shlex.split(command)
    assert words[0] == "sizer"
    ran = sizer(*words[1:], "--json")
    assert ran.code in (0, 1), ran.err
    document: dict[str, Any] = ran.json
    return document


def figures_of(document: dict[str, Any]) -> dict[str, Any]:
    """All numbers of an estimate's document; names and notes may say how a shape was come by."""
    architecture = {key: value for key, value in document["architecture"].items() if key != "name"}
    return {k: v for k, v in document.items() if k != "assumptions"} | {"architecture": architecture}


SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "as it opens": {},
    "a model with sliders moved": {
        "selectbox": {"model": "Qwen2.5-0.5B", "sharing": "immediate", "device": "iphone-15-pro"},
        "slider": {"layers": 20},
        "toggle": {"tied": False},
        "number_input": {"context": 4096, "vocabulary": 151_000},
    },
    "another family": {"selectbox": {"model": "gemma-2-2b", "format": "Q8_0", "cache": "Q8_0"}},
    "experts": {"selectbox": {"model": "OLMoE-1B-7B-0924"}, "number_input": {"ffn": 512}},
    "layers that differ": {"selectbox": {"model": "LFM2-350M", "device": "none"}},
    "another engine": {"selectbox": {"engine": "mlx", "device": "iphone-15-pro"}},
    "a small context": {"number_input": {"context": 100}},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_the_copied_command_and_script_give_the_pages_numbers(
    page: AppTest, sizer: Sizer, root: Path, case: str
) -> None:
    settings = dict(SETTINGS[case])
    first = settings.get("selectbox", {}).get("model")
    if first:  # another model resets the sliders
        page.selectbox(key="model").set_value(first).run()
    for kind, values in settings.items():
        for key, value in values.items():
            getattr(page, kind)(key=key).set_value(value)
    view(page, "Link and code")
    command, script = (block.value for block in page.code)
    document = json_of(sizer, command)
    figures = shown(page)
    assert figures["Parameters"] == format_count(document["parameters"]["total"])
    assert figures["File"] == format_bytes(document["weights"]["file_bytes"])
    assert figures["Memory"] == format_bytes_binary(document["memory"]["total_bytes"])
    assert f"({document['parameters']['total']:,}) parameters" in caption(page)
    decode = document["latency"]["decode_tokens_per_s"]
    assert figures["Decode, tokens/s"] == (rate_text(decode["value"]) if decode else "-")
    energy = document["energy"]
    assert figures["Energy per token"] == (
        energy_text(energy["joules_per_token"]["value"]) if energy else "-"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert figures_of(json.loads(ran.stdout)) == figures_of(document)


def test_a_parameter_count_is_copied_as_one(page: AppTest, sizer: Sizer) -> None:
    page.selectbox(key="start").set_value("a parameter count").run()
    view(page, "Link and code")
    command = page.code[0].value
    assert command == "sizer estimate --params 125M --format Q4_K_M --device raspberry-pi-5"
    total = json_of(sizer, command)["parameters"]["total"]
    assert f"({total:,}) parameters" in caption(page)


def paste(page: AppTest, text: str) -> AppTest:
    page.selectbox(key="start").set_value("a config or GGUF file").run()
    return page.text_area(key="pasted").set_value(text).run()


@pytest.mark.parametrize("name", ["OpenELM-450M", "bloom-1b7", "Qwen1.5-MoE-A2.7B", "gemma-3-4b-text"])
def test_a_pasted_config_of_any_family(page: AppTest, sizer: Sizer, root: Path, name: str) -> None:
    paste(page, json.dumps(dict(models()[name].config)))
    expected = estimate(architecture=models()[name].architecture, format="Q4_K_M").parameters.total
    assert f"({expected:,}) parameters" in caption(page)
    # the address alone brings it back, and so does the command
    linked = AppTest.from_file(str(root / "explorer" / "pages" / "size" / "page.py"), default_timeout=120)
    linked.query_params.update(page.query_params)
    assert f"({expected:,}) parameters" in caption(linked.run())
    command = view(page, "Link and code").code[0].value
    assert "shape:" in command
    assert json_of(sizer, command)["parameters"]["total"] == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "model: 'the pasted text' is not JSON"),
        ('{"model_type": "<script>alert(1)</script>"}', "unknown model_type '<script>alert(1)</script>'"),
        ("![x](http://example.com/x.png)", "model: 'the pasted text' is not JSON"),
    ],
)
def test_what_cannot_be_read_is_one_line(page: AppTest, text: str, error: str) -> None:
    paste(page, text)
    assert len(errors(page)) == 1
    assert errors(page)[0].startswith(error)
    assert not figures(page)
    assert "Paste a config.json" in page.info[0].value
    # the next text is read as if nothing had been
    page.text_area(key="pasted").set_value(json.dumps(dict(models()["pythia-70m"].config))).run()
    assert not errors(page)
    assert "(70,426,624) parameters" in caption(page)


def test_a_name_cannot_be_markup(root: Path, smollm2: Architecture) -> None:
    evil = "<script>alert(1)</script> ![x](http://example.com/x.png) :red[x]"
    query = size_query(replace(smollm2, name=evil, num_layers=2), format="Q8_0")
    linked = AppTest.from_file(str(root / "explorer" / "pages" / "size" / "page.py"), default_timeout=120)
    linked.query_params.update(query)
    linked.run()
    text = str(linked.caption[0].value)
    for piece in ("\\<script\\>", "!\\[x\\]", "\\:red\\["):
        assert piece in text
    assert "<script>" not in text
    assert not re.search(r"(?<!\\)[\[\]<>]", text.split(" parameters")[0])
    # the table of all figures is HTML
    html = "".join(str(block.proto.body) for block in linked.get("html"))
    assert "&lt;script&gt;" in html
    assert "<script" not in html


def test_by_hand_goes_on_from_what_was_shown(page: AppTest) -> None:
    page.selectbox(key="model").set_value("gemma-2-2b").run()
    page.selectbox(key="start").set_value("by hand").run()
    assert "(2,614,341,888) parameters" in caption(page)
    assert caption(page).startswith("custom")
    page.slider(key="layers").set_value(25).run()
    assert "(2,614,341,888) parameters" not in caption(page)
    assert not errors(page)


def test_changes_and_curves_are_those_of_the_calculator(page: AppTest, smollm2: Architecture) -> None:
    view(page, "Sensitivity")
    drawn = rows(page)
    sized = estimate(architecture=smollm2, format="Q4_K_M", device=device("raspberry-pi-5"))
    for change in sensitivities(sized):
        assert (change.name, f"+{format_count(change.parameters)}") in [row[:2] for row in drawn]
    shown_advice = "".join(str(block.value) for block in page.markdown).replace("\\", "")
    for advice in alignment_advice(sized):
        assert advice in shown_advice
    view(page, "Context")
    shown_text = text(page)
    for point in over_context(sized):
        assert f"{point.context_tokens:,} tokens: {format_bytes_binary(point.memory_bytes)}, KV" in shown_text
    view(page, "Formats")
    shown_text = text(page)
    for row in over_formats(sized):
        assert f"{row.format}: {format_bytes(row.file_bytes)}, {row.bits_per_weight:.2f} bits" in shown_text
        assert row.decode_tokens_per_s is not None
        assert f"{row.format}: {rate_text(row.decode_tokens_per_s.value)} tokens/s" in shown_text


def test_what_binds_is_said(page: AppTest) -> None:
    assert any("Largest part of a decoding step: reading weights" in str(m.value) for m in page.markdown)
    page.selectbox(key="device").set_value("none").run()
    assert any("Choose a device" in str(caption.value) for caption in page.caption)


def test_a_model_that_the_runtime_cannot_run_shows_its_count_and_the_reason(page: AppTest) -> None:
    page.selectbox(key="model").set_value("opt-1.3b").run()
    figures = shown(page)
    assert figures["Parameters"] == "1.316B"
    assert figures["File"] == figures["Memory"] == "-"
    assert not errors(page)
    page.selectbox(key="engine").set_value("transformers").run()
    assert shown(page)["File"] != "-"
