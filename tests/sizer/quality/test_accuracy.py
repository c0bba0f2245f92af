"""Accuracy over loss: the map, corpora and anchors, and what few bits cost."""

from __future__ import annotations

import pytest

from benchmarks.quality.families import family_models, fit_map, law_losses
from sizer.errors import UnknownName
from sizer.quality.accuracy import AccuracyMap, accuracy_map, anchored_gain, corpus_gain, unknown_gain
from sizer.quality.bits import points_lost
from tests.published_facts import csv_rows


def test_the_map_by_hand() -> None:
    curve = AccuracyMap(floor=40, top=80, middle=2.0, width=0.5, sd=1.0)
    assert curve.accuracy(2.0) == 60
    assert curve.slope(2.0) == pytest.approx(40 / 0.5 / 4)
    assert curve.loss(curve.accuracy(2.7)) == pytest.approx(2.7)
    assert curve.loss(10) < 10  # below the floor: the largest loss that is told apart from it


def test_the_file_holds_what_the_tables_say() -> None:
    fitted, _ = fit_map(family_models())
    assert accuracy_map().middle == pytest.approx(fitted.middle, abs=0.01)
    assert accuracy_map().top == pytest.approx(fitted.top, abs=0.1)


def test_families_left_out_are_predicted_by_their_smallest_model() -> None:
    """Each family by a map that others made: from its smallest model within 1.5 points, alone within 3.6."""
    alone, anchored = [], []
    for family in {m.family for m in family_models()}:
        own = sorted((m for m in family_models() if m.family == family), key=lambda m: m.weights)
        curve, _ = fit_map([m for m in family_models() if m.family != family])
        losses = law_losses(own)
        gain = losses[0] - curve.loss(own[0].accuracy)
        alone += [curve.accuracy(x) - m.accuracy for m, x in zip(own, losses, strict=True)]
        noise = curve.scatter(own[0].weights) / curve.slope(curve.loss(own[0].accuracy))
        share = 0.1**2 / (0.1**2 + noise**2)
        anchored += [
            curve.accuracy(x - share * gain) - m.accuracy for m, x in list(zip(own, losses, strict=True))[1:]
        ]
    assert (sum(e**2 for e in alone) / len(alone)) ** 0.5 < 3.6 / 1.28
    assert (sum(e**2 for e in anchored) / len(anchored)) ** 0.5 < 1.5


def test_an_anchor_moves_the_gain_as_far_as_its_noise_allows() -> None:
    curve = accuracy_map()
    prior = unknown_gain()
    at = curve.loss(55.0)
    gain = anchored_gain(at + 0.1, 55.0, 1e9, prior=prior, name="mine")
    assert 0 < gain.nats < 0.1
    assert gain.sd < prior.sd
    small = anchored_gain(curve.loss(41.0) + 0.1, 41.0, 1e9, prior=prior, name="mine")
    assert small.sd > gain.sd  # near the floor accuracies show little


def test_a_corpus_by_name() -> None:
    assert corpus_gain("fineweb-edu") == corpus_gain("FineWeb_Edu")
    assert corpus_gain("fineweb-edu").nats > corpus_gain("refinedweb").nats > corpus_gain("pile").nats
    like = corpus_gain(
        "FineWeb"
    )  # no models of its own in the tables: as the one made in its way, less surely
    assert like.nats == corpus_gain("refinedweb").nats
    assert like.sd > corpus_gain("refinedweb").sd
    assert "taken to be like" in like.basis
    with pytest.raises(UnknownName, match=r"unknown corpus 'mine'; .*known: .*Pile"):
        corpus_gain("mine")


def test_points_lost_by_bits_on_spectra() -> None:
    """Averages of six tasks of the same models in float, rounded and trained so (arXiv 2407.12327)."""
    rows = [r for r in csv_rows("quality_tables.csv") if r["table"] == "spectra"]
    full = {r["params_total"]: float(r["average"]) for r in rows if r["bits"] == "16"}
    errors: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        bits = float(row["bits"])
        if bits in (16, 1):
            continue
        lost = points_lost(
            bits,
            tokens_per_weight=float(row["tokens"]) / float(row["params_nonembedding"]),
            trained=row["model"].startswith("TriLM"),
        )
        errors[bits >= 4].append(full[row["params_total"]] - float(row["average"]) - lost)
    assert len(errors[True]) == 18
    assert (sum(e**2 for e in errors[True]) / 18) ** 0.5 < 1.0
    assert (sum(e**2 for e in errors[False]) / 12) ** 0.5 < 1.5
