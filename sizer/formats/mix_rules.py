"""Rules of llama.cpp's mixes: which type they give a matrix by its role and its place among its kind.

Port of `llama_tensor_get_type` in llama.cpp `src/llama-quant.cpp`, as in `sizer.formats.llamacpp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sizer.tensor_spec import Role


class MatrixPlace(NamedTuple):
    """Where a tensor stands: number among its kind, of how many, 4 heads or more a KV head, 70B, experts."""

    number: int
    of: int
    is_grouped: bool
    is_70b: bool
    experts: int = 0


_Rule = Callable[[MatrixPlace], str | None]

LOW_IQ = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")


def more_bits(p: MatrixPlace) -> bool:
    """Return True for the first and last eighth of a kind, and every third between."""
    eighth = p.of // 8
    return p.number < eighth or p.number >= 7 * p.of // 8 or (p.number - eighth) % 3 == 2


def _always(name: str) -> _Rule:
    return lambda p: name


def _if_more_bits(name: str) -> _Rule:
    return lambda p: name if more_bits(p) else None


def _first(fraction: int, name: str, otherwise: str | None = None) -> _Rule:
    return lambda p: name if p.number < p.of // fraction else otherwise


def _middle(name: str) -> _Rule:
    return lambda p: name if p.of // 8 <= p.number < 7 * p.of // 8 else None


def _if_grouped(name: str, otherwise: str | None = None) -> _Rule:
    return lambda p: name if p.is_grouped else otherwise


# Types that differ from the mix's base type, by role and mix. None: the base type after all.
_VALUE_RULES: Mapping[str, _Rule] = {
    "Q2_K": _if_grouped("Q4_K", "Q3_K"),
    "Q2_K_S": _if_grouped("Q4_K"),
    "Q3_K_M": lambda p: "Q5_K" if p.number < 2 else "Q4_K",
    "Q3_K_L": _always("Q5_K"),
    "Q4_K_S": lambda p: "Q5_K" if p.number < 4 else None,
    "Q4_K_M": _if_more_bits("Q6_K"),
    "Q5_K_M": _if_more_bits("Q6_K"),
    "IQ3_XXS": _if_grouped("Q4_K", "IQ3_S"),
    "IQ3_XS": _if_grouped("Q4_K"),
    "IQ3_S": _if_grouped("Q4_K"),
    "IQ3_M": _always("Q4_K"),
    "IQ4_NL": _if_grouped("Q5_K"),
    "IQ4_XS": _if_grouped("Q5_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M"), _if_grouped("Q4_K", "IQ3_S")),
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), _if_grouped("Q4_K", "Q2_K")),
}
RULES: Mapping[Role, Mapping[str, _Rule]] = {
    Role.VALUE: _VALUE_RULES,
    Role.QKV: _VALUE_RULES,
    Role.LATENT_UP: _VALUE_RULES,
    Role.QUERY: {"IQ3_XS": _always("IQ3_XXS"), "IQ3_XXS": _always("IQ2_S")},
    Role.KEY: {"IQ3_XS": _always("IQ3_XXS"), "IQ3_XXS": _always("IQ2_S")},
    Role.ATTENTION_OUTPUT: {
        "Q2_K": _always("Q3_K"),
        "Q3_K_M": _always("Q4_K"),
        "Q3_K_L": _always("Q5_K"),
        "IQ3_XXS": _always("IQ3_S"),
        "IQ3_M": _always("Q4_K"),
        **dict.fromkeys(("IQ1_S", "IQ1_M"), _always("IQ2_XXS")),
        **dict.fromkeys(("IQ2_S", "IQ2_M"), _always("IQ3_S")),
    },
    Role.DOWN: {
        "Q2_K": _always("Q3_K"),
        "Q2_K_S": _first(8, "Q4_K"),
        "Q3_K_M": _first(16, "Q5_K", "Q4_K"),
        "Q3_K_L": _always("Q5_K"),
        "Q4_K_S": _first(8, "Q5_K"),
        "Q4_K_M": _if_more_bits("Q6_K"),
        "Q5_K_M": _if_more_bits("Q6_K"),
        "IQ3_XXS": _first(8, "Q4_K", "Q3_K"),
        "IQ3_M": _first(8, "Q4_K"),
        "IQ4_NL": _first(8, "Q5_K"),
        "IQ4_XS": _first(8, "Q5_K"),
        **dict.fromkeys(("IQ2_S", "IQ2_M"), _first(8, "IQ3_S")),
        **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), _first(8, "Q2_K")),
    },
    Role.GATE: {"IQ3_XS": _middle("IQ3_XXS")},
    **dict.fromkeys((Role.UP, Role.GATE_UP), {"IQ3_XS": _middle("IQ3_XXS")}),
}

# Falcon's own rules for the two roles, in addition to the IQ1 and IQ2 families, which ask for no model.
FALCON_RULES: Mapping[Role, Mapping[str, _Rule]] = {
    **RULES,
    Role.ATTENTION_OUTPUT: {
        "Q3_K_L": _always("Q4_K"),
        **{name: RULES[Role.ATTENTION_OUTPUT][name] for name in ("IQ1_S", "IQ1_M", "IQ2_S", "IQ2_M")},
    },
    Role.DOWN: {
        **{name: rule for name, rule in RULES[Role.DOWN].items() if name != "Q4_K_S"},
        "Q3_K_M": lambda p: "Q5_K" if p.number < p.of // 16 else "Q4_K" if more_bits(p) else None,
        "Q3_K_L": _always("Q4_K"),
        "Q4_K_M": lambda p: "Q6_K" if p.number < p.of // 16 else "Q5_K" if more_bits(p) else None,
    },
}
