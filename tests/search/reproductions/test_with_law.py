"""What the law expects of published models, alone and with runs of their proxies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from reports.text.reproduction import reproductions_page
from search.reproductions.agreement import findings
from search.reproductions.reproduction_runs import ReproductionRun
from search.reproductions.reproductions import Reproduction, reproduction
from search.reproductions.with_law import LawFindings, law_findings
from tests.search.reproduction_runs import run


@pytest.fixture(scope="module")
def widths() -> Reproduction:
    return reproduction("depth-vs-width")


def _runs(bits: Mapping[str, float], seeds: int = 2) -> list[ReproductionRun]:
    """Runs of 512,000 tokens; a seed's luck is the same for all arms."""
    return [
        _long(run(label, seed, [value - 0.2 + 0.001 * seed, value + 0.2 + 0.001 * seed]))
        for label, value in bits.items()
        for seed in range(seeds)
    ]


def _long(one: ReproductionRun) -> ReproductionRun:
    return replace(one, proxy=replace(one.proxy, trained_tokens=512_000))


def _found(widths: Reproduction, slope: float) -> LawFindings:
    """Findings of runs whose loss rises by `slope` from each arm to the next deeper one."""
    labels = [arm.label for arm in widths.arms]
    found = law_findings(widths, _runs({label: 1.8 + slope * n for n, label in enumerate(labels)}))
    assert found is not None
    return found


def test_the_law_has_the_published_sign_and_says_what_the_runs_moved(widths: Reproduction) -> None:
    found = _found(widths, slope=0.003)  # these proxies want wide models, as ours did
    (claim,) = found.claims
    for expected in (claim.law, claim.both):
        assert expected.share > 0.01
        assert expected.probability > 0.5
    # alone, runs of half a million tokens say next to nothing of 250B
    assert abs(claim.runs.share) < 0.005
    assert claim.runs.probability == pytest.approx(0.5, abs=0.05)
    assert claim.moved == pytest.approx(claim.both.share - claim.law.share)
    assert -0.01 < claim.moved < 0
    assert found.order is not None
    law, runs, both = (rho or 0.0 for rho in found.order)
    assert min(law, both) > 0.7
    assert runs < law


def test_what_the_law_expects_alone_does_not_depend_on_the_runs(widths: Reproduction) -> None:
    deep, wide = _found(widths, slope=-0.003), _found(widths, slope=0.003)
    assert deep.claims[0].law == wide.claims[0].law
    assert deep.claims[0].moved > 0 > wide.claims[0].moved


def test_nothing_is_said_without_runs_lengths_or_published_shapes(widths: Reproduction) -> None:
    runs = _runs({arm.label: 1.8 for arm in widths.arms})
    assert law_findings(widths, []) is None
    assert law_findings(replace(widths, published_tokens=None), runs) is None
    hidden = tuple(replace(arm, published=None) for arm in widths.arms)
    assert law_findings(replace(widths, arms=hidden), runs) is None


def test_the_page_and_the_document_keep_law_and_runs_apart(widths: Reproduction) -> None:
    found = findings(widths, _runs({arm.label: 1.8 for arm in widths.arms}))
    page = reproductions_page([found], "a command")
    assert "after 250B tokens, of the published models: 30 layers beat 4" in page
    for part in ("by the law alone +", "by these runs alone", "by both +", "the runs moved it by"):
        assert part in page
    document = found.to_dict()["with_law"]
    assert document["published_tokens"] == 250e9
    assert set(document["order_spearman"]) == {"law", "runs", "both"}
