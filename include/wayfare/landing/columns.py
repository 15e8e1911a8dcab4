"""What a column of one field's texts becomes: its values, null where one is not beyond doubt."""

from __future__ import annotations

import binascii
import contextlib
import datetime as dt
import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wayfare import duck
from wayfare.contracts import Field, Kind
from wayfare.contracts.model import CODES, MAX_ID, MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb
    import numpy.typing as npt

QUOTE = ord('"')

AS_WRITTEN = {Kind.ID, Kind.TEXT, Kind.COUNT, Kind.MONEY, Kind.FLAG}
"""Kinds whose values are read as JSON: as text, a number or a flag would look like a string."""

_DATE = "[12][0-9]{3}-[0-9]{2}-[0-9]{2}"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_INSTANT = rf"^20[0-9]{{2}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}:[0-5][0-9](\.[0-9]{{1,6}})?(Z|[+-]{_CLOCK})$"
_TO_SECOND = len("2026-03-01T10:00:00Z")

_NUL = r"\u0000"
_NO_UUID = "?" * 36
_DASHES = [8, 13, 18, 23]
_DIGITS = [i for i in range(36) if i not in _DASHES]
_NO_DIGIT = 16
_NIBBLE = np.full(256, _NO_DIGIT, np.uint8)
_NIBBLE[np.frombuffer(b"0123456789abcdef", np.uint8)] = range(16)
_NIBBLE[np.frombuffer(b"0123456789ABCDEF", np.uint8)] = range(16)


def typed_values(connection: duckdb.DuckDBPyConnection, field: Field, column: pa.Array) -> pa.Array:
    """The values of a field whose column is JSON where its kind is `AS_WRITTEN`, and text where not."""
    if column.null_count == len(column):
        return pa.nulls(len(column), field.arrow.type)
    return _TYPED[field.kind](field, _strings(connection, column) if field.kind in {Kind.ID, Kind.TEXT} else column)


def _strings(connection: duckdb.DuckDBPyConnection, written: pa.Array) -> pa.Array:
    """The strings among JSON values; null for the others."""
    valid = written.is_valid().to_numpy(zero_copy_only=False)
    offsets, (validity, _, data) = offsets_of(written), written.buffers()
    strings = np.frombuffer(data, np.uint8)[offsets[:-1][valid]] == QUOTE
    if not strings.all():
        valid[valid] = strings
        return _strings(connection, written.take(pa.array(np.arange(len(valid)), mask=~valid)))
    characters = bytes(data[: offsets[-1]])
    if b"\\" in characters:
        written = pc.if_else(pc.match_substring(written, _NUL), None, written)
        unquoted = "SELECT CAST(value AS JSON) ->> '$' AS value FROM written"
        return duck.select(connection, unquoted, written=pa.table({"value": written}))["value"].combine_chunks()
    offsets = offsets - 2 * np.concatenate([[0], np.cumsum(valid)]).astype(np.int32)
    plain = pa.py_buffer(characters.translate(None, b'"'))
    return pa.Array.from_buffers(pa.string(), len(written), [validity, pa.py_buffer(offsets), plain])


def offsets_of(texts: pa.Array) -> npt.NDArray[np.int32]:
    """Where each text begins in the characters of all, and where the last one ends."""
    return np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]


def _uuid(_: Field, texts: pa.Array) -> pa.Array:
    long = pc.fill_null(pc.equal(pc.binary_length(texts), 36), fill_value=False)
    if long.true_count < len(texts):
        texts = pc.if_else(long, texts, _NO_UUID)
    written = np.frombuffer(texts.buffers()[2], np.uint8)[: 36 * len(texts)].reshape(-1, 36)
    good = (written[:, _DASHES] == ord("-")).all(axis=1)
    data = _sixteens(written) if good.all() else None
    if data is None:
        nibbles = _NIBBLE[written.take(_DIGITS, axis=1)]
        good &= (nibbles < _NO_DIGIT).all(axis=1)
        data = ((nibbles[:, 0::2] << 4) | nibbles[:, 1::2]).tobytes()
    ids = pa.Array.from_buffers(pa.binary(16), len(texts), [None, pa.py_buffer(data)])
    return ids if good.all() else pc.if_else(pa.array(good), ids, None)


def _sixteens(written: npt.NDArray[np.uint8]) -> bytes | None:
    """The bytes of UUIDs whose dashes are in place; None where one of them has more dashes, or no hexadecimal digit."""
    try:
        data = binascii.unhexlify(written.tobytes().translate(None, b"-"))
    except binascii.Error:
        return None
    return data if len(data) == 16 * len(written) else None


def _sized(field: Field, texts: pa.Array) -> pa.Array:
    length = pc.binary_length(texts)
    least, most = (0, MAX_TEXT) if field.kind is Kind.TEXT else (1, MAX_ID)
    return _within(texts, length, least, most)


def _within(values: pa.Array, measure: pa.Array, least: int, most: int) -> pa.Array:
    ends = pc.min_max(measure)
    if ends["min"].as_py() is None or (ends["min"].as_py() >= least and ends["max"].as_py() <= most):
        return values
    return pc.if_else(pc.and_(pc.greater_equal(measure, least), pc.less_equal(measure, most)), values, None)


def matching(pattern: str, texts: pa.Array) -> pa.Array:
    """The texts that match as a whole."""
    matches = re.compile(pattern).fullmatch
    encoded = texts.dictionary_encode()
    good = [bool(matches(text)) for text in encoded.dictionary.to_pylist()]
    return texts if all(good) else pc.if_else(pa.array(good, pa.bool_()).take(encoded.indices), texts, None)


def _code(field: Field, texts: pa.Array) -> pa.Array:
    return matching(CODES.get(field.kind) or "|".join(map(re.escape, field.choices)), texts)


def _date(_: Field, texts: pa.Array) -> pa.Array:
    encoded = texts.dictionary_encode()
    dates = pa.array([_day(text) for text in encoded.dictionary.to_pylist()], pa.date32())
    return dates.take(encoded.indices)


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if re.fullmatch(_DATE, text) else None
    except ValueError:
        return None


def _instant(field: Field, texts: pa.Array) -> pa.Array:
    kind = pa.timestamp("us", "UTC")
    if _in_common_form(texts):
        with contextlib.suppress(pa.ArrowInvalid):  # one of them is not an instant: see which
            return texts.cast(kind)
    days = _date(field, pc.utf8_slice_codeunits(texts, 0, 10)).is_valid()
    return pc.if_else(pc.and_(pc.match_substring_regex(texts, _INSTANT), days), texts, None).cast(kind)


def _in_common_form(texts: pa.Array) -> bool:
    """Whether all are written so that what Arrow can read of them is what `_INSTANT` matches: in UTC, to the second."""
    offsets = offsets_of(texts)
    starts, ends = offsets[:-1], offsets[1:]
    length = ends - starts
    to_second = length == _TO_SECOND
    if texts.null_count or not (to_second | (length > _TO_SECOND + 1) & (length <= _TO_SECOND + 7)).all():
        return False
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    signs = ((starts, b"2"), (starts + 1, b"0"), (starts + 10, b"T"), (ends - 1, b"Z"), (starts[~to_second] + 19, b"."))
    return all((data[places] == ord(sign)).all() for places, sign in signs)


def _number(field: Field, written: pa.Array) -> pa.Array:
    try:
        values = written.cast(pa.int64())
    except pa.ArrowInvalid:
        whole = pc.match_substring_regex(written, "^-?[0-9]{1,18}$")
        values = pc.if_else(whole, written, None).cast(pa.int64())
    return _within(values, values, *field.bounds).cast(field.arrow.type)


def _flag(_: Field, written: pa.Array) -> pa.Array:
    encoded = written.dictionary_encode()
    flags = pa.array([_FLAGS.get(text) for text in encoded.dictionary.to_pylist()], pa.bool_())
    return flags.take(encoded.indices)


_FLAGS = {"true": True, "false": False}

_TYPED: dict[Kind, Callable[[Field, pa.Array], pa.Array]] = {
    Kind.UUID: _uuid,
    Kind.ID: _sized,
    Kind.TEXT: _sized,
    Kind.CHOICE: _code,
    Kind.INSTANT: _instant,
    Kind.DATE: _date,
    Kind.COUNT: _number,
    Kind.MONEY: _number,
    Kind.CURRENCY: _code,
    Kind.COUNTRY: _code,
    Kind.PLACE: _code,
    Kind.FLAG: _flag,
}
