"""A training plan for a model without weights: config.json, train.py, litgpt.yaml, and what is known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from math import ceil
from pathlib import Path
from typing import Any

from search.export.card import shape_text
from search.export.huggingface import huggingface_config
from search.export.layout import check_layout, huggingface_name
from search.training.decoder import NORM_EPSILON, ROPE_THETA
from search.training.learning_rates import initial_deviation, learning_rate_factor
from search.training.train_step import update_rule
from search.training.training_run import COOLDOWN_SHARE, TrainConfig
from sizer.architecture import Architecture
from sizer.atomic_write import atomic_folder, write_text
from sizer.errors import InvalidFile, InvalidQuantity
from sizer.model_estimate import estimate
from sizer.quality.curve import TrainingLength, curve, curve_point
from sizer.tensors import count_parameters, tensor_specs
from sizer.units import format_count

SCHEMA = "sizer.recipe/1"
TOKENS_PER_WEIGHT = 20  # Hoffmann et al., arXiv 2203.15556, table 3
BATCH_TOKENS = 524_288  # of a step: GPT-3 125M (Brown et al., arXiv 2005.14165, table 2.1)
_OURS = "plan.json"
_MAX_TOKENS = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """A plan as written: its folder, and the numbers in it."""

    path: Path
    parameters: int
    tokens: int
    steps: int
    lengths: tuple[TrainingLength, ...]  # quality and cost at the tokens planned, first, and at others

    def to_dict(self) -> dict[str, Any]:
        """Return the document of `sizer export --to recipe --json`."""
        return {
            "schema": SCHEMA,
            "path": str(self.path),
            "parameters": self.parameters,
            "tokens": self.tokens,
            "steps": self.steps,
            "lengths": [length.to_dict() for length in self.lengths],
        }


def write_recipe(
    architecture: Architecture, folder: Path, *, tokens: int | None = None, context_tokens: int | None = None
) -> TrainingRecipe:
    """Write the plan of a training from scratch into a folder; whole or not at all.

    `tokens` defaults to 20 a weight, the context to the model's own. A folder of an earlier plan is replaced;
    any other raises InvalidFile.
    """
    check_layout(architecture)
    count = count_parameters(tensor_specs(architecture)).total
    wanted = TOKENS_PER_WEIGHT * count if tokens is None else tokens
    if not 1 <= wanted <= _MAX_TOKENS:
        raise InvalidQuantity(f"tokens: must be from 1 to {_MAX_TOKENS:,}, got {wanted:,}")
    context = architecture.max_position_embeddings if context_tokens is None else context_tokens
    plan = training_plan(architecture, tokens=wanted, context_tokens=context)
    recipe = TrainingRecipe(
        path=folder,
        parameters=count,
        tokens=wanted,
        steps=plan["steps"],
        lengths=_lengths(architecture, wanted),
    )
    texts = {
        "config.json": json.dumps(huggingface_config(architecture, context), indent=2) + "\n",
        _OURS: json.dumps(plan, indent=1) + "\n",
        "train.py": (files("search") / "export" / "assets" / "train.py").read_text(encoding="utf-8"),
        "plan.md": _page(architecture, recipe, plan, context),
    }
    a = architecture
    if a.sharing.repeat == 1 and not (a.sliding_layers or a.conv_layers):  # litgpt's Llama has none of these
        texts["litgpt.yaml"] = _litgpt(architecture, plan, context)
    _write_folder(folder, texts)
    return recipe


def _lengths(architecture: Architecture, tokens: int) -> tuple[TrainingLength, ...]:
    """Return what the model is expected to reach in 16 bits after its tokens, and after the usual lengths."""
    sized = estimate(architecture=architecture, format="bf16", runtime="transformers")
    planned = curve_point(sized, float(tokens), corpus=None, anchor=None)
    return (planned, *curve(sized))


def training_plan(architecture: Architecture, *, tokens: int, context_tokens: int) -> dict[str, Any]:
    """Return what train.py reads: first deviations, rates and decays by tensor, schedule, lengths."""
    base = TrainConfig(steps=1)
    rule = update_rule(architecture, weight_decay=base.weight_decay, clip=base.grad_clip)
    batch = min(BATCH_TOKENS, max(context_tokens, tokens // 1000))
    return {
        "schema": SCHEMA,
        "name": architecture.name,
        "parameters": count_parameters(tensor_specs(architecture)).total,
        "tokens": tokens,
        "batch_tokens": batch,
        "seq_len": context_tokens,
        "steps": ceil(tokens / batch),
        "base_rate": base.learning_rate,
        "warmup_share": 0.01,
        "cooldown_share": COOLDOWN_SHARE,
        "betas": [rule.beta1, rule.beta2],
        "epsilon": rule.epsilon,
        "clip": rule.clip,
        "shared_blocks": _first_runs(architecture),
        "tensors": {
            name: {
                "deviation": None if len(spec.shape) == 1 else initial_deviation(spec, architecture),
                "rate": learning_rate_factor(spec, architecture),
                "decay": rule.decay_of[spec.name],
            }
            for spec in tensor_specs(architecture)
            for name in (_run_name(spec.name, spec.layer, architecture),)
        },
    }


def _first_runs(a: Architecture) -> list[int]:
    """Return, for each run of a block, the run that has its weights first."""
    order = a.sharing.order(a.num_layers)
    return [order.index(block) for block in order]


def _run_name(name: str, layer: int | None, a: Architecture) -> str:
    """Return the name of a tensor in the unrolled model in transformers, by the first run of its block."""
    if layer is not None:
        run = a.sharing.order(a.num_layers).index(layer)
        name = name.replace(f"layers.{layer}.", f"layers.{run}.", 1)
    return huggingface_name(a, name)


def _page(a: Architecture, recipe: TrainingRecipe, plan: dict[str, Any], context: int) -> str:
    """Return plan.md: the numbers, and which of them were validated."""
    lines = [
        f"# A plan to train {a.name}",
        "",
        f"{recipe.parameters:,} weights: {shape_text(a)}, context {context:,}.",
        "",
        "| | |",
        "|---|---|",
        f"| tokens | {recipe.tokens:,} ({recipe.tokens / recipe.parameters:.0f} a weight) |",
        f"| batch | {plan['batch_tokens']:,} tokens, {recipe.steps:,} steps |",
        f"| base rate | {plan['base_rate']:g}, times a factor for each tensor (plan.json) |",
        "",
        "    python train.py --data tokens.npy --out run1",
        "",
        "| tokens | accuracy, mean of 8 tasks, 80 % range | A100 hours | H100 hours |",
        "|---|---|---|---|",
        *(_length_row(length) for length in recipe.lengths),
        "",
        f"Accuracy: {recipe.lengths[0].quality.basis}. Hours: over the cards' measured utilization "
        f"({recipe.lengths[0].costs[0].source}).",
        "",
        "Validated: the exact number of weights, that the folder loads in transformers, first weights and "
        "relative rates of the tensors (the rules of muP and CompleteP, on decoders of 2 to 24 layers and "
        "widths of 96 to 320).",
        "",
        "Not validated: the base rate at this length. It was tuned on 600 steps of 1,024 tokens; sweep x0.5, "
        f"x1 and x2 on 1 % of the tokens first. Text and tokenizer are yours, of at most {a.vocab_size:,} "
        "tokens. litgpt.yaml has one rate for all tensors, which is not what the search used.",
        "",
        f"{TOKENS_PER_WEIGHT} tokens a weight is the least that is commonly spent (arXiv 2203.15556). Models "
        "for devices are trained on far more: MobileLLM-125M on 1T tokens (arXiv 2402.14905), which "
        "`--tokens 1T` plans.",
        "",
    ]
    return "\n".join(lines)


def _length_row(length: TrainingLength) -> str:
    q = length.quality
    hours = " | ".join(
        f"{cost.hours:,.2g}" if cost.hours < 10 else f"{cost.hours:,.0f}" for cost in length.costs
    )
    return f"| {format_count(int(q.tokens))} | {q.accuracy:.1f} % ({q.low:.1f} to {q.high:.1f}) | {hours} |"


def _litgpt(a: Architecture, plan: dict[str, Any], context: int) -> str:
    """Return a pretraining configuration of litgpt 0.5: rates of hidden matrices, for all tensors."""
    hidden = min(rule["rate"] for name, rule in plan["tensors"].items() if name.endswith("q_proj.weight"))
    sequences = max(1, plan["batch_tokens"] // context)
    return f"""# litgpt pretrain --config litgpt.yaml --data ... (your text; without it TinyLlama's)
# One rate for all tensors and litgpt's own first weights and schedule: not what the search used.
model_name: {json.dumps(a.name)}
model_config:
  name: {json.dumps(a.name)}
  block_size: {context}
  vocab_size: {a.vocab_size}
  padded_vocab_size: {a.vocab_size}
  n_layer: {a.num_layers}
  n_head: {a.num_heads}
  n_query_groups: {a.num_kv_heads}
  n_embd: {a.hidden_size}
  head_size: {a.head_dim}
  intermediate_size: {a.intermediate_size}
  rotary_percentage: 1.0
  rope_base: {ROPE_THETA:.0f}
  parallel_residual: false
  bias: false
  norm_class_name: RMSNorm
  norm_eps: {NORM_EPSILON:.1e}
  mlp_class_name: LLaMAMLP
train:
  global_batch_size: {sequences}
  micro_batch_size: {min(4, sequences)}
  max_tokens: {plan["tokens"]}
  max_seq_length: {context}
  max_norm: {plan["clip"]}
  min_lr: 0.0
  tie_embeddings: {str(a.tie_embeddings).lower()}
  lr_warmup_steps: {max(1, round(plan["warmup_share"] * plan["steps"]))}
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: {plan["base_rate"] * hidden:.3e}
    weight_decay: {TrainConfig(steps=1).weight_decay}
    betas: [{plan["betas"][0]}, {plan["betas"][1]}]
    eps: {plan["epsilon"]:.1e}
"""


def _write_folder(folder: Path, texts: dict[str, str]) -> None:
    if folder.exists() and not _is_recipe(folder):
        raise InvalidFile(f"out: {str(folder)!r} exists and is not a plan of ours; accepted: another --out")
    try:
        with atomic_folder(folder) as made:
            for name, text in texts.items():
                write_text(made / name, text)
    except OSError as error:
        raise InvalidFile(f"out: cannot write {str(folder)!r}: {error.strerror or error}") from None


def _is_recipe(folder: Path) -> bool:
    try:
        found = json.loads((folder / _OURS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("schema") == SCHEMA
