"""The page "Size a model": what it shows is what sizer.estimate says, whatever is set."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from sizer.architecture import Architecture
from sizer.device import device
from sizer.estimate import Estimate, estimate
from sizer.formats.gguf_layout import gguf_layout
from sizer.registry import models
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds
from sizer.workload import Workload


@pytest.fixture
def page(root: Path) -> AppTest:
    """The page as it opens."""
    return AppTest.from_file(str(root / "explorer" / "size.py"), default_timeout=30).run()


def shown(page: AppTest) -> dict[str, str]:
    """Headline figures by label; the page must not have failed."""
    assert not page.exception
    assert not page.error
    return {metric.label: metric.value for metric in page.metric}


def caption(page: AppTest) -> str:
    return str(page.caption[0].value)


def check(page: AppTest, sized: Estimate) -> None:
    assert sized.latency is not None
    figures = shown(page)
    assert figures["Parameters"] == format_count(sized.parameters.total)
    assert figures["File"] == format_bytes(sized.file.total)
    assert figures["Memory"] == format_bytes_binary(sized.memory.total_bytes)
    assert float(figures["Decode, tokens/s"].replace(",", "")) == pytest.approx(
        sized.latency.decode_tokens_per_s.value, rel=0.01
    )
    assert figures["First token"] == format_seconds(sized.latency.time_to_first_token_s.value)


def test_opens_on_a_known_model(page: AppTest, smollm2: Architecture) -> None:
    check(page, estimate(architecture=smollm2, format="Q4_K_M", device=device("raspberry-pi-5")))
    assert "(134,515,008) parameters" in caption(page)
    assert not page.query_params


def test_every_known_model_is_shown_exactly(page: AppTest) -> None:
    sizable = {
        name: row for name, row in models().items() if gguf_layout(row.architecture) in ("llama", "gptneox")
    }
    for name, row in sizable.items():
        page.selectbox(key="model").set_value(name).run()
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
    assert [error.value for error in page.error] == [
        "parameters: cannot read 'thirty'; accepted: a number with K, M, B or T, such as 125M or 1.2B"
    ]


def test_sharing_runs_blocks_again(page: AppTest) -> None:
    page.selectbox(key="sharing").set_value("immediate").run()
    assert "immediate x2" in caption(page)
    assert "(134,515,008) parameters" in caption(page)  # shared blocks are counted once
    assert any("60 blocks in the file for 30 trained ones" in str(m.value) for m in page.markdown)


def test_no_device_no_speed(page: AppTest) -> None:
    page.selectbox(key="device").set_value("none").run()
    assert shown(page)["Decode, tokens/s"] == "-"
    assert "choose a device" in [c.value for c in page.caption]


def test_a_shape_that_cannot_be_is_one_line(page: AppTest) -> None:
    page.slider(key="kv_heads").set_value(2).run()
    assert not page.exception
    assert [error.value for error in page.error] == [
        "num_heads must be a multiple of num_kv_heads, got num_heads 9 and num_kv_heads 2"
    ]
    assert not page.metric


def test_a_link_opens_the_same_page(page: AppTest, root: Path) -> None:
    page.selectbox(key="model").set_value("Qwen2.5-0.5B").run()
    page.slider(key="layers").set_value(20).run()
    page.toggle(key="tied").set_value(False).run()
    linked = AppTest.from_file(str(root / "explorer" / "size.py"), default_timeout=30)
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
    linked = AppTest.from_file(str(root / "explorer" / "size.py"), default_timeout=30)
    linked.query_params[key] = value
    linked.run()
    assert "(134,515,008) parameters" in caption(linked)
