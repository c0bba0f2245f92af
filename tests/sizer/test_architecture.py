"""Architecture: refused shapes, sharing orders, unrolling."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from sizer.architecture import Architecture, LayerSharing, MlpKind, SharingStrategy, parse_enum
from sizer.errors import InvalidArchitecture
from tests.strategies import architectures

SMALL = Architecture(
    vocab_size=32000,
    num_layers=3,
    hidden_size=576,
    intermediate_size=1536,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
)


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        (SharingStrategy.IMMEDIATE, (0, 0, 1, 1, 2, 2)),
        (SharingStrategy.REPEAT_ALL, (0, 1, 2, 0, 1, 2)),
        (SharingStrategy.REVERSE, (0, 1, 2, 2, 1, 0)),
    ],
)
def test_the_three_orders_of_mobilellm(strategy: SharingStrategy, order: tuple[int, ...]) -> None:
    assert LayerSharing(strategy=strategy, repeat=2).order(3) == order


MIDDLE = LayerSharing(strategy=SharingStrategy.MIDDLE, repeat=3, ends=1)


def test_the_middle_loops_and_the_ends_run_once() -> None:
    assert MIDDLE.order(4) == (0, 1, 2, 1, 2, 1, 2, 3)
    assert LayerSharing(strategy=SharingStrategy.MIDDLE, repeat=2, ends=2).order(5) == (0, 1, 2, 2, 3, 4)
    shared = replace(SMALL, num_layers=4, sharing=MIDDLE)
    assert shared.executed_layers == 8
    assert [MIDDLE.runs(layer, 4) for layer in range(4)] == [1, 3, 3, 1]
    assert (MIDDLE.stored(8), MIDDLE.runs_per_block(4), MIDDLE.text) == (4, 2, "middle x3 ends 1")
    assert shared.to_dict()["sharing"] == {"strategy": "middle", "repeat": 3, "ends": 1}


def test_ends_need_a_middle() -> None:
    with pytest.raises(
        InvalidArchitecture, match=r"sharing\.ends: 1 blocks at each end need num_layers of 3 or"
    ):
        replace(SMALL, num_layers=2, sharing=MIDDLE)
    for strategy, ends in ((SharingStrategy.MIDDLE, 0), (SharingStrategy.REVERSE, 1)):
        with pytest.raises(
            InvalidArchitecture, match=rf"sharing\.ends: {ends} with strategy '{strategy.value}'"
        ):
            LayerSharing(strategy=strategy, repeat=2, ends=ends)


def test_reverse_three_times_goes_there_back_and_there() -> None:
    assert LayerSharing(strategy=SharingStrategy.REVERSE, repeat=3).order(2) == (0, 1, 1, 0, 0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"num_kv_heads": 2},
            "num_heads must be a multiple of num_kv_heads, got num_heads 9 and num_kv_heads 2",
        ),
        ({"hidden_size": 0}, "hidden_size must be a whole number from 1 to 10000000, got 0"),
        ({"num_layers": 20_000}, "num_layers must be a whole number from 1 to 10000, got 20000"),
        ({"num_layers": True}, "num_layers must be a whole number from 1 to 10000, got True"),
        ({"vocab_size": 3.5}, "vocab_size must be a whole number"),
        ({"head_dim": 33}, "head_dim must be even for rotary positions, got 33"),
    ],
)
def test_refused_shapes_name_field_and_value(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        replace(SMALL, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("strategy", "repeat"), [("none", 2), ("immediate", 1), ("immediate", 0), ("reverse", 65)]
)
def test_refused_sharing(strategy: str, repeat: int) -> None:
    with pytest.raises(InvalidArchitecture, match="sharing"):
        LayerSharing(strategy=SharingStrategy(strategy), repeat=repeat)


def test_the_name_is_only_a_label() -> None:
    assert replace(SMALL, name="a") == replace(SMALL, name="b")


@pytest.mark.parametrize("text", ["repeat-all", "REPEAT_ALL", " Repeat-All "])
def test_enums_are_read_in_any_case(text: str) -> None:
    assert parse_enum(SharingStrategy, text, "sharing") is SharingStrategy.REPEAT_ALL
    assert parse_enum(MlpKind, "RELU2-gated", "mlp") is MlpKind.RELU2_GATED


def test_an_unknown_enum_lists_what_is_accepted() -> None:
    with pytest.raises(
        InvalidArchitecture, match="sharing: unknown value 'twice'; accepted: none, immediate"
    ):
        parse_enum(SharingStrategy, "twice", "sharing")


@given(architectures())
def test_unrolled_runs_as_many_layers_and_shares_none(architecture: Architecture) -> None:
    unrolled = architecture.unrolled()
    assert unrolled.num_layers == unrolled.executed_layers == architecture.executed_layers
    order = architecture.sharing.order(architecture.num_layers)
    assert len(order) == architecture.executed_layers
    assert architecture.sharing.stored(len(order)) == architecture.num_layers
    runs = [
        architecture.sharing.runs(block, architecture.num_layers) for block in range(architecture.num_layers)
    ]
    assert runs == [order.count(block) for block in range(architecture.num_layers)]
