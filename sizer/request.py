"""Inputs of an estimate, spelled once for the command line, batch lines and the explorer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sizer.architecture import Architecture, MlpKind, parse_enum
from sizer.errors import InvalidArchitecture, InvalidQuantity, UnknownName
from sizer.model_estimate import Estimate, estimate
from sizer.runtimes import DEFAULT_RUNTIME
from sizer.runtimes import runtime as runtime_by_name
from sizer.units import parse_count, parse_tokens
from sizer.workload import Workload

if TYPE_CHECKING:
    from pathlib import Path

    from sizer.budget import Limits
    from sizer.devices.device import Device
    from sizer.file_model import FileModel
    from sizer.quality.prediction import Quality
    from sizer.readers.gguf_model import GgufModel
    from sizer.readers.stored_by_module import OwnWeights
    from sizer.readers.stored_format import StoredFormat
    from sizer.sparsity import Sparsity
    from sizer.training import TrainingMemory

    _Own = GgufModel | OwnWeights | None  # weights as a file or config has them

_SHAPE = (
    *("num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "head_dim"),
    *("vocab_size", "tie_embeddings", "mlp", "sharing", "repeat", "ends"),
)
_TRAINING = (
    *("training", "lora_rank", "lora_targets", "sequence_length", "checkpointing", "optimizer"),
    "precision",
)
_WORKLOAD = {
    "context": "context_tokens",
    "prompt": "prompt_tokens",
    "generate": "generated_tokens",
    "ubatch": "ubatch_tokens",
    **{name: name for name in ("batch_size", "flash_attention", "weights_in_memory", "gpu_layers")},
}
_NF4 = ("NF4", "NF4-DQ")
# Runtime of models that the default one does not run, where none is asked for.
_RUNS_MOST = "transformers"


class SizedModel(NamedTuple):
    """Answer to an EstimateRequest: the estimate, and what pruning saved or training takes if asked."""

    estimate: Estimate
    sparsity: "Sparsity | None" = None
    training: "TrainingMemory | None" = None
    limits: "Limits | None" = None
    quality: "Quality | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Return the document of schema sizer.estimate/1 with what else was asked for."""
        parts = {"sparsity": self.sparsity, "training": self.training, "quality": self.quality}
        added: dict[str, Any] = {key: part.to_dict() for key, part in parts.items() if part is not None}
        if self.limits is not None:
            added["violations"] = list(self.violations)
        return self.estimate.to_dict() | added

    @property
    def violations(self) -> tuple[str, ...]:
        """Return one text for each limit of the request that the model breaks."""
        if self.limits is None or self.estimate.held is None:
            return ()
        return self.limits.violations(self.estimate)


class EstimateRequest(NamedTuple):  # a dataclass of 41 fields adds a millisecond to every start
    """Inputs of one estimate, named as the command's options and the keys of a batch line; None: the default.

    The model is one of `model` (name, path, `hf:` or `shape:`), `params` (a count such as "125M"), `config`
    (the keys of a config.json), `architecture`, or a shape given by its fields alone. Shape fields given with
    a model replace the model's own.
    """

    model: str | None = None
    params: str | None = None
    wide: bool = False
    any_width: bool = False
    config: Mapping[str, Any] | None = None
    architecture: Architecture | None = None
    num_layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    num_heads: int | None = None
    num_kv_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int | None = None
    tie_embeddings: bool | None = None
    mlp: str | None = None
    sharing: str | None = None
    repeat: int | None = None
    ends: int | None = None
    bits: float | None = None
    format: str | None = None
    runtime: str | None = None
    device: str | None = None
    ram: str | None = None
    backend: str | None = None
    max_memory: str | int | None = None
    min_decode: float | None = None
    context: int | str | None = None
    prompt: int | str | None = None
    generate: int | str | None = None
    batch_size: int | None = None
    cache_type: str | None = None
    ubatch: int | str | None = None
    flash_attention: bool | None = None
    weights_in_memory: str | None = None
    gpu_layers: int | None = None
    draft: str | None = None
    mmproj: str | None = None
    training: bool | None = None
    lora_rank: int | None = None
    lora_targets: str | None = None
    sequence_length: int | str | None = None
    checkpointing: bool | None = None
    optimizer: str | None = None
    precision: str | None = None
    sparsity: float | None = None
    sparsity_pattern: str | None = None
    tokens: int | str | None = None
    corpus: str | None = None
    anchor: str | None = None
    hypothetical: bool = False  # an architecture made for this request: its context has no limit but memory

    @classmethod
    def from_json(cls, line: object) -> "EstimateRequest":
        """Read the object of a batch line; raise SizerError with the key that is wrong."""
        from sizer.requests.batch_line import request_keys

        others = {"params", "wide", "any_width", "architecture", "hypothetical", *_SHAPE}
        return cls(**request_keys(line, set(cls._fields) - others | {"sharing"}))

    def to_arguments(self) -> list[str]:
        """Return the words after `sizer estimate` that ask for this; a config or architecture as its code."""
        from sizer.requests.command_words import option_words, source_words

        source = self.architecture if self.config is None else self.chosen_architecture()[0]
        others = {"model", "config", "architecture", "hypothetical"}
        options = {n: v for n, v in zip(self._fields, self, strict=True) if n not in others}
        return [*source_words(source, self.model), *option_words(options)]

    def run(self) -> SizedModel:
        """Estimate the model, pruned and with a training step's memory where asked; raise SizerError."""
        if self.model is not None and not self.model.startswith(("hf:", "shape:")):
            from sizer.readers import gguf_path

            path = gguf_path(self.model)
            if path is not None:
                return self._run_gguf(path)
        try:
            architecture, notes, stored = self._chosen()
        except (InvalidArchitecture, UnknownName):
            # a config that only an installed transformers knows
            from sizer.readers.counted_config import counted_config

            counted = counted_config(self.config if self.config is not None else self.model)
            if counted is None:
                raise
            return self._run_facts(counted)
        if stored is None or any(value is not None for value in (self.format, self.bits, self.lora_rank)):
            return self._run_with(architecture, notes, None)
        changes, more, own = stored.of(architecture, self.runtime, any_runtime=self._asks_for_no_runtime)
        return self._replace(**changes)._run_with(architecture, (*notes, *more), own)

    def _run_gguf(self, path: "Path") -> SizedModel:
        """Estimate a GGUF file: in its own types unless a format is asked for."""
        from sizer.readers.gguf_model import read_gguf_model

        found = read_gguf_model(path)
        if found.facts is not None:
            return self._run_facts(found.facts)
        read = self._replace(model=None, architecture=found.architecture)
        architecture, notes = read.chosen_architecture()
        asks = any(value is not None for value in (self.format, self.bits, self.lora_rank))
        changed = architecture != found.architecture or runtime_by_name(self._runtime).name != DEFAULT_RUNTIME
        if asks or changed or found.weights is None:
            return read._run_with(architecture, notes, None)
        note = "weights are those of the file; --format or --bits sizes the model in another format"
        return read._run_with(architecture, (*notes, note, *([found.note] if found.note else [])), found)

    def _run_facts(self, model: "FileModel") -> SizedModel:
        """Estimate a model without an architecture; InvalidQuantity for what only layers can answer."""
        from sizer.requests.file_estimate import estimate_file

        needs_layers = ("sparsity", "sparsity_pattern", "training", "lora_rank", "gpu_layers", *_SHAPE)
        for key in needs_layers:
            if getattr(self, key) is not None and getattr(self, key) is not False:
                raise InvalidQuantity(f"{key}: needs the layers of a model; {model.not_read}")
        if self.runtime is None and model.runs_on is not None:
            return self._replace(runtime=model.runs_on)._run_facts(model)
        asks = self.format is not None or self.bits is not None
        runs = model.runs_on in (None, runtime_by_name(self._runtime).name)
        format_name = self.chosen_format()[0] if asks or not runs else model.format
        limits = self.limits()
        sized = estimate_file(
            model,
            runtime=self._runtime,
            workload=self.workload(format_name),
            format=format_name,
            device=self._device(),
            max_memory_bytes=limits.max_memory_bytes if limits else None,
        )
        return SizedModel(self._with_companions(sized), limits=limits, quality=self._quality(sized))

    def _device(self) -> "Device | None":
        if self.device is None and self.ram is None:
            return None
        from sizer.devices.catalogue import asked_device

        return asked_device(self.device, self.ram)

    def _run_with(self, architecture: Architecture, notes: tuple[str, ...], own: "_Own") -> SizedModel:
        answer = self._sized(architecture, notes, own)
        if answer.estimate.weights is None and self._asks_for_no_runtime:
            reason = answer.estimate.unsupported["weights"].partition(";")[0]
            other = self._replace(runtime=_RUNS_MOST)
            return other._sized(architecture, (f"{reason}: sized for {_RUNS_MOST}", *notes), None)
        return answer

    @property
    def _is_hypothetical(self) -> bool:
        return self.model is None and self.config is None and (self.architecture is None or self.hypothetical)

    @property
    def _asks_for_no_runtime(self) -> bool:
        """Return True if any runtime will do: a format or cache type by name is one of llama.cpp's."""
        return self.runtime is None and self.format is None and self.cache_type is None

    def _sized(self, architecture: Architecture, notes: tuple[str, ...], own: "_Own") -> SizedModel:
        format_name, format_notes = self.chosen_format() if own is None else (own.format, ())
        workload = self.workload(format_name)
        device = self._device()
        limits = self.limits()

        def size(shape: Architecture) -> Estimate:
            return estimate(
                architecture=shape,
                own_weights=own.weights if own is not None else None,
                format=format_name,
                runtime=self._runtime,
                workload=workload,
                device=device,
                backend=self.backend,
                max_memory_bytes=limits.max_memory_bytes if limits else None,
                is_hypothetical=self._is_hypothetical,
                assumptions=(*self._runtime_notes(), *notes, *format_notes),
            )

        sized, sparsity = size(architecture), None
        if (
            self.format is not None
            and sized.weights is not None
            and self.format.upper() != sized.format.upper()
        ):
            from sizer.requests.unsloth_mix import with_mix_range

            sized = with_mix_range(sized, self.format)
        if self.sparsity is not None or self.sparsity_pattern is not None:
            from sizer.sparsity import estimate_pruned

            if sized.weights is not None:
                sized, sparsity = estimate_pruned(size, sized, self.sparsity, self.sparsity_pattern)
        sized = self._with_companions(sized)
        training = None
        if any(
            value is not None and value is not False for value in (getattr(self, key) for key in _TRAINING)
        ):
            from sizer.requests.training_step import training_asked

            training = training_asked(self, sized.architecture, sized.workload, sized.budget_bytes)
        return SizedModel(sized, sparsity, training, limits, self._quality(sized))

    def _quality(self, sized: Estimate) -> "Quality | None":
        if self.tokens is None and self.corpus is None and self.anchor is None:
            return None
        from sizer.quality.prediction import estimated_quality

        return estimated_quality(sized, self.tokens, corpus=self.corpus, anchor=self.anchor)

    def _with_companions(self, sized: Estimate) -> Estimate:
        """Return an estimate with the card, the draft model and the projector that were asked for."""
        if sized.held is None or (self.gpu_layers is None and self.draft is None and self.mmproj is None):
            return sized
        from sizer.requests.companions import named_draft, with_draft, with_projector, without_split_speed

        sized = without_split_speed(sized)
        if self.draft is not None:
            # what is about the model itself is not about its draft
            kept = {"runtime", "bits", "format", "device", *_WORKLOAD} - {"gpu_layers"}
            draft = EstimateRequest(model=self.draft, **{name: getattr(self, name) for name in kept})
            sized = with_draft(sized, named_draft(lambda: draft.run().estimate))
        return sized if self.mmproj is None else with_projector(sized, self.mmproj)

    def limits(self) -> "Limits | None":
        """Return the limits that were asked for on top of the device's; None if none was."""
        if self.max_memory is None and self.min_decode is None:
            return None
        from sizer.budget import asked_limits

        return asked_limits(self.max_memory, self.min_decode, on_device=self.device is not None)

    def _runtime_notes(self) -> tuple[str, ...]:
        name = runtime_by_name(self._runtime).name
        given = self._runtime.strip()
        return () if given.lower() == name else (f"{given} runs models with {name}: sized as {name}",)

    @property
    def _runtime(self) -> str:
        return DEFAULT_RUNTIME if self.runtime is None else self.runtime

    def chosen_architecture(self) -> tuple[Architecture, tuple[str, ...]]:
        """Return the architecture that the model and shape fields describe, and notes on what was chosen."""
        return self._chosen()[:2]

    def _chosen(self) -> tuple[Architecture, tuple[str, ...], "StoredFormat | None"]:
        given = {key: value for key in _SHAPE if (value := getattr(self, key)) is not None}
        if {"sharing", "repeat", "ends"} & given.keys():
            from sizer.shapes.near_count import asked_sharing

            sharing = asked_sharing(*(given.pop(name, None) for name in ("sharing", "repeat", "ends")))
            given |= {"sharing": sharing} if sharing is not None else {}
        given |= {"mlp": parse_enum(MlpKind, self.mlp, "mlp")} if self.mlp is not None else {}
        known = self.architecture
        notes: tuple[str, ...] = ()
        stored = None
        if (source := self.model if self.config is None else self.config) is not None:
            from sizer.readers import read_described_model

            known, notes, stored = read_described_model(source)
        if known is not None:
            return replace(known, **given) if given else known, notes, stored
        from sizer.shapes.near_count import shape_by_hand, shape_near

        if self.params is not None:
            multiple = 1 if self.any_width else self._row_multiple()
            count = parse_count(self.params, "params")
            return *shape_near(count, given, wide=self.wide, multiple=multiple), None
        return shape_by_hand(given), (), None

    def _row_multiple(self) -> int:
        from sizer.shapes.format_widths import row_multiple

        return row_multiple(runtime_by_name(self._runtime).name, self.chosen_format()[0])

    def chosen_format(self) -> tuple[str, tuple[str, ...]]:
        """Return the name of the format the model is deployed in, and a note if it was asked for by bits."""
        engine, name = runtime_by_name(self._runtime), self.format
        if self.lora_rank is not None and (name or "").strip().upper() in _NF4:
            # how adapters are trained: the format of the deployed model only where the runtime has it
            name = name if str(name).strip().upper() in map(str.upper, engine.formats) else None
        if name is not None:
            if self.bits is not None:
                raise InvalidQuantity(f"bits: give --bits or --format, got {self.bits:g} and {name}")
            try:
                chosen = engine.format_name(name)
            except UnknownName as error:
                from sizer.runtimes.other_formats import with_other_runtimes

                raise with_other_runtimes(error, name) from None
            if name.strip().lower() == chosen.lower():
                return chosen, ()
            return chosen, (f"{name.strip()} is taken for {engine.name}'s {chosen}",)
        bits = 4.0 if self.bits is None else self.bits
        nearest = engine.nearest_bits(bits)
        chosen = engine.format_for_bits(nearest)
        near = "" if nearest == bits else f", at {nearest:g} bits the nearest"
        return chosen, (f"{bits:g} bits means {engine.name}'s customary {chosen}{near}",)

    def workload(self, format_name: str) -> Workload:
        """Return the workload; prompt and generation shrink to a small context unless they are given."""
        given: dict[str, Any] = {
            field: parse_tokens(value, key) if isinstance(value, str) and field.endswith("_tokens") else value
            for key, field in _WORKLOAD.items()
            if (value := getattr(self, key)) is not None
        }
        context = given.get("context_tokens", Workload().context_tokens)
        if isinstance(context, int):
            usual = Workload.within(context)
            given.setdefault("prompt_tokens", usual.prompt_tokens)
            given.setdefault("generated_tokens", usual.generated_tokens)
        if isinstance(how := given.get("weights_in_memory"), str):
            given["weights_in_memory"] = how.strip().lower()
        engine = runtime_by_name(self._runtime)
        fixed = engine.fixed_cache_type(format_name)
        cache_type = self.cache_type or fixed or engine.cache_types[0]
        if fixed is not None and cache_type.upper() != fixed:
            raise InvalidQuantity(
                f"cache_type: {engine.name}'s {format_name} keeps its cache in {fixed}, got {cache_type}"
            )
        return Workload(cache_type=cache_type.upper(), **given)
