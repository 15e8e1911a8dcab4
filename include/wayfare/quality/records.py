"""What the gates leave in the database: every verdict, and every event set aside."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from wayfare.errors import ServiceError
from wayfare.quality.suites import fields_of, text_of
from wayfare.staging.database import transaction
from wayfare.staging.tables import validation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from wayfare.analyses.chunk import Chunk
    from wayfare.quality.judge import Verdict
    from wayfare.settings import Settings
    from wayfare.snapshots import DayFile

_JUDGED = """
DELETE FROM control.quarantine USING unnest(%s::text[], %s::date[]) AS judged (event_type, event_on)
WHERE (quarantine.event_type, quarantine.event_on) = (judged.event_type, judged.event_on)
  AND analysis = %s AND through_batch <= %s
"""
_LATE = """
DELETE FROM control.quarantine WHERE analysis = %s AND through_batch = %s AND (event_type, event_on) IN (
  SELECT DISTINCT event_type, event_on FROM control.quarantine WHERE analysis = %s AND through_batch > %s
)
"""


def record_verdicts(
    settings: Settings, chunk: Chunk, gate: str, verdicts: Iterable[Verdict], rows: Mapping[str, int]
) -> None:
    """Replace what this gate said of this chunk before; `rows` are the rows judged by asset.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    of_chunk = (validation.c.analysis == chunk.analysis, validation.c.gate == gate, validation.c.chunk == chunk.key)
    values = [
        {
            "analysis": chunk.analysis,
            "gate": gate,
            "chunk": chunk.key,
            "asset": verdict.asset,
            "expectation": text_of(verdict.expect)[:2000],
            "field": fields_of(verdict.expect),
            "severity": verdict.expect.severity,
            "success": verdict.success,
            "rows": rows[verdict.asset],
            "unexpected": verdict.unexpected,
            "observed": verdict.observed_json,
            "message": verdict.message,
        }
        for verdict in verdicts
    ]
    with transaction(settings.url("pipeline")) as connection:
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(chunk.key, 1))))
        connection.execute(delete(validation).where(*of_chunk))
        if values:
            connection.execute(insert(validation), values)


def record_quarantine(settings: Settings, chunk: Chunk, files: Sequence[DayFile], events: pa.RecordBatchReader) -> None:
    """Replace what the analysis set aside on the days judged by `events`, rows of `control.quarantine`.

    A day that has events set aside as of a later batch is left as it is, as `publish` leaves it. Chunks whose windows
    overlap judge the same days with the same rules, so either may write last; a lock keeps them from writing together.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    import psycopg2

    from wayfare.staging import bulk, locks

    try:
        with closing(bulk.connect(settings.url("pipeline"))) as connection, connection.cursor() as cursor:
            locks.take(cursor, *locks.of_analysis(cursor, locks.QUARANTINE_LOCK, chunk.analysis))
            judged = ([f.event_type for f in files], [f.event_on for f in files])
            cursor.execute(_JUDGED, (*judged, chunk.analysis, chunk.through_batch))
            bulk.copy_in(cursor, "control.quarantine", events)
            cursor.execute(_LATE, (chunk.analysis, chunk.through_batch) * 2)
            connection.commit()
    except psycopg2.Error as error:
        raise ServiceError(f"PostgreSQL does not answer: {error}") from error
