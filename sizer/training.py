"""Memory of a training step: weights, gradients, optimizer, activations; all weights or adapters only.

Weights, gradients and optimizer as counted by ZeRO (arXiv 1910.02054, section 3.1); adapters as in LoRA
(arXiv 2106.09685, section 4.1) and 4-bit base weights as in QLoRA (arXiv 2305.14314, section 3); activations
from what each operation keeps for its derivative, as Korthikanti et al. count them (arXiv 2205.05198,
section 4), but by storage, in transformers' own code (`training_graph.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum, unique

from sizer.architecture import Architecture, MlpKind, NormKind, PositionKind
from sizer.errors import InvalidQuantity, shown
from sizer.formats.bitsandbytes import NF4_DQ
from sizer.formats.groups import parts_bytes
from sizer.names import LORA_ALIASES
from sizer.tensors import Access, Group, Role, TensorSpec, tensor_specs
from sizer.training_graph import FLOAT_BYTES, HALF_BYTES, Kept, Step, kept

MAX_RANK = 65_536

# bitsandbytes: blocks of 256 in 8-bit optimizer states, small tensors keep float32 states
# (optim/optimizer.py, min_8bit_size and blockwise; two tables of 256 floats for all).
_STATE_BLOCK = 256
_SMALLEST_8BIT = 4096
_STATE_TABLES_BYTES = 2 * 256 * FLOAT_BYTES


@unique
class Precision(StrEnum):
    """What weights and arithmetic are kept in."""

    FP32 = "fp32"
    BF16 = "bf16"  # all of it, optimizer included
    AMP = "amp"  # float32 weights, torch.autocast to bfloat16 (the Trainer's bf16=True)
    BF16_MASTER = "bf16-master"  # bfloat16 weights and gradients, the optimizer has float32 weights as well


@unique
class Optimizer(StrEnum):
    """What the optimizer keeps of each trained weight."""

    ADAMW = "adamw"  # two moments
    ADAMW_8BIT = "adamw8bit"  # two moments in 8 bits (bitsandbytes)
    SGD = "sgd"  # nothing: no momentum


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How a model is trained: what learns, in what precision, on how many tokens at once.

    `lora_rank` None trains all weights. `lora_targets` are names of matrices (`q_proj`), or "attention", or
    "all-linear"; empty means query and value, peft's default for Llama. `quantized` keeps the base weights of
    the blocks in NF4 (QLoRA).
    """

    sequence_tokens: int = 2048
    batch_size: int = 1
    precision: Precision = Precision.AMP
    optimizer: Optimizer = Optimizer.ADAMW
    checkpointing: bool = False
    flash_attention: bool = True
    lora_rank: int | None = None
    lora_targets: tuple[str, ...] = ()
    quantized: bool = False

    def __post_init__(self) -> None:
        for name, high in (("sequence_tokens", 2**31), ("batch_size", 2**31), ("lora_rank", MAX_RANK)):
            value = getattr(self, name)
            if value is None and name == "lora_rank":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
                raise InvalidQuantity(f"{name}: must be a whole number from 1 to {high}, got {shown(value)}")
        if self.lora_rank is None and (self.quantized or self.lora_targets):
            what = "4-bit base weights are" if self.quantized else "lora_targets is"
            raise InvalidQuantity(f"lora_rank: missing; {what} for training adapters only")
        if self.lora_rank is not None and self.precision is Precision.BF16_MASTER:
            raise InvalidQuantity(
                "precision: bf16-master is for training all weights (adapters are float32 already); "
                "accepted with lora_rank: fp32, bf16, amp"
            )
        if self.quantized and self.precision is Precision.FP32:
            raise InvalidQuantity("precision: fp32 does not go with 4-bit base weights; accepted: bf16, amp")

    @property
    def method(self) -> str:
        """Return "full", "lora" or "qlora"."""
        if self.lora_rank is None:
            return "full"
        return "qlora" if self.quantized else "lora"

    @property
    def weight_bytes(self) -> int:
        """Return bytes of a model weight as the forward pass reads it."""
        if self.precision is Precision.AMP:
            return FLOAT_BYTES if self.lora_rank is None else HALF_BYTES
        return FLOAT_BYTES if self.precision is Precision.FP32 else HALF_BYTES

    @property
    def trained_weight_bytes(self) -> int:
        """Return bytes of a trained weight, and of its gradient; peft keeps adapters in float32."""
        return self.weight_bytes if self.lora_rank is None else FLOAT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMemory:
    """Bytes held at the peak of a training step, by part."""

    plan: TrainingPlan
    trainable_parameters: int
    adapted: tuple[str, ...]  # names of the matrices with an adapter
    weights_bytes: int  # the model's, trained or frozen
    adapters_bytes: int
    master_weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    autocast_bytes: int  # bfloat16 copies of float32 weights
    activations_bytes: int  # what the blocks, the last norm and the head's input keep until the backward pass
    logits_bytes: int  # logits and log-probabilities
    working_bytes: int  # the largest passing step: the loss's gradients, or a block that is recomputed
    budget_bytes: int | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Return bytes of all parts."""
        return sum(self.parts.values())

    @property
    def parts(self) -> Mapping[str, int]:
        """Return bytes of every part by field name."""
        names = (f.name for f in fields(self))
        return {n: getattr(self, n) for n in names if n.endswith("_bytes") and n != "budget_bytes"}

    @property
    def fits(self) -> bool | None:
        """Return True if the total is within the budget; None without a budget."""
        return None if self.budget_bytes is None else self.total_bytes <= self.budget_bytes

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values: the estimate's `training` object."""
        plan = self.plan
        return {
            "method": plan.method,
            "precision": plan.precision.value,
            "optimizer": plan.optimizer.value,
            "checkpointing": plan.checkpointing,
            "sequence_length": plan.sequence_tokens,
            "batch_size": plan.batch_size,
            "lora_rank": plan.lora_rank,
            "lora_targets": list(self.adapted),
            "trainable_parameters": self.trainable_parameters,
            **self.parts,
            "total_bytes": self.total_bytes,
            "budget_bytes": self.budget_bytes,
            "fits": self.fits,
            "assumptions": list(self.assumptions),
        }


def nf4_bytes(spec: TensorSpec) -> int:
    """Return bytes of a tensor in NF4 with double quantization: 4-bit weights, 8-bit scales, their scales.

    Left out are two tables that bitsandbytes keeps for each tensor, 1,088 bytes.
    """
    tables = ("quant_map", "quant_state.bitsandbytes__nf4")
    held = [part for part in NF4_DQ.parts(spec) if not part.name.endswith(tables)]
    # the mean subtracted from the scales before they are quantized is one more float
    return parts_bytes(tuple(held)) + FLOAT_BYTES


def training_memory(
    architecture: Architecture,
    plan: TrainingPlan,
    *,
    budget_bytes: int | None = None,
    quantized_bytes: Callable[[TensorSpec], int] = nf4_bytes,
) -> TrainingMemory:
    """Return the bytes of a training step of this model at its peak, by part.

    `quantized_bytes` is the size of one base matrix under QLoRA.
    """
    specs = tensor_specs(architecture)
    adapted = adapted_matrices(specs, plan)
    sizes = _trained_sizes(specs, adapted, plan)
    trained = sum(sizes)
    step = Step(
        sequences=plan.batch_size,
        sequence_tokens=plan.sequence_tokens,
        trained=plan.lora_rank is None,
        adapter_ranks={_GRAPH_ROLES.get(spec.role, spec.role): plan.lora_rank or 0 for spec in adapted},
        weight_bytes=plan.weight_bytes,
        autocast=plan.precision is Precision.AMP,
        flash_attention=plan.flash_attention,
        quantized=plan.quantized,
    )
    graph = kept(architecture, step)
    activations = _activations_bytes(architecture, plan, graph)
    head_copy, block_copies = _autocast_copies(specs, trained, plan)
    held_copies = 0 if plan.checkpointing else block_copies
    quantized = [spec for spec in specs if plan.quantized and _is_block_matrix(spec)]
    plain = sum(spec.num_elements for spec in specs) - sum(spec.num_elements for spec in quantized)
    return TrainingMemory(
        plan=plan,
        trainable_parameters=trained,
        adapted=tuple(dict.fromkeys(map(_module, adapted))),
        weights_bytes=plan.weight_bytes * plain + sum(map(quantized_bytes, quantized)),
        adapters_bytes=0 if plan.lora_rank is None else plan.trained_weight_bytes * trained,
        master_weights_bytes=FLOAT_BYTES * trained if plan.precision is Precision.BF16_MASTER else 0,
        gradients_bytes=plan.trained_weight_bytes * trained,
        optimizer_bytes=_optimizer_bytes(sizes, plan),
        autocast_bytes=head_copy + held_copies,
        activations_bytes=activations,
        logits_bytes=graph.loss_bytes + graph.logits_bytes,
        working_bytes=_working_bytes(
            architecture,
            plan,
            graph,
            freed=activations + head_copy + held_copies,
            copies=block_copies - held_copies,
            unpacked=HALF_BYTES * max((spec.num_elements for spec in quantized), default=0),
        ),
        budget_bytes=budget_bytes,
        assumptions=_assumptions(architecture, plan),
    )


# Fused matrices are modelled by one of their parts; activations are approximate there.
_GRAPH_ROLES = {Role.QKV: Role.QUERY, Role.GATE_UP: Role.GATE}


def adapted_matrices(specs: tuple[TensorSpec, ...], plan: TrainingPlan) -> tuple[TensorSpec, ...]:
    """Return the matrices that get an adapter, in order; InvalidQuantity for a name that no block has."""
    if plan.lora_rank is None:
        return ()
    matrices = [spec for spec in specs if _is_block_matrix(spec)]
    names = {_module(spec): spec.role for spec in matrices}
    usual = tuple(name for name, role in names.items() if role in _DEFAULT_TARGETS)
    targets = plan.lora_targets or usual or tuple(names)  # a model without attention: all its matrices
    chosen: set[str] = set()
    for target in targets:
        if target == "all-linear":
            chosen.update(names)
        elif target == "attention":
            chosen.update(name for name, role in names.items() if role.group is Group.ATTENTION)
        elif target in names:
            chosen.add(target)
        elif meant := {name for name, role in names.items() if role in LORA_ALIASES.get(target, ())}:
            chosen |= meant
        else:
            raise InvalidQuantity(
                f"lora_targets: no matrix {target!r}; accepted: attention, all-linear, {', '.join(names)}"
            )
    return tuple(spec for spec in matrices if _module(spec) in chosen)


# peft's default for llama, mistral, qwen2 and qwen3 (utils/constants.py), or the fused matrix.
_DEFAULT_TARGETS = (Role.QUERY, Role.VALUE, Role.QKV)


def _module(spec: TensorSpec) -> str:
    return spec.name.split(".")[-2]


def _is_block_matrix(spec: TensorSpec) -> bool:
    return spec.layer is not None and spec.access is Access.MATMUL


def _trained_sizes(
    specs: tuple[TensorSpec, ...], adapted: tuple[TensorSpec, ...], plan: TrainingPlan
) -> list[int]:
    """Return weights of each trained tensor: the model's, or two matrices for each adapter."""
    if plan.lora_rank is None:
        return [spec.num_elements for spec in specs]
    return [plan.lora_rank * width for spec in adapted for width in spec.shape]


def _optimizer_bytes(sizes: list[int], plan: TrainingPlan) -> int:
    if plan.optimizer is Optimizer.SGD:
        return 0
    if plan.optimizer is Optimizer.ADAMW_8BIT:
        moments = [
            n + FLOAT_BYTES * -(-n // _STATE_BLOCK) if n >= _SMALLEST_8BIT else FLOAT_BYTES * n for n in sizes
        ]
        return 2 * sum(moments) + (_STATE_TABLES_BYTES if max(sizes) >= _SMALLEST_8BIT else 0)
    width = HALF_BYTES if plan.precision is Precision.BF16 and plan.lora_rank is None else FLOAT_BYTES
    # torch.optim.AdamW also keeps a step count for each tensor, in a float
    return sum(2 * width * n + FLOAT_BYTES for n in sizes)


def _autocast_copies(specs: tuple[TensorSpec, ...], adapted: int, plan: TrainingPlan) -> tuple[int, int]:
    """Return bytes of autocast's copies of float32 weights: of the head, and of all block matrices."""
    if plan.precision is not Precision.AMP:
        return 0, 0
    if plan.lora_rank is not None:
        return 0, HALF_BYTES * adapted
    blocks = sum(spec.num_elements for spec in specs if _is_block_matrix(spec))
    matrices = sum(spec.num_elements for spec in specs if spec.access is Access.MATMUL)
    return HALF_BYTES * (matrices - blocks), HALF_BYTES * blocks


def _activations_bytes(a: Architecture, plan: TrainingPlan, graph: Kept) -> int:
    if plan.checkpointing:
        blocks = a.executed_layers * graph.checkpoint_bytes
    else:
        blocks = graph.first_block_bytes + (a.executed_layers - 1) * graph.block_bytes
    return graph.embedding_bytes + graph.rotary_bytes + blocks + graph.head_bytes


def _working_bytes(
    a: Architecture, plan: TrainingPlan, graph: Kept, *, freed: int, copies: int, unpacked: int
) -> int:
    """Return bytes beyond the other parts at the step's peak: the maximum over the moments that can be it.

    `freed` is held after the forward pass and freed by the end. `copies` are autocast's copies of the blocks
    if they are not held from the forward pass to the backward pass.
    """
    tokens = plan.batch_size * plan.sequence_tokens
    width = HALF_BYTES if plan.precision is Precision.AMP else plan.weight_bytes
    logits = tokens * a.vocab_size
    table = 0 if plan.lora_rank is not None else a.vocab_size * a.embedding_width * plan.weight_bytes
    # The head's gradient waits for the embedding's, then both are added.
    waiting = table if a.tie_embeddings else 0
    loss_forward = copies + (FLOAT_BYTES * logits if graph.logits_bytes < FLOAT_BYTES * logits else 0)
    # gradients of nll_loss and log_softmax, both float32, in addition to the log-probabilities
    loss_backward = 2 * FLOAT_BYTES * logits
    # gradients of head and logits; autocast casts the head's to float32 after freeing those of the logits
    head = table - graph.loss_bytes + (0 if plan.precision is Precision.AMP else graph.logits_bytes)
    # In the last block: its recomputed activations, the gradients of product, activation and up projection
    # (the product itself is gone), those of its input and output, and an unpacked matrix.
    block = width * tokens * (2 * a.intermediate_size + 2 * a.hidden_size) + waiting + unpacked
    block += graph.recomputed_bytes + copies // a.num_layers if plan.checkpointing else 0
    block -= graph.loss_bytes + graph.head_bytes
    end = table + 2 * waiting - freed - graph.loss_bytes
    return max(loss_forward, loss_backward, head, block, end)


def follows(a: Architecture) -> bool:
    """Return True if activations of this architecture are counted operation by operation."""
    return (
        a.mlp is MlpKind.SWIGLU
        and a.norm is NormKind.RMSNORM
        and a.position is PositionKind.ROPE
        and not (a.sub_norms or a.shared_mlp or a.beyond_llama)
    )


def _assumptions(architecture: Architecture, plan: TrainingPlan) -> tuple[str, ...]:
    attention = "sdpa" if plan.flash_attention else "eager"
    modelled = f"training: transformers' Llama with {attention} attention and its loss, on torch, one device"
    if not follows(architecture):
        # transformers' own models, 4 layers, 2 x 64 tokens: bfloat16 GPT-2 -55 %, OPT +38 %, others between
        modelled += (
            "; activations are approximate, half to one and a half times the true ones, as this model is not "
            "Llama-shaped"
        )
    notes = [
        modelled,
        "training: gradients count as held during the whole step, as with accumulation, and the "
        "model's output until the backward pass; not counted are the framework itself, fragmentation, "
        "communication and temporaries of the optimizer",
    ]
    if plan.lora_rank is not None:
        notes.append("training: adapters, their gradients and optimizer states are float32, as in peft")
    if plan.quantized:
        notes.append(
            "training: matrices of the blocks in NF4 with double quantization; embedding, head and norms in "
            "16 bits (peft's prepare_model_for_kbit_training makes these float32)"
        )
    return tuple(notes)
