"""Memory that torch's autograd keeps in a training step of a Llama-shaped decoder, operation by operation.

Follows transformers 5.23's modeling_llama.py (and modeling_qwen2.py, modeling_qwen3.py), with its "sdpa" or
"eager" attention and its ForCausalLMLoss, on torch 2.13; adapters as peft 0.21's lora/layer.py computes them.
An operation keeps the tensors that its derivative needs, which depends on the weights that are trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.tensors import Role

FLOAT_BYTES = 4
HALF_BYTES = 2
_LONG_BYTES = 8

# scaled_dot_product_attention takes fewer KV heads than query heads up to this head dimension;
# above it transformers repeats keys and values (integrations/sdpa_attention.py, use_gqa_in_sdpa).
_GROUPED_HEAD_DIM = 256


class Step(NamedTuple):
    """One micro-batch: tokens, trained weights, number formats."""

    sequences: int
    sequence_tokens: int
    trained: bool  # all weights are trained (else only adapters)
    adapter_ranks: Mapping[Role, int]  # rank of the adapter on each matrix that has one
    weight_bytes: int  # of one weight as the forward pass reads it
    autocast: bool  # torch.autocast to bfloat16
    flash_attention: bool  # "sdpa", which keeps no scores; else "eager"
    quantized: bool = False  # base weights are unpacked for each use (QLoRA)

    @property
    def tokens(self) -> int:
        """Return tokens of the micro-batch."""
        return self.sequences * self.sequence_tokens


class Kept(NamedTuple):
    """Bytes that wait for the backward pass after the forward pass, by part of the model."""

    embedding_bytes: int  # token ids
    rotary_bytes: int  # cosines and sines, which all blocks share
    first_block_bytes: int
    block_bytes: int  # each further block
    checkpoint_bytes: int  # input of a block: checkpointing keeps nothing else
    recomputed_bytes: int  # of a block after its backward pass has recomputed it
    head_bytes: int  # last norm and the head's input
    loss_bytes: int  # log-probabilities and targets
    logits_bytes: int  # the logits, held by the model's output


class _Value(NamedTuple):
    """A tensor in the forward pass; values with the same `storage` share memory."""

    elements: int
    width: int  # bytes of an element
    learns: bool  # a gradient flows to it
    storage: int

    @property
    def num_bytes(self) -> int:
        """Return bytes of its storage."""
        return self.elements * self.width


def kept(architecture: Architecture, step: Step) -> Kept:
    """Return the bytes that autograd keeps for each part of the model."""
    a, tokens = architecture, step.tokens
    # the shifted targets of one sequence are a view of a row with one more token
    targets = tokens if step.sequences > 1 else tokens + 1
    tape = _Tape(a, step)
    ids = _LONG_BYTES * tokens if step.trained else 0
    embedded = tape.new(tokens * a.hidden_size, step.weight_bytes, step.trained)
    tape.embedded_width = embedded.width
    hidden = tape.block(embedded)
    first = tape.take()
    rotary = tape.rotary_bytes
    tape.block(hidden)
    further = tape.take()
    if a.executed_layers > 1:
        rotary = tape.rotary_bytes
    # with checkpointing the first block's input needs a gradient too: the recomputed block is a further block
    out = tape.norm(hidden, tokens) if a.final_norm else hidden
    logits = tape.linear(out, a.vocab_size, Role.OUTPUT)
    head = tape.take()
    return Kept(
        embedding_bytes=ids,
        rotary_bytes=rotary,
        first_block_bytes=first,
        block_bytes=further,
        checkpoint_bytes=hidden.num_bytes,
        recomputed_bytes=further,
        head_bytes=head,
        # log_softmax keeps its result, nll_loss the targets and their count; both in float32
        loss_bytes=FLOAT_BYTES * (tokens * a.vocab_size + 1) + _LONG_BYTES * targets,
        logits_bytes=logits.num_bytes,
    )


class _Tape:
    """A forward pass on sizes alone that records what each operation keeps, each storage once."""

    def __init__(self, architecture: Architecture, step: Step) -> None:
        self.a = architecture
        self.step = step
        self.embedded_width = step.weight_bytes
        self.rotary_bytes = 0
        self._storages = 0
        self._kept: dict[int, int] = {}

    def take(self) -> int:
        """Return bytes kept since the last call."""
        total = sum(self._kept.values())
        self._kept.clear()
        return total

    def keep(self, value: _Value) -> None:
        """Record a tensor that waits for the backward pass."""
        self._kept[value.storage] = value.num_bytes

    def new(self, elements: int, width: int, learns: bool) -> _Value:
        """Return a tensor with a new storage."""
        self._storages += 1
        return _Value(elements, width, learns, self._storages)

    def cast(self, value: _Value, width: int) -> _Value:
        """Return the value in another type: a copy, unless it has that type."""
        return value if value.width == width else self.new(value.elements, width, value.learns)

    def norm(self, x: _Value, rows: int) -> _Value:
        """Run LlamaRMSNorm: in float32, then cast back; the weight of a norm is never adapted."""
        wide = self.cast(x, FLOAT_BYTES)
        if x.learns:
            self.keep(wide)
            self.keep(self.new(rows, FLOAT_BYTES, True))  # the reciprocal root of each row
        scaled = self.cast(self.new(x.elements, FLOAT_BYTES, x.learns), x.width)
        if self.step.trained:
            self.keep(scaled)
        return self.new(x.elements, max(x.width, self.step.weight_bytes), x.learns or self.step.trained)

    def linear(self, x: _Value, out_features: int, role: Role) -> _Value:
        """Run nn.Linear, with its adapter if the step has one for this matrix."""
        step, tokens = self.step, self.step.tokens
        # autocast's copy of an input is not shared between the matrices that read it
        read = self.cast(x, HALF_BYTES) if step.autocast else x
        if step.trained:
            self.keep(read)
        rank = step.adapter_ranks.get(role)
        if rank is None:
            return self.new(tokens * out_features, read.width, x.learns or step.trained)
        # peft casts the input to the adapter's float32, but not on 4-bit weights under autocast
        own = x if step.quantized and step.autocast else self.cast(x, FLOAT_BYTES)
        own = self.cast(own, HALF_BYTES) if step.autocast else own
        self.keep(own)
        self.keep(self.new(tokens * rank, own.width, True))  # between the adapter's two matrices
        return self.new(tokens * out_features, read.width, True)

    def block(self, x: _Value) -> _Value:
        """Run LlamaDecoderLayer: attention and MLP, each after a norm and added to the residual stream."""
        tokens = self.step.tokens
        attended = self._attention(self.norm(x, tokens))
        x = self._add(x, attended)
        return self._add(x, self._mlp(self.norm(x, tokens)))

    def _add(self, x: _Value, y: _Value) -> _Value:
        return self.new(x.elements, max(x.width, y.width), x.learns or y.learns)

    def _attention(self, x: _Value) -> _Value:
        a, tokens = self.a, self.step.tokens
        query = self.linear(x, a.q_width, Role.QUERY)
        key = self.linear(x, a.kv_width, Role.KEY)
        value = self.linear(x, a.kv_width, Role.VALUE)
        if a.qk_norm:
            query = self.norm(query, tokens * a.num_heads)
            key = self.norm(key, tokens * a.num_kv_heads)
        query, key = self._rotate(query), self._rotate(key)
        mixed = (self._sdpa if self.step.flash_attention else self._eager)(query, key, value)
        return self.linear(mixed, a.hidden_size, Role.ATTENTION_OUTPUT)

    def _rotate(self, x: _Value) -> _Value:
        """Run apply_rotary_pos_emb, which keeps only cosines and sines, in the type of the embeddings."""
        if x.learns:
            per_position = 2 * self.a.head_dim * self.embedded_width
            self.rotary_bytes = self.step.sequence_tokens * per_position
        return self.new(x.elements, max(x.width, self.embedded_width), x.learns)

    def _sdpa(self, query: _Value, key: _Value, value: _Value) -> _Value:
        a, step = self.a, self.step
        if a.num_kv_heads != a.num_heads and a.head_dim > _GROUPED_HEAD_DIM:
            key, value = self._repeated(key), self._repeated(value)
        learns = query.learns or key.learns or value.learns
        read = [self.cast(v, HALF_BYTES) if step.autocast else v for v in (query, key, value)]
        out = self.new(query.elements, read[0].width, learns)
        if learns:
            for tensor in (*read, out):
                self.keep(tensor)
            self.keep(self.new(step.tokens * a.num_heads, FLOAT_BYTES, True))  # log-sum-exp of each score row
        return out

    def _eager(self, query: _Value, key: _Value, value: _Value) -> _Value:
        """Run eager attention: bmm keeps contiguous copies, softmax its float32 result."""
        a, step = self.a, self.step
        key, value = self._repeated(key), self._repeated(value)
        width = HALF_BYTES if step.autocast else query.width
        scores = step.tokens * a.num_heads * step.sequence_tokens
        probabilities = self.new(scores, FLOAT_BYTES, query.learns or key.learns)
        if key.learns:
            self.keep(self.new(query.elements, width, True))
        if query.learns:
            self.keep(self.new(key.elements, width, True))
        if probabilities.learns:
            self.keep(probabilities)
            self.keep(self.new(value.elements, width, True))
        if value.learns:
            self.keep(self.cast(probabilities, width))
        return self.new(query.elements, width, probabilities.learns or value.learns)

    def _repeated(self, x: _Value) -> _Value:
        """Return keys or values once per query head: a copy if heads share them."""
        return (
            x
            if self.a.num_kv_heads == self.a.num_heads
            else self.new(self.step.tokens * self.a.q_width, x.width, x.learns)
        )

    def _mlp(self, x: _Value) -> _Value:
        a = self.a
        gate = self.linear(x, a.intermediate_size, Role.GATE if a.mlp.gated else Role.UP)
        if gate.learns:
            self.keep(gate)  # the activation function's input
        active = self.new(gate.elements, gate.width, gate.learns)
        if not a.mlp.gated:
            return self.linear(active, a.hidden_size, Role.DOWN)
        up = self.linear(x, a.intermediate_size, Role.UP)
        if up.learns:
            self.keep(active)
        if active.learns:
            self.keep(up)
        product = self.new(active.elements, max(active.width, up.width), active.learns or up.learns)
        return self.linear(product, a.hidden_size, Role.DOWN)
