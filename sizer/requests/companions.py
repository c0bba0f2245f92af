"""What llama.cpp holds in addition to a model: a draft model, an image encoder with its projector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sizer.errors import InvalidFile, InvalidQuantity, UnknownName
from sizer.model_estimate import Estimate
from sizer.readers.file_tensor import FileTensor, tensor_bytes
from sizer.readers.gguf_split import missing_text, read_gguf_set
from sizer.readers.model_file import FileKind, kind_of
from sizer.readers.projector import Projector, read_projector
from sizer.readers.safetensors_header import read_safetensors
from sizer.units import format_bytes_binary

_FLOAT_BYTES = 4
# Words in the names of tensors of an encoder and its projector, in checkpoints that hold more.
_PROJECTOR_NAMES = ("vision", "visual", "multi_modal", "mm_projector", "mm.", "v.", "audio", "a.")


class ProjectorMemory(NamedTuple):
    """Bytes of an image encoder with its projector: weights, and the range of its compute buffer."""

    weights_bytes: int
    compute_low: int  # with flash attention
    compute_high: int  # with one matrix of scores for all heads


def without_split_speed(sized: Estimate) -> Estimate:
    """Return an estimate without a speed where only some layers lie on a card: none is fitted to that."""
    on_cpu = [share for share in sized.memory.devices if share.device == "cpu" and share.kv_cache_bytes]
    if not on_cpu or sized.latency is None:
        return sized
    split = "beyond_memory has the speed of that" if sized.beyond_memory else "their speed is not modelled"
    reason = f"some layers lie on the card, the others in the CPU's memory: {split}"
    unsupported = {**sized.unsupported, "latency": reason, "energy": reason}
    return replace(sized, latency=None, energy=None, unsupported=unsupported)


def named_draft(run: Callable[[], Estimate]) -> Estimate:
    """Return a draft model's estimate; an unknown name is refused as the draft's."""
    try:
        return run()
    except UnknownName as error:
        raise UnknownName(f"draft: {error}") from None


def with_draft(sized: Estimate, draft: Estimate) -> Estimate:
    """Return an estimate with a draft model's weights, cache and buffers added to its memory."""
    memory = draft.memory
    added = memory.total_bytes - memory.overhead_bytes
    share = draft.parameters.total / max(sized.parameters.total, 1)
    note = (
        f"draft model {draft.name} in {draft.format}: {format_bytes_binary(added)} of weights, cache for the "
        f"same context and buffers, {share:.0%} of the model's parameters; speed is that without it"
    )
    held = sized.memory._replace(draft_bytes=added)
    return replace(sized, held=held, draft=draft, assumptions=(*sized.assumptions, note))


def with_projector(sized: Estimate, path: str) -> Estimate:
    """Return an estimate with the projector file of a vision model added to its memory."""
    found = projector_memory(Path(path))
    compute = found.compute_low if sized.workload.flash_attention else found.compute_high
    weights = format_bytes_binary(found.weights_bytes)
    low, high = format_bytes_binary(found.compute_low), format_bytes_binary(found.compute_high)
    buffer = f"{low} with flash attention, {high} without" if found.compute_high else "not known"
    note = f"projector {Path(path).name}: {weights} of weights; its compute buffer for one image is {buffer}"
    held = sized.memory._replace(projector_bytes=found.weights_bytes + compute)
    return replace(sized, held=held, assumptions=(*sized.assumptions, note))


def projector_memory(path: Path) -> ProjectorMemory:
    """Read the header of a projector in a GGUF or .safetensors file; InvalidFile for other files."""
    try:
        return _projector_memory(path)
    except InvalidFile as error:
        raise InvalidFile(f"mmproj: {str(error).removeprefix('model: ')}") from None


def _projector_memory(path: Path) -> ProjectorMemory:
    kind = kind_of(path)
    if kind is FileKind.GGUF:
        header = read_gguf_set(path)
        if header.architecture_name != "clip" and header.text("general.type") != "mmproj":
            raise InvalidFile(
                f"{str(path)!r} is a file of {header.architecture_name!r}; accepted: a projector "
                "(general.type mmproj)"
            )
        if not header.tensors or len(header.files) < (header.split_count or 1):
            raise InvalidFile(
                f"{str(path)!r} is not a whole projector; accepted: one with its tensors, all parts in one "
                f"folder{missing_text(header)}"
            )
        low, high = _compute_range(read_projector(header))
        return ProjectorMemory(_bytes(header.tensors), low, high)
    if kind is FileKind.SAFETENSORS:
        tensors = read_safetensors(path).tensors
        parts = [t for t in tensors if any(word in t.name for word in _PROJECTOR_NAMES)]
        if not parts:
            raise InvalidFile(f"{str(path)!r} has no tensors of a vision encoder or a projector")
        return ProjectorMemory(_bytes(parts), 0, 0)
    raise InvalidFile(f"{str(path)!r} is no projector; accepted: a .gguf or .safetensors file")


def _bytes(tensors: Sequence[FileTensor]) -> int:
    num_bytes = tensor_bytes(tensors)
    if num_bytes is None:
        raise InvalidQuantity("mmproj: a tensor has a type whose size is not known")
    return num_bytes


def _compute_range(projector: Projector) -> tuple[int, int]:
    """Return bytes of the encoder's compute buffer for one image: six rows a patch, without and with scores.

    1132 MiB for Gemma 3's encoder, as llama.cpp prints without flash attention (4096 patches, 16 heads).
    """
    sizes = projector.sizes.get("vision", {})
    patch, width = sizes.get("patch_size"), sizes.get("hidden_size")
    if not patch or not width:
        return 0, 0
    patches = (sizes.get("image_size", 0) // patch) ** 2
    inner, heads = sizes.get("feed_forward_length", 0), sizes.get("heads", 0)
    low = _FLOAT_BYTES * patches * max(6 * width, inner + 3 * width)
    return low, max(low, _FLOAT_BYTES * (heads * patches**2 + 6 * patches * width))
