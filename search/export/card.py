"""The model card of an exported model: what it is, under which budget, how it scored, how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping

from search.export.finalist import TrainedFinalist
from search.store.versions import versions
from sizer.architecture import Architecture
from sizer.units import format_bytes


def shape_text(a: Architecture) -> str:
    """Return the shape in words: layers x width, heads, feed-forward width, vocabulary."""
    heads = f"{a.num_heads} query and {a.num_kv_heads} KV heads"
    windows = ""
    ffn = f"FFN {a.intermediate_size:,}"
    if a.num_experts:
        ffn = f"{a.num_experts} experts of {ffn}, {a.num_experts_per_tok} of them used by a token"
    if a.sliding_layers:
        windows = f", window {a.sliding_window} in {len(a.sliding_layers)} of {a.num_layers} layers"
    if a.conv_layers:
        windows = f", a convolution of {a.conv_kernel} in {len(a.conv_layers)} of {a.num_layers} layers"
    return f"{a.num_layers} layers x {a.hidden_size}, {heads}, {ffn}, vocabulary {a.vocab_size:,}{windows}"


def model_card(finalist: TrainedFinalist, *, context_tokens: int, files: Mapping[str, int]) -> str:
    """Return the card as Markdown; `files` are names and bytes of what was written."""
    f, result = finalist, finalist.result
    a, config = f.architecture, result.config
    assert config is not None
    budget = {
        "device": result.device,
        "file": _limit(result.budget.get("max_size_bytes")),
        "memory": _limit(result.budget.get("max_memory_bytes")),
        "decode": _rate(result.budget.get("min_decode_tokens_per_s")),
    }
    shared = "" if a.sharing.repeat == 1 else f", blocks shared {a.sharing.text}"
    lines = [
        f"# {a.name}, trial {f.record.number} of study {result.study}",
        "",
        f"A language model of {f.num_parameters:,} weights: {shape_text(a)}{shared}.",
        "",
        "| fact | value |",
        "|---|---|",
        *(f"| budget: {name} | {value} |" for name, value in budget.items() if value is not None),
        f"| text | {result.corpus}, digest {result.corpus_digest[:16]} |",
        f"| tokens | {config.training.tokenizer} |",
        f"| trained | {f.run.steps:,} steps, {f.run.trained_tokens:,} tokens, seed {f.run.seed} |",
        f"| context | {context_tokens} tokens; trained on windows of {f.context_tokens} |",
        f"| bits per byte in float32 | {f.bits_per_byte:.5f} |",
        f"| bits per byte in {f.format} | {f.deployed_bits_per_byte:.5f} |",
        *(
            f"| standard error over the validation text | {error:.4f} |"
            for error in (f.run.val_bits_per_byte_sd,)
            if error is not None
        ),
        *(f"| {name} | {size:,} bytes ({format_bytes(size)}) |" for name, size in files.items()),
        *(f"| {name} | {value} |" for name, value in versions().items()),
        "",
        "How far to trust it: the score is of text of the same kind as it was trained on, after a training "
        "of minutes. It orders shapes for a full training; as a model it is a sketch of one. "
        f"`sizer search trust {result.study}` says how far short runs ordered this study's models.",
        "",
        "To score the Hugging Face folder with lm-evaluation-harness give "
        f"`prefix_token_id={f.vocabulary.newline_token}` (a line's end: the model has no token that begins a "
        f"text) and `max_length={f.context_tokens}`.",
        "",
    ]
    if f.is_proxy:
        lines.insert(2, f"A proxy of {f.record.candidate.describe()}, trained in its place.")
        lines.insert(3, "")
    return "\n".join(lines)


def _limit(value: float | None) -> str | None:
    return None if value is None else f"at most {format_bytes(value)}"


def _rate(value: float | None) -> str | None:
    return None if value is None else f"at least {value:g} tokens/s"
