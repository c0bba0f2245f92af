"""`sizer estimate`: text to typed values, one call, print; loads what only some calls need when they do."""

# No postponed annotations here: Typer evaluates the text of each one twice, which takes a tenth of the start.

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.console import out_json
from sizer.architecture import Architecture, LayerSharing, MlpKind, SharingStrategy, parse_enum
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.estimate import Estimate, estimate
from sizer.runtimes import runtime
from sizer.solve import DEEP_AND_THIN, SHALLOW_AND_WIDE, architecture_near
from sizer.tensors import count_parameters, tensor_specs
from sizer.units import format_count, parse_count
from sizer.workload import Workload

if TYPE_CHECKING:
    from sizer.training import TrainingMemory

_ESTIMATE_HELP = """Size a model, real or hypothetical: file, memory, speed, energy.

MODEL is a catalogue name (see `sizer models`), a config.json or a directory with one, a .safetensors file
beside its config.json, a .gguf file, or hf:org/name. Without it give --params, or a shape with --num-layers,
--hidden-size and --num-heads.

\b
Examples:
  sizer estimate --params 125M --bits 4 --device raspberry-pi-5
  sizer estimate MobileLLM-125M --format Q4_K_M --context 4096 --json
  sizer estimate --num-layers 12 --hidden-size 768 --num-heads 12 --num-kv-heads 4 --bits 8
  sizer estimate MobileLLM-125M --sharing immediate --repeat 2 --advice
  sizer estimate SmolLM2-135M --sparsity 0.5 --sparsity-pattern structured
  sizer estimate SmolLM2-135M --lora-rank 8 --bits 4 --sequence-length 1024 --checkpointing
  echo '{"model": "SmolLM2-135M", "format": "Q8_0"}' | sizer estimate --batch -
"""


def estimate_command(
    model_name: Annotated[str | None, typer.Argument(metavar="MODEL", show_default=False)] = None,
    params: Annotated[str | None, typer.Option(help="Parameter count to come near to, such as 125M.")] = None,
    config: Annotated[str | None, typer.Option(help="Path of a Hugging Face config.json.")] = None,
    num_layers: Annotated[int | None, typer.Option(help="Stored blocks.")] = None,
    hidden_size: Annotated[int | None, typer.Option(help="Width of the residual stream.")] = None,
    intermediate_size: Annotated[int | None, typer.Option(help="Width of the MLP. [8/3 of width]")] = None,
    num_heads: Annotated[int | None, typer.Option(help="Query heads.")] = None,
    num_kv_heads: Annotated[int | None, typer.Option(help="Key and value heads. [num-heads]")] = None,
    head_dim: Annotated[int | None, typer.Option(help="Width of one head. [width / heads]")] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Rows of the embedding table. [32000]")] = None,
    tie_embeddings: Annotated[
        bool | None, typer.Option("--tie-embeddings/--no-tie-embeddings", help="Head shares the table. [yes]")
    ] = None,
    mlp: Annotated[str | None, typer.Option(help="swiglu, geglu, gelu, relu, relu2_gated. [swiglu]")] = None,
    sharing: Annotated[str | None, typer.Option(help="immediate, repeat-all, reverse or none.")] = None,
    repeat: Annotated[int | None, typer.Option(help="Runs of each shared block. [2 when sharing]")] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="With --params: shallow and wide, not deep and thin.")
    ] = False,
    bits: Annotated[float | None, typer.Option(help="That runtime's customary format. [4]")] = None,
    format: Annotated[str | None, typer.Option(help="Weight format by name, such as Q4_K_M.")] = None,
    runtime_name: Annotated[str, typer.Option("--runtime", help="Engine that runs the model.")] = "llama.cpp",
    device_name: Annotated[
        str | None, typer.Option("--device", help="Device to predict speed and fit for; `host` is this one.")
    ] = None,
    context: Annotated[int, typer.Option(help="Tokens the KV cache holds.")] = 2048,
    prompt: Annotated[int | None, typer.Option(help="Tokens of the prompt. [128]")] = None,
    generate: Annotated[int | None, typer.Option(help="Tokens generated. [128]")] = None,
    batch_size: Annotated[int, typer.Option(help="Sequences at once.")] = 1,
    cache_type: Annotated[
        str | None, typer.Option(help="Type of the KV cache: f16, q8_0, ... [the runtime's]")
    ] = None,
    ubatch: Annotated[int, typer.Option(help="Prompt tokens processed at once.")] = 512,
    flash_attention: Annotated[
        bool, typer.Option("--flash-attention/--no-flash-attention", help="No score rows kept in memory.")
    ] = True,
    weights_in_memory: Annotated[
        str, typer.Option(help="mapped, loaded (--no-mmap), repacked-avx2, repacked-avx512, repacked-arm.")
    ] = "mapped",
    advice: Annotated[
        bool, typer.Option("--advice", help="Also say what small changes of shape would do.")
    ] = False,
    training: Annotated[bool, typer.Option("--training", help="Also the memory of a training step.")] = False,
    lora_rank: Annotated[int | None, typer.Option(help="Train adapters of this rank (LoRA).")] = None,
    lora_targets: Annotated[
        str | None, typer.Option(help="attention, all-linear, or names. [q_proj,v_proj]")
    ] = None,
    sequence_length: Annotated[
        int | None, typer.Option(help="Tokens of a training sequence. [context]")
    ] = None,
    checkpointing: Annotated[
        bool | None,
        typer.Option("--checkpointing/--no-checkpointing", help="Recompute activations. [no]"),
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw, adamw8bit or sgd. [adamw]")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of training: amp, fp32, bf16, bf16-master. [amp]")
    ] = None,
    sparsity: Annotated[float | None, typer.Option(help="Share of the blocks' weights pruned away.")] = None,
    sparsity_pattern: Annotated[
        str | None, typer.Option(help="unstructured, 2:4 or structured. [unstructured]")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="File (or -) of JSON lines in; one estimate a line out.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    if batch is not None:
        from commands.batch import run_batch

        raise typer.Exit(run_batch(batch))
    asked = {
        "prompt_tokens": prompt,
        "generated_tokens": generate,
        "context_tokens": context,
        "batch_size": batch_size,
        "ubatch_tokens": ubatch,
        "flash_attention": flash_attention,
        "weights_in_memory": weights_in_memory,
    }
    workload = chosen_workload(
        {key: value for key, value in asked.items() if value is not None}, cache_type, runtime_name
    )
    shape = {
        "num_layers": num_layers,
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_heads": num_heads,
        "num_kv_heads": num_kv_heads,
        "head_dim": head_dim,
        "vocab_size": vocab_size,
        "tie_embeddings": tie_embeddings,
        "mlp": parse_enum(MlpKind, mlp, "mlp") if mlp is not None else None,
        "sharing": _sharing(sharing, repeat),
    }
    given = {key: value for key, value in shape.items() if value is not None}
    architecture, shape_notes = _architecture(model_name, params, config, given, wide=wide)
    train = {
        "training": training or None,
        "lora_rank": lora_rank,
        "lora_targets": lora_targets,
        "sequence_length": sequence_length,
        "checkpointing": checkpointing,
        "optimizer": optimizer,
        "precision": precision,
    }
    format_name, format_notes = trained_format(runtime_name, bits, format, train)
    known_device = None
    if device_name is not None:
        from sizer.device import device

        known_device = device(device_name)

    def sized(shape: Architecture) -> Estimate:
        return estimate(
            architecture=shape,
            format=format_name,
            runtime=runtime_name,
            workload=workload,
            device=known_device,
            assumptions=(*shape_notes, *format_notes),
        )

    result, extras = chosen_pruning(sized, architecture, sparsity, sparsity_pattern)
    trained = chosen_training(result, train, bits, format)
    if trained is not None:
        extras["training"] = trained.to_dict()
    if json_output:
        out_json(result.to_dict() | extras | (_advice(result) if advice else {}))
    else:
        from reports.estimate_text import advice_text, estimate_table

        print(estimate_table(result, training=trained), end="")
        if advice:
            from sizer.advice import alignment_advice, sensitivities

            advised = (*alignment_advice(result), *_binding(result))
            print("\n" + advice_text(sensitivities(result), advised), end="")
    if result.memory.fits is False:
        raise typer.Exit(1)


estimate_command.__doc__ = _ESTIMATE_HELP


def chosen_pruning(
    sized: Callable[[Architecture], Estimate],
    architecture: Architecture,
    fraction: object,
    pattern: object,
) -> tuple[Estimate, dict[str, Any]]:
    """The estimate, pruned if that was asked for, and what to add to its document."""
    if fraction is None and pattern is None:
        return sized(architecture), {}
    from commands.pruning import estimate_pruned

    result, pruned = estimate_pruned(sized, architecture, fraction, pattern)
    return result, {"sparsity": pruned.to_dict()}


def trained_format(
    runtime_name: str, bits: float | None, format_name: str | None, train: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    """Name of the format the model is deployed in, whatever its weights are in while adapters are trained."""
    if train.get("lora_rank") is not None:
        from commands.training import deployed_format

        format_name = deployed_format(runtime_name, format_name)
    return chosen_format(runtime_name, bits, format_name)


def chosen_training(
    result: Estimate, train: Mapping[str, Any], bits: float | None, format_name: str | None
) -> "TrainingMemory | None":
    """Memory of a training step if one was asked for; nothing is loaded where none was."""
    if all(value is None for value in train.values()):
        return None
    from commands.training import training_is_asked, training_of

    return (
        training_of(result, train, bits=bits, format_name=format_name) if training_is_asked(train) else None
    )


def _advice(result: Estimate) -> dict[str, Any]:
    from sizer.advice import alignment_advice, sensitivities
    from sizer.step_time import at_full_context, prompt_binds, step_time

    now, full = step_time(result), at_full_context(result)
    return {
        "sensitivities": [change.to_dict() for change in sensitivities(result)],
        "advice": list(alignment_advice(result)),
        "decode_step": now.to_dict() if now else None,
        "decode_step_at_full_context": full.to_dict() if full else None,
        "prompt_waits_for": prompt_binds(result),
    }


def _binding(result: Estimate) -> tuple[str, ...]:
    """What decoding and the prompt wait for, in sentences; nothing without a known speed."""
    from reports.wording import binds_texts
    from sizer.step_time import at_full_context, prompt_binds, step_time

    now = step_time(result)
    if now is None:
        return ()
    context = result.workload.context_tokens
    return binds_texts(now, at_full_context(result), context, prompt_binds(result))


def _sharing(strategy: str | None, repeat: int | None) -> LayerSharing | None:
    if strategy is None:
        if repeat is not None and repeat != 1:
            raise InvalidArchitecture(f"repeat: {repeat} needs --sharing immediate, repeat-all or reverse")
        return None
    kind = parse_enum(SharingStrategy, strategy, "sharing")
    default = 1 if kind is SharingStrategy.NONE else 2
    return LayerSharing(strategy=kind, repeat=default if repeat is None else repeat)


def _architecture(
    model_name: str | None, params: str | None, config: str | None, given: dict[str, Any], *, wide: bool
) -> tuple[Architecture, tuple[str, ...]]:
    """The one architecture the options describe, and notes on what was chosen for the user."""
    values = {"MODEL": model_name, "--params": params, "--config": config}
    sources = " and ".join(text for text, value in values.items() if value is not None)
    if " and " in sources:
        raise InvalidArchitecture(f"model: give one of MODEL, --params and --config, got {sources}")
    if model_name is not None or config is not None:
        from sizer.readers import read_model

        known = read_model(str(model_name if config is None else Path(config)))
        return (replace(known, **given), ()) if given else (known, ())
    if params is not None:
        return _near(parse_count(params, "params"), given, wide=wide)
    missing = [key for key in ("num_layers", "hidden_size", "num_heads") if key not in given]
    if missing:
        options = ", ".join("--" + key.replace("_", "-") for key in missing)
        raise InvalidArchitecture(
            f"model: nothing to size; give MODEL, --params 125M, --config PATH or a shape (missing {options})"
        )
    return _by_hand(given), ()


def _near(num_parameters: int, given: dict[str, Any], *, wide: bool) -> tuple[Architecture, tuple[str, ...]]:
    free = {"vocab_size", "tie_embeddings", "sharing"}
    if fixed := sorted(set(given) - free):
        raise InvalidArchitecture(
            f"params: chooses the shape itself, so {', '.join(fixed)} cannot be given with it; "
            f"accepted: {', '.join(sorted(free))}"
        )
    near = architecture_near(num_parameters, aspect=SHALLOW_AND_WIDE if wide else DEEP_AND_THIN, **given)
    exact = count_parameters(tensor_specs(near)).total
    note = (
        f"shape: {near.num_layers} layers x {near.hidden_size}, {near.num_heads} heads over "
        f"{near.num_kv_heads} KV heads, MLP {near.intermediate_size}, vocabulary {near.vocab_size}: "
        f"{exact:,} parameters, {exact / num_parameters - 1:+.2%} from {format_count(num_parameters)} "
        f"({'shallow and wide' if wide else 'deep and thin'})"
    )
    return near, (note,)


def _by_hand(given: dict[str, Any]) -> Architecture:
    width, heads = given["hidden_size"], given["num_heads"]
    if "head_dim" not in given and (heads < 1 or width % heads):
        raise InvalidArchitecture(
            f"head_dim: hidden_size {width} is not a multiple of num_heads {heads}; give --head-dim"
        )
    defaults = {
        "vocab_size": 32000,
        "num_kv_heads": heads,
        "head_dim": width // max(heads, 1),
        "intermediate_size": max(64, round(width * 8 / 3 / 64) * 64),
    }
    return Architecture(**{**defaults, **given})


def chosen_format(
    runtime_name: str, bits: float | None, format_name: str | None
) -> tuple[str, tuple[str, ...]]:
    """Name of the format asked for by name or by bits (4 if neither), and what to say of the choice."""
    engine = runtime(runtime_name)
    if format_name is not None:
        if bits is not None:
            raise InvalidQuantity(f"bits: give --bits or --format, got {bits:g} and {format_name}")
        return engine.format_name(format_name), ()
    chosen = engine.format_for_bits(4.0 if bits is None else bits)
    return chosen, (f"{4.0 if bits is None else bits:g} bits means {engine.name}'s customary {chosen}",)


def chosen_workload(given: dict[str, Any], cache_type: str | None, runtime_name: str) -> Workload:
    """Workload as asked for; prompt and generation shrink to a small context unless they are given."""
    context = given.get("context_tokens", Workload().context_tokens)
    if isinstance(context, int):
        usual = Workload.within(context)
        given.setdefault("prompt_tokens", usual.prompt_tokens)
        given.setdefault("generated_tokens", usual.generated_tokens)
    if not isinstance(given.get("flash_attention", True), bool):
        raise InvalidQuantity(f"flash_attention: must be true or false, got {given['flash_attention']!r}")
    if isinstance(how := given.get("weights_in_memory"), str):
        given["weights_in_memory"] = how.strip().lower()
    return Workload(**given, cache_type=(cache_type or runtime(runtime_name).cache_types[0]).upper())
