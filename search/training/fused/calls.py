"""A training step as a list of calls of compiled kernels and of torch's products, on fixed buffers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from search.training.fused.bindings import Argument, c_arguments

Call = Callable[[], object]
Backward = Callable[[], None]  # adds the calls of a part's backward pass to the list


@dataclass(slots=True, eq=False)
class StackedWeight:
    """Working copy and gradient `[out, in]` of a matrix, or of several matrices of one input, stacked."""

    copy: Tensor
    grad: Tensor
    used: bool = False  # whether the list has a call that writes the gradient: the next call adds to it


class CallList:
    """Calls in the order in which a step makes them, and the buffers whose addresses they hold."""

    def __init__(self, kernels: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.kernels, self.dtype = kernels, dtype
        self.num_partitions = torch.get_num_threads()  # of the rows or heads of a kernel
        self._calls: list[Call] = []
        self._keep: list[object] = []
        self._shared: dict[str, Tensor] = {}

    def run(self) -> None:
        """Make every call."""
        for call in self._calls:
            call()

    def keep(self, *objects: object) -> None:
        """Keep objects alive whose addresses the calls hold."""
        self._keep.extend(objects)

    def buffer(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return zeros that live as long as the list, of the type of activations unless `dtype` is given."""
        buffer = torch.zeros(*shape, dtype=dtype or self.dtype)
        self.keep(buffer)
        return buffer

    def scratch(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return the buffer of a name, which every block may overwrite."""
        if name not in self._shared:
            self._shared[name] = self.buffer(*shape, dtype=dtype)
        return self._shared[name]

    def add(self, call: Call) -> None:
        """Add any call to the list."""
        self._calls.append(call)

    def add_kernel(self, name: str, *arguments: Argument) -> None:
        """Add a call of a compiled kernel to the list."""
        self.keep(*arguments)
        self.add(partial(getattr(self.kernels, name), *c_arguments(name, arguments, self.dtype)))

    def product(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Add `out = a b` to the list, of matrices or of batches of them."""
        self.add(partial(torch.mm if a.dim() == 2 else torch.bmm, a, b, out=out))

    def linear(self, x: Tensor, weight: StackedWeight, y: Tensor) -> None:
        """Add `y = x weight^T` to the list: x `[rows, in]`, y `[rows, out]`."""
        if not self._own_product("linear", x.shape[1], x, y, (x, weight.copy), y):
            self.product(x, weight.copy.t(), y)

    def linear_backward(self, dy: Tensor, weight: StackedWeight, dx: Tensor) -> None:
        """Add the gradient of `linear`'s x to the list."""
        if not self._own_product("linear_backward", dy.shape[1], dx, dy, (dy, weight.copy), dx):
            self.product(dy, weight.copy, dx)

    def weight_gradient(self, dy: Tensor, x: Tensor, weight: StackedWeight) -> None:
        """Add the gradient of `linear`'s weight to the list; later runs of a shared block add to it."""
        add, weight.used = weight.used, True
        if self._own_product("weight_gradient", x.shape[0], x, dy, (dy, x), weight.grad, int(add)):
            return
        if add:
            self.add(partial(weight.grad.addmm_, dy.t(), x))
        else:
            self.product(dy.t(), x, weight.grad)

    def _own_product(
        self,
        name: str,
        summed: int,
        x: Tensor,
        y: Tensor,
        factors: tuple[Tensor, Tensor],
        *rest: Tensor | int,
    ) -> bool:
        """Add a product of avx512/products.c to the list if this processor has it; it sums in pairs."""
        if summed % 2 or not hasattr(self.kernels, name):
            return False
        sizes = (x.shape[0], x.shape[1], y.shape[1], self.num_partitions)
        pairs: int = self.kernels.product_workspace(*sizes)
        size = 1 << (pairs - 1).bit_length()  # a power of two, so that products share few workspaces
        workspace = self.scratch(f"workspace of {size} pairs", size, dtype=torch.int32)
        self.add_kernel(name, *sizes, *factors, workspace, *rest)
        return True
