"""The training step of a Llama-shaped decoder, written out: forward, backward and AdamW as a list of calls.

Everything that depends on the shape is settled when the list is made: buffers, views, pointers. A step then
runs the list of compiled passes; matrix products are torch's where the processor has matrix units or no
bfloat16 products. The weights are the module's own, updated in place, so the same module is scored, saved
and fake-quantized as any other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from search.proxy.few_bits import FewBits
from search.proxy.fused.attention import project_and_mix
from search.proxy.fused.calls import CallList, WayBack, Weight
from search.proxy.fused.kernels import kernels
from search.proxy.model import NORM_EPSILON, Decoder, rotation_angles
from sizer.architecture import Architecture, MlpKind, NormKind, PositionKind
from sizer.tensors import TensorSpec, tensor_specs

_CHUNK = 16384  # weights an optimizer thread takes at a time; CHUNK in kernels.c


def can_fuse(architecture: Architecture) -> bool:
    """Whether the list of calls covers an architecture: RMS norms, RoPE, SwiGLU, no biases."""
    a = architecture
    plain = not (a.qk_norm or a.sub_norms or a.shared_mlp or a.beyond_llama)
    biased = a.qkv_bias or a.attention_output_bias or a.mlp_bias
    known = a.norm is NormKind.RMSNORM and a.position is PositionKind.ROPE and a.mlp is MlpKind.SWIGLU
    return plain and known and not biased and a.head_dim % 2 == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRule:
    """AdamW's constants, and each tensor's rate and decay."""

    beta1: float
    beta2: float
    epsilon: float
    clip: float
    rate_of: Mapping[str, float]  # of each tensor, over the rate of a step
    decay_of: Mapping[str, float]


class _TensorStruct(ctypes.Structure):
    """`tensor` of kernels.c."""

    _fields_ = (
        ("count", ctypes.c_long),
        ("weight", ctypes.c_void_p),
        ("mean", ctypes.c_void_p),
        ("square", ctypes.c_void_p),
        ("grad_real", ctypes.c_void_p),
        ("grad_float", ctypes.c_void_p),
        ("copy", ctypes.c_void_p),
        ("rate", ctypes.c_float),
        ("decay", ctypes.c_float),
    )


class FusedStep:
    """Runs training steps of a decoder on batches of one size. NoKernels if the passes cannot be compiled."""

    def __init__(
        self,
        model: Decoder,
        *,
        batch: int,
        seq: int,
        dtype: torch.dtype,
        rule: UpdateRule,
        few_bits: FewBits | None = None,
    ) -> None:
        assert can_fuse(model.architecture), model.architecture
        self._lib, self._few_bits = kernels(dtype), few_bits
        self._model, self._architecture, self._dtype, self._rule = model, model.architecture, dtype, rule
        self._rows, self._batch, self._seq = batch * seq, batch, seq
        self._specs = tensor_specs(model.architecture)
        self._list = CallList(self._lib, dtype)
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}
        self._float_grads: dict[str, Tensor] = {}
        self._copies: dict[str, Tensor] = {}
        self._real_grads: dict[str, Tensor] = {}
        self.tokens = torch.zeros(batch, seq, dtype=torch.int64)
        self.targets = torch.zeros(batch, seq, dtype=torch.int64)
        self._loss = torch.zeros((), dtype=torch.float64)
        self._allocate()
        self._write_list()
        self._prepare_update()
        self.refresh()

    @property
    def moments(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """AdamW's running mean and square of each tensor's gradient, by name; written in place."""
        return self._moments

    def refresh(self) -> None:
        """Take over weights that were drawn or loaded since the last step."""
        parameters = dict(self._model.named_parameters())
        for name, copy in self._copies.items():
            copy.copy_(parameters[name].detach())

    def gradients(self, windows: Tensor) -> dict[str, Tensor]:
        """Gradient of the mean loss by name, float32, without a step; for tests."""
        self._run(windows, 1)
        return {s.name: self._gradient(s).to(torch.float32, copy=True) for s in self._specs}

    def _gradient(self, spec: TensorSpec) -> Tensor:
        found = self._float_grads.get(spec.name)
        return self._real_grads[spec.name] if found is None else found

    def step(self, windows: Tensor, rate: float, number: int) -> None:
        """One update on windows `[batch, seq + 1]` at a rate; `number` counts from 1."""
        self._run(windows, number)
        rule = self._rule
        self._lib.adamw(
            *self._update_arguments,
            ctypes.c_double(rule.clip),
            ctypes.c_double(rate),
            ctypes.c_double(rule.beta1),
            ctypes.c_double(rule.beta2),
            ctypes.c_double(rule.epsilon),
            ctypes.c_double(1 - rule.beta1**number),
            ctypes.c_double(1 - rule.beta2**number),
        )

    def take_loss(self) -> float:
        """Sum of the mean losses of the steps since the last call, in nats per token."""
        total = float(self._loss)
        self._loss.zero_()
        return total

    def _run(self, windows: Tensor, number: int) -> None:
        if self._few_bits is not None:
            parameters = dict(self._model.named_parameters())
            for name in self._few_bits.names:
                self._copies[name].copy_(self._few_bits.rounded(name, parameters[name], number))
        self.tokens.copy_(windows[:, :-1])
        self.targets.copy_(windows[:, 1:])
        self._list.run()

    # Making the list

    def _int8(self, x: Tensor, matrix: str) -> None:
        """Round rows to 8 bits where the type of the matrix they meet asks for it; gradients pass."""
        if self._few_bits is not None and self._few_bits.int8_input(f"{matrix}.weight"):
            self._list.add_pass("int8_rows", *x.shape, x)

    def _allocate(self) -> None:
        """Working copies, gradients and moments; matrices of one input stacked in one buffer."""
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

    def _stack(self, *specs: TensorSpec) -> Weight:
        columns = specs[0].shape[1]
        weight = Weight(
            self._list.buffer(sum(s.shape[0] for s in specs), columns),
            self._list.buffer(sum(s.shape[0] for s in specs), columns),
        )
        first = 0
        for spec in specs:
            last = first + spec.shape[0]
            self._copies[spec.name] = weight.copy[first:last]
            if spec.name not in self._float_grads:
                self._real_grads[spec.name] = weight.grad[first:last]
            first = last
        return weight

    def _write_list(self) -> None:
        a, rows, width = self._architecture, self._rows, self._architecture.hidden_size
        body = self._model.model
        self._angles = rotation_angles(self._seq, a.head_dim)
        for grad in self._float_grads.values():
            if grad.dim() == 1:
                self._list.add(grad.zero_)
        stream = self._list.buffer(rows, width, dtype=torch.float32)
        self._list.add_pass("embed", rows, width, self.tokens, body.embed_tokens.weight.data, stream)
        self._dstream = self._list.buffer(rows, width, dtype=torch.float32)
        self._dreal = self._list.buffer(rows, width)
        self._dnormed = self._list.buffer(rows, width)
        self._partial = self._list.buffer(self._list.pieces, width, dtype=torch.float32)
        added: Tensor | None = None
        ways_back: list[WayBack] = []
        for index in self._model.order:
            stream, added, ways = self._block(index, stream, added)
            ways_back += ways
        _, final, norm_back = self._norm("model.norm.weight", stream, added, keep=False)
        logits = self._list.buffer(rows, a.vocab_size)
        self._list.linear(final, self._head, logits)
        losses = self._list.buffer(rows, dtype=torch.float64)
        self._list.add_pass("cross_entropy", rows, a.vocab_size, self.targets, logits, losses, self._loss)
        self._list.weight_gradient(logits, final, self._head)
        self._list.linear_backward(logits, self._head, self._dnormed)
        norm_back()
        for way_back in reversed(ways_back):
            way_back()
        tied = self._head.grad if self._head is self._table else None
        table_grad = self._float_grads["model.embed_tokens.weight"]
        sizes = (rows, width, a.vocab_size, self._list.pieces)
        self._list.add_pass("embed_backward", *sizes, self.tokens, self._dstream, tied, table_grad)

    def _norm(
        self, name: str, stream: Tensor, added: Tensor | None, *, keep: bool = True
    ) -> tuple[Tensor, Tensor, WayBack]:
        """Add what a branch gave to the stream and normalise: the new stream, its normed rows, the way back.

        The way back reads `_dnormed` and adds to `_dstream`, or begins it where nothing is to be kept.
        """
        rows, width = stream.shape
        weight = dict(self._model.named_parameters())[name].data
        normed, inverse = self._list.buffer(rows, width), self._list.buffer(rows, dtype=torch.float32)
        after = self._list.buffer(rows, width, dtype=torch.float32)
        rows_in, rows_out = (stream, added, weight), (after, normed, inverse)
        self._list.add_pass("add_norm", rows, width, NORM_EPSILON, *rows_in, *rows_out)

        def back() -> None:
            gradients = (self._dnormed, self._dstream, self._dreal, self._float_grads[name], self._partial)
            sizes = (rows, width, self._list.pieces)
            self._list.add_pass("norm_backward", *sizes, after, inverse, weight, *gradients, int(keep))

        return after, normed, back

    def _block(
        self, index: int, stream: Tensor, added: Tensor | None
    ) -> tuple[Tensor, Tensor, list[WayBack]]:
        """One run of a block: the stream, what is yet to be added to it, and the ways back in order."""
        prefix, weights = f"model.layers.{index}", self._blocks[index]
        stream, normed, back1 = self._norm(f"{prefix}.input_layernorm.weight", stream, added)
        self._int8(normed, f"{prefix}.self_attn.q_proj")
        mixed, back2 = self._attention(f"{prefix}.self_attn", normed, weights)
        stream, normed, back3 = self._norm(f"{prefix}.post_attention_layernorm.weight", stream, mixed)
        self._int8(normed, f"{prefix}.mlp.gate_proj")
        out, back4 = self._mlp(f"{prefix}.mlp", normed, weights)
        return stream, out, [back1, back2, back3, back4]

    def _mlp(self, prefix: str, normed: Tensor, weights: dict[str, Weight]) -> tuple[Tensor, WayBack]:
        rows, width = normed.shape
        gate_up, down = weights["gate_proj"], weights["down_proj"]
        inner = down.copy.shape[1]
        both = self._list.buffer(rows, 2 * inner)
        # of the large activations only what the way back cannot work out again is kept: thin, deep models
        # outgrow the cache otherwise
        active, out = self._list.scratch("active", rows, inner), self._list.scratch("out", rows, width)
        self._list.linear(normed, gate_up, both)
        self._list.add_pass("swiglu", rows, inner, both, active)
        self._int8(active, f"{prefix}.down_proj")
        self._list.linear(active, down, out)

        def back() -> None:
            dactive = self._list.scratch("dactive", rows, inner)
            self._list.linear_backward(self._dreal, down, dactive)
            self._list.add_pass("swiglu_backward", rows, inner, both, dactive, active)
            self._int8(active, f"{prefix}.down_proj")
            self._list.weight_gradient(self._dreal, active, down)
            self._list.weight_gradient(both, normed, gate_up)
            self._list.linear_backward(both, gate_up, self._dnormed)

        return out, back

    def _attention(self, prefix: str, normed: Tensor, weights: dict[str, Weight]) -> tuple[Tensor, WayBack]:
        a, rows = self._architecture, self._rows
        qkv_proj, out_proj = weights["q_proj"], weights["o_proj"]
        mixed, out = self._list.buffer(rows, a.q_width), self._list.scratch("out", rows, a.hidden_size)

        def project(qkv: Tensor) -> None:
            self._list.linear(normed, qkv_proj, qkv)

        mix_back = project_and_mix(self._list, a, self._seq, self._angles, project, mixed)
        self._int8(mixed, f"{prefix}.o_proj")
        self._list.linear(mixed, out_proj, out)

        def back() -> None:
            dmixed = self._list.scratch("dmixed", *mixed.shape)
            dqkv = self._list.scratch("dqkv", rows, qkv_proj.copy.shape[0])
            self._list.weight_gradient(self._dreal, mixed, out_proj)
            self._list.linear_backward(self._dreal, out_proj, dmixed)
            mix_back(dmixed, dqkv)
            self._list.weight_gradient(dqkv, normed, qkv_proj)
            self._list.linear_backward(dqkv, qkv_proj, self._dnormed)

        return out, back

    def _prepare_update(self) -> None:
        parameters = dict(self._model.named_parameters())
        structs = (_TensorStruct * len(self._specs))()
        starts: list[int] = []
        for number, spec in enumerate(self._specs):
            weight, struct = parameters[spec.name].data, structs[number]
            mean, square = self._moments[spec.name]
            exact = self._float_grads.get(spec.name)
            copy = self._copies.get(spec.name)
            if copy is None:
                copy = self._list.buffer(spec.num_elements)
            assert weight.is_contiguous(), spec.name
            assert copy.is_contiguous(), spec.name
            struct.count, struct.weight = spec.num_elements, weight.data_ptr()
            struct.mean, struct.square, struct.copy = mean.data_ptr(), square.data_ptr(), copy.data_ptr()
            struct.grad_float = exact.data_ptr() if exact is not None else None
            struct.grad_real = self._real_grads[spec.name].data_ptr() if exact is None else None
            struct.rate, struct.decay = self._rule.rate_of[spec.name], self._rule.decay_of[spec.name]
            for first in range(0, spec.num_elements, _CHUNK):
                starts += (number, first)
        places = torch.tensor(starts, dtype=torch.int64)
        sums = torch.zeros(len(starts) // 2, dtype=torch.float64)
        self._list.keep(structs, places, sums)
        self._update_arguments = (
            structs,
            ctypes.c_long(len(starts) // 2),
            ctypes.c_void_p(places.data_ptr()),
            ctypes.c_void_p(sums.data_ptr()),
        )
