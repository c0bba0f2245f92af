"""How long the size page's script takes after a slider moves: `python benchmarks/explorer/script.py`."""

from __future__ import annotations

import cProfile
import pstats
import sys
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from streamlit.testing.v1 import AppTest

PAGE = Path(__file__).resolve().parents[2] / "explorer" / "pages" / "size" / "page.py"
VIEWS = ("All figures", "Sensitivity", "Context", "Formats", "Assumptions", "Link and code")


def script_seconds(view: str, moves: int = 8) -> tuple[float, float]:
    """Median seconds of a run after a slider moved: on the clock, and of the processor."""
    page = AppTest.from_file(str(PAGE), default_timeout=120).run()
    page.session_state["view"] = view
    page.run()
    clock, processor = [], []
    for layers in range(10, 10 + moves):
        page.slider(key="layers").set_value(layers)
        started, worked = perf_counter(), process_time()
        page.run()
        clock.append(perf_counter() - started)
        processor.append(process_time() - worked)
        assert not page.exception
    return median(clock), median(processor)


if __name__ == "__main__":
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.enable()
        script_seconds(VIEWS[0], 10)
        profile.disable()
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
    else:
        print(f"{'view':<16}{'clock':>10}{'processor':>12}")
        for view in VIEWS:
            clock_s, processor_s = script_seconds(view)
            print(f"{view:<16}{1000 * clock_s:>7.0f} ms{1000 * processor_s:>9.0f} ms")
