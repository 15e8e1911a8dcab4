"""Parquet whose columns are named after the fields: row by row as JSON text, so that one path types every format."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wayfare import duck
from wayfare.contracts import EVENT_TYPES, Kind
from wayfare.errors import DataError
from wayfare.landing.lines import MAX_RUN_BYTES, NOT_UTF8, Lines, repeated, too_long
from wayfare.landing.parquet_pages import Pages
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_STAND_INS = {0xDC00 + byte: 0x10DC00 + byte for byte in range(0x80, 0x100)}
"""Private-use characters that stand for Python's surrogates, bytes that are not UTF-8, on their way through the SQL."""

_BYTES = {stand_in: byte for byte, stand_in in _STAND_INS.items()}

_INDEX = re.compile("__index_level_[0-9]+__")
"""Columns that pandas keeps a frame's row numbers in, which change with how it was filtered or sorted."""

_UTC = pa.timestamp("us", "UTC")
_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_ROWS = 100_000
_BESIDE = 8
"""Bytes of a value in JSON beside its name and what it takes in Arrow: quotes, colon, comma, a flag's letters."""

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
        file = pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")  # of nanoseconds, those after 2262 overflow
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{source}: is not Parquet: {error}") from error
    names = file.schema_arrow.names
    if twice := repeated(names):
        raise DataError(f"{source}: names the columns {', '.join(twice)} more than once; write each field once")
    line = 1
    with duck.connect(threads=1) as connection:
        for run in _runs(_batches(stream, file, source, rows), min(rows, _ROWS)):
            broken = set[int]()
            placed = _placed(run, broken)
            query = f"SELECT {_json(run.schema, placed.column_names)} AS json FROM rows"  # noqa: S608  # names are literals
            yield _lines(duck.select(connection, query, rows=placed)["json"], source, line, broken)
            line += len(run)


def names_of(stream: BinaryIO) -> dict[str, Any]:
    """The names of a file's columns; a struct's leads to those inside it, and any other to None."""

    def inside(kind: pa.DataType) -> dict[str, Any] | None:
        return {field.name: inside(field.type) for field in kind} if pa.types.is_struct(kind) else None

    schema = pq.ParquetFile(stream).schema_arrow
    return {field.name: inside(field.type) for field in schema if not _INDEX.fullmatch(field.name)}


def _batches(stream: BinaryIO, file: pq.ParquetFile, source: str, rows: int) -> Iterator[pa.RecordBatch]:
    pages, instants = Pages(stream, file, source), _int96(file)
    for group in range(file.num_row_groups):
        size = pages.rows_at_a_time(group, min(rows, _PIECE_ROWS))
        # of so few rows, threads cost time
        for batch in file.iter_batches(size, row_groups=[group], use_threads=False):
            columns = {n: c for n, c in zip(batch.schema.names, batch, strict=True) if not _INDEX.fullmatch(n)}
            yield pa.record_batch({n: c.cast(_UTC) if n in instants else c for n, c in columns.items()})


def _int96(file: pq.ParquetFile) -> set[str]:
    """Columns of INT96, which Spark and Hive write in UTC and without saying so."""
    columns = [file.schema.column(i) for i in range(file.metadata.num_columns)]
    return {column.path for column in columns if column.physical_type == "INT96"}


def _runs(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    pieces, count, size = list[pa.RecordBatch](), 0, 0
    for batch in batches:
        for piece in _pieces(batch):
            written = _written(piece)
            if pieces and (count + len(piece) > rows or size + written > MAX_RUN_BYTES):
                yield pa.Table.from_batches(pieces).combine_chunks()
                pieces, count, size = [], 0, 0
            pieces.append(piece)
            count += len(piece)
            size += written
    if pieces:
        yield pa.Table.from_batches(pieces).combine_chunks()


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows with every cell written out, in pieces of about `MAX_RUN_BYTES`."""
    plain = pa.record_batch(
        [_plain(*named) for named in zip(batch.schema.names, batch, strict=True)], batch.schema.names
    )
    step = len(plain) // (_written(plain) // MAX_RUN_BYTES + 1) or 1
    for start in range(0, len(plain), step):
        yield plain.slice(start, step)


def _written(rows: pa.RecordBatch) -> int:
    """About how many bytes the rows are as JSON, where every value has its name beside it."""

    def named(name: str, values: pa.Array) -> int:
        return int(len(values) - values.null_count) * (len(name) + _BESIDE) + inside(values)

    def inside(values: pa.Array) -> int:
        if pa.types.is_struct(values.type):
            return sum(named(field.name, part) for field, part in zip(values.type, values.flatten(), strict=True))
        return inside(values.flatten()) if _is_list(values.type) else 0

    return int(rows.nbytes) + sum(named(*column) for column in zip(rows.schema.names, rows, strict=True))


def _plain(name: str, column: pa.Array) -> pa.Array:
    """The column, of a type that all of what follows knows; bytes are text, as Impala and old Hive write it."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(name, column.dictionary_decode())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return column.cast(pa.large_binary() if _kinds(name) == {Kind.UUID} else pa.large_string(), safe=False)
    if pa.types.is_string_view(kind):
        return column.cast(pa.large_string(), safe=False)
    return column.cast(pa.float32()) if pa.types.is_float16(kind) else column


def _placed(run: pa.Table, broken: set[int]) -> pa.Table:
    """The cells as c0, c1, .., since SQL ignores a name's case; as n0, .. the numbers behind times out of SQL's range.

    The rows of cells that are not UTF-8 are added to `broken`.
    """
    columns = dict[str, pa.ChunkedArray]()
    for i, column in enumerate(run.columns):
        columns[f"c{i}"] = _readable(_cut(_listed(column)), broken)
        if within := _range(column.type):
            numbers = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64()).cast(pa.int64())
            is_time = pc.and_(pc.greater_equal(numbers, within[0]), pc.less_equal(numbers, within[1]))
            if pc.all(is_time).as_py() is False:
                columns[f"c{i}"] = pc.if_else(is_time, column, pa.scalar(0, column.type))
                columns[f"n{i}"] = pc.if_else(is_time, None, numbers)
    return pa.table(columns)


def _range(kind: pa.DataType) -> tuple[int, int] | None:
    """The first and last number of a kind of time (of days and instants: the years 1 to 9999); None of other kinds."""
    if pa.types.is_date32(kind):
        return -719_162, 2_932_896
    if not (pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind)):
        return None
    a_second, most = _A_SECOND[kind.unit], 2**63 - 1
    if pa.types.is_time(kind):
        return 0, 86_400 * a_second - 1
    if pa.types.is_timestamp(kind):
        return max(-62_135_596_800 * a_second, -most), min(253_402_300_800 * a_second - 1, most)
    longest = min(most // _A_SECOND["us"] * a_second, most)
    return -longest, longest


def _listed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column; where it is of maps, as lists of their entries, since SQL has no map that repeats a key."""
    if not pa.types.is_map(column.type):
        return column
    entry = {"key": column.type.key_type, "value": column.type.item_type}
    return column.cast(pa.list_(pa.struct(list(entry.items()))))


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


def _json(schema: pa.Schema, placed: list[str]) -> str:
    """SQL of one row, whose cells are `placed`, as a JSON object without its nulls."""
    members = list[str]()
    for i, field in enumerate(schema):
        value = _value(field, f"c{i}")
        value = f"coalesce(CAST(n{i} AS VARCHAR), {value})" if f"n{i}" in placed else value
        members.append(f"{duck.literal(json.dumps(field.name) + ':')} || {value}")
    return f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'"


def _value(field: pa.Field, column: str) -> str:
    kinds = _kinds(field.name)
    is_number = bool(kinds) and kinds <= {Kind.COUNT, Kind.MONEY}
    if pa.types.is_timestamp(field.type):
        zone = "Z" if field.type.tz else ""
        return f"'\"' || strftime({column}, '%Y-%m-%dT%H:%M:%S.%f{zone}') || '\"'"
    if kinds == {Kind.UUID} and _is_bytes(field.type):
        return f"to_json(coalesce(CAST(TRY_CAST({column} AS UUID) AS VARCHAR), CAST({column} AS VARCHAR)))"
    if is_number and pa.types.is_floating(field.type):
        return (
            f"CASE WHEN {column} = trunc({column}) AND abs({column}) <= {2**53} "
            f"THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) WHEN isfinite({column}) THEN to_json({column}) END"
        )
    if pa.types.is_decimal(field.type):
        return f"CAST({column} AS VARCHAR)"
    if pa.types.is_map(field.type):
        value = f"coalesce(to_json({_finite('e.value', field.type.item_type)}), 'null')"
        members = f"list_transform({column}, lambda e: to_json(CAST(e.key AS VARCHAR)) || ':' || {value})"
        return f"CASE WHEN {column} IS NOT NULL THEN '{{' || array_to_string({members}, ',') || '}}' END"
    return f"to_json({_finite(column, field.type)})"


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _finite(value: str, kind: pa.DataType) -> str:
    """SQL of a value in which numbers that JSON does not have are null.

    A struct stays as it is if SQL cannot tell its names apart.
    """
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({value}) THEN {value} END"
    if _is_list(kind) and (inner := _finite("x", kind.value_type)) != "x":
        return f"list_transform({value}, lambda x: {inner})"
    if pa.types.is_struct(kind) and "" not in kind.names and not repeated(name.lower() for name in kind.names):
        names = ['"' + name.replace('"', '""') + '"' for name in kind.names]
        finite = {name: _finite(f"{value}.{name}", field.type) for name, field in zip(names, kind, strict=True)}
        if any(made != f"{value}.{name}" for name, made in finite.items()):
            members = ", ".join(f"{name} := {made}" for name, made in finite.items())
            return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({members}) END"
    return value


@functools.cache
def _kinds(name: str) -> set[Kind]:
    return {e.by_name[name].kind for e in EVENT_TYPES.values() if name in e.by_name}
