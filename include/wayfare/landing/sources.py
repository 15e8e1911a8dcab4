"""Where lines come from: a file or standard input, plain, gzip or Zstandard, in one of three formats."""

from __future__ import annotations

import errno
import gzip
import io
import shutil
import sys
import tempfile
import zlib
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from wayfare.errors import DataError, ServiceError
from wayfare.landing import csv_lines, jsonl, parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from wayfare.landing.lines import Lines

    Reader = Callable[[BinaryIO, str, int], Iterator[Lines]]

STDIN = "-"
FORMATS = {"jsonl": jsonl.read, "csv": csv_lines.read, "parquet": parquet.read}
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_COMPRESSED = {".gz", ".zst"}
_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_ZSTD = {b"\x28\xb5\x2f\xfd", *(bytes([byte]) + b"\x2a\x4d\x18" for byte in range(0x50, 0x60))}
"""How Zstandard begins; the latter is a frame to be skipped, which pzstd writes before every other."""


class _Counted(io.RawIOBase):
    """A stream that reports to `progress`, where there is one, how many bytes were read of it."""

    def __init__(self, stream: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self._stream = stream
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io asks for any writable buffer
        size = self._stream.readinto(buffer)  # type: ignore[attr-defined]  # every binary stream of io has it
        if self._progress:
            self._progress(size)
        return int(size)


def format_of(source: str, chosen: str | None) -> str:
    """The format of a source: the chosen one, otherwise by its suffix; standard input is JSON Lines.

    Raises
    ------
    DataError
        Neither says which.
    """
    form = chosen or ("jsonl" if source == STDIN else by_suffix(source))
    if form is None:
        raise DataError(f"{source}: no suffix says its format; pass --format {', '.join(FORMATS)}")
    return form


def by_suffix(source: str) -> str | None:
    """The format that a source's suffix says, that of compression aside."""
    suffixes = [s.lower() for s in Path(source).suffixes if s.lower() not in _COMPRESSED]
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def require(source: str) -> None:
    """Let a source pass that can be read.

    Raises
    ------
    DataError
        It is not there, or not a file.
    """
    if source == STDIN:
        if sys.stdin is None:
            raise DataError("-: standard input is closed; give it a file or a pipe")
    elif not Path(source).exists():
        raise DataError(f"{source}: no such file")
    elif not Path(source).is_file():
        raise DataError(
            f"{source} is not a file; name the files of a folder one by one, and pipe the output of a device into -"
        )


def read(
    source: str,
    chosen: str | None,
    rows: int,
    progress: Callable[[int], None] | None = None,
    reader: Reader | None = None,
    *,
    spill: Path | None = None,
) -> Iterator[Lines]:
    """The lines of a source in runs of at most `rows`, read by `reader` where its format's own will not do.

    What cannot be read as it comes is unpacked to `spill`, or without one to the system's folder for temporary files.

    Raises
    ------
    DataError
        The source cannot be opened, is damaged, or is not of its format.
    ServiceError
        There is no room to unpack it to.
    """
    form = format_of(source, chosen)
    name = "stdin" if source == STDIN else str(Path(source).resolve())
    name = name.encode("utf-8", "replace").decode()
    try:
        with _open(source, progress) as stream, _seekable(stream, form, name, spill) as readable:
            yield from (reader or FORMATS[form])(readable, name, rows)
    except (OSError, EOFError, zlib.error, pa.ArrowException, duckdb.Error, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:  # of what is read, nothing is at fault
            place = spill or tempfile.gettempdir()
            raise ServiceError(f"{source}: there is no room left in {place} to unpack it to; land it again") from error
        raise DataError(
            f"{source}: {error}; what was read before this point is landed: fix the file and land it again"
        ) from error


@contextmanager
def _open(source: str, progress: Callable[[int], None] | None) -> Iterator[BinaryIO]:
    with nullcontext(sys.stdin.buffer) if source == STDIN else Path(source).open("rb") as file:
        counted = io.BufferedReader(_Counted(file, progress), 1 << 20)
        start = counted.peek(4)[:4]
        if start.startswith(_GZIP):
            yield io.BufferedReader(gzip.GzipFile(fileobj=counted), 1 << 20)
        elif start in _ZSTD:
            yield io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(counted, "r"), "zstd"), 1 << 20)
        else:
            yield counted


@contextmanager
def _seekable(stream: BinaryIO, form: str, name: str, spill: Path | None) -> Iterator[BinaryIO]:
    """The stream itself; for Parquet, which is read from its end, a temporary file of it."""
    if form != "parquet":
        yield stream
        return
    start = stream.read(len(_PARQUET))
    if start != _PARQUET:  # asked before it is unpacked, to whatever size
        raise DataError(f"{name}: is not Parquet: it does not begin with {_PARQUET.decode()}")
    with tempfile.TemporaryFile(dir=spill) as spooled:
        spooled.write(start)
        shutil.copyfileobj(stream, spooled, 1 << 20)
        spooled.seek(0)
        yield spooled
