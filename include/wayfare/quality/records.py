"""What the gates leave in the database: every verdict, and every event set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from wayfare.errors import ServiceError
from wayfare.quality.suites import fields_of, text_of
from wayfare.staging.database import connect_adbc, transaction
from wayfare.staging.tables import validation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from wayfare.analyses.chunk import Chunk
    from wayfare.quality.judge import Verdict
    from wayfare.settings import Settings
    from wayfare.snapshots import DayFile


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


def record_quarantine(settings: Settings, chunk: Chunk, files: Sequence[DayFile], events: pa.Table) -> None:
    """Replace what the analysis set aside on the days judged; `events` has event_type, event_on, event_id and rule.

    Chunks whose windows overlap judge the same days with the same rules, so either may write last; a lock keeps them
    from writing together.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    import pyarrow as pa
    from adbc_driver_manager import Error

    analysis = pa.array([chunk.analysis] * events.num_rows, pa.string())
    through = pa.array([chunk.through_batch] * events.num_rows, pa.int64())
    table = events.append_column("analysis", analysis).append_column("through_batch", through)
    connection = connect_adbc(settings.url("pipeline"))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [chunk.analysis])
            cursor.fetchall()
            cursor.executemany(
                "DELETE FROM control.quarantine WHERE analysis = $1 AND event_type = $2 AND event_on = $3",
                pa.table(
                    {
                        "analysis": pa.array([chunk.analysis] * len(files), pa.string()),
                        "event_type": [f.event_type for f in files],
                        "event_on": pa.array([f.event_on for f in files], pa.date32()),
                    }
                ),
            )
            if table.num_rows:
                cursor.adbc_ingest("quarantine", table, mode="append", db_schema_name="control")
            connection.commit()
    except Error as error:
        raise ServiceError(f"PostgreSQL does not answer: {error}") from error
