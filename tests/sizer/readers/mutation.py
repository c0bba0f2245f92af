"""Valid model files broken by somebody who knows their layout: lengths, counts, types, offsets, keys."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

# Where sizes turn: nothing, one, signs and widths of integers.
EDGES = (0, 1, 2, 3, 31, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63)
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9

Field = tuple[int, int]  # first byte and number of bytes


def gguf_fields(data: bytes) -> tuple[list[Field], int]:
    """Every number in the header of a valid GGUF file that a reader might believe, and the header's end."""
    fields: list[Field] = [(0, 4)]
    at = 4

    def number(width: int) -> int:
        nonlocal at
        fields.append((at, width))
        at += width
        return int.from_bytes(data[at - width : at], "little")

    def text() -> None:
        nonlocal at
        length = number(8)
        at += length

    def value(kind: int) -> None:
        nonlocal at
        if kind == _STRING:
            text()
        elif kind == _ARRAY:
            inner, count = number(4), number(8)
            if inner in SCALAR_BYTES:
                at += count * SCALAR_BYTES[inner]
            else:
                for _ in range(count):
                    value(inner)
        else:
            number(SCALAR_BYTES[kind])

    number(4)
    tensors, keys = number(8), number(8)
    for _ in range(keys):
        text()
        value(number(4))
    for _ in range(tensors):
        text()
        for _ in range(number(4)):
            number(8)
        number(4)
        number(8)
    return fields, at


def broken_number(random: Random, old: int, size: int) -> int:
    """Another number for a field: an edge, near the old one, near the file's size, or anything."""
    return random.choice(
        (
            random.choice(EDGES),
            old + random.choice((-2, -1, 1, 2, 31, 32)),
            old * random.choice((2, 10, 256)),
            size + random.randint(-40, 40),
            2**64 - random.randint(1, 40),
            random.getrandbits(random.choice((3, 8, 16, 32, 63, 64))),
        )
    )


def broken_gguf(random: Random, data: bytes) -> bytes:
    """A valid GGUF file with one to four of its numbers or bytes changed."""
    fields, header_end = gguf_fields(data)
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        if random.random() < 0.75:
            at, width = random.choice(fields)
            old = int.from_bytes(content[at : at + width], "little")
            new = broken_number(random, old, len(data)) % 2 ** (8 * width)
            content[at : at + width] = new.to_bytes(width, "little")
        else:
            broken_bytes(random, content, header_end)
    return bytes(content)


def broken_bytes(random: Random, content: bytearray, end: int) -> None:
    """Overwrite, insert, delete, repeat or cut somewhere before `end`, in place."""
    at = random.randint(0, max(0, min(end, len(content)) - 1))
    length = random.choice((1, 1, 2, 4, 8, 30, 200))
    match random.randint(0, 5):
        case 0:
            content[at : at + 1] = random.randbytes(1)
        case 1:
            content[at : at + length] = random.randbytes(length)
        case 2:
            content[at:at] = random.choice((bytes(length), b"\xff" * length, random.randbytes(length)))
        case 3:
            del content[at : at + length]
        case 4:
            content[at:at] = content[at : at + length] * random.choice((1, 2, 50))
        case 5:
            del content[at:]


def any_json(random: Random, depth: int = 0) -> Any:
    """A JSON value of any kind, ordinary or not."""
    kinds: list[Callable[[], Any]] = [
        lambda: random.choice(EDGES),
        lambda: -random.choice(EDGES),
        lambda: random.randint(-3, 300),
        lambda: 10 ** random.choice((18, 30, 400, 4299)),
        lambda: random.choice((0.0, 1.5, -1e308, 1e-300, float("nan"), float("inf"))),
        lambda: random.choice((True, False, None)),
        lambda: random.choice(
            ("", "1", "silu", "none", "\ud800", "\u202e\x1b[2J\n", "é" * 99, "x" * 9_000, "a/../b", "F32")
        ),
    ]
    if depth < 3:
        count = random.choice((0, 1, 2, 5, 40))
        kinds += [
            lambda: [any_json(random, depth + 1) for _ in range(count)],
            lambda: {str(any_json(random, 3))[:40]: any_json(random, depth + 1) for _ in range(count)},
            lambda: [random.choice((0, 1, "x", None))] * random.choice((10, 100, 30_000)),
            lambda: _nested(random.choice((10, 100, 900, 20_000))),
        ]
    return random.choice(kinds)()


class Nested:
    """A list in a list in a list; written as text, as json.dumps would not go as deep."""

    def __init__(self, depth: int) -> None:
        self.depth = depth


def _nested(depth: int) -> Nested:
    return Nested(depth)


def dumps(value: Any) -> bytes:
    """JSON of a value that may hold Nested lists and lone surrogates."""
    found: list[Nested] = []

    def default(item: object) -> str:
        assert isinstance(item, Nested)
        found.append(item)
        return f"nested {len(found) - 1} nested"

    text = json.dumps(value, default=default)
    for number, item in enumerate(found):
        text = text.replace(f'"nested {number} nested"', "[" * item.depth + "]" * item.depth)
    return text.encode()


def broken_object(random: Random, value: dict[str, Any], other_keys: Sequence[str]) -> dict[str, Any]:
    """A copy of a JSON object with one to four of its keys changed, removed, added or exchanged."""
    new = dict(value)
    for _ in range(random.randint(1, 4)):
        key = random.choice([*new, *new, random.choice(other_keys)]) if new else random.choice(other_keys)
        match random.randint(0, 4):
            case 0:
                new.pop(key, None)
            case 1:
                new[key] = any_json(random)
            case 2 if _countable(new.get(key)):
                new[key] = broken_number(random, new[key], 10_000)
            case 3 if new:
                new[key] = new[random.choice(list(new))]
            case _:
                new[random.choice(other_keys)] = any_json(random)
    return new


def _countable(value: object) -> bool:
    """Whether it is a number to compute with: not True, nor one of more digits than Python writes."""
    return type(value) is int and abs(value) < 2**64


def broken_text(random: Random, text: bytes, share: float = 0.2) -> bytes:
    """The bytes of a JSON text, in a share of the cases with raw bytes changed."""
    if random.random() >= share:
        return text
    content = bytearray(text)
    for _ in range(random.randint(1, 3)):
        broken_bytes(random, content, len(content))
    return bytes(content)


def broken_config(random: Random, configs: Sequence[dict[str, Any]], keys: Sequence[str]) -> bytes:
    """A config.json of one of these models, broken, sometimes said to be of another family."""
    config = broken_object(random, random.choice(configs), keys)
    if random.random() < 0.2:
        config["model_type"] = random.choice(configs).get("model_type")
    return broken_text(random, dumps(config))


def broken_safetensors(random: Random, data: bytes) -> bytes:
    """A valid .safetensors file with its header's objects, its length or raw bytes changed."""
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    name = random.choice(list(header))
    match random.randint(0, 3):
        case 0:
            header = broken_object(random, header, ["__metadata__", "x", *header])
        case 1 | 2 if isinstance(header[name], dict):
            entry = broken_object(random, header[name], ["dtype", "shape", "data_offsets", "x"])
            for key in ("shape", "data_offsets"):
                if random.random() < 0.4 and isinstance(entry.get(key), list) and entry[key]:
                    numbers = list(entry[key])
                    place = random.randrange(len(numbers))
                    if _countable(numbers[place]):
                        numbers[place] = broken_number(random, numbers[place], len(data))
                    entry[key] = numbers
            header = {**header, name: entry}
        case _:
            pass  # only bytes and lengths change
    text = broken_text(random, dumps(header), share=0.3)
    said = len(text)
    if random.random() < 0.2:
        said = broken_number(random, said, len(data)) % 2**64
    content = struct.pack("<Q", said) + text + data[8 + length :]
    return content[: random.randint(0, len(content))] if random.random() < 0.1 else content


def broken_index(random: Random, text: bytes) -> bytes:
    """A valid index of shards with names, files or bytes changed."""
    index: dict[str, Any] = json.loads(text)
    if random.random() < 0.7:
        files = sorted(set(index["weight_map"].values()))
        odd = [
            *files,
            "config.json",
            "../x.safetensors",
            "/x.safetensors",
            "x.safetensors",
            "",
            "a\0.safetensors",
        ]
        weight_map = dict(index["weight_map"])
        for _ in range(random.randint(1, 3)):
            name = random.choice(list(weight_map))
            match random.randint(0, 3):
                case 0:
                    weight_map[name] = random.choice(odd)
                case 1:
                    weight_map[name] = any_json(random)
                case 2:
                    del weight_map[name]
                case 3:
                    weight_map[str(any_json(random, 3))[:99]] = random.choice(odd)
        index["weight_map"] = weight_map
    else:
        index = broken_object(random, index, ["weight_map", "metadata", "x"])
    return broken_text(random, dumps(index), share=0.3)
