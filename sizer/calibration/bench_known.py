"""The model behind a run of llama-bench: by name, by its number of weights and bytes, or a similar shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from math import inf, log
from typing import NamedTuple, TypeVar

from sizer.architecture import Architecture
from sizer.calibration.bench_models import BenchModel, bench_file_bytes, bench_model, bench_models
from sizer.calibration.bench_runs import BenchRun
from sizer.calibration.bench_text import FIELD
from sizer.calibration.samples import TimedModel
from sizer.devices.speed_model import model_costs
from sizer.errors import InvalidArchitecture, InvalidFile
from sizer.formats import gguf
from sizer.formats.llamacpp import BASE_TYPES, mix
from sizer.formats.stored import StoredTensor
from sizer.memory import kv_bytes_per_token
from sizer.registry import models
from sizer.shapes.near_count import llama_shape
from sizer.tensors import count_parameters, tensor_specs

_T = TypeVar("_T")
# Some converters add a few weights (RoPE factors); formats differ by far more than this.
_SAME_PARAMETERS = 1e-4
_SAME_BYTES = 2e-3
# A mix named in the file's name has these bytes, nearly: mixes made with an importance matrix, or by others,
# give some tensors other types.
_NAMED_BYTES = 0.25
# Names that others give to mixes of their own, and the nearest mix of llama.cpp
_OTHER_MIXES = {
    "Q8_K_XL": "Q8_0",
    "Q6_K_(?:X?L)": "Q6_K",
    "Q5_K(?:_X?L)?": "Q5_K_M",
    "Q4_K(?:_X?L)?": "Q4_K_M",
    "Q3_K(?:_XL)?": "Q3_K_M",
    "Q2_K_X?L": "Q2_K",
}
# Bits per weight of a file: no llama.cpp type has fewer, 32-bit weights have 32.
_MIN_BITS, _MAX_BITS = 1.0, 33.0
# Letters of two names that agree from the first on, for models of one family: "gemma3", "qwen2".
_FAMILY_LETTERS = 5
# Most published decoders with fewer weights share the embedding with the head, larger ones do not.
_MOSTLY_TIED = 3 * 10**9
# Bytes are known: a shape some percent off in weights is nearer than one of another depth
_COUNT_WEIGHT = 3.0
_VOCABULARIES = (32000, 8192, 2048, 512)
# Of a mixture of experts a step reads some: how many bytes, only its shape shows
_EXPERTS = re.compile(
    r"moe|[-. ]a\d+(?:\.\d+)?[bm]\b|\d+x\d+(?:\.\d+)?b|x\d+e\b|mixtral|deepseek-?(?:2|v2|v3|r1)\b|gpt-?oss|"
    r"grok|dbrx|llama-?4|arctic|minimax|kimi",
    re.IGNORECASE,
)


class KnownModel(NamedTuple):
    """A run's model, its layers, and whether a similar shape stands in for an unknown one."""

    model: TimedModel
    layers: int
    is_similar: bool


@lru_cache(maxsize=1)
def _catalogue() -> tuple[tuple[Architecture, int], ...]:
    """Return the shapes of the catalogue, each with its number of weights."""
    shapes = [row.architecture.unrolled() for row in models().values()]
    return tuple((a, count_parameters(tensor_specs(a)).total) for a in shapes)


def known_model(run: BenchRun) -> KnownModel | None:
    """Return the model of a run; None where bytes and weights do not show what a step reads."""
    bench = bench_model(run.file_name) or (_bench_by_counts(run) if run.count_rounding else None)
    if bench is not None:
        stored = bench.store()
        size = sum(tensor.num_bytes for tensor in stored)
        if abs(size - run.size) > run.size_rounding:
            raise InvalidFile(
                f"{FIELD}: {run.file_name}: model_size must be {size}, got {run.size}: that file is not the "
                "one that `sizer export-bench-models` writes"
            )
        return _known(run, bench.architecture, stored, file_bytes=bench_file_bytes(bench))
    if not _MIN_BITS <= 8 * run.size / run.n_params <= _MAX_BITS:
        return None
    same = [a for a, count in _catalogue() if abs(count - run.n_params) <= _count_tolerance(run)]
    by_name = _first(same, lambda a: _common(run, a))
    for architecture in by_name:
        if (stored_as := _stored(run, architecture, _same_bytes(run))) is not None:
            return _known(run, architecture, stored_as)
    for architecture in by_name:
        if (stored_as := _stored(run, architecture, inf)) is not None:
            return _known(run, architecture, stored_as)
    if _EXPERTS.search(f"{run.file_name} {run.model_type}"):
        return None
    similar = _similar_shape(run)
    stored_as = None if similar is None else _stored(run, similar, inf)
    return None if similar is None or stored_as is None else _known(run, similar, stored_as, is_similar=True)


def _count_tolerance(run: BenchRun) -> float:
    return _SAME_PARAMETERS * run.n_params + run.count_rounding


def _same_bytes(run: BenchRun) -> float:
    return _SAME_BYTES + run.size_rounding / run.size


def _known(
    run: BenchRun,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    *,
    file_bytes: int | None = None,
    is_similar: bool = False,
) -> KnownModel:
    """Return the model with the bytes of the run, where those of the format differ from them."""
    unrolled = architecture.unrolled()
    total = sum(t.num_bytes for t in stored)
    same = abs(total - run.size) <= _same_bytes(run) * run.size
    scale = 1.0 if same else run.size / total
    if file_bytes is None:
        file_bytes = round(scale * gguf.file_bytes(architecture.vocab_size, stored).total)
    timed = TimedModel(
        name=run.file_name,
        shape=run.file_name if is_similar else architecture.name,
        costs=model_costs(unrolled, ((t.spec, scale * t.num_bytes, t.type.name) for t in stored)),
        # keys and values have the same width
        kv_bytes_per_token=round(sum(kv_bytes_per_token(unrolled, name) for name in run.cache_types) / 2),
        file_bytes=file_bytes,
    )
    return KnownModel(timed, architecture.num_layers, is_similar)


def _bench_by_counts(run: BenchRun) -> BenchModel | None:
    """Return the exported model of these weights and bytes, for tables, which print no file name."""
    for model in bench_models():
        stored = model.store()
        weights = sum(t.spec.num_elements for t in stored)
        size = sum(t.num_bytes for t in stored)
        if abs(weights - run.n_params) <= run.count_rounding and abs(size - run.size) <= run.size_rounding:
            return model
    return None


def _stored(run: BenchRun, architecture: Architecture, most: float) -> tuple[StoredTensor, ...] | None:
    """Return the tensors in the mix that the run's name and bytes point to, off by at most a share `most`."""
    layouts = _layouts(architecture)
    if not layouts:
        return None
    off = {name: abs(log(size / run.size)) for name, (_, size) in layouts.items()}
    near = [name for name in off if off[name] <= _same_bytes(run)]
    named = [name for name in _named_mixes(run) if off[name] <= _NAMED_BYTES]
    best = min(near or off, key=lambda name: (name not in named, off[name]))
    if not near and named:
        best = named[0]
    elif not near:
        best = min(off, key=lambda name: off[name])
    return layouts[best][0] if off[best] <= most else None


@lru_cache(maxsize=16)
def _layouts(architecture: Architecture) -> dict[str, tuple[tuple[StoredTensor, ...], int]]:
    """Return the tensors and bytes in every mix; none where llama.cpp does not run the architecture."""
    specs = tensor_specs(architecture)
    try:
        stored = {name: mix(name).assign(architecture, specs) for name in BASE_TYPES}
    except InvalidArchitecture:
        return {}
    return {name: (tensors, sum(t.num_bytes for t in tensors)) for name, tensors in stored.items()}


def _named_mixes(run: BenchRun) -> list[str]:
    """Return the mixes that the file's name or llama.cpp's description has, the most telling first."""
    found = []
    for text in (run.file_name, run.model_type.replace(" - Medium", "_M").replace(" - Small", "_S")):
        plain = re.sub(r"[^A-Z0-9]+", "_", text.replace(" - Large", "_L").upper())
        found += [
            name
            for name in sorted(BASE_TYPES, key=len, reverse=True)
            if re.search(rf"(?:^|_){name}(?:_|$)", plain)
        ]
        found += [near for name, near in _OTHER_MIXES.items() if re.search(rf"(?:^|_){name}(?:_|$)", plain)]
    return found


def _similar_shape(run: BenchRun) -> Architecture | None:
    """Return a shape near the run's number of weights, with the vocabulary and aspect of a relative.

    A relative is the catalogue's model whose name agrees in most letters, else the one nearest in size.
    """
    dense = [(a, count) for a, count in _catalogue() if not a.num_experts]
    relative, _ = min(dense, key=lambda row: (-_common(run, row[0]), abs(log(row[1] / run.n_params))))
    tied = relative.tie_embeddings if _common(run, relative) else run.n_params < _MOSTLY_TIED
    for vocab_size in (relative.vocab_size, *_VOCABULARIES):
        found = _whole_blocks(run.n_params, vocab_size, tied, relative)
        if found is not None:
            return found
    return None


def _whole_blocks(count: int, vocab_size: int, tied: bool, relative: Architecture) -> Architecture | None:
    """Return a shape near a number of weights, of a relative's proportions, in rows of whole blocks of 256.

    None where the vocabulary leaves no room for a layer.
    """
    aspect = relative.hidden_size / relative.num_layers
    mlp_ratio = relative.intermediate_size / relative.hidden_size
    mlp_ratio *= 1 if relative.mlp.gated else 2 / 3  # as many weights in three matrices as in two
    best: tuple[float, Architecture] | None = None
    for hidden_size in (64, 128, *range(256, 16384, 256)):
        step = min(hidden_size, 256)
        mlp = max(step, round(hidden_size * mlp_ratio / step) * step)
        one = replace(llama_shape(hidden_size, vocab_size, tied), intermediate_size=mlp)
        specs = tensor_specs(one)
        block = sum(spec.num_elements for spec in specs if spec.layer is not None)
        base = sum(spec.num_elements for spec in specs) - block
        if base + block > count * 1.1:
            break
        layers = max(1, round((count - base) / block))
        miss = _COUNT_WEIGHT * abs(log((base + layers * block) / count)) + abs(
            log(hidden_size / layers / aspect)
        )
        if layers <= hidden_size and (best is None or miss < best[0]):
            best = (miss, replace(one, num_layers=layers))
    return None if best is None else best[1]


def _common(run: BenchRun, architecture: Architecture) -> int:
    """Return how many letters a name of the run shares with a model's from the first on; 0 below five."""
    ours = _letters(architecture.name)
    shared = max(_shared(_letters(text), ours) for text in (run.file_name, run.model_type))
    return shared if shared >= _FAMILY_LETTERS else 0


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def _shared(one: str, other: str) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _first(items: Iterable[_T], score: Callable[[_T], int]) -> list[_T]:
    """Return the items, those with the highest score first."""
    return sorted(items, key=lambda item: -score(item))
