"""The closed loop's models cover what is exported; its page counts what agrees."""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import Any

from benchmarks.export.closed_loop import FORMATS, models
from benchmarks.export.closed_loop_page import agrees, page
from search.config.config import Tokenizer
from search.config.reading import config_from_dict

PROFILE = '[device]\ntitle = "a processor"\n\n[[profile]]\nruntime = "llama.cpp"\n'


def result(**changed: Any) -> dict[str, Any]:
    rows = {
        "file_bytes": (1000, 1000, 1000, 1000, True),
        "val_bits_per_byte": (3.0, 2.9995, 3.0005, 3.0001, True),
        "memory_bytes": (7e6, 2e6, 12e6, 6.5e6, True),
        "load_s": (0.01, 0.005, 0.02, 0.012, True),
        "prefill_tokens_per_s": (9000.0, 8000.0, 10000.0, 5000.0, False),
        "decode_tokens_per_s": (3000.0, 2000.0, 4000.0, 2500.0, True),
    }
    keys = ("predicted", "low", "high", "measured", "agrees")
    return {
        "model": {"format": "Q4_0", "max_size_bytes": 400_000, "tokenizer": "byte", "sharing": "none"},
        "architecture": {"name": "2x128", "sharing": {"strategy": "none"}},
        "study_file_bytes": 1000,
        "export": {"file_bytes": 1000},
        "rows": [{"quantity": name, **dict(zip(keys, values, strict=True))} for name, values in rows.items()],
        "load": 1.5,
        **changed,
    }


def test_twelve_models_in_six_formats_with_every_sharing() -> None:
    found = models()
    assert Counter(model.format for model in found) == dict.fromkeys(FORMATS, 2)
    assert {model.sharing for model in found} == {"none", "reverse", "immediate", "repeat-all"}
    assert {model.tokenizer for model in found} == {kind.value for kind in Tokenizer}
    assert len({model.name for model in found}) == 12
    for model in found:
        config = config_from_dict(tomllib.loads(model.config()))
        assert config.space.formats == (model.format,)
        assert config.training.trials == 1


def test_without_a_profile_the_page_has_no_speeds() -> None:
    text = page([result()], profile=None)
    assert "closed_loop.py FOLDER --without-speeds --out" in text
    assert "| memory within 5 % or 5 MiB | 1 of 1 |" in text
    assert "| 2x128 | Q4_0 | 6.50 (7.00, 2.00 to 12.00) |" in text
    assert "tokens/s" not in text


def test_the_page_counts_what_agrees_and_marks_what_does_not() -> None:
    text = page([result(), result(study_file_bytes=1032, load=3.25)], profile=PROFILE, cores=2)
    assert "on a processor, 2 cores. Meanwhile 1.5 to 3.2 processes" in text.replace("\n", " ")
    assert "| file bytes equal to those the search predicted | 1 of 2 |" in text
    assert "| prompt speed inside its 80 % range | 0 of 2 |" in text
    assert "| 2x128 | byte, none | Q4_0 | 1,032 | 1,000 | 3.000000 | 3.000100 | +0.000100 |" in text
    assert (
        "| 6.50 (7.00, 2.00 to 12.00) | 12.0 (10.0, 5.0 to 20.0) | **5,000** (9,000, 8,000 to 10,000) |"
        in text
    )
    assert "not to be trusted" not in text
    doubted = PROFILE + 'doubt = "other programs were running"\n'
    assert "not to be trusted (other programs were running)" in page([result()], profile=doubted)


def test_what_is_not_compared_is_not_counted() -> None:
    rows = [dict(row) for row in result()["rows"]]
    for row in rows:
        row["agrees"] = None if row["quantity"] == "load_s" else row["agrees"]
    assert agrees(result(rows=rows), "load_s") is None
    assert "| load inside its 80 % range | 0 of 0 |" in page([result(rows=rows)], profile=PROFILE)
