"""A config.json of a family without a reader here, as the count that an installed transformers gives."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.families.hf_config import FAMILIES
from sizer.file_model import FileModel
from sizer.readers.config_json import read_config_object
from sizer.readers.regular_file import exists
from sizer.tensors import count_parameters, tensor_specs
from sizer.unread_models import unread_model

# Keys of a config.json that state a size, under their names in an estimate's document.
_SIZES = {
    "num_layers": "num_hidden_layers",
    "executed_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_experts": "num_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
}
_RUNTIME, _FORMAT = "transformers", "bf16"


def counted_config(source: Mapping[str, Any] | str | None) -> FileModel | None:
    """Count a config, or that of a path or name, with transformers; None if only a reader here knows it."""
    config, name = _config(source)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type in FAMILIES or not _is_in_transformers(model_type):
        return None
    from sizer.readers.meta_count import count_on_meta

    counted = count_on_meta(config, name)
    sizes = {key: config.get(there) for key, there in _SIZES.items()}
    return FileModel(
        name=counted.name,
        kind=counted.model_type,
        not_read=f"{_kind(source)}{counted.note}",
        parameters=counted.parameters,
        weights=None,
        format=_FORMAT,
        shape={key: value if type(value) is int else None for key, value in sizes.items()},
        runs_on=_RUNTIME,
    )


def beside_text_note(source: str, text: Architecture) -> str:
    """Return the parameters of a model at a path outside its text decoder, or why they are not known."""
    config, name = _config(source)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not _is_in_transformers(model_type):
        return "what is outside the text decoder is not counted: no installed transformers knows the model"
    from sizer.readers.meta_count import count_on_meta

    try:
        counted = count_on_meta(config, name)
    except InvalidArchitecture as error:
        return f"what is outside the text decoder is not counted: {error}"
    rest = counted.total - count_parameters(tensor_specs(text)).total
    if not rest == counted.outside_text > 0:
        return (
            f"{counted.class_name} of transformers {counted.transformers_version} has {counted.total:,} "
            "parameters in all, which do not divide as read here"
        )
    return (
        f"{rest:,} parameters outside the text decoder are not part of this estimate: "
        f"{counted.class_name} has {counted.total:,} in all (transformers {counted.transformers_version}, "
        "meta device)"
    )


def _config(source: Mapping[str, Any] | str | None) -> tuple[Mapping[str, Any], str]:
    if isinstance(source, Mapping):
        return source, "config"
    if source is None or source.startswith(("hf:", "shape:")):
        return {}, ""
    path = Path(source)
    if path.suffix.lower() == ".safetensors":
        path = path.parent
    if path.suffix.lower() == ".gguf":
        return {}, ""
    if not exists(path):
        named = unread_model(source)
        return ({}, "") if named is None else (named.config, named.name)
    return read_config_object(path), path.stem if path.suffix else path.resolve().name


def _kind(source: Mapping[str, Any] | str | None) -> str:
    """Return what kind of model a name of the list of unread models is, as the start of a note."""
    named = unread_model(source) if isinstance(source, str) and not exists(Path(source)) else None
    return f"{named.note}: " if named is not None and named.note else ""


def _is_in_transformers(model_type: str) -> bool:
    """Return if an installed transformers names that model_type, without importing it: that takes seconds."""
    found = find_spec("transformers")
    if found is None or found.origin is None or not model_type.isprintable() or '"' in model_type:
        return False
    quoted = f'"{model_type}"'
    files = Path(found.origin).parent.glob("models/auto/*.py")
    return any(quoted in file.read_text(encoding="utf-8") for file in files)
