"""Training speed beside a plain loop of the same models, and beside what this machine's matrix units reach.

    python benchmarks/train.py [--steps 60] [--seeds 3] [--out docs/training.md]

The plain loop is what one writes first: float32, torch's modules, scaled_dot_product_attention, AdamW as it
comes. Both start from the same weights, see the same batches and use the same rates for each tensor, so their
losses can be compared. Steps of both are timed in turn, and medians compared; the machine's ceiling is the
best of large matrix products, measured between them. Rounding alone sends one run of so few steps 1 % off,
now up and now down, so losses are means over seeds.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search.proxy.model import NORM_EPSILON, Decoder, rotation_angles
from search.proxy.scaling import initialize
from search.proxy.stepper import choose_engine, make_stepper, update_rule
from search.proxy.train import bits_per_byte
from search.proxy.training import TrainConfig, schedule
from search.text.corpus import Corpus, load_corpus
from sizer.architecture import Architecture
from sizer.tensors import tensor_specs

SHAPES = ((2, 320), (4, 224), (8, 160), (16, 112), (24, 96), (8, 320), (12, 384))
BATCH, SEQ = 8, 128
RATE = 1.5e-3


class Norm(nn.Module):
    """RMS norm as in Hugging Face's Llama."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, seq, hidden]` to the same."""
        normed: Tensor = self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPSILON))
        return normed


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary embedding of `[batch, heads, seq, head_dim]`."""
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat((-second, first), -1) * sine


class Attention(nn.Module):
    """Attention as in Hugging Face's Llama, by scaled_dot_product_attention."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.heads, self.kv, self.dim = a.num_heads, a.num_kv_heads, a.head_dim
        self.q_proj = nn.Linear(a.hidden_size, a.q_width, bias=False)
        self.k_proj = nn.Linear(a.hidden_size, a.kv_width, bias=False)
        self.v_proj = nn.Linear(a.hidden_size, a.kv_width, bias=False)
        self.o_proj = nn.Linear(a.q_width, a.hidden_size, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """`[batch, seq, hidden]` to the same."""
        batch, seq, _ = x.shape
        q = self.q_proj(x).view(batch, seq, self.heads, self.dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, seq, self.kv, self.dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, seq, self.kv, self.dim).transpose(1, 2)
        q, k = rotated(q, cosine, sine), rotated(k, cosine, sine)
        k, v = (t.repeat_interleave(self.heads // self.kv, 1) for t in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.o_proj(y.transpose(1, 2).reshape(batch, seq, -1))
        return out


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(a.hidden_size, a.intermediate_size, bias=False)
        self.up_proj = nn.Linear(a.hidden_size, a.intermediate_size, bias=False)
        self.down_proj = nn.Linear(a.intermediate_size, a.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, seq, hidden]` to the same."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """Attention and feed-forward on a residual stream."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = Norm(a.hidden_size), Attention(a)
        self.post_attention_layernorm, self.mlp = Norm(a.hidden_size), Mlp(a)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """`[batch, seq, hidden]` to the same."""
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class PlainBody(nn.Module):
    """Embedding, blocks and last norm, named as the Decoder's."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(a.vocab_size, a.hidden_size)
        self.layers = nn.ModuleList(Block(a) for _ in range(a.num_layers))
        self.norm = Norm(a.hidden_size)


class PlainDecoder(nn.Module):
    """The same decoder as one writes it first; its state dict is the Decoder's."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.model, self.head_dim = PlainBody(a), a.head_dim

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers `[batch, seq]` to logits `[batch, seq, vocab]`."""
        cosine, sine = (torch.cat((x, x), -1) for x in rotation_angles(tokens.shape[1], self.head_dim))
        x = self.model.embed_tokens(tokens)
        for block in self.model.layers:
            x = block(x, cosine, sine)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)


def shape(num_layers: int, hidden_size: int) -> Architecture:
    """Byte-level Llama of a depth and width, heads of about 32."""
    head_dim = 32 if hidden_size % 32 == 0 else 28
    heads = hidden_size // head_dim
    return Architecture(
        vocab_size=256,
        num_layers=num_layers,
        hidden_size=hidden_size,
        intermediate_size=round(hidden_size * 8 / 3 / 32) * 32,
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=head_dim,
    )


def plain_loop(model: PlainDecoder, a: Architecture) -> Callable[[Tensor, float, int], float]:
    """A step of the plain loop: windows, rate and number to the loss in nats."""
    rule = update_rule(a, weight_decay=0.1, clip=1.0)
    named = dict(model.named_parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for spec in tensor_specs(a):
        key = (rule.rate_of[spec.name], rule.decay_of[spec.name])
        groups.setdefault(key, []).append(named[spec.name])
    optimizer = torch.optim.AdamW(
        [{"params": members, "weight_decay": decay} for (_, decay), members in groups.items()],
        betas=(rule.beta1, rule.beta2),
        eps=rule.epsilon,
    )
    factors = [factor for factor, _ in groups]

    def step(windows: Tensor, rate: float, number: int) -> float:
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr"] = rate * factor
        logits = model(windows[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, a.vocab_size), windows[:, 1:].reshape(-1))
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), rule.clip)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def ceiling(dtype: torch.dtype, size: int = 2048) -> float:
    """Operations per second of a large matrix product, the best of five."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = 0.0
    for _ in range(5):
        begin = time.perf_counter()
        torch.mm(a, b)
        best = max(best, 2 * size**3 / (time.perf_counter() - begin))
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One shape's figures: seconds are medians of a step of any seed, bits those after the last, by seed."""

    shape: Architecture
    parameters: int
    plain_s: float
    ours_s: float
    plain_bits: tuple[float, ...]
    ours_bits: tuple[float, ...]
    ceiling_ops_per_s: float

    @property
    def step_ops(self) -> float:
        """Operations of a step: 6 per weight and token, and three times attention's products, as squares."""
        a = self.shape
        attention = 3 * 4 * a.num_layers * a.q_width * SEQ
        return BATCH * SEQ * (6.0 * self.parameters + attention)

    @property
    def share(self) -> float:
        """Share of the machine's own ceiling that our step reaches."""
        return self.step_ops / self.ours_s / self.ceiling_ops_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both loops of one seed: seconds of each step, bits after the last, the ceiling in between."""

    plain_s: list[float]
    ours_s: list[float]
    plain_bits: float
    ours_bits: float
    ceiling_ops_per_s: float


def measure(a: Architecture, corpus: Corpus, steps: int, seeds: int) -> Row:
    """Train both for some steps of each seed."""
    pairs = [train_both(a, corpus, steps, seed) for seed in range(seeds)]
    return Row(
        shape=a,
        parameters=sum(spec.num_elements for spec in tensor_specs(a)),
        plain_s=median(s for pair in pairs for s in pair.plain_s),
        ours_s=median(s for pair in pairs for s in pair.ours_s),
        plain_bits=tuple(pair.plain_bits for pair in pairs),
        ours_bits=tuple(pair.ours_bits for pair in pairs),
        ceiling_ops_per_s=max(pair.ceiling_ops_per_s for pair in pairs),
    )


def train_both(a: Architecture, corpus: Corpus, steps: int, seed: int) -> Pair:
    """Train both in turn from the same weights."""
    engine = choose_engine()
    ours = Decoder(a)
    initialize(ours, a, torch.Generator().manual_seed(seed))
    plain = PlainDecoder(a)
    plain.load_state_dict(ours.state_dict())
    dtype = engine.precision.dtype
    rule = update_rule(a, weight_decay=0.1, clip=1.0)
    stepper = make_stepper(ours, batch=BATCH, seq=SEQ, dtype=dtype, rule=rule, fused=engine.fused)
    stepper.refresh()
    plain_step = plain_loop(plain, a)
    batches, config = corpus.train_batches(seed, BATCH, SEQ), TrainConfig(steps=steps, warmup_steps=10)
    plain_s, ours_s, best = [], [], 0.0
    for number in range(1, steps + 1):
        windows, rate = batches.at(number), RATE * schedule(number, config)
        begin = time.perf_counter()
        plain_step(windows, rate, number)
        middle = time.perf_counter()
        stepper.step(windows, rate, number)
        plain_s.append(middle - begin)
        ours_s.append(time.perf_counter() - middle)
        if number % max(1, steps // 5) == 0:
            best = max(best, ceiling(dtype))
    chunks = corpus.val_chunks(200, SEQ)
    scored = Decoder(a)
    scored.load_state_dict(plain.state_dict())
    return Pair(
        plain_s=plain_s,
        ours_s=ours_s,
        plain_bits=float(bits_per_byte(scored, chunks).mean()),
        ours_bits=float(bits_per_byte(ours, chunks).mean()),
        ceiling_ops_per_s=best,
    )


def page(rows: list[Row], steps: int, seeds: int) -> str:
    """The figures as a Markdown page."""
    engine = choose_engine()
    ways = ", ".join(f"{way} {1e3 * s:.1f} ms" for way, s in sorted(engine.step_s.items()))
    lines = [
        "# Training speed",
        "",
        "Made by `python benchmarks/train.py`; not to be edited.",
        "",
        f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}. "
        f"Way chosen: {engine.fastest} (a step of a 4 x 128 decoder: {ways}).",
        "",
        f"{steps} steps of {BATCH} x {SEQ} bytes of each of {seeds} seeds, both loops in turn from the same "
        "weights on the same batches. Plain: eager float32, as in the benchmark's source. Ceiling: torch's "
        "best large product of the type trained in, measured in between. Bits: validation bits per byte "
        "after the last step, the mean of the seeds; difference: of the means, and the least and greatest of "
        "a seed.",
        "",
        "| layers x width | parameters | plain tokens/s | ours tokens/s | ratio | share of ceiling "
        "| bits plain | bits ours | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        tokens = BATCH * SEQ
        differences = [ours / plain - 1 for ours, plain in zip(r.ours_bits, r.plain_bits, strict=True)]
        lines.append(
            f"| {r.shape.num_layers} x {r.shape.hidden_size} | {r.parameters / 1e6:.2f} M "
            f"| {tokens / r.plain_s:,.0f} | {tokens / r.ours_s:,.0f} | {r.plain_s / r.ours_s:.2f} "
            f"| {r.share:.0%} of {r.ceiling_ops_per_s / 1e9:,.0f} Gop/s | {mean(r.plain_bits):.3f} "
            f"| {mean(r.ours_bits):.3f} | {mean(r.ours_bits) / mean(r.plain_bits) - 1:+.2%} "
            f"({min(differences):+.2%} to {max(differences):+.2%}) |"
        )
    return "\n".join([*lines, ""])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    units = [name for name in ("amx_bf16", "avx512_bf16", "avx2") if name in flags]
    return f"{names[0] if names else platform.machine()} ({units[0] if units else 'no bf16 units'})"


def main() -> None:
    """Measure every shape, print the page, write it where asked."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=Path)
    chosen = arguments.parse_args()
    corpus, rows = load_corpus("builtin"), []
    for layers, width in SHAPES:
        rows.append(measure(shape(layers, width), corpus, chosen.steps, chosen.seeds))
        print(page(rows[-1:], chosen.steps, chosen.seeds).splitlines()[-1], flush=True)
    text = page(rows, chosen.steps, chosen.seeds)
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
