"""What BI reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from wayfare.analyses.registry import analyses

if TYPE_CHECKING:
    from collections.abc import Iterable


def published(url: str, names: Iterable[str] | None = None) -> dict[str, bytes]:
    """The views of these analyses (default: all), byte for byte, by name."""
    read: dict[str, bytes] = {}
    with psycopg.connect(url) as connection:
        for name in names or analyses():
            mart = analyses()[name].mart
            query = sql.SQL("COPY (SELECT {}, is_complete FROM bi.{} ORDER BY {}) TO STDOUT").format(
                sql.SQL(", ").join(map(sql.Identifier, mart.all_columns)),
                sql.Identifier(name),
                sql.SQL(", ").join(map(sql.Identifier, mart.grain)),
            )
            with connection.cursor() as cursor, cursor.copy(query) as copy:
                read[name] = b"".join(bytes(block) for block in copy)
    return read
