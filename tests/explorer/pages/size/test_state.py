"""The size page's state: every slider moves its own field, and what no slider moved stays as it was."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from explorer.pages.size.state import STATE, chosen_architecture, request_of, shortest, slider_values
from explorer.widgets.model_source import start_of
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.registry import models
from sizer.request import EstimateRequest

MOVES: dict[str, tuple[Any, str, Any]] = {
    "layers": (12, "num_layers", 12),
    "width": (640, "hidden_size", 640),
    "ffn": (1024, "intermediate_size", 1024),
    "heads": (12, "num_heads", 12),
    "kv_heads": (1, "num_kv_heads", 1),
    "head_dim": (128, "head_dim", 128),
    "vocabulary": (32_000, "vocab_size", 32_000),
    "tied": (False, "tie_embeddings", False),
    "sharing": ("reverse", "sharing", LayerSharing(strategy=SharingStrategy.REVERSE, repeat=2)),
}


def test_unshared_ends_move_with_the_middle(smollm2: Architecture) -> None:
    values = STATE.from_address({}) | {"sharing": "middle", "ends": 3}
    moved = chosen_architecture(start_of(values), values)
    assert moved.sharing == LayerSharing(strategy=SharingStrategy.MIDDLE, repeat=2, ends=3)
    assert moved.executed_layers == 2 * smollm2.num_layers - 6
    request = shortest(request_of(values), values)
    assert (request.sharing, request.repeat, request.ends) == ("middle", 2, 3)


@pytest.mark.parametrize("key", MOVES)
def test_a_slider_moves_its_field_and_no_other(smollm2: Architecture, key: str) -> None:
    value, field, expected = MOVES[key]
    values = STATE.from_address({}) | {key: value}
    moved = chosen_architecture(start_of(values), values)
    assert getattr(moved, field) == expected
    same = [f.name for f in fields(Architecture) if f.name not in (field, "name")]
    assert all(getattr(moved, name) == getattr(smollm2, name) for name in same)
    assert moved.name == "custom"
    assert STATE.to_address(values) == {key: str(value)}
    assert STATE.from_address(STATE.to_address(values)) == values


def test_of_a_mixture_the_slider_moves_each_expert() -> None:
    values = STATE.from_address({"model": "Qwen1.5-MoE-A2.7B", "ffn": "1024"})
    moved = chosen_architecture(start_of(values), values)
    known = models()["Qwen1.5-MoE-A2.7B"].architecture
    assert moved.moe_intermediate_size == 1024
    assert moved.intermediate_size == known.intermediate_size


@pytest.mark.parametrize("name", models())
def test_a_shape_beyond_the_sliders_is_not_cut_down(name: str) -> None:
    """128 layers, odd widths: sliders stop at their ends, the shape does not."""
    known = models()[name].architecture
    values = STATE.from_address({"model": name})
    assert chosen_architecture(start_of(values), values) == known
    assert {key: values[key] for key in slider_values(known)} == slider_values(known)
    assert STATE.to_address(values) == ({} if name == "SmolLM2-135M" else {"model": name})


def test_a_count_is_that_of_the_command_line() -> None:
    values = STATE.from_address({"start": "a parameter count", "count": "30M"})
    asked = EstimateRequest(params="30M", format=values["format"])
    assert start_of(values) == asked.chosen_architecture()[0]
    assert STATE.to_address(values) == {"start": "a parameter count", "count": "30M"}
