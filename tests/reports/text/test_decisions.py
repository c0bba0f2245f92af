"""Decisions in words and as JSON, of decisions set by hand."""

from __future__ import annotations

from dataclasses import replace

from reports.text.decisions import change_lines, decision_cells, decision_lines, decisions_document
from search.analysis.decisions.decisions import Decision, DecisionBasis, Decisions


def _decision(choice: str, probability: float, cost_s: float | None, most: float = 4e5) -> Decision:
    return Decision(
        axis="format",
        choice=choice,
        other="F16",
        smallest_bytes=2e5,
        largest_bytes=most,
        probability=probability,
        prior_probability=0.8,
        runs_probability=0.7,
        basis=DecisionBasis.BOTH,
        cost_to_settle_s=cost_s,
    )


FOUND = Decisions(
    decisions=(
        _decision("Q4_0", 0.999, None, 2e5),
        _decision("Q5_0", 0.7, 2280.0),
        _decision("Q8_0", 0.6, None),
    ),
    runs=12,
    target_tokens=1e7,
    seed_sd=0.007,
    paired_sd=0.01,
)


def test_lines_begin_with_what_is_settled_and_end_with_what_it_would_cost() -> None:
    assert decision_lines(FOUND) == (
        "1 of 3 decisions settled, at a probability of 0.95 or more, by 12 runs",
        "  format: Q4_0 over F16, files of 200 KB: probability > 0.99",
        "  format: Q5_0 or F16, files of 200 KB to 400 KB: not settled (Q5_0: 0.70, by published models "
        "alone 0.80); about 38m 00s of more seeds would settle it",
        "  format: Q8_0 or F16, files of 200 KB to 400 KB: not settled (Q8_0: 0.60, by published models "
        "alone 0.80); runs of this length do not settle it",
    )


def test_changes_are_the_counts_and_what_moved_most() -> None:
    q4, q5, q8 = FOUND.decisions
    turned = replace(q8, choice="F16", other="Q8_0", probability=0.97)
    after = replace(FOUND, decisions=(q4, turned, replace(q5, probability=0.71)), runs=15)
    assert change_lines(FOUND, after) == (
        "3 more runs; decisions settled: 1 before, 2 now",
        "  format: F16 over Q8_0, files of 200 KB to 400 KB: 0.40 before, 0.97 now",
    )


def test_the_document_has_the_contracts_keys() -> None:
    document = decisions_document(FOUND)
    assert document["schema"] == "sizer.decisions/1"
    contract = {
        "question": "format: Q4_0 or F16?",
        "choice": "Q4_0",
        "probability": 0.999,
        "settled": True,
        "basis": "both",
        "cost_to_settle_s": None,
    }
    assert contract.items() <= document["decisions"][0].items()


def test_convolutions_name_no_published_models() -> None:
    """The law was fitted to none."""
    found = replace(FOUND, decisions=(replace(FOUND.decisions[-1], axis="convolutions"),))
    assert ", no published models); " in decision_lines(found)[1]
    assert decision_cells(found)[0][3] == "-"
    assert decision_cells(FOUND)[0][3] != "-"
