"""A busy machine is noticed: by others' processor time, by spread, by its load where no more is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sizer.calibration.calibrate import bench_task
from sizer.calibration.quiet import busy_note, load_now, timing_doubts
from sizer.calibration.timings import Timing, TimingTask
from sizer.devices.device import DeviceKind
from sizer.devices.device_file import parse_file
from tests.sizer.calibration.test_calibrate import SMALL, calibrated, fake

TASKS = [bench_task(Path(), model) for model in SMALL]


def timed(*timings: Timing) -> list[tuple[TimingTask, list[Timing]]]:
    return [(task, list(timings)) for task in TASKS]


def timing(*decode_s: float, others: float | None = 0.0) -> Timing:
    return Timing(0.1, (0.2,), decode_s, others_share=others)


def test_a_quiet_machine_has_no_doubts() -> None:
    assert timing_doubts(timed(timing(1.0, 1.02, 0.99), timing(1.01, 1.0, 1.03)), load=0.1) == ()
    # half of the rounds undisturbed is enough: only those count
    assert timing_doubts(timed(timing(1.0, 1.01, 1.0), timing(3.0, 5.0, 4.0, others=0.5)), load=2.0) == ()


def test_other_programs_are_noticed_by_their_processor_time() -> None:
    """Shares of 30 and 50 % are 40 % on average; none of the six models was ever undisturbed."""
    (doubt,) = timing_doubts(timed(timing(1.0, others=0.3), timing(1.0, others=0.5)), load=0.0)
    assert doubt == (
        "other programs took 40% of the processors, and 6 of 6 models were never timed without them"
    )


def test_spread_is_noticed_where_no_processor_time_is_taken() -> None:
    """Seconds 1, 1, 2, 3, 3: median 2, absolute deviations 1, 1, 0, 1, 1, so 1.4826 / 2."""
    (doubt,) = timing_doubts(timed(timing(1.0, 1.0, 2.0), timing(3.0, 3.0)), load=0.0)
    assert doubt == "the same model's speed varied by 74% from run to run"


def test_load_decides_where_the_system_has_no_processor_times() -> None:
    unknown = timed(timing(1.0, 1.0, others=None))
    assert timing_doubts(unknown, load=0.2) == ()
    assert timing_doubts(unknown, load=None) == ()
    assert timing_doubts(unknown, load=1.5) == ("other programs ran (a load of 1.5 per processor)",)


def test_the_warning_before_the_timings() -> None:
    assert busy_note(None) is None
    assert busy_note(0.3) is None
    note = busy_note(1.25)
    assert note is not None
    assert "a load of 1.2 per processor" in note
    load = load_now()
    assert load is None or load >= 0


def test_a_busy_machines_profile_is_not_trusted_and_has_a_wide_range(tmp_path: Path) -> None:
    def disturbed(task: TimingTask, threads: int) -> Timing:
        return fake(task, threads)._replace(others_share=0.5)

    quiet, busy = calibrated(), calibrated(measure=disturbed)
    assert quiet.doubts == ()
    assert "other programs took 50% of the processors" in busy.doubts[0]
    assert quiet.fit.constants.decode_factor < 1.1
    # what a data sheet alone gives: measured beside a busy program speeds were 1.3 to 2.6 times too low
    assert busy.fit.constants.decode_factor > 1.5
    board = parse_file(busy.text(), "x.toml")
    assert board.profiles[0].doubt == "; ".join(busy.doubts)
    assert board.engine_notes("llama.cpp", "cpu")[1:] == (
        f"my-board: its measured speeds are not to be trusted: {busy.doubts[0]}",
    )
    assert parse_file(quiet.text(), "x.toml").engine_notes("llama.cpp", "cpu")[1:] == ()


@pytest.mark.parametrize("doubt", ["a\nb", 'a "quoted" one; and \\ more'])
def test_a_doubt_survives_the_file(doubt: str) -> None:
    found = replace(calibrated(), doubts=(doubt,), kind=DeviceKind.BOARD)
    assert parse_file(found.text(), "x.toml").profiles[0].doubt == " ".join(doubt.split())
