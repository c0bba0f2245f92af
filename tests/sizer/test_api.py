"""`import sizer`: the functions give what the commands print, and importing it loads nothing of theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cli
import sizer
from sizer.api import _NOT_OF_AN_ESTIMATE, EstimateOptions

Capture = pytest.CaptureFixture[str]


def printed(capsys: Capture, *asked: str) -> Any:
    """Run a command and return the JSON that it printed."""
    cli.main([*asked, "--json"])
    return json.loads(capsys.readouterr().out)


def test_an_estimate_is_the_commands(capsys: Capture) -> None:
    sized = sizer.estimate("SmolLM2-135M", bits=4, device="galaxy-s24", context=4096)
    assert isinstance(sized, sizer.Estimate)
    asked = ("estimate", "SmolLM2-135M", "--bits", "4", "--device", "galaxy-s24", "--context", "4096")
    assert sized.to_dict() == printed(capsys, *asked)


def test_a_model_is_a_name_a_path_keys_or_an_architecture(tmp_path: Path) -> None:
    named = sizer.estimate("MobileLLM-125M", bits=4)
    config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "vocab_size": 100}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    assert sizer.estimate(named.architecture, bits=4).file == named.file
    assert sizer.estimate(path).parameters == sizer.estimate(config).parameters
    assert sizer.estimate(params="125M", any_width=True).parameters.total == 124_635_456
    with pytest.raises(sizer.SizerError, match="model: must be a name, a path"):
        sizer.estimate(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"contxt": 4096}, "unknown argument 'contxt'; did you mean context"),
        ({"bits": "4"}, "bits: must be a number, got '4'"),
        ({"context": "4q"}, "context: cannot read .4q.; accepted: whole tokens, such as 4096 or 128k"),
        ({"device": "galaxy-s42"}, "unknown device 'galaxy-s42'; did you mean"),
        ({"tokens": "1T"}, "tokens: its answer is no part of an Estimate"),
    ],
)
def test_a_wrong_option_is_one_line(options: dict[str, object], line: str) -> None:
    with pytest.raises(sizer.SizerError, match=line) as raised:
        sizer.estimate("MobileLLM-125M", **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_every_option_of_the_request_is_an_argument() -> None:
    fields = set(sizer.EstimateRequest._fields) - {"model", "config", "architecture", "wide", "hypothetical"}
    assert set(EstimateOptions.__annotations__) == fields - set(_NOT_OF_AN_ESTIMATE)
    assert fields.issuperset(_NOT_OF_AN_ESTIMATE)


def test_a_comparison_is_the_commands(capsys: Capture) -> None:
    found = sizer.compare(["SmolLM2-135M", "Qwen3-0.6B"], ["raspberry-pi-5", "galaxy-s24"], bits=8)
    devices = ("--device", "raspberry-pi-5", "--device", "galaxy-s24")
    asked = ("compare", "SmolLM2-135M", "Qwen3-0.6B", *devices, "--bits", "8")
    assert found.to_dict() == printed(capsys, *asked)


def test_what_fills_a_budget_is_the_commands(capsys: Capture) -> None:
    found = sizer.solve(device="raspberry-pi-5", max_size="60MB", top=3)
    asked = ("solve", "--device", "raspberry-pi-5", "--max-size", "60MB", "--top", "3")
    assert [sized.to_dict() for sized in found] == printed(capsys, *asked)["estimates"]
    assert sizer.solve(device="raspberry-pi-5", max_size=60_000_000, top=3) == found


def test_a_search_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(sizer.SizerError, match="storage: there is no study file"):
        sizer.search("no-such-study", f"sqlite:///{tmp_path}/none.db")


def test_importing_sizer_loads_no_other_module_of_it() -> None:
    code = "import sizer, sys; print([m for m in sys.modules if m.startswith('sizer.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
    assert set(sizer.__all__) <= set(dir(sizer))
    assert all(getattr(sizer, name) is not None for name in sizer.__all__)


def test_python_m_sizer() -> None:
    asked = [sys.executable, "-m", "sizer", "estimate", "MobileLLM-125M", "--json"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["parameters"]["total"] == 124_635_456
