"""Design: a lattice's numbers are estimate()'s, the budget is kept exactly, the law ranks what is left."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from search.quality.features import features_of
from search.quality.published import PublishedLaw
from search.space.design import SAME_SIZE, Design, design, lattice_query, tried_shapes
from search.space.sized_shapes import DesignQuery
from sizer.budget import Limits
from sizer.devices.usable_memory import budget_bytes
from sizer.errors import InvalidQuantity, NoFit, UnknownName
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.shapes.within_budget import fill

PI = DesignQuery(
    budget=Limits(max_size_bytes=60_000_000, max_memory_bytes=250_000_000, min_decode_tokens_per_s=60.0),
    formats=("Q4_0", "Q4_K_M", "Q5_0", "Q8_0"),
    device="raspberry-pi-5",
)


@cache
def pi() -> Design:
    return design(PI)


def test_a_hundred_thousand_shapes() -> None:
    assert pi().tried > 100_000
    assert len(pi().feasible.shapes) > 90_000
    assert len({*pi().feasible.shapes.grid.num_layers.tolist()}) == 96


def test_figures_are_those_of_estimate() -> None:
    shapes = pi().feasible.shapes
    assert shapes.decode_tokens_per_s is not None
    for row in np.random.default_rng(0).integers(0, len(shapes), 40):
        sized = pi().estimate(int(row))
        assert sized.latency is not None
        assert sized.file.total == shapes.file_bytes[row]
        assert sized.memory.total_bytes == shapes.memory_bytes[row]
        assert sized.parameters.total == shapes.parameters[row]
        assert sized.bits_per_weight == pytest.approx(shapes.bits_per_weight[row], rel=1e-12)
        assert sized.latency.decode_tokens_per_s.value == pytest.approx(
            shapes.decode_tokens_per_s[row], rel=1e-12
        )


def test_every_feasible_shape_is_within_the_budget_and_none_is_missed() -> None:
    shapes, budget = pi().feasible.shapes, PI.budget
    assert budget.max_size_bytes is not None
    assert budget.max_memory_bytes is not None
    assert budget.min_decode_tokens_per_s is not None
    assert shapes.decode_tokens_per_s is not None
    assert shapes.file_bytes.max() <= budget.max_size_bytes
    assert shapes.memory_bytes.max() <= budget.max_memory_bytes
    assert shapes.decode_tokens_per_s.min() >= budget.min_decode_tokens_per_s
    assert all(pi().broken.values())  # each limit refuses some
    for tightest in (shapes.file_bytes.argmax(), shapes.memory_bytes.argmax()):
        assert budget.violations(pi().estimate(int(tightest))) == ()
    # the same lattice with looser limits: those within the budget are the same
    loose = design(replace(PI, budget=Limits(max_size_bytes=60_000_000)))
    assert int(loose.within(loose.feasible.shapes).sum()) == len(loose.feasible.shapes)
    kept = pi().within(loose.feasible.shapes)
    assert int(kept.sum()) == len(shapes)


def test_the_best_is_the_lowest_loss_of_the_law() -> None:
    found = pi()
    expected = PublishedLaw(tokens=1e12).loss(found.feasible.shapes.features)
    assert expected[found.best_row] == expected.min()
    assert found.feasible.above.min() == found.feasible.above[found.best_row] == 0
    best = found.best(8)
    assert best[0] == found.best_row
    losses = [found.feasible.above[row] for row in best]
    assert losses == sorted(losses)
    for row in best:
        assert PI.budget.violations(found.estimate(row)) == ()
        assert found.feasible.low[row] <= found.feasible.above[row] <= found.feasible.high[row]
    shapes = {(found.format(row), *_depth_and_width(found, row)) for row in best}
    assert len(shapes) == len(best) == 8


def _depth_and_width(found: Design, row: int) -> tuple[int, int]:
    a = found.architecture(row)
    return a.num_layers, a.hidden_size


def test_the_best_of_some_rows() -> None:
    found = pi()
    shallow = found.feasible.shapes.grid.num_layers <= 4
    best = found.best(5, rows=shallow)
    assert best
    assert all(found.architecture(row).num_layers <= 4 for row in best)
    assert found.feasible.above[best[0]] == found.feasible.above[shallow].min()


def test_no_plain_shape_of_the_budget_is_expected_to_be_better() -> None:
    """What `sizer solve` lists is not better by the law than what the lattice holds."""
    query = replace(PI, formats=("Q4_K_M",))
    found = design(query)
    listed = fill(query.budget, format="Q4_K_M", device=query.known_device)
    features = [features_of(e.architecture, bits_per_weight=e.bits_per_weight) for e in listed]
    best = found.feasible.shapes.select(np.array([found.best_row])).features
    above, _ = found.law.above([f for f in features if 8 / 3 <= f.ffn_ratio <= 3], best)
    assert len(above) >= 4
    assert above.min() > -0.002


@pytest.mark.parametrize("name", PI.formats)
def test_shapes_of_one_size_go_from_shallow_and_wide_to_deep_and_thin(name: str) -> None:
    target = pi().target_bytes
    assert target == 60_000_000
    curve = pi().same_size(name)
    depths, widths = curve.shapes.grid.num_layers.tolist(), curve.shapes.grid.hidden_size.tolist()
    assert depths == sorted(set(depths))
    assert len(depths) > 25
    assert depths[0] <= 2
    assert depths[-1] >= 80
    assert widths[0] > 3 * widths[-1]
    assert (curve.shapes.file_bytes <= target).all()
    assert (curve.shapes.file_bytes >= (1 - SAME_SIZE) * target).all()
    assert (curve.low <= curve.above).all()
    # in the middle it is expected to be better than at either end
    assert curve.above[len(depths) // 2] < min(curve.above[0], curve.above[-1])


def test_a_size_that_memory_does_not_allow_is_compared_at_what_it_does() -> None:
    found = design(
        DesignQuery(
            budget=Limits(max_size_bytes=10**9, max_memory_bytes=200_000_000), device="raspberry-pi-5"
        )
    )
    assert found.target_bytes == found.feasible.shapes.file_bytes.max() < 200_000_000
    assert found.broken["file"] == 0 < found.broken["memory"]


def test_what_lies_outside_of_the_law_is_said() -> None:
    found = pi()
    grid = found.feasible.shapes.grid
    row = int(np.flatnonzero((grid.num_layers == 80) & (grid.hidden_size == 64))[0])
    assert [column.value for column in found.feasible.outside_of(row)] == ["aspect"]
    # ratios are kept inside
    for column in ("head_dim", "ffn_ratio", "bits"):
        few = {c.value: rows.mean() for c, rows in found.feasible.outside.items()}
        assert few[column] < 0.02, column


@pytest.mark.parametrize("engine", [name for name in RUNTIME_NAMES if name != "llama.cpp"])
def test_other_runtimes_are_sized_one_by_one(engine: str) -> None:
    query = DesignQuery(
        budget=Limits(max_size_bytes=40_000_000),
        runtime=engine,
        formats=(runtime(engine).format_for_bits(2 if engine == "bitnet.cpp" else 4),),
        device="iphone-15-pro",
        vocab_size=8192,
    )
    found = design(query)
    assert 30 <= found.tried <= 200
    row = found.best(1)[0]
    assert found.estimate(row).file.total == found.feasible.shapes.file_bytes[row]
    assert query.budget.violations(found.estimate(row)) == ()


def test_nothing_fits_says_what_binds() -> None:
    with pytest.raises(
        NoFit, match=r"the smallest breaks it: file 3\.\d+ MB > 1 MB; without the limit on file"
    ):
        design(replace(PI, budget=Limits(max_size_bytes=1_000_000)))
    with pytest.raises(NoFit, match="without the limit on decode"):
        design(replace(PI, budget=Limits(max_size_bytes=60_000_000, min_decode_tokens_per_s=1e6)))
    with pytest.raises(NoFit) as both:
        design(replace(PI, budget=Limits(max_size_bytes=1_000_000, min_decode_tokens_per_s=1e6)))
    assert "without" not in str(both.value)  # lifting one of them would not help


def test_a_question_without_an_end_is_refused() -> None:
    with pytest.raises(InvalidQuantity, match="there is no limit to fill"):
        design(DesignQuery(budget=Limits()))
    with pytest.raises(InvalidQuantity, match="formats: must name at least one"):
        design(replace(PI, formats=()))
    with pytest.raises(UnknownName, match="Q4_K_X"):
        design(replace(PI, formats=("Q4_K_X",)))


def test_a_speed_alone_is_a_limit() -> None:
    # of this class of machines no memory is known
    nothing_known = DesignQuery(
        budget=Limits(min_decode_tokens_per_s=60.0), device="laptop-ddr5-4800", formats=("Q4_0",)
    )
    assert nothing_known.known_device is not None
    assert budget_bytes(nothing_known.known_device) is None
    found = design(nothing_known)
    assert set(found.broken) == {"decode"}
    assert found.broken["decode"] > 0


def test_shapes_sized_before_give_the_same_answer() -> None:
    tighter = replace(
        PI, budget=replace(PI.budget, min_decode_tokens_per_s=100.0, max_memory_bytes=140_000_000)
    )
    assert lattice_query(tighter) == lattice_query(PI)
    assert lattice_query(replace(PI, context_tokens=512)) != lattice_query(PI)
    anew, again = design(tighter), design(tighter, tried=tried_shapes(lattice_query(PI)))
    assert anew.broken == again.broken
    assert anew.best(5) == again.best(5)
    np.testing.assert_array_equal(anew.feasible.above, again.feasible.above)


def test_formats_are_named_once_and_as_the_runtime_does() -> None:
    assert design(replace(PI, formats=("q4_0", "Q4_0"))).query.formats == ("Q4_0",)
