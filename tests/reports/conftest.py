"""Golden texts and the estimates that the report tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.devices.device import Device, DeviceKind, Fact
from sizer.devices.latency import Latency
from sizer.formats.stored import FileBytes, TokenizerBytes, Weights
from sizer.memory import MemoryBreakdown
from sizer.model_estimate import Estimate
from sizer.prediction import Basis, Prediction
from sizer.tensors import ParameterCounts
from sizer.workload import Workload

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with golden/<name>.txt, or write it there with --overwrite-golden."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--overwrite-golden"):
            path.write_text(text, encoding="utf-8", newline="\n")
        assert path.is_file(), f"{path.name} is missing: run pytest --overwrite-golden"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture
def worked_out() -> Estimate:
    """An estimate whose every figure is set here, so that texts about it do not move with the calculator."""
    architecture = Architecture(
        name="worked-out",
        vocab_size=1000,
        num_layers=6,
        hidden_size=192,
        intermediate_size=512,
        num_heads=6,
        num_kv_heads=2,
        head_dim=32,
        tie_embeddings=False,
        sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2),
    )
    return Estimate(
        shape=architecture,
        format="Q4_K_M",
        runtime="llama.cpp",
        workload=Workload(),
        device=Device(
            name="test-board",
            title="Test board",
            kind=DeviceKind.BOARD,
            ram_bytes=Fact(64_000_000, "made up", "2026-01"),
        ),
        parameters=ParameterCounts(
            embedding=192_000, attention=589_824, mlp=1_769_472, norm=2_496, head=192_000
        ),
        weights=Weights(
            bytes_by_type={"Q5_0": 2_500_000, "Q8_0": 400_000, "F32": 9_984},
            stored_weights=5_000_000,
            file=FileBytes(
                tensor_bytes=2_909_984,
                padding_bytes=96,
                directory_bytes=6_420,
                tokenizer=TokenizerBytes(name="byte-pair", value=41_000, low=30_000, high=62_000),
            ),
        ),
        held=MemoryBreakdown(
            context_tokens=2048,
            weights_bytes=2_909_984,
            kv_cache_bytes=6_291_456,
            compute_bytes=3_014_656,
            output_bytes=4_000,
            overhead_bytes=5_338_880,
            budget_bytes=16_000_000,
        ),
        latency=Latency(
            load_s=_prediction(0.0975, Basis.SPECIFICATION),
            prefill_tokens_per_s=_prediction(3120.0, Basis.SPECIFICATION),
            time_to_first_token_s=_prediction(0.041, Basis.SPECIFICATION),
            decode_tokens_per_s=_prediction(712.0, Basis.FITTED),
            decode_at_start_tokens_per_s=_prediction(731.0, Basis.FITTED),
        ),
        energy=_prediction(0.0089, Basis.FITTED),
        assumptions=(
            "a note short enough for one line",
            "a longer note " * 9 + "that must wrap and stay indented",
        ),
    )


def _prediction(value: float, basis: Basis) -> Prediction:
    return Prediction(value=value, low=0.6 * value, high=1.6 * value, basis=basis)
