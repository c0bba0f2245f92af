"""The coverage of words of trust: the file that the product reads is what the replay measures."""

from __future__ import annotations

import tomllib

from benchmarks.replay import verdicts
from benchmarks.replay.verdicts import Population, coverage, data, page, populations, replayed
from search.analysis.verdict import VerdictClaim


def test_the_products_file_and_the_page_are_what_the_script_makes() -> None:
    """Of the rows of the reference table that the file names: the table grows."""
    written = verdicts.DATA.read_text(encoding="utf-8")
    named = tomllib.loads(written)
    rows = named["table_rows"], named["long_table_rows"]
    every = populations(table_rows=rows[0], long_table_rows=rows[1])
    studies = [study for one in every for study in replayed(one, verdicts.STUDIES)]
    assert data(coverage(studies), rows) == written
    assert page(every, studies) == verdicts.PAGE.read_text(encoding="utf-8")


def _population(early: tuple[float, ...]) -> Population:
    """Nine models of one size; longer and longest runs agree, weights rank them the other way round."""
    longest = tuple(float(n) for n in range(9))
    return Population(
        name="by hand",
        early=early,
        late=longest,
        longest=longest,
        counting=tuple(-n for n in longest),
        sizes=(100.0,) * 9,
    )


def test_a_claim_is_right_where_it_is_true_of_the_whole_population() -> None:
    """Worked by hand: short runs that agree fully, and ones that agree in the study's eyes alone."""
    good = _population(tuple(float(n) for n in range(9)))
    assert (good.tau, good.gain) == (1.0, 2.0)
    assert [claim for claim in VerdictClaim if good.is_true(claim)] == [
        VerdictClaim.ORDERS,
        VerdictClaim.BETTER,
        VerdictClaim.WELL,
    ]
    bad = Population(
        name="by hand",
        early=good.early,
        late=good.late,
        longest=tuple(-n for n in good.longest),
        counting=good.counting,
        sizes=good.sizes,
    )
    assert (bad.tau, bad.is_true(VerdictClaim.AGAINST)) == (-1.0, True)
    studies = [*replayed(good, 6), *replayed(bad, 2)]
    assert len(studies) == 8
    found = {level.claim: level for level in coverage(studies) if level.support == 0.9}
    assert (found[VerdictClaim.BETTER].right, found[VerdictClaim.BETTER].studies) == (0.75, 8)
    assert (found[VerdictClaim.BETTER].wrongly, found[VerdictClaim.BETTER].false_studies) == (1.0, 2)
    assert (found[VerdictClaim.AGAINST].studies, found[VerdictClaim.AGAINST].false_studies) == (0, 6)
