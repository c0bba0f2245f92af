"""Questions of a space: pairs of one file size that differ in one axis, the same for every study."""

from __future__ import annotations

import pytest

from search.analysis.decisions.questions import ONE_SIZE, Question, questions
from search.config.config import SearchConfig
from search.space.ffn_growth import growth_of
from search.space.formats import file_bytes
from search.space.resolve import resolve

CONFIG = SearchConfig.build(
    max_size_bytes=400_000,
    formats=("Q4_0", "Q8_0"),
    sharing=("none", "immediate"),
    sharing_repeats=(2,),
    max_executed_layers=8,
    head_dims=(32,),
)


@pytest.fixture(scope="module")
def asked() -> tuple[Question, ...]:
    return questions(CONFIG)


def test_pairs_have_files_of_one_size_and_their_options(asked: tuple[Question, ...]) -> None:
    assert {"format", "sharing", "executed_layers"} <= {q.axis for q in asked}
    for question in asked:
        for first, second in question.pairs:
            a, b = (file_bytes(c.architecture, c.format, "llama.cpp") for c in (first, second))
            assert abs(a - b) < ONE_SIZE * max(a, b)
            assert max(a, b) <= 1.001 * question.size_bytes
            if question.axis == "format":
                assert (first.format, second.format) == (question.first, question.second)
            if question.axis == "sharing":
                assert first.architecture.sharing.repeat == 1
                assert second.architecture.sharing.repeat == 2


def test_a_new_study_of_the_space_would_train_the_same_models(asked: tuple[Question, ...]) -> None:
    """`settle` stores a pair's models as trials of the suggestions behind them."""
    question = asked[0]
    for pair, suggested in zip(question.pairs, question.suggested, strict=True):
        assert tuple(resolve(s, CONFIG).candidate for s in suggested) == pair


def test_growth_of_ffn_sizes_is_asked_about() -> None:
    found = [q for q in questions(CONFIG.changed(ffn_growths=(1.0, 4.0))) if q.axis == "ffn_growth"]
    assert {(q.first, q.second) for q in found} == {("1", "4")}
    for question in found:
        for equal, grown in question.pairs:
            assert not equal.architecture.layer_intermediate_sizes
            assert growth_of(grown.architecture) > 2


def test_how_a_search_trains_does_not_change_what_it_is_asked(asked: tuple[Question, ...]) -> None:
    assert questions(CONFIG.changed(seed=5, trials=7, steps=50)) == asked
