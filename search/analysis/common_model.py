"""One model for several devices, or one for each: what the best common model gives up on each device."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

from search.analysis.ranking import Ranking, ranking
from search.config.objectives import Objective
from search.stats.hypervolume import Point, exclusive, reference_point
from search.store.results import SearchResult, TrialRecord


class DeviceChoice(NamedTuple):
    """The best model for one device, and the share of its worth that the common model lacks there."""

    device: str
    best: int  # trial
    regret: float  # 0 to 1


class CommonModel(NamedTuple):
    """The model that is the least worse than each device's best on the device where it is worst."""

    trial: int
    choices: tuple[DeviceChoice, ...]


def common_model(result: SearchResult) -> CommonModel | None:
    """Return the best model for all devices against the best for each; None without several devices.

    A model's worth on a device is the volume that it alone dominates there: logarithms of the study's
    objectives by bits per byte, from a corner beyond all models that were compared. All of them hold the
    limits on all devices: a model that is too large for one was not trained for another.
    """
    ranked = ranking(result)
    records = [record for record in ranked.records if record.devices]
    if not records:
        return None
    worth = {
        device: _worth(device, records, result.objectives, ranked)
        for device in (one.device for one in records[0].devices)
    }
    lacking = {
        device: {number: 1 - value / max(values.values()) for number, value in values.items()}
        for device, values in worth.items()
    }
    trial = min(
        (record.number for record in records),
        key=lambda n: (max(of[n] for of in lacking.values()), sum(of[n] for of in lacking.values()), n),
    )
    return CommonModel(
        trial=trial,
        choices=tuple(
            DeviceChoice(device, min(of, key=lambda n: (of[n], n)), of[trial])
            for device, of in lacking.items()
        ),
    )


def _worth(
    device: str, records: Sequence[TrialRecord], objectives: Sequence[Objective], ranked: Ranking
) -> dict[int, float]:
    """Return by trial the volume that each model dominates on a device; 1 for all where none differ."""
    points = {
        r.number: (*_costs(r, device, objectives), ranked.scores[r.number].bits_per_byte) for r in records
    }
    # an axis on which all are alike, as of one model, would make every volume 0
    axes = [axis for axis, values in enumerate(zip(*points.values(), strict=True)) if len(set(values)) > 1]
    if not axes:
        return dict.fromkeys(points, 1.0)
    differing = {number: tuple(point[axis] for axis in axes) for number, point in points.items()}
    corner = reference_point(list(differing.values()))
    return {number: exclusive(point, (), corner) for number, point in differing.items()}


def _costs(record: TrialRecord, device: str, objectives: Sequence[Objective]) -> Point:
    own = next(one for one in record.devices if one.device == device)
    found = []
    for objective in objectives:
        there = own.cost(objective)
        value = record.cost(objective) if there is None else there
        assert value is not None, (record.number, objective)
        found.append(log(objective.minimised(value)))
    return tuple(found)
