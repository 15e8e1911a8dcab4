"""Landing JSON Lines, and a bare binary COPY of the same rows, already in Arrow, into unindexed tables, in one run.

    python bench/landing.py [--events 1000000]

Prints rows a second, peak memory of each process, and the ratio. Figures are the best of three rounds, each with a new
database, in which the two take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from typing import TYPE_CHECKING

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa
from pydantic import SecretStr

from apart import in_process, peak
from wayfare.contracts import EVENT_TYPES, EventType
from wayfare.landing import land, sources
from wayfare.landing.decode import decoder
from wayfare.local.postgres import EmbeddedPostgres, temporary_server
from wayfare.settings import Settings
from wayfare.simulator import simulate
from wayfare.staging import database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALLOWED_RATIO = 3.0
_ROUNDS = 3
_DAYS = 30
_EVENTS_PER_CUSTOMER = 32.4


def main() -> None:
    """Print what `run` measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    for line in run(parser.parse_args().events):
        print(line)


def run(rows: int) -> list[str]:
    """Land about `rows` simulated events and COPY the same; lines to print."""
    with temporary_server() as server:
        folder = server.data.parent
        file = _events(folder, rows)
        settings = Settings(home=folder / "home", database_url=SecretStr(server.url("bench")))
        count = in_process(_as_arrow, settings, file)
        copied, landed = [], []
        for _ in range(_ROUNDS):
            _renew_database(server, settings)
            copied.append(in_process(_timed, _copy, settings, file)[1:])
            landed.append(in_process(_timed, _land, settings, file)[1:])
    (bare, bare_memory), (landing, landing_memory) = min(copied), min(landed)
    ratio = landing / bare
    verdict = "" if ratio <= ALLOWED_RATIO else f"  SLOWER than {ALLOWED_RATIO} times"
    return [
        f"{'bare binary COPY':24}{count / bare:12,.0f} rows/s{bare:9.2f} s{bare_memory:7.0f} MB",
        f"{'landing JSON Lines':24}{count / landing:12,.0f} rows/s{landing:9.2f} s{landing_memory:7.0f} MB",
        f"{'ratio':24}{ratio:12.2f}{verdict}",
    ]


def _renew_database(server: EmbeddedPostgres, settings: Settings) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")
        connection.execute("CREATE DATABASE bench")
    database.migrate(settings)
    with psycopg.connect(server.url("bench")) as connection:
        connection.execute("CREATE SCHEMA bare")
        for contract in EVENT_TYPES.values():
            connection.execute(f"CREATE TABLE bare.{contract.name} (LIKE staging.{contract.name})")


def _events(folder: Path, rows: int) -> Path:
    """One file of about `rows` events, in the order of their delivery."""
    customers = max(1, round(rows / _EVENTS_PER_CUSTOMER))
    simulate(folder / "days", days=_DAYS, customers=customers, seed=1, form="jsonl", broken_share=0, duplicate_share=0)
    with (folder / "events.jsonl").open("wb") as together:
        for day in sorted((folder / "days").iterdir()):
            together.write(day.read_bytes())
            day.unlink()
    return folder / "events.jsonl"


def _timed(work: Callable[[Settings, Path], int], settings: Settings, file: Path) -> tuple[int, float, float]:
    """What the work returns, its seconds, and the peak resident MB of this process."""
    started = time.monotonic()
    result = work(settings, file)
    seconds = time.monotonic() - started
    return result, seconds, peak()


def _land(settings: Settings, file: Path) -> int:
    return land(settings, [str(file)]).landed


def _as_arrow(settings: Settings, file: Path) -> int:
    """Write the events as Arrow files beside `file`, one per event type; returns how many."""
    rows = 0
    with contextlib.ExitStack() as writers, decoder(settings) as decode:
        writer_of = {
            contract: writers.enter_context(pa.ipc.new_file(_arrow(file, contract), contract.staged_schema))
            for contract in EVENT_TYPES.values()
        }
        for lines in sources.read(str(file), None, settings.landing_rows):
            incoming = decode(lines)
            for contract, table in incoming.events:
                stamps = {"landed_at": incoming.landed_at, "batch_id": 1}
                for name, value in stamps.items():
                    kind = contract.staged_schema.field(name).type
                    table = table.append_column(name, pa.repeat(pa.scalar(value, kind), len(table)))  # noqa: PLW2901
                writer_of[contract].write_table(table.select(contract.staged_schema.names).cast(contract.staged_schema))
                rows += len(table)
    return rows


def _copy(settings: Settings, file: Path) -> int:
    rows = 0
    with adbc.connect(settings.url("owner")) as connection, connection.cursor() as cursor:
        for contract in EVENT_TYPES.values():
            with pa.memory_map(str(_arrow(file, contract))) as mapped, pa.ipc.open_file(mapped) as arrow:
                batches = pa.RecordBatchReader.from_batches(
                    arrow.schema, (arrow.get_batch(i) for i in range(arrow.num_record_batches))
                )
                rows += cursor.adbc_ingest(contract.name, batches, db_schema_name="bare", mode="append")
        connection.commit()
    return rows


def _arrow(file: Path, contract: EventType) -> Path:
    return file.with_name(f"{contract.name}.arrow")


if __name__ == "__main__":
    main()
