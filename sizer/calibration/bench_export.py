"""Bench models in a user's folder: written, never over another file, and removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sizer.calibration.bench_models import (
    BenchModel,
    bench_file_bytes,
    bench_models,
    require_gguf,
    write_bench_model,
)
from sizer.calibration.disk import check_space
from sizer.errors import InvalidFile


class Export(NamedTuple):
    """The files of a folder with their bytes, the number just written, and the free bytes of the disk."""

    files: tuple[tuple[Path, int], ...]
    written: int
    free_bytes: int

    @property
    def total_bytes(self) -> int:
        """Return the bytes of all files, including those that existed."""
        return sum(size for _, size in self.files)


def export(
    folder: Path,
    *,
    models: tuple[BenchModel, ...] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Export:
    """Write the missing bench models; InvalidFile, before any is written, if another file has such a name."""
    require_gguf()
    chosen = bench_models() if models is None else models
    files = [(folder / model.file_name, bench_file_bytes(model)) for model in chosen]
    missing = [
        (model, path, size)
        for model, (path, size) in zip(chosen, files, strict=True)
        if not _exists(path, size)
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidFile(f"DIR: cannot make {str(folder)!r}: {error.strerror or error}") from None
    free = check_space(folder, sum(size for _, _, size in missing))
    for number, (model, path, _) in enumerate(missing, start=1):
        report(f"writing {number}/{len(missing)}: {path.name}")
        write_bench_model(path, model)
    return Export(tuple(files), len(missing), free - sum(size for _, _, size in missing))


def remove(folder: Path, *, models: tuple[BenchModel, ...] | None = None) -> list[Path]:
    """Delete a folder's bench models, identified by name and exact size, and the folder if empty then."""
    removed = []
    for model in bench_models() if models is None else models:
        path = folder / model.file_name
        try:
            if path.is_file() and path.stat().st_size == bench_file_bytes(model):
                path.unlink()
                removed.append(path)
        except OSError as error:
            raise InvalidFile(f"DIR: cannot remove {str(path)!r}: {error.strerror or error}") from None
    if removed and not any(folder.iterdir()):
        folder.rmdir()
    return removed


def _exists(path: Path, size: int) -> bool:
    """True if the file exists; InvalidFile if another file has its name."""
    try:
        if not path.exists() and not path.is_symlink():
            return False
        if path.is_file() and path.stat().st_size == size:
            return True
    except OSError as error:
        raise InvalidFile(f"DIR: cannot look at {str(path)!r}: {error.strerror or error}") from None
    raise InvalidFile(
        f"DIR: {str(path)!r} exists and is not the file this command writes ({size} bytes); "
        "accepted: a folder without it"
    )
