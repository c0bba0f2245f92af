"""A training step as a list of calls: compiled passes, and products of torch's, on fixed buffers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

Call = Callable[[], object]
WayBack = Callable[[], None]  # puts the calls of a part's way back on the list


@dataclass(slots=True, eq=False)
class Weight:
    """One matrix or several of one input, stacked: working copy and gradient, `[out, in]`."""

    copy: Tensor
    grad: Tensor
    used: bool = False  # whether a call that writes the gradient is in the list, so that the next one adds


class CallList:
    """Calls in the order in which a step makes them, and the buffers whose addresses they hold."""

    def __init__(self, passes: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.passes, self.dtype = passes, dtype
        self.pieces = torch.get_num_threads()  # that passes divide their work into
        self._calls: list[Call] = []
        self._keep: list[object] = []
        self._shared: dict[str, Tensor] = {}

    def run(self) -> None:
        """Make every call."""
        for call in self._calls:
            call()

    def keep(self, *objects: object) -> None:
        """Hold on to what calls have the address of."""
        self._keep.extend(objects)

    def buffer(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Zeros that stay where they are, of the type of activations unless told otherwise."""
        buffer = torch.zeros(*shape, dtype=dtype or self.dtype)
        self.keep(buffer)
        return buffer

    def scratch(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A buffer that every block may use again."""
        if name not in self._shared:
            self._shared[name] = self.buffer(*shape, dtype=dtype)
        return self._shared[name]

    def add(self, call: Call) -> None:
        """Put any call on the list."""
        self._calls.append(call)

    def add_pass(self, name: str, *arguments: Tensor | int | float | None) -> None:
        """Put a compiled pass on the list."""
        converted = [
            ctypes.c_void_p(a.data_ptr() if isinstance(a, Tensor) else None)
            if a is None or isinstance(a, Tensor)
            else ctypes.c_float(a)
            if isinstance(a, float)
            else ctypes.c_long(a)
            for a in arguments
        ]
        self.keep(*(a for a in arguments if isinstance(a, Tensor)))
        self.add(partial(getattr(self.passes, name), *converted))

    def product(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Put `out = a b` on the list, of matrices or of batches of them."""
        self.add(partial(torch.mm if a.dim() == 2 else torch.bmm, a, b, out=out))

    def linear(self, x: Tensor, weight: Weight, y: Tensor) -> None:
        """Put `y = x weight^T` on the list: x `[rows, in]`, y `[rows, out]`."""
        if not self._own_product("linear", x.shape[1], x, y, (x, weight.copy), y):
            self.product(x, weight.copy.t(), y)

    def linear_backward(self, dy: Tensor, weight: Weight, dx: Tensor) -> None:
        """Put the gradient of `linear`'s x on the list."""
        if not self._own_product("linear_backward", dy.shape[1], dx, dy, (dy, weight.copy), dx):
            self.product(dy, weight.copy, dx)

    def weight_gradient(self, dy: Tensor, x: Tensor, weight: Weight) -> None:
        """Put the gradient of `linear`'s weight on the list; a shared block's later runs add to it."""
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
        """Put a product of products.c on the list, if the processor has it; it sums pairs."""
        if summed % 2 or not hasattr(self.passes, name):
            return False
        sizes = (x.shape[0], x.shape[1], y.shape[1], self.pieces)
        words = self.passes.product_room(*map(ctypes.c_long, sizes))
        assert all(t.is_contiguous() for t in (*factors, rest[0]) if isinstance(t, Tensor)), name
        self.add_pass(name, *sizes, *factors, self._room(words), *rest)
        return True

    def _room(self, words: int) -> Tensor:
        """Room that every product may use; a power of two, so that there are few of them."""
        size = 1 << (words - 1).bit_length()
        return self.scratch(f"room for {size} words", size, dtype=torch.int32)
