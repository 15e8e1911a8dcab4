"""What the pages show, read from the database in read-only transactions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.analyses.api import Mart
    from wayfare.settings import Settings

ROWS_SHOWN = 200

_COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS comment
FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_PUBLICATIONS = """
SELECT DISTINCT ON (analysis) analysis, through_batch, published_at
FROM control.publication ORDER BY analysis, publication_id DESC
"""


def publications(settings: Settings) -> dict[str, dict[str, Any]]:
    """The last publication of each analysis that has one."""
    with _reading(settings) as cursor:
        return {row["analysis"]: row for row in cursor.execute(_PUBLICATIONS)}


def columns(settings: Settings, view: str) -> list[dict[str, Any]]:
    """Columns of a mart's view (name, type, comment); none where nothing is published yet."""
    with _reading(settings) as cursor:
        return cursor.execute(_COLUMNS, (f"bi.{view}",)).fetchall()


def rows(settings: Settings, view: str, mart: Mart) -> list[dict[str, Any]]:
    """The last `ROWS_SHOWN` rows of a mart's view, by output day."""
    order = [sql.SQL("{} DESC").format(sql.Identifier(mart.day)), *map(sql.Identifier, mart.grain)]
    query = sql.SQL("SELECT * FROM {} ORDER BY {} LIMIT {}").format(
        sql.Identifier("bi", view), sql.SQL(", ").join(order), ROWS_SHOWN
    )
    with _reading(settings) as cursor:
        return cursor.execute(query).fetchall()


@contextmanager
def _reading(settings: Settings) -> Iterator[psycopg.Cursor[dict[str, Any]]]:
    options = "-c default_transaction_read_only=on -c statement_timeout=15s -c timezone=UTC"
    with (
        psycopg.connect(settings.url("pipeline"), options=options, connect_timeout=5) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        yield cursor
