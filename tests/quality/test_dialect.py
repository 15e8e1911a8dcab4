"""Great Expectations reads results after it has given the connection back, and seldom all of one."""

from __future__ import annotations

import duckdb
from sqlalchemy import text

from wayfare.quality.context import datasource


def test_no_more_of_a_result_is_read_than_is_asked_for() -> None:
    far = "SELECT if(i = 999_999, error('read too far'), i) FROM range(1_000_000) AS r (i)"
    with duckdb.connect() as connection, datasource(connection) as source:
        with source.get_engine().connect() as given:
            found, other = given.execute(text(far)), given.execute(text("FROM range(3)"))
        assert found.fetchmany(2) == [(0,), (1,)]
        assert other.fetchall() == [(0,), (1,), (2,)]
        assert found.fetchone() == (2,)
