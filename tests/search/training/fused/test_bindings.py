"""Types of the compiled functions and what C and Python share."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

import pytest
import torch

from search.training.fused import bindings
from search.training.fused import kernels as loader
from search.training.fused.bindings import FUNCTIONS, bind, c_arguments
from search.training.fused.kernels import CACHE_VARIABLE, NoKernels, kernels
from sizer.errors import InvalidFile


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        return kernels(torch.float32)
    except NoKernels as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no kernels: {error}")


def test_every_function_has_the_types_of_the_table(library: ctypes.CDLL) -> None:
    for name, function in FUNCTIONS.items():
        assert hasattr(library, name) or function.is_optional, name
        if hasattr(library, name):
            assert len(getattr(library, name).argtypes) == len(function.arguments), name
    assert library.adamw.restype is ctypes.c_double
    assert library.embed.restype is None
    assert library.embed.argtypes == [*[ctypes.c_long] * 2, *[ctypes.c_void_p] * 3]
    assert FUNCTIONS["embed"].arguments == ("long", "long", "int64_t *", "float *", "float *")
    assert {name for name, function in FUNCTIONS.items() if function.is_optional} == {
        *("attention", "attention_backward", "attention_workspace"),
        *("linear", "linear_backward", "weight_gradient", "product_workspace"),
    }


def test_a_call_of_other_types_is_refused() -> None:
    tokens, table, stream = torch.zeros(2, dtype=torch.int64), torch.zeros(9, 4), torch.zeros(2, 4)
    c_arguments("embed", (2, 4, tokens, table, stream), torch.float32)
    for wrong in (
        (2, 4, tokens.int(), table, stream),
        (2, 4, tokens, table.bfloat16(), stream),
        (2, 4, tokens, table, torch.zeros(4, 2).t()),
        (2, 4, tokens, table, 1.5),
    ):
        with pytest.raises(AssertionError, match="embed"):
            c_arguments("embed", wrong, torch.float32)
    with pytest.raises(ValueError, match="zip"):
        c_arguments("embed", (2, 4, tokens, table), torch.float32)


def test_what_differs_between_c_and_python_is_named(
    library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("kernels.so")
    bind(library, path, torch.float32)
    with pytest.raises(InvalidFile, match=r"'kernels.so' has 4 as size of real, Python uses 2"):
        bind(library, path, torch.bfloat16)
    bind(library, path, torch.float32)
    with monkeypatch.context() as changed:
        changed.setattr(bindings, "ADAMW_CHUNK", 1024)
        with pytest.raises(InvalidFile, match="has 16384 as ADAMW_CHUNK, Python uses 1024"):
            bind(library, path, torch.float32)
    swapped = list(bindings.AdamwTensor._fields_)
    swapped[1:1] = [("new", ctypes.c_void_p)]
    monkeypatch.setattr(bindings, "AdamwTensor", type("Other", (ctypes.Structure,), {"_fields_": swapped}))
    with pytest.raises(InvalidFile, match="has 64 as size of adamw_tensor, Python uses 72"):
        bind(library, path, torch.float32)


def test_c_code_that_differs_from_the_table_is_not_compiled(
    library: ctypes.CDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "fused"
    shutil.copytree(loader._FOLDER, folder)
    source = folder / "kernels.c"
    text = source.read_text(encoding="utf-8")
    assert "void embed(long rows, long width," in text
    source.write_text(text.replace("void embed(long rows, long width,", "void embed(long rows, int width,"))
    monkeypatch.setattr(loader, "_FOLDER", folder)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(NoKernels, match="conflicting types for 'embed'|conflicting types for ‘embed’"):
        loader._load(torch.float32)


def test_the_page_of_a_step_explains_every_kernel() -> None:
    page = (loader._FOLDER / "avx512" / "README.md").read_text(encoding="utf-8")
    portable = {"split_heads_backward", "causal_softmax_backward", "shared_constant"}
    assert [name for name in FUNCTIONS if f"`{name}`" not in page and name not in portable] == []
