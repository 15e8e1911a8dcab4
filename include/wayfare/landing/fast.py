"""The columnar path: Arrow's JSON reader types, in bulk, the lines about which there can be no doubt.

It accepts only flat JSON objects of known fields, each once, written in the plainest way; whatever else there is it
leaves to `careful`, which knows why. What both accept they give the same values.
"""

from __future__ import annotations

import binascii
import contextlib
import datetime as dt
import functools
import re
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from wayfare.contracts import EventType, Field, Kind
from wayfare.contracts.model import MAX_ID, MAX_TEXT
from wayfare.landing.careful import typed_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

FEW = 40
"""Lines of one event type that are read row by row sooner than they are typed in columns."""

_PIECE = 16_384
"""Lines that are read together, and left to `careful` together where that fails twice."""

_EVENT_TYPE = r'"event_type": ?"(?P<name>[a-z_]+)"'
_BEGIN = 32
"""Bytes in which a line that begins with its event type names it."""

_READ = {Kind.COUNT: pa.int32(), Kind.MONEY: pa.int64(), Kind.FLAG: pa.bool_()}

_DATE = "[12][0-9]{3}-[0-9]{2}-[0-9]{2}"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_INSTANT = rf"^20[0-9]{{2}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}:[0-5][0-9](\.[0-9]{{1,6}})?(Z|[+-]{_CLOCK})$"
_TO_SECOND = len("2026-03-01T10:00:00Z")
_CODES = {Kind.CURRENCY: "[A-Z]{3}", Kind.PLACE: "[A-Z]{3}", Kind.COUNTRY: "[A-Z]{2}"}

_NUL = r"\u0000"
_NO_UUID = "?" * 36
_DASHES = [8, 13, 18, 23]
_DIGITS = [i for i in range(36) if i not in _DASHES]
_NO_DIGIT = 16
_NIBBLE = np.full(256, _NO_DIGIT, np.uint8)
_NIBBLE[np.frombuffer(b"0123456789abcdef", np.uint8)] = range(16)
_NIBBLE[np.frombuffer(b"0123456789ABCDEF", np.uint8)] = range(16)


def typed(texts: pa.ChunkedArray, contracts: Sequence[EventType]) -> Iterator[tuple[EventType, pa.Table]]:
    """Events of the JSON `texts` that are beyond doubt: `ordinal` and the contract's Arrow schema."""
    names = pa.chunked_array([_names(chunk) for chunk in texts.chunks], pa.string()).combine_chunks()
    encoded = names.dictionary_encode()
    code_of = {name: code for code, name in enumerate(encoded.dictionary.to_pylist())}
    codes = encoded.indices.fill_null(-1).to_numpy()
    for contract in contracts:
        mask = codes == code_of.get(contract.name, len(code_of))
        ordinals = pa.array(np.flatnonzero(mask))
        if len(ordinals) > FEW:
            lines = texts.filter(pa.array(mask)).combine_chunks()
            starts = range(0, len(lines), _PIECE)
            pieces = [_piece(contract, lines.slice(s, _PIECE), ordinals.slice(s, _PIECE)) for s in starts]
            yield contract, pa.concat_tables(pieces)


def _names(texts: pa.Array) -> pa.Array:
    """The event type of each plain line, as far as it is seen at a glance; null for the others."""
    begins = pc.binary_slice(texts.cast(pa.binary()), 0, _BEGIN).dictionary_encode()  # few are different
    names = pc.extract_regex(begins.dictionary, r"^\{" + _EVENT_TYPE).field(0).cast(pa.string()).take(begins.indices)
    if names.null_count:
        names = pc.coalesce(names, pc.extract_regex(texts, _EVENT_TYPE).field(0))
    plain = _plain(texts)
    return names if plain.all() else pc.if_else(pa.array(plain), names, None)


def _plain(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which lines begin and end with the only braces in them, and hold no NUL.

    Arrow's reader takes documents as they come, several in a line or one in several lines, and crashes on a bare
    `null`. Where each line has one opening brace, its first byte, and one closing, its last, as many documents as lines
    are one document per line.
    """
    offsets = _offsets(texts)
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    if not len(data):
        return np.zeros(len(texts), bool)
    offsets = offsets - offsets[0]
    starts, ends = offsets[:-1], offsets[1:].copy()
    for end in b"\n\r":
        ends -= (ends > starts) & (data[ends - 1] == end)
    plain: npt.NDArray[np.bool_] = ends - starts > 1
    plain[plain] = (data[starts[plain]] == ord("{")) & (data[ends[plain] - 1] == ord("}"))
    for brace in b"{}":
        braces = data == brace
        if np.count_nonzero(braces) != len(texts):
            lines = np.searchsorted(offsets, np.flatnonzero(braces), "right") - 1
            plain &= np.bincount(lines, minlength=len(texts)) == 1
    if (data == ord("\\")).any():
        plain &= ~pc.match_substring(texts, _NUL).fill_null(True).to_numpy(zero_copy_only=False)
    return plain


def _piece(contract: EventType, lines: pa.Array, ordinals: pa.Array) -> pa.Table:
    """The lines that are events, typed; where Arrow's reader refuses them all, without those it may have meant."""
    read = _read(contract, lines)
    if read is None:
        fit = pa.array([_fits(contract, line) for line in lines.to_pylist()], pa.bool_())
        lines, ordinals = lines.filter(fit), ordinals.filter(fit)
        read = _read(contract, lines)
    if read is None:
        return typed_schema(contract).empty_table()
    version = contract.version.split("-")[0] + "-[0-9]+-[0-9]+"
    good = pc.and_(pc.equal(read["event_type"], contract.name), _matching(version, read["schema_version"])[1])
    good, columns = pc.fill_null(good, fill_value=False), [ordinals]
    for field in contract.fields:
        values = read[field.name]
        if values.null_count == len(values) and not field.required and field.default is None:
            columns.append(pa.nulls(len(values), field.arrow.type))
            continue
        values, mask = _TYPED[field.kind](field, values)
        columns.append(values)
        if mask.null_count or mask.false_count:
            good = pc.and_(good, pc.fill_null(mask, not field.required))
    table = pa.table([*columns, pa.nulls(len(lines), pa.string())], schema=typed_schema(contract))
    return table if good.false_count == 0 else table.filter(good)


def _read(contract: EventType, lines: pa.Array) -> pa.RecordBatch | None:
    """One row per line; None where one of them is no JSON of the contract's fields."""
    if not len(lines):
        return None
    offsets = _offsets(lines)
    size = int(offsets[-1] - offsets[0])
    try:
        table = arrow_json.read_json(
            pa.BufferReader(lines.buffers()[2].slice(int(offsets[0]), size)),
            arrow_json.ReadOptions(use_threads=False, block_size=size + 1),
            arrow_json.ParseOptions(explicit_schema=_read_schema(contract), unexpected_field_behavior="error"),
        )
    except pa.ArrowInvalid:
        return None
    return table.combine_chunks().to_batches()[0] if len(table) == len(lines) else None


def _offsets(texts: pa.Array) -> npt.NDArray[np.int32]:
    return np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]


@functools.cache
def _read_schema(contract: EventType) -> pa.Schema:
    fields = ((f.name, _READ.get(f.kind, pa.string())) for f in contract.fields)
    return pa.schema([("event_type", pa.string()), *fields])


def _fits(contract: EventType, line: str) -> bool:
    """Whether a line that was refused among others is not itself at fault; that a key comes twice is not seen."""
    try:
        msgspec.json.decode(line, type=_closed(contract))
    except (msgspec.ValidationError, msgspec.DecodeError):
        return False
    return True


@functools.cache
def _closed(contract: EventType) -> type[msgspec.Struct]:
    """The contract's struct, which no unknown field fits."""
    return msgspec.defstruct("Closed", [], bases=(contract.struct,), forbid_unknown_fields=True)


# Each of the following makes of a field and its column the typed values, and which of them are beyond doubt (null where
# there is none).


def _uuid(_: Field, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    long = pc.equal(pc.binary_length(texts), 36)
    if long.true_count < len(texts):
        texts = pc.if_else(pc.fill_null(long, fill_value=False), texts, _NO_UUID)
    written = np.frombuffer(texts.buffers()[2], np.uint8)[: 36 * len(texts)].reshape(-1, 36)
    good = (written[:, _DASHES] == ord("-")).all(axis=1)
    data = _sixteens(written) if good.all() else None
    if data is None:
        nibbles = _NIBBLE[written.take(_DIGITS, axis=1)]
        good &= (nibbles < _NO_DIGIT).all(axis=1)
        data = ((nibbles[:, 0::2] << 4) | nibbles[:, 1::2]).tobytes()
    return pa.Array.from_buffers(pa.binary(16), len(texts), [None, pa.py_buffer(data)]), pa.array(good)


def _sixteens(written: npt.NDArray[np.uint8]) -> bytes | None:
    """The bytes of UUIDs whose dashes are in place; None where one of them has more dashes, or no hexadecimal digit."""
    try:
        data = binascii.unhexlify(written.tobytes().translate(None, b"-"))
    except binascii.Error:
        return None
    return data if len(data) == 16 * len(written) else None


def _sized(field: Field, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    length = pc.binary_length(texts)
    if field.kind is Kind.TEXT:
        return texts, pc.less_equal(length, MAX_TEXT)
    return texts, pc.and_(pc.greater(length, 0), pc.less_equal(length, MAX_ID))


def _matching(pattern: str, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    matches = re.compile(pattern).fullmatch
    encoded = texts.dictionary_encode()
    good = pa.array([bool(matches(text)) for text in encoded.dictionary.to_pylist()], pa.bool_())
    return texts, good.take(encoded.indices)


def _code(field: Field, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    return _matching(_CODES.get(field.kind) or "|".join(map(re.escape, field.choices)), texts)


def _date(_: Field, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    encoded = texts.dictionary_encode()
    dates = pa.array([_day(text) for text in encoded.dictionary.to_pylist()], pa.date32())
    return dates.take(encoded.indices), dates.is_valid().take(encoded.indices)


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if re.fullmatch(_DATE, text) else None
    except ValueError:
        return None


def _instant(field: Field, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    kind = pa.timestamp("us", "UTC")
    if _in_common_form(texts):
        with contextlib.suppress(pa.ArrowInvalid):  # one of them is no instant: see which
            return texts.cast(kind), pa.repeat(True, len(texts))
    good = pc.and_(pc.match_substring_regex(texts, _INSTANT), _date(field, pc.utf8_slice_codeunits(texts, 0, 10))[1])
    return pc.if_else(good, texts, None).cast(kind), good


def _in_common_form(texts: pa.Array) -> bool:
    """Whether all are written so that what Arrow can read of them is what `_INSTANT` matches: in UTC, to the second."""
    offsets = _offsets(texts)
    starts, ends = offsets[:-1], offsets[1:]
    length = ends - starts
    to_second = length == _TO_SECOND
    if texts.null_count or not (to_second | (length > _TO_SECOND + 1) & (length <= _TO_SECOND + 7)).all():
        return False
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    signs = ((starts, b"2"), (starts + 1, b"0"), (starts + 10, b"T"), (ends - 1, b"Z"), (starts[~to_second] + 19, b"."))
    return all((data[places] == ord(sign)).all() for places, sign in signs)


def _number(field: Field, values: pa.Array) -> tuple[pa.Array, pa.Array]:
    least = -(2**53) if field.signed else 0
    most = 2**31 - 1 if field.kind is Kind.COUNT else 2**53
    return values, pc.and_(pc.greater_equal(values, least), pc.less_equal(values, most))


def _flag(field: Field, values: pa.Array) -> tuple[pa.Array, pa.Array]:
    return values if field.default is None else pc.fill_null(values, field.default), pc.equal(values, values)


_TYPED: dict[Kind, Callable[[Field, Any], tuple[Any, Any]]] = {
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
