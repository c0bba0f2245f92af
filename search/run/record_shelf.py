"""Trial records of a running search, packed: as objects a hundred thousand would take over a gigabyte."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, MutableMapping
from dataclasses import fields, replace
from hashlib import blake2b

from search.store.records import proxy_from_dict, proxy_to_dict, record_from_json, record_to_json
from search.store.results import Candidate, TrialRecord

_LEVEL = 1  # more takes several times as long for a tenth less


class RecordShelf(MutableMapping[int, TrialRecord]):
    """Records by trial number; each is unpacked when it is asked for, as a resumed search reads it.

    They are packed with the first one as zlib's dictionary, since most of their text is the same.
    """

    def __init__(self) -> None:
        self._packed: dict[int, bytes] = {}
        self._dictionary = b""

    def __getitem__(self, number: int) -> TrialRecord:
        unpacking = zlib.decompressobj(zdict=self._dictionary)
        record, runs = json.loads(unpacking.decompress(self._packed[number]) + unpacking.flush())
        return _with_runs(record_from_json(record), runs)

    def __setitem__(self, number: int, record: TrialRecord) -> None:
        text = json.dumps((record_to_json(record), [proxy_to_dict(run) for run in record.runs])).encode()
        self._dictionary = self._dictionary or text
        packing = zlib.compressobj(_LEVEL, zdict=self._dictionary)
        self._packed[number] = packing.compress(text) + packing.flush()

    def __delitem__(self, number: int) -> None:
        del self._packed[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def _with_runs(record: TrialRecord, runs: list[dict[str, object]]) -> TrialRecord:
    return replace(record, runs=tuple(proxy_from_dict(run) for run in runs))


class KnownCandidates:
    """The first trial that trained, or is training, each candidate; kept as digests."""

    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}

    def add(self, candidate: Candidate, number: int) -> None:
        """Take in a candidate of a trial; the first trial of a candidate stays."""
        self._first.setdefault(_digest(candidate), number)

    def trial_of(self, candidate: Candidate) -> int | None:
        """Return the first trial of an equal candidate, or None."""
        return self._first.get(_digest(candidate))


def _digest(candidate: Candidate) -> bytes:
    """Return the same bytes for candidates that are equal, whatever their names."""
    shape = candidate.architecture
    compared = [getattr(shape, f.name) for f in fields(shape) if f.compare]
    others = [getattr(candidate, f.name) for f in fields(candidate) if f.name != "architecture"]
    return blake2b(repr((compared, others)).encode(), digest_size=16).digest()
