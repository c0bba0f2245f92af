"""Read a search's configuration from TOML, from plain values and from stored studies."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.config.config import FIELDS, TABLES, SearchConfig
from search.config.fields import holds_several, read_value, values_before
from search.config.options import OPTIONS, values_of
from sizer.errors import InvalidFile, InvalidQuantity, UnknownName
from sizer.readers.regular_file import open_regular


def config_from_dict(values: Mapping[str, Any], where: str = "config") -> SearchConfig:
    """Read a SearchConfig from plain values, in tables or flat; an unknown key is an error.

    Keys are names of fields, or those of options of the command line: `layers = "4:48"`.
    """
    return SearchConfig.build(**field_values(values, where))


def field_values(values: Mapping[str, Any], where: str = "config") -> dict[str, Any]:
    """Return plain values by the names of fields, as fields hold them; keys may be names of options."""
    read: dict[str, Any] = {}
    for key, value in flat(values, where).items():
        if key not in FIELDS and key not in OPTIONS:
            raise UnknownName.of(f"key in {where}", key, FIELDS)
        # the text of a list, where field and option have one name
        is_text = key in FIELDS and key in OPTIONS and isinstance(value, str) and holds_several(FIELDS[key])
        if key not in FIELDS or is_text:
            for name, held in values_of(OPTIONS[key], value).items():
                if name in read or (name in values and not is_text):
                    raise InvalidQuantity(f"{key}: is given twice in {where}, by this name and as {name}")
                read[name] = held
            continue
        if key == "device" and isinstance(value, list) and value and "other_devices" not in values:
            value, read["other_devices"] = value[0], read_value(FIELDS["other_devices"], value[1:])
        read[key] = read_value(FIELDS[key], value)
    return read


def stored_config(values: Mapping[str, Any], where: str) -> SearchConfig:
    """Read the SearchConfig of a stored study; fields it does not have are as the search was without them."""
    return config_from_dict({**values_before(FIELDS.values()), **values}, where)


def flat(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return fields without their tables; one in another table than its own, or given twice, is an error."""
    table_of = {key: option.table for key, option in OPTIONS.items()}
    table_of |= {field: table for table, names in TABLES.items() for field in names}
    found = {key: value for key, value in values.items() if key not in TABLES}
    for table in TABLES:
        inside = values.get(table, {})
        if not isinstance(inside, Mapping):
            raise InvalidQuantity(f"{table}: must be a table of fields in {where}, got {inside!r}")
        for key, value in inside.items():
            if key not in table_of:
                raise UnknownName.of(f"key in [{table}] of {where}", key, TABLES[table])
            if table_of[key] != table:
                raise InvalidQuantity(f"{key}: belongs in [{table_of[key]}] of {where}, got it in [{table}]")
            if key in found:
                raise InvalidQuantity(f"{key}: is given twice in {where}, in [{table}] and outside of it")
            found[key] = value
    return found


MAX_TOML_BYTES = 2**20


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; InvalidFile names why it cannot be read."""
    with open_regular(path, "a TOML file", "config") as (stream, size):
        if size > MAX_TOML_BYTES:
            accepted = f"a TOML file of at most {MAX_TOML_BYTES:,} bytes"
            raise InvalidFile(f"config: {str(path)!r} has {size:,} bytes; accepted: {accepted}")
        data = stream.read(size)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidFile(f"config: {str(path)!r} is not UTF-8 text; accepted: a TOML file") from None
    except (RecursionError, ValueError) as error:  # TOMLDecodeError, or a number of too many digits
        raise InvalidFile(f"config: {str(path)!r} is not valid TOML: {str(error)[:200]}") from None
