"""Speeds of any shape on any device: more work is never faster, and ranges hold their values."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sizer.architecture import Architecture
from sizer.devices.catalogue import device, load_devices
from sizer.devices.latency import latency
from sizer.formats.ggml import TYPES
from sizer.formats.stored import stored_tensor
from sizer.tensors import tensor_specs
from tests.sizer.devices.test_latency import ROOM, predicted

SMOLLM2 = Architecture(
    name="SmolLM2-135M",
    vocab_size=49152,
    num_layers=30,
    hidden_size=576,
    intermediate_size=1536,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
)


ON_SPEED = [name for name, d in load_devices().items() if d.bandwidth_bytes_per_s is not None]
shapes = st.builds(
    lambda layers, heads, width: Architecture(
        vocab_size=32000,
        num_layers=layers,
        hidden_size=64 * width,
        intermediate_size=160 * width,
        num_heads=2 * heads,
        num_kv_heads=heads,
        head_dim=64,
    ),
    st.integers(1, 40),
    st.integers(1, 8),
    st.integers(2, 24),
)
everything = st.tuples(shapes, st.sampled_from(ON_SPEED), st.sampled_from(["Q4_K_M", "Q8_0", "F16", "TQ1_0"]))


@given(everything, st.integers(1, 8))
def test_more_layers_are_not_faster(case: tuple[Architecture, str, str], more: int) -> None:
    architecture, name, format_name = case
    deeper = replace(architecture, num_layers=architecture.num_layers + more)
    small, large = (predicted(a, format_name, on=device(name)) for a in (architecture, deeper))
    assert large.decode_at_start_tokens_per_s.value <= small.decode_at_start_tokens_per_s.value
    assert large.prefill_tokens_per_s.value <= small.prefill_tokens_per_s.value
    assert large.load_s.value >= small.load_s.value


@given(shapes, st.sampled_from(ON_SPEED))
def test_more_bytes_are_not_faster(architecture: Architecture, name: str) -> None:
    specs = tensor_specs(architecture)
    speeds = []
    for block in ("Q4_0", "Q8_0", "F16", "F32"):
        stored = [stored_tensor(spec, TYPES[block]) for spec in specs]
        found = latency(
            runtime="llama.cpp",
            architecture=architecture,
            stored=stored,
            device=device(name),
            backend=device(name).backend,
            workload=ROOM,
            file_bytes=sum(t.num_bytes for t in stored),
        )
        assert found is not None
        speeds.append(
            (found.decode_at_start_tokens_per_s.value, found.prefill_tokens_per_s.value, -found.load_s.value)
        )
    for faster, slower in zip(speeds, speeds[1:], strict=False):
        assert slower[0] < faster[0]
        # 16-bit weights need no unpacking: on Metal their prompts are a tenth faster
        assert slower[1] <= 1.2 * faster[1]
        assert slower[2] < faster[2]


@given(everything, st.integers(1, 4000), st.integers(1, 4000))
def test_a_deeper_context_is_not_faster(case: tuple[Architecture, str, str], prompt: int, more: int) -> None:
    architecture, name, format_name = case
    speeds = [
        predicted(architecture, format_name, on=device(name), workload=replace(ROOM, prompt_tokens=tokens))
        for tokens in (prompt, prompt + more)
    ]
    assert speeds[1].decode_at_start_tokens_per_s.value < speeds[0].decode_at_start_tokens_per_s.value
    # reading the weights may bind, the same for both prompts but for rounding
    first, later = (s.time_to_first_token_s.value for s in speeds)
    assert later >= first * (1 - 1e-12)


@given(everything)
def test_values_lie_strictly_inside_their_ranges(case: tuple[Architecture, str, str]) -> None:
    architecture, name, format_name = case
    found = predicted(architecture, format_name, on=device(name))
    for figure in (
        found.load_s,
        found.prefill_tokens_per_s,
        found.time_to_first_token_s,
        found.decode_at_start_tokens_per_s,
    ):
        assert 0 < figure.low < figure.value < figure.high
