"""AQLM's layout: each group of weights is the sum of one entry of each of some codebooks.

Source: aqlm 1.1 (inference.py QuantizedLinear): codes [out / o, in / i, books] of 8 or 16 bits, codebooks
[books, entries, o, i] and scales [out / o, 1, 1, 1] of 16 bits. Linear layers of the blocks only.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.groups import F16, StoredPart, parts_bytes
from sizer.formats.levels import NotModelled
from sizer.formats.recipe import Recipe, by_name
from sizer.tensors import TensorSpec

_MOST_BITS = 16


class AdditiveCodes(NamedTuple):
    """Codes of `code_bits` into `books` codebooks, one code of each for `out` x `inputs` weights."""

    name: str
    books: int
    code_bits: int
    inputs: int
    out: int = 1

    @property
    def levels(self) -> NotModelled:
        """None: codebooks are learned for each layer."""
        return NotModelled("codebooks are learned for each layer")

    def fits(self, row_length: int) -> bool:
        """Return True if the inputs divide into groups."""
        return row_length % self.inputs == 0

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the arrays of one linear layer."""
        base = spec.name.removesuffix("weight")
        rows = -(-(spec.num_elements // spec.row_length) // self.out)
        entries = 1 << self.code_bits
        return (
            StoredPart(
                f"{base}codes",
                "I8" if self.code_bits <= 8 else "I16",
                (rows, spec.row_length // self.inputs, self.books),
            ),
            StoredPart(f"{base}codebooks", "F16", (self.books, entries, self.out, self.inputs)),
            StoredPart(f"{base}scales", "F16", (rows, 1, 1, 1)),
        )

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return parts_bytes(self.parts(spec))


def recipe(books: int, code_bits: int, inputs: int, out: int = 1) -> Recipe | None:
    """Return the format of those codebooks; None for one that no tool writes."""
    sizes_are_known = 1 <= code_bits <= _MOST_BITS and all(1 <= n <= 64 for n in (books, inputs, out))
    if not sizes_are_known:
        return None
    group = f"g{inputs}" if out == 1 else f"g{out}x{inputs}"
    name = f"aqlm-{books}x{code_bits}-{group}"
    kind = AdditiveCodes(name.upper(), books, code_bits, inputs, out)
    about = f"linear layers {books} codes of {code_bits} bits for {inputs * out} weights; the rest F16 (AQLM)"
    return Recipe(name, books * code_bits / (inputs * out), kind, F16, F16, F16, about)


_KNOWN = (recipe(1, 16, 8), recipe(2, 8, 8), recipe(1, 16, 16))
RECIPES = by_name(found for found in _KNOWN if found is not None)
