"""COPY in and out gives back what went in, stores what ADBC stores, and tells what failed."""

from __future__ import annotations

import datetime as dt
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import adbc_driver_postgresql.dbapi as adbc
import psycopg2
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wayfare.errors import ServiceError
from wayfare.staging import bulk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.settings import Settings

_TYPES: dict[str, tuple[str, pa.DataType, st.SearchStrategy[Any]]] = {
    "id": ("uuid", pa.binary(16), st.binary(min_size=16, max_size=16)),
    "name": ("text", pa.string(), st.text(st.one_of(st.sampled_from("\\N\t\n\r\"',tb"), st.characters(codec="utf-8")))),
    "at": (
        "timestamptz",
        pa.timestamp("us", "UTC"),
        st.datetimes(timezones=st.just(dt.UTC)),
    ),
    "day": ("date", pa.date32(), st.dates()),
    "few": ("integer", pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "many": ("bigint", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "share": ("double precision", pa.float64(), st.floats()),
    "flag": ("boolean", pa.bool_(), st.booleans()),
}
_SCHEMA = pa.schema([("n", pa.int64()), *((name, kind) for name, (_, kind, _) in _TYPES.items())])
_ROW = st.fixed_dictionaries({name: st.none() | values for name, (_, _, values) in _TYPES.items()})
_COLUMNS = ", ".join(f"{name} {sql}" for name, (sql, _, _) in _TYPES.items())


@pytest.fixture
def cursor(settings: Settings) -> Iterator[Any]:
    with closing(bulk.connect(settings.url("owner"))) as connection, connection.cursor() as made:
        yield made


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"n": n, **row} for n, row in enumerate(rows)], _SCHEMA)


def _out(cursor: Any, query: str, schema: pa.Schema) -> pa.Table:
    with bulk.copy_out(cursor, query, schema) as rows:
        return rows.read_all()


@given(rows=st.lists(_ROW, max_size=100), cut=st.integers(0, 100), skipped=st.integers(0, 3))
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_goes_in_comes_out_and_is_what_adbc_stores(
    settings: Settings, rows: list[dict[str, Any]], cut: int, skipped: int
) -> None:
    table = _table([row if "\0" not in (row["name"] or "") else {**row, "name": None} for row in rows])
    table = pa.concat_tables([table.slice(0, cut), table.slice(cut)]).slice(skipped)
    with closing(bulk.connect(settings.url("owner"))) as connection, connection.cursor() as cursor:
        for name in ("ours", "theirs"):
            cursor.execute(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (n bigint, {_COLUMNS})")
        bulk.copy_in(cursor, "ours", table)
        connection.commit()
        with adbc.connect(settings.url("owner")) as other, other.cursor() as ingesting:
            if len(table):
                ingesting.adbc_ingest("theirs", table, mode="append")
            other.commit()
        cursor.execute("SELECT ours::text, theirs::text FROM ours FULL JOIN theirs USING (n)")
        stored = cursor.fetchall()
        assert len(stored) == len(table)
        assert all(ours == theirs for ours, theirs in stored)
        out = _out(cursor, "SELECT * FROM ours ORDER BY n", _SCHEMA)
    assert str(out.to_pylist()) == str(table.to_pylist())  # as text, for NaN is not NaN


def test_rows_that_are_many_and_texts_that_are_long(cursor: Any) -> None:
    cursor.execute(f"CREATE TABLE ours (n bigint, {_COLUMNS})")
    names = ["\\" * 2**20, None, "\t\n" * 2**19, *(f"name {n}" for n in range(100_000))]
    table = _table([{"id": n.to_bytes(16, "big"), "name": name, "few": n} for n, name in enumerate(names)])
    bulk.copy_in(cursor, "ours", table)
    out = _out(cursor, "SELECT n, id, name FROM ours ORDER BY n", pa.schema([_SCHEMA.field(i) for i in range(3)]))
    assert out.equals(table.select(out.schema.names))


def test_a_line_of_control_characters_comes_out(cursor: Any) -> None:
    query = rf"SELECT n, repeat('\u0001', {2**20}) FROM generate_series(1, 3) AS n"
    out = _out(cursor, query, pa.schema([("n", pa.int32()), ("text", pa.string())]))
    assert out["text"].to_pylist() == [r"\u0001" * 2**20] * 3


def test_what_arrow_cannot_read_ends(cursor: Any) -> None:
    """Whoever sends must not wait for a reader who is gone: there is more to come than a pipe holds."""
    with pytest.raises(pa.ArrowInvalid, match="invalid value 'x'"):
        _out(cursor, "SELECT 'x' FROM generate_series(1, 3000000)", pa.schema([("n", pa.int32())]))
    assert not [t for t in threading.enumerate() if t.name.startswith("copy")]


def test_of_nothing_comes_nothing(cursor: Any) -> None:
    assert _out(cursor, "SELECT 1 WHERE false", pa.schema([("n", pa.int32())])).num_rows == 0


def test_a_query_that_fails_in_the_middle_says_why(cursor: Any) -> None:
    query = "SELECT n, 1 / (500000 - n) FROM generate_series(1, 600000) AS n"
    with pytest.raises(psycopg2.Error, match="division by zero"):
        _out(cursor, query, pa.schema([("n", pa.int32()), ("m", pa.int32())]))


def test_who_stops_reading_is_not_held_up(cursor: Any) -> None:
    with bulk.copy_out(cursor, "SELECT generate_series(1, 5000000)", pa.schema([("n", pa.int32())])) as rows:
        assert rows.read_next_batch()["n"][0].as_py() == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("copy")]


def test_no_server_is_an_error_of_ours() -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        bulk.connect("postgresql://nobody@127.0.0.1:1/nowhere")
