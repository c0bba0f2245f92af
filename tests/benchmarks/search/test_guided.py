"""Guided searches beside their controls: a small pair run whole, the committed page against its studies."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.search.guided import BASE, keep, page, pair, resized, tokens
from benchmarks.search.guided_figure import guided_figure
from search.analysis.reliability import control_hypervolumes
from search.config.config import SearchConfig
from search.store.study import list_studies, load_result

ROOT = Path(__file__).parents[3]
KEPT = f"sqlite:///{ROOT}/docs/studies.db"


@pytest.mark.slow
def test_a_small_pair(tmp_path: Path) -> None:
    small = BASE.changed(
        max_size_bytes=150_000,
        min_hidden_size=32,
        head_dims=(32,),
        max_executed_layers=4,
        trials=8,
        steps=40,
        lowest_rung_steps=10,
        eta=2.0,
        batch_size=2,
        seq_len=32,
        val_chunks=4,
    )
    storage = f"sqlite:///{tmp_path}/sizer.db"
    found = pair(small, 0, storage)
    assert tokens(found.control) >= tokens(found.guided) > 8 * 10 * 2 * 32
    assert found.control.settings["sampler"] == "random"
    assert all(volume >= 0 for volume in found.hypervolumes)
    text = page(small, [found, found])
    assert f"Better than its control: {2 * (found.hypervolumes[0] > found.hypervolumes[1])} of 2" in text
    figure = ElementTree.fromstring(guided_figure([("<seed>", found.guided, found.control)]))
    marks = [e for e in figure.iter() if e.tag.endswith("title")]
    assert len(marks) == len(found.guided.finalists) + len(found.control.finalists)
    # going on with what is there trains nothing
    again = pair(small, 0, storage)
    assert (again.guided, again.control.records) == (found.guided, found.control.records)
    keep(storage, ("guided-0",), tmp_path / "kept.db")
    assert load_result("guided-0", f"sqlite:///{tmp_path}/kept.db").records == found.guided.records


def test_less_time_is_fewer_models_of_as_many_steps(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/none.db"
    assert resized(BASE, None, 0.1, storage) == BASE  # the product's defaults
    # with audit pairs and the models' own overhead 20 models at 0.1 s a step take 37 to 60 minutes
    fewer = resized(BASE, 25.0, 0.1, storage).training
    assert (8 <= fewer.trials < BASE.training.trials, fewer.steps) == (True, 1000)
    with pytest.raises(SystemExit, match=r"^minutes: 8 models of 1,000 steps take 1\d minutes here, got 3;"):
        resized(BASE, 3.0, 0.1, storage)


def test_nothing_is_ranked_below_the_products_own_limit() -> None:
    training = SearchConfig.build(device="raspberry-pi-5").training
    assert BASE.training == training
    assert BASE.training.lowest_rung_steps >= 1000


def test_the_committed_page_says_what_the_kept_studies_hold() -> None:
    assert list_studies(KEPT) == ("guided-0", "random-0")
    guided, control = (load_result(name, KEPT) for name in ("guided-0", "random-0"))
    ours, theirs = control_hypervolumes(guided, control)
    text = (ROOT / "docs" / "guided.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| 0 \|.*$", text, re.MULTILINE)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:3] == [f"{tokens(guided) / 1e6:.2f} M", f"{tokens(control) / 1e6:.2f} M"]
    assert cells[4:] == [f"{ours:.4f}", f"{theirs:.4f}", f"{ours / theirs - 1:+.1%}"]
    assert tokens(control) >= tokens(guided)
