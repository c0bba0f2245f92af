"""What is searched: proposals that fill the size budget by construction, width solved last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from search.config import BYTE_VOCABULARY, SearchConfig
from search.results import Candidate
from sizer.architecture import Architecture, LayerSharing, SharingStrategy, parse_enum
from sizer.runtimes import runtime as runtime_by_name
from sizer.solve import nearest_divisor

if TYPE_CHECKING:
    from optuna import Trial

# Stored blocks run twice where they are shared, as in MobileLLM-LS (arXiv 2402.14905, section 3.3).
_REPEAT = 2
_INTERMEDIATE_MULTIPLE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One point of the space, before the width is solved."""

    format: str
    executed_layers: int
    head_dim: int
    query_heads_per_kv_head: int
    ffn_ratio: float
    sharing: SharingStrategy
    size_fraction: float


def suggest(trial: Trial, config: SearchConfig) -> Proposal:
    """Ask the sampler for a point; the only place that calls trial.suggest_*."""
    return Proposal(
        format=str(trial.suggest_categorical("format", config.formats)),
        executed_layers=trial.suggest_int(
            "executed_layers", config.min_executed_layers, config.max_executed_layers, log=True
        ),
        head_dim=int(trial.suggest_categorical("head_dim", config.head_dims)),
        query_heads_per_kv_head=int(
            trial.suggest_categorical("query_heads_per_kv_head", config.query_heads_per_kv_head)
        ),
        ffn_ratio=trial.suggest_float("ffn_ratio", 1.5, 4.0, step=0.5),
        sharing=parse_enum(
            SharingStrategy, str(trial.suggest_categorical("sharing", config.sharing)), "sharing"
        ),
        size_fraction=trial.suggest_float("size_fraction", config.min_size_fraction, 1.0, log=True)
        if config.min_size_fraction < 1
        else 1.0,
    )


def resolve(proposal: Proposal, config: SearchConfig) -> Candidate:
    """The widest model of the proposed form whose file stays within its share of the size budget.

    Where even the narrowest is larger, that one: the caller's budget check then says so.
    """
    limit = proposal.size_fraction * config.max_size_bytes
    step = proposal.head_dim
    first = -(-config.min_hidden_size // step) * step
    narrowest = _shape(proposal, first)
    # Bytes grow with width but for one kind of step: a width that is a multiple of 256 escapes the k-quants'
    # fallback types and can be smaller than its narrower neighbour. So: all widths are looked at.
    best = narrowest
    for width in range(first, config.max_hidden_size + 1, step):
        shape = _shape(proposal, width)
        size = _file_bytes(shape, proposal.format, config.runtime)
        if size <= limit:
            best = shape
        elif size > 1.5 * limit:
            break
    return Candidate(architecture=best, format=proposal.format)


def _file_bytes(architecture: Architecture, format_name: str, runtime: str) -> int:
    engine = runtime_by_name(runtime)
    return engine.file_bytes(architecture, engine.store(architecture, format_name)).total


def _shape(proposal: Proposal, hidden_size: int) -> Architecture:
    heads = hidden_size // proposal.head_dim
    shared = proposal.sharing is not SharingStrategy.NONE and proposal.executed_layers >= _REPEAT
    ratio = proposal.ffn_ratio * hidden_size / _INTERMEDIATE_MULTIPLE
    kv_heads = nearest_divisor(heads, heads / proposal.query_heads_per_kv_head)
    sharing = LayerSharing(strategy=proposal.sharing, repeat=_REPEAT) if shared else LayerSharing()
    architecture = Architecture(
        vocab_size=BYTE_VOCABULARY,
        num_layers=proposal.executed_layers // sharing.repeat,
        hidden_size=hidden_size,
        intermediate_size=round(ratio) * _INTERMEDIATE_MULTIPLE,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=proposal.head_dim,
        sharing=sharing,
    )
    return replace(architecture, name=shape_name(architecture))


def shape_name(architecture: Architecture) -> str:
    """Short label of a shape: layers x width, query/KV heads, sharing."""
    a = architecture
    shared = f" {a.sharing.strategy.value}x{a.sharing.repeat}" if a.sharing.repeat > 1 else ""
    return f"{a.num_layers}x{a.hidden_size} {a.num_heads}/{a.num_kv_heads}h ff{a.intermediate_size}{shared}"


def starting_points(config: SearchConfig) -> tuple[dict[str, Any], ...]:
    """Shapes tried first: deep and thin, middle, shallow and wide, shared, and a small one.

    The hand-made choices a search must beat (MobileLLM's, GPT-2's); given to the sampler as they are.
    """
    low, high = config.min_executed_layers, config.max_executed_layers

    def point(layers: int, size: float, kind: int, sharing: str) -> dict[str, Any]:
        return {
            "format": config.formats[kind % len(config.formats)],
            "executed_layers": min(max(layers, low), high),
            "head_dim": config.head_dims[0],
            "query_heads_per_kv_head": config.query_heads_per_kv_head[-1 if kind else 0],
            "ffn_ratio": 2.5,
            "sharing": sharing if sharing in config.sharing else config.sharing[0],
            **(
                {"size_fraction": max(size, config.min_size_fraction)} if config.min_size_fraction < 1 else {}
            ),
        }

    return (
        point(6, 1.0, 0, "none"),
        point(12, 1.0, 0, "none"),
        point(3, 1.0, 0, "none"),
        point(6, 0.35, 0, "none"),
        point(8, 1.0, 1, "immediate"),
    )
