"""Rows in bulk and in Arrow: into a table of PostgreSQL, and out of a query.

Belongs here: what travels by COPY. Does not: what the rows mean.

By psycopg2 and not psycopg: its COPY writes to a file and reads from one, without a Python loop over rows.
"""

from __future__ import annotations

import binascii
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from pgpq import ArrowToPostgresBinaryEncoder
from pyarrow import csv

from wayfare.errors import ServiceError
from wayfare.staging.connections import PREAMBLE, arguments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

_ENCODED_ROWS = 1_024
"""Rows encoded at a time: the encoder keeps other threads from running Python meanwhile."""

_BLOCK = 1 << 23
"""Bytes of text parsed at a time; no row is longer: a line has at most a megabyte, and each byte may become seven."""

_PIPED = 1 << 18
_ESCAPED = {"\\b": "\b", "\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\v": "\v"}
_NUL = "\0"
_DASH = b"-"


def connect(url: str) -> Any:
    """A connection for bulk transfer (psycopg2), which works in UTC, in one transaction until `commit()`.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    try:
        connection = psycopg2.connect(**arguments(url))
        with connection, connection.cursor() as cursor:
            cursor.execute(PREAMBLE)
    except psycopg2.Error as error:
        raise ServiceError(f"PostgreSQL does not answer: {error}") from error
    return connection


def copy_in(cursor: Any, table: str, rows: pa.Table | pa.RecordBatchReader) -> None:
    """Append rows to a table, named as in SQL, by the names of their columns, whose types must be the table's.

    Raises
    ------
    psycopg2.Error
        PostgreSQL refused a row, or reading `rows` failed.
    """
    columns = ", ".join(f'"{name}"' for name in rows.schema.names)
    cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT binary)", _Encoded(rows))


class _Encoded:
    """A file of rows in PostgreSQL's binary COPY format, read piece by piece."""

    def __init__(self, rows: pa.Table | pa.RecordBatchReader) -> None:
        self._pieces = self._encode(rows)

    def read(self, _size: int) -> bytes:
        return next(self._pieces, b"")

    @staticmethod
    def _encode(rows: pa.Table | pa.RecordBatchReader) -> Iterator[bytes]:
        encoder = ArrowToPostgresBinaryEncoder(rows.schema)
        yield encoder.write_header()
        for batch in rows.to_reader() if isinstance(rows, pa.Table) else rows:
            for start in range(0, batch.num_rows, _ENCODED_ROWS):
                if piece := encoder.write_batch(batch.slice(start, _ENCODED_ROWS)):
                    yield piece
        yield encoder.finish()


@contextmanager
def copy_out(cursor: Any, query: str, schema: pa.Schema) -> Iterator[pa.RecordBatchReader]:
    """The rows of a query without parameters, a few megabytes at a time; its columns are those of `schema`, in order.

    They come as text: PostgreSQL writes it as fast as its binary format, and Arrow reads it faster. The cursor's
    connection is for nothing else until the end.

    Raises
    ------
    psycopg2.Error
        The query failed, while the rows are read.
    """
    reading, writing = os.pipe()

    def send() -> None:
        with open(writing, "wb", buffering=_PIPED) as pipe:  # noqa: PTH123  # a descriptor
            cursor.copy_expert(f"COPY ({query}) TO STDOUT", pipe)

    with ThreadPoolExecutor(1, "copy") as worker, open(reading, "rb", buffering=_PIPED) as pipe:  # noqa: PTH123
        yield pa.RecordBatchReader.from_batches(schema, _batches(pipe, worker.submit(send), schema))


def _batches(pipe: Any, sent: Future[None], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        for batch in _parsed(pipe, schema) if pipe.peek(1) else ():
            yield pa.record_batch(list(map(_typed, batch.columns, schema)), schema=schema)
    except pa.ArrowInvalid:
        pipe.close()  # or whoever sends waits for ever
        failure = sent.exception()
        if isinstance(failure, psycopg2.Error):  # the text broke off, and this says why
            raise failure from None
        raise
    sent.result()


def _parsed(pipe: Any, schema: pa.Schema) -> csv.CSVStreamingReader:
    """PostgreSQL's text format but for its backslashes: it breaks no line and no column within a value."""
    read_as = {f.name: pa.string() if _is_uuid(f.type) else f.type for f in schema}
    return csv.open_csv(
        pipe,
        csv.ReadOptions(column_names=schema.names, use_threads=False, block_size=_BLOCK),
        csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False, escape_char=False),
        csv.ConvertOptions(
            column_types=read_as, null_values=["\\N"], strings_can_be_null=True, true_values=["t"], false_values=["f"]
        ),
    )


def _typed(values: pa.Array, field: pa.Field) -> pa.Array:
    if _is_uuid(field.type):
        return _uuids(values).cast(field.type)
    return _unescaped(values) if pa.types.is_string(field.type) else values


def _is_uuid(kind: pa.DataType) -> bool:
    return kind in {pa.binary(16), pa.uuid()}


def _uuids(texts: pa.Array) -> pa.Array:
    present = texts.drop_null()
    data = binascii.unhexlify(_characters(present).translate(None, _DASH))
    found = pa.Array.from_buffers(pa.binary(16), len(present), [None, pa.py_buffer(data)])
    if len(present) == len(texts):
        return found
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    return found.take(pa.array(np.cumsum(valid) - 1, mask=~valid))


def _unescaped(texts: pa.Array) -> pa.Array:
    if b"\\" not in _characters(texts):
        return texts
    texts = pc.replace_substring(texts, "\\\\", _NUL)  # which no text of PostgreSQL holds
    for escaped, character in _ESCAPED.items():
        texts = pc.replace_substring(texts, escaped, character)
    return pc.replace_substring(texts, _NUL, "\\")


def _characters(texts: pa.Array) -> bytes:
    """All characters, one text after the other."""
    _, offsets, data = texts.buffers()
    if not data:
        return b""
    ends = np.frombuffer(offsets, np.int32)[texts.offset :]
    return bytes(data[ends[0] : ends[len(texts)]])
