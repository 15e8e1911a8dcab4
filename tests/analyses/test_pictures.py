"""The queries on the analyses' pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from wayfare.analyses import registry

if TYPE_CHECKING:
    from wayfare.settings import Settings

ZEROS = {"text": "''", "date": "DATE '2026-03-01'", "timestamptz": "now()", "boolean": "true"}


def test_no_query_of_a_page_divides_by_a_zero_of_the_mart(settings: Settings) -> None:
    with psycopg.connect(settings.url("owner")) as connection:
        for analysis in registry.analyses().values():
            row = [f'{ZEROS.get(c.type, "0")}::{c.type} AS "{n}"' for n, c in analysis.mart.view_columns.items()]
            connection.execute(f"CREATE VIEW bi.{analysis.relation} AS SELECT {', '.join(row)}".encode())
            if analysis.picture:
                connection.execute(analysis.picture.query.encode())
