"""Messages of errors: whole where a terminal shows them, shortened in the middle where it would not."""

from __future__ import annotations

from sizer.errors import SizerError


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    assert str(SizerError("x" * 1000)) == "x" * 1000
    long = str(SizerError("field: got " + "x" * 9000 + "; accepted: less"))
    assert len(long) <= 1000
    assert long.startswith("field: got xxx")
    assert long.endswith("; accepted: less")
