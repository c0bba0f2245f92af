"""The proxy: a decoder built from an Architecture, with the parameter names and shapes of tensor_specs.

Weights stay in float32; matrices are cast to `compute_dtype` when they are used, so one module trains in
bfloat16 or float32 and is scored in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from search.training.experts import ExpertMlp
from search.training.linear import Linear, product
from search.training.short_convolution import ShortConvolution
from search.training.windowed_attention import attend_window, attend_window_fused, stack_groups
from sizer.architecture import Architecture, MlpKind, NormKind, PositionKind
from sizer.block_kinds import EXPERT_FIELDS
from sizer.errors import InvalidArchitecture
from sizer.tensors import count_parameters, tensor_specs

NORM_EPSILON = 1e-6  # Hugging Face LlamaConfig's default
ROPE_THETA = 10_000.0  # the same; Architecture has no field for it, because no size depends on it
_LOGIT_BYTES = 256 * 2**20  # of float32 logits at a time on a card; a batch of 64 x 1,024 x 32,000 has 8.4 GB


# Fields beyond Llama's that the decoder has
TRAINED_BEYOND_LLAMA = ("layer_intermediate_sizes", "attention_sinks", "conv_layers", *EXPERT_FIELDS)


class ParameterMismatch(AssertionError):
    """The module and the calculator disagree on the number of parameters: our bug, which stops the run."""


def check_parameters(model: nn.Module, architecture: Architecture) -> int:
    """Return the number of parameters of the module; ParameterMismatch if the calculator counts another."""
    built = sum(p.numel() for p in model.parameters())
    counted = count_parameters(tensor_specs(architecture)).total
    if built != counted:
        raise ParameterMismatch(f"the module has {built} parameters, the calculator counts {counted}")
    return built


def rotation_angles(seq: int, head_dim: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of the rotary angles, float32 `[seq, head_dim / 2]` each."""
    step = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    position = torch.arange(seq, dtype=torch.float32, device=device)
    angles = torch.outer(position, ROPE_THETA**-step)
    return angles.cos(), angles.sin()


@lru_cache(maxsize=16)
def _rotation(seq: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cosine and signed sine of every angle, `[seq, 1, head_dim]`, halves as in Hugging Face's."""
    with torch.inference_mode(False):
        cosine, sine = rotation_angles(seq, head_dim, device)
        signed = torch.cat((-sine, sine), dim=-1)
        return (
            torch.cat((cosine, cosine), dim=-1).unsqueeze(1).to(dtype),
            signed.unsqueeze(1).to(dtype),
        )


@lru_cache(maxsize=16)
def _causal_mask(seq: int, groups: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return 0 up to a query's position and minus infinity after it: `[1, groups x seq, seq]`."""
    with torch.inference_mode(False):
        mask = torch.full((seq, seq), -torch.inf, dtype=dtype, device=device).triu(1)
        return mask.repeat(groups, 1).unsqueeze(0)


class _Table(nn.Module):
    """A row per token or position, `[rows, width]`; zeros until initialised or loaded."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, width))


class _RmsNorm(nn.Module):
    """x / rms(x) * weight over the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), NORM_EPSILON)


class _LayerNorm(nn.Module):
    """(x - mean) / deviation * weight + bias over the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.weight.shape, weight, bias, NORM_EPSILON)


class _LayerNormWithoutBias(nn.Module):
    """(x - mean) / deviation * weight over the last axis (Command R)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype), None, NORM_EPSILON)


class _NoNorm(nn.Module):
    """The unscaled RMS norm of architectures whose norms have no tensors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (self.width,), None, NORM_EPSILON)


_NORMS: dict[NormKind, type[_RmsNorm] | type[_LayerNorm] | type[_LayerNormWithoutBias] | type[_NoNorm]] = {
    NormKind.RMSNORM: _RmsNorm,
    NormKind.LAYERNORM: _LayerNorm,
    NormKind.LAYERNORM_WITHOUT_BIAS: _LayerNormWithoutBias,
    NormKind.NONE: _NoNorm,
}


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return causal attention of `[batch, seq, heads, dim]` as `[batch, seq, heads x dim]`."""
    batch, seq, heads, dim = q.shape
    kv = k.shape[2]
    groups = heads // kv
    q, k, v = stack_groups(q, k, v)
    # Plain products, not scaled_dot_product_attention: forward and backward of 8 x 5 heads x 128 x 32
    # take 2.6 ms against 12.0 in bfloat16 (5.0 against 4.4 in float32) on 2 cores.
    mask = _causal_mask(seq, groups, q.dtype, q.device)
    weights = torch.baddbmm(mask, q, k, alpha=dim**-0.5).softmax(-1)
    mixed = torch.bmm(weights, v).view(batch, kv, groups, seq, dim)
    return mixed.permute(0, 3, 1, 2, 4).reshape(batch, seq, heads * dim)


def _attend_fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return the same by torch's fused attention, which keeps no scores of pairs of positions."""
    grouped = q.shape[2] != k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
    return y.transpose(1, 2).flatten(2)


class _Attention(nn.Module):
    """Causal attention with grouped keys and values."""

    def __init__(self, a: Architecture, layer: int) -> None:
        super().__init__()
        self.window = a.sliding_window if layer in a.sliding_layers else None
        self.sinks: nn.Parameter | None
        sinks = nn.Parameter(torch.zeros(a.num_heads)) if a.attention_sinks else None
        self.register_parameter("sinks", sinks)
        self.num_heads, self.num_kv_heads, self.head_dim = a.num_heads, a.num_kv_heads, a.head_dim
        self.round_cache: Callable[[Tensor], Tensor] | None = None  # what a cache keeps of keys and values
        self.keeps_no_scores = False  # torch's fused attention, whose memory grows with the context only
        self.rotary = a.position is PositionKind.ROPE
        self.q_proj = Linear(a.hidden_size, a.q_width, bias=a.qkv_bias)
        self.k_proj = Linear(a.hidden_size, a.kv_width, bias=a.qkv_bias)
        self.v_proj = Linear(a.hidden_size, a.kv_width, bias=a.qkv_bias)
        self.qk_norm = a.qk_norm
        if a.qk_norm:
            self.q_norm = _NORMS[a.norm](a.head_dim)
            self.k_norm = _NORMS[a.norm](a.head_dim)
        if a.sub_norms:
            self.attn_sub_norm = _NORMS[a.norm](a.q_width)
        self.sub_norms = a.sub_norms
        self.o_proj = Linear(a.q_width, a.hidden_size, bias=a.attention_output_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, seq, hidden]` to the same."""
        batch, seq, _ = x.shape
        heads, kv, dim = self.num_heads, self.num_kv_heads, self.head_dim
        qkv = product(x, self.q_proj, self.k_proj, self.v_proj).view(batch, seq, heads + 2 * kv, dim)
        qk, v = torch.split(qkv, [heads + kv, kv], dim=2)
        if self.qk_norm:
            q, k = torch.split(qk, [heads, kv], dim=2)
            qk = torch.cat((self.q_norm(q), self.k_norm(k)), dim=2)
        if self.rotary:
            cosine, sine = _rotation(seq, dim, x.dtype, x.device)
            qk = torch.addcmul(qk * cosine, qk.roll(dim // 2, -1), sine)
        q, k = torch.split(qk, [heads, kv], dim=2)
        if self.round_cache is not None:
            k, v = self.round_cache(k), self.round_cache(v)
        if self.window is not None or self.sinks is not None:
            attend = attend_window_fused if self.keeps_no_scores else attend_window
            y = attend(q, k, v, self.window, self.sinks)
        else:
            y = (_attend_fused if self.keeps_no_scores else _attend)(q, k, v)
        out: Tensor = self.o_proj(self.attn_sub_norm(y) if self.sub_norms else y)
        return out


class _Mlp(nn.Module):
    """Feed-forward block of any MlpKind."""

    def __init__(self, a: Architecture, layer: int) -> None:
        super().__init__()
        size = a.layer_intermediate_sizes[layer] if a.layer_intermediate_sizes else a.intermediate_size
        self.kind = a.mlp
        if a.mlp.gated:
            self.gate_proj = Linear(a.hidden_size, size, bias=a.mlp_bias)
        self.up_proj = Linear(a.hidden_size, size, bias=a.mlp_bias)
        if a.sub_norms:
            self.ffn_sub_norm = _NORMS[a.norm](size)
        self.sub_norms = a.sub_norms
        self.down_proj = Linear(size, a.hidden_size, bias=a.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, seq, hidden]` to the same."""
        if self.kind.gated:
            gate, up = product(x, self.gate_proj, self.up_proj).chunk(2, dim=-1)
            y = self._activate(gate) * up
        else:
            y = self._activate(self.up_proj(x))
        out: Tensor = self.down_proj(self.ffn_sub_norm(y) if self.sub_norms else y)
        return out

    def _activate(self, x: Tensor) -> Tensor:
        if self.kind is MlpKind.SWIGLU:
            return F.silu(x)
        if self.kind in (MlpKind.GELU, MlpKind.GEGLU):
            return F.gelu(x)
        return F.relu(x) if self.kind is MlpKind.RELU else F.relu(x).square()


class _DecoderBlock(nn.Module):
    """Attention or a short convolution, and feed-forward, each after a norm and added to its input."""

    def __init__(self, a: Architecture, mlp: _Mlp | ExpertMlp | None, layer: int) -> None:
        super().__init__()
        self.input_layernorm = _NORMS[a.norm](a.hidden_size)
        self.mixes_by_convolution = layer in a.conv_layers
        if self.mixes_by_convolution:
            self.conv = ShortConvolution(a)
        else:
            self.self_attn = _Attention(a, layer)
        self.post_attention_layernorm = _NORMS[a.norm](a.hidden_size)
        if mlp is None:
            self.mlp = ExpertMlp(a) if a.num_experts else _Mlp(a, layer)

    def forward(self, x: Tensor, mlp: nn.Module) -> Tensor:
        """Map `[batch, seq, hidden]` to the same; `mlp` is this block's own or the shared one."""
        mixer = self.conv if self.mixes_by_convolution else self.self_attn
        x = x + mixer(self.input_layernorm(x))
        out: Tensor = x + mlp(self.post_attention_layernorm(x))
        return out


class _Body(nn.Module):
    """What Hugging Face calls `model`: embedding, blocks, last norm."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.embed_tokens = _Table(a.vocab_size, a.hidden_size)
        if a.position is PositionKind.LEARNED:
            self.embed_positions = _Table(a.max_position_embeddings, a.hidden_size)
        first = _DecoderBlock(a, None, 0)
        shared = first.mlp if a.shared_mlp else None
        others = (_DecoderBlock(a, shared, layer) for layer in range(1, a.num_layers))
        self.layers = nn.ModuleList([first, *others])
        self.norm = _NORMS[a.norm](a.hidden_size)


class Decoder(nn.Module):
    """Decoder-only language model; `state_dict()` has the names and shapes of `tensor_specs(architecture)`.

    A shared block is stored once and run as often as `architecture.sharing` has it; a tied head is no tensor.
    Built inside `torch.device("meta")` it takes no memory.
    """

    def __init__(self, architecture: Architecture) -> None:
        if architecture.position is PositionKind.ALIBI:
            raise InvalidArchitecture(
                "position 'alibi' cannot be trained by the proxy; accepted: rope, learned"
            )
        if other := [name for name in architecture.beyond_llama if name not in TRAINED_BEYOND_LLAMA]:
            raise InvalidArchitecture(
                f"{', '.join(other)}: cannot be trained by the proxy; accepted: Llama's"
            )
        super().__init__()
        self.architecture = architecture
        self.compute_dtype = torch.float32
        self.logit_bytes: int | None = None  # at a time in `loss`; None: a whole batch's
        self.order = architecture.sharing.order(architecture.num_layers)
        self.model = _Body(architecture)
        if not architecture.tie_embeddings:
            self.lm_head = Linear(architecture.hidden_size, architecture.vocab_size, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token numbers `[batch, seq]` to float32 logits `[batch, seq, vocab]`."""
        return self._logits(self._hidden(tokens))

    def _hidden(self, tokens: Tensor) -> Tensor:
        """Map token numbers to the input of the last norm, `[batch, seq, hidden]`."""
        body, a = self.model, self.architecture
        x = F.embedding(tokens, body.embed_tokens.weight)
        if a.position is PositionKind.LEARNED:
            x = x + body.embed_positions.weight[: tokens.shape[1]]
        x = x.to(self.compute_dtype)
        blocks = list(body.layers)
        for index in self.order:
            block = blocks[index]
            x = block(x, blocks[0 if a.shared_mlp else index].mlp)
        return x

    def _logits(self, x: Tensor) -> Tensor:
        body = self.model
        if self.architecture.tie_embeddings:
            return F.linear(body.norm(x), body.embed_tokens.weight.to(x.dtype)).float()
        logits: Tensor = self.lm_head(body.norm(x))
        return logits.float()

    @property
    def matrices(self) -> dict[str, Linear]:
        """Return the linear layers by the name of their weight, without a tied head."""
        return {f"{name}.weight": m for name, m in self.named_modules() if isinstance(m, Linear)}

    def round_caches(self, rounded: Callable[[Tensor], Tensor]) -> None:
        """Attend to keys and values as a KV cache keeps them: turned by their positions, then rounded."""
        for module in self.modules():
            if isinstance(module, _Attention):
                module.round_cache = rounded

    def bound_memory(self, logit_bytes: int = _LOGIT_BYTES) -> None:
        """Train as suits a card: attention that keeps no scores, and the loss in chunks of logits."""
        self.logit_bytes = logit_bytes
        for module in self.modules():
            if isinstance(module, _Attention):
                module.keeps_no_scores = True

    def loss(self, windows: Tensor) -> Tensor:
        """Return the cross-entropy in nats of every next token, `[batch, seq + 1]` to `[batch, seq]`."""
        targets = windows[:, 1:]
        if self.logit_bytes is None:
            logits = self(windows[:, :-1])
            return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        rows = max(1, self.logit_bytes // (4 * self.architecture.vocab_size))
        hidden = self._hidden(windows[:, :-1]).flatten(0, 1)
        # a chunk's logits are computed again in the backward pass, so that one chunk's are held at a time
        losses = [
            checkpoint(self._chunk_loss, chunk, wanted, use_reentrant=False)
            for chunk, wanted in zip(
                torch.split(hidden, rows), torch.split(targets.flatten(), rows), strict=True
            )
        ]
        return torch.cat(losses).view(targets.shape)

    def _chunk_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self._logits(hidden), targets, reduction="none")
