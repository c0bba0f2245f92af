"""Models by name: the catalogue data/architectures.toml, every row with its source.

One row is parsed when it is asked for: a start reads one model, not all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sizer.architecture import Architecture
from sizer.errors import UnknownName, shown
from sizer.families.hf_config import architecture_from_config

_CATALOGUE = Path(__file__).parent / "data" / "architectures.toml"

# All other keys are the config; `null_keys` are those that config.json has as null.
# `part_of` names the vision or audio model whose text decoder a row is.
_ABOUT = ("name", "aliases", "null_keys", "part_of", "params_published", "params_source", "source")
_TABLE = "[[model]]\n"


class CatalogueModel(NamedTuple):
    """A known model: its config keys and architecture, published parameter count if there is one, sources.

    `part_of` is the vision or audio model whose text decoder this is, None for a model that is whole.
    """

    architecture: Architecture
    config: Mapping[str, Any]
    params_published: int | None
    params_source: str | None
    source: str
    part_of: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the assumption that only the text decoder of a larger model is sized, if that is so."""
        if self.part_of is None:
            return ()
        others = "vision and audio encoders and their projector are not part of it (--mmproj adds a file)"
        return (f"the text decoder of {self.part_of}: {others}",)


class Catalogue(Mapping[str, CatalogueModel]):
    """All known models by name, each read from its table when it is first asked for."""

    def __init__(self, text: str) -> None:
        tables = text.split(_TABLE)[1:]
        self._tables = {_quoted(table, "name"): table for table in tables}
        self._rows: dict[str, CatalogueModel] = {}

    def __getitem__(self, name: str) -> CatalogueModel:
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = _row(_parse(self._tables[name]))
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __contains__(self, name: object) -> bool:
        return name in self._tables

    def aliases(self) -> Mapping[str, str]:
        """Return the model's name by each further name that its row lists."""
        return {
            alias: name
            for name, table in self._tables.items()
            if "\naliases = " in table
            for alias in _parse(table)["aliases"]
        }


def _parse(table: str) -> dict[str, Any]:
    # loaded when a model is asked for: an estimate by --params or a shape needs none
    import tomllib

    return tomllib.loads(table)


def _quoted(table: str, key: str) -> str:
    """Return the text of a key that opens a table."""
    start = f'{key} = "'
    assert table.startswith(start), f"every table of the catalogue opens with its {key}"
    return table[len(start) : table.index('"', len(start))]


def _row(row: Mapping[str, Any]) -> CatalogueModel:
    config = {key: value for key, value in row.items() if key not in _ABOUT}
    config |= dict.fromkeys(row.get("null_keys", ()))
    return CatalogueModel(
        architecture=architecture_from_config(config, row["name"]),
        config=config,
        params_published=row.get("params_published"),
        params_source=row.get("params_source"),
        source=row["source"],
        part_of=row.get("part_of"),
    )


@cache
def models() -> Catalogue:
    """Return all catalogue models by name."""
    return Catalogue(_CATALOGUE.read_text(encoding="utf-8"))


def model(name: str, kind: str = "model") -> CatalogueModel:
    """Return the catalogue model that a name means; UnknownName, worded for `kind`, if none or several do.

    A name as the catalogue has it is found without regard to case and publisher; others by `model_names`.
    """
    catalogue = models()
    wanted = name.strip().rsplit("/", 1)[-1].lower()
    for known in catalogue:
        if known.lower() == wanted:
            return catalogue[known]
    from sizer.model_names import find, require_published

    meant, found = find(name, catalogue, catalogue.aliases())
    if meant is not None:
        return catalogue[meant]
    if found:
        raise UnknownName(f"model: {shown(name)} may be {', '.join(found)}; accepted: one of these")
    _require_reader(name)
    require_published(name)
    raise UnknownName.of(kind, name, catalogue, all_of=f"{len(catalogue)} models (sizer models lists them)")


def _require_reader(name: str) -> None:
    """Raise UnknownName with the count of a model whose family has no reader here."""
    from sizer.unread_models import unread_model

    unread = unread_model(name)
    if unread is not None:
        kind = f"{unread.note}; " if unread.note else ""
        raise UnknownName(
            f"model: {unread.name}: {kind}its layers (model_type {unread.config['model_type']}) have no "
            f"reader here, it has {unread.parameters:,} parameters; accepted: with transformers installed, "
            "`sizer estimate` counts it by parts"
        )
