"""The fused training step of a Llama-shaped decoder: forward, backward and AdamW as a list of kernel calls.

Whatever depends on the shape (buffers, views, pointers) is computed once, when the list is made; a step then
makes the calls. Matrix products are torch's where the processor has matrix units or no bfloat16 products.
The module's own weights are updated in place, so that it is scored, saved and quantized as any other.
avx512/README.md explains a step from start to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from search.training.decoder import NORM_EPSILON, Decoder, rotation_angles
from search.training.fused.attention import project_and_mix
from search.training.fused.bindings import ADAMW_CHUNK, AdamwTensor
from search.training.fused.calls import Backward, CallList, StackedWeight
from search.training.fused.kernels import kernels
from search.training.low_bit import LowBit
from sizer.architecture import Architecture, MlpKind, NormKind, PositionKind
from sizer.tensors import TensorSpec, tensor_specs

_UNSUPPORTED = (
    *("qk_norm", "sub_norms", "shared_mlp", "qkv_bias", "attention_output_bias", "mlp_bias"),
    "sliding_layers",
)
# Fields beyond Llama's that it has
_BEYOND_LLAMA = ("layer_intermediate_sizes",)
_SUPPORTED = {"norm": NormKind.RMSNORM, "position": PositionKind.ROPE, "mlp": MlpKind.SWIGLU}


def unsupported_fields(architecture: Architecture) -> tuple[str, ...]:
    """Return what the fused step has no kernel for: it covers RMS norms, RoPE and SwiGLU, without biases."""
    others = [
        f"{name} {getattr(architecture, name).value}"
        for name, kind in _SUPPORTED.items()
        if getattr(architecture, name) is not kind
    ]
    beyond = (name for name in architecture.beyond_llama if name not in _BEYOND_LLAMA)
    return (*others, *(n for n in _UNSUPPORTED if getattr(architecture, n)), *beyond)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRule:
    """AdamW's constants, and each tensor's rate and decay."""

    beta1: float
    beta2: float
    epsilon: float
    clip: float
    rate_of: Mapping[str, float]  # of each tensor, over the rate of a step
    decay_of: Mapping[str, float]


class FusedStep:
    """Training steps of a decoder on batches of one size. NoKernels if the kernels cannot be compiled."""

    def __init__(
        self,
        model: Decoder,
        *,
        batch: int,
        seq: int,
        dtype: torch.dtype,
        rule: UpdateRule,
        low_bit: LowBit | None = None,
    ) -> None:
        assert not unsupported_fields(model.architecture), model.architecture
        self._kernels, self._low_bit = kernels(dtype), low_bit
        self._model, self._architecture, self._dtype, self._rule = model, model.architecture, dtype, rule
        self._rows, self._batch, self._seq = batch * seq, batch, seq
        self.micro_batch = batch  # its buffers are allocated once, for whole batches
        self._specs = tensor_specs(model.architecture)
        self._calls = CallList(self._kernels, dtype)
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}
        self._float_grads: dict[str, Tensor] = {}
        self._copies: dict[str, Tensor] = {}
        self._real_grads: dict[str, Tensor] = {}
        self.tokens = torch.zeros(batch, seq, dtype=torch.int64)
        self.targets = torch.zeros(batch, seq, dtype=torch.int64)
        self._loss = torch.zeros((), dtype=torch.float64)
        self._allocate()
        self._add_calls()
        self._prepare_update()
        self.sync_weights()

    @property
    def moments(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """AdamW's running mean and square of each tensor's gradient, by name; written in place."""
        return self._moments

    def sync_weights(self) -> None:
        """Copy weights that were drawn or loaded since the last step to the working copies."""
        parameters = dict(self._model.named_parameters())
        for name, copy in self._copies.items():
            copy.copy_(parameters[name].detach())

    def step(self, windows: Tensor, rate: float, number: int) -> None:
        """Update the weights on windows `[batch, seq + 1]` at a learning rate; `number` counts from 1."""
        self._run(windows, number)
        rule = self._rule
        corrections = (1 - rule.beta1**number, 1 - rule.beta2**number)
        constants = (rule.clip, rate, rule.beta1, rule.beta2, rule.epsilon)
        self._kernels.adamw(*self._update_arguments, *constants, *corrections)

    def pop_loss(self) -> float:
        """Return the sum of the mean losses of the steps since the last call, in nats per token."""
        total = float(self._loss)
        self._loss.zero_()
        return total

    def _run(self, windows: Tensor, number: int) -> None:
        if self._low_bit is not None:
            parameters = dict(self._model.named_parameters())
            for name in self._low_bit.names:
                self._copies[name].copy_(self._low_bit.rounded(name, parameters[name], number))
        self.tokens.copy_(windows[:, :-1])
        self.targets.copy_(windows[:, 1:])
        self._calls.run()

    # Building the list of calls

    def _int8(self, x: Tensor, matrix: str) -> None:
        """Round rows to 8 bits where the type of the matrix that multiplies them asks for it."""
        if self._low_bit is not None and self._low_bit.int8_input(f"{matrix}.weight"):
            self._calls.add_kernel("int8_rows", *x.shape, x)

    def _allocate(self) -> None:
        """Allocate working copies, gradients and moments; matrices of one input are stacked in one buffer."""
        layers: dict[int | None, dict[str, TensorSpec]] = {}
        for spec in self._specs:
            layers.setdefault(spec.layer, {})[spec.name.rsplit(".", 2)[-2]] = spec
            count = spec.num_elements
            self._moments[spec.name] = (torch.zeros(count), torch.zeros(count))
            if len(spec.shape) == 1 or spec.name == "model.embed_tokens.weight":
                self._float_grads[spec.name] = torch.zeros(spec.shape)
        outer = layers.pop(None)
        self._table = self._stack(outer["embed_tokens"])
        self._head = self._stack(outer["lm_head"]) if "lm_head" in outer else self._table
        groups = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
        self._blocks = [
            {group[0]: self._stack(*(layer[name] for name in group)) for group in groups}
            for _, layer in sorted(layers.items(), key=lambda item: item[0] or 0)
        ]

    def _stack(self, *specs: TensorSpec) -> StackedWeight:
        columns = specs[0].shape[1]
        weight = StackedWeight(
            self._calls.buffer(sum(s.shape[0] for s in specs), columns),
            self._calls.buffer(sum(s.shape[0] for s in specs), columns),
        )
        first = 0
        for spec in specs:
            last = first + spec.shape[0]
            self._copies[spec.name] = weight.copy[first:last]
            if spec.name not in self._float_grads:
                self._real_grads[spec.name] = weight.grad[first:last]
            first = last
        return weight

    def _add_calls(self) -> None:
        a, rows, width = self._architecture, self._rows, self._architecture.hidden_size
        body = self._model.model
        self._angles = rotation_angles(self._seq, a.head_dim)
        for grad in self._float_grads.values():
            if grad.dim() == 1:
                self._calls.add(grad.zero_)
        stream = self._calls.buffer(rows, width, dtype=torch.float32)
        self._calls.add_kernel("embed", rows, width, self.tokens, body.embed_tokens.weight.data, stream)
        self._dstream = self._calls.buffer(rows, width, dtype=torch.float32)
        self._dreal = self._calls.buffer(rows, width)
        self._dnormed = self._calls.buffer(rows, width)
        self._partial = self._calls.buffer(self._calls.num_partitions, width, dtype=torch.float32)
        added: Tensor | None = None
        backwards: list[Backward] = []
        for index in self._model.order:
            stream, added, backward = self._block(index, stream, added)
            backwards += backward
        _, final, norm_backward = self._norm("model.norm.weight", stream, added, keep=False)
        logits = self._calls.buffer(rows, a.vocab_size)
        self._calls.linear(final, self._head, logits)
        losses = self._calls.buffer(rows, dtype=torch.float64)
        self._calls.add_kernel("cross_entropy", rows, a.vocab_size, self.targets, logits, losses, self._loss)
        self._calls.weight_gradient(logits, final, self._head)
        self._calls.linear_backward(logits, self._head, self._dnormed)
        norm_backward()
        for part_backward in reversed(backwards):
            part_backward()
        tied = self._head.grad if self._head is self._table else None
        table_grad = self._float_grads["model.embed_tokens.weight"]
        sizes = (rows, width, a.vocab_size, self._calls.num_partitions)
        self._calls.add_kernel("embed_backward", *sizes, self.tokens, self._dstream, tied, table_grad)

    def _norm(
        self, name: str, stream: Tensor, added: Tensor | None, *, keep: bool = True
    ) -> tuple[Tensor, Tensor, Backward]:
        """Add a branch's output to the stream and normalize: the new stream, its normed rows, the backward.

        The backward reads `_dnormed` and adds to `_dstream`, or overwrites it unless `keep`.
        """
        rows, width = stream.shape
        weight = dict(self._model.named_parameters())[name].data
        normed, inverse = self._calls.buffer(rows, width), self._calls.buffer(rows, dtype=torch.float32)
        after = self._calls.buffer(rows, width, dtype=torch.float32)
        rows_in, rows_out = (stream, added, weight), (after, normed, inverse)
        self._calls.add_kernel("add_norm", rows, width, NORM_EPSILON, *rows_in, *rows_out)

        def backward() -> None:
            gradients = (self._dnormed, self._dstream, self._dreal, self._float_grads[name], self._partial)
            sizes = (rows, width, self._calls.num_partitions)
            self._calls.add_kernel("norm_backward", *sizes, after, inverse, weight, *gradients, int(keep))

        return after, normed, backward

    def _block(
        self, index: int, stream: Tensor, added: Tensor | None
    ) -> tuple[Tensor, Tensor, list[Backward]]:
        """Add one run of a block: the stream, what is still to be added to it, and the backwards in order."""
        prefix, weights = f"model.layers.{index}", self._blocks[index]
        stream, normed, backward1 = self._norm(f"{prefix}.input_layernorm.weight", stream, added)
        self._int8(normed, f"{prefix}.self_attn.q_proj")
        mixed, backward2 = self._attention(f"{prefix}.self_attn", normed, weights)
        stream, normed, backward3 = self._norm(f"{prefix}.post_attention_layernorm.weight", stream, mixed)
        self._int8(normed, f"{prefix}.mlp.gate_proj")
        out, backward4 = self._mlp(f"{prefix}.mlp", normed, weights)
        return stream, out, [backward1, backward2, backward3, backward4]

    def _mlp(self, prefix: str, normed: Tensor, weights: dict[str, StackedWeight]) -> tuple[Tensor, Backward]:
        rows, width = normed.shape
        gate_up, down = weights["gate_proj"], weights["down_proj"]
        inner = down.copy.shape[1]
        both = self._calls.buffer(rows, 2 * inner)
        # only the large activations that the backward cannot recompute are kept: otherwise thin, deep models
        # do not fit the cache
        active = self._calls.scratch(f"active {inner}", rows, inner)
        out = self._calls.scratch("out", rows, width)
        self._calls.linear(normed, gate_up, both)
        self._calls.add_kernel("swiglu", rows, inner, both, active)
        self._int8(active, f"{prefix}.down_proj")
        self._calls.linear(active, down, out)

        def backward() -> None:
            dactive = self._calls.scratch(f"dactive {inner}", rows, inner)
            self._calls.linear_backward(self._dreal, down, dactive)
            self._calls.add_kernel("swiglu_backward", rows, inner, both, dactive, active)
            self._int8(active, f"{prefix}.down_proj")
            self._calls.weight_gradient(self._dreal, active, down)
            self._calls.weight_gradient(both, normed, gate_up)
            self._calls.linear_backward(both, gate_up, self._dnormed)

        return out, backward

    def _attention(
        self, prefix: str, normed: Tensor, weights: dict[str, StackedWeight]
    ) -> tuple[Tensor, Backward]:
        a, rows = self._architecture, self._rows
        qkv_proj, out_proj = weights["q_proj"], weights["o_proj"]
        mixed, out = self._calls.buffer(rows, a.q_width), self._calls.scratch("out", rows, a.hidden_size)

        def project(qkv: Tensor) -> None:
            self._calls.linear(normed, qkv_proj, qkv)

        mix_backward = project_and_mix(self._calls, a, self._seq, self._angles, project, mixed)
        self._int8(mixed, f"{prefix}.o_proj")
        self._calls.linear(mixed, out_proj, out)

        def backward() -> None:
            dmixed = self._calls.scratch("dmixed", *mixed.shape)
            dqkv = self._calls.scratch("dqkv", rows, qkv_proj.copy.shape[0])
            self._calls.weight_gradient(self._dreal, mixed, out_proj)
            self._calls.linear_backward(self._dreal, out_proj, dmixed)
            mix_backward(dmixed, dqkv)
            self._calls.weight_gradient(dqkv, normed, qkv_proj)
            self._calls.linear_backward(dqkv, qkv_proj, self._dnormed)

        return out, backward

    def _prepare_update(self) -> None:
        parameters = dict(self._model.named_parameters())
        structs = (AdamwTensor * len(self._specs))()
        starts: list[int] = []
        for number, spec in enumerate(self._specs):
            weight, struct = parameters[spec.name].data, structs[number]
            mean, square = self._moments[spec.name]
            exact = self._float_grads.get(spec.name)
            copy = self._copies.get(spec.name)
            if copy is None:
                copy = self._calls.buffer(spec.num_elements)
            assert weight.is_contiguous(), spec.name
            assert copy.is_contiguous(), spec.name
            struct.count, struct.weight = spec.num_elements, weight.data_ptr()
            struct.mean, struct.square, struct.copy = mean.data_ptr(), square.data_ptr(), copy.data_ptr()
            struct.grad_float = exact.data_ptr() if exact is not None else None
            struct.grad_real = self._real_grads[spec.name].data_ptr() if exact is None else None
            struct.rate, struct.decay = self._rule.rate_of[spec.name], self._rule.decay_of[spec.name]
            for first in range(0, spec.num_elements, ADAMW_CHUNK):
                starts += (number, first)
        places = torch.tensor(starts, dtype=torch.int64)
        sums = torch.zeros(len(starts) // 2, dtype=torch.float64)
        self._calls.keep(structs, places, sums)
        self._update_arguments = (structs, len(starts) // 2, places.data_ptr(), sums.data_ptr())
