"""The columnar path: DuckDB reads, in bulk, the lines about which there can be no doubt.

It accepts only JSON objects of fields, each once, whose values have their field's type, and of plain values that no
field is for (see `extra`); whatever else there is it leaves to `careful`, which knows why. What both accept they give
the same values.

The values that DuckDB reads do not tell what else a line holds, or that one of them was of another type. Quotation
marks do: each value read accounts for the two of its key and for those of its own. A line with more of them holds
something else.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wayfare import duck
from wayfare.contracts import EventType, Kind
from wayfare.landing import extra
from wayfare.landing.careful import typed_schema
from wayfare.landing.columns import AS_WRITTEN, QUOTE, matching, offsets_of, typed_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    import numpy.typing as npt

FEW = 200
"""Lines of one event type that are read row by row sooner than they are typed in columns."""

_EVENT_TYPE = r'"event_type": ?"(?P<name>[a-z_]+)"'
_BEGIN = 32
"""Bytes in which a line that begins with its event type names it."""

_BEFORE_END = np.isin(np.arange(256), list(b", \t\r\n"))


def typed(
    connection: duckdb.DuckDBPyConnection, texts: pa.ChunkedArray, contracts: Sequence[EventType]
) -> Iterator[tuple[EventType, pa.Table]]:
    """Events of the JSON `texts` that are beyond doubt: `ordinal` and the contract's Arrow schema."""
    names = pa.chunked_array([_names(chunk) for chunk in texts.chunks], pa.string()).combine_chunks()
    encoded = names.dictionary_encode()
    code_of = {name: code for code, name in enumerate(encoded.dictionary.to_pylist())}
    codes = encoded.indices.fill_null(-1).to_numpy()
    for contract in contracts:
        mask = codes == code_of.get(contract.type, len(code_of))
        ordinals = pa.array(np.flatnonzero(mask))
        if len(ordinals) > FEW:
            yield contract, _events(connection, contract, texts.filter(pa.array(mask)).combine_chunks(), ordinals)


def _names(texts: pa.Array) -> pa.Array:
    """The event type of each line, as far as it is seen at a glance; null where the line does not end as an event."""
    begins = pc.binary_slice(texts.cast(pa.binary()), 0, _BEGIN).dictionary_encode()  # few are different
    names = _named(begins.dictionary, r"^\{" + _EVENT_TYPE).cast(pa.string()).take(begins.indices)
    if names.null_count:
        names = pc.coalesce(names, _named(texts, _EVENT_TYPE))
    closed = _closed(texts)
    return names if closed.all() else pc.if_else(pa.array(closed), names, None)


def _named(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.struct_field(pc.extract_regex(texts, pattern), 0)  # where nothing matches, `field` has an empty text


def _closed(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which lines end in a value and a brace: DuckDB takes a comma between them, which is not JSON."""
    offsets, data = offsets_of(texts), np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    starts, ends = offsets[:-1], offsets[1:].copy()
    if not len(data):
        return np.zeros(len(texts), bool)
    for end in b"\n\r":
        ends -= (ends > starts) & (data[ends - 1] == end)
    closed: npt.NDArray[np.bool_] = ends - starts > 1
    closed[closed] = (data[ends[closed] - 1] == ord("}")) & ~_BEFORE_END[data[ends[closed] - 2]]
    return closed


def _events(
    connection: duckdb.DuckDBPyConnection, contract: EventType, lines: pa.Array, ordinals: pa.Array
) -> pa.Table:
    """The lines that are events, typed."""
    unknown = extra.names(connection, contract, lines)
    read = duck.select(connection, _statement(contract, unknown), lines=pa.table({"line": lines})).combine_chunks()
    values = _values(connection, contract, read)
    others = {name: extra.values(name, read[name].chunk(0), lines) for name in unknown}
    good = _accounted(connection, lines, values, others)
    for name in ("event_type", *(f.name for f in contract.fields if f.required)):
        if values[name].null_count:
            good &= values[name].is_valid().to_numpy(zero_copy_only=False)
    columns = [values[f.name] if f.default is None else values[f.name].fill_null(f.default) for f in contract.fields]
    table = pa.table([ordinals, *columns, extra.text(others, len(lines))], schema=typed_schema(contract))
    return table if good.all() else table.filter(pa.array(good))


def _values(connection: duckdb.DuckDBPyConnection, contract: EventType, read: pa.Table) -> dict[str, pa.Array]:
    """`event_type` and each field of the contract, typed; null where it is absent, null, or not of its type."""
    values = {"event_type": matching(contract.type, read["event_type"].chunk(0))}
    for field in contract.fields:
        column = read[field.name].chunk(0)
        if field.name == "schema_version":
            values[field.name] = matching(f"{contract.major}-[0-9]{{1,9}}-[0-9]{{1,9}}", column)
        else:
            values[field.name] = typed_values(connection, field, column)
    return values


@functools.lru_cache
def _statement(contract: EventType, unknown: tuple[str, ...]) -> str:
    """SQL of what is typed: one row per line, in order as DuckDB keeps it; all null where that is not JSON."""
    kinds = {"event_type": Kind.CHOICE, **{f.name: f.kind for f in contract.fields}, "schema_version": Kind.CHOICE}
    read_as = {name: "JSON" if kind in AS_WRITTEN else "VARCHAR" for name, kind in kinds.items()}
    read_as |= dict.fromkeys(unknown, "JSON")
    return f"SELECT unnest(TRY(json_transform(line, {duck.literal(json.dumps(read_as))}))) FROM lines"  # noqa: S608  # a literal


def _accounted(
    connection: duckdb.DuckDBPyConnection,
    lines: pa.Array,
    values: dict[str, pa.Array],
    others: dict[str, pa.Array],
) -> npt.NDArray[np.bool_]:
    """Which lines hold nothing but the values and others: no line has fewer quotation marks than those account for."""
    offsets = offsets_of(lines)
    quotes = np.frombuffer(lines.buffers()[2], np.uint8)[offsets[0] : offsets[-1]] == QUOTE
    shares = {name: 4 if _quoted(column.type) else 2 for name, column in values.items()}
    of_others = [pc.add(pc.count_substring(column, '"'), 2) for column in others.values()]
    of_values = sum(shares[n] * (len(c) - c.null_count) for n, c in values.items())
    if np.count_nonzero(quotes) == of_values + sum(pc.sum(marks).as_py() or 0 for marks in of_others):
        return np.ones(len(lines), bool)
    left = np.add.reduceat(quotes, offsets[:-1] - offsets[0], dtype=np.int32)
    for name, column in values.items():
        left -= shares[name] * column.is_valid().to_numpy(zero_copy_only=False)
    for marks in of_others:
        left -= pc.fill_null(marks, 0).to_numpy(zero_copy_only=False)
    more, paths = np.flatnonzero(left), [f"$.{name}" for name, column in values.items() if column.null_count]
    found = duck.select(connection, _NULLS, {"paths": paths}, lines=pa.table({"line": lines.take(pa.array(more))}))
    left[more] -= 2 * np.asarray(found["nulls"])
    return np.equal(left, 0)


_NULLS = """
SELECT coalesce(len(list_filter(TRY(json_type(line, $paths)), lambda kind: kind = 'NULL')), 0) AS nulls FROM lines
"""


def _quoted(kind: pa.DataType) -> bool:
    return not (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
