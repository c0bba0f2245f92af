"""A study's lock: one holder at a time, named to others, and free once its process has died."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.store.lock import study_lock
from sizer.errors import StudyError

ROOT = Path(__file__).parents[3]
_HOLD = """
import sys, time
from pathlib import Path
from search.store.lock import study_lock
with study_lock(Path(sys.argv[1]), "s"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):  # a refused try leaves the holder's number in place
            with pytest.raises(StudyError, match=f"is being run by process {holder.pid}"):
                study_lock(tmp_path, "s").__enter__()
        holder.kill()
    with study_lock(tmp_path, "s"):
        pass


def test_a_lock_file_of_an_older_version_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4194305", encoding="ascii")
    with study_lock(tmp_path, "s"):
        pass
