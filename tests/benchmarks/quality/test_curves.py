"""Depth against width, bits against size, and each task: what docs/quality.md shows of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.curves import LENGTHS, TOTALS, accuracies, crossings, losses_by_depth, widths
from benchmarks.quality.families import family_models, fit_map
from benchmarks.quality.tasks import CHANCE, fit_tasks, tasks_left_out
from sizer.quality.accuracy import task_maps
from sizer.quality.law import shapes
from sizer.quality.prediction import predict


@pytest.mark.parametrize("total", TOTALS)
def test_every_depth_has_the_weights_asked_for(total: float) -> None:
    layers, wide = np.arange(2, 97), widths(total)
    assert 32_000 * wide + (4 + 8) * layers * wide**2 == pytest.approx(np.full(95, total))


@pytest.mark.parametrize("total", TOTALS)
def test_longer_training_wants_deeper_models_and_neither_end_wins(total: float) -> None:
    best = [int(losses_by_depth(total, tokens).argmin()) for tokens in LENGTHS]
    assert best == sorted(best)
    assert best[0] < best[-1]
    assert best[0] > 5
    assert best[-1] < 60


def test_fewer_bits_win_where_bytes_are_many() -> None:
    """4 against 6 bits: behind at 25 MB, ahead at 400 MB, level at the crossing that the page prints."""
    few, more = (accuracies(bits, np.array([25.0, 400.0])) for bits in (4.0, 6.0))
    assert few[0] < more[0]
    assert few[1] > more[1]
    (row,) = (row for row in crossings() if row[0] == "4 against 6 bits")
    at = np.array([float(row[1].split()[-3].replace(",", ""))])
    assert accuracies(4.0, at)[0] == pytest.approx(accuracies(6.0, at)[0], abs=0.05)


def test_the_file_holds_every_task_as_the_tables_say() -> None:
    models = family_models()
    fitted = fit_tasks(models, *fit_map(models))
    assert set(task_maps()) == set(CHANCE)
    for name, of in task_maps().items():
        assert of.accuracy(2.6) == pytest.approx(fitted[name].accuracy(2.6), abs=0.1)
        assert CHANCE[name] - 5 < of.floor < of.top < 95


def test_tasks_of_families_left_out_lie_in_their_ranges() -> None:
    pairs = [pair for found in tasks_left_out().values() for pair in found]
    errors, sd = np.array(pairs).T
    assert 0.75 <= np.mean(np.abs(errors) <= 1.2815 * sd) <= 0.95
    assert np.sqrt((errors**2).mean()) < 2.3


def test_the_mean_of_the_tasks_is_near_the_mean_of_eight() -> None:
    for weights, bits in ((1e8, 16.0), (1e9, 16.0), (1e9, 4.0)):
        found = predict(
            shapes(weights=np.array([weights]), tokens=np.array([1e12])), bits_per_weight=bits, corpus="C4"
        )
        mean = sum(task.value for task in found.tasks) / len(found.tasks)
        assert mean == pytest.approx(found.accuracy, abs=0.7)
        assert all(task.low < task.value < task.high for task in found.tasks)
