"""Publishing a chunk: its days replaced (or revised) in the mart, accounted for and shown, in one transaction."""

from __future__ import annotations

import datetime as dt
import functools
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wayfare import storage
from wayfare.analyses import registry
from wayfare.errors import DataError, ServiceError
from wayfare.marts import schema
from wayfare.staging.database import connect_adbc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wayfare.analyses.api import Mart
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings

LOCK = 0x57415946
ROWS_AT_ONCE = 65_536
PATIENCE = "30s"
"""How long a change of a mart's shape waits for transactions that read it: whoever comes later waits behind it."""

_ARROW = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "double precision": pa.float64(),
    "text": pa.string(),
    "date": pa.date32(),
    "boolean": pa.bool_(),
    "timestamptz": pa.timestamp("us", "UTC"),
}


def publish(settings: Settings, chunk: Chunk, *, run_id: str) -> dict[str, object]:
    """Publish `result.parquet` of a chunk; all of it becomes visible at once, or none.

    A day that stands on a later batch than the chunk's is left as it is: a late run never takes a mart back in time.
    Publications of one analysis wait for each other. Publishing a chunk again changes nothing.

    Returns
    -------
    dict
        `mart`, `publication_id` (None if every day stands on a later batch), `days`, `rows` and `left` (days left
        as they are).

    Raises
    ------
    DataError
        There is no result, or it has two rows for one key.
    DeclarationError
        The mart changed its shape without becoming a new version.
    ServiceError
        PostgreSQL did not answer or refused; a retry may help.
    """
    started = time.monotonic()
    analysis = registry.get(chunk.analysis)
    path = f"{chunk.folder(settings.storage)}/result.parquet"
    if not storage.exists(path):
        raise DataError(f"{path} is missing: run the analyze step of chunk {chunk.key} of {chunk.analysis} again")
    with _transaction(settings, chunk) as cursor:
        later = _standing_on_later(cursor, chunk)
        days = [day for day in chunk.days if day not in later]
        outcome = {"mart": f"marts.{schema.relation(analysis)}", "days": len(days), "left": len(later)}
        if not days:
            return {**outcome, "publication_id": None, "rows": 0}
        schema.create_table(cursor, analysis)
        publication = _Publication(_next_id(cursor), schema.relation(analysis), analysis.mart, days)
        result = _Result(path, publication)
        (_revise if analysis.mart.vintage else _restate)(cursor, publication, result)
        if result.twin:
            raise DataError(f"{chunk.analysis}, chunk {chunk.key}: the result has two rows for one key: {result.twin}")
        schema.create_views(cursor, analysis)
        _account(cursor, publication, chunk, result.rows)
        _record(cursor, publication, chunk, run_id=run_id, rows=result.rows.total(), seconds=time.monotonic() - started)
    return {**outcome, "publication_id": publication.id, "rows": result.rows.total()}


@dataclass(frozen=True)
class _Publication:
    id: int
    name: str
    mart: Mart
    days: list[dt.date]

    @property
    def table(self) -> str:
        return f'marts."{self.name}"'


class _Result:
    """The rows of a result that belong to a publication's days, as a stream; a vintage's name the publication.

    Once it is read, `rows` has the number of rows per day, and `twin` a key that two rows have, if any: the stream
    ends there. No index finds it, because a unique one would cost as much again as everything else.
    """

    def __init__(self, path: str, publication: _Publication) -> None:
        self.rows: Counter[dt.date] = Counter()
        self.twin: dict[str, object] | None = None
        self._path, self._mart, self._id = path, publication.mart, publication.id
        self._days = pa.array(publication.days, pa.date32())
        self._stored = pa.schema([(n, _ARROW[c.type]) for n, c in self._mart.all_columns.items()])
        named = [pa.field("published_in", pa.int64())] if self._mart.vintage else []
        self._schema = pa.schema([*self._stored, *named])

    def stream(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        fs, path = storage.filesystem(self._path)
        grain = list(self._mart.grain)
        last_key = self._stored.empty_table().select(grain).to_batches()
        with fs.open(path) as file, pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=self._stored.names):
                kept = batch.filter(pc.is_in(batch[self._mart.day], self._days))
                kept = kept.select(self._stored.names).cast(self._stored)
                keys = pa.concat_batches([*last_key, kept.select(grain)])
                self.twin = _twin(keys)
                if self.twin:
                    return
                last_key = [keys.slice(max(0, keys.num_rows - 1))]
                for day in pc.value_counts(kept[self._mart.day]):
                    self.rows[day["values"].as_py()] += day["counts"].as_py()
                named = [pa.repeat(self._id, kept.num_rows)] if self._mart.vintage else []
                yield pa.record_batch([*kept.columns, *named], schema=self._schema)


def _twin(keys: pa.RecordBatch) -> dict[str, object] | None:
    """The first key that equals the one before it; keys come in order."""
    same = functools.reduce(pc.and_, (pc.equal(c.slice(1), c.slice(0, max(0, len(c) - 1))) for c in keys.columns))
    place = pc.index(same, True).as_py()
    twin: dict[str, object] | None = keys.slice(place, 1).to_pylist()[0] if place >= 0 else None
    return twin


@contextmanager
def _transaction(settings: Settings, chunk: Chunk) -> Iterator[adbc.Cursor]:
    """One transaction, the only one of its analysis; committed at the end, undone by any exception."""
    try:
        with connect_adbc(settings.url("pipeline")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_advisory_xact_lock($1::int, hashtext($2))", (LOCK, chunk.analysis))
            cursor.fetchall()
            cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
            yield cursor
            connection.commit()
    except adbc.IntegrityError as error:
        raise DataError(f"{chunk.analysis}, chunk {chunk.key}: a row does not fit its mart: {error}") from error
    except adbc.Error as error:
        raise ServiceError(f"{chunk.analysis}, chunk {chunk.key}: publishing was refused: {error}") from error


def _next_id(cursor: adbc.Cursor) -> int:
    cursor.execute("SELECT nextval(pg_get_serial_sequence('control.publication', 'publication_id'))")
    return int(cursor.fetchone()[0])


def _array(values: Iterable[object]) -> str:
    """A PostgreSQL array literal of dates or numbers, to be cast in the query."""
    return "{" + ",".join(map(str, values)) + "}"


def _standing_on_later(cursor: adbc.Cursor, chunk: Chunk) -> set[dt.date]:
    cursor.execute(
        "SELECT output_on FROM control.published_day "
        "WHERE analysis = $1 AND output_on = ANY($2::text::date[]) AND through_batch > $3",
        (chunk.analysis, _array(chunk.days), chunk.through_batch),
    )
    return {day for (day,) in cursor.fetchall()}


def _restate(cursor: adbc.Cursor, publication: _Publication, result: _Result) -> None:
    """Replace the days."""
    of_days, days = _within(f'"{publication.mart.day}"', publication.days)
    cursor.execute(f"DELETE FROM {publication.table} WHERE {of_days}", days)  # noqa: S608 - declared names
    cursor.adbc_ingest(publication.name, result.stream(), mode="append", db_schema_name="marts")


def _revise(cursor: adbc.Cursor, publication: _Publication, result: _Result) -> None:
    """Close the rows of the days that changed or vanished, and append the changed and new ones."""
    mart, table = publication.mart, publication.table
    names = schema.quoted([*mart.all_columns, "published_in"])
    same_key = f"({schema.quoted(mart.grain, 'old.')}) = ({schema.quoted(mart.grain, 'new.')})"
    old, new = schema.quoted(mart.all_columns, "old."), schema.quoted(mart.all_columns, "new.")
    same_row = f"({old}) IS NOT DISTINCT FROM ({new})"
    of_days, days = _within(f'old."{mart.day}"', publication.days)
    current = f"old.superseded_in IS NULL AND {of_days}"
    cursor.execute(f"SELECT EXISTS (SELECT FROM {table} AS old WHERE {current})", days)  # noqa: S608 - declared names
    if cursor.fetchone() == (False,):
        cursor.adbc_ingest(publication.name, result.stream(), mode="append", db_schema_name="marts")
        return
    cursor.execute(f"CREATE TEMPORARY TABLE revision ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0")  # noqa: S608 - declared names
    cursor.adbc_ingest("revision", result.stream(), mode="append", temporary=True)
    cursor.execute("ANALYZE pg_temp.revision")
    close = f"""
        UPDATE {table} AS old SET superseded_in = ${len(days) + 1}
        WHERE {current} AND NOT EXISTS (SELECT FROM pg_temp.revision AS new WHERE {same_key} AND {same_row})
    """  # noqa: S608 - declared names
    append = f"""
        INSERT INTO {table} ({names}) SELECT {names} FROM pg_temp.revision AS new
        WHERE NOT EXISTS (SELECT FROM {table} AS old WHERE {current} AND {same_key})
    """  # noqa: S608 - declared names
    cursor.execute(close, (*days, publication.id))
    cursor.execute(append, days)


def _within(column: str, days: list[dt.date]) -> tuple[str, tuple[dt.date, ...]]:
    """A condition that `column` is one of `days`, by ranges so that the planner knows their share; its parameters."""
    ends: list[dt.date] = []
    for day in days:
        if ends and day - ends[-1] == dt.timedelta(1):
            ends[-1] = day
        else:
            ends += [day, day]
    ranges = (f"{column} BETWEEN ${n} AND ${n + 1}" for n in range(1, len(ends), 2))
    return f"({' OR '.join(ranges)})", tuple(ends)


def _account(cursor: adbc.Cursor, publication: _Publication, chunk: Chunk, rows: Counter[dt.date]) -> None:
    """Every day of the publication, empty ones too, now stands on it."""
    cursor.execute(
        """
        INSERT INTO control.published_day (analysis, output_on, publication_id, through_batch, fingerprint, rows)
        SELECT $1, day, $2, $3, $4, rows FROM unnest($5::text::date[], $6::text::bigint[]) AS _ (day, rows)
        ON CONFLICT (analysis, output_on) DO UPDATE SET publication_id = excluded.publication_id,
          through_batch = excluded.through_batch, fingerprint = excluded.fingerprint, rows = excluded.rows
        """,
        (
            chunk.analysis,
            publication.id,
            chunk.through_batch,
            chunk.fingerprint,
            _array(publication.days),
            _array(rows[day] for day in publication.days),
        ),
    )


def _record(
    cursor: adbc.Cursor, publication: _Publication, chunk: Chunk, *, run_id: str, rows: int, seconds: float
) -> None:
    cursor.execute(
        """
        INSERT INTO control.publication (publication_id, analysis, output_from, output_to, through_batch, fingerprint,
          rows, seconds, run_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        (
            publication.id,
            chunk.analysis,
            publication.days[0],
            publication.days[-1],
            chunk.through_batch,
            chunk.fingerprint,
            rows,
            seconds,
            run_id,
        ),
    )
