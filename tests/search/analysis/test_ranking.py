"""The score that ranks: by hand where the proxies' scores and those extrapolated disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from search.analysis import extrapolation as carry
from search.analysis.extrapolation import extrapolate_study
from search.analysis.frontier import frontier
from search.analysis.ranking import RankedBy, Score, extrapolation_of, ranking, trained_ranking
from search.analysis.reliability import side_by_side
from search.analysis.ties import comparisons
from search.config.objectives import Objective
from search.quality.features import LawRow
from search.quality.law import QualityLaw, fit_law
from search.store.results import SearchResult
from search.store.study import load_result
from tests.explorer.studies import store
from tests.worked_study import CARRIED_FRONT, PROXIES_FRONT, study_of_a_lucky_proxy, study_of_proxies

Patch = pytest.MonkeyPatch


@pytest.fixture
def study(monkeypatch: Patch) -> SearchResult:
    """The study of proxies worked out by hand, its law's word set by hand too."""
    result, found = study_of_proxies()
    monkeypatch.setattr(carry, "extrapolate_study", lambda _: found)
    return result


def _numbers(result: SearchResult, cost: Objective = Objective.BYTES) -> list[int]:
    return [record.number for record in frontier(result, cost)]


def test_what_is_carried_over_ranks(study: SearchResult) -> None:
    ranked = ranking(study)
    assert ranked.by is RankedBy.CARRIED_OVER
    assert [record.number for record in ranked.records] == [0, 1, 2, 3, 4]
    # 80 % of a normal distribution lie within 1.2816 deviations, here of 0.1
    assert ranked.scores[3] == pytest.approx((2.4, 0.12816), abs=1e-5)
    assert _numbers(study) == CARRIED_FRONT
    assert [r.number for r in frontier(study, by=trained_ranking(study))] == PROXIES_FRONT


def test_it_ranks_against_every_cost(study: SearchResult) -> None:
    # slower the larger; memory falls with the number, so that 4 and then 3 are cheapest, and 3 beats the rest
    assert _numbers(study, Objective.DECODE) == CARRIED_FRONT
    assert _numbers(study, Objective.MEMORY) == [4, 3]


def test_a_model_stopped_early_is_compared_by_what_is_carried_over(study: SearchResult) -> None:
    assert 0 not in [record.number for record in trained_ranking(study).records]
    assert 0 in _numbers(study)
    assert trained_ranking(study).scores[0] == Score(3.0, 0.5)


def test_no_chunks_say_which_of_them_tie(study: SearchResult, monkeypatch: Patch) -> None:
    assert comparisons(study) == ()
    monkeypatch.setattr(carry, "extrapolate_study", lambda _: None)
    assert comparisons(study) != ()


def test_without_a_law_the_proxies_own_scores_rank(study: SearchResult, monkeypatch: Patch) -> None:
    monkeypatch.setattr(carry, "extrapolate_study", lambda _: None)
    assert ranking(study) == trained_ranking(study)
    assert ranking(study).by is RankedBy.TRAINED
    assert _numbers(study) == PROXIES_FRONT


def test_proxies_as_wide_as_their_models_are_ranked_by_what_they_scored(study: SearchResult) -> None:
    records = [replace(r, scaled=replace(r.candidate.architecture, vocab_size=256)) for r in study.records]
    same = replace(study, records=tuple(records))
    assert extrapolation_of(same) is not None  # the law can be asked
    assert _numbers(same) == PROXIES_FRONT


def test_models_trained_themselves_rank_by_their_scores(study: SearchResult, monkeypatch: Patch) -> None:
    def never(result: SearchResult) -> None:
        raise AssertionError(result)

    monkeypatch.setattr(carry, "extrapolate_study", never)
    own = replace(study, records=tuple(replace(r, scaled=None) for r in study.records))
    assert ranking(own) == trained_ranking(own)
    assert _numbers(own) == PROXIES_FRONT


def test_hypervolume_is_of_what_was_trained(study: SearchResult, monkeypatch: Patch) -> None:
    with_law = side_by_side((study, study))
    monkeypatch.setattr(carry, "extrapolate_study", lambda _: None)
    assert side_by_side((study, study)) == with_law


def test_the_law_itself_ranks_and_is_fitted_once(monkeypatch: Patch) -> None:
    """No word set by hand: one lucky proxy leads by its own score, and the law does not fall for it."""
    result = study_of_a_lucky_proxy()
    # not seen by any other test, whose law might still be known
    result = replace(result, records=tuple(replace(r, memory_bytes=r.number) for r in result.records))
    fits: list[int] = []

    def counted(rows: Sequence[LawRow]) -> QualityLaw:
        fits.append(len(rows))
        return fit_law(rows)

    monkeypatch.setattr(carry, "fit_law", counted)
    (lucky,) = [r for r in result.records if r.number == 4]
    assert lucky in frontier(result, by=trained_ranking(result))
    assert lucky not in frontier(result)
    assert ranking(result).by is RankedBy.CARRIED_OVER
    assert fits == [9]
    assert extrapolate_study(replace(result, records=result.records[:-1])) is not extrapolate_study(result)
    assert fits == [9, 8]


def test_a_model_too_narrow_for_a_proxy_is_predicted_with_the_others() -> None:
    result = study_of_a_lucky_proxy()
    first = result.records[0]
    narrow = replace(
        first, scaled=None, candidate=replace(first.candidate, architecture=first.trained_architecture)
    )
    found = extrapolate_study(replace(result, records=(narrow, *result.records[1:])))
    assert found is not None
    assert sorted(found.predictions) == [record.number for record in result.records]


def test_a_study_read_from_its_storage_ranks_alike(tmp_path: Path) -> None:
    result = study_of_a_lucky_proxy()
    storage = f"sqlite:///{tmp_path}/sizer.db"
    store(result, storage)
    assert _numbers(load_result(result.study, storage)) == _numbers(result)
