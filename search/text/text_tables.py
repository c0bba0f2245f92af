"""Read texts from a column of Parquet files (pyarrow) or of Hugging Face data sets (datasets)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from search.text.texts import Texts, corpus_error
from sizer.errors import SizerError

HUGGING_FACE_PREFIX = "hf:"

# Rows read at a time: a row group may decompress to far more than the file's size.
_BATCH_ROWS = 256


def read_parquet(path: Path, name: str, field: str, texts: Texts) -> None:
    """Read the rows of a Parquet file's column; count a file that cannot be read.

    A dictionary-encoded column stays encoded: a small file can repeat one long text any number of times, and
    is decoded only up to the limit.
    """
    arrow = _package("pyarrow", f"{name!r}: Parquet", "parquet", "text and JSONL")
    parquet = importlib.import_module("pyarrow.parquet")
    number = 0
    texts.num_row_files += 1
    try:
        columns = parquet.read_schema(path).names
        if field not in columns:
            texts.lacks_field(columns)
            texts.num_broken_rows += 1
            return
        with parquet.ParquetFile(path, read_dictionary=[field]) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[field]):
                for value in batch.column(0):
                    if texts.full:
                        return
                    number += 1
                    text = value.as_py()
                    texts.unread -= len(text) if isinstance(text, str) else 0
                    texts.add_row(f"{name}:{number:09d}", text)
    except (OSError, ValueError, KeyError, NotImplementedError, MemoryError, arrow.ArrowException):
        if number:
            texts.num_broken_rows += 1  # the rows before are good
        else:
            texts.num_unreadable += 1


def hugging_face_texts(source: str, field: str) -> Texts:
    """Read a column of the training split of `hf:NAME`, up to the limit; each row is a document."""
    name = source.removeprefix(HUGGING_FACE_PREFIX)
    datasets = _package("datasets", repr(source), "datasets", "'builtin', text, JSONL and Parquet files")
    texts = Texts()
    try:
        for number, row in enumerate(datasets.load_dataset(name, split="train", streaming=True)):
            if texts.full:
                texts.truncated = True
                break
            if field not in row:
                texts.lacks_field(row)
                break
            texts.add_row(f"{number:09d}", row[field])
    except (OSError, ValueError, RuntimeError) as error:
        raise corpus_error(
            source, str(error).splitlines()[0] if str(error) else type(error).__name__
        ) from None
    if not texts.contents and not texts.fields and not texts.num_broken_rows:
        raise corpus_error(source, "it has no rows")
    return texts


def _package(module: str, what: str, extra: str, without: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise SizerError(
            f"corpus: {what} needs the package {module} (extra `{extra}`), which is not installed; "
            f"accepted without it: {without}"
        ) from None
