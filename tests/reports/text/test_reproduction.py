"""Reports on reproductions: the table, the page, the list; markup in names is text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console, RenderableType

from reports.text.reproduction import catalogue_table, reproduction_table, reproductions_page
from search.reproductions.agreement import Findings, findings
from search.reproductions.reproductions import Claim
from tests.search.reproduction_runs import arm, run, small

Golden = Callable[[str, str], None]
CLAIMS = (
    Claim(text="deep beats wide", better="deep", worse="wide", published=(45.0, 43.3)),
    Claim(text="wide beats [red]flat[/red]", better="wide", worse="flat", published=(43.3, 42.0)),
    Claim(text="deep or flat", better="deep", worse="flat", published=None),
)


@pytest.fixture
def found() -> Findings:
    """Five arms: deep clearly best, of flat one run diverged."""
    arms = (arm("deep", 45.0, 4), arm("wide", 43.3), arm("flat", 42.0, 1), arm("a", 41.0), arm("b", 40.0))
    runs = []
    for seed in range(3):
        wobble = 0.001 * seed
        runs += [
            run("deep", seed, [2.0, 2.2]),
            run("wide", seed, [2.1 + wobble, 2.3 + wobble]),
            run("a", seed, [2.05, 2.25]),
            run("b", seed, [2.4, 2.5]),
            run("flat", seed, [2.1, 2.3 + 0.03 * seed], diverged=seed == 2),
        ]
    return findings(small(arms, CLAIMS, ranked=True), runs)


def _text(renderable: RenderableType) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def test_the_report(found: Findings, golden: Golden) -> None:
    golden("reproduction", _text(reproduction_table(found)))


def test_the_page(found: Findings, golden: Golden) -> None:
    untrained = findings(small((arm("deep", 45.0, 4), arm("wide", 43.3)), CLAIMS[:1], ranked=True), [])
    golden("reproductions_page", reproductions_page([found, untrained], "sizer search reproduce --all"))


def test_the_list(found: Findings, golden: Golden) -> None:
    golden("reproductions_list", _text(catalogue_table([found.reproduction])))


def test_markup_in_names_is_text(found: Findings) -> None:
    printed = _text(reproduction_table(found))
    assert "wide beats [red]flat[/red]" in printed
    assert "deep [against] wide" in printed
