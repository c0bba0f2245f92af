"""Kept weights: a folder without moments, read back bit for bit; older checkpoints are read too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from search.training.checkpoint import save_checkpoint
from search.training.decoder import Decoder
from search.training.kept_weights import keep_weights, load_weights
from sizer.errors import InvalidFile
from sizer.families.hf_config import config_from_architecture
from tests.search.export.conftest import tiny

safetensors = pytest.importorskip("safetensors.torch")


def checkpoint(path: Path, *, rounding: bool = False) -> Decoder:
    """Write a checkpoint of random weights with moments, as a run does."""
    model = Decoder(tiny())
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    tensors = {f"weight.{name}": parameter for name, parameter in model.named_parameters()}
    moments = {f"mean.{name}": torch.zeros_like(p) for name, p in model.named_parameters()}
    meta = {"config": config_from_architecture(tiny()), "rounding": rounding}
    save_checkpoint(path, {**tensors, **moments}, meta)
    return model


@pytest.mark.parametrize("rounding", [False, True])
def test_a_folder_holds_the_weights_of_its_checkpoint(tmp_path: Path, rounding: bool) -> None:
    model = checkpoint(tmp_path / "0-0.npz", rounding=rounding)
    keep_weights(tmp_path / "0-0.npz", tmp_path / "kept")
    for path in (tmp_path / "kept", tmp_path / "0-0.npz"):
        found = load_weights(path)
        assert found.architecture == tiny()
        assert found.rounded is rounding
        assert set(found.weights) == {name for name, _ in model.named_parameters()}
        for name, parameter in model.named_parameters():
            assert torch.equal(found.weights[name], parameter.detach())
    # another reader finds the same
    theirs = safetensors.load_file(tmp_path / "kept" / "model.safetensors")
    assert all(torch.equal(theirs[name], p.detach()) for name, p in model.named_parameters())


def test_broken_folders_are_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    with pytest.raises(InvalidFile, match="weights"):
        load_weights(folder)
    (folder / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(InvalidFile, match="is not an object"):
        load_weights(folder)
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(InvalidFile, match="holds no trained model"):
        load_weights(folder)
