"""Straight-through gradients and 8-bit activations, by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from search.training.linear import Linear
from search.training.straight_through import int8_rows, straight_through


def test_gradient_goes_to_the_exact_values_unchanged() -> None:
    exact = torch.tensor([[0.9, -0.2], [0.4, -1.2]], requires_grad=True)
    rounded = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    x = torch.tensor([3.0, 5.0])
    out = straight_through(exact, rounded) @ x
    assert out.tolist() == [3.0, -5.0]  # of the rounded weights
    torch.autograd.backward((out * torch.tensor([1.0, 10.0])).sum())
    assert exact.grad is not None
    assert exact.grad.tolist() == [[3.0, 5.0], [30.0, 50.0]]  # d out_i / d w_ij = x_j, as if nothing rounded


def test_a_matrix_multiplies_with_its_stand_in() -> None:
    matrix = Linear(2, 2, bias=False)
    with torch.no_grad():
        matrix.weight.copy_(torch.tensor([[0.9, -0.2], [0.4, -1.2]]))
    matrix.quantized_weight = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    x = torch.tensor([[3.0, 5.0]], requires_grad=True)
    out: Tensor = matrix(x)
    assert out.tolist() == [[3.0, -5.0]]
    torch.autograd.backward(out.sum())
    assert matrix.weight.grad is not None
    assert matrix.weight.grad.tolist() == [[3.0, 5.0], [3.0, 5.0]]
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, -1.0]]  # what stands in, not the weight, carries the gradient on


def test_eight_bit_activations_by_hand() -> None:
    x = torch.tensor([[1.27, 0.004, 0.016, -0.635], [0.0, 0.0, 0.0, 0.0], [-254.0, 1.0, 3.0, 2.9]])
    # scales 100, 1e5 x 127 and 1/2; the halves of the last row go to even
    expected = torch.tensor([[1.27, 0.0, 0.02, -0.64], [0.0, 0.0, 0.0, 0.0], [-254.0, 0.0, 4.0, 2.0]])
    assert torch.allclose(int8_rows(x), expected, rtol=1e-6)


def test_inputs_are_rounded_where_a_matrix_asks_for_it() -> None:
    matrix = Linear(3, 1, bias=False)
    with torch.no_grad():
        matrix.weight.copy_(torch.tensor([[1.0, 1.0, 1.0]]))
    x = torch.tensor([[-254.0, 1.0, 3.0]], requires_grad=True)
    assert matrix(x).item() == -250.0
    matrix.int8_input = True
    out: Tensor = matrix(x)
    assert out.item() == -250.0 - 1.0 + 1.0
    torch.autograd.backward(out.sum())
    assert matrix.weight.grad is not None
    assert matrix.weight.grad.tolist() == [[-254.0, 0.0, 4.0]]  # the rounded activations
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 1.0, 1.0]]
