"""CSV whose header names the fields: every record with its raw lines, turned into JSON text.

A cell is text; of an event, where the contracts know a field as a number or a flag, a cell that is written like one
becomes one. An empty cell is an absent field.
"""

from __future__ import annotations

import csv
import functools
import io
import re
from codecs import BOM_UTF8
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wayfare.contracts import EVENT_TYPES, Kind
from wayfare.errors import DataError
from wayfare.landing.lines import MAX_RUN_BYTES, NOT_UTF8, Fault, Lines, repeated, too_long
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

csv.field_size_limit(MAX_LINE)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.0+)?")


class Typed(NamedTuple):
    """The names of columns whose cells are whole numbers, and of those whose cells are flags."""

    numbers: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()


AS_TEXT = Typed()
"""Every cell as it came, for a mapping to read."""


def read(stream: BinaryIO, source: str, rows: int) -> Iterator[Lines]:
    """Runs of at most `rows` records and about `MAX_RUN_BYTES`; blank lines are skipped.

    `line` is the first line of the record.

    Raises
    ------
    DataError
        The header is not UTF-8, holds NUL characters, or names a field twice or not at all; or its cells are not
        separated by commas.
    """
    records = Records(stream)
    try:
        _, raw_header, names = next(records)
    except StopIteration:
        return
    names = _checked_names(source, raw_header, names)
    yield from runs(records, source, raw_header.decode().rstrip("\r\n"), names, rows, typed=of_events())


def runs(records: Records, source: str, header: str, names: list[str], rows: int, *, typed: Typed) -> Iterator[Lines]:
    """The records after the header, in runs of at most `rows` and about `MAX_RUN_BYTES`."""
    run, size = list[tuple[int, bytes, list[str] | Fault]](), 0
    for record in records:
        run.append(record)
        size += 2 * len(record[1]) + len(header)  # every cell gets its name
        if len(run) == rows or size >= MAX_RUN_BYTES:
            yield _lines(run, source, header, names, typed)
            run, size = [], 0
    if run:
        yield _lines(run, source, header, names, typed)


def reread(raw: bytes, header: str, typed: Typed, delimiter: str = ",", escape: str = "") -> str | Fault:
    """The JSON text of one record kept from before, or why it has none."""
    names = next(csv.reader([header]))
    _, _, cells = next(Records(io.BytesIO(raw), delimiter, escape, begins=False))
    return _json(cells, names, typed)


def _checked_names(source: str, raw: bytes, names: list[str] | Fault) -> list[str]:
    if b"\0" in raw:
        raise DataError(f"{source}:1: the header holds NUL characters, as UTF-16 does; write the source in UTF-8")
    if isinstance(names, Fault):
        raise DataError(f"{source}:1: the header {names.message}")
    if mark := unseparated(names, ";\t|"):
        raise DataError(
            f"{source}:1: the header is one cell, {names[0][:60]!r}, whose names seem to be separated by {mark!r}: "
            f"separate them by commas, or use `wayfare import` with a mapping whose [file] says delimiter = {mark!r}"
        )
    if "" in names:
        raise DataError(f"{source}:1: column {names.index('') + 1} of the header has no name; name every column")
    if twice := repeated(names):
        raise DataError(
            f"{source}:1: the header names {twice[0]!r} {names.count(twice[0])} times; write each field once"
        )
    return names


def unseparated(names: list[str], marks: str) -> str | None:
    """The first of `marks` in a header of one cell: its names seem to be separated by it."""
    return next((mark for mark in marks if mark in names[0]), None) if len(names) == 1 else None


class Records:
    """Iterates (line, raw, cells or fault) over the records of a CSV.

    A record that never closes its quotes, or grows too long, is given up after its first line and reading goes on with
    the second: a stray quote costs its own line and not the rest of the file. No line is read more than twice: a later
    record that runs on into those lines is inside the same quotes, so it is known to fail where the first one failed.

    Where the stream `begins` a file, a byte order mark is no part of it. Inside quotes, what follows the character
    `escape` is taken as it is; without one, a quote there is doubled.
    """

    def __init__(self, stream: BinaryIO, delimiter: str = ",", escape: str = "", *, begins: bool = True) -> None:
        self._stream = stream
        self._delimiter = delimiter
        self._escape = escape
        self._again: deque[bytes] = deque()
        self._taken: list[bytes] = []
        self._line = 0
        self._first = begins
        self._doomed = 0
        """Line up to which a record that goes on past its first line is bound to fail, too."""
        self._doom = ""
        self._reader = csv.reader(self._texts(), strict=True, delimiter=self._delimiter)

    def skip(self, lines: int) -> None:
        """Pass over lines that are not records."""
        for _ in range(lines):
            self._next_line()
        self._line += lines

    def __iter__(self) -> Records:
        return self

    def __next__(self) -> tuple[int, bytes, list[str] | Fault]:
        while True:
            self._taken = []
            line = self._line + 1
            cells: list[str] | Fault
            try:
                cells = next(self._reader)
            except csv.Error as error:
                cells = self._give_up(line, str(error))
            raw = b"".join(self._taken)
            if isinstance(cells, Fault) or (cells and _is_utf8(raw)):
                return line, raw, cells
            if cells:
                return line, raw, NOT_UTF8

    def _give_up(self, line: int, error: str) -> Fault:
        if (last := line + len(self._taken) - 1) > self._doomed:
            self._doomed, self._doom = last, error
        self._again.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]
        self._line = line
        self._reader = csv.reader(self._texts(), strict=True, delimiter=self._delimiter)
        if len(self._taken[0]) > MAX_LINE:
            return too_long(line)
        if error.startswith("new-line character"):  # and goes on with advice to programmers
            error = "a carriage return stands alone outside quotes; end lines with a line feed"
        return Fault("bad_csv", f"is not CSV: {error}")

    def _texts(self) -> Iterator[str]:
        size, quoted = 0, False
        while True:
            if self._taken and self._line < self._doomed:
                raise csv.Error(self._doom)
            raw = self._next_line()
            if not raw:
                return
            if not self._taken:
                size, quoted = 0, False
            self._taken.append(raw)
            self._line += 1
            size += len(raw)
            if size > MAX_LINE:
                raise csv.Error("a quote is not closed within a line's greatest length")
            text = raw.decode("utf-8", "surrogateescape")
            if self._escape:
                text, quoted = _with_doubled_quotes(text, self._delimiter, self._escape, quoted=quoted)
            yield text

    def _next_line(self) -> bytes:
        if self._again:
            return self._again.popleft()
        raw = self._stream.readline(MAX_LINE + 1)
        if len(raw) > MAX_LINE and not raw.endswith(b"\n"):
            while (more := self._stream.readline(MAX_LINE)) and not more.endswith(b"\n"):
                pass
        if self._first:
            raw, self._first = raw.removeprefix(BOM_UTF8), False
        return raw


def _with_doubled_quotes(text: str, delimiter: str, escape: str, *, quoted: bool) -> tuple[str, bool]:
    r"""Text without escapes inside quotes, and whether it ends inside some; it begins there where it is `quoted`.

    The csv module's own escapes count outside of quotes, too, where Spark and MySQL write a plain `\` and `\N`.
    """
    pieces = re.split(rf'({re.escape(escape)}.|")', text, flags=re.DOTALL)
    for i in range(1, len(pieces), 2):
        if pieces[i] == '"':
            begins = not pieces[i - 1] or pieces[i - 1].endswith(delimiter)
            quoted = begins and not quoted
        elif quoted:
            pieces[i] = pieces[i][1:].replace('"', '""')
    return "".join(pieces), quoted


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


@functools.cache
def of_events() -> Typed:
    """What the contracts know as numbers and flags."""
    fields = [f for e in EVENT_TYPES.values() for f in e.fields]
    numbers = frozenset(f.name for f in fields if f.kind in {Kind.COUNT, Kind.MONEY})
    return Typed(numbers, frozenset(f.name for f in fields if f.kind is Kind.FLAG))


def _json(cells: list[str] | Fault, names: list[str], typed: Typed) -> str | Fault:
    if isinstance(cells, Fault):
        return cells
    if len(cells) != len(names):
        return Fault("wrong_columns", f"has {len(cells)} cells where the header names {len(names)}")
    event: dict[str, object] = {}
    for name, cell in zip(names, cells, strict=True):
        if not cell:
            continue
        if name in typed.numbers and _INTEGER.fullmatch(cell):
            event[name] = int(cell.partition(".")[0])  # pandas writes 2.0 where a column lacks a number
        elif name in typed.flags and cell.lower() in {"true", "false"}:
            event[name] = cell.lower() == "true"
        else:
            event[name] = cell
    return msgspec.json.encode(event).decode()


def _lines(
    run: list[tuple[int, bytes, list[str] | Fault]], source: str, header: str, names: list[str], typed: Typed
) -> Lines:
    return Lines.of(source, "csv", [(line, raw, _json(cells, names, typed)) for line, raw, cells in run], header)
