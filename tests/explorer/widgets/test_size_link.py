"""Links to the size page: what goes in comes out, for every known model and any shape."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given

from explorer.pages.size.state import STATE, request_of
from explorer.widgets.deployment import CACHE, DEVICE, FORMAT, NO_DEVICE, RUNTIME
from explorer.widgets.onward import address
from explorer.widgets.size_link import size_query, whole_query
from sizer.architecture import Architecture
from sizer.devices.catalogue import device
from sizer.errors import InvalidQuantity, UnknownName
from sizer.registry import models
from sizer.request import EstimateRequest
from sizer.runtimes import RUNTIME_NAMES, runtime
from tests.strategies import any_architectures


def opened(query: dict[str, Any]) -> EstimateRequest:
    """The estimate that the page asks for at an address."""
    return request_of(STATE.from_address(query))


@pytest.mark.parametrize("name", models())
def test_a_known_model_goes_by_its_name(name: str) -> None:
    query = size_query(models()[name].architecture, format="Q8_0", device="raspberry-pi-5")
    assert set(query) <= {"model", "format"}
    shown = opened(query)
    assert shown.architecture == models()[name].architecture
    assert shown.architecture.name == name
    assert shown.format == "Q8_0"


@given(any_architectures())
def test_any_shape_comes_back_through_an_address(architecture: Architecture) -> None:
    query = size_query(architecture, format="q8_0", device=device("iphone-15-pro"), context_tokens=4096)
    _, _, text = address("size", query).partition("?")
    assert dict(parse_qsl(text)) == query
    assert opened(whole_query(query)) == opened(query)
    request = opened(query)
    assert request.architecture == architecture
    assert (request.format, request.device, request.context) == ("Q8_0", "iphone-15-pro", 4096)
    # and the page's own address gives the same request
    assert opened(STATE.to_address(STATE.from_address(query))) == request


@pytest.mark.parametrize("engine", RUNTIME_NAMES)
def test_every_engine_format_and_cache(smollm2: Architecture, engine: str) -> None:
    for name in runtime(engine).formats:
        for cache in runtime(engine).cache_types:
            query = size_query(smollm2, format=name, runtime=engine, cache_type=cache)
            values = STATE.from_address(query)
            assert [values[control.key] for control in (RUNTIME, FORMAT, CACHE)] == [engine, name, cache]
            assert STATE.to_address(values) == query


def test_what_is_first_is_not_said(smollm2: Architecture) -> None:
    assert size_query(smollm2, format="Q4_K_M", device="raspberry-pi-5") == {}
    assert whole_query({})[DEVICE.key] == "raspberry-pi-5"
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
    values = STATE.from_address({"start": "by hand", "shape": shape})
    assert values["layers"] == 30
    assert STATE.to_address(values)["shape"] == shape
