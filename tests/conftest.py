"""What tests share: the golden-text option, and a study as the search leaves it, without running one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import cli
from search.store.results import Candidate, ProxyResult, SearchResult, TrialRecord, TrialStatus
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.budget import Limits
from sizer.devices.catalogue import device
from sizer.model_estimate import estimate
from sizer.prediction import Basis, Prediction
from sizer.registry import model
from tests.worked_study import study_in_rungs

ROOT = Path(__file__).parent.parent

# No deadline: machines that run tests are shared, and a slow example is not a wrong one.
settings.register_profile("sizer", deadline=None)
settings.load_profile("sizer")


MAIN = sys.modules["__main__"]


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's AppTest leaves the page it ran as `__main__`, which spawned processes would run anew."""
    monkeypatch.setitem(sys.modules, "__main__", MAIN)


@pytest.fixture(autouse=True)
def own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are as wide as without a terminal, however wide the terminal of the tests is."""
    monkeypatch.delenv("COLUMNS", raising=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register --overwrite-golden."""
    parser.addoption(
        "--overwrite-golden", action="store_true", help="write golden texts instead of comparing"
    )


@pytest.fixture
def root() -> Path:
    """The checkout's directory."""
    return ROOT


def shape(
    layers: int,
    width: int,
    heads: int,
    kv_heads: int,
    sharing: SharingStrategy = SharingStrategy.NONE,
) -> Architecture:
    """A byte-vocabulary proxy shape, its name as the search gives it."""
    return Architecture(
        name=f"proxy-{layers}x{width}",
        vocab_size=256,
        num_layers=layers,
        hidden_size=width,
        intermediate_size=round(width * 8 / 3 / 32) * 32,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=32,
        sharing=LayerSharing(strategy=sharing, repeat=1 if sharing is SharingStrategy.NONE else 2),
    )


def trained(
    bits_per_byte: float, error: float = 0.0062, status: TrialStatus = TrialStatus.COMPLETE
) -> ProxyResult:
    """A training result of 1,000 steps; a diverged one has no score."""
    complete = status is TrialStatus.COMPLETE
    steps = 1000 if complete else 180
    return ProxyResult(
        status=status,
        val_bits_per_byte=bits_per_byte if complete else None,
        val_bits_per_byte_sd=error if complete else None,
        val_bits_per_byte_full=bits_per_byte - 0.011 if complete else None,
        num_parameters=0,
        steps=steps,
        trained_tokens=steps * 8 * 128,
        wall_s=41.5 * steps / 1000,
        seed=0,
    )


# (layers, width, heads, KV heads, sharing, format, training; None: over the budget)
_TRIALS = (
    (4, 128, 4, 2, SharingStrategy.NONE, "Q8_0", trained(2.4310)),
    (8, 192, 6, 2, SharingStrategy.NONE, "Q4_0", trained(2.2480)),
    (6, 192, 6, 2, SharingStrategy.IMMEDIATE, "Q4_0", trained(2.2755)),
    (12, 256, 8, 2, SharingStrategy.NONE, "Q8_0", None),
    (10, 192, 6, 3, SharingStrategy.NONE, "Q4_0", trained(2.2105, 0.0058)),
    (6, 256, 8, 4, SharingStrategy.NONE, "Q4_0", trained(2.1898, 0.0057)),
    (6, 256, 8, 2, SharingStrategy.REVERSE, "Q4_K_M", trained(2.2312)),
    (24, 96, 3, 1, SharingStrategy.NONE, "Q4_0", trained(9.9, status=TrialStatus.DIVERGED)),
    (8, 256, 8, 2, SharingStrategy.NONE, "Q4_0", trained(2.1472, 0.0055)),
    (5, 256, 8, 2, SharingStrategy.NONE, "Q8_0", trained(2.1745, 0.0056)),
    (8, 256, 8, 4, SharingStrategy.NONE, "Q4_K_M", trained(2.1460, 0.0054)),
    (20, 128, 4, 1, SharingStrategy.REPEAT_ALL, "Q8_0", None),
    (3, 160, 5, 1, SharingStrategy.NONE, "Q4_0", trained(2.5230, 0.0071)),
    (14, 192, 6, 2, SharingStrategy.NONE, "Q4_0", trained(2.1880, 0.0057)),
)


BUDGET = Limits(max_size_bytes=6_000_000, min_decode_tokens_per_s=200.0)


def _decode(file_bytes: int) -> Prediction:
    value = 2.4e9 / (file_bytes + 400_000)
    return Prediction(value=value, low=0.7 * value, high=1.4 * value, basis=Basis.FITTED)


def _record(number: int, device_name: str | None) -> TrialRecord:
    layers, width, heads, kv_heads, sharing, format_name, proxy = _TRIALS[number]
    candidate = Candidate(architecture=shape(layers, width, heads, kv_heads, sharing), format=format_name)
    sized = estimate(
        architecture=candidate.architecture,
        format=candidate.format,
        device=device(device_name) if device_name else None,
    )
    return TrialRecord(
        number=number,
        candidate=candidate,
        num_parameters=sized.parameters.total,
        file_bytes=sized.file.total,
        memory_bytes=sized.memory.total_bytes,
        # not the calculator's: golden texts must not move when a device profile is fitted anew
        decode_tokens_per_s=_decode(sized.file.total) if device_name else None,
        proxy=replace(proxy, num_parameters=sized.parameters.total) if proxy else None,
        violations=() if proxy else BUDGET.violations(sized),
    )


def build_result(
    device_name: str | None = "raspberry-pi-5", numbers: tuple[int, ...] | None = None
) -> SearchResult:
    """A study of 14 trials (2 over the budget, 1 diverged) and two repeats; or of the numbers given."""
    chosen = range(len(_TRIALS)) if numbers is None else numbers
    records = [_record(number, device_name) for number in chosen]
    if numbers is None:
        records.append(replace(records[4], number=len(_TRIALS), repeats=4))
        records.append(replace(records[7], number=len(_TRIALS) + 1, repeats=7))
    return SearchResult(
        study="pi5-6mb",
        device=device_name,
        runtime="llama.cpp",
        budget={
            "max_size_bytes": BUDGET.max_size_bytes,
            "max_memory_bytes": None,
            "min_decode_tokens_per_s": BUDGET.min_decode_tokens_per_s,
        },
        corpus="builtin",
        corpus_digest="6f1c3c0d9b3a4b5e8f77d0a1c2b3d4e5",
        trials_requested=12,
        settings={
            "context_tokens": 2048,
            "steps": 1000,
            "batch_size": 8,
            "seq_len": 128,
            "val_chunks": 64,
            "seed": 0,
            "dtype": "float32",
            "machine": "x86_64 Linux, Python 3.11.7",
        },
        records=tuple(records),
    )


@pytest.fixture(scope="session")
def result() -> SearchResult:
    """A study as `sizer search run` leaves it."""
    return build_result()


@pytest.fixture(scope="session")
def result_of() -> Callable[..., SearchResult]:
    """Builder of smaller studies: result_of(device_name, trial numbers)."""
    return build_result


@pytest.fixture
def in_rungs() -> SearchResult:
    """A study in rungs, worked out by hand."""
    return study_in_rungs()


@pytest.fixture(scope="session")
def smollm2() -> Architecture:
    """SmolLM2-135M: 134,515,008 parameters (its model card says 134.5M)."""
    return model("SmolLM2-135M").architecture


class Ran:
    """What one run of the command line printed and returned."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def sizer(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = cli.main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
