"""`sizer estimate`: options to one request, one call, print; modules that few calls need load on use."""

# No postponed annotations here: Typer evaluates the text of each one twice, which takes a tenth of the start.

from pathlib import Path
from typing import Annotated, Any

import typer

from commands.console import CONTEXT, JSON, notice, out_json, text_width, tokens_option
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.model_estimate import Estimate
from sizer.request import EstimateRequest
from sizer.runtimes import DEFAULT_RUNTIME

# Options that are fields of EstimateRequest under the same name.
_OPTIONS = (
    *("params", "num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "head_dim"),
    *(
        "vocab_size",
        "tie_embeddings",
        "mlp",
        "sharing",
        "repeat",
        "ends",
        "wide",
        "any_width",
        "bits",
        "format",
        "context",
        "prompt",
    ),
    *(
        "ram",
        "backend",
        "generate",
        "batch_size",
        "cache_type",
        "ubatch",
        "flash_attention",
        "weights_in_memory",
        "training",
    ),
    *("lora_rank", "lora_targets", "sequence_length", "checkpointing", "optimizer", "precision"),
    *("sparsity", "sparsity_pattern", "max_memory", "min_decode", "tokens", "corpus", "anchor"),
    *("gpu_layers", "draft", "mmproj"),
)

_ESTIMATE_HELP = """Size a model, real or hypothetical: file, memory, speed, energy.

MODEL is a catalogue name (see `sizer models`), a config.json or its directory, a .safetensors file with its
config.json in the same directory, a .gguf file, or hf:org/name. Without MODEL give --params, or a shape with
--num-layers, --hidden-size and --num-heads.

\b
Examples:
  sizer estimate --params 125M --bits 4 --device raspberry-pi-5
  sizer estimate MobileLLM-125M --format Q4_K_M --context 4096 --json
  sizer estimate --num-layers 12 --hidden-size 768 --num-heads 12 --num-kv-heads 4 --bits 8
  sizer estimate MobileLLM-125M --sharing immediate --repeat 2 --advice
  sizer estimate --params 350M --tokens 1T --corpus fineweb-edu
  sizer estimate SmolLM2-135M --sparsity 0.5 --sparsity-pattern structured
  sizer estimate SmolLM2-135M --device raspberry-pi-5 --html smollm2.html
  sizer estimate Qwen3-0.6B --max-memory 2GB --max-context
  sizer estimate SmolLM2-1.7B --device raspberry-pi-5 --min-decode 10 && deploy
  sizer estimate Qwen3-4B --gpu-layers 20 --draft Qwen3-0.6B --mmproj mmproj-F16.gguf
  sizer estimate SmolLM2-135M --lora-rank 8 --bits 4 --sequence-length 1024 --checkpointing
  echo '{"model": "SmolLM2-135M", "format": "Q8_0"}' | sizer estimate --batch -
"""


def estimate_command(
    model_name: Annotated[str | None, typer.Argument(metavar="MODEL", show_default=False)] = None,
    params: Annotated[str | None, typer.Option(help="Parameter count to come near to, such as 125M.")] = None,
    config: Annotated[str | None, typer.Option(help="Path of a Hugging Face config.json.")] = None,
    num_layers: Annotated[int | None, typer.Option(help="Layers (stored blocks).")] = None,
    hidden_size: Annotated[int | None, typer.Option(help="Hidden size.")] = None,
    intermediate_size: Annotated[int | None, typer.Option(help="FFN size. [8/3 of the hidden size]")] = None,
    num_heads: Annotated[int | None, typer.Option(help="Query heads.")] = None,
    num_kv_heads: Annotated[int | None, typer.Option(help="Key and value heads. [num-heads]")] = None,
    head_dim: Annotated[int | None, typer.Option(help="Width of one head. [width / heads]")] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Rows of the embedding table. [32000]")] = None,
    tie_embeddings: Annotated[
        bool | None, typer.Option("--tie-embeddings/--no-tie-embeddings", help="Head shares the table. [yes]")
    ] = None,
    mlp: Annotated[str | None, typer.Option(help="swiglu, geglu, gelu, relu, relu2_gated. [swiglu]")] = None,
    sharing: Annotated[str | None, typer.Option(help="immediate, repeat-all, reverse, middle, none.")] = None,
    repeat: Annotated[int | None, typer.Option(help="Runs of each shared block. [2 when sharing]")] = None,
    ends: Annotated[int | None, typer.Option(help="Unshared blocks at each end, with middle. [1]")] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="With --params: shallow and wide, not deep and thin.")
    ] = False,
    any_width: Annotated[
        bool, typer.Option("--any-width", help="With --params: also sizes that the format falls back for.")
    ] = False,
    bits: Annotated[float | None, typer.Option(help="That runtime's customary format. [4]")] = None,
    format: Annotated[str | None, typer.Option(help="Weight format by name, such as Q4_K_M.")] = None,
    runtime_name: Annotated[
        str | None, typer.Option("--runtime", help="Engine that runs the model. [llama.cpp]")
    ] = None,
    device_name: Annotated[
        str | None, typer.Option("--device", help="Device to predict speed and fit for; `host` is this one.")
    ] = None,
    ram: Annotated[str | None, typer.Option(help="Variant of the device by its RAM, such as 4GB.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="What the engine runs on: cpu, gpu or npu. [the engine's choice]")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Memory limit, such as 2GB; exit 1 where it is broken.")
    ] = None,
    min_decode: Annotated[
        float | None, typer.Option(help="Min decode speed (tok/s) on the device; exit 1 where it is broken.")
    ] = None,
    context: Annotated[int, CONTEXT] = 2048,
    prompt: Annotated[int | None, tokens_option("Tokens of the prompt. [128]")] = None,
    generate: Annotated[int | None, tokens_option("Tokens generated. [128]")] = None,
    batch_size: Annotated[int, typer.Option(help="Sequences at once.")] = 1,
    cache_type: Annotated[
        str | None, typer.Option(help="Type of the KV cache: f16, q8_0, ... [the runtime's]")
    ] = None,
    ubatch: Annotated[int, tokens_option("Prompt tokens processed at once.")] = 512,
    flash_attention: Annotated[
        bool, typer.Option("--flash-attention/--no-flash-attention", help="Keep no attention scores.")
    ] = True,
    weights_in_memory: Annotated[
        str, typer.Option(help="mapped, loaded (--no-mmap), repacked-avx2, repacked-avx512, repacked-arm.")
    ] = "mapped",
    gpu_layers: Annotated[
        int | None, typer.Option(help="Layers on a card, llama.cpp's -ngl; the output is the first. [none]")
    ] = None,
    draft: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Draft model whose memory is added.")
    ] = None,
    mmproj: Annotated[
        str | None, typer.Option(metavar="FILE", help="Projector of a vision model to add to memory.")
    ] = None,
    advice: Annotated[
        bool, typer.Option("--advice", help="Also say what small changes of shape would do.")
    ] = False,
    training: Annotated[bool, typer.Option("--training", help="Also the memory of a training step.")] = False,
    lora_rank: Annotated[int | None, typer.Option(help="Train adapters of this rank (LoRA).")] = None,
    lora_targets: Annotated[
        str | None, typer.Option(help="attention, all-linear, or names. [q_proj,v_proj]")
    ] = None,
    sequence_length: Annotated[int | None, tokens_option("Tokens of a training sequence. [context]")] = None,
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
    max_context: Annotated[
        bool, typer.Option("--max-context", help="Print only the largest context that fits the memory limit.")
    ] = False,
    tokens: Annotated[
        str | None, typer.Option(help="Training tokens, such as 1T: also say how good it gets.")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="What it is trained on, such as fineweb-edu.")] = None,
    anchor: Annotated[
        str | None, typer.Option(metavar="MODEL=ACCURACY", help="A model of the same recipe, in percent.")
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(help="File (or -) with one JSON object per line; prints one estimate per line."),
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Also write the estimate as a page that opens offline.")
    ] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    options = locals()
    if batch is not None:
        from commands.batch import run_batch

        raise typer.Exit(run_batch(batch))
    request = EstimateRequest(
        model=_source(model_name, params, config),
        runtime=runtime_name,
        device=device_name,
        **{name: options[name] for name in _OPTIONS},
    )
    sized = request.run()
    result = sized.estimate
    if html is not None:
        from commands.pages import write_estimate_page

        write_estimate_page(result, html, sized.training)
    if result.weights is None:
        notice(f"error: {result.not_known('weights')}")
    elif runtime_name is None and result.runtime != DEFAULT_RUNTIME:
        notice(f"note: {result.assumptions[0]}")
    for text in sized.violations:
        notice(f"note: {text}")
    advice = advice and result.weights is not None and result.shape is not None
    if max_context:
        raise typer.Exit(_print_max_context(result))
    if json_output:
        out_json(sized.to_dict() | (_advice(result) if advice else {}))
    elif result.weights is not None:
        from reports.text.estimate import estimate_table
        from reports.text.section import TEXT_WIDTH

        width = text_width(TEXT_WIDTH)
        print(estimate_table(result, width, sized.training, sized.quality), end="")
        if advice:
            from reports.text.optional_sections import advice_text
            from sizer.advice import alignment_advice, sensitivities

            advised = (*alignment_advice(result), *_binding(result))
            print("\n" + advice_text(sensitivities(result), advised, width), end="")
    if result.fits is False or sized.violations:
        raise typer.Exit(1)


estimate_command.__doc__ = _ESTIMATE_HELP


def _source(model: str | None, params: str | None, config: str | None) -> str | None:
    """Return the model or the path of its config; raise if more than one source is given."""
    values = {"MODEL": model, "--params": params, "--config": config}
    sources = " and ".join(text for text, value in values.items() if value is not None)
    if " and " in sources:
        raise InvalidArchitecture(f"model: give one of MODEL, --params and --config, got {sources}")
    if model is not None and _is_count(model) and not Path(model).exists():
        raise InvalidArchitecture(
            f"model: {model!r} is a number of parameters and no model; accepted: --params {model}"
        )
    return model if config is None else str(Path(config))


def _is_count(text: str) -> bool:
    """Return True for a number with a unit of thousands, such as 350M."""
    return text[-1:].upper() in ("K", "M", "B") and text[:-1].replace(".", "", 1).isdecimal()


def _print_max_context(result: Estimate) -> int:
    """Print the largest context that fits; return the exit code: 1 if none does."""
    found = result.max_context
    if found is None:
        if result.weights is None:
            return 1
        raise InvalidQuantity(
            "max_context: no memory limit is known; give --max-memory or a --device with one"
        )
    if found.limited_by == "positions":
        notice("note: the model's max_position_embeddings; its memory would fit a longer context")
    print(found.tokens)
    return 0 if found.tokens else 1


def _advice(result: Estimate) -> dict[str, Any]:
    from sizer.advice import alignment_advice, sensitivities
    from sizer.devices.step_time import at_full_context, prompt_binds, step_time

    now, full = step_time(result), at_full_context(result)
    return {
        "sensitivities": [change.to_dict() for change in sensitivities(result)],
        "advice": list(alignment_advice(result)),
        "decode_step": now.to_dict() if now else None,
        "decode_step_at_full_context": full.to_dict() if full else None,
        "prompt_waits_for": prompt_binds(result),
    }


def _binding(result: Estimate) -> tuple[str, ...]:
    """Return sentences on what limits decoding and the prompt; none without a known speed."""
    from reports.text.wording import binds_texts
    from sizer.devices.step_time import at_full_context, prompt_binds, step_time

    now = step_time(result)
    if now is None:
        return ()
    context = result.workload.context_tokens
    return binds_texts(now, at_full_context(result), context, prompt_binds(result))
