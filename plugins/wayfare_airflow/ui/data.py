"""What the pages show, read from the database in read-only transactions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from wayfare.errors import ConfigurationError
from wayfare.staging.connections import arguments
from wayfare.staging.database import NOT_MIGRATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.analyses.api import BehaviorAnalysis
    from wayfare.settings import Settings

ROWS_SHOWN = 200
STATEMENT_TIMEOUT = "15s"

_COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS comment
FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_PUBLICATIONS = """
SELECT analysis, through_batch, published_at FROM control.publication
WHERE publication_id IN (SELECT max(publication_id) FROM control.published_day GROUP BY analysis)
"""
_LAST = """
SELECT coalesce(max(output_on)::text, '-infinity') AS first_on FROM (
  SELECT output_on, sum(rows) OVER (ORDER BY output_on DESC) AS rows FROM control.published_day
  WHERE analysis = %(analysis)s AND fingerprint = (
    SELECT fingerprint FROM control.published_day WHERE analysis = %(analysis)s ORDER BY publication_id DESC LIMIT 1)
) AS days WHERE rows >= %(rows)s
"""
"""The output day from which on a mart has so many rows; days of other code may be in the table of another version."""


def publications(settings: Settings) -> dict[str, dict[str, Any]]:
    """The last publication of each analysis that has one: days that stand on it are there, and they are far fewer."""
    with _reading(settings) as cursor:
        return {row["analysis"]: row for row in cursor.execute(_PUBLICATIONS)}


def columns(settings: Settings, view: str) -> list[dict[str, Any]]:
    """Columns of a mart's view (name, type, comment); none where nothing is published yet."""
    with _reading(settings) as cursor:
        return cursor.execute(_COLUMNS, (f"bi.{view}",)).fetchall()


def rows(settings: Settings, view: str, analysis: BehaviorAnalysis) -> list[dict[str, Any]]:
    """The last `ROWS_SHOWN` rows of a mart's view, by output day."""
    day = sql.Identifier(analysis.mart.day)
    order = [sql.SQL("{} DESC").format(day), *map(sql.Identifier, analysis.mart.grain)]
    query = sql.SQL("SELECT * FROM {} WHERE {} >= %s ORDER BY {} LIMIT {}").format(
        sql.Identifier("bi", view), day, sql.SQL(", ").join(order), ROWS_SHOWN
    )
    with _reading(settings) as cursor:
        # asked first: the planner must know the day to see that few ranges of the index hold later ones
        (last,) = cursor.execute(_LAST, {"analysis": analysis.name, "rows": ROWS_SHOWN})
        return cursor.execute(query, (last["first_on"],)).fetchall()


@contextmanager
def _reading(settings: Settings) -> Iterator[psycopg.Cursor[dict[str, Any]]]:
    place = arguments(settings.url("pipeline")) | {
        "options": f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_TIMEOUT} -c timezone=UTC",
        "connect_timeout": 5,
    }
    try:
        with (
            psycopg.connect(**place) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            yield cursor
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise ConfigurationError(f"{NOT_MIGRATED}: {error}") from error
