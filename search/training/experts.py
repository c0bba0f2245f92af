"""Feed-forward blocks of several experts, of which each token uses a few: Mixtral's (arXiv 2401.04088).

A router scores the experts; the probabilities of those with the highest scores, divided by their sum, weigh
what these experts return (transformers' modeling_mixtral.py, llama.cpp's build_moe_ffn with the weights
normed). So that no expert is left without tokens, training adds the load-balancing loss of Switch
Transformer (arXiv 2101.03961, equations 4 to 6) as transformers computes it for Mixtral: over the tokens of
all layers together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search.training.linear import ExpertMatrices, Linear, expert_products
from sizer.architecture import Architecture, MlpKind
from sizer.errors import InvalidArchitecture

# Weight of the load-balancing loss: router_aux_loss_coef of mistralai/Mixtral-8x7B-v0.1's config.json.
# (Switch Transformer has 0.01, transformers' default is 0.001.)
BALANCE_WEIGHT = 0.02


class Routing:
    """What the routers of a model chose in one pass, all layers together."""

    def __init__(self) -> None:
        self._tokens = 0
        self._chosen: Tensor | float = 0.0  # tokens that chose each expert, `[experts]`
        self._probability: Tensor | float = 0.0  # sum of each expert's probability over tokens

    def add(self, probabilities: Tensor, counts: Tensor) -> None:
        """Add one layer's probabilities `[tokens, experts]` and how many tokens chose each expert."""
        self._tokens += len(probabilities)
        self._chosen = self._chosen + counts.to(probabilities.dtype)
        self._probability = self._probability + probabilities.sum(0)

    @property
    def balance_loss(self) -> Tensor | None:
        """Return the load-balancing loss: the experts per token where all are used alike, more otherwise.

        None if nothing was routed.
        """
        if not isinstance(self._chosen, Tensor) or not isinstance(self._probability, Tensor):
            return None
        return len(self._chosen) * (self._chosen * self._probability).sum() / self._tokens**2


@contextmanager
def recorded_routing(model: nn.Module) -> Iterator[Routing]:
    """Record what the routers of a model choose while a pass is computed."""
    routing = Routing()
    blocks = [module for module in model.modules() if isinstance(module, ExpertMlp)]
    for block in blocks:
        block.routing = routing
    try:
        yield routing
    finally:
        for block in blocks:
            block.routing = None


class _Reordered(torch.autograd.Function):
    """Rows in another order. Its gradient is a reordering too, which gives the same sums on every run."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradients[0].index_select(0, inverse), None, None


def _reordered(rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    out: Tensor = _Reordered.apply(rows, order, inverse)  # type: ignore[no-untyped-call]
    return out


class _Experts(nn.Module):
    """Matrices of all experts, under the names of `tensor_specs`."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        count, width, size = a.num_experts, a.hidden_size, a.intermediate_size
        self.gate_proj = ExpertMatrices(count, width, size)
        self.up_proj = ExpertMatrices(count, width, size)
        self.down_proj = ExpertMatrices(count, size, width)

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        """Map rows that are in the order of their experts to the same."""
        gate, up = expert_products(rows, counts, self.gate_proj, self.up_proj).chunk(2, dim=-1)
        return expert_products(F.silu(gate) * up, counts, self.down_proj)


class ExpertMlp(nn.Module):
    """A router and its experts, each a SwiGLU block as wide as `intermediate_size`."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        if a.mlp is not MlpKind.SWIGLU or a.mlp_bias:
            raise InvalidArchitecture(
                f"num_experts: experts with mlp {a.mlp.value}{' and biases' if a.mlp_bias else ''} cannot be "
                "trained by the proxy; accepted: swiglu"
            )
        self.used = a.num_experts_per_tok
        self.routing: Routing | None = None
        self.gate = Linear(a.hidden_size, a.num_experts, bias=False)
        self.experts = _Experts(a)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, seq, hidden]` to the same. Routers are computed in float32, as files store them."""
        rows = x.flatten(0, -2)
        probabilities = self.gate(rows.float()).softmax(-1)
        top, chosen = probabilities.topk(self.used, dim=-1)
        counts = torch.bincount(chosen.flatten(), minlength=probabilities.shape[-1])
        if self.routing is not None:
            self.routing.add(probabilities, counts)
        order = chosen.flatten().argsort(stable=True)
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(len(order), device=order.device)
        sent = rows.unsqueeze(1).expand(-1, self.used, -1).reshape(-1, rows.shape[-1])
        found = self.experts(_reordered(sent, order, inverse), counts.tolist())
        found = _reordered(found, inverse, order).view(len(rows), self.used, -1)
        shares = (top / top.sum(-1, keepdim=True)).to(x.dtype)
        out: Tensor = (found * shares.unsqueeze(-1)).sum(1).view(x.shape)
        return out
