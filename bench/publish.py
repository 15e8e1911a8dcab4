"""Publishing a mart against a bare binary COPY (ADBC) of the same rows into an unindexed table, in the same run.

    python bench/publish.py [ROWS]

Prints seconds, ratios and peak memory for a restated mart and for a vintage: a first publication of 30 days, and the
same days again with one row in ten changed.
"""

from __future__ import annotations

import datetime as dt
import resource
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "include"))

from wayfare import engines, storage
from wayfare.analyses import registry
from wayfare.analyses.api import BehaviorAnalysis, Mart, count, key, measure, minor
from wayfare.analyses.chunk import Chunk
from wayfare.contracts.events import BOOKING
from wayfare.local.postgres import EmbeddedPostgres
from wayfare.marts import publish
from wayfare.settings import Settings
from wayfare.staging.database import connect_adbc, migrate

if TYPE_CHECKING:
    from collections.abc import Callable

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


def timed(what: str, run: Callable[[], object], bare: float | None = None) -> float:
    """Seconds that `run` takes, printed, with the ratio to a bare COPY."""
    started = time.monotonic()
    run()
    seconds = time.monotonic() - started
    print(f"{what:30} {seconds:7.2f} s" + (f"  {seconds / bare:5.2f}x bare COPY" if bare else ""), flush=True)
    return seconds


def copy(settings: Settings, path: str) -> Callable[[], None]:
    """Copy a result, already in Arrow, into a table without a key."""
    table = pq.read_table(path)

    def run() -> None:
        with connect_adbc(settings.url("pipeline")) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("bare", table, mode="create_append", db_schema_name="marts")
            cursor.execute("TRUNCATE marts.bare")
            connection.commit()

    return run


def compare(settings: Settings, rows: int) -> None:
    """Every case once, each beside a bare COPY of its rows."""
    days = tuple(START + dt.timedelta(d) for d in range(DAYS))
    revised = "CASE WHEN n % 10 = 0 THEN n * 800 ELSE n * 900 END"
    for analysis in (Restated(), Vintage()):
        registry.analyses()[analysis.name] = analysis
        for batch, (what, net) in enumerate((("first", "n * 900"), ("again, a tenth changed", revised)), 1):
            chunk = Chunk(analysis.name, days, batch, "0" * 64)
            path = write_result(settings, chunk, rows, net)
            bare = timed("bare COPY", copy(settings, path))
            timed(f"{analysis.name}: {what}", lambda chunk=chunk: publish(settings, chunk, run_id="bench"), bare)


def main(rows: int) -> None:
    """Run on an embedded PostgreSQL of its own."""
    with tempfile.TemporaryDirectory(prefix="wayfare-bench-", ignore_cleanup_errors=True) as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = EmbeddedPostgres(Path(folder) / "data", port, secrets.token_urlsafe(16))
        server.start()
        try:
            settings = Settings(home=Path(folder) / "home", database_url=server.url("postgres"))
            migrate(settings)
            print(f"{rows:,} rows in {DAYS} days")
            compare(settings, rows)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"peak memory {peak:,.0f} MB, the Arrow table of the bare COPY included")
        finally:
            server.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
