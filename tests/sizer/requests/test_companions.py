"""A draft model and a projector in the memory of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from reports.figures.breakdowns import memory_info
from reports.figures.stacked_bars import memory_stack_info
from sizer.errors import SizerError
from sizer.request import EstimateRequest
from sizer.requests.companions import projector_memory
from tests.sizer.readers.handmade import UNTIED, safetensors_bytes, write_gguf


def projector(path: Path, *, image: int = 896) -> Path:
    """Write a projector with the sizes of Gemma 3's encoder and one matrix."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("general.type", "mmproj")
    sizes = {"image_size": image, "patch_size": 14, "embedding_length": 1152, "feed_forward_length": 4304}
    for key, value in (sizes | {"attention.head_count": 16}).items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_tensor("v.blk.0.attn_q.weight", np.zeros((64, 96), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_draft_models_memory_is_added_and_shown() -> None:
    plain = EstimateRequest(model="Qwen3-4B", format="Q4_K_M", context=4096)
    draft = EstimateRequest(model="Qwen3-0.6B", format="Q4_K_M", context=4096).run().estimate.memory
    found = plain._replace(draft="Qwen3-0.6B").run().to_dict()["memory"]
    assert found["draft_bytes"] == draft.total_bytes - draft.overhead_bytes
    assert found["total_bytes"] == plain.run().estimate.memory.total_bytes + found["draft_bytes"]


def test_a_longer_context_is_one_of_the_draft_as_well() -> None:
    asked = EstimateRequest(model="Qwen3-4B", draft="Qwen3-0.6B", max_memory="6GB")
    longest = asked.run().estimate.max_context
    assert longest is not None
    assert longest.limited_by == "memory"
    assert asked._replace(context=longest.tokens).run().estimate.fits is True
    assert asked._replace(context=longest.tokens + 1).run().estimate.fits is False


def test_a_draft_from_a_file_has_the_files_types(tmp_path: Path) -> None:
    path = tmp_path / "draft.gguf"
    write_gguf(path, UNTIED, format="Q8_0")
    found = EstimateRequest(model="SmolLM2-135M", draft=str(path)).run().estimate
    assert found.draft is not None
    assert found.draft.file.total == path.stat().st_size


def test_a_projectors_bytes_and_its_compute_buffer(tmp_path: Path) -> None:
    path = projector(tmp_path / "mmproj.gguf")
    found = projector_memory(path)
    assert found.weights_bytes == 64 * 96 * 2
    # llama.cpp prints 1132.00 MiB for this encoder without flash attention
    assert found.compute_high == 1132 * 2**20
    assert found.compute_low == 4 * 4096 * (4304 + 3 * 1152)
    plain = EstimateRequest(model="SmolLM2-135M", flash_attention=False)
    memory = plain._replace(mmproj=str(path)).run().to_dict()["memory"]
    assert memory["projector_bytes"] == 64 * 96 * 2 + 1132 * 2**20
    assert memory["total_bytes"] - plain.run().estimate.memory.total_bytes == memory["projector_bytes"]
    longest = (
        EstimateRequest(model="SmolLM2-135M", mmproj=str(path), max_memory="1GB").run().estimate.max_context
    )
    assert longest is not None


def test_the_vision_tensors_of_a_checkpoint_are_a_projector(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {
        "vision_tower.blk.weight": {"dtype": "F16", "shape": [4, 8], "data_offsets": [0, 64]},
        "model.layers.0.weight": {"dtype": "F16", "shape": [4, 8], "data_offsets": [64, 128]},
    }
    path.write_bytes(safetensors_bytes(tensors, 128))
    assert projector_memory(path) == (64, 0, 0)


def test_a_file_of_another_kind_is_no_projector(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, UNTIED)
    with pytest.raises(SizerError, match="mmproj: .* is a file of 'llama'; accepted: a projector"):
        EstimateRequest(model="SmolLM2-135M", mmproj=str(path)).run()


def test_tables_and_figures_show_the_parts_of_the_sum(tmp_path: Path, sizer: Any) -> None:
    path, page = projector(tmp_path / "mmproj.gguf"), tmp_path / "page.html"
    words = (
        "estimate",
        "SmolLM2-135M",
        "--draft",
        "MobileLLM-125M",
        "--mmproj",
        str(path),
        "--gpu-layers",
        "9",
    )
    ran = sizer(*words, "--max-memory", "2GB", "--html", str(page))
    assert ran.code == 0
    for label in ("draft model", "projector", "on the GPU", "on the CPU"):
        assert f"  {label}  " in ran.out
    html = page.read_text(encoding="utf-8")
    assert "draft model" in html
    sized = EstimateRequest(model="SmolLM2-135M", draft="MobileLLM-125M", mmproj=str(path)).run().estimate
    total = memory_info(sized).bars[-1]
    assert total.value == sized.memory.total_bytes
    assert sum(bar.value for bar in memory_info(sized).bars[:-1]) == total.value
    card = EstimateRequest(model="SmolLM2-135M", gpu_layers=9, max_memory="2GB").run().estimate
    assert sum(part.values[0] for part in memory_stack_info(card).parts) == card.memory.limited_bytes
