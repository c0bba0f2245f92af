"""Architectures as one word: every shape comes back, and nothing else is taken."""

from __future__ import annotations

import re
import shlex
from urllib.parse import quote

import pytest
from hypothesis import given

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.families.hf_config import architecture_from_config
from sizer.readers import read_model
from sizer.registry import models
from sizer.shape_code import architecture_of_code, shape_code
from tests.other_layers import BASES
from tests.strategies import architectures

SMALL = (
    "vocab_size.256~num_layers.4~hidden_size.64~intermediate_size.128~num_heads.4~num_kv_heads.2~head_dim.16"
)


@pytest.mark.parametrize("name", models())
def test_every_known_model_comes_back(name: str) -> None:
    known = models()[name].architecture
    assert architecture_of_code(shape_code(known)) == known
    assert read_model(f"shape:{shape_code(known)}") == known


@given(architectures())
def test_every_shape_comes_back(architecture: Architecture) -> None:
    code = shape_code(architecture)
    assert architecture_of_code(code) == architecture
    # nothing to escape in an address or a shell
    assert quote(code) == code
    assert re.fullmatch(r"[\w.~-]+", code)


@pytest.mark.parametrize("family", BASES)
def test_layers_of_other_kinds_come_back(family: str) -> None:
    a = architecture_of_code(shape_code(architecture_from_config(BASES[family])))
    assert a == architecture_from_config(BASES[family])
    assert hash(a) == hash(architecture_from_config(BASES[family]))
    assert quote(shape_code(a)) == shape_code(a)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("mamba.layers.0", r"mamba.inner_size missing"),
        ("mamba.layers.0~mamba.layers.1", "'layers' is given twice"),
        ("mamba.width.7", "'width' is not a field"),
        ("mamba2", "'' is not a field"),
        (
            "mamba2.layers.9~mamba2.num_heads.4~mamba2.head_dim.8~mamba2.state_size.8",
            r"mamba2.layers must be layers from 0 to 3, got \[9\]",
        ),
        (
            "mamba2.layers.0~mamba2.num_heads.4~mamba2.head_dim.8~mamba2.state_size.0",
            "mamba2.state_size must be a whole number from 1 to 10000000, got 0",
        ),
    ],
)
def test_kinds_of_layers_are_checked(more: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        architecture_of_code(f"{SMALL}~{more}")


def test_worked_by_hand() -> None:
    a = Architecture(
        vocab_size=256,
        num_layers=4,
        hidden_size=64,
        intermediate_size=128,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
    )
    assert shape_code(a) == SMALL
    more = architecture_of_code(f"{SMALL}~qk_norm.1~conv_layers.0-2~tie_embeddings.0", name="mine")
    assert (more.qk_norm, more.conv_layers, more.tie_embeddings, more.name) == (
        True,
        (0, 1, 2),
        False,
        "mine",
    )
    assert shlex.split(f"shape:{SMALL}") == [f"shape:{SMALL}"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("", "'' is not a field"),
        ("hidden_size.64", "vocab_size, num_layers, intermediate_size, num_heads"),
        (f"{SMALL}~head_dim.16", "'head_dim' is given twice"),
        (f"{SMALL}~name.x", "'name' is not a field"),
        (f"{SMALL}~<script>.1", "'<script>' is not a field"),
        (f"{SMALL}~qk_norm.yes", "accepted: 0 or 1"),
        (f"{SMALL}~model_type.a b", "accepted: letters, digits, - and _, at most 60"),
        (f"{SMALL}~model_type.", "accepted: letters, digits, - and _, at most 60"),
        (f"{SMALL}~mlp.relu9", "mlp: unknown value 'relu9'"),
        (f"{SMALL}~conv_layers.0-999999999999", "up to 10000 numbers"),
        (f"{SMALL}~conv_layers.3-1", "up to 10000 numbers"),
        (f"{SMALL}~conv_layers.", "a whole number"),
        (f"{SMALL}~sharing.immediate", "sharing is ''"),
        (SMALL.replace("vocab_size.256", "vocab_size.²"), "a whole number"),
        (SMALL.replace("vocab_size.256", "vocab_size." + "9" * 5000), "a whole number"),
        (SMALL.replace("vocab_size.256", "vocab_size.0"), "vocab_size must be a whole number from 1"),
        ("a" * 30_000, "30000 letters are too many"),
    ],
)
def test_anything_else_is_refused_on_one_line(code: str, told: str) -> None:
    with pytest.raises(InvalidArchitecture, match=re.escape(told)) as error:
        architecture_of_code(code)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


def test_the_family_goes_with_the_shape() -> None:
    """Two families may have the same tensors; engines have a definition for each."""
    for known in models().values():
        found = architecture_of_code(shape_code(known.architecture))
        assert found.model_type == known.architecture.model_type
