"""What a training takes: by hand, against published days, and the length that a target needs."""

from __future__ import annotations

import pytest

from sizer.errors import InvalidQuantity, NoFit
from sizer.quality.cost import CARDS, flops_per_token, training_costs
from sizer.quality.curve import curve, length_for
from sizer.registry import model
from sizer.request import EstimateRequest

_SIZES = ("125M", "350M", "600M", "1B", "1.5B")
# Days that 1T tokens took on 32 A100 (MobileLLM's README, arXiv 2402.14905).
_DAYS = {f"MobileLLM-{size}": days for size, days in zip(_SIZES, (3, 6, 8, 12, 18), strict=True)}


def test_flops_by_hand() -> None:
    """A tied table is multiplied by as the head; norms are not."""
    a = model("MobileLLM-125M").architecture
    multiplied = 32000 * 576 + 30 * (2 * 576 * (9 + 3) * 64 + 3 * 576 * 1536)
    assert flops_per_token(a) == 6 * multiplied + 12 * 30 * 576 * 2048


def test_a_block_used_twice_is_computed_twice() -> None:
    once, twice = (model(f"MobileLLM-{kind}125M").architecture for kind in ("", "LS-"))
    assert 1.7 < flops_per_token(twice) / flops_per_token(once) < 2


@pytest.mark.parametrize("name", sorted(_DAYS))
def test_published_days(name: str) -> None:
    (cost,) = (c for c in training_costs(model(name).architecture, 1e12) if c.card == "A100")
    assert 0.9 < cost.hours / (32 * 24 * _DAYS[name]) < 1.4
    assert cost.energy_kwh == pytest.approx(0.4 * cost.hours)


def test_utilization_between_and_beyond_known_sizes() -> None:
    a100 = CARDS[0]
    assert a100.utilization(1e6) == 0.445
    assert a100.utilization(1e12) == 0.578
    assert a100.utilization((356e6 * 760e6) ** 0.5) == pytest.approx((0.516 + 0.529) / 2)


def test_a_target_is_reached_and_hardly_more() -> None:
    sized = EstimateRequest(params="350M", format="F16").run().estimate
    found = length_for(sized, 50.0, corpus="fineweb-edu")
    assert found.quality.accuracy == pytest.approx(50.0, abs=0.1)
    points = curve(sized, corpus="fineweb-edu")
    reached = [point.quality.accuracy for point in points]
    assert reached == sorted(reached)
    assert points[0].quality.tokens == 20 * sized.parameters.total


def test_a_target_that_no_training_reaches() -> None:
    sized = EstimateRequest(params="50M").run().estimate
    with pytest.raises(NoFit, match=r"target: 70 % is not reached with 100T tokens"):
        length_for(sized, 70)
    with pytest.raises(InvalidQuantity, match="target: must be an accuracy in percent"):
        length_for(sized, 0)
