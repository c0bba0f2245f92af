"""Studies of scaled proxies say so wherever they show a score, and what it means for the models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from reports.export.documents import frontier_document, proxies_document, trust_document
from reports.figures import frontier_figure, frontier_info
from reports.figures.parallel import parallel_info
from reports.figures.rungs import rungs_info
from reports.figures.searches import fronts_figure, fronts_info
from reports.figures.study import compared_cohort
from reports.html.study_page import report_html
from reports.tables.study import frontier_frame, trials_frame
from reports.text.frontier import frontier_cells, frontier_columns, frontier_table
from reports.text.scaled_proxies import (
    EXTRAPOLATED_AXIS,
    EXTRAPOLATED_COLUMN,
    PROXY_COLUMN,
    SCORE_AXIS,
    extrapolated_front,
    frontier_notes,
    proxy_notes,
    ranked_text,
    scale_text,
)
from reports.text.trust import trust_line
from reports.text.trust_notes import trust_notes
from search.analysis.notebook import FrontierTable
from search.analysis.ranking import extrapolation_of
from search.config.objectives import Objective
from search.quality.law import LawPrediction
from search.store.results import SearchResult, TrialRecord
from search.training.scaled_proxy import scaled_proxy
from sizer.tensors import count_parameters, tensor_specs
from tests.reports.html.html_reader import HtmlReader
from tests.reports.plain_text import plain_text
from tests.worked_study import CARRIED_FRONT, PROXIES_FRONT, study_of_proxies

Golden = Callable[[str, str], None]


def _scaled(record: TrialRecord) -> TrialRecord:
    if record.proxy is None:
        return record
    proxy = scaled_proxy(record.candidate.architecture, width_scale=0.25, vocab_size=256)
    count = count_parameters(tensor_specs(proxy)).total
    return replace(record, scaled=proxy, proxy=replace(record.proxy, num_parameters=count))


def _study(result: SearchResult) -> SearchResult:
    settings = result.settings | {"proxy_width_scale": 0.25, "proxy_vocab_size": 256}
    return replace(result, settings=settings, records=tuple(map(_scaled, result.records)))


@pytest.fixture(scope="module")
def study(result: SearchResult) -> SearchResult:
    """The usual study, of proxies a quarter as wide."""
    return _study(result)


def test_frontier_golden(golden: Golden, study: SearchResult) -> None:
    golden("frontier_of_proxies", plain_text(frontier_table(study), 140))


def test_frontier_leads_with_what_ranks(study: SearchResult) -> None:
    found = extrapolation_of(study)
    assert found is not None
    columns = frontier_columns(study)
    place = columns.index(EXTRAPOLATED_COLUMN)
    assert columns[place + 1] == PROXY_COLUMN
    for cells in frontier_cells(study):
        prediction = found.predictions[int(cells[0])]
        assert len(cells) == len(columns)
        assert cells[place] == f"{prediction.value:.3f} ({prediction.low:.3f} to {prediction.high:.3f})"


def test_the_document_says_what_was_trained(study: SearchResult) -> None:
    document = frontier_document(study)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["proxies"]["width_scale"] == 0.25
    assert document["proxies"]["vocab_size"] == 256
    assert document["proxies"]["carried_over"]["proxies"] == len(study.trained)
    assert document["proxies"]["carried_over"]["steps"] == 1000
    for point in document["points"]:
        model, proxy, expected = point["architecture"], point["proxy"], point["model_val_bits_per_byte"]
        assert proxy["hidden_size"] < model["hidden_size"]
        assert (proxy["num_layers"], proxy["vocab_size"]) == (model["num_layers"], 256)
        assert proxy["num_parameters"] < point["num_parameters"]
        assert expected["low"] < expected["value"] < expected["high"]
    # 6 heads of 32 over 3 KV heads at a quarter: 16 is the least, 3 of which are 48 wide; in twos for each KV
    # head 4 are nearer to that than 2
    (narrow,) = [p for p in document["points"] if p["trial"] == 4]
    assert (narrow["proxy"]["num_heads"], narrow["proxy"]["num_kv_heads"]) == (4, 2)
    assert narrow["proxy"]["deviations"][0] == "query heads 4 instead of 6"


def test_the_frontier_by_the_other_score_is_said(study: SearchResult) -> None:
    found = extrapolation_of(study)
    assert found is not None
    kept = extrapolated_front(study, found)
    document = frontier_document(study)
    assert [point["trial"] for point in document["points"]] == list(kept)
    assert document["proxies"]["carried_over"]["frontier"] == list(kept)
    others = document["proxies"]["frontier"]
    assert others == [12, 0, 1, 4, 5, 8, 10] != list(kept)  # of the same scores as models' own
    by_proxies = f"By the proxies' own scores the frontier would be trials {', '.join(map(str, others))}."
    assert frontier_notes(study)[-1] == proxy_notes(study)[2] == by_proxies
    values = {r.number: (r.file_bytes, found.predictions[r.number].value) for r in study.trained}
    # smallest first, each better than all before; none of the others is better than all that are as small
    assert [values[n][1] for n in kept] == sorted((values[n][1] for n in kept), reverse=True)
    for number, (size, value) in values.items():
        assert number in kept or any(values[n][0] <= size and values[n][1] <= value for n in kept)


def test_notes_say_it_before_anything_else_of_the_scores(study: SearchResult) -> None:
    notes = proxy_notes(study)
    assert scale_text(study) == "0.25 times as wide, vocabulary 256"
    assert notes[0].startswith("Scaled proxies (0.25 times as wide, vocabulary 256) were trained")
    assert "after 1,000 steps on the same text" in notes[1]
    assert "and ranks the models" in notes[1]
    assert any("runs on into the next" in note for note in notes)  # Q4_K_M in rows of 64
    assert set(notes) <= set(trust_notes(study))


def test_the_page_the_figure_and_the_table_of_trials_say_it(study: SearchResult) -> None:
    page = report_html(study)
    assert EXTRAPOLATED_COLUMN in page
    assert "Scaled proxies (0.25 times as wide" in page
    assert all("of a proxy: hidden size" in point.hover for point in frontier_info(study).front)
    frame = trials_frame(study).set_index("trial")
    assert frame.loc[4, "proxy_hidden_size"] == 48
    assert frame.loc[4, "proxy_vocab_size"] == 256
    low, value = frame["model_val_bits_per_byte_low"][4], frame["model_val_bits_per_byte"][4]
    assert low < value < frame["model_val_bits_per_byte_high"][4]
    assert frame.loc[[3], "proxy_hidden_size"].isna().all()


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> SearchResult:
    """A study whose two frontiers differ, with every score and every word of the law set by hand."""
    result, found = study_of_proxies()
    monkeypatch.setattr("search.analysis.extrapolation.extrapolate_study", lambda _: found)
    return result


def test_every_report_is_of_the_score_that_ranks(by_hand: SearchResult, golden: Golden) -> None:
    golden("frontier_by_what_is_carried_over", plain_text(frontier_table(by_hand), 140))
    golden("notes_of_proxies", "\n".join(trust_notes(by_hand)) + "\n")
    document = frontier_document(by_hand)
    assert document["objectives"] == ["file_bytes", "model_val_bits_per_byte"]
    assert document["proxies"]["ranked_by"] == "model_val_bits_per_byte"
    assert document["proxies"]["frontier"] == PROXIES_FRONT
    points = {
        p["trial"]: (p["model_val_bits_per_byte"]["value"], p["val_bits_per_byte"])
        for p in document["points"]
    }
    assert list(points.items()) == [(0, (2.8, 3.0)), (2, (2.7, 2.5)), (3, (2.4, 2.6))]
    frame = trials_frame(by_hand)
    assert frame["trial"][frame["on_frontier"]].tolist() == CARRIED_FRONT
    assert frame["trial"][frame["on_frontier_by_proxy"]].tolist() == PROXIES_FRONT
    assert set(frame["ranked_by"]) == {"model_val_bits_per_byte"} <= set(frame.columns)
    assert frontier_frame(by_hand)["trial"].tolist() == CARRIED_FRONT
    assert trust_line(by_hand).endswith("; of the proxies' own scores, which are not the ranking here")
    assert trust_document(by_hand, (), None)["ranked_by"] == "model_val_bits_per_byte"


def test_figures_are_of_the_score_that_ranks(by_hand: SearchResult) -> None:
    for cost, trials in (
        (Objective.BYTES, CARRIED_FRONT),
        (Objective.DECODE, CARRIED_FRONT),
        (Objective.MEMORY, [4, 3]),
    ):
        info = frontier_info(by_hand, cost)
        assert [point.trial for point in info.front] == trials
        assert (info.stopped, info.ties) == ((), ())
    info = frontier_info(by_hand)
    assert [point.val_bits_per_byte for point in info.front] == [2.8, 2.7, 2.4]
    assert [point.bar for point in info.front] == pytest.approx([0.128155] * 3, abs=1e-6)
    assert frontier_figure(info).layout.yaxis.title.text == EXTRAPOLATED_AXIS
    assert "2.800 (2.672 to 2.928) bits per byte (extrapolated), 3.0000 ± 0.5000 of" in info.front[0].hover
    fronts = fronts_info([by_hand, by_hand])
    assert fronts.fronts[0].bits == (2.8, 2.7, 2.4)
    assert fronts.fronts[0].errors == pytest.approx([0.128155] * 3, abs=1e-6)
    assert fronts_figure(fronts).layout.yaxis.title.text == EXTRAPOLATED_AXIS
    for subtitle in (rungs_info(by_hand).subtitle, parallel_info(by_hand, compared_cohort(by_hand)).subtitle):
        assert subtitle.endswith("of scaled proxies")


def test_the_page_and_a_notebook_are_of_the_score_that_ranks(by_hand: SearchResult) -> None:
    page = HtmlReader(report_html(by_hand)).text
    assert "2.400 (2.272 to 2.528) bits per byte (extrapolated), 2.6000 ± 0.0100 of its proxy" in page
    # under the frontier, and among what to know of it
    assert page.count("By the proxies' own scores the frontier would be trials 1, 2.") == 2
    assert "Vertical bars are the 80 % ranges" in page
    assert "standard errors over the validation chunks. All models share" not in page
    table = FrontierTable(by_hand)._repr_html_()
    assert "3 of 5 trained models" in table
    assert "2.400 (2.272 to 2.528)</td>" in table
    assert "2.6000 ± 0.0100</td>" in table


def test_without_a_law_everything_is_of_the_proxies_scores(
    by_hand: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.analysis.extrapolation.extrapolate_study", lambda _: None)
    document = frontier_document(by_hand)
    assert document["objectives"] == ["file_bytes", "val_bits_per_byte"]
    assert (
        [point["trial"] for point in document["points"]] == PROXIES_FRONT == document["proxies"]["frontier"]
    )
    assert document["proxies"]["ranked_by"] == "val_bits_per_byte"
    assert frontier_columns(by_hand)[-1] == EXTRAPOLATED_COLUMN
    info = frontier_info(by_hand)
    assert (info.score_axis, [point.trial for point in info.front]) == (SCORE_AXIS, PROXIES_FRONT)
    assert [point.trial for point in info.stopped] == [0]
    assert ranked_text(by_hand, by_hand.records[1]) == "2.9000 ± 0.0100 bits per byte"
    assert "(extrapolated)" not in report_html(by_hand)
    assert "not the ranking" not in trust_line(by_hand)
    assert proxy_notes(by_hand)[0].startswith("Scores are of scaled proxies")


def test_two_rankings_that_agree_are_said_to(study: SearchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    result, found = study_of_proxies()
    own = {
        r.number: LawPrediction(value=r.proxy.val_bits_per_byte or 0, sd=0.1)
        for r in result.finalists
        if r.proxy
    }
    monkeypatch.setattr(
        "search.analysis.extrapolation.extrapolate_study", lambda _: replace(found, predictions=own)
    )
    assert frontier_notes(result)[-1] == "By the proxies' own scores the frontier has the same models."


def test_too_few_proxies_carry_nothing_over(result_of: Callable[..., SearchResult]) -> None:
    few = _study(result_of("raspberry-pi-5", (0, 1, 2)))
    assert [cells[-1] for cells in frontier_cells(few)] == ["-"] * len(frontier_cells(few))
    assert "Nothing is extrapolated" in proxy_notes(few)[1]
    assert frontier_document(few)["proxies"]["carried_over"] is None


def test_another_study_says_nothing_of_proxies(result: SearchResult) -> None:
    assert proxy_notes(result) == ()
    assert proxies_document(result, None) is None
    assert frontier_document(result)["proxies"] is None
    assert all(point["proxy"] is None for point in frontier_document(result)["points"])
    assert EXTRAPOLATED_COLUMN not in frontier_columns(result)
    assert trials_frame(result)["proxy_hidden_size"].isna().all()
    assert not {"ranked_by", "on_frontier_by_proxy"} & set(trials_frame(result).columns)
    assert frontier_document(result)["objectives"] == ["file_bytes", "val_bits_per_byte"]
    assert "ranked_by" not in trust_document(result, (), None)
    assert frontier_info(result).score_axis == SCORE_AXIS
