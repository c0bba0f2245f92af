"""Training speed compared with torch's own loops on the same models, and with this machine's matrix units.

    python benchmarks/training/train.py [--shapes 2x320 ...] [--steps 60] [--seeds 3] [--out docs/training.md]

The loops are the same plain decoder (torch's modules, scaled_dot_product_attention, fused AdamW) in eager
float32, in eager bfloat16 (autocast) and with torch.compile in the type that ours trains in. All start from
the same weights, use the same batches and rates, and are timed in turn; medians are compared. The headline
is the ratio to the best of them over a run of RUN_STEPS steps, compile time included. The first seed times
all loops; the others only eager float32 and ours, for their losses: rounding alone moves one run of so few
steps by 1 % in either direction. The machine's ceiling is the best of large matrix products, measured in
between.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search.text.corpus import Corpus, load_corpus
from search.training.decoder import NORM_EPSILON, Decoder, rotation_angles
from search.training.fused import kernels as loader
from search.training.learning_rates import initialize
from search.training.score import bits_per_byte
from search.training.train_step import choose_engine, make_train_step, update_rule
from search.training.training_run import TrainConfig, schedule
from sizer.architecture import Architecture
from sizer.tensors import tensor_specs

SHAPES = ("2x320", "4x224", "8x160", "16x112", "24x96", "8x320", "12x384")  # layers x width
BATCH, SEQ = 8, 128
RATE = 1.5e-3
RUN_STEPS = 2000  # of the longest run of most presets: compile time is spread over them

FLOAT32, BFLOAT16, COMPILED, OURS = "eager float32", "eager bfloat16", "torch.compile", "ours"

Step = Callable[[Tensor, float, int], None]  # windows, learning rate, number


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return the rotary embedding of `[batch, heads, seq, head_dim]`."""
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
        """Map `[batch, seq, hidden]` to the same."""
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
        """Map `[batch, seq, hidden]` to the same."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """Attention and feed-forward on a residual stream."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = nn.RMSNorm(a.hidden_size, NORM_EPSILON), Attention(a)
        self.post_attention_layernorm, self.mlp = nn.RMSNorm(a.hidden_size, NORM_EPSILON), Mlp(a)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Map `[batch, seq, hidden]` to the same."""
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class PlainBody(nn.Module):
    """Embedding, blocks and last norm, named as the Decoder's."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(a.vocab_size, a.hidden_size)
        self.layers = nn.ModuleList(Block(a) for _ in range(a.num_layers))
        self.norm = nn.RMSNorm(a.hidden_size, NORM_EPSILON)


class PlainDecoder(nn.Module):
    """The same decoder as one writes it first; its state dict is the Decoder's."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.model, self.head_dim = PlainBody(a), a.head_dim

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token numbers `[batch, seq]` to logits `[batch, seq, vocab]`."""
        cosine, sine = (torch.cat((x, x), -1) for x in rotation_angles(tokens.shape[1], self.head_dim))
        x = self.model.embed_tokens(tokens)
        for block in self.model.layers:
            x = block(x, cosine, sine)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)


def shape(num_layers: int, hidden_size: int) -> Architecture:
    """Return a byte-level Llama of a depth and width, heads of about 32."""
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


def plain_loop(model: PlainDecoder, a: Architecture, dtype: torch.dtype, *, compiled: bool = False) -> Step:
    """Return a step of a plain loop."""
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
        fused=True,
    )
    factors = [factor for factor, _ in groups]

    def loss_of(windows: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            logits = model(windows[:, :-1])
        return F.cross_entropy(logits.float().reshape(-1, a.vocab_size), windows[:, 1:].reshape(-1))

    computed = torch.compile(loss_of) if compiled else loss_of

    def step(windows: Tensor, rate: float, number: int) -> None:
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr"] = rate * factor
        loss = computed(windows)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), rule.clip)
        optimizer.step()
        optimizer.zero_grad()

    return step


def ceiling(dtype: torch.dtype, size: int = 2048) -> float:
    """Return the operations per second of a large matrix product, the best of five."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = 0.0
    for _ in range(5):
        begin = time.perf_counter()
        torch.mm(a, b)
        best = max(best, 2 * size**3 / (time.perf_counter() - begin))
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """One shape's figures: seconds are medians of a step, bits those after the last, by seed."""

    shape: Architecture
    parameters: int
    loops_s: dict[str, float]  # by FLOAT32, BFLOAT16, COMPILED and OURS
    compile_s: float
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
        return self.step_ops / self.loops_s[OURS] / self.ceiling_ops_per_s

    @property
    def best(self) -> str:
        """The other loop that takes the least time for a run, compile time included."""
        return min((FLOAT32, BFLOAT16, COMPILED), key=self.run_s)

    def run_s(self, loop: str) -> float:
        """Return the seconds of a run of RUN_STEPS, with the compile time of torch.compile."""
        return RUN_STEPS * self.loops_s[loop] + (self.compile_s if loop == COMPILED else 0.0)

    @property
    def ratio(self) -> float:
        """Speed of a run by our steps over that of the best other loop."""
        return self.run_s(self.best) / self.run_s(OURS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """Loops of one seed: seconds of each step, bits after the last, the ceiling in between."""

    seconds: dict[str, list[float]]
    plain_bits: float
    ours_bits: float
    ceiling_ops_per_s: float


def measure(a: Architecture, corpus: Corpus, steps: int, seeds: int) -> SpeedRow:
    """Train for some steps of each seed."""
    runs = [train_in_turn(a, corpus, steps, seed) for seed in range(seeds)]
    first = runs[0].seconds
    loops_s = {name: median(s for run in runs for s in run.seconds.get(name, [])[1:]) for name in first}
    return SpeedRow(
        shape=a,
        parameters=sum(spec.num_elements for spec in tensor_specs(a)),
        loops_s=loops_s,
        compile_s=first[COMPILED][0] - loops_s[COMPILED],
        plain_bits=tuple(run.plain_bits for run in runs),
        ours_bits=tuple(run.ours_bits for run in runs),
        ceiling_ops_per_s=max(run.ceiling_ops_per_s for run in runs),
    )


def train_in_turn(a: Architecture, corpus: Corpus, steps: int, seed: int) -> SeedRun:
    """Train the loops in turn from the same weights; seeds after the first only eager float32 and ours."""
    engine = choose_engine()
    ours = Decoder(a)
    initialize(ours, a, torch.Generator().manual_seed(seed))
    dtype = engine.precision.dtype
    kinds = {FLOAT32: (torch.float32, False), BFLOAT16: (torch.bfloat16, False), COMPILED: (dtype, True)}
    torch.compiler.reset()
    models: dict[str, PlainDecoder] = {}
    loops: dict[str, Step] = {}
    for name, (kind, compiled) in kinds.items():
        if seed == 0 or name == FLOAT32:
            models[name] = PlainDecoder(a)
            models[name].load_state_dict(ours.state_dict())
            loops[name] = plain_loop(models[name], a, kind, compiled=compiled)
    rule = update_rule(a, weight_decay=0.1, clip=1.0)
    train_step = make_train_step(ours, batch=BATCH, seq=SEQ, dtype=dtype, rule=rule, fused=engine.fused)
    train_step.sync_weights()
    loops[OURS] = train_step.step
    batches, config = corpus.train_batches(seed, BATCH, SEQ), TrainConfig(steps=steps, warmup_steps=10)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    best = 0.0
    for number in range(1, steps + 1):
        windows, rate = batches.at(number), RATE * schedule(number, config)
        for name, step in loops.items():
            start = time.perf_counter()
            step(windows, rate, number)
            seconds[name].append(time.perf_counter() - start)
        if number % max(1, steps // 5) == 0:
            best = max(best, ceiling(dtype))
    chunks = corpus.val_chunks(200, SEQ)
    scored = Decoder(a)
    scored.load_state_dict(models[FLOAT32].state_dict())
    return SeedRun(
        seconds=seconds,
        plain_bits=float(bits_per_byte(scored, chunks).mean()),
        ours_bits=float(bits_per_byte(ours, chunks).mean()),
        ceiling_ops_per_s=best,
    )


def kernels_compile_s(dtype: torch.dtype) -> float:
    """Return the seconds that our kernels take to compile, once per machine."""
    before = os.environ.get(loader.CACHE_VARIABLE)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[loader.CACHE_VARIABLE] = folder
        loader._load(dtype)
    os.environ.pop(loader.CACHE_VARIABLE)
    if before is not None:
        os.environ[loader.CACHE_VARIABLE] = before
    return time.perf_counter() - start


def page(rows: list[SpeedRow], steps: int, seeds: int) -> str:
    """Return the figures as a Markdown page."""
    engine = choose_engine()
    kinds = ", ".join(f"{kind} {1e3 * s:.1f} ms" for kind, s in sorted(engine.step_s.items()))
    own = f"{kernels_compile_s(engine.precision.dtype):.0f} s" if engine.fused else "none"
    ratios = [r.ratio for r in rows]
    lines = [
        "# Training speed",
        "",
        "Made by `python benchmarks/training/train.py`; not to be edited.",
        "",
        f"**{min(ratios):.1f} to {max(ratios):.1f} times the best of eager float32, eager bfloat16 and "
        f"torch.compile**, for a run of {RUN_STEPS:,} steps, compile time included.",
        "",
        f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}. "
        f"Fastest step: {engine.fastest} (a step of a 4 x 128 decoder: {kinds}). "
        f"Compiling our kernels, once per machine: {own}.",
        "",
        f"{steps} steps of {BATCH} x {SEQ} bytes, in turn from the same weights on the same batches; {seeds} "
        "seeds, of which the first times all loops. The others are one plain decoder, whose source is in "
        "the benchmark: eager float32, eager bfloat16 (autocast), and torch.compile in the type that ours "
        "trains in. Ratio: to the best of them. Ceiling: torch's best large product of the type trained in, "
        "measured in between. Bits: validation bits per byte after the last step, the mean of the seeds; "
        "difference: of ours to eager float32, of the means, and the least and greatest of a seed.",
        "",
        "| layers x width | parameters | eager float32 tokens/s | eager bfloat16 tokens/s "
        "| torch.compile tokens/s | compile | ours tokens/s | ratio | best other | share of ceiling "
        "| bits float32 | bits ours | difference |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        speeds = {name: f"{BATCH * SEQ / seconds:,.0f}" for name, seconds in r.loops_s.items()}
        differences = [ours / plain - 1 for ours, plain in zip(r.ours_bits, r.plain_bits, strict=True)]
        lines.append(
            f"| {r.shape.num_layers} x {r.shape.hidden_size} | {r.parameters / 1e6:.2f} M "
            f"| {speeds[FLOAT32]} | {speeds[BFLOAT16]} | {speeds[COMPILED]} | {r.compile_s:.0f} s "
            f"| {speeds[OURS]} | {r.ratio:.2f} | {r.best} "
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
    """Measure every shape, print the page, write it if asked."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--shapes", nargs="+", default=SHAPES, help="layers x width, such as 2x320")
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=Path)
    chosen = arguments.parse_args()
    torch.compiler.config.force_disable_caches = True  # or a second run would not see the compile time
    corpus, rows = load_corpus("builtin"), []
    for name in chosen.shapes:
        rows.append(measure(shape(*map(int, name.split("x"))), corpus, chosen.steps, chosen.seeds))
        ratio, best = rows[-1].ratio, rows[-1].best
        print(f"{name}: {ratio:.2f} times {best}, compiled in {rows[-1].compile_s:.0f} s", flush=True)
    text = page(rows, chosen.steps, chosen.seeds)
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
