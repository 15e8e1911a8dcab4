"""Extract against a bare binary COPY of the same rows: `python bench/extract.py [ROWS]` prints both and their ratio.

The rows are searches over 30 days and, a tenth of them, bookings with cancellations and refunds, staged in a database
of the run's own, in the order of time with one in fifty late. The rows of cancellations and refunds carry the sold item
behind them: there COPY runs the same query. Both figures are the best of five runs that take turns.
"""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from apart import peak
from wayfare import snapshots
from wayfare.analyses import registry
from wayfare.analyses.api import BehaviorAnalysis, Mart, key
from wayfare.analyses.chunk import Chunk
from wayfare.contracts import EVENT_TYPES
from wayfare.local.postgres import EmbeddedPostgres, temporary_server
from wayfare.settings import Settings
from wayfare.snapshots import references
from wayfare.staging import database

if TYPE_CHECKING:
    from wayfare.contracts import EventType
    from wayfare.snapshots import DayFile

DAYS = 30
FIRST_ON = dt.date(2026, 3, 1)

_FILL = """
CREATE TEMP TABLE made AS
SELECT n, gen_random_uuid() AS event_id, at AS occurred_at, CAST(at AT TIME ZONE 'UTC' AS date) AS event_on
FROM (SELECT n, DATE '2026-03-01' + (CASE WHEN n % 50 = 0 THEN (n * 7919) % %(rows)s ELSE n END)
                * (INTERVAL '30 days' / %(rows)s) AS at
      FROM generate_series(0::bigint, %(rows)s - 1) AS n) AS timed;

INSERT INTO staging.search (event_id, schema_version, occurred_at, source, channel, point_of_sale, customer_id,
  visitor_id, session_id, campaign_source, is_test, search_id, product, destination, start_on, adults, result_count,
  origin, end_on, children, infants, cabin, min_price, currency, event_on, landed_at, batch_id)
SELECT event_id, '1-0-0', occurred_at, 'web', (ARRAY['seo', 'sem', 'direct'])[1 + n % 3],
  (ARRAY['PT', 'ES', 'GB', 'US'])[1 + n % 4], CASE WHEN n % 3 = 0 THEN 'c' || n % 20000 END, 'v' || n % 90000,
  's' || n % 400000, (ARRAY['google', 'meta', NULL])[1 + n % 3], false, 'q' || n,
  (ARRAY['flight', 'hotel', 'car'])[1 + n % 3], (ARRAY['LIS', 'OPO', 'LHR', 'JFK', 'NRT'])[1 + n % 5],
  event_on + 30, 2, n % 20, 'MAD', event_on + 37, 0, 0, 'economy', 10000 + n % 5000, 'EUR', event_on, now(), 1
FROM made ORDER BY n;

INSERT INTO staging.booking (event_id, schema_version, occurred_at, source, customer_id, is_test, booking_id, item_id,
  product, resource_id, destination, start_on, units, price, currency, cost, commission, fee, event_on, landed_at,
  batch_id)
SELECT gen_random_uuid(), '1-0-0', occurred_at, 'web', 'c' || n % 20000, false, 'b' || n / 20, n % 20 / 10, 'hotel',
  'hotel:PT-1/double', 'LIS', event_on + 30, 1 + n % 3, 20000 + n % 9000, 'EUR', 15000, 800, 500, event_on, now(), 1
FROM made WHERE n % 10 = 0 ORDER BY n;

INSERT INTO staging.cancellation (event_id, schema_version, occurred_at, source, is_test, cancellation_id, booking_id,
  units, initiator, penalty, currency, event_on, landed_at, batch_id)
SELECT gen_random_uuid(), '1-0-0', occurred_at, 'web', false, 'x' || n, 'b' || n / 20, 1, 'customer', 900, 'EUR',
  event_on, now(), 1
FROM made WHERE n % 60 = 0 ORDER BY n;

INSERT INTO staging.refund (event_id, schema_version, occurred_at, source, is_test, refund_id, booking_id, amount,
  currency, event_on, landed_at, batch_id)
SELECT gen_random_uuid(), '1-0-0', occurred_at, 'web', false, 'r' || n, 'b' || n / 20, 15000, 'EUR', event_on, now(), 1
FROM made WHERE n % 100 = 0 ORDER BY n;

INSERT INTO control.batch VALUES (1, now(), 'bench', 0, 0, 0, 0);
"""

_CHANGES = """
INSERT INTO control.change (event_type, event_on, batch_id, rows)
SELECT '{0}', event_on, 1, count(*) FROM staging.{0} GROUP BY event_on
"""


class Searches(BehaviorAnalysis):
    """Searches only."""

    mart = Mart(day="event_on", grain={"event_on": key("Day.", "date")}, columns={})
    reads = (EVENT_TYPES["search"],)


class Reversals(Searches):
    """Cancellations and refunds, with the sold items behind them."""

    reads = (EVENT_TYPES["cancellation"], EVENT_TYPES["refund"])


def main(rows: int) -> None:
    """Fill a database with `rows` searches and print what copying and extracting them takes."""
    with temporary_server() as server:
        settings = Settings(database_url=server.url("postgres"), home=server.data.parent / "home")
        database.migrate(settings)
        _fill(server, rows)
        for analysis in (Searches(), Reversals()):
            registry.analyses()[analysis.name] = analysis
            _compare(server, settings, analysis)


def _fill(server: EmbeddedPostgres, rows: int) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for statement in _FILL.replace("%(rows)s", str(rows)).split(";\n"):
            if statement.strip():
                connection.execute(statement)
        for event_type in ("search", "booking", "cancellation", "refund"):
            connection.execute(_CHANGES.format(event_type))
            connection.execute(f"VACUUM ANALYZE staging.{event_type}")


def _compare(server: EmbeddedPostgres, settings: Settings, analysis: BehaviorAnalysis) -> None:
    days = tuple(FIRST_ON + dt.timedelta(n) for n in range(DAYS))
    chunk = Chunk(analysis.name, days, 1, "bench")
    queries = [_query(e, snapshots.day_files(settings, chunk)) for e in analysis.reads]
    runs = [(_copy(server, queries), *_extract(settings, chunk)) for _ in range(5)]
    copied, seconds = min(run[0] for run in runs), min(run[1] for run in runs)
    memory = peak()
    size = sum(Path(f).stat().st_size for files in snapshots.paths(settings, chunk).values() for f in files) / 2**20
    rows = runs[0][2]["rows"]
    print(
        f"{analysis.name}: {rows:,} rows: COPY {copied:.2f} s, extract {seconds:.2f} s"
        f" ({rows / seconds:,.0f} rows/s, {size:.0f} MiB), ratio {seconds / copied:.2f}, peak {memory:.0f} MiB"
    )


def _query(event_type: EventType, files: list[DayFile]) -> str:
    if event_type.refers:
        return references.query(event_type, [f for f in files if f.event_type == event_type.name])
    return f"SELECT * FROM staging.{event_type.name}"


def _copy(server: EmbeddedPostgres, queries: list[str]) -> float:
    with psycopg.connect(server.url("postgres")) as connection:
        connection.execute("SET enable_nestloop = off")
        start = time.monotonic()
        for query in queries:
            connection.execute(f"COPY ({query}) TO '/dev/null' (FORMAT binary)")
        return time.monotonic() - start


def _extract(settings: Settings, chunk: Chunk) -> tuple[float, dict[str, int]]:
    """Seconds, from nothing."""
    shutil.rmtree(settings.storage, ignore_errors=True)
    start = time.monotonic()
    done = snapshots.extract(settings, chunk)
    return time.monotonic() - start, done


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
