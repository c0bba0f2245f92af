"""MXFP4 experts: sizes that gpt-oss's model card and published files have, and blocks worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from sizer.families.hf_config import architecture_from_config
from sizer.formats.mxfp4 import MicroscaledBlocks
from sizer.model_estimate import estimate
from sizer.tensors import Access, Role, TensorSpec
from tests.other_layers import BASES

GPT_OSS: dict[str, Any] = {"model_type": "gpt_oss", "num_attention_heads": 64, "num_key_value_heads": 8}
SIZES = {"20b": (24, 32), "120b": (36, 128)}


def _shape(size: str) -> Any:
    layers, experts = SIZES[size]
    return architecture_from_config({**GPT_OSS, "num_hidden_layers": layers, "num_local_experts": experts})


# Checkpoint size of the model card's table 1 (arXiv 2508.10925), in GiB.
@pytest.mark.parametrize(("size", "gib"), [("20b", 12.8), ("120b", 60.8)])
def test_checkpoints_have_the_size_of_the_model_card(size: str, gib: float) -> None:
    file = estimate(architecture=_shape(size), format="mxfp4", runtime="transformers").file
    assert file.total / 2**30 == pytest.approx(gib, abs=0.05)


def test_a_published_gguf_file_of_gpt_oss_20b() -> None:
    # ggml-org/gpt-oss-20b-GGUF: 12.1 GB; experts MXFP4, other matrices Q8_0
    found = estimate(architecture=_shape("20b"), format="MXFP4_MOE")
    assert found.file.total == pytest.approx(12.11e9, rel=2e-3)
    assert set(found.bytes_by_type) == {"MXFP4", "Q8_0", "F32"}


def test_blocks_worked_by_hand() -> None:
    spec = TensorSpec(
        name="model.layers.0.mlp.experts.up_proj.weight",
        shape=(2, 3, 64),
        role=Role.UP_EXPERTS,
        layer=0,
        access=Access.MATMUL,
        used_experts=1,
    )
    assert MicroscaledBlocks().tensor_bytes(spec) == 2 * 3 * (2 * 16 + 2)
    assert not MicroscaledBlocks().fits(40)


def test_a_dense_model_has_no_matrix_in_mxfp4() -> None:
    shape = architecture_from_config(BASES["minicpm3"])
    found = estimate(architecture=shape, format="mxfp4", runtime="transformers")
    assert set(found.bytes_by_type) == {"BF16"}
