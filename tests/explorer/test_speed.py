"""A moved slider shows its figures at once: what the page's script takes of the processor."""

from __future__ import annotations

import pytest

from benchmarks.explorer import VIEWS, script_seconds

LIMIT_S = 0.3


@pytest.mark.timing
@pytest.mark.parametrize("view", VIEWS)
def test_the_size_page_is_drawn_within_300_ms(view: str) -> None:
    # of the processor: other work on the machine is not the page's
    assert script_seconds(view, moves=5)[1] <= LIMIT_S
