"""The tables that the input gate judges: a view of each event type, `volume`, and `quarantined` to fill."""

from __future__ import annotations

import datetime as dt
import itertools
import statistics
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlalchemy import text

from wayfare import duck
from wayfare.quality.suites import LEAST_WEEKS, WEEKS
from wayfare.snapshots import real, schema
from wayfare.staging.database import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from wayfare.analyses.api import BehaviorAnalysis
    from wayfare.analyses.chunk import Chunk
    from wayfare.contracts import EventType
    from wayfare.settings import Settings
    from wayfare.snapshots import DayFile

Day = tuple[str, dt.date]

_LOGGED = text("""
SELECT event_type, event_on, sum(rows)::bigint FROM control.change
WHERE event_type = ANY(:types) AND coalesce(first_batch_id, batch_id) <= :through AND event_on BETWEEN :first AND :last
GROUP BY event_type, event_on
""")


def register(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    analysis: BehaviorAnalysis,
    chunk: Chunk,
    files: Sequence[DayFile],
) -> dict[str, int]:
    """Make a view named as each event type that has day files, and the tables; return events to judge by type.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    connection.execute("CREATE TABLE quarantined (event_type text, event_id uuid, rule text)")
    judged: dict[str, int] = {}
    counted: dict[Day, int] = {}
    types = {e.name: e for e in analysis.reads}
    for name, of_type in itertools.groupby(files, key=lambda f: f.event_type):
        days = register_type(connection, types[name], [f.url(settings.storage) for f in of_type])
        counted |= {(name, day): events for day, events, _ in days}
        judged[name] = sum(real for _, _, real in days)
    logged = {(f.event_type, f.event_on): f.events for f in files}
    usual = _usual(settings, analysis, chunk)
    keys = sorted({*logged, *usual})
    volume = pa.table(
        {
            "event_type": pa.array([name for name, _ in keys], pa.string()),
            "event_on": pa.array([day for _, day in keys], pa.date32()),
            "counted": pa.array([counted.get(key, 0) for key in keys], pa.int64()),
            "logged": pa.array([logged.get(key, 0) for key in keys], pa.int64()),
            "usual": pa.array([usual.get(key) for key in keys], pa.float64()),
        }
    )
    connection.from_arrow(volume).create("volume")
    return judged


def quarantined(connection: duckdb.DuckDBPyConnection, chunk: Chunk) -> pa.RecordBatchReader:
    """The events set aside, a few at a time: columns of `control.quarantine`, event_id as 16 bytes."""
    named = connection.execute("SELECT DISTINCT event_type FROM quarantined").fetchall()
    days = " UNION ALL ".join(f"SELECT '{name}' AS event_type, event_on, event_id FROM {name}" for (name,) in named)  # noqa: S608 - names come from the contracts
    nothing = "SELECT '' AS event_type, NULL::date AS event_on, NULL::uuid AS event_id"
    return connection.sql(
        f"SELECT DISTINCT {duck.literal(chunk.analysis)} AS analysis, event_type, event_on, "  # noqa: S608 - as above
        f"CAST(event_id AS blob) AS event_id, rule, {chunk.through_batch:d}::bigint AS through_batch "
        f"FROM quarantined JOIN ({days or nothing}) USING (event_type, event_id)"
    ).to_arrow_reader()


def register_type(
    connection: duckdb.DuckDBPyConnection, event_type: EventType, urls: list[str]
) -> list[tuple[dt.date, int, int]]:
    """Make the view of one type; return its days with all events and with those to judge."""
    name = event_type.name
    files = _read(connection, event_type, urls)
    files.create_view(f"{name}_files")
    is_real = real(event_type)
    once = "item_rank = 1" if event_type.refers else "true"
    files.filter(is_real).create_view(name)
    return connection.execute(
        f"SELECT event_on, count(*), count(*) FILTER ({is_real}) FROM {name}_files WHERE {once} GROUP BY event_on"  # noqa: S608 - names come from the contracts
    ).fetchall()


def _read(connection: duckdb.DuckDBPyConnection, event_type: EventType, urls: list[str]) -> duckdb.DuckDBPyRelation:
    """Day files with today's columns; what a file of an older contract revision has not, is NULL.

    Declared and not united by name, for which DuckDB looks into every file with each query. It then does not know how
    many rows there are, which matters to joins, and rules have few.
    """
    today = connection.from_arrow(schema(event_type).empty_table())
    columns = ", ".join(
        f"{name}: {{name: {name}, type: '{kind}', default_value: NULL}}"
        for name, kind in zip(map(duck.literal, today.columns), today.types, strict=True)
    )
    return connection.sql(f"FROM read_parquet({duck.literals(urls)}, schema = MAP {{{columns}}})")


def _usual(settings: Settings, analysis: BehaviorAnalysis, chunk: Chunk) -> dict[Day, float]:
    """Median events of the same weekday in the weeks before, for the days of output periods that can have events."""
    every = analysis.mart.every
    last_on = every.last(max(chunk.days))
    parameters = {
        "types": [e.name for e in analysis.reads],
        "through": chunk.through_batch,
        "first": min(chunk.days) - dt.timedelta(weeks=WEEKS),
        "last": last_on,
    }
    with transaction(settings.url("pipeline")) as connection:
        logged = {(name, day): int(events) for name, day, events in connection.execute(_LOGGED, parameters)}
    last = max((day for _, day in logged), default=dt.date.min)
    days = (on + dt.timedelta(n) for on in chunk.days for n in range((every.last(on) - on).days + 1))
    usual: dict[Day, float] = {}
    for event_type, day in itertools.product(analysis.reads, [d for d in days if d <= last]):
        weeks = (logged.get((event_type.name, day - dt.timedelta(weeks=n)), 0) for n in range(1, WEEKS + 1))
        seen = [events for events in weeks if events]
        if len(seen) >= LEAST_WEEKS:
            usual[event_type.name, day] = statistics.median(seen)
    return usual
