"""The format that a config.json says its weights are stored in, as one of the formats known here.

Methods are those of transformers' `quantization_config` and MLX's `quantization`. A method, width or group
size that no format here has is still named, so that an estimate in another format says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sizer.errors import shown
from sizer.families.config_keys import Config
from sizer.families.nested import text_part
from sizer.readers.module_names import NEVER_PACKED
from sizer.readers.quantization_keys import KEYS, QuantizationKeys, type_names
from sizer.runtimes import runtime

if TYPE_CHECKING:  # read where a checkpoint has them
    from sizer.architecture import Architecture
    from sizer.formats.by_module import ByModule
    from sizer.formats.recipe import Recipe
    from sizer.readers.stored_by_module import OwnWeights

_MLX_MODES = ("mxfp4", "nvfp4", "mxfp8")
_LETTERS = 60
_MAX_LISTED = 10_000
_MAX_GROUPS = 64


class StoredFormat(NamedTuple):
    """Storage that a config or name states; `format` of `runtime` is the same, both None if none is."""

    description: str
    runtime: str | None = None
    format: str | None = None
    is_exact: bool = True  # False: the nearest of the formats here
    source: str = "the config's weights are stored as"
    by_module: ByModule | None = None  # counted as stored: rules for modules, a format without a name here

    @property
    def note(self) -> str:
        """Return how the weights are stored, where that is stated, and the format here that is the same."""
        if self.format is None:
            return f"{self.source} {self.description}, a format that is not known here"
        by_name = self.by_module is not None and self.by_module.rules
        alike = "is" if self.is_exact or by_name else "is nearest to"
        same = f"{alike} {self.format} of {self.runtime}{' but for modules that it names' if by_name else ''}"
        return f"{self.source} {self.description}, which {same}"

    def changes(self, asked_runtime: str | None, *, any_runtime: bool) -> tuple[dict[str, Any], str]:
        """Return runtime and format that size a model as it is stored, and the note that says so.

        Another runtime that was asked for keeps its own customary format.
        """
        if self.runtime is None or self.format is None:
            return {}, f"{self.note}: sized in the runtime's customary format"
        if any_runtime:
            return {"runtime": self.runtime, "format": self.format}, self.note
        if asked_runtime is not None and runtime(asked_runtime).name == self.runtime:
            return {"format": self.format}, self.note
        return {}, f"{self.note}: sized in the customary format of the runtime that was asked for"

    def of(
        self, architecture: Architecture, asked_runtime: str | None, *, any_runtime: bool
    ) -> tuple[dict[str, Any], tuple[str, ...], OwnWeights | None]:
        """Return the changes, their notes and, where no format by name is the same, the weights by module."""
        changes, note = self.changes(asked_runtime, any_runtime=any_runtime)
        if self.by_module is None or self.runtime is None or changes.get("format") is None:
            return changes, (note,), None
        from sizer.readers.stored_by_module import own_weights

        own = own_weights(self.by_module, self.runtime, architecture)
        return changes, (note, *(own.notes if own is not None else ())), own


class _QuantizationBlock(NamedTuple):
    """A quantization_config: its keys, and method, bits and group size as its tool writes them."""

    keys: Config
    method: str  # "" if it has none
    bits: int | None
    group_size: int | None


def stored_format(config: Config) -> StoredFormat | None:
    """Return how a config's weights are stored; None where it has no quantization, or an empty one."""
    block = _block(config)
    compiled = config.get("quantization")
    if block is None and isinstance(compiled, str) and compiled in runtime("web-llm").formats:
        return StoredFormat(f"MLC's {compiled}", "web-llm", compiled)  # of an mlc-chat-config.json
    if block is None:
        part = text_part(config, {})
        block = None if part is None else _block(part.config)
        if block is None or part is None:
            return None
        config = part.config
    read = QuantizationKeys(config)
    facts = _QuantizationBlock(block, _method(config, block), read.bits(), read.group_size())
    found = _METHODS.get(facts.method, _unknown)(facts)
    is_named = found.runtime is None or found.format in runtime(found.runtime).formats
    if not is_named and found.by_module is None:
        return _unknown(facts)
    return _by_module(_with_other_modules(found, block), facts)


def _by_module(found: StoredFormat, facts: _QuantizationBlock) -> StoredFormat:
    """Return a format with the rules of a block for single modules."""
    known: Mapping[str, Recipe] = getattr(runtime(found.runtime), "recipes", {}) if found.runtime else {}
    base = found.by_module.recipe if found.by_module else known.get(found.format or "")
    if base is None:
        return found
    from sizer.formats.by_module import ByModule
    from sizer.readers.stored_by_module import rules

    own = rules(facts.method, facts.keys, base)
    return found._replace(by_module=ByModule(base, own)) if own or found.by_module else found


def _with_other_modules(found: StoredFormat, block: Config) -> StoredFormat:
    """Return a format with the number of rules for modules that are stored otherwise."""
    from sizer.readers.stored_by_module import KEPT_MODULES

    lists = [value for key in KEPT_MODULES if isinstance(value := block.get(key), list)]
    kept = [str(name)[:_LETTERS] for names in lists for name in names[:_MAX_LISTED] if isinstance(name, str)]
    rules = [value for key in ("dynamic", "extra_config") if isinstance(value := block.get(key), Mapping)]
    count = sum(not NEVER_PACKED.search(name) for name in kept) + sum(map(len, rules))
    if not count or found.format is None:
        return found
    one = "1 rule keeps modules" if count == 1 else f"{count} rules keep modules"
    return found._replace(description=f"{found.description} ({one} in other types)", is_exact=False)


def _block(config: Config) -> Config | None:
    for key in KEYS:
        value = config.get(key)
        if isinstance(value, Mapping) and value:
            return value
    return None


def _method(config: Config, block: Config) -> str:
    """Return `quant_method`; MLX writes none."""
    method = block.get("quant_method", block.get("quant_type") if "quant_algo" in block else None)
    if isinstance(method, str):
        return method.lower().replace("_", "-")
    if "bits" in block and ("group_size" in block or "quantization" in config):
        return "mlx"
    if "load_in_4bit" in block or "load_in_8bit" in block:
        return "bitsandbytes"
    return "compressed-tensors" if "config_groups" in block else ""


def _described(method: str, facts: _QuantizationBlock) -> str:
    name = shown(method[:_LETTERS])[1:-1] if method else "an unnamed quantization"
    bits = "" if facts.bits is None else f", {facts.bits} bits"
    return f"{name}{bits}{_groups(facts.group_size)}"


def _groups(group_size: int | None) -> str:
    return "" if group_size is None else f" in groups of {group_size}"


def _unknown(facts: _QuantizationBlock) -> StoredFormat:
    return StoredFormat(_described(facts.method, facts))


def _mlx(facts: _QuantizationBlock) -> StoredFormat:
    """Read MLX's block: bits and groups (64 if not said), or a mode that has both; tensors may differ."""
    mode = facts.keys.get("mode")
    own = sum(isinstance(value, Mapping) for value in facts.keys.values())
    differ = f" ({own} tensors have their own)" if own else ""
    if mode in _MLX_MODES:
        return StoredFormat(f"MLX {mode}{differ}", "mlx", str(mode), not own)
    groups = "" if facts.group_size in (None, 64) else f"-g{facts.group_size}"
    return StoredFormat(
        f"MLX, {facts.bits} {'bit' if facts.bits == 1 else 'bits'}{_groups(facts.group_size)}{differ}",
        "mlx",
        f"{facts.bits}bit{groups}",
        not own,
    )


def _gptq(facts: _QuantizationBlock) -> StoredFormat:
    """Read GPTQ's block; a group of -1 is the whole row, nearest to the longest groups here."""
    name = "GPTQ" if facts.method == "gptq" else facts.method
    return StoredFormat(
        _described(name, facts),
        "transformers",
        f"gptq-{facts.bits}bit-g{facts.group_size or 128}",
        facts.group_size is not None,
    )


def _auto_round(facts: _QuantizationBlock) -> StoredFormat:
    """Read auto-round's block, whose tensors are packed as GPTQ's or AWQ's."""
    kind = "awq" if "awq" in str(facts.keys.get("packing_format", "")) else "gptq"
    name = f"{kind}-{facts.bits}bit-g{facts.group_size or 128}"
    return StoredFormat(_described(facts.method, facts), "transformers", name, facts.group_size is not None)


def _awq(facts: _QuantizationBlock) -> StoredFormat:
    return StoredFormat(_described("AWQ", facts), "transformers", f"awq-{facts.bits}bit-g{facts.group_size}")


def _bitsandbytes(facts: _QuantizationBlock) -> StoredFormat:
    """Read bitsandbytes' block: 8 bits, or 4 as nf4 or (by default) fp4; scales may be quantized too."""
    if facts.bits == 8:
        return StoredFormat("bitsandbytes, 8 bits", "transformers", "llm.int8")
    if facts.bits != 4:
        return _unknown(facts)
    kind = str(facts.keys.get("bnb_4bit_quant_type", "fp4"))
    twice = facts.keys.get("bnb_4bit_use_double_quant") is True
    name = "nf4-dq" if kind == "nf4" and twice else kind
    scales = ", scales quantized too" if twice else ""
    return StoredFormat(
        f"bitsandbytes {kind[:_LETTERS]}{scales}", "transformers", name, name.endswith("dq") or not twice
    )


def _compressed_tensors(facts: _QuantizationBlock) -> StoredFormat:
    """Read compressed-tensors: integers in groups are GPTQ's without its order and zero points."""
    described = _described(facts.method, facts)
    weights = _group_weights(facts.keys)
    if any(block.get("type") == "float" for block in weights):
        described = f"{described}, floats"
        if facts.bits == 4 and facts.group_size == 16:
            return StoredFormat(described, "transformers", "nvfp4")
        if facts.bits != 8:
            return StoredFormat(described)
        strategies = {str(block.get("strategy"))[:_LETTERS] for block in weights}
        name = next((_FP8[s] for s in strategies if len(strategies) == 1 and s in _FP8), None)
        return StoredFormat(described, "transformers", name or "fp8", is_exact=name is not None)
    if facts.bits == 8 and facts.group_size is None:
        return StoredFormat(described, "transformers", "int8-channel")
    if facts.bits is None or facts.group_size is None:
        return StoredFormat(described)
    return StoredFormat(
        described, "transformers", f"gptq-{facts.bits}bit-g{facts.group_size}", is_exact=False
    )


_FP8 = {"tensor": "fp8", "channel": "fp8-channel", "block": "fp8-block128"}


def _group_weights(block: Config) -> list[Config]:
    """Return how the weights of each of compressed-tensors' groups are stored."""
    groups = block.get("config_groups")
    listed = list(groups.values())[:_MAX_GROUPS] if isinstance(groups, Mapping) else []
    weights = [group.get("weights") for group in listed if isinstance(group, Mapping)]
    return [w for w in weights if isinstance(w, Mapping)]


def _fp8(facts: _QuantizationBlock) -> StoredFormat:
    """Read transformers' fp8 (blocks of 128 x 128 unless said) and fbgemm_fp8 (a scale a row)."""
    if facts.method == "fbgemm-fp8":
        return StoredFormat("FP8 of fbgemm", "transformers", "fp8-channel")
    block = facts.keys.get("weight_block_size", [128, 128])
    if block is None:
        return StoredFormat("FP8, one scale a tensor", "transformers", "fp8")
    return StoredFormat("FP8 in blocks", "transformers", "fp8-block128", block == [128, 128])


def _modelopt(facts: _QuantizationBlock) -> StoredFormat:
    """Read NVIDIA ModelOpt's block by the algorithm that it names."""
    algorithm = str(facts.keys.get("quant_algo", "")).upper()[:_LETTERS]
    named = {"FP8": "fp8", "NVFP4": "nvfp4"}.get(algorithm)
    if named is None:
        return _unknown(facts)
    return StoredFormat(f"ModelOpt {algorithm}", "transformers", named)


def _hqq(facts: _QuantizationBlock) -> StoredFormat:
    """Read HQQ's block: groups of 64 unless said, null for whole rows; or bits by the ends of names."""
    from sizer.formats import hqq
    from sizer.formats.by_module import ByModule
    from sizer.formats.recipe import PLAIN

    stated = facts.keys.get("quant_config")
    params = stated.get("weight_quant_params") if isinstance(stated, Mapping) else None
    if facts.bits is None and isinstance(stated, Mapping) and not isinstance(params, Mapping):
        plain = next(recipe for recipe in PLAIN if recipe.name == "bf16")
        return StoredFormat(
            "HQQ, by module", "transformers", plain.name, False, by_module=ByModule(plain, ())
        )
    if facts.bits is None or facts.bits not in hqq.BITS:
        return _unknown(facts)
    whole_rows = isinstance(params, Mapping) and params.get("group_size", 64) is None
    recipe = hqq.recipe(facts.bits, 0 if whole_rows else facts.group_size or 64)
    # scales and zero points that are quantized too, as HQQ before 0.2 could
    twice = isinstance(stated, Mapping) and (
        stated.get("scale_quant_params") or stated.get("zero_quant_params")
    )
    described = _described("HQQ", facts)
    return StoredFormat(described, "transformers", recipe.name, not twice, by_module=ByModule(recipe, ()))


def _aqlm(facts: _QuantizationBlock) -> StoredFormat:
    """Read AQLM's block: codes for groups of inputs (8 unless said) into codebooks (one of 16 bits)."""
    from sizer.formats import aqlm
    from sizer.formats.by_module import ByModule

    usual = {"num_codebooks": 1, "nbits_per_codebook": 16, "in_group_size": 8, "out_group_size": 1}
    numbers: list[Any] = [facts.keys.get(key, default) for key, default in usual.items()]
    recipe = aqlm.recipe(*numbers) if all(type(n) is int for n in numbers) else None
    if recipe is None:
        return _unknown(facts)
    described = f"AQLM, {numbers[0]} x {numbers[1]} bits for {numbers[2] * numbers[3]} weights"
    return StoredFormat(described, "transformers", recipe.name, by_module=ByModule(recipe, ()))


def _exllama(facts: _QuantizationBlock) -> StoredFormat:
    """Read ExLlama's block, which has averages: what each module got is in the headers of its files."""
    averages: list[Any] = [facts.keys.get(key) for key in ("bits", "head_bits")]
    known = [f"{n:g}" if type(n) in (int, float) and 0 < n <= 16 else "unknown" for n in averages]
    name = {"exl2": "ExLlamaV2", "exl3": "ExLlamaV3"}[facts.method]
    return StoredFormat(f"{name}, {known[0]} bits a weight on average and {known[1]} in the head")


def _torchao(facts: _QuantizationBlock) -> StoredFormat:
    """Read torchao's block: integers or FP8, by the names of its types; groups of 128 unless said."""
    names = [name.lower().replace("_", "") for name in type_names(facts.keys.get("quant_type"))]
    if facts.bits is None:
        if not any("float8" in name for name in names):
            return _unknown(facts)
        return StoredFormat("torchao, FP8", "transformers", "fp8-channel" if "perrow" in names else "fp8")
    if facts.bits == 8:
        exact = facts.group_size is None
        return StoredFormat(_described("torchao", facts), "transformers", "torchao-int8", exact)
    # groups that are not stated: 32 with 8-bit activations, else 128 (torchao's own defaults)
    usual = 32 if any("int8dynamicactivation" in name for name in names) else 128
    group = facts.group_size or usual
    return StoredFormat(
        f"torchao, {facts.bits} bits{_groups(group)}", "transformers", f"torchao-int{facts.bits}-g{group}"
    )


_METHODS: Mapping[str, Callable[[_QuantizationBlock], StoredFormat]] = {
    "mlx": _mlx,
    "gptq": _gptq,
    "awq": _awq,
    "bitsandbytes": _bitsandbytes,
    **dict.fromkeys(("auto-round", "intel/auto-round"), _auto_round),
    "compressed-tensors": _compressed_tensors,
    **dict.fromkeys(("fp8", "fbgemm-fp8"), _fp8),
    "eetq": lambda facts: StoredFormat("EETQ, int8", "transformers", "int8-channel"),
    "hqq": _hqq,
    "aqlm": _aqlm,
    **dict.fromkeys(("exl2", "exl3"), _exllama),
    "modelopt": _modelopt,
    "torchao": _torchao,
    "mxfp4": lambda facts: StoredFormat("mxfp4", "transformers", "mxfp4"),
}
