"""Links to the size page: what goes in comes out, for every known model and any shape."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given

from explorer.link import size_link, size_query
from explorer.size_controls import DEVICE, NO_DEVICE
from explorer.size_state import chosen_architecture, estimate_inputs, query_of, start_of, values_of
from sizer.architecture import Architecture
from sizer.device import device
from sizer.errors import InvalidQuantity, UnknownName
from sizer.registry import models
from sizer.runtimes import RUNTIME_NAMES, runtime
from tests.strategies import any_architectures


def opened(query: dict[str, str]) -> tuple[Architecture, dict[str, Any]]:
    """What the page sizes at an address."""
    values = values_of(query)
    return chosen_architecture(start_of(values), values), estimate_inputs(values)


@pytest.mark.parametrize("name", models())
def test_a_known_model_goes_by_its_name(name: str) -> None:
    query = size_query(models()[name].architecture, format="Q8_0", device="raspberry-pi-5")
    assert set(query) <= {"model", "format"}
    architecture, inputs = opened(query)
    assert architecture == models()[name].architecture
    assert architecture.name == name
    assert inputs["format"] == "Q8_0"


@given(any_architectures())
def test_any_shape_comes_back_through_an_address(architecture: Architecture) -> None:
    query = size_query(architecture, format="q8_0", device=device("iphone-15-pro"), context_tokens=4096)
    _, _, text = size_link(query).partition("?")
    assert dict(parse_qsl(text)) == query
    again, inputs = opened(query)
    assert again == architecture
    assert (inputs["format"], inputs["device"].name) == ("Q8_0", "iphone-15-pro")
    assert inputs["workload"].context_tokens == 4096
    # and the page's own address says the same
    assert opened(query_of(values_of(query))) == (again, inputs)


@pytest.mark.parametrize("engine", RUNTIME_NAMES)
def test_every_engine_format_and_cache(smollm2: Architecture, engine: str) -> None:
    for name in runtime(engine).formats:
        for cache in runtime(engine).cache_types:
            query = size_query(smollm2, format=name, runtime=engine, cache_type=cache)
            _, inputs = opened(query)
            assert (inputs["runtime"], inputs["format"]) == (engine, name)
            assert inputs["workload"].cache_type == cache
            assert query_of(values_of(query)) == query


def test_what_is_first_is_not_said(smollm2: Architecture) -> None:
    assert size_query(smollm2, format="Q4_K_M", device="raspberry-pi-5") == {}
    assert size_link({}) == "/"
    assert size_query(smollm2, format="Q4_K_M") == {DEVICE.key: NO_DEVICE}


def test_what_the_page_cannot_show_is_an_error(smollm2: Architecture) -> None:
    with pytest.raises(InvalidQuantity, match="device: the size page cannot show 'my-board'"):
        size_query(smollm2, format="Q4_K_M", device="my-board")
    with pytest.raises(InvalidQuantity, match="context: the size page cannot show '5000000'"):
        size_query(smollm2, format="Q4_K_M", context_tokens=5_000_000)
    with pytest.raises(UnknownName, match="Q9"):
        size_query(smollm2, format="Q9")
    with pytest.raises(UnknownName, match="Q8_0"):
        size_query(smollm2, format="4bit", runtime="mlx", cache_type="Q8_0")


@pytest.mark.parametrize("shape", ["<script>alert(1)</script>", "hidden_size.64", "x" * 100_000])
def test_a_bad_shape_in_a_link_leaves_the_sliders_at_their_first_values(shape: str) -> None:
    values = values_of({"start": "by hand", "shape": shape})
    assert values["layers"] == 30
    assert query_of(values)["shape"] == shape
