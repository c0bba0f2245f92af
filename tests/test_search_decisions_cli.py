"""`sizer search decisions|settle`: the contract's document, and bad input as one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cli

STUDIES = f"sqlite:///{Path(__file__).resolve().parents[1]}/docs/studies.db"


def test_the_document_has_the_contracts_keys_and_every_probability(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["search", "decisions", "guided-0", "--storage", STUDIES, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "sizer.decisions/1"
    assert document["runs"] == 46
    keys = {"question", "choice", "probability", "settled", "basis", "cost_to_settle_s"}
    for one in document["decisions"]:
        assert keys <= one.keys()
        assert 0.5 <= one["probability"] <= 1
        assert one["settled"] == (one["probability"] >= 0.95)
        assert one["basis"] in ("runs", "prior", "both")
        if one["basis"] == "prior":
            assert one["probability"] == one["prior_probability"]
        if one["settled"]:
            assert one["cost_to_settle_s"] is None
    assert any(one["settled"] for one in document["decisions"])


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_minutes_must_be_some(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["search", "settle", "guided-0", "--minutes", minutes, "--storage", STUDIES]) == 2
    assert "minutes: must be more than 0" in capsys.readouterr().err
