"""Documents read so far from a corpus, and the limits on how much is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sizer.errors import InvalidFile, shown

MAX_CORPUS_BYTES = 256_000_000  # of text kept
MAX_READ_BYTES = 4 * MAX_CORPUS_BYTES  # read, after decompression, broken rows and other fields included
MAX_DOCUMENTS = 1_000_000  # files and rows kept; each costs about 400 bytes in addition to its text
ROW_COST_BYTES = 256  # read bytes that every row counts for, even an empty one: 30 million fit into 60 kB

DEFAULT_FIELD = "text"

_ACCEPTED = (
    "'builtin', a UTF-8 text, JSONL or Parquet file (.gz too), a directory of them, or hf:NAME; "
    "with :FIELD behind it where the text is not in the field 'text'"
)
_SHOWN_FIELDS = 8


def corpus_error(source: str, reason: str) -> InvalidFile:
    """Return the error for a corpus that cannot be used, with what is accepted."""
    return InvalidFile(f"corpus: {source!r}: {reason}; accepted: {_ACCEPTED}")


def is_text(content: bytes) -> bool:
    """Return whether the content is UTF-8 without null bytes."""
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@dataclass(slots=True)
class Texts:
    """Documents by name (a file, or a row of one), and counts of what was skipped."""

    contents: dict[str, bytes] = field(default_factory=dict)
    room: int = field(default_factory=lambda: MAX_CORPUS_BYTES)  # bytes that may still be kept
    unread: int = field(default_factory=lambda: MAX_READ_BYTES)  # bytes that may still be read
    num_binary: int = 0
    num_unreadable: int = 0
    num_beyond_limit: int = 0
    num_broken_rows: int = 0  # no JSON object, or no text in the field
    num_row_files: int = 0  # JSONL and Parquet files
    fields: tuple[str, ...] = ()  # of the first row or table without the requested field
    truncated: bool = False

    @property
    def full(self) -> bool:
        """True if a limit has been reached."""
        return self.room <= 0 or self.unread <= 0 or len(self.contents) >= MAX_DOCUMENTS

    def add_file(self, name: str, content: bytes) -> None:
        """Keep a file's text up to the limit; count a binary file."""
        if len(content) > self.room:
            content = content[: character_start(content, self.room)]
            self.truncated = True
        if not is_text(content):
            self.num_binary += 1
            return
        self.room -= len(content)
        self.contents[name] = content

    def add_row(self, name: str, value: object) -> None:
        """Keep a row's text, ending in a newline so that rows stay separate."""
        self.unread -= ROW_COST_BYTES
        content = _row_bytes(value)
        if content is None:
            self.num_broken_rows += 1
        elif len(content) > self.room:
            self.truncated, self.room = True, 0
        elif content:
            self.room -= len(content)
            self.contents[name] = content

    def lacks_field(self, fields: Iterable[str]) -> None:
        """Record the fields of a row or table that lacks the requested one."""
        if not self.fields:
            self.fields = tuple(str(name) for name in fields)[:_SHOWN_FIELDS]

    def why_nothing(self, wanted: str) -> str:
        """Return why no text was found."""
        if self.num_broken_rows or self.fields:
            there = f"; there are: {', '.join(shown(name) for name in self.fields)}" if self.fields else ""
            return f"no row has text in the field {shown(wanted)}{there}"
        if self.num_binary or self.num_unreadable:
            return f"no text in it ({self.num_binary} binary and {self.num_unreadable} unreadable files)"
        return "there is no text in it" if self.num_row_files else "there is no file in it"

    def omissions(self) -> Iterator[str]:
        """Yield a line for each kind of omission."""
        if self.num_binary:
            yield f"{self.num_binary} files that are not UTF-8 text were skipped"
        if self.num_unreadable:
            yield f"{self.num_unreadable} unreadable files were skipped"
        if self.num_broken_rows:
            yield f"{self.num_broken_rows} broken rows (cut short, or without text in the field) were skipped"
        if self.truncated or self.num_beyond_limit or self.full:
            yield (
                f"reading stopped at {MAX_CORPUS_BYTES // 1_000_000} MB of text, "
                f"{MAX_READ_BYTES // 1_000_000} MB read or {MAX_DOCUMENTS:,} rows; "
                f"{self.num_beyond_limit} further files were not read"
            )


def _row_bytes(value: object) -> bytes | None:
    """Return a row's text ending in a newline; empty for an empty text, None for anything but text."""
    if not isinstance(value, str) or "\0" in value:
        return None
    try:
        content = value.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
        return None
    return content if not content or content.endswith(b"\n") else content + b"\n"


def character_start(text: bytes | bytearray, place: int) -> int:
    """Return the place, or the nearest one before it that cuts no UTF-8 character.

    >>> [character_start("aé".encode(), place) for place in range(4)]
    [0, 1, 1, 3]
    """
    for earlier in range(place, max(-1, place - 4), -1):
        if earlier >= len(text) or text[earlier] & 0xC0 != 0x80:
            return earlier
    return place  # not UTF-8
