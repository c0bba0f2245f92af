"""Learning curves: what is written is what was trained, whatever was killed, restarted or cut short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.run.learning_curves import CurvePoint, CurveWriter, curve_file, read_curve, read_curves
from sizer.errors import StudyError


def hear(writer: CurveWriter, steps: range, *, end: int, rung: int = 0, loss: float | None = None) -> None:
    """Report the loss of step 1000 / step, or the one given, at these steps."""
    for step in steps:
        writer.hear(3, 0, CurvePoint(step, 1000 / step if loss is None else loss, rung), end)


def points(folder: Path) -> tuple[CurvePoint, ...]:
    return read_curve(curve_file(folder, 3, 0))


def test_short_runs_keep_every_report(tmp_path: Path) -> None:
    hear(CurveWriter(tmp_path), range(10, 101, 10), end=100)
    assert points(tmp_path) == tuple(CurvePoint(s, 1000 / s, 0) for s in range(10, 101, 10))


def test_long_runs_are_thinned_to_means(tmp_path: Path) -> None:
    hear(CurveWriter(tmp_path), range(10, 9001, 10), end=9000)
    written = points(tmp_path)
    assert len(written) <= 201
    assert [p.step for p in written[:3]] == [10, 60, 110]
    assert written[1].loss == pytest.approx(sum(1000 / s for s in (20, 30, 40, 50, 60)) / 5)
    assert written[-1].step == 9000


def test_a_later_rung_goes_on_in_the_same_curve(tmp_path: Path) -> None:
    hear(CurveWriter(tmp_path), range(10, 101, 10), end=100)
    hear(CurveWriter(tmp_path), range(110, 301, 10), end=300, rung=1)
    written = points(tmp_path)
    assert [p.step for p in written] == list(range(10, 301, 10))
    assert [p.rung for p in written] == [0] * 10 + [1] * 20


def test_the_copy_that_cools_down_at_the_end_of_a_rung_is_not_the_run(tmp_path: Path) -> None:
    writer = CurveWriter(tmp_path)
    hear(writer, range(10, 101, 10), end=100)
    for _ in range(5):
        hear(writer, range(100, 101), end=100, loss=0.5)
    # nor where another process takes the run up at its end
    hear(CurveWriter(tmp_path), range(100, 101), end=100, loss=0.5)
    assert points(tmp_path)[-1] == CurvePoint(100, 10.0, 0)
    assert len(points(tmp_path)) == 10


def test_a_run_taken_up_from_an_earlier_checkpoint_replaces_what_came_after(tmp_path: Path) -> None:
    hear(CurveWriter(tmp_path), range(10, 81, 10), end=100)
    hear(CurveWriter(tmp_path), range(40, 61, 10), end=100, loss=7.0)
    written = points(tmp_path)
    assert [p.step for p in written] == [10, 20, 30, 40, 50, 60]
    assert [p.loss for p in written[3:]] == [7.0, 7.0, 7.0]


def test_a_diverged_run_started_again_replaces_all(tmp_path: Path) -> None:
    writer = CurveWriter(tmp_path)
    hear(writer, range(1, 82, 10), end=100)
    hear(writer, range(81, 92, 10), end=100, loss=float("nan"))
    hear(writer, range(1, 22, 10), end=100, loss=2.0)
    assert points(tmp_path) == (CurvePoint(1, 2.0, 0), CurvePoint(11, 2.0, 0), CurvePoint(21, 2.0, 0))


@pytest.mark.parametrize("cut", range(1, 36))
def test_a_kill_costs_at_most_the_last_line(tmp_path: Path, cut: int) -> None:
    hear(CurveWriter(tmp_path), range(10, 51, 10), end=100)
    path = curve_file(tmp_path, 3, 0)
    path.write_bytes(path.read_bytes()[:-cut])
    assert [p.step for p in points(tmp_path)][:4] == [10, 20, 30, 40]
    hear(CurveWriter(tmp_path), range(60, 101, 10), end=100)
    assert [p.step for p in points(tmp_path) if p.step != 50] == [10, 20, 30, 40, 60, 70, 80, 90, 100]


def test_lines_that_are_no_points_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    good = json.dumps({"step": 5, "loss": 2, "rung": 0})
    bad = [
        "[]",
        "7",
        "{}",
        "\udcff",
        '{"step": 1.5, "loss": 1, "rung": 0}',
        '{"step": true, "loss": 1, "rung": 0}',
    ]
    bad += ['{"step": 1, "loss": NaN, "rung": 0}', '{"step": 1, "loss": 1e999, "rung": 0}', "[" * 100_000]
    bad += ['{"step": 1, "loss": ' + "9" * 400 + ', "rung": 0}', '{"step": -1, "loss": 1, "rung": 0}']
    path.write_bytes("\n".join([*bad, good, *bad]).encode("utf-8", "surrogateescape"))
    assert read_curve(path) == (CurvePoint(5, 2.0, 0),)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("curves") / "0-0.jsonl"
    path.write_bytes(content)
    read_curve(path)


def test_curves_of_a_study(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/sizer.db"
    assert read_curves("s", storage) == ()
    writer = CurveWriter(tmp_path / "s")
    for number, seed in ((10, 0), (2, 1), (2, 0)):
        writer.hear(number, seed, CurvePoint(1, 5.0, 0), 10)
    (tmp_path / "s" / "curves" / "x-y.jsonl").write_text('{"step": 1, "loss": 1, "rung": 0}\n')
    assert [(c.number, c.seed) for c in read_curves("s", storage)] == [(2, 0), (2, 1), (10, 0)]


@pytest.mark.parametrize("name", ["..", "../s", "/etc", "a/../../b", "", "."])
def test_no_study_leads_out_of_its_storage(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match="cannot be the name of a folder"):
        read_curves(name, f"sqlite:///{tmp_path}/sizer.db")


def test_a_curve_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "curves").write_text("a file where the folder should be")
    hear(CurveWriter(tmp_path), range(10, 51, 10), end=100)
