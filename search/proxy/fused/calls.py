"""A training step as a list of calls: matrix products of torch's and compiled passes on fixed buffers."""

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

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.library, self.dtype = library, dtype
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
        self.add(partial(getattr(self.library, name), *converted))

    def product(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Put `out = a b` on the list, of matrices or of batches of them."""
        self.add(partial(torch.mm if a.dim() == 2 else torch.bmm, a, b, out=out))

    def weight_gradient(self, weight: Weight, dout: Tensor, x: Tensor) -> None:
        """Put the gradient of a weight that turned x `[rows, in]` into out `[rows, out]` on the list."""
        if weight.used:  # a shared block's second run
            self.add(partial(weight.grad.addmm_, dout.t(), x))
        else:
            self.product(dout.t(), x, weight.grad)
            weight.used = True
