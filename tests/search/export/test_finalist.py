"""A finalist is read with its text and scores, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from search.export.finalist import load_finalist
from search.store.folders import kept_weights, study_folder
from search.training.checkpoint import load_checkpoint, save_checkpoint
from sizer.errors import InvalidFile, StudyError
from tests.search.export.conftest import MakeStudy, tiny


def test_scores_are_those_of_the_study(make_study: MakeStudy, storage: str) -> None:
    make_study(tiny(), "Q4_0")
    found = load_finalist("s", 0, storage)
    (run,) = found.record.runs
    assert run.val_bits_per_byte_full is not None
    assert found.recomputed == found.bits_per_byte == pytest.approx(run.val_bits_per_byte_full, abs=1e-9)
    assert found.deployed_bits_per_byte == pytest.approx(run.val_bits_per_byte, abs=1e-9)
    assert found.num_parameters == run.num_parameters
    assert list(kept_weights("s", storage)[0]) == [0]


def test_ternary_weights_are_those_of_the_file(make_study: MakeStudy, storage: str) -> None:
    make_study(tiny(width=256, heads=4, kv_heads=2, ffn=256, layers=1), "TQ1_0")
    found = load_finalist("s", 0, storage)
    (run,) = found.record.runs
    # the study's unrounded score is of the exact weights, the deployed one of the ternary
    assert found.recomputed == pytest.approx(run.val_bits_per_byte_full, abs=1e-9)
    assert found.bits_per_byte != pytest.approx(found.recomputed, abs=1e-6)
    assert found.deployed_bits_per_byte == pytest.approx(run.val_bits_per_byte, abs=1e-9)
    matrix = found.weights["model.layers.0.mlp.up_proj.weight"]
    for block in matrix.reshape(-1, 256):
        assert len(block.abs().unique()) <= 2


def test_a_trial_without_weights_lists_those_with(make_study: MakeStudy, storage: str) -> None:
    make_study(tiny(), keep=False)
    with pytest.raises(StudyError, match="trial: 0 has no weights; with weights: none"):
        load_finalist("s", 0, storage)
    with pytest.raises(StudyError, match="trial: 7 is not in study 's'"):
        load_finalist("s", 7, storage)


def test_a_seed_that_was_not_kept(make_study: MakeStudy, storage: str) -> None:
    make_study(tiny())
    with pytest.raises(StudyError, match="seed: trial 0 has no weights of seed 3; accepted: 0"):
        load_finalist("s", 0, storage, seed=3)


def test_a_proxy_is_exported_only_when_asked_for(make_study: MakeStudy, storage: str) -> None:
    make_study(tiny(width=128, heads=4, kv_heads=2), scaled=tiny())
    with pytest.raises(StudyError, match="trained as a proxy, 2x64, of 2x128, Q4_0; accepted: --to recipe"):
        load_finalist("s", 0, storage)
    found = load_finalist("s", 0, storage, proxy=True)
    assert found.architecture == tiny()


def test_another_text_is_refused(make_study: MakeStudy, storage: str, tmp_path: Path) -> None:
    make_study(tiny())
    (tmp_path / "text.py").write_text("print('another text')\n" * 4000, encoding="utf-8")
    with pytest.raises(StudyError, match=r"corpus: 'text\.py' has changed since study 's' was trained"):
        load_finalist("s", 0, storage)


def test_weights_of_another_run_are_refused(make_study: MakeStudy, storage: str) -> None:
    make_study(tiny())
    path = study_folder("s", storage) / "finalists" / "0-0.npz"
    tensors, meta = load_checkpoint(path)
    table = "weight.model.embed_tokens.weight"
    save_checkpoint(path, tensors | {table: torch.zeros_like(tensors[table])}, meta)
    with pytest.raises(StudyError, match="they do not belong together"):
        load_finalist("s", 0, storage)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InvalidFile, match="cannot be read"):
        load_finalist("s", 0, storage)
