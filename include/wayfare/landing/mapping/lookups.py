"""Lookups of a mapping: tables of its own, other files, and a few that are built in."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pycountry

from wayfare import duck
from wayfare.contracts import reference
from wayfare.errors import DataError, nearest
from wayfare.landing.mapping.layout import Layout
from wayfare.landing.mapping.rows import cells, read
from wayfare.landing.mapping.values import Mistake, present

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_ROWS = 20_000


@functools.cache
def _alpha3_to_alpha2() -> dict[str, str]:
    return {country.alpha_3: country.alpha_2 for country in pycountry.countries}


@functools.cache
def _name_to_alpha2() -> dict[str, str]:
    named = ("name", "official_name", "common_name")
    return {getattr(c, n): c.alpha_2 for c in pycountry.countries for n in named if hasattr(c, n)}


@functools.cache
def _place_to(column: str) -> dict[str, str]:
    table = reference.places()
    return dict(zip(table["place"].to_pylist(), table[column].to_pylist(), strict=True))


_BUILTIN: dict[str, Callable[[], dict[str, str]]] = {
    "iso3166_alpha3": _alpha3_to_alpha2,
    "iso3166_name": _name_to_alpha2,
    "iata_country": lambda: _place_to("country"),
    "iata_zone": lambda: _place_to("zone"),
}


@dataclass(frozen=True, slots=True)
class Lookup:
    """`table` has `key` and, for each of `columns`, value_0, value_1, ... (text)."""

    table: pa.Table
    columns: tuple[str, ...]


def lookup(spec: Any, folder: Path, absent: Sequence[str]) -> Lookup:
    """A `[lookups.NAME]`: `builtin`, `entries` or both (entries win), or the rows of a file beside the mapping.

    A cell of a file that is one of the texts `absent` is empty.
    """
    if isinstance(spec, dict) and "path" in spec:
        try:
            return _from_file(spec, folder, absent)
        except DataError as error:
            raise Mistake(str(error)) from None
    if not isinstance(spec, dict) or not spec.keys() <= {"builtin", "entries"} or not spec:
        raise Mistake('a lookup has `builtin = "..."`, `entries = {key = "value"}` or both; or `path` and `key`')
    pairs: dict[str, str] = {}
    if "builtin" in spec:
        builtin = str(spec["builtin"])
        if builtin not in _BUILTIN:
            raise Mistake(f"no built-in lookup is called {builtin!r}{nearest(builtin, _BUILTIN)}")
        pairs |= _BUILTIN[builtin]()
    entries = spec.get("entries", {})
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        raise Mistake("entries must map text to text")
    pairs |= entries
    table = {"key": pa.array(pairs.keys(), pa.string()), "value_0": pa.array(pairs.values(), pa.string())}
    return Lookup(pa.table(table), ("value",))


def _from_file(spec: dict[str, Any], folder: Path, absent: Sequence[str]) -> Lookup:
    layout = Layout.declared({name: value for name, value in spec.items() if name not in {"path", "key"}})
    path = folder / str(spec["path"])
    if not path.is_file():
        raise Mistake(f"path {str(path)!r} is not a file; a path is taken from the mapping's folder")
    tables, names = [], tuple[str, ...]()
    with duck.connect(threads=1) as connection:
        for lines in read(str(path), layout, _ROWS):
            names = tuple(next(csv.reader([lines.header or ""])))
            table, faults = cells(connection, lines)
            if faults:
                line = min(faults)
                raise Mistake(f"{path}:{line}: {faults[line].message}")
            tables.append(table)
        if not tables:
            raise Mistake(f"{path} has no rows")
        if spec.get("key") not in names:
            raise Mistake(f"key {spec.get('key')!r} is not a column of {path.name}{nearest(spec.get('key'), names)}")
        columns = ", ".join(f"{present(f'c{i}', absent)} AS value_{i}" for i in range(len(names)))
        key = f"value_{names.index(spec['key'])}"
        sql = f"SELECT DISTINCT {columns}, {key} AS key FROM found WHERE key IS NOT NULL"  # noqa: S608 - literals
        table = duck.select(connection, sql, found=pa.concat_tables(tables))
        several = "SELECT key FROM kept GROUP BY key HAVING count(*) > 1 LIMIT 1"
        twice = duck.select(connection, several, kept=table)["key"].to_pylist()
    if twice:
        raise Mistake(
            f"{path.name} has several rows for {spec['key']} {twice[0]!r}; a lookup needs one row for each key"
        )
    return Lookup(table, names)
