"""The object of a batch line, checked key by key before it becomes an EstimateRequest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sizer.errors import InvalidFile, InvalidQuantity, shown

# Types that a line's values must have; sizes are checked where they are used.
_TEXTS = (
    *("runtime", "format", "device", "ram", "backend", "cache_type", "sparsity_pattern", "lora_targets"),
    *("optimizer", "precision", "corpus", "anchor"),
    *("draft", "mmproj"),
)
_FLAGS = ("flash_attention", "training", "checkpointing")
_NUMBERS = ("bits", "sparsity", "min_decode")
_WHOLE = (
    *("context", "prompt", "generate", "ubatch", "sequence_length", "tokens"),
    *("batch_size", "gpu_layers", "lora_rank"),
)


def request_keys(line: object, accepted: Iterable[str]) -> dict[str, Any]:
    """Return a line's values by field of EstimateRequest; raise SizerError with the key that is wrong."""
    names = ", ".join(sorted(accepted))
    if not isinstance(line, Mapping):
        raise InvalidFile(f"line: not a JSON object; accepted: one with {names}")
    if unknown := sorted(set(line) - set(accepted)):
        raise InvalidFile(f"{unknown[0]}: unknown key; accepted: {names}")
    given = {key: value for key, value in line.items() if value is not None}
    if "config" in given and not isinstance(given["config"], Mapping):
        accepted_config = "an object of config.json keys"
        raise InvalidFile(
            f"config: must be an object, got {shown(given['config'])}; accepted: {accepted_config}"
        )
    if not ("config" in given or isinstance(given.get("model"), str)):
        raise InvalidFile("config: missing; accepted: an object of config.json keys, or a model's name")
    if "sharing" in given:
        from sizer.families.config_keys import sharing_from_config

        sharing = sharing_from_config(given.pop("sharing"))
        words = sharing.to_dict()
        given |= {"sharing": words.pop("strategy"), **words}
    for key in _WHOLE:
        if isinstance(value := given.get(key), float) and value.is_integer():
            given[key] = int(value)  # 1e12 is a float in JSON, and 8192 one in a table of numbers
    check_types(given)
    if isinstance(given.get("config"), Mapping):
        given.pop("model", None)
    return given


def check_types(given: Mapping[str, Any]) -> None:
    """Raise InvalidQuantity for a value that is not of its key's type; sizes are checked where used."""
    kinds: tuple[tuple[tuple[str, ...], tuple[type, ...], str], ...] = (
        (_TEXTS, (str,), "text"),
        (_FLAGS, (bool,), "true or false"),
        (_NUMBERS, (int, float), "a number"),
        (("max_memory",), (int, str), 'text such as "2GB", or a number of bytes'),
        (("tokens",), (int, str), 'text such as "1T", or a whole number'),
    )
    for keys, types, accepted in kinds:
        for key in keys:
            value = given.get(key)
            if value is None:
                continue
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise InvalidQuantity(f"{key}: must be {accepted}, got {shown(value)}")
