"""Files of foreign rows, mapped and landed by the same path as events."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wayfare import duck
from wayfare.errors import DataError, DeclarationError
from wayfare.landing import csv_lines, sources
from wayfare.landing.decode import decoders
from wayfare.landing.files import stage_all
from wayfare.landing.lines import Fault, Lines
from wayfare.landing.mapping import Mapping
from wayfare.staging.batches import Stager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb

    from wayfare.settings import Settings
    from wayfare.staging.incoming import Landed

FORMAT = "mapping:"
"""Format of a refused row: this and the mapping it is to be read by."""

_EVENTS_PER_ROW = 8


def import_files(
    settings: Settings, mapping: str, files: Sequence[str], *, progress: Callable[[int], None] | None = None
) -> Landed:
    """Land the events that a mapping makes of CSV files (plain, .gz or .zst); importing them again changes nothing.

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
        The mapping is wrong, or names columns that a file does not have.
    DataError
        A file is missing, damaged or no CSV; batches before that are staged.
    ServiceError
        PostgreSQL does not answer; import the same again to go on.
    """
    for source in files:
        if source != sources.STDIN and not Path(source).is_file():
            raise DataError(f"{source}: no such file")
    name = str(Path(mapping).resolve()) if Path(mapping).is_file() else mapping
    rows = max(1, settings.landing_rows // _EVENTS_PER_ROW)
    with decoders(settings) as decoding, Stager(settings) as stager, _mapper(name) as mapped:
        runs = (lines for source in files for lines in sources.read(source, "csv", rows, progress or (lambda _: None)))
        return stage_all(stager, map(mapped, runs), decoding)


def reread(rows: Sequence[dict[str, Any]]) -> Iterator[Lines]:
    """Rows of `staging.rejection` that a mapping refused, mapped again; their line is the id of the rejection.

    Where the mapping itself is gone or wrong, its rows stay refused and say so.
    """

    def belongs(row: dict[str, Any]) -> tuple[str, str]:
        return row["format"], row["header"]

    for (form, header), group in groupby(sorted(rows, key=belongs), belongs):
        refused = list(group)
        texts = [csv_lines.reread(row["raw"], header) for row in refused]
        table = pa.table(
            {
                "line": pa.array([row["rejection_id"] for row in refused], pa.int64()),
                "raw": pa.array([row["raw"] for row in refused], pa.binary()),
                "json": pa.array([text for text, _ in texts], pa.string()),
            }
        )
        faults = {i: fault for i, (_, fault) in enumerate(texts) if fault}
        lines = Lines("replay", "csv", table, faults, header)
        try:
            with _mapper(form.removeprefix(FORMAT)) as mapped:
                lines = mapped(lines)
        except DeclarationError as error:
            unread = table.set_column(2, "json", pa.nulls(len(table), pa.string()))
            lines = replace(lines, table=unread, faults=dict.fromkeys(range(len(table)), Fault("mapping", str(error))))
        yield lines


@contextmanager
def _mapper(mapping: str) -> Iterator[Callable[[Lines], Lines]]:
    """A function from lines of CSV to lines of events, which keep the row they came from as `raw`."""
    compiled: dict[str, Mapping] = {}
    with duck.connect(threads=1) as connection:

        def mapped(lines: Lines) -> Lines:
            header = lines.header or ""
            if header not in compiled:
                compiled[header] = Mapping(mapping, next(csv.reader([header])))
                compiled[header].prepare(connection)
            return _events(compiled[header], connection, replace(lines, format=f"{FORMAT}{mapping}"))

        yield mapped


def _events(mapping: Mapping, connection: duckdb.DuckDBPyConnection, lines: Lines) -> Lines:
    numbers, raw = lines.table["line"].combine_chunks(), lines.table["raw"]
    events, failures = mapping.apply(connection, _cells(connection, mapping.header, lines.table))
    faults = {int(numbers[i].as_py()): fault for i, fault in lines.faults.items()}
    faults |= {f.line: Fault(f.reason, f.message, f.field) for f in failures}
    refused = pa.table({"line": pa.array(sorted(faults), pa.int64()), "json": pa.nulls(len(faults), pa.string())})
    table = pa.concat_tables([events, refused]).sort_by("line")
    order = np.argsort(numbers.to_numpy(), kind="stable")
    places = order[np.searchsorted(numbers.to_numpy()[order], table["line"].to_numpy())]
    table = table.add_column(1, "raw", raw.take(pa.array(places)))
    empty = np.flatnonzero(pc.is_null(table["json"]).to_numpy()).tolist()
    return replace(lines, table=table, faults={i: faults[table["line"][i].as_py()] for i in empty})


def _cells(connection: duckdb.DuckDBPyConnection, header: Sequence[str], table: pa.Table) -> pa.Table:
    """Columns `line`, c0, c1, ..: the cells of each row that could be read, absent where empty."""
    pointers = ["/" + name.replace("~", "~0").replace("/", "~1") for name in header]
    columns = ", ".join(f"cells[{i + 1}] AS c{i}" for i in range(len(header)))
    connection.register("csv_rows", table.select(["line", "json"]))
    sql = f"SELECT line, {columns} FROM (SELECT line, json_extract_string(json, $pointers) AS cells FROM csv_rows "  # noqa: S608 - c<n>
    sql += "WHERE json IS NOT NULL)"
    return connection.sql(sql, params={"pointers": pointers}).to_arrow_table()
