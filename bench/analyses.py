"""Each analysis through the engine, and hand-written DuckDB SQL over the same day files, side by side.

    python bench/analyses.py [--events 10000000] [--days 60] [ANALYSIS ...]

Prints seconds (the best of `--repeat` runs that take turns), peak memory of the process, the ratio, and whether both
gave the same rows. The hand-written query of an analysis is `sql/<analysis>.sql`: it reads views named after the event
types it reads and `rates`, `places` and `days`, and yields the mart's columns. That of customer_value joins what the
same models make of the histories of `sql/customer_value_histories.sql`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import narwhals as nw

from apart import in_process, peak
from day_files import chunk_of, installation
from wayfare import duck, engines, snapshots
from wayfare.analyses import customer_value, purchases, registry
from wayfare.local.postgres import temporary_server

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from wayfare.analyses.api import Inputs
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings

ALLOWED_RATIO = 1.5
SQL = Path(__file__).parent / "sql"


def main() -> None:
    """Make the day files, then time each analysis."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("analyses", nargs="*", metavar="ANALYSIS", help="default: all of them")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with temporary_server() as server:
        settings = installation(server, arguments.events, arguments.days)
        print(f"{'':24}{'engine':>10}{'peak':>10}{'SQL':>10}{'peak':>10}{'ratio':>8}  rows")
        for name in arguments.analyses or registry.analyses():
            _report(settings, chunk_of(name, arguments.days), arguments.repeat)


def _report(settings: Settings, chunk: Chunk, repeat: int) -> None:
    runs: dict[str, list[tuple[float, float]]] = {"engine": [], "sql": []}
    for _ in range(repeat):
        runs["engine"].append(in_process(_timed, _by_engine, settings, chunk))
        runs["sql"].append(in_process(_timed, _by_hand, settings, chunk))
    engine = f"{min(runs['engine'])[0]:8.2f} s{max(m for _, m in runs['engine']):7.0f} MB"
    ratio = min(runs["engine"])[0] / min(runs["sql"])[0]
    by_hand = f"{min(runs['sql'])[0]:8.2f} s{max(m for _, m in runs['sql']):7.0f} MB"
    verdict = "" if ratio <= ALLOWED_RATIO else f"  SLOWER than {ALLOWED_RATIO} times"
    results = (chunk.result(settings.storage), _by_hand_url(settings, chunk))
    print(f"{chunk.analysis:24}{engine}{by_hand}{ratio:8.2f}  {in_process(compared, *results)}{verdict}")


def _timed(work: Callable[[Settings, Chunk], None], settings: Settings, chunk: Chunk) -> tuple[float, float]:
    """Seconds and peak resident MB."""
    registry.analyses()
    started = time.monotonic()
    work(settings, chunk)
    return time.monotonic() - started, peak()


def _by_engine(settings: Settings, chunk: Chunk) -> None:
    engines.analyze(settings, chunk)


def _by_hand(settings: Settings, chunk: Chunk) -> None:
    with engines.session(settings) as connection:
        for name, files in snapshots.paths(settings, chunk).items():
            source = connection.read_parquet(files)
            left_out = "is_test" + (" OR item_is_test" if "item_is_test" in source.columns else "")
            source.filter(f"({left_out}) IS NOT TRUE").create_view(name)
        given = engines.inputs(connection, settings, chunk)
        for name in ("rates", "places", "days"):
            getattr(given, name).to_native().create_view(name)
        if chunk.analysis == "customer_value":
            _fit(connection, given)
        mart = registry.get(chunk.analysis).mart
        columns = ", ".join(f"CAST({n} AS {c.type}) AS {n}" for n, c in mart.all_columns.items())
        connection.execute(f"""
            COPY (SELECT {columns} FROM ({(SQL / f"{chunk.analysis}.sql").read_text()})
                  SEMI JOIN days ON output_on = {mart.day} ORDER BY {", ".join(mart.grain)})
            TO '{_by_hand_url(settings, chunk)}' (FORMAT parquet, COMPRESSION zstd)
        """)


def _fit(connection: duckdb.DuckDBPyConnection, given: Inputs) -> None:
    """What SQL cannot do: the models, fitted to the histories of a hand-written query."""
    connection.sql((SQL / "customer_value_histories.sql").read_text()).create("histories")
    fitted = purchases.expected(nw.from_native(connection.table("histories")), given, customer_value.AHEAD)
    for name, frame in zip(("forecasts", "holdouts"), fitted, strict=True):
        nw.to_native(frame).create(name)


def _by_hand_url(settings: Settings, chunk: Chunk) -> str:
    return f"{chunk.folder(settings.storage)}/by_hand.parquet"


def compared(ours: str, theirs: str) -> str:
    """How many rows a result has, and whether another has the same."""
    with duck.connect() as connection:
        mine, other = connection.read_parquet(ours), connection.read_parquet(theirs)
        rows, differ = (
            relation.aggregate("count(*)").fetchall()[0][0]
            for relation in (mine, mine.except_(other).union(other.except_(mine)))
        )
    return f"{rows:,}, {'equal' if not differ else f'{differ:,} DIFFER'}"


if __name__ == "__main__":
    main()
