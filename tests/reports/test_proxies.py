"""Studies of scaled proxies say so wherever they show a score, and what it means for the models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from reports.documents import frontier_document
from reports.figures import frontier_info
from reports.frames import trials_frame
from reports.frontier_text import frontier_cells, frontier_columns, frontier_table, plain_text
from reports.page import report_html
from reports.proxies import CARRIED_COLUMN, carried, carried_front, proxies_document, proxy_notes, scale_text
from reports.trust_notes import trust_notes
from search.proxy.scaled import scaled_proxy
from search.store.results import SearchResult, TrialRecord
from sizer.tensors import count_parameters, tensor_specs

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
    golden("frontier_of_proxies", plain_text(frontier_table(study), 130))


def test_frontier_has_a_column_of_ranges(study: SearchResult) -> None:
    found = carried(study)
    assert found is not None
    assert frontier_columns(study)[-1] == CARRIED_COLUMN
    for cells in frontier_cells(study):
        prediction = found.predictions[int(cells[0])]
        assert len(cells) == len(frontier_columns(study))
        assert cells[-1] == f"{prediction.value:.2f} ({prediction.low:.2f} to {prediction.high:.2f})"


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


def test_the_frontier_by_what_is_carried_over_is_said(study: SearchResult) -> None:
    found = carried(study)
    assert found is not None
    kept = carried_front(study, found)
    assert frontier_document(study)["proxies"]["carried_over"]["frontier"] == list(kept)
    assert f"would be trials {', '.join(map(str, kept))}." in proxy_notes(study)[2]
    values = {r.number: (r.file_bytes, found.predictions[r.number].value) for r in study.trained}
    # smallest first, each better than all before; none of the others is better than all that are as small
    assert [values[n][1] for n in kept] == sorted((values[n][1] for n in kept), reverse=True)
    for number, (size, value) in values.items():
        assert number in kept or any(values[n][0] <= size and values[n][1] <= value for n in kept)


def test_notes_say_it_before_anything_else_of_the_scores(study: SearchResult) -> None:
    notes = proxy_notes(study)
    assert scale_text(study) == "0.25 times as wide, vocabulary 256"
    assert notes[0].startswith("Scores are of scaled proxies (0.25 times as wide, vocabulary 256) trained in")
    assert "after 1,000 steps on the same text" in notes[1]
    assert any("runs on into the next" in note for note in notes)  # Q4_K_M in rows of 64
    assert set(notes) <= set(trust_notes(study))


def test_the_page_the_figure_and_the_table_of_trials_say_it(study: SearchResult) -> None:
    page = report_html(study)
    assert CARRIED_COLUMN in page
    assert "Scores are of scaled proxies" in page
    assert all("of a proxy: width" in point.hover for point in frontier_info(study).front)
    frame = trials_frame(study).set_index("trial")
    assert frame.loc[4, "proxy_hidden_size"] == 48
    assert frame.loc[4, "proxy_vocab_size"] == 256
    low, value = frame["model_val_bits_per_byte_low"][4], frame["model_val_bits_per_byte"][4]
    assert low < value < frame["model_val_bits_per_byte_high"][4]
    assert frame.loc[[3], "proxy_hidden_size"].isna().all()


def test_too_few_proxies_carry_nothing_over(result_of: Callable[..., SearchResult]) -> None:
    few = _study(result_of("raspberry-pi-5", (0, 1, 2)))
    assert [cells[-1] for cells in frontier_cells(few)] == ["-"] * len(frontier_cells(few))
    assert "Nothing is carried over" in proxy_notes(few)[1]
    assert frontier_document(few)["proxies"]["carried_over"] is None


def test_another_study_says_nothing_of_proxies(result: SearchResult) -> None:
    assert proxy_notes(result) == ()
    assert proxies_document(result, None) is None
    assert frontier_document(result)["proxies"] is None
    assert all(point["proxy"] is None for point in frontier_document(result)["points"])
    assert CARRIED_COLUMN not in frontier_columns(result)
    assert trials_frame(result)["proxy_hidden_size"].isna().all()
