"""Types of runtimes other than llama.cpp: groups worked by hand, and values that their own libraries gave."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from search.config.format_bits import usual_formats
from search.training.decoder import Decoder
from search.training.learning_rates import initialize
from search.training.quantize import deployed_model, fake_quantize, stored_types
from search.training.straight_through import int8_affine_rows, int8_rows
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import UnknownName
from sizer.formats.groups import RowGroups
from sizer.formats.levels import Levels, NotModelled, dynamic_levels
from sizer.formats.stored import StorageType
from sizer.runtimes import RUNTIME_NAMES, runtime
from tests.search.training.test_quantize import _bell

TINY = Architecture(
    vocab_size=256,
    num_layers=2,
    hidden_size=128,
    intermediate_size=256,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
)
Q_PROJ, TABLE, HEAD = "model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight", "lm_head.weight"


def _matrix(runtime_name: str, format_name: str) -> StorageType:
    return stored_types(TINY, format_name, runtime_name)[Q_PROJ]


def _levels(kind: StorageType) -> Levels:
    assert isinstance(kind.levels, Levels)
    return kind.levels


def _group(*values: float, size: int = 32) -> Tensor:
    return torch.tensor([*values, *([0.0] * (size - len(values)))])


@pytest.mark.parametrize(
    ("runtime_name", "format_name", "given", "expected"),
    [
        # step 15 / 7.5 = 2, levels -8 to 7: the largest would be 7.5, to even 8, of which there is none
        ("executorch", "8da4w-g32-e8", (15.0, -15.0, 3.0, 5.0, 2.9), (14.0, -16.0, 4.0, 4.0, 2.0)),
        # step 7 / 7 = 1, as many levels below zero; halves away from zero
        ("web-llm", "q4f16_1", (7.0, -7.0, 2.5, -0.4), (7.0, -7.0, 3.0, 0.0)),
        ("web-llm", "q4f32_1", (7.0, -3.5, 0.5), (7.0, -4.0, 1.0)),
        # step 3 / 3 = 1
        ("web-llm", "q3f16_1", (3.0, -1.6, 0.4), (3.0, -2.0, 0.0)),
        # step 8 / -8 = -1: the largest is level -8, the other end 7 levels away
        ("transformers.js", "q4", (8.0, -8.0, 3.4, -0.5), (8.0, -7.0, 3.0, -1.0)),
        ("transformers.js", "q8f16", (128.0, -128.0, 2.5), (128.0, -127.0, 3.0)),
    ],
)
def test_groups_worked_by_hand(
    runtime_name: str, format_name: str, given: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    kind = _matrix(runtime_name, format_name)
    x = _group(*given, size=40 if "q3" in format_name else 32)
    assert fake_quantize(x, kind)[: len(expected)].tolist() == list(expected)


def test_mlx_groups_worked_by_hand() -> None:
    kind = _matrix("mlx", "4bit")
    # from -1 to 14: step 15 / 15, from the larger end down: levels 14, 13, ..., -1, all exact in BF16
    x = _group(14.0, -1.0, 3.4, 2.6, size=64)
    assert fake_quantize(x, kind)[:4].tolist() == [14.0, -1.0, 3.0, 3.0]
    # from 0 to 3.1: step 3.1 / 15 = 0.20667; 3.1 / step is level 15, so the step stays and 0 is a level
    x = _group(3.1, 1.0, size=64)
    step, offset = torch.tensor([3.1 / 15, 3.1]).bfloat16().tolist()
    assert fake_quantize(x, kind)[:2].tolist() == pytest.approx([offset, offset - 10 * step])


def test_nf4_worked_by_hand() -> None:
    kind = _matrix("transformers", "nf4")
    # largest magnitude 2; 0.9 / 2 lies nearest to 0.44070983, -0.2 / 2 to -0.09105004
    found = fake_quantize(_group(2.0, -2.0, 0.9, -0.2, size=64), kind)[:4].tolist()
    assert found == pytest.approx([2.0, -2.0, 2 * 0.44070982933044434, -2 * 0.09105003625154495])


def test_the_dynamic_map() -> None:
    levels = dynamic_levels()
    assert len(levels) == 256
    assert (levels[0], levels[127], levels[128], levels[-1]) == pytest.approx((-0.99296875, 0.0, 5.5e-7, 1.0))
    assert levels[-2] == pytest.approx(0.1 + 0.9 * 63.5 / 64)


# Of `_bell(16, 512)`: what mlx 0.32.4 (float32, its CPU), onnxruntime 1.32.0 (quantize_matmul_*bits,
# symmetric, float32), bitsandbytes 0.50.2 (quantize_4bit on a CPU) and torchao 0.18.0
# (Int8DynamicActivationIntxWeightConfig; 4-bit scales in BF16) make of them: root mean square error, then
# elements 0 to 5 of row 0.
ORACLES: dict[tuple[str, str], tuple[float, tuple[float, ...]]] = {
    ("mlx", "2bit"): (
        0.10847,
        (-0.495582581, 0, 0, 0, 0.24779129, 0.24779129),
    ),
    ("mlx", "3bit-g32"): (
        0.0475132,
        (-0.355665207, 0, 0.118555069, 0.118555069, 0.355665207, 0.237110138),
    ),
    ("mlx", "4bit"): (
        0.0254171,
        (-0.371686935, 0.0619478226, 0.0619478226, 0.123895645, 0.371686935, 0.309739113),
    ),
    ("mlx", "6bit-g128"): (
        0.00657187,
        (-0.391221881, 0.0355656147, 0.0889140368, 0.106696844, 0.355656207, 0.284524977),
    ),
    ("mlx", "8bit-g32"): (
        0.00133839,
        (-0.389538109, 0.0338728726, 0.0812948942, 0.0982313454, 0.359052479, 0.291306734),
    ),
    ("transformers.js", "q4"): (
        0.0237881,
        (-0.414942741, 0.0592775345, 0.0592775345, 0.118555069, 0.355665207, 0.296387672),
    ),
    ("transformers.js", "q8f16"): (
        0.00144981,
        (-0.392713666, 0.0333436131, 0.0815066099, 0.100030839, 0.355665207, 0.288977981),
    ),
    ("transformers", "nf4"): (
        0.0260438,
        (-0.345021039, 0.039438609, 0.0797542036, 0.0797542036, 0.358284801, 0.278823197),
    ),
    ("transformers", "nf4-dq"): (
        0.0260446,
        (-0.346081138, 0.039559789, 0.0799992532, 0.0799992532, 0.359385669, 0.279679894),
    ),
    ("transformers", "fp4"): (
        0.0343609,
        (-0.330388397, 0.00258115935, 0.0825970992, 0.0825970992, 0.330388397, 0.330388397),
    ),
    ("executorch", "8da4w-g32-e8"): (
        0.0262245,
        (-0.377929688, 0.0629882812, 0.0629882812, 0.125976562, 0.377929688, 0.314941406),
    ),
    ("executorch", "8da8w-e8"): (
        0.00185723,
        (-0.392741352, 0.0350661911, 0.0841588601, 0.0981853381, 0.357675165, 0.28754279),
    ),
}


class _Float32(RowGroups):
    """A stand-in for a type whose scales are stored in float32."""


@pytest.mark.parametrize(("runtime_name", "format_name"), list(ORACLES))
def test_errors_and_values_of_their_own_libraries(runtime_name: str, format_name: str) -> None:
    error, first = ORACLES[runtime_name, format_name]
    levels = _levels(_matrix(runtime_name, format_name))
    if runtime_name in ("mlx", "transformers.js"):  # stored in 16 bits by us, in float32 by the oracle
        levels = levels._replace(dtype="F32")
    weights = _bell(16, 512)
    found = fake_quantize(weights, _Float32("as the oracle", 4, 32, 4, levels=levels))
    assert float((found - weights).double().square().mean().sqrt()) == pytest.approx(error, rel=1e-4)
    assert found[0, :6].tolist() == pytest.approx(first, rel=1e-6)


def test_scales_are_rounded_to_the_type_they_are_stored_in() -> None:
    weights = _bell(16, 512)
    for runtime_name, format_name in (
        ("mlx", "4bit"),
        ("web-llm", "q4f16_1"),
        ("executorch", "8da4w-g32-e8"),
    ):
        kind = _matrix(runtime_name, format_name)
        exact = _Float32("exact", 4, 32, 4, levels=_levels(kind)._replace(dtype="F32"))
        off = (fake_quantize(weights, kind) - fake_quantize(weights, exact)).square().mean().sqrt()
        assert 0 < off < 0.003, format_name


def test_the_last_group_of_a_row_is_filled_up() -> None:
    kind = _matrix("web-llm", "q4f16_1")
    rows = _bell(4, 48)
    found = fake_quantize(rows, kind)
    assert torch.equal(found[:, :32], fake_quantize(rows[:, :32].contiguous(), kind))
    filled = torch.cat([rows[:, 32:], torch.zeros(4, 16)], 1)
    assert torch.equal(found[:, 32:], fake_quantize(filled, kind)[:, :16])


def test_affine_rows_worked_by_hand() -> None:
    # from -1 to 254: step 1, zero point -127, halves to even; a row above zero has 0 as its lowest level
    x = torch.tensor([[254.0, -1.0, 2.5, 0.4], [510.0, 5.0, 7.1, 1.0], [0.0, 0.0, 0.0, 0.0]])
    expected = [[254.0, -1.0, 2.0, 0.0], [510.0, 4.0, 8.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert int8_affine_rows(x).tolist() == expected
    assert int8_affine_rows(x.bfloat16()).dtype == torch.bfloat16


def _model() -> Decoder:
    model = Decoder(TINY)
    initialize(model, TINY, torch.Generator().manual_seed(0))
    return model


def test_a_tied_table_that_is_stored_twice_is_rounded_twice() -> None:
    exact = _model().state_dict()[TABLE].clone()
    deployed = deployed_model(_model(), TINY, "q4", "transformers.js")
    state = deployed.state_dict()
    assert torch.equal(state[TABLE], exact)
    assert torch.equal(state[HEAD], fake_quantize(exact, _matrix("transformers.js", "q4")))
    assert HEAD not in deployed_model(_model(), TINY, "4bit", "mlx").state_dict()


def test_activations_are_rounded_as_the_runtime_does() -> None:
    for runtime_name, format_name, rounded in (
        ("executorch", "8da4w-g32-e8", int8_affine_rows),
        ("bitnet.cpp", "I2_S", int8_rows),
        ("mlx", "4bit", None),
    ):
        matrices = deployed_model(_model(), TINY, format_name, runtime_name).matrices
        found = matrices[Q_PROJ]
        assert found.int8_input == (rounded is not None)
        assert rounded is None or found.round_rows is rounded
    assert deployed_model(_model(), TINY, "8da4w-g32-e8", "executorch").matrices[HEAD].int8_input


@pytest.mark.parametrize("name", RUNTIME_NAMES)
def test_every_runtime_has_formats_to_search_or_gives_a_reason(name: str) -> None:
    engine = runtime(name)
    accepted = engine.searchable_formats
    assert accepted
    for format_name in engine.formats:
        reason = engine.why_not_searchable(format_name)
        assert (reason is None) == (format_name in accepted)
        if reason is None:
            engine.check_searchable(format_name.upper())
            kinds = stored_types(TINY, format_name, name).values()
            assert not any(isinstance(kind.levels, NotModelled) for kind in kinds)
            continue
        assert len(reason) > 20
        with pytest.raises(UnknownName, match=f"cannot be searched .*accepted: .*{accepted[0]}"):
            engine.check_searchable(format_name)


def test_what_became_searchable() -> None:
    wanted = {
        "executorch": ("8da4w-g32-e8", "8da4w-g128-e32", "8da8w-e8"),
        "mlx": tuple(f"{bits}bit{group}" for bits in (2, 3, 4, 6, 8) for group in ("", "-g32", "-g128")),
        "transformers": ("nf4", "nf4-dq", "bf16"),
        "web-llm": ("q4f16_1", "q4f32_1", "q3f16_1"),
        "transformers.js": ("q4", "q4f16", "bnb4"),
    }
    for name, formats in wanted.items():
        assert set(formats) <= set(runtime(name).searchable_formats), name


def test_a_shared_block_is_rounded_as_its_own_file_has_it() -> None:
    shared = replace(TINY, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2))
    for name in RUNTIME_NAMES:
        engine = runtime(name)
        if name == "bitnet.cpp":  # its formats are for models that were trained in them
            continue
        types = stored_types(shared, usual_formats(name)[0], name)
        assert types.keys() >= Decoder(shared).state_dict().keys() - {HEAD}, engine.name


def test_keys_and_values_are_rounded_to_the_type_of_the_cache() -> None:
    tokens = torch.arange(64).reshape(2, 32)
    logits = {
        kind: deployed_model(_model(), TINY, "F16", "llama.cpp", kind)(tokens)
        for kind in (None, "F32", "F16", "Q8_0", "Q4_0")
    }
    plain = logits[None]
    assert torch.equal(logits["F32"], plain)
    errors = [float((logits[kind] - plain).detach().square().mean()) for kind in ("F16", "Q8_0", "Q4_0")]
    assert 0 < 100 * errors[0] < 10 * errors[1] < errors[2]
