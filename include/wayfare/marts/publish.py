"""Publishing a chunk: its days replaced (or revised) in the mart and accounted for, in one transaction.

A mart that stands gets what its declaration gained before that, and shows nothing there until rows are published.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg2

from wayfare import storage
from wayfare.analyses import registry
from wayfare.errors import DataError, ServiceError
from wayfare.marts import schema
from wayfare.marts.rows import Publication, Result, replace, revise
from wayfare.staging import bulk, locks

if TYPE_CHECKING:
    import datetime as dt
    from collections import Counter
    from collections.abc import Iterator

    from wayfare.analyses.api import BehaviorAnalysis
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


def publish(settings: Settings, chunk: Chunk, *, run_id: str) -> dict[str, object]:
    """Publish `result.parquet` of a chunk; all of it becomes visible at once, or none.

    A day that is published from a later batch than the chunk's is left as it is: a late run never takes a mart back in
    time. Publications of one analysis wait for each other. Publishing a chunk again changes nothing.

    Returns
    -------
    dict
        `mart`, `publication_id` (None if every day is published from a later one), `days`, `rows` and `left` (days left
        as they are).

    Raises
    ------
    DataError
        There is no result, or it has two rows for one key.
    DeclarationError
        The mart changed its shape without becoming a new version.
    ConfigurationError
        There is a table or view of its name which Wayfare did not make.
    ServiceError
        PostgreSQL did not answer or refused; a retry may help.
    """
    started = time.monotonic()
    analysis = registry.get(chunk.analysis)
    path = chunk.result(settings.storage)
    if not storage.exists(path):
        raise DataError(f"{path} is missing: run the analyze step of chunk {chunk.key} of {chunk.analysis} again")
    with _transaction(settings, chunk) as cursor:
        _forget_lost(cursor, analysis)
        standing = _standing(cursor, chunk)
        later = {day for day, (through, _) in standing.items() if through > chunk.through_batch}
        days = [day for day in chunk.days if day not in later]
        outcome = {"mart": f"marts.{analysis.relation}", "days": len(days), "left": len(later)}
        if not days:
            return {**outcome, "publication_id": None, "rows": 0}
        schema.create_table(cursor, analysis)
        schema.create_views(cursor, analysis, settings.currency)
        publication = Publication(_next_id(cursor), analysis.relation, analysis.mart, days)
        result = Result(path, publication)
        # Late events change few of a mart's rows; a changed analysis may change each, and then comparing costs more.
        if all(fingerprint == chunk.fingerprint for _, fingerprint in standing.values()):
            revise(settings, cursor, publication, result)
        else:
            replace(cursor, publication, result)
        if result.twin:
            raise DataError(f"{chunk.analysis}, chunk {chunk.key}: the result has two rows for one key: {result.twin}")
        _account(cursor, publication, chunk, result.rows)
        _record(cursor, publication, chunk, run_id=run_id, rows=result.rows.total(), seconds=time.monotonic() - started)
        schema.summarize(cursor, analysis)
    return {**outcome, "publication_id": publication.id, "rows": result.rows.total()}


@contextmanager
def _transaction(settings: Settings, chunk: Chunk) -> Iterator[Any]:
    """A transaction, committed at the end, undone by any exception; until then no other of its analysis begins."""
    try:
        with closing(bulk.connect(settings.url("pipeline"))) as connection, connection.cursor() as cursor:
            keys = locks.of_analysis(cursor, locks.MART_LOCK, chunk.analysis)
            locks.take(cursor, *keys)
            # both hold for the session: a change of the mart's shape is committed before its rows
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", keys)
            cursor.execute("SET lock_timeout = %s", (locks.LOCK_TIMEOUT,))
            yield cursor
            connection.commit()
    except (psycopg2.IntegrityError, psycopg2.DataError) as error:
        raise DataError(f"{chunk.analysis}, chunk {chunk.key}: a row does not fit its mart: {error}") from error
    except (psycopg2.Error, duckdb.Error) as error:
        raise ServiceError(f"{chunk.analysis}, chunk {chunk.key}: publishing failed: {error}") from error


def _next_id(cursor: Any) -> int:
    cursor.execute("SELECT nextval(pg_get_serial_sequence('control.publication', 'publication_id'))")
    return int(cursor.fetchone()[0])


def _forget_lost(cursor: Any, analysis: BehaviorAnalysis) -> None:
    """Where the mart's table is gone, none of its days is published: the new table begins without them."""
    cursor.execute(
        "DELETE FROM control.published_day WHERE analysis = %s AND to_regclass(%s) IS NULL",
        (analysis.name, f"marts.{analysis.relation}"),
    )


def _standing(cursor: Any, chunk: Chunk) -> dict[dt.date, tuple[int, str]]:
    """The batch and the fingerprint that each published day of the chunk stands on."""
    cursor.execute(
        "SELECT output_on, through_batch, fingerprint FROM control.published_day "
        "WHERE analysis = %s AND output_on = ANY(%s)",
        (chunk.analysis, list(chunk.days)),
    )
    return {day: (through, fingerprint) for day, through, fingerprint in cursor.fetchall()}


def _account(cursor: Any, publication: Publication, chunk: Chunk, rows: Counter[dt.date]) -> None:
    """Every day of the publication, empty ones too, now stands on it."""
    cursor.execute(
        """
        INSERT INTO control.published_day (analysis, output_on, publication_id, through_batch, fingerprint, rows)
        SELECT %s, day, %s, %s, %s, rows FROM unnest(%s, %s::bigint[]) AS _ (day, rows)
        ON CONFLICT (analysis, output_on) DO UPDATE SET publication_id = excluded.publication_id,
          through_batch = excluded.through_batch, fingerprint = excluded.fingerprint, rows = excluded.rows
        """,
        (
            chunk.analysis,
            publication.id,
            chunk.through_batch,
            chunk.fingerprint,
            publication.days,
            [rows[day] for day in publication.days],
        ),
    )


def _record(cursor: Any, publication: Publication, chunk: Chunk, *, run_id: str, rows: int, seconds: float) -> None:
    cursor.execute(
        """
        INSERT INTO control.publication (publication_id, analysis, output_from, output_to, through_batch, fingerprint,
          rows, seconds, run_id, published_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
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
