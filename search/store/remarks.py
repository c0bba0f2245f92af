"""What a person writes about a study: a note, and whether it is archived; a file in the study's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from search.store.folders import study_folder
from sizer.atomic_write import atomic_write
from sizer.errors import StudyError

_FILE = "remarks.json"
_MOST_BYTES = 100_000
MOST_LETTERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRemarks:
    """A note of any text, and whether lists leave the study out."""

    note: str = ""
    is_archived: bool = False


def read_remarks(study: str, storage: str) -> StudyRemarks:
    """Read the remarks of a study; empty ones if there are none that can be read."""
    try:
        with (study_folder(study, storage) / _FILE).open("rb") as file:
            document = json.loads(file.read(_MOST_BYTES))
        return StudyRemarks(
            note=str(document["note"])[:MOST_LETTERS], is_archived=document["is_archived"] is True
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, StudyError):
        return StudyRemarks()


def write_remarks(study: str, storage: str, remarks: StudyRemarks) -> None:
    """Write the remarks of a study; StudyError if they cannot be written."""
    if len(remarks.note) > MOST_LETTERS:
        raise StudyError(f"note: must have at most {MOST_LETTERS:,} letters, got {len(remarks.note):,}")
    try:
        folder = study_folder(study, storage)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / _FILE) as file:
            file.write(json.dumps(asdict(remarks)).encode())
    except OSError as error:
        raise StudyError(f"note: cannot be written for {study!r}: {error.strerror or error}") from None
