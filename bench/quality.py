"""The input suite of bookings on Great Expectations, against the same checks as one DuckDB query, in the same run.

    python bench/quality.py [ROWS]

Prints seconds of both, their ratio and the process's peak memory. Importing Great Expectations is timed apart.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apart import peak
from wayfare.analyses.economic_results import EconomicResults
from wayfare.contracts import EVENT_TYPES
from wayfare.engines import session
from wayfare.quality.context import datasource, great_expectations
from wayfare.quality.events import register_type
from wayfare.quality.judge import breaking_events, judge
from wayfare.quality.suites import input_suite
from wayfare.settings import Settings
from wayfare.snapshots import schema

if TYPE_CHECKING:
    import duckdb

    from wayfare.analyses.api import Expect

DAYS = 30
BOOKING = EVENT_TYPES["booking"]
_VALUES = {
    "UUID": "uuid()",
    "INTEGER": "CAST(1 + i % 9 AS integer)",
    "BIGINT": "i % 100_000",
    "DATE": "DATE '2026-06-01' + CAST(i % 200 AS integer)",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ '2026-06-01 00:00:00+00' + to_microseconds(i * 1000)",
    "BOOLEAN": "false",
    "VARCHAR": "'value ' || (i * 7919 % 100_000)",
}


def write_days(connection: duckdb.DuckDBPyConnection, folder: Path, rows: int) -> list[str]:
    """Day files of bookings; one row in 100,000 has a negative number of units."""
    empty = connection.from_arrow(schema(BOOKING).empty_table())
    special = {"product": "'hotel'", "units": "CASE WHEN i % 100_000 = 7 THEN -1 ELSE 1 + i % 9 END"}
    values = [f'{special.get(n, _VALUES[str(t)])} AS "{n}"' for n, t in zip(empty.columns, empty.types, strict=True)]
    urls = []
    for day in range(DAYS):
        urls.append(str(folder / f"{day}.parquet"))
        part = f"FROM range({rows * day // DAYS}, {rows * (day + 1) // DAYS}) AS r (i)"
        connection.execute(f"COPY (SELECT {', '.join(values)} {part}) TO '{urls[-1]}' (FORMAT parquet)")
    return urls


def bare(connection: duckdb.DuckDBPyConnection, expects: tuple[Expect, ...]) -> None:
    """The row-level checks of a suite by hand: one query counts, one more sets aside the events of each broken rule.

    CASE, not FILTER: DuckDB answers it from the files' statistics where they say that no row can break the rule.
    """
    rules = [e for e in expects if "column" in e.arguments]
    counts = ", ".join(f"sum(CASE WHEN {wrong(e)} THEN 1 ELSE 0 END)" for e in rules)
    total, *broken = connection.execute(f"SELECT count(*), {counts} FROM booking").fetchone()
    for rule, rows in zip(rules, broken, strict=True):
        if rows > (1 - rule.arguments.get("mostly", 1)) * total and rule.severity == "critical":
            aside = f"SELECT 'booking', event_id, ? FROM booking WHERE {wrong(rule)}"
            connection.execute(f"INSERT INTO quarantined {aside}", [rule.expectation])


def wrong(expect: Expect) -> str:
    """When a row breaks the expectation, as DuckDB SQL."""
    column = f'"{expect.arguments["column"]}"'
    match expect.expectation:
        case "ExpectColumnValuesToNotBeNull":
            return f"{column} IS NULL"
        case "ExpectColumnValuesToBeInSet":
            return f"{column} NOT IN ({', '.join(repr(v) for v in expect.arguments['value_set'])})"
        case _:
            least, most = expect.arguments.get("min_value"), expect.arguments.get("max_value")
            sides = [f"{column} < {least}"] * (least is not None) + [f"{column} > {most}"] * (most is not None)
            return " OR ".join(sides)


def timed(run: Any) -> tuple[float, Any]:
    """Seconds a call takes, and what it gives."""
    started = time.perf_counter()
    found = run()
    return time.perf_counter() - started, found


def main() -> None:
    """Write the events, then judge them both ways by turns; the best of three counts."""
    rows = int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else 1_000_000
    print(f"import of Great Expectations: {timed(great_expectations)[0]:.1f} s")
    suite = input_suite(EconomicResults(), BOOKING)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        with session(settings) as connection:
            urls = write_days(connection, Path(folder), rows)
            connection.execute("CREATE TABLE quarantined (event_type text, event_id uuid, rule text)")
            register_type(connection, BOOKING, urls)
            columns = connection.table("booking").columns

            def with_gx() -> None:
                with datasource(connection) as source:
                    breaking_events(connection, judge(source, suite, columns))

            turns = [(timed(lambda: bare(connection, suite.expects))[0], timed(with_gx)[0]) for _ in range(3)]
            by_sql, by_gx = (min(seconds) for seconds in zip(*turns, strict=True))
            (found,) = connection.execute("SELECT count(DISTINCT event_id) FROM quarantined").fetchone()
    memory = peak() / 1000
    print(f"{rows:,} bookings, {len(suite.expects)} expectations, {found} events set aside")
    print(
        f"DuckDB SQL {by_sql:.2f} s, Great Expectations {by_gx:.2f} s, ratio {by_gx / by_sql:.2f}, peak {memory:.2f} GB"
    )


if __name__ == "__main__":
    main()
