"""Published comparisons that can be repeated here: what was found, and the small models that stand for it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from search.config.config import BYTE_VOCABULARY, Tokenizer
from search.space.formats import file_bytes
from search.store.results import Candidate
from search.training.quantize import stored_types
from sizer.architecture import Architecture, LayerSharing, MlpKind, SharingStrategy
from sizer.errors import InvalidArchitecture, UnknownName
from sizer.runtimes import DEFAULT_RUNTIME
from sizer.tensors import count_parameters, tensor_specs

_FILE = Path(__file__).parents[1] / "data" / "reproductions.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a published shape is divided by to get its proxy."""

    depth: int
    width: int
    vocab: int
    heads: int  # more heads than widths of the proxy have room for become fewer

    def of(self, model: Architecture) -> Architecture:
        """Return the proxy: every count divided exactly; InvalidArchitecture if one does not divide.

        With vocab = depth x width every matrix, tables included, is the same share of the model: the
        publication's proportions of parameters are kept, which the order of depths and widths depends on.
        """
        return replace(
            model,
            vocab_size=_divided(model, "vocab_size", self.vocab),
            num_layers=_divided(model, "num_layers", self.depth),
            hidden_size=_divided(model, "hidden_size", self.width),
            intermediate_size=_divided(model, "intermediate_size", self.width),
            num_heads=_divided(model, "num_heads", self.heads),
            num_kv_heads=_divided(model, "num_kv_heads", self.heads),
            head_dim=_divided(model, "head_dim", self.width, times=self.heads),
        )


def _divided(model: Architecture, name: str, by: int, times: int = 1) -> int:
    value: int = getattr(model, name) * times
    if value % by:
        raise InvalidArchitecture(f"{name} must be a multiple of {by} to be divided by it, got {value}")
    return value // by


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the models that a publication compares, and the proxy trained in its place."""

    label: str
    published: Architecture | None  # None where the proxy's shape is no share of the published one
    published_params_m: float | None
    published_value: float | None  # in the publication's metric
    candidate: Candidate

    @property
    def parameters(self) -> int:
        """Weights of the proxy."""
        return count_parameters(tensor_specs(self.candidate.architecture)).total

    @property
    def tensor_bytes(self) -> int:
        """Bytes of the proxy's stored tensors in llama.cpp's file, each shared block once."""
        architecture, name = self.candidate.architecture, self.candidate.format
        types = stored_types(architecture, name)
        return sum(types[spec.name].tensor_bytes(spec) for spec in tensor_specs(architecture))

    @property
    def file_bytes(self) -> int:
        """Bytes of the proxy's file in llama.cpp, which stores a shared block for each of its runs."""
        return file_bytes(self.candidate.architecture, self.candidate.format, DEFAULT_RUNTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One arm is better than another; without published values it is a question that was left open."""

    text: str
    better: str
    worse: str
    published: tuple[float, float] | None  # of the better and the worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A published comparison, and how it is repeated."""

    name: str
    title: str
    source: str
    published: str  # the finding, in a sentence
    metric: str
    higher_is_better: bool
    matched: str  # in what the arms are alike
    limits: tuple[str, ...]  # why proxies of this size may not show it
    ranked: bool  # whether the order of all arms is a claim as well
    tokenizer: Tokenizer
    vocab_size: int
    steps: int
    seeds: int
    batch_size: int
    seq_len: int
    val_chunks: int
    fused: bool | None
    published_tokens: float | None  # training of each published model, where the law can be asked of it
    core_minutes: float  # about what all seeds take on one core (AMD EPYC with bfloat16 products)
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]

    def arm(self, label: str) -> Arm:
        """Return the arm of that label."""
        return next(arm for arm in self.arms if arm.label == label)


@cache
def reproductions() -> Mapping[str, Reproduction]:
    """Return all reproductions by name."""
    tables = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: _read(name, table) for name, table in tables.items()}


def reproduction(name: str) -> Reproduction:
    """Return the reproduction of that name, ignoring case; an unknown name lists the known ones."""
    wanted = name.strip().lower()
    if wanted not in reproductions():
        raise UnknownName.of("reproduction", name, reproductions())
    return reproductions()[wanted]


def _read(name: str, table: dict[str, Any]) -> Reproduction:
    arms = tuple(_arm(arm, table.get("scale", {})) for arm in table["arms"])
    labels = {arm.label for arm in arms}
    claims = tuple(
        Claim(
            text=claim["text"],
            better=claim["better"],
            worse=claim["worse"],
            published=(claim["published"][0], claim["published"][1]) if "published" in claim else None,
        )
        for claim in table.get("claims", ())
    )
    assert len(labels) == len(arms), f"{name}: a label stands twice"
    assert labels >= {label for c in claims for label in (c.better, c.worse)}, f"{name}: claim without arm"
    vocab_sizes = {arm.candidate.architecture.vocab_size for arm in arms}
    assert len(vocab_sizes) == 1, f"{name}: arms of different vocabularies read different tokens"
    (vocab_size,) = vocab_sizes
    return Reproduction(
        name=name,
        title=table["title"],
        source=table["source"],
        published=table["published"],
        metric=table["metric"],
        higher_is_better=table["higher_is_better"],
        matched=table["matched"],
        limits=tuple(table["limits"]),
        ranked=table.get("ranked", False),
        tokenizer=Tokenizer.BYTE if vocab_size == BYTE_VOCABULARY else Tokenizer.BPE,
        vocab_size=vocab_size,
        steps=table["steps"],
        seeds=table["seeds"],
        batch_size=table.get("batch_size", 4),
        seq_len=table.get("seq_len", 128),
        val_chunks=table.get("val_chunks", 400),
        fused=table.get("fused"),
        published_tokens=table.get("published_tokens"),
        core_minutes=table["core_minutes"],
        arms=arms,
        claims=claims,
    )


def _arm(values: dict[str, Any], scale: dict[str, int]) -> Arm:
    published = None
    if "shape" in values:
        published = _architecture(values["label"], values["shape"], values.get("sharing"))
        proxy = Scale(**values.get("scale", scale)).of(published)
    else:
        proxy = _architecture(values["label"], values["proxy"], values.get("sharing"))
    return Arm(
        label=values["label"],
        published=published,
        published_params_m=values.get("params_m"),
        published_value=values.get("value"),
        candidate=Candidate(architecture=proxy, format=values.get("format", "F16")),
    )


def _architecture(name: str, shape: dict[str, Any], sharing: dict[str, Any] | None) -> Architecture:
    shared = LayerSharing()
    if sharing is not None:
        shared = LayerSharing(
            strategy=SharingStrategy(sharing["strategy"]),
            repeat=sharing["repeat"],
            ends=sharing.get("ends", 0),
        )
    return Architecture(
        **{**shape, "mlp": MlpKind(shape.get("mlp", MlpKind.SWIGLU))}, name=name, sharing=shared
    )
