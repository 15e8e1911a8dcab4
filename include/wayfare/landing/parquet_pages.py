"""How many rows of a Parquet file may be unpacked at a time, by what its pages say of themselves.

A page is unpacked whole, and a text that is kept once may be the cell of every row: neither follows from the sizes in
the file's footer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wayfare.errors import DataError
from wayfare.landing.lines import MAX_RUN_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

_MAX_PAGES = 256 << 20
"""Bytes that the largest pages of all columns may take, which are in memory at once."""

_SEARCHED = range(512, 64 << 20)
"""Bytes of the dictionaries that are searched for their longest text; of any other, all are taken for one text."""

_TEXT = "BYTE_ARRAY"
_BY_DICTIONARY = {2, 8}
_BY_THE_TEXT_BEFORE = 7
_LONGEST_VARINT = 10


@dataclass(frozen=True, slots=True)
class _Page:
    """`size` is in bytes, unpacked; `values` and `encoding` are None of a dictionary."""

    size: int
    values: int | None
    encoding: int | None


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A column's part of a row group.

    `ends` and `sizes` are how many values and bytes there are before each page, and in all; `cell` is the most bytes of
    a value that its page only points to; `per_row` is how many values a row has, on average where they are in lists.
    """

    ends: NDArray[np.int64]
    sizes: NDArray[np.int64]
    dictionary: int
    cell: int
    per_row: float

    def bytes(self, rows: int) -> int:
        """The most that so many consecutive rows may take, with the pages they are in."""
        values = math.ceil(rows * self.per_row)
        last = np.searchsorted(self.ends[1:], self.ends[1:] - 1 + values).clip(max=max(len(self.sizes) - 2, 0))
        pages = self.sizes[1:][last] - self.sizes[:-1]
        return self.dictionary + int(pages.max(initial=0)) + values * self.cell


class Pages:
    """The pages of `file`, read beside it from the same `stream`."""

    def __init__(self, stream: BinaryIO, file: pq.ParquetFile, source: str) -> None:
        self._stream = stream
        self._metadata = file.metadata
        self._source = source
        columns = [self._metadata.schema.column(i) for i in range(self._metadata.num_columns)]
        texts = [column.path for column in columns if column.physical_type == _TEXT]
        self._packed = pq.ParquetFile(
            stream,
            metadata=file.metadata,
            read_dictionary=texts,
            buffer_size=1 << 16,
            arrow_extensions_enabled=False,  # JSON is text, too
        )

    def rows_at_a_time(self, group: int, most: int) -> int:
        """How many rows of a row group, at most `most`, unpack to about `MAX_RUN_BYTES`, or to what its pages take.

        Raises
        ------
        DataError
            The pages alone take too much, or one is damaged.
        """
        leaves = [self._leaf(group, i) for i in range(self._metadata.num_columns)]
        least = sum(leaf.bytes(1) for leaf in leaves)
        if least > _MAX_PAGES:
            raise DataError(
                f"{self._source}: in row group {group} a single row takes {least:,} bytes to unpack, more than "
                f"{_MAX_PAGES:,}; write the file with smaller pages (a megabyte is usual) or smaller row groups"
            )
        rows = most
        while rows > 1 and sum(leaf.bytes(rows) for leaf in leaves) > max(MAX_RUN_BYTES, 2 * least):
            rows //= 2
        return rows

    def _leaf(self, group: int, index: int) -> _Leaf:
        whole, column = self._metadata.row_group(group), self._metadata.schema.column(index)
        chunk = whole.column(index)
        try:
            pages = list(_pages(self._stream, chunk))
        except (IndexError, KeyError, RecursionError, ValueError) as error:
            raise DataError(f"{self._source}: a page of column {chunk.path_in_schema} is damaged") from error
        data = [page for page in pages if page.values is not None]
        cell = max((page.size for page in data if page.encoding == _BY_THE_TEXT_BEFORE), default=0)
        dictionary = sum(page.size for page in pages if page.values is None)
        if dictionary and chunk.physical_type != _TEXT:
            cell = column.length
        elif dictionary:
            begins = dictionary in _SEARCHED and data and data[0].encoding in _BY_DICTIONARY
            cell = max(cell, self._longest(group, column, dictionary) if begins else dictionary)
        return _Leaf(
            np.cumsum([0, *(page.values for page in data)]),
            np.cumsum([0, *(page.size for page in data)]),
            dictionary,
            cell,
            chunk.num_values / max(whole.num_rows, 1) if column.max_repetition_level else 1,
        )

    def _longest(self, group: int, column: pq.ColumnSchema, size: int) -> int:
        """Bytes of the longest text of a dictionary, or its size where the first rows are without any."""
        rows = 512 if column.max_repetition_level else 1
        batches = self._packed.iter_batches(rows, row_groups=[group], columns=[column.path], use_threads=False)
        texts = next(batches).column(0)
        while not pa.types.is_dictionary(texts.type):
            texts = texts.field(0) if pa.types.is_struct(texts.type) else texts.values
        longest = pc.max(pc.binary_length(texts.dictionary)).as_py()
        return size if longest is None else int(longest)


def _pages(stream: BinaryIO, chunk: pq.ColumnChunkMetaData) -> Iterator[_Page]:
    """The pages of a column in a row group, by their headers (PageHeader of parquet.thrift)."""
    at, dictionary, left = chunk.data_page_offset, chunk.dictionary_page_offset, chunk.num_values
    if dictionary and dictionary < at:
        at = dictionary
    end = at + chunk.total_compressed_size
    while left > 0 and at < end:
        stream.seek(at)
        header = _struct(stream)
        page = _page(header)
        if min(page.size, header[3], page.values or 0) < 0:
            raise ValueError(header)
        yield page
        left -= page.values or 0
        at = stream.tell() + header[3]


def _page(header: dict[int, Any]) -> _Page:
    if 5 in header:
        return _Page(header[2], header[5][1], header[5][2])
    if 8 in header:
        return _Page(header[2], header[8][1], header[8][4])
    return _Page(header[2], None, None)


def _struct(stream: BinaryIO) -> dict[int, Any]:
    """A struct of Thrift's compact protocol: numbers and structs by the number of their field."""
    fields, number = dict[int, Any](), 0
    while head := stream.read(1)[0]:
        number = number + (head >> 4) if head >> 4 else _number(stream)
        fields[number] = _value(stream, head & 15)
    return fields


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind in {1, 2}:
        return kind == 1
    if kind in {4, 5, 6}:
        return _number(stream)
    if kind == 8:
        return stream.seek(_varint(stream), 1)
    if kind == 12:
        return _struct(stream)
    raise ValueError(kind)


def _number(stream: BinaryIO) -> int:
    varint = _varint(stream)
    return varint >> 1 ^ -(varint & 1)


def _varint(stream: BinaryIO) -> int:
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = stream.read(1)[0]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value
    raise ValueError(value)
