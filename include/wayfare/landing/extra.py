"""What the columnar path makes of fields that the contract does not know: the canonical JSON that `careful` makes.

Only of values about which there can be no doubt: text without an escape, whole numbers, decimal fractions that are
written as they are kept, true and false, and lists and objects without fractions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wayfare import duck
from wayfare.landing.careful import CANONICAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from wayfare.contracts import EventType

_MOST = 100
"""Names that lines are read by; where there are more, the names say something, and lines are read row by row."""

_LOOKED_AT = 256
_NAMES = "SELECT DISTINCT unnest(TRY(json_keys(line))) AS name FROM lines WHERE strlen(line) < 20_000"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}")
_AS_KEPT = r'^("[^\\]*"|-?[0-9]+|true|false)$'
_SKIMMED = msgspec.json.Decoder(msgspec.Raw)
_TEXTS = re.compile('"[^"]*"')
_IN_DOUBT = re.compile("[.eE][0-9+-]|[0-9]{19}")
_FRACTION = r"-?(?:0|[1-9][0-9]*)\.[0-9]{1,6}"
"""As Decimal writes it: of more places it would write some with an exponent."""


def names(connection: duckdb.DuckDBPyConnection, contract: EventType, lines: pa.Array) -> tuple[str, ...]:
    """Names in some of the `lines`, spread over all of them, that no field has; in order, and empty if there are many.

    A name that differs from another, or from a field's, by case alone is left out: to DuckDB it is the same.
    """
    some = lines.take(pa.array(np.unique(np.linspace(0, len(lines) - 1, _LOOKED_AT, dtype=np.int64))))
    found = duck.select(connection, _NAMES, lines=pa.table({"line": some}))
    unknown = {name for name in found["name"].to_pylist() if _NAME.fullmatch(name)} - {"event_type", *contract.by_name}
    if len(unknown) > _MOST:
        return ()
    folded = [name.lower() for name in (*unknown, "event_type", *contract.by_name)]
    return tuple(sorted(name for name in unknown if folded.count(name.lower()) == 1))


def values(name: str, read: pa.Array, lines: pa.Array) -> pa.Array:
    """The JSON of each line's value, from what DuckDB `read`; null where it is absent, null, or not beyond doubt."""
    kept = pc.if_else(pc.match_substring_regex(read, _AS_KEPT), read, None)
    if kept.null_count == read.null_count:
        return kept
    # DuckDB writes fractions anew: 1.50 as 1.5
    places = _places(read, r"^-?[0-9]+[.e]")
    pattern = rf'"{re.escape(name)}": ?(?P<written>{_FRACTION})[,}}\s]'
    written = pc.struct_field(pc.extract_regex(lines.take(places), pattern), 0)
    kept = _replaced(kept, places, written)
    places = _places(read, r"^[\[{]")
    nested = read.take(places).dictionary_encode()
    canonical = pa.array([_canonical(text) for text in nested.dictionary.to_pylist()], pa.string())
    is_json = pa.array([_is_json(line) for line in lines.take(places).to_pylist()], pa.bool_())
    return _replaced(kept, places, pc.if_else(is_json, canonical.take(nested.indices), None))


def _places(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.indices_nonzero(pc.match_substring_regex(texts, pattern))


def _replaced(column: pa.Array, places: pa.Array, by: pa.Array) -> pa.Array:
    mask = np.zeros(len(column), bool)
    mask[places.to_numpy()] = True
    return pc.replace_with_mask(column, pa.array(mask), by.cast(column.type))


def _canonical(text: str) -> str | None:
    """A list or object as DuckDB writes it, with sorted keys; None where it is not beyond doubt."""
    if "\\" in text or _IN_DOUBT.search(_TEXTS.sub("", text)):
        return None
    try:
        return CANONICAL.encode(msgspec.json.decode(text)).decode()
    except (msgspec.DecodeError, RecursionError):
        return None


def _is_json(line: str) -> bool:
    """Whether a line is: DuckDB lets NaN pass, and commas that nothing follows."""
    try:
        _SKIMMED.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def text(columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
    """`extra` of each row: an object of the values that are not null, by name; null where there are none."""
    if not columns:
        return pa.nulls(rows, pa.string())
    members = (pc.binary_join_element_wise(f',"{name}":', column, "") for name, column in columns.items())
    joined = pc.binary_join_element_wise(*(pc.fill_null(member, "") for member in members), "")
    objects = pc.binary_join_element_wise("{", pc.utf8_slice_codeunits(joined, 1), "}", "")
    return pc.if_else(pc.equal(joined, ""), None, objects)
