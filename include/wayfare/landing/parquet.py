"""Parquet whose columns are named after the fields: row by row as JSON text, so that one path types every format."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wayfare import duck
from wayfare.contracts import EVENT_TYPES, Kind
from wayfare.errors import DataError
from wayfare.landing.lines import MAX_LINE, MAX_RUN_BYTES, NOT_UTF8, Lines, repeated, too_long
from wayfare.landing.parquet_pages import Pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_STAND_INS = {0xDC00 + byte: 0x10DC00 + byte for byte in range(0x80, 0x100)}
"""Characters of nobody's, through the SQL, for what Python makes of bytes that are not UTF-8."""

_BYTES = {stand_in: byte for byte, stand_in in _STAND_INS.items()}

_ROWS = 100_000
_PIECE_ROWS = 2_048
"""Rows unpacked at a time, at most."""


def read(stream: BinaryIO, source: str, rows: int) -> Iterator[Lines]:
    """Runs of at most `rows` rows and about `MAX_RUN_BYTES`; `line` is the row's number, `raw` its JSON.

    Raises
    ------
    DataError
        The file is not Parquet, names a column twice, or has pages that are damaged or take too much memory.
    """
    try:
        file = pq.ParquetFile(stream)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{source}: is not Parquet: {error}") from error
    names = file.schema_arrow.names
    if twice := repeated(names):
        raise DataError(f"{source}: names the columns {', '.join(twice)} more than once; write each field once")
    line = 1
    with duck.connect(threads=1) as connection:
        for run in _runs(_batches(stream, file, source, rows), min(rows, _ROWS)):
            query = f"SELECT {_json(run.schema)} AS json FROM rows"  # noqa: S608  # names are literals
            broken = set[int]()
            columns = [_readable(_cut(column), broken) for column in run.columns]
            placed = pa.table(columns, [f"c{i}" for i in range(len(names))])  # SQL ignores a name's case
            yield _lines(duck.select(connection, query, rows=placed)["json"], source, line, broken)
            line += len(run)


def _batches(stream: BinaryIO, file: pq.ParquetFile, source: str, rows: int) -> Iterator[pa.RecordBatch]:
    pages = Pages(stream, file, source)
    for group in range(file.num_row_groups):
        size = pages.rows_at_a_time(group, min(rows, _PIECE_ROWS))
        yield from file.iter_batches(size, row_groups=[group], use_threads=False)  # of so few rows, threads cost time


def _runs(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    pieces, count, size = list[pa.RecordBatch](), 0, 0
    for batch in batches:
        for piece in _pieces(batch):
            if pieces and (count + len(piece) > rows or size + piece.nbytes > MAX_RUN_BYTES):
                yield pa.Table.from_batches(pieces).combine_chunks()
                pieces, count, size = [], 0, 0
            pieces.append(piece)
            count += len(piece)
            size += piece.nbytes
    if pieces:
        yield pa.Table.from_batches(pieces).combine_chunks()


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows with every cell written out, in pieces of about `MAX_RUN_BYTES`."""
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    plain = pa.record_batch(columns, batch.schema.names)
    step = len(plain) // (plain.nbytes // MAX_RUN_BYTES + 1) or 1
    for start in range(0, len(plain), step):
        yield plain.slice(start, step)


def _cut(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column; of a cell that is too long for a line only the beginning, which is too long as well."""
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not (is_text or _is_bytes(column.type)) or (pc.max(pc.binary_length(column)).as_py() or 0) <= MAX_LINE:
        return column
    beginnings = pc.binary_slice(column.cast(pa.large_binary()), 0, MAX_LINE)
    return beginnings.cast(pa.large_string(), safe=False) if is_text else beginnings


def _readable(column: pa.ChunkedArray, broken: set[int]) -> pa.ChunkedArray:
    """The column; where its texts are not UTF-8, with stand-ins for those bytes, and such rows added to `broken`."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        texts = list[str | None]()
        for i, raw in enumerate(column.cast(pa.large_binary()).to_pylist()):
            text = None if raw is None else raw.decode("utf-8", "surrogateescape")
            texts.append(text and text.translate(_STAND_INS))
            if text != texts[i]:
                broken.add(i)
        return pa.chunked_array([texts], pa.large_string())
    return column


def _lines(text: pa.ChunkedArray, source: str, first: int, broken: set[int]) -> Lines:
    raw, faults = text.cast(pa.binary()), dict.fromkeys(broken, NOT_UTF8)
    if broken:
        raws = raw.to_pylist()
        for i in broken:
            raws[i] = raws[i].decode().translate(_BYTES).encode("utf-8", "surrogateescape")
        raw = pa.array(raws, pa.binary())
    long = np.flatnonzero(pc.greater(pc.binary_length(raw), MAX_LINE).to_numpy(zero_copy_only=False))
    faults |= {i: too_long(first + i) for i in long.tolist()}
    faulty = np.isin(np.arange(len(text)), list(faults))
    table = pa.table(
        {
            "line": np.arange(first, first + len(text)),
            "raw": raw,
            "json": pc.if_else(faulty, None, text) if faults else text,
        }
    )
    return Lines(source, "parquet", table, faults)


def _json(schema: pa.Schema) -> str:
    """SQL of one row, whose cells are c0, c1, .., as a JSON object without its nulls."""
    members = [f"{_literal(json.dumps(f.name) + ':')} || {_value(f, f'c{i}')}" for i, f in enumerate(schema)]
    return f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'"


def _value(field: pa.Field, column: str) -> str:
    kinds = _kinds(field.name)
    if pa.types.is_timestamp(field.type):
        zone = "Z" if field.type.tz else ""
        return f"'\"' || strftime({column}, '%Y-%m-%dT%H:%M:%S.%f{zone}') || '\"'"
    if kinds == {Kind.UUID} and _is_bytes(field.type):
        return f"to_json(coalesce(CAST(TRY_CAST({column} AS UUID) AS VARCHAR), CAST({column} AS VARCHAR)))"
    if kinds and kinds <= {Kind.COUNT, Kind.MONEY} and pa.types.is_floating(field.type):
        return (
            f"CASE WHEN {column} = trunc({column}) AND abs({column}) <= {2**53} "
            f"THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) WHEN isfinite({column}) THEN to_json({column}) END"
        )
    if pa.types.is_decimal(field.type):
        return f"CAST({column} AS VARCHAR)"
    return f"to_json({_finite(column, field.type)})"


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _finite(value: str, kind: pa.DataType) -> str:
    """SQL of a value whose numbers are all numbers of JSON: what is none is null."""
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({value}) THEN {value} END"
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and (inner := _finite("x", kind.value_type)) != "x":
        return f"list_transform({value}, lambda x: {inner})"
    return value


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@functools.cache
def _kinds(name: str) -> set[Kind]:
    return {e.by_name[name].kind for e in EVENT_TYPES.values() if name in e.by_name}
