"""Files of foreign rows, mapped and landed by the same path as events."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wayfare import duck
from wayfare.errors import DeclarationError
from wayfare.landing import sources
from wayfare.landing.decode import decoders
from wayfare.landing.files import stage_all
from wayfare.landing.lines import Fault, Lines
from wayfare.landing.mapping.declaration import Mapping, layout
from wayfare.landing.mapping.rows import cells, header_now, read, reread_row
from wayfare.staging.batches import Stager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wayfare.settings import Settings
    from wayfare.staging.incoming import Landed

FORMAT = "mapping:"
"""Format of a refused row: this and the mapping it is to be read by."""

_EVENTS_PER_ROW = 8


def import_files(
    settings: Settings, mapping: str, files: Sequence[str], *, progress: Callable[[int], None] | None = None
) -> Landed:
    """Land the events that a mapping makes of files (CSV, JSON Lines, Parquet; plain, .gz, .zst), each of them once.

    The counts are of events, and of rows that the mapping could not turn into events (rejected, none of theirs landed).

    Parameters
    ----------
    mapping
        A TOML file, or the name of a mapping that ships with Wayfare.
    progress
        Told the number of bytes of each read, compressed where the file is.

    Raises
    ------
    DeclarationError
        The mapping is wrong, or names columns that a file does not have; batches before that are staged.
    DataError
        A file is missing, damaged or not of its format; batches before that are staged.
    ServiceError
        PostgreSQL does not answer; import the same files again to continue.
    """
    with (
        decoders(settings) as decoding,
        mapped_runs(settings, mapping, files, progress) as runs,
        Stager(settings) as stager,
    ):
        return stage_all(stager, runs, decoding)


@contextmanager
def mapped_runs(
    settings: Settings, mapping: str, files: Sequence[str], progress: Callable[[int], None] | None
) -> Iterator[Iterator[Lines]]:
    """The lines of events that a mapping makes of files; what it raises is what `import_files` raises."""
    for source in files:
        sources.require(source)
    name = str(Path(mapping).resolve()) if Path(mapping).is_file() else mapping
    rows = max(1, settings.landing_rows // _EVENTS_PER_ROW)
    written = layout(name)
    with _mapper(settings, name) as mapped:
        spill = settings.spill_dir
        found = (lines for source in files for lines in read(source, written, rows, progress, spill=spill))
        yield (_of_its_file(mapped, lines) for lines in found)


def _of_its_file(mapped: Callable[[Lines], Lines], lines: Lines) -> Lines:
    """The lines mapped; an error of the mapping names the file, whose columns alone may cause it."""
    try:
        return mapped(lines)
    except DeclarationError as error:
        raise DeclarationError(f"{lines.source}: {error}") from error


def reread(settings: Settings, rows: Sequence[dict[str, Any]]) -> Iterator[Lines]:
    """Rows of `staging.rejection` that a mapping refused, mapped again; their line is the id of the rejection.

    Where the mapping itself is gone or wrong, its rows stay refused and say so.
    """

    def belongs(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["format"], row["header"], row["source"]

    for (form, header, source), group in groupby(sorted(rows, key=belongs), belongs):
        refused = list(group)
        name = form.removeprefix(FORMAT)
        try:
            written = layout(name)
            names, kind = header_now(written, header), written.format_of(source)
            texts = [reread_row(row["raw"], names, kind, written) for row in refused]
            with _mapper(settings, name) as mapped:
                lines = _replayed(refused, texts, kind, names, source)
                yield mapped(lines, {row["rejection_id"]: str(row["line"]) for row in refused})
        except DeclarationError as error:
            yield _replayed(refused, [Fault("mapping", str(error))] * len(refused), form, header, source)


def _replayed(
    refused: list[dict[str, Any]], texts: Sequence[str | Fault], form: str, header: str, source: str
) -> Lines:
    rows = [(row["rejection_id"], row["raw"], text) for row, text in zip(refused, texts, strict=True)]
    return Lines.of(source, form, rows, header)


@contextmanager
def _mapper(settings: Settings, mapping: str) -> Iterator[Callable[..., Lines]]:
    """A function from lines of rows to lines of events, which keep the row they came from as `raw`.

    For a replay it is also given the line that each row had in its file.
    """
    compiled: dict[str, Mapping] = {}
    with duck.spilling(settings, threads=1) as connection:

        def mapped(lines: Lines, at_line: dict[int, str] | None = None) -> Lines:
            header = lines.header or ""
            if header not in compiled:
                compiled[header] = Mapping(mapping, next(csv.reader([header])))
                compiled[header].prepare(connection)
            try:
                return replace(_events(compiled[header], connection, lines, at_line), format=f"{FORMAT}{mapping}")
            except (duckdb.BinderException, duckdb.OutOfMemoryException) as error:
                why = str(error).partition("\n")[0]
                raise DeclarationError(f"{mapping}: is nested too deeply or makes too much of a row: {why}") from error

        yield mapped


def _events(
    mapping: Mapping, connection: duckdb.DuckDBPyConnection, lines: Lines, at_line: dict[int, str] | None
) -> Lines:
    numbers, raw = lines.table["line"].combine_chunks(), lines.table["raw"]
    rows, faults = cells(connection, lines, mapping.columns)
    events, failed = mapping.apply(connection, _placed(lines, rows, at_line))
    faults |= failed
    if at_line is not None:
        events = _with_blanks(events, set(numbers.to_pylist()) - faults.keys())
    refused = pa.table({"line": pa.array(sorted(faults), pa.int64()), "json": pa.nulls(len(faults), pa.string())})
    table = pa.concat_tables([events, refused]).sort_by("line")
    order = np.argsort(numbers.to_numpy(), kind="stable")
    places = order[np.searchsorted(numbers.to_numpy()[order], table["line"].to_numpy())]
    # a dictionary, since a row may give many events and be large
    table = table.add_column(1, "raw", pa.DictionaryArray.from_arrays(pa.array(places), raw.combine_chunks()))
    empty = np.flatnonzero(pc.is_null(table["json"]).to_numpy()).tolist()
    return replace(lines, table=table, faults={i: faults[table["line"][i].as_py()] for i in empty})


def _with_blanks(events: pa.Table, rows: set[int]) -> pa.Table:
    """The events of a replay's rows; a row that no longer gives any becomes a blank line, which resolves it."""
    without = sorted(rows - set(events["line"].to_pylist()))
    blanks = {"line": pa.array(without, pa.int64()), "json": pa.repeat("", len(without))}
    return pa.concat_tables([events, pa.table(blanks)])


def _placed(lines: Lines, rows: pa.Table, at_line: dict[int, str] | None) -> pa.Table:
    """`rows` with the line, file and folder that each came from, which a replay keeps from the first time."""
    own = rows["line"]
    places = own.cast(pa.string()) if at_line is None else pa.array([at_line[n] for n in own.to_pylist()], pa.string())
    path = Path(lines.source)
    file, folder = path.name.removesuffix(".gz").removesuffix(".zst"), path.parent.name
    for name, text in (("at_file", file), ("at_folder", folder)):
        rows = rows.append_column(name, pa.repeat(text, len(rows)))
    return rows.append_column("at_line", places)
