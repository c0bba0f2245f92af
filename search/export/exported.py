"""Files that earlier exports of a trial wrote to the study's folder."""

from __future__ import annotations

from pathlib import Path

from search.store.folders import study_folder


def export_folder(study: str, storage: str) -> Path:
    """Return the folder that exports of a study are written to unless another is asked for."""
    return study_folder(study, storage) / "export"


def exported_paths(study: str, trial: int, storage: str) -> tuple[Path, ...]:
    """Return the exports of a trial: files, and folders for transformers; cards are not listed."""
    folder = export_folder(study, storage)
    if not folder.is_dir():
        return ()
    kinds = (f"{trial}-*.gguf", f"{trial}-*.pte", f"{trial}-hf")
    return tuple(sorted(path for kind in kinds for path in folder.glob(kind)))
