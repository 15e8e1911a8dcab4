"""Publishing a mart against a bare binary COPY (ADBC) of the same rows into an unindexed table, in the same run.

    python bench/publish.py [ROWS]

Prints seconds, ratios and peak memory for a restated mart and for a vintage: a first publication of 30 days, the same
days again after late events that changed one row in ten, and again after the analysis changed and every row with it.
Figures are the medians of five rounds in which all cases and the bare COPY take turns.
"""

from __future__ import annotations

import datetime as dt
import statistics
import sys
import time
from typing import TYPE_CHECKING

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from apart import peak
from wayfare import engines, storage
from wayfare.analyses import registry
from wayfare.analyses.api import BehaviorAnalysis, Mart, count, key, measure, minor
from wayfare.analyses.chunk import Chunk
from wayfare.contracts.events import BOOKING
from wayfare.local.postgres import temporary_server
from wayfare.marts import publish
from wayfare.settings import Settings
from wayfare.staging.database import migrate

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
DAYS = 30
START = dt.date(2026, 6, 1)


class Restated(BehaviorAnalysis):
    """How long does publishing take?"""

    reads = (BOOKING,)
    mart = Mart(
        day="booked_on",
        grain={
            "booked_on": key("Day.", "date"),
            "product": key("Product."),
            "resource_id": key("Resource."),
            "currency": key("Currency."),
        },
        columns={
            "bookings": count("Bookings."),
            "units": count("Units."),
            "gross_minor": minor("Gross."),
            "net_minor": minor("Net."),
            "share": measure("Share."),
        },
    )


class Vintage(Restated):
    """How long does publishing a vintage take?"""

    mart = Mart(day="booked_on", grain=Restated.mart.grain, columns=Restated.mart.columns, vintage=True)


def write_result(settings: Settings, chunk: Chunk, rows: int, net: str) -> str:
    """A result as the engine writes it, ordered by grain; returns its path."""
    per_day = rows // DAYS
    select = f"""
        SELECT DATE '{START}' + CAST(d AS integer) AS booked_on,
          ['car', 'flight', 'hotel'][1 + n * 3 // {per_day}] AS product,
          format('resource:{{:08d}}', n) AS resource_id, 'EUR' AS currency, n % 7 AS bookings, n % 11 AS units,
          n * 1000 AS gross_minor, {net} AS net_minor, n / {per_day} AS share
        FROM range({DAYS}) AS _ (d), range({per_day}) AS _ (n) ORDER BY 1, 2, 3
    """
    path = f"{chunk.folder(settings.storage)}/result.parquet"
    with engines.session(settings) as connection:
        result = connection.sql(select)
        storage.write_atomic(path, lambda url: result.write_parquet(url, compression="zstd"))
    return path


def timed(run: Callable[[], object]) -> float:
    """Seconds that `run` takes."""
    started = time.monotonic()
    run()
    return time.monotonic() - started


def copy(settings: Settings, path: str) -> float:
    """Seconds to copy a result, already in Arrow, into a table without a key, until it is committed."""
    table = pq.read_table(path)

    def run(rows: pa.Table) -> None:
        with adbc.connect(settings.url("pipeline")) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("bare", rows, mode="create_append", db_schema_name="marts")
            connection.commit()

    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("DROP TABLE IF EXISTS marts.bare")
    run(table.slice(0, 0))
    return timed(lambda: run(table))


def forget(settings: Settings, analysis: BehaviorAnalysis) -> None:
    """As if the analysis had never been published."""
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute(f"DROP TABLE IF EXISTS marts.{analysis.name} CASCADE")
        connection.execute("DELETE FROM control.published_day WHERE analysis = %s", [analysis.name])


CASES = {
    "first": ("n * 900", "0"),
    "again, late events, a tenth changed": ("CASE WHEN n % 10 = 0 THEN n * 800 ELSE n * 900 END", "0"),
    "again, another analysis, all changed": ("n * 700", "1"),
}
"""How `net_minor` is computed, and the fingerprint of the analysis."""


def compare(settings: Settings, analysis: BehaviorAnalysis, rows: int) -> None:
    """Every case in turn, each beside a bare COPY of its rows."""
    registry.analyses()[analysis.name] = analysis
    days = tuple(START + dt.timedelta(d) for d in range(DAYS))
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        forget(settings, analysis)
        for what, (net, fingerprint) in CASES.items():
            chunk = Chunk(analysis.name, days, 1, fingerprint * 64)
            path = write_result(settings, chunk, rows, net)
            seconds.setdefault("bare COPY", []).append(copy(settings, path))
            published = timed(lambda chunk=chunk: publish(settings, chunk, run_id="bench"))
            seconds.setdefault(f"{analysis.name}, {what}", []).append(published)
    bare = statistics.median(seconds["bare COPY"])
    for what, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{what:48} {median:7.2f} s  {median / bare:5.2f}x bare COPY", flush=True)


def main(rows: int) -> None:
    """Run on an embedded PostgreSQL of its own."""
    with temporary_server() as server:
        settings = Settings(home=server.data.parent / "home", database_url=server.url("postgres"))
        migrate(settings)
        print(f"{rows:,} rows in {DAYS} days")
        for analysis in (Restated(), Vintage()):
            compare(settings, analysis, rows)
        print(f"peak memory {peak():,.0f} MB, the Arrow table of the bare COPY included")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
