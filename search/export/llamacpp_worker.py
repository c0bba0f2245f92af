"""Worker script that loads a GGUF file in llama.cpp and scores text: JSON on stdin, JSON lines on stdout.

Run by path, so that a file that aborts the engine ends this process only. Requests:
{"model", "threads", "context_tokens", "windows": [[token]]} gives for each window the natural logarithms of
the probabilities of its tokens from the second on; {..., "choices": [[context, continuation]]} the sum over a
continuation's tokens, their number, and whether each was the likeliest; {..., "texts": [text]} their tokens;
{..., "prompts": [{"prompt", "tokens", "temperature", "seed"}]} what the model writes after each. A line
{"done", "total"} comes now and then, the answers in the last line, {"answers"}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# run by path, from anywhere
sys.path.append(str(Path(__file__).resolve().parents[2]))

from search.export.llamacpp_library import Engine
from search.export.sampling import continued
from sizer.errors import MeasurementError

_REPORT_EVERY_S = 0.5


def main() -> int:
    """Answer the request on stdin."""
    request = json.loads(sys.stdin.read())
    engine = Engine(
        request["model"], context_tokens=request["context_tokens"], threads=request.get("threads", 1)
    )
    kinds: dict[str, Callable[[Any], Any]] = {
        "windows": engine.log_probabilities,
        "choices": lambda pair: choice_score(engine, *pair),
        "texts": lambda text: engine.tokenize(text, special=False),
        "prompts": lambda asked: continued(engine, on_token=progress_lines(asked["tokens"]), **asked),
    }
    kind = next(name for name in kinds if name in request)
    print(json.dumps({"answers": _answers(kinds[kind], request[kind])}), flush=True)
    return 0


def _answers(answer: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    found, report = [], progress_lines(len(items))
    for item in items:
        found.append(answer(item))
        report(len(found))
    return found


def progress_lines(total: int) -> Callable[[int], None]:
    """Return a function that prints how many of the items are done, twice a second."""
    reported = time.monotonic()

    def report(done: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > _REPORT_EVERY_S:
            reported = time.monotonic()
            print(json.dumps({"done": done, "total": total}), flush=True)

    return report


def choice_score(engine: Engine, context: str, continuation: str) -> tuple[float, int, bool]:
    """Return the sum of the logarithms over a continuation's tokens, their number, whether all are likeliest.

    As lm-evaluation-harness splits it: tokens of the whole text after those of the context. A text longer
    than the model's context loses its beginning.
    """
    before, whole = engine.tokenize(context), engine.tokenize(context + continuation)
    first = min(len(before), len(whole) - 1)
    if first == 0:  # nothing comes before: predicted from a line's end
        start = engine.tokenize("\n", special=False)
        whole, first = [*start, *whole], len(start)
    cut = max(0, len(whole) - 1 - engine.context_tokens)
    whole, first = whole[cut:], max(1, first - cut)
    return sum(engine.log_probabilities(whole, first)), len(whole) - first, engine.is_greedy(whole, first)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MeasurementError as error:
        sys.exit(str(error))
