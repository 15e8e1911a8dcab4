"""Rows of somebody else's file, and their cells as columns of text."""

from __future__ import annotations

import codecs
import csv
import io
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from wayfare.errors import DataError
from wayfare.landing import csv_lines, jsonl, parquet, sources
from wayfare.landing.lines import NOT_UTF8, Fault, Lines, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    import duckdb

    from wayfare.landing.mapping.layout import Layout

_SAMPLE = 1_000
_DEEP = 500
"""Brackets in a row from which on it may be nested too deeply."""

_TEXTS = ("csv", "jsonl")
_ZIP = b"PK\x03\x04"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NOT_READABLE = Fault("not_utf8", 'is not UTF-8; say how it is encoded, like file.encoding = "cp1252"')
_TOO_DEEP = Fault("bad_json", "is nested too deeply; flatten it at its source and import it again")
_NO_OBJECT = Fault("bad_json", "is not a JSON object; correct it at its source and import it again")


def read(
    source: str, layout: Layout, rows: int, progress: Callable[[int], None] | None = None, *, spill: Path | None = None
) -> Iterator[Lines]:
    """The rows of a file in runs of at most `rows`, each with the names of its columns as `header` (a line of CSV).

    Raises
    ------
    DataError
        The file is missing, damaged or not of its format; its CSV header names a column twice; or it is not JSON Lines.
    """
    form = layout.format_of(source)
    reader = partial(_text, layout, form) if form in _TEXTS else partial(_parquet, layout)
    header = None
    for lines in sources.read(source, form, rows, progress, reader, spill=spill):
        header = lines.header or header or _header(layout.columns or _names(lines.table["json"], {}))
        if form == "jsonl" and not header:
            raise DataError(
                f"{source}: none of its first lines is a JSON object with names; write one object per line, as"
                " `jq -c '.[]'` makes of an array"
            )
        yield replace(lines, header=header)


def header_now(layout: Layout, kept: str) -> str:
    """The names of a refused row's columns as a line of CSV: as declared now, otherwise as `kept` with the row."""
    return _header(layout.columns) if layout.columns else kept


def reread_row(raw: bytes, header: str, form: str, layout: Layout) -> str | Fault:
    """The JSON text of a row kept from before, or why it has none."""
    encoding = (form in _TEXTS and layout.encoding) or "utf-8"
    text = _decoded(raw, "utf-8") or _decoded(raw, encoding)
    if text is None:
        return _NOT_READABLE
    if form == "csv":
        return csv_lines.reread(text.encode(), header, csv_lines.AS_TEXT, layout.delimiter, layout.escape)
    return text


def _decoded(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeError:
        return None


def cells(
    connection: duckdb.DuckDBPyConnection, lines: Lines, wanted: Iterable[int] | None = None
) -> tuple[pa.Table, dict[int, Fault]]:
    """Columns `line`, c0, c1, ..: the cells of each row that could be read; and the faults of all others, by line.

    `wanted` are the positions of the columns to read: rows may name thousands, and each costs time.
    """
    names = dict(enumerate(next(csv.reader([lines.header or ""]))))
    if wanted is not None:
        names = {i: names[i] for i in wanted}
    pointers, columns = _columns(names, nested=lines.format != "csv")
    connection.register("foreign_rows", lines.table.select(["line", "json"]))
    judged = "SELECT line, json, CASE WHEN json_valid(json) THEN json_type(json) END AS type FROM foreign_rows "
    connection.execute(f"CREATE OR REPLACE TEMP TABLE judged AS {judged} WHERE trim(json, ' \t\r\n') <> ''")
    connection.unregister("foreign_rows")
    wrong = connection.sql("SELECT line FROM judged WHERE type IS DISTINCT FROM 'OBJECT'").fetchall()
    deep = _too_deep(connection)
    found = "SELECT line, json_extract_string(json, $pointers) AS cells FROM judged "
    found += "WHERE type = 'OBJECT' AND line NOT IN (SELECT unnest($deep))"
    sql = f"SELECT {', '.join(['line', *columns])} FROM ({found})"  # noqa: S608 - generated names
    read = connection.sql(sql, params={"pointers": pointers, "deep": deep}).to_arrow_table()
    faults = {int(lines.table["line"][i].as_py()): fault for i, fault in lines.faults.items()}
    return read, faults | {line: _NO_OBJECT for (line,) in wrong} | dict.fromkeys(deep, _TOO_DEEP)


def _too_deep(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Lines of `judged` that are nested more deeply than Python follows: landing refuses events like that, too."""
    sql = "SELECT line, json FROM judged WHERE strlen(json) - strlen(replace(replace(json, '[', ''), '{', '')) > $deep"
    deep = []
    for line, text in connection.sql(sql, params={"deep": _DEEP}).fetchall():
        try:
            msgspec.json.decode(text)
        except RecursionError:
            deep.append(line)
        except msgspec.DecodeError:
            continue
    return deep


def _columns(names: Mapping[int, str], *, nested: bool) -> tuple[list[str], list[str]]:
    """JSON pointers to the cells of a row; and SQL of each c<n> from the list `cells` that these lead to."""
    pointers, columns = list[str](), list[str]()
    for i, name in names.items():
        found = _pointers(name, nested=nested)
        places = range(len(pointers) + 1, len(pointers) + len(found) + 1)
        columns.append(f"coalesce({', '.join(f'cells[{place}]' for place in places)}) AS c{i}")
        pointers += found
    return pointers, columns


def _pointers(name: str, *, nested: bool) -> list[str]:
    """Where the JSON of a row holds a column: under its very name, else, where that has a dot, inside an object."""
    own = "/" + name.replace("~", "~0").replace("/", "~1")
    return [own, own.replace(".", "/")] if nested and "." in name else [own]


def _parquet(layout: Layout, stream: BinaryIO, source: str, rows: int) -> Iterator[Lines]:
    header = ""
    for lines in parquet.read(stream, source, rows):
        header = header or _header(layout.columns or _names(lines.table["json"], parquet.names_of(stream)))
        yield replace(lines, header=header)


def _text(layout: Layout, form: str, stream: BinaryIO, source: str, rows: int) -> Iterator[Lines]:
    start = stream.peek(4)[:4]  # type: ignore[attr-defined]  # sources gives buffered readers
    if start == _ZIP:
        raise DataError(f"{source}: is a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV")
    encoding = layout.encoding or ("utf-16" if start[:2] in _UTF16 else None)
    if encoding:
        stream = io.BufferedReader(_Utf8(stream, encoding), 1 << 20)
    for lines in _csv(layout, stream, source, rows) if form == "csv" else jsonl.read(stream, source, rows):
        faults = {i: _advised(fault) for i, fault in lines.faults.items()}
        yield replace(lines, table=_as_it_came(lines, encoding), faults=faults)


def _as_it_came(lines: Lines, encoding: str | None) -> pa.Table:
    """The lines' table, with the original bytes of lines that do not decode, for another encoding to be declared."""
    if not lines.faults or encoding is None or codecs.lookup(encoding).name.startswith("utf"):
        return lines.table
    raws = lines.table["raw"].to_pylist()
    for i in lines.faults:
        if _decoded(raws[i], "utf-8") is None:
            with suppress(UnicodeError):  # of one that is too long, the end is cut anywhere
                raws[i] = raws[i].decode("utf-8", "surrogateescape").encode(encoding, "surrogateescape")
    return lines.table.set_column(lines.table.schema.get_field_index("raw"), "raw", pa.array(raws, pa.binary()))


def _csv(layout: Layout, stream: BinaryIO, source: str, rows: int) -> Iterator[Lines]:
    records = csv_lines.Records(stream, layout.delimiter, layout.escape)
    records.skip(layout.skip)
    names = list(layout.columns)
    if not names:
        _, raw, found = next(records, (0, b"", []))
        names = _tidy(source, raw, found)
    yield from csv_lines.runs(records, source, _header(names), names, rows, typed=csv_lines.AS_TEXT)


def _advised(fault: Fault) -> Fault:
    """A fault with what a mapping can do about it."""
    return _NOT_READABLE if fault is NOT_UTF8 else fault


def _tidy(source: str, raw: bytes, found: list[str] | Fault) -> list[str]:
    """Names of columns without blanks around them; one without a name is `column 3` by its place."""
    if b"\0" in raw:
        raise DataError(
            f'{source}: the header holds NUL characters; say how it is encoded: file.encoding = "utf-16-le"'
        )
    if isinstance(found, Fault):
        raise DataError(f"{source}: the header {_advised(found).message}")
    names = [name.strip() or f"column {i}" for i, name in enumerate(found, start=1)]
    if mark := csv_lines.unseparated(names, ";\t|,"):
        raise DataError(f"{source}: has one column, {names[0][:60]!r}; set file.delimiter = {mark!r}")
    if twice := repeated(names):
        raise DataError(
            f"{source}: the header names {', '.join(map(repr, twice))} more than once; name the columns by "
            "file.columns of the mapping, and skip the header with file.skip = 1"
        )
    return names


def _header(names: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(names)  # only what ends a line is quoted, so that the end is taken off later
    return line.getvalue().removesuffix("\r\n")


def _names(texts: pa.ChunkedArray, known: Mapping[str, Any]) -> list[str]:
    """The `known` names and those in the first rows of JSON; what is inside an object is named `guest.country`.

    Left out are names with a NUL character, since refused rows could not be kept with them, and names with a dot of
    their own in or around an object, which look like the names of what is inside objects.
    """
    names: dict[str, None] = {}

    def collect(value: Mapping[str, Any], prefix: str) -> None:
        for key, inner in value.items():
            if "\0" in key or ("." in key and (prefix or isinstance(inner, dict))):
                continue
            if isinstance(inner, dict):
                collect(inner, f"{prefix}{key}.")
            else:
                names[prefix + key] = None

    collect(known, "")
    for text in texts.slice(0, _SAMPLE).to_pylist():
        with suppress(msgspec.DecodeError, RecursionError):
            value = msgspec.json.decode(text or "{}")
            if isinstance(value, dict):
                collect(value, "")
    return list(names)


class _Utf8(io.RawIOBase):
    """A stream of text as UTF-8; a byte that its encoding does not have stays as it is."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io asks for any writable buffer
        if not self._rest:
            self._rest = self._text.read(1 << 18).encode("utf-8", "surrogateescape")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
