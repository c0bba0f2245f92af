"""Kernels one by one: products, attention and SwiGLU in bfloat16 against the same in float64."""

from __future__ import annotations

import ctypes
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search.training.decoder import rotation_angles
from search.training.fused.bindings import Argument, c_arguments
from search.training.fused.kernels import NoKernels, kernels


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        return kernels(torch.bfloat16)
    except NoKernels as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no kernels: {error}")


@pytest.fixture(scope="module")
def products(library: ctypes.CDLL) -> ctypes.CDLL:
    if not hasattr(library, "linear"):
        pytest.skip("products are the library's on this processor")
    return library


@pytest.fixture(scope="module")
def attention(library: ctypes.CDLL) -> ctypes.CDLL:
    if not hasattr(library, "attention"):
        pytest.skip("no bfloat16 products on this processor")
    return library


def _call(library: ctypes.CDLL, name: str, *arguments: Argument) -> None:
    getattr(library, name)(*c_arguments(name, arguments, torch.bfloat16))


def _fenced(*shape: int) -> tuple[Tensor, Tensor]:
    """A bfloat16 tensor to write to, and the memory around it, which is to stay 7."""
    size = torch.Size(shape).numel()
    whole = torch.full((size + 128,), 7.0, dtype=torch.bfloat16)
    return whole[64:-64].view(shape), whole


def _assert_fence(whole: Tensor) -> None:
    assert torch.equal(whole[:64], torch.full((64,), 7.0, dtype=torch.bfloat16))
    assert torch.equal(whole[-64:], torch.full((64,), 7.0, dtype=torch.bfloat16))


def _three(
    library: ctypes.CDLL, x: Tensor, weight: Tensor, dy: Tensor, *, num_partitions: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradient of the input, gradient of the weight."""
    sizes = (*x.shape, weight.shape[0], num_partitions)
    workspace = torch.zeros(library.product_workspace(*sizes) + 16, dtype=torch.int32)
    workspace[-16:] = 7
    (y, y_whole), (dx, dx_whole), (dweight, dweight_whole) = (_fenced(*t.shape) for t in (dy, x, weight))
    _call(library, "linear", *sizes, x, weight, workspace, y)
    _call(library, "linear_backward", *sizes, dy, weight, workspace, dx)
    _call(library, "weight_gradient", *sizes, dy, x, workspace, dweight, 0)
    for whole in (y_whole, dx_whole, dweight_whole):
        _assert_fence(whole)
    assert workspace[-16:].tolist() == [7] * 16
    return y, dx, dweight


def _whole_numbers(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randint(-2, 3, shape, generator=generator).bfloat16()


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 40).map(lambda n: 2 * n),
    width_in=st.integers(1, 40).map(lambda n: 2 * n),
    width_out=st.integers(1, 40).map(lambda n: 2 * n),
    num_partitions=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_products_of_small_whole_numbers_are_exact(
    products: ctypes.CDLL, rows: int, width_in: int, width_out: int, num_partitions: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = _whole_numbers(generator, rows, width_in)
    weight = _whole_numbers(generator, width_out, width_in)
    dy = _whole_numbers(generator, rows, width_out)
    exact = (x.double() @ weight.double().T, dy.double() @ weight.double(), dy.double().T @ x.double())
    for found, expected in zip(
        _three(products, x, weight, dy, num_partitions=num_partitions), exact, strict=True
    ):
        assert torch.equal(found, expected.bfloat16())


@pytest.mark.parametrize(
    "sizes", [(1024, 96, 512), (256, 256, 96), (512, 320, 1728), (84, 70, 94), (20, 6, 34), (2, 2, 2)]
)
def test_products_are_rounded_once(products: ctypes.CDLL, sizes: tuple[int, int, int]) -> None:
    rows, width_in, width_out = sizes
    generator = torch.Generator().manual_seed(0)
    x, weight, dy = (
        torch.randn(*shape, generator=generator).bfloat16()
        for shape in ((rows, width_in), (width_out, width_in), (rows, width_out))
    )
    exact = (x.double() @ weight.double().T, dy.double() @ weight.double(), dy.double().T @ x.double())
    once = _three(products, x, weight, dy, num_partitions=1)
    for found, expected in zip(once, exact, strict=True):
        # half a unit in the last of 8 places, and what float32 loses where terms cancel
        assert ((found - expected).abs() <= expected.abs() * 2**-8 + 1e-4).all()
    for found, again in zip(once, _three(products, x, weight, dy, num_partitions=3), strict=True):
        assert torch.equal(found, again)


def test_a_weight_s_second_gradient_is_added(products: ctypes.CDLL) -> None:
    generator = torch.Generator().manual_seed(0)
    x, dy = _whole_numbers(generator, 16, 50), _whole_numbers(generator, 16, 70)
    sizes = (16, 50, 70, 2)
    workspace = torch.zeros(products.product_workspace(*sizes), dtype=torch.int32)
    dweight = torch.full((70, 50), 3.0, dtype=torch.bfloat16)
    _call(products, "weight_gradient", *sizes, dy, x, workspace, dweight, 1)
    assert torch.equal(dweight, (dy.double().T @ x.double() + 3).bfloat16())


def _exact_attention(qkv: Tensor, batch: int, heads: int, kv: int, dim: int) -> Tensor:
    """Rows `[batch * seq, (heads + 2 kv) * dim]` to `[batch * seq, heads * dim]`, float64, by the book."""
    seq = qkv.shape[0] // batch
    q, k, v = torch.split(qkv.view(batch, seq, heads + 2 * kv, dim), [heads, kv, kv], 2)
    cosine, sine = (t.double()[None, :, None] for t in rotation_angles(seq, dim))

    def rotated(x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)

    q, k, v = (t.transpose(1, 2) for t in (rotated(q), rotated(k), v))
    k, v = (t.repeat_interleave(heads // kv, 1) for t in (k, v))
    hidden = torch.ones(seq, seq).triu(1).bool()
    weights = (q @ k.transpose(-1, -2) * dim**-0.5).masked_fill(hidden, -torch.inf).softmax(-1)
    mixed: Tensor = weights @ v
    return mixed.transpose(1, 2).reshape(batch * seq, heads * dim)


def _attend(
    library: ctypes.CDLL,
    qkv: Tensor,
    dmixed: Tensor,
    *,
    batch: int,
    heads: int,
    kv: int,
    dim: int,
    num_partitions: int,
) -> tuple[Tensor, Tensor]:
    """What the heads mixed, and the gradient of qkv."""
    seq = qkv.shape[0] // batch
    workspace = library.attention_workspace(seq, dim)
    workspaces = torch.zeros(num_partitions * workspace + 64, dtype=torch.uint8)
    angles = rotation_angles(seq, dim)
    layout = (batch, seq, heads, kv, dim, float(dim**-0.5), *angles, num_partitions, workspaces)
    (mixed, mixed_whole), (dqkv, dqkv_whole) = _fenced(*dmixed.shape), _fenced(*qkv.shape)
    for _ in range(2):  # the second time the workspace is not zero any more
        _call(library, "attention", *layout, qkv, mixed)
        _call(library, "attention_backward", *layout, qkv, dmixed, dqkv)
    _assert_fence(mixed_whole)
    _assert_fence(dqkv_whole)
    assert not workspaces[-64:].any()
    return mixed, dqkv


@pytest.mark.parametrize(
    "shape",
    [
        (2, 128, 3, 3, 32),
        (2, 128, 4, 2, 28),
        (1, 256, 2, 1, 128),
        (2, 100, 6, 2, 48),
        (3, 33, 2, 1, 20),
        (2, 32, 2, 2, 64),
        (1, 7, 2, 2, 2),
        (5, 1, 1, 1, 16),
    ],
)
def test_attention_and_its_gradient_are_those_of_the_book(
    attention: ctypes.CDLL, shape: tuple[int, int, int, int, int]
) -> None:
    batch, seq, heads, kv, dim = shape
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(batch * seq, (heads + 2 * kv) * dim, generator=generator).bfloat16()
    dmixed = torch.randn(batch * seq, heads * dim, generator=generator).bfloat16()
    exact = qkv.double().requires_grad_()
    expected = _exact_attention(exact, batch, heads, kv, dim)
    torch.autograd.backward(expected, dmixed.double())
    assert exact.grad is not None
    sizes = {"batch": batch, "heads": heads, "kv": kv, "dim": dim}
    mixed, dqkv = _attend(attention, qkv, dmixed, **sizes, num_partitions=1)
    # weights and the gradients of scores are rounded to bfloat16 once, and so are the results
    assert (mixed - expected).norm() < 0.004 * expected.norm()
    assert (dqkv - exact.grad).norm() < 0.005 * exact.grad.norm()
    again = _attend(attention, qkv, dmixed, **sizes, num_partitions=3)
    assert torch.equal(mixed, again[0])
    assert torch.equal(dqkv, again[1])


def test_what_comes_later_changes_nothing_before_it(attention: ctypes.CDLL) -> None:
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(70, 3 * 32, generator=generator).bfloat16()
    other = qkv.clone()
    other[40:] = 1e3
    sizes = {"batch": 1, "heads": 1, "kv": 1, "dim": 32, "num_partitions": 1}
    dmixed = torch.zeros(70, 32, dtype=torch.bfloat16)
    dmixed[:40] = 1.0
    one, two = _attend(attention, qkv, dmixed, **sizes), _attend(attention, other, dmixed, **sizes)
    assert torch.equal(one[0][:40], two[0][:40])
    assert torch.equal(one[1][:40], two[1][:40])
    assert not one[1][40:].any()


def test_scores_of_any_size_make_weights(attention: ctypes.CDLL) -> None:
    qkv = torch.full((48, 3 * 16), 1e4, dtype=torch.bfloat16)
    mixed, dqkv = _attend(
        attention, qkv, torch.ones(48, 16).bfloat16(), batch=1, heads=1, kv=1, dim=16, num_partitions=1
    )
    assert torch.equal(mixed, torch.full((48, 16), 1e4, dtype=torch.bfloat16))
    assert dqkv.isfinite().all()
    qkv[30, 0] = torch.nan
    mixed, _ = _attend(
        attention, qkv, torch.ones(48, 16).bfloat16(), batch=1, heads=1, kv=1, dim=16, num_partitions=1
    )
    assert not mixed[:30].isnan().any()
    assert mixed[30].isnan().all()


def test_swiglu_and_its_gradient_from_end_to_end(library: ctypes.CDLL) -> None:
    gate = torch.tensor(
        [-300.0, -90.0, -20.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 3.0, 20.0, 90.0, 300.0, torch.nan]
    )
    up, dout = torch.linspace(-3, 4, gate.numel()), torch.linspace(2, -5, gate.numel())
    gate_up = torch.cat((gate, up)).bfloat16()[None]
    exact = gate_up.double().requires_grad_()
    expected = torch.nn.functional.silu(exact[:, : gate.numel()]) * exact[:, gate.numel() :]
    torch.autograd.backward(expected, dout.bfloat16().double()[None])
    assert exact.grad is not None
    out, fence = _fenced(1, gate.numel())
    _call(library, "swiglu", 1, gate.numel(), gate_up, out)
    _assert_fence(fence)
    assert torch.allclose(out.double(), expected, rtol=2**-7, atol=1e-30, equal_nan=True)
    _call(library, "swiglu_backward", 1, gate.numel(), gate_up, dout.bfloat16(), out)
    assert torch.allclose(gate_up.double(), exact.grad, rtol=2**-6, atol=1e-6, equal_nan=True)
    assert torch.allclose(out.double(), expected, rtol=2**-7, atol=1e-30, equal_nan=True)
