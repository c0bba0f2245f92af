"""The space of a search on its page: every field has a place in the order of the form, and a line says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from explorer.pages.search.controls import SPACE
from explorer.pages.search.space import space_text
from search.config.config import SearchConfig
from tests.explorer.app_pages import search_page


def test_the_space_in_a_line() -> None:
    assert space_text(SearchConfig()) == (
        "2 to 24 layers, hidden size 32 to 1,024, vocabulary 256, 9 formats, with and without block sharing"
    )
    asked: dict[str, Any] = {
        "formats": ("Q8_0",),
        "sharing": ("none",),
        "min_executed_layers": 4,
        "max_executed_layers": 4,
    }
    one = SearchConfig.build(**asked, vocab_size=(512, 4096), tokenizer="bpe")
    assert space_text(one) == (
        "4 layers, hidden size 32 to 1,024, vocabulary 512 or 4,096, Q8_0, without block sharing"
    )


def test_ends_of_a_range_stand_side_by_side_and_the_line_is_shown(root: Path, folder: Path) -> None:
    page = search_page(root).run()
    labels = [field.label for field in page.text_input]
    for low, high in (("Min layers", "Max layers"), ("Min hidden size", "Max hidden size")):
        assert labels.index(high) == labels.index(low) + 1
    assert {control.label for control in SPACE} <= set(labels)
    assert any(caption.value.startswith("Space: 2 to 24 layers") for caption in page.caption)
