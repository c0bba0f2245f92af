"""Models against devices as tables: the pairs in order, rows sorted and kept, cells as they are written."""

from __future__ import annotations

import pytest

from reports.tables.compare import FIGURES, KEPT, Order, chosen_rows, comparison_frame, matrix_style
from sizer.comparison import Comparison, compare
from sizer.devices.catalogue import device
from sizer.errors import InvalidQuantity
from sizer.registry import model

NAMES = ("Qwen2.5-0.5B", "SmolLM2-135M", "Llama-2-7B")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Three models on a phone, a board and a laptop of which no memory limit is known."""
    devices = [device(name) for name in ("iphone-15-pro", "raspberry-pi-5", "laptop-ddr5-4800")]
    return compare([model(name).architecture for name in NAMES], devices, format="Q4_K_M")


def test_a_line_a_pair(comparison: Comparison) -> None:
    frame = comparison_frame(comparison)
    assert list(frame["model"]) == [name for name in NAMES for _ in range(3)]
    assert list(frame["device"]) == list(comparison.devices) * 3
    assert list(frame["fits"]) == [True, True, None, True, True, None, False, True, None]
    known = frame[frame["fits"] != False]  # noqa: E712
    assert (known["decode_tokens_per_s_low"] < known["decode_tokens_per_s"]).all()


def test_rows_are_kept_by_what_fits(comparison: Comparison) -> None:
    kept = {k: chosen_rows(comparison, figure="load_s", order=Order("as chosen"), keep=k) for k in KEPT}
    assert kept["all"] == (0, 1, 2)
    assert kept["fit every device"] == (0, 1)
    assert kept["fit some device"] == (0, 1, 2)  # the last fits the board
    assert kept["fit no device"] == ()


@pytest.mark.parametrize("figure", FIGURES)
def test_rows_are_sorted(comparison: Comparison, figure: str) -> None:
    small_first = (1, 0, 2)
    for order in (Order("file"), Order("memory"), Order("parameters"), Order("figure", "raspberry-pi-5")):
        # a small model is the better one in each of the figures
        assert chosen_rows(comparison, figure=figure, order=order, keep="all") == small_first
    unknown = Order("figure", "toaster")
    assert chosen_rows(comparison, figure=figure, order=unknown, keep="all") == (0, 1, 2)


def test_cells(comparison: Comparison) -> None:
    html = matrix_style(comparison, (2, 1), "decode_tokens_per_s").to_html()
    assert html.index("Llama-2-7B") < html.index("SmolLM2-135M")
    assert "Qwen" not in html
    for text in ("✗ ", "✓ ", "? ", "134.5M", "105.5 MB"):
        assert text in html, text
    cell = comparison.rows[1][1]
    assert cell.latency is not None
    assert f"✓ {cell.latency.decode_tokens_per_s.value:.1f} (" in html


def test_a_model_is_named() -> None:
    with pytest.raises(InvalidQuantity, match="models: name at least one"):
        compare([], [], format="Q4_K_M")
