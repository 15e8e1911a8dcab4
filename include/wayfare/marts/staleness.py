"""Which output days must be computed again, and in which chunks.

State is compared, events are not trusted: a day is stale when it was never published, when an input day in its window
changed in a later batch than the one it was published through, or when its fingerprint differs. While the mart's table
is gone, no day counts as published. An input day without events changes once: in the first batch with an event of a
later day, from which on it is known to be over. A published day that is an output day no more, because the analysis
reads less or looks less far ahead, is computed once more.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from wayfare.analyses import registry
from wayfare.analyses.api import Every
from wayfare.analyses.chunk import Chunk
from wayfare.errors import ConfigurationError
from wayfare.marts.fingerprint import fingerprint
from wayfare.staging.database import check_zone, transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from wayfare.analyses.api import BehaviorAnalysis
    from wayfare.settings import Settings

DAYS = """
WITH published AS (
  SELECT output_on, through_batch, fingerprint, rows FROM control.published_day
  WHERE analysis = :analysis AND to_regclass(:table) IS NOT NULL
), touched AS (
  SELECT event_on AS day, min(coalesce(first_batch_id, batch_id)) AS first_batch, max(batch_id) AS last_batch,
    sum(rows)::bigint AS rows
  FROM control.change WHERE event_type = ANY(:types) AND batch_id <= :through GROUP BY event_on
), calendar AS (
  SELECT span.first + n AS day
  FROM (SELECT min(day) AS first, max(day) + CAST(:ahead AS integer) AS last FROM touched) AS span,
    generate_series(0, span.last - span.first) AS n
), input AS (
  SELECT day, rows, first_batch, last_batch,
    nullif(min(first_batch) OVER (ORDER BY day DESC), first_batch) AS over_in
  FROM calendar LEFT JOIN touched USING (day)
), output AS (
  SELECT day, date_trunc(:every, day)::date AS output_on, input.rows, first_batch, last_batch, over_in, through_batch,
    fingerprint,
    max(coalesce(last_batch, over_in)) OVER (
      ORDER BY day ROWS BETWEEN CAST(:before AS bigint) PRECEDING AND CAST(:after AS bigint) FOLLOWING
    ) AS changed_in
  FROM input LEFT JOIN published ON published.output_on = date_trunc(:every, day)::date
), state AS (
  SELECT output_on, coalesce(sum(rows), 0)::bigint AS rows,
    bool_or(coalesce(changed_in > through_batch OR fingerprint <> :fingerprint, through_batch IS NULL)) AS stale
  FROM output GROUP BY output_on
  UNION ALL
  SELECT output_on, 0, true FROM published
  WHERE rows > 0 AND fingerprint <> :fingerprint
    AND output_on = date_trunc(:every, output_on)::date AND output_on NOT IN (SELECT output_on FROM output)
)
"""
"""`output`: every day from the first event to the last, the output day it belongs to, what touched its window last and
what its output day stands on. `state`: every output day, the input rows of its period, and whether it is stale."""

_STATE = text(f"{DAYS} SELECT output_on, rows, stale FROM state ORDER BY output_on")  # noqa: S608 - a constant

MOST_DAYS = 366
"""Days of a chunk, however few events they have: each costs time and memory of its own, and one event with a wrong date
makes stale every day between it and the others."""

_DAYS_IN = {Every.DAY: 1, Every.WEEK: 7, Every.MONTH: 28}


def plan(
    settings: Settings, analysis: str, *, first: dt.date | None = None, last: dt.date | None = None, force: bool = False
) -> list[Chunk]:
    """The stale output days of an analysis as of the latest batch, in chunks of at most `chunk_rows` input rows.

    `first` and `last` bound the output days; `force` makes every day between them stale. A chunk has at most
    `MOST_DAYS`. It may exceed both so as to hold as many days as its window is long: reading a long window is paid once
    for all of them.

    Raises
    ------
    ConfigurationError
        `first` is after `last`, or the database was filled with days of another zone.
    DeclarationError
        There is no such analysis.
    ServiceError
        PostgreSQL does not answer.
    """
    if first and last and first > last:
        raise ConfigurationError(f"the first day, {first}, is after the last, {last}; swap them")
    found = registry.get(analysis)
    digest = fingerprint(settings, found)
    from_on = first and found.mart.every.first(first)
    with transaction(settings.url("pipeline")) as connection:
        check_zone(connection, settings.timezone)
        through = latest_batch(connection)
        state = connection.execute(_STATE, parameters(found, through, digest)).all()
    wanted = [
        day
        for day, _, is_stale in state
        if (is_stale or force) and (from_on is None or day >= from_on) and (last is None or day <= last)
    ]
    groups = _group(wanted, {day: rows for day, rows, _ in state}, found, settings.chunk_rows)
    return [Chunk(analysis, tuple(group), through, digest) for group in groups]


def latest_batch(connection: Connection) -> int:
    """The last committed batch, 0 before the first: everything up to it is a stable set."""
    return int(connection.scalar(text("SELECT coalesce(max(batch_id), 0) FROM control.batch")) or 0)


def parameters(analysis: BehaviorAnalysis, through: int, digest: str) -> dict[str, Any]:
    """The parameters of `DAYS`, as of a batch."""
    return {
        "analysis": analysis.name,
        "table": f"marts.{analysis.relation}",
        "types": [e.name for e in analysis.reads],
        "through": through,
        "fingerprint": digest,
        "before": analysis.window.before,
        "after": analysis.window.after,
        "ahead": analysis.window.before if analysis.mart.ahead else 0,
        "every": analysis.mart.every.value,
    }


def _group(
    wanted: Sequence[dt.date], rows: dict[dt.date, int], analysis: BehaviorAnalysis, most_rows: int
) -> list[list[dt.date]]:
    """Days in order, cut where the next would be too much, and both sides keep a window's length of days."""
    fewest = max(1, (analysis.window.before + analysis.window.after) // _DAYS_IN[analysis.mart.every])
    most = MOST_DAYS // _DAYS_IN[analysis.mart.every]
    groups: list[list[dt.date]] = []
    group: list[dt.date] = []
    read, read_to = 0, dt.date.min
    for place, day in enumerate(wanted):
        start, stop = analysis.reads_of(day)
        added = _rows_between(rows, max(start, read_to + dt.timedelta(1)), stop)
        full = read + added > most_rows or len(group) >= most
        if group and full and min(len(group), len(wanted) - place) >= fewest:
            groups.append(group)
            group, read = [], 0
            added = _rows_between(rows, start, stop)
        group.append(day)
        read, read_to = read + added, stop
    return [*groups, group] if group else []


def _rows_between(rows: dict[dt.date, int], first: dt.date, last: dt.date) -> int:
    return sum(rows.get(first + dt.timedelta(n), 0) for n in range((last - first).days + 1))
