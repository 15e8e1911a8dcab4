"""Writing the day files that are missing: a stream from PostgreSQL in Arrow, split by day into Parquet."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq

from wayfare import storage
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import ServiceError
from wayfare.snapshots import references
from wayfare.snapshots.dayfiles import DayFile, day_files, schema
from wayfare.staging import bulk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings

QUERY_EVENTS = 250_000
"""Events that one query reads, unless a single day has more: few enough for PostgreSQL to sort by day in memory."""

ROW_GROUP_ROWS = 122_880
"""Rows of a Parquet row group: what DuckDB hands to one thread."""

ROW_GROUP_BYTES = 1 << 26
"""Bytes in memory that end a row group earlier, where events carry much text."""

STREAMS = 2
"""Queries read at a time: one's rows are decoded while the other's are written. Each holds about 100 MB."""


def extract(settings: Settings, chunk: Chunk) -> dict[str, int]:
    """Write the day files that `chunk` reads and that do not exist yet.

    Memory is bounded by a few record batches and row groups, however many events a day has. Each file appears whole
    or not at all; killed and run again, it writes what is still missing.

    Returns
    -------
    dict
        `files_written`, `files_reused`, and `rows` written.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    files = day_files(settings, chunk)
    missing = [f for f in files if not storage.exists(f.url(settings.storage))]
    with ThreadPoolExecutor(STREAMS) as streams:
        parts = [streams.submit(_extract_part, settings, part) for part in _parts(missing)]
        try:
            rows = sum(part.result() for part in parts)
        except BaseException:
            streams.shutdown(cancel_futures=True)
            raise
    return {"files_written": len(missing), "files_reused": len(files) - len(missing), "rows": rows}


def _extract_part(settings: Settings, part: Sequence[DayFile]) -> int:
    """Write the files of one query; returns their rows."""
    file_of = {f.event_on: f for f in part}
    rows = 0
    try:
        with closing(bulk.connect(settings.url("pipeline"))) as connection, connection.cursor() as cursor:
            cursor.execute("SET work_mem = '128MB'")
            cursor.execute("SET enable_nestloop = off")  # see references.query
            with bulk.copy_out(cursor, _query(part), schema(EVENT_TYPES[part[0].event_type])) as batches:
                pieces = (piece for batch in batches for piece in _by_day(batch))
                for day, found in itertools.groupby(pieces, key=lambda piece: piece["event_on"][0].as_py()):
                    rows += _write(file_of.pop(day), settings.storage, found)
    except psycopg2.Error as error:
        raise ServiceError(f"PostgreSQL did not answer while day files were extracted: {error}") from error
    for file in file_of.values():
        _write(file, settings.storage, ())
    return rows


def _parts(missing: Iterable[DayFile]) -> Iterator[list[DayFile]]:
    """Day files of one type and successive days that one query reads together."""
    for _, files in itertools.groupby(missing, key=lambda f: f.event_type):
        part: list[DayFile] = []
        events = 0
        for file in files:
            if part and events + file.events > QUERY_EVENTS:
                yield part
                part, events = [], 0
            part.append(file)
            events += file.events
        yield part


def _query(part: Sequence[DayFile]) -> str:
    """SQL for the rows of some files of one type in the order of days.

    The last batch of all bounds each of them: an event of a later batch would have given its day a later file.
    """
    event_type = EVENT_TYPES[part[0].event_type]
    if event_type.refers:
        return references.query(event_type, part)
    return f"""
SELECT {", ".join(event_type.staged_schema.names)}
FROM staging.{event_type.name}
WHERE event_on IN ({", ".join(f"DATE '{f.event_on.isoformat()}'" for f in part)})
  AND batch_id <= {max(f.batch_id for f in part):d}
ORDER BY event_on
"""  # noqa: S608 - literals are dates and integers (COPY takes no parameters), identifiers come from the contracts


def _by_day(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The runs of one day of a batch ordered by day."""
    days = batch["event_on"].cast(pa.int32()).to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), batch.num_rows]
    for start, stop in itertools.pairwise(starts):
        if stop > start:
            yield batch.slice(start, stop - start)


def _write(file: DayFile, root: str, batches: Iterable[pa.RecordBatch]) -> int:
    """Write one day file; returns its rows."""
    url = file.url(root)
    columns = schema(EVENT_TYPES[file.event_type])
    rows = 0

    def fill(temporary: str) -> None:
        nonlocal rows
        fs, path = storage.filesystem(temporary)
        with pq.ParquetWriter(path, columns, filesystem=fs, **_options(columns)) as writer:
            for group in _row_groups(batches):
                writer.write_table(pa.Table.from_batches(group))
                rows += sum(batch.num_rows for batch in group)

    storage.write_atomic(url, fill, replace=False)
    return rows


@functools.cache
def _options(columns: pa.Schema) -> dict[str, Any]:
    """How to write Parquet: a third of the time of the defaults, which index what hardly repeats and compare texts.

    Names and codes repeat over a day; identifiers within a visit or booking at most, and there compression finds them.
    """
    repeating = [f.name for f in columns if f.type == pa.string() and not f.name.endswith("_id")]
    compared = [f.name for f in columns if f.type not in {pa.uuid(), pa.string()}]
    return {"compression": "zstd", "compression_level": 1, "use_dictionary": repeating, "write_statistics": compared}


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(b.num_rows for b in group) >= ROW_GROUP_ROWS or sum(b.nbytes for b in group) >= ROW_GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group
