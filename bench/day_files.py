"""Day files of a made-up agency, written by DuckDB: what analyses read, without landing and extracting it first."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import psycopg

from apart import in_process
from wayfare.analyses.chunk import Chunk
from wayfare.contracts import reference
from wayfare.contracts.events import EVENT_TYPES
from wayfare.settings import Settings
from wayfare.snapshots import DayFile, schema
from wayfare.staging import database

if TYPE_CHECKING:
    from wayfare.local.postgres import EmbeddedPostgres

FIRST_DAY = dt.date(2026, 1, 1)
SHARES = {
    "search": 0.50,
    "view": 0.14,
    "offer": 0.06,
    "booking": 0.12,
    "purchase": 0.06,
    "cancellation": 0.02,
    "refund": 0.01,
    "travel": 0.07,
    "inventory": 0.02,
}

# `any_of(i, salt, n)` is a number in 0..n-1 that depends on i and salt only.
SETUP = """
CREATE MACRO any_of(i, salt, n) AS (hash(i * 1000 + salt) % n)::BIGINT;
CREATE MACRO one_of(i, salt, list) AS list[1 + any_of(i, salt, len(list))];
CREATE MACRO id_of(kind, i) AS md5(kind || i)::UUID;
CREATE TABLE place AS SELECT list(place ORDER BY hash(place))[:300] AS listed FROM reference_place;
CREATE TABLE wish AS
SELECT
    i AS w,
    TIMESTAMPTZ '{first} 00:00:00+00' + to_seconds(any_of(i, 1, {days} * 86400)) AS began_at,
    'v' || any_of(i, 2, {wishes} // 2) AS visitor_id,
    CASE WHEN any_of(i, 3, 3) = 0 THEN 'c' || any_of(i, 2, {wishes} // 8) END AS customer_id,
    one_of(i, 4, ['US', 'US', 'GB', 'PT', 'DE', NULL]) AS point_of_sale,
    one_of(i, 5, ['flight', 'flight', 'flight', 'hotel', 'car', 'package']) AS product,
    one_of(i, 6, listed) AS origin,
    listed[1 + any_of(any_of(i, 7, 40) * any_of(i, 8, 8), 9, 300)] AS destination,
    began_at::DATE + 10 + any_of(i, 10, 50)::INTEGER AS start_on,
    1 + any_of(i, 11, 10)::INTEGER AS nights,
FROM range({wishes}) t(i), place;
CREATE TABLE sale AS
SELECT
    i,
    w.* EXCLUDE (began_at),
    'b' || (i * 4 // 5) AS booking_id,
    'i' || i AS item_id,
    product || ':' || destination || any_of(i, 20, 20) AS resource_id,
    began_at + to_seconds(600 + any_of(i, 21, 3) * any_of(i, 22, 400000)) AS occurred_at,
    one_of(i, 23, ['EUR', 'USD', 'GBP', 'JPY']) AS currency,
    1 + any_of(i, 24, 3) AS units,
    5000 + any_of(i, 25, 200000) AS price,
FROM (SELECT i, any_of(i, 26, {wishes}) AS w FROM range({booking}) t(i)) JOIN wish AS w USING (w);
"""

_SOLD = """SELECT n, s.*, 'booking' AS item_kind, id_of('booking', i) AS item_event_id, item_id AS item_key,
    product AS item_product, occurred_at AS item_booked_at, occurred_at::DATE AS item_booked_on,
    resource_id AS item_resource_id, destination AS item_destination, start_on AS item_start_on,
    start_on + nights AS item_end_on, currency AS item_currency, point_of_sale AS item_point_of_sale,
    customer_id AS item_customer_id, false AS item_is_test, units AS item_units, 1 AS item_rank,
    0 AS reversed_units, 0 AS reversed_price, 0 AS reversed_cost, 0 AS reversed_commission, 0 AS reversed_fee,
    0 AS kept_penalty, 0 AS given_back
FROM (SELECT i AS n, any_of(i, {salt}, {booking}) AS i FROM range({rows}) t(i)) JOIN sale AS s USING (i)"""

ROWS = {
    "search": """SELECT i AS n, w.*, began_at + to_minutes((i % 3) * (5 + any_of(i, 30, 35))) AS occurred_at,
        's' || i AS search_id, CASE WHEN product = 'hotel' THEN start_on + nights END AS end_on,
        1 + any_of(i, 31, 3) AS adults, any_of(i, 32, 8) * any_of(i, 33, 50) AS result_count
        FROM range({rows}) t(i) JOIN wish AS w ON w.w = i // 3""",
    "view": """SELECT i AS n, w.*, began_at + to_minutes(3 + any_of(i, 34, 20)) AS occurred_at,
        product || ':' || destination || any_of(i, 35, 20) AS resource_id
        FROM (SELECT i, any_of(i, 36, {wishes}) AS w FROM range({rows}) t(i)) JOIN wish AS w USING (w)""",
    "offer": """SELECT i AS n, w.*, began_at AS occurred_at, 'o' || any_of(i, 37, 50) AS offer_id,
        CASE WHEN any_of(i, 38, 10) = 0 THEN 'redeemed' ELSE 'exposed' END AS action
        FROM (SELECT i, any_of(i, 39, {wishes}) AS w FROM range({rows}) t(i)) JOIN wish AS w USING (w)""",
    "booking": """SELECT *, i AS n, CASE WHEN product <> 'flight' THEN start_on + nights END AS end_on,
        price * 8 // 10 AS cost, price // 20 AS fee, price // 12 AS commission,
        1 + any_of(i, 40, 3) AS adults, any_of(i, 41, 2) AS children
        FROM sale""",
    "purchase": """SELECT n, s.* EXCLUDE (i, price, occurred_at),
        s.occurred_at + to_hours(any_of(n, 42, 50)) AS occurred_at,
        'p' || n AS purchase_id, one_of(n, 43, ['baggage', 'meal', 'seat', 'insurance']) AS category,
        'sku' || any_of(n, 44, 12) AS sku, 1 + any_of(n, 45, 2) AS quantity, 500 + any_of(n, 46, 9000) AS price,
        300 AS cost, start_on AS service_on
        FROM (SELECT i AS n, any_of(i, 47, {booking}) AS i FROM range({rows}) t(i)) JOIN sale AS s USING (i)""",
    "cancellation": f"""SELECT * REPLACE (occurred_at + to_hours(1 + any_of(n, 48, 400)) AS occurred_at,
        units AS reversed_units, price AS reversed_price, price * 8 // 10 AS reversed_cost,
        price // 12 AS reversed_commission, price // 20 AS reversed_fee, price // 10 AS kept_penalty,
        price - price // 10 AS given_back), 'k' || n AS cancellation_id, 'customer' AS initiator
        FROM ({_SOLD.replace("{salt}", "49")})""",
    "refund": f"""SELECT * REPLACE (occurred_at + to_hours(30 + any_of(n, 50, 400)) AS occurred_at,
        price // 3 AS reversed_price, price // 9 AS given_back), 'r' || n AS refund_id, price // 3 AS amount
        FROM ({_SOLD.replace("{salt}", "51")})""",
    "travel": f"""SELECT * REPLACE (occurred_at + to_hours(40 + any_of(n, 52, 900)) AS occurred_at,
        units AS reversed_units, price AS reversed_price),
        CASE WHEN any_of(n, 53, 40) = 0 THEN 'no_show' ELSE 'completed' END AS outcome
        FROM ({_SOLD.replace("{salt}", "54")})""",
    "inventory": """SELECT n, resource_id, product, start_on AS service_on, 40 + any_of(n, 55, 100) AS capacity,
        any_of(n, 56, 140) AS on_hand, any_of(n, 57, 9) > 0 AS is_open,
        TIMESTAMPTZ '{first} 00:00:00+00' + to_seconds(any_of(n, 58, {days} * 86400)) AS occurred_at
        FROM (SELECT i AS n, any_of(i, 59, {booking}) AS i FROM range({rows}) t(i)) JOIN sale USING (i)""",
}


def installation(server: EmbeddedPostgres, events: int, days: int) -> Settings:
    """About `events` events of `days` days as day files, and a migrated database whose change log says so."""
    url = server.url("postgres")
    settings = Settings(home=server.data.parent / "home", database_url=url)  # type: ignore[arg-type]  # pydantic makes it a secret
    database.migrate(settings)
    database.engine(url).dispose()
    started = time.monotonic()
    files = in_process(write, settings.storage, events, days)
    rows = sum(rows for _, _, rows in files)
    print(f"{rows:,} events of {days} days in {len(files)} day files, made in {time.monotonic() - started:.0f} s")
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO control.batch VALUES (1, 'epoch', 'bench', 0, 0, 0, 0)")
        insert = "INSERT INTO control.change (event_type, event_on, batch_id, rows) VALUES (%s, %s, 1, %s)"
        cursor.executemany(insert, files)
    return settings


def chunk_of(name: str, days: int) -> Chunk:
    """All days of an analysis."""
    every = tuple(FIRST_DAY + dt.timedelta(n) for n in range(days))
    return Chunk(name, every, 1, "bench")


def write(storage: str, events: int, days: int) -> list[tuple[str, dt.date, int]]:
    """Write about `events` events of `days` days as day files of batch 1, landed in 1970, below `storage`.

    Returns
    -------
    list
        Event type, day and rows of every file.
    """
    rows = {name: int(events * share) for name, share in SHARES.items()}
    facts = {"first": FIRST_DAY, "days": days, "wishes": rows["search"] // 3 + 1, "booking": rows["booking"]}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET enable_progress_bar = false")
        reference.register(connection)
        connection.execute(SETUP.format(**facts))
        return [
            file
            for name in SHARES
            for file in _write_type(connection, Path(storage), name, ROWS[name].format(rows=rows[name], **facts), days)
        ]


def _write_type(
    connection: duckdb.DuckDBPyConnection, storage: Path, name: str, sql: str, days: int
) -> list[tuple[str, dt.date, int]]:
    empty = connection.from_arrow(schema(EVENT_TYPES[name]).empty_table())
    made = connection.sql(sql)
    constants = {
        "event_id": f"id_of('{name}', n)",
        "event_on": "occurred_at::DATE",
        "landed_at": "occurred_at",
        "batch_id": "1",
        "schema_version": "'1-0-0'",
        "source": "'bench'",
        "is_test": "false",
    }
    columns = ", ".join(
        f'CAST({constants.get(c, c if c in made.columns else "NULL")} AS {kind}) AS "{c}"'
        for c, kind in zip(empty.columns, empty.types, strict=True)
    )
    last = FIRST_DAY + dt.timedelta(days - 1)
    parts = storage / "parts" / name
    parts.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"""
        COPY (SELECT {columns} FROM ({sql}) WHERE occurred_at::DATE <= DATE '{last}')
        TO '{parts}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARTITION_BY (event_on),
                      WRITE_PARTITION_COLUMNS true)
    """)
    files = []
    for part in sorted(parts.iterdir()):
        day = dt.date.fromisoformat(part.name.partition("=")[2])
        target = Path(DayFile(name, day, 1, 0, 0).url(str(storage)))
        target.parent.mkdir(parents=True)
        source = connection.read_parquet(f"{part}/*.parquet", hive_partitioning=False)
        source.write_parquet(str(target), compression="zstd")
        ((rows,),) = source.aggregate("count(*)").fetchall()
        files.append((name, day, rows))
    shutil.rmtree(parts)
    return files
