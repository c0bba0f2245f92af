"""Parameters of a model that no reader here knows, counted by an installed transformers on the meta device.

The count runs in a separate process (`meta_worker`), which has no network, no remote code, and a limit of
time and memory: a config.json from outside may ask for anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sizer.architecture import MAX_LAYERS, MAX_WIDTH
from sizer.errors import InvalidArchitecture, shown
from sizer.families.config_keys import Config
from sizer.tensors import ParameterCounts

TIME_LIMIT_S = 120
# Sizes above these are no model, and building one would take longer than the time limit.
_MAX_SIZE = MAX_WIDTH
_MAX_LAYERS = MAX_LAYERS // 10
_MAX_DEPTH = 8
# Keys that are about loading, not about shapes; some would make transformers load kernels or code.
_LOADING_KEYS = frozenset(
    {
        *(
            "_attn_implementation",
            "_attn_implementation_internal",
            "_experts_implementation",
            "_name_or_path",
        ),
        *("attn_implementation", "auto_map", "compression_config", "custom_pipelines", "dtype"),
        *("experts_implementation", "name_or_path", "quantization", "quantization_config", "torch_dtype"),
        *("trust_remote_code", "use_kernels"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedModel:
    """Totals by part of a model whose layers are not known here: a count, and nothing to size buffers with.

    `other` holds what is no part of a text decoder (vision and audio towers, projectors) and tensors that no
    name assigns to a part; `outside_text` is how much of all belongs to such towers. Weights in a plain
    format are `total` times its bits; block formats, caches and buffers need the layers.
    """

    name: str
    model_type: str
    class_name: str
    transformers_version: str
    embedding: int
    attention: int
    mlp: int
    norm: int
    head: int
    other: int
    outside_text: int = 0

    @property
    def total(self) -> int:
        """All weights, tied tables once."""
        return self.embedding + self.attention + self.mlp + self.norm + self.head + self.other

    @property
    def parameters(self) -> ParameterCounts:
        """Return the totals as an estimate has them; `other` counts under `mlp` there."""
        return ParameterCounts(
            embedding=self.embedding,
            attention=self.attention,
            mlp=self.mlp + self.other,
            norm=self.norm,
            head=self.head,
        )

    @property
    def note(self) -> str:
        """Return the assumption that states where the count is from."""
        outside = f" ({self.outside_text:,} outside the text decoder)" if self.outside_text else ""
        return (
            f"model_type {self.model_type} has no reader here: {self.class_name} of transformers "
            f"{self.transformers_version} counted on the meta device, {self.total:,} parameters{outside}; "
            "file layout, cache and buffers of this family are not known"
        )


def is_countable() -> bool:
    """Return whether transformers and torch are installed, without importing them."""
    return find_spec("transformers") is not None and find_spec("torch") is not None


def count_on_meta(config: Config, name: str = "config") -> CountedModel:
    """Count a config.json's parameters with transformers; InvalidArchitecture names what prevents it."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise InvalidArchitecture("model_type: missing or not text; accepted: a model_type of transformers")
    if not is_countable():
        raise InvalidArchitecture(
            f"model_type: {shown(model_type)} has no reader here; "
            "accepted: install transformers and torch, which count it, or a known family"
        )
    shape = without_loading_keys(config)
    for key, value in _sizes(shape):
        _check_size(key, value)
    return _counted(name, model_type, _run_worker(json.dumps({"config": shape})))


def without_loading_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a config without the keys that state how to load it, at any depth."""
    return {
        key: without_loading_keys(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in _LOADING_KEYS
    }


def _sizes(config: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, int]]:
    """Yield every whole number of a config with its key, those of nested configs and lists as well."""
    if depth > _MAX_DEPTH:
        raise InvalidArchitecture(f"config: nested deeper than {_MAX_DEPTH} objects; accepted: a config.json")
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, depth + 1)
        elif isinstance(value, list):
            yield key, len(value)
            yield from ((key, entry) for entry in value if type(entry) is int)
        elif type(value) is int:
            yield key, value


def _check_size(key: str, value: int) -> None:
    limit = _MAX_LAYERS if "layer" in key or key in ("depth", "n_block", "num_blocks") else _MAX_SIZE
    if not -1_000_000 <= value <= limit and not key.endswith(("_id", "_ids", "_index", "_theta", "_base")):
        raise InvalidArchitecture(f"{key}: expected at most {limit} to count it, got {shown(value)}")


def _run_worker(request: str) -> Mapping[str, Any]:
    """Run the worker on a request and return its answer; raise InvalidArchitecture with its reason."""
    environment = {
        **os.environ,
        **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"), "1"),
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-P", "-m", "sizer.readers.meta_worker"]
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            command,
            input=request,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIME_LIMIT_S,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidArchitecture(
            f"config: transformers did not build the model within {TIME_LIMIT_S} s; accepted: a known family"
        ) from None
    lines = done.stdout.strip().splitlines()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError):
        answer = {"error": f"its process ended with code {done.returncode}"}
    if not isinstance(answer, dict) or "error" in answer:
        reason = str(answer.get("error", answer))[:200]
        raise InvalidArchitecture(f"config: transformers cannot build the model: {reason}")
    return answer


def _counted(name: str, model_type: str, answer: Mapping[str, Any]) -> CountedModel:
    parts = ("embedding", "attention", "mlp", "norm", "head", "other", "outside_text")
    return CountedModel(
        name=name,
        model_type=model_type,
        class_name=str(answer["class_name"]),
        transformers_version=str(answer["transformers_version"]),
        **{part: int(answer[part]) for part in parts},
    )
