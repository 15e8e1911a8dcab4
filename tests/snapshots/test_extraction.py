"""Extraction: what is staged is what the day files hold, written once, whatever interrupts it."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from snapshots.example_analyses import Demand, Reversals
from snapshots.staged_events import event, stage, stage_searches
from waiting import until
from wayfare import snapshots, storage
from wayfare.analyses import registry
from wayfare.analyses.chunk import Chunk
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import ServiceError
from wayfare.snapshots import extraction
from wayfare.staging.database import engine
from wayfare.staging.tables import STAGED, batch, change

if TYPE_CHECKING:
    from wayfare.settings import Settings

DAY = dt.date(2026, 3, 1)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.analyses(), "demand", Demand())
    monkeypatch.setitem(registry.analyses(), "reversals", Reversals())


def _chunk(days: int, through: int = 1) -> Chunk:
    return Chunk("demand", tuple(DAY + dt.timedelta(n) for n in range(days)), through, "f")


def _staged(settings: Settings, event_type: str) -> list[dict[str, Any]]:
    with engine(settings.url("owner")).connect() as connection:
        rows = connection.execute(STAGED[event_type].select()).mappings()
        return sorted((dict(row) for row in rows), key=lambda r: r["event_id"])


def _read(files: list[str]) -> list[dict[str, Any]]:
    return sorted((row for f in files for row in _table(f).to_pylist()), key=lambda r: r["event_id"])


def _table(url: str) -> pa.Table:
    with fsspec.open(url) as file:
        return pq.read_table(file)


def test_day_files_hold_what_is_staged_and_are_written_once(anywhere: Settings) -> None:
    settings = anywhere
    everything = {"min_price": 12_345, "currency": "EUR", "origin": "OPO", "extra": '{"x":1}', "point_of_sale": "PT"}
    stage(settings, 1, [event("search", "2026-03-01T10:00:00.123456", **everything), event("search", "2026-03-02")])
    stage(settings, 2, [event("booking", "2026-03-01", cost=70, end_on=dt.date(2026, 7, 3))])
    assert snapshots.extract(settings, _chunk(2, 2)) == {"files_written": 3, "files_reused": 0, "rows": 3}
    files = snapshots.paths(settings, _chunk(2, 2))
    assert _read(files["search"]) == _staged(settings, "search")
    assert _read(files["booking"]) == _staged(settings, "booking")
    for name, written in files.items():
        assert all(_table(f).schema.equals(snapshots.schema(EVENT_TYPES[name])) for f in written)
    assert snapshots.extract(settings, _chunk(2, 2)) == {"files_written": 0, "files_reused": 3, "rows": 0}
    assert [file for file in storage.files(settings.storage) if not file.endswith(".parquet")] == []


def test_a_late_event_adds_one_file_and_leaves_the_old_one(settings: Settings) -> None:
    stage(settings, 1, [event("search", "2026-03-01"), event("search", "2026-03-02")])
    snapshots.extract(settings, _chunk(2))
    stage(settings, 2, [event("search", "2026-03-02")])
    assert snapshots.extract(settings, _chunk(2, 2)) == {"files_written": 1, "files_reused": 1, "rows": 2}
    assert [len(_read([f])) for f in snapshots.paths(settings, _chunk(2, 2))["search"]] == [1, 2]
    assert [len(_read([f])) for f in snapshots.paths(settings, _chunk(2, 1))["search"]] == [1, 1]


def test_a_file_of_an_earlier_batch_holds_nothing_of_a_later(settings: Settings) -> None:
    """What lands between the plan of a run and its extract is the next run's: events, and what they take back."""
    gone = {"2026-03-01T18:00": 2, "2026-03-01T09:00": 1}
    late, early = (event("cancellation", at, units=units) for at, units in gone.items())
    stage(settings, 1, [event("search", "2026-03-01"), event("booking", "2026-03-01", units=2, price=100), late])
    stage(settings, 2, [event("search", "2026-03-01"), event("booking", "2026-03-01", units=5, price=900), early])
    assert snapshots.extract(settings, _chunk(1))["rows"] == 2
    chunk = Chunk("reversals", (DAY,), 1, "f")
    snapshots.extract(settings, chunk)
    (row,) = _read(snapshots.paths(settings, chunk)["cancellation"])
    assert (row["reversed_units"], row["reversed_price"]) == (2, 100)


def test_a_day_file_that_another_wrote_meanwhile_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(settings, 1, [event("search", "2026-03-01")])
    query, written = extraction._query, []

    def meanwhile(part: list[snapshots.DayFile]) -> str:
        monkeypatch.setattr(extraction, "_query", query)
        snapshots.extract(settings, _chunk(1))
        written.append(Path(snapshots.paths(settings, _chunk(1))["search"][0]).stat().st_ino)
        return query(part)

    monkeypatch.setattr(extraction, "_query", meanwhile)
    snapshots.extract(settings, _chunk(1))
    assert [Path(file).stat().st_ino for file in snapshots.paths(settings, _chunk(1))["search"]] == written


def test_a_batch_in_the_place_of_another_reads_none_of_its_files(settings: Settings) -> None:
    """After a backup is restored, and in a new database, batches are numbered anew; the storage is what it was."""
    stage(settings, 1, [event("search", "2026-03-01"), event("search", "2026-03-02")])
    stage(settings, 2, [event("search", "2026-03-02", min_price=999)])
    snapshots.extract(settings, _chunk(2, 2))
    with engine(settings.url("owner")).begin() as connection:
        for table in (STAGED["search"], batch, change):
            connection.execute(table.delete().where(table.c.batch_id == 2))
    stage(settings, 2, [event("search", "2026-03-02", min_price=5)])
    assert snapshots.extract(settings, _chunk(2, 2)) == {"files_written": 1, "files_reused": 1, "rows": 2}
    assert _read(snapshots.paths(settings, _chunk(2, 2))["search"]) == _staged(settings, "search")


def test_event_ids_are_uuids_to_duckdb_as_it_writes_them_itself(settings: Settings, tmp_path: Path) -> None:
    stage(settings, 1, [event("search", "2026-03-01")])
    snapshots.extract(settings, _chunk(1))
    (file,) = snapshots.paths(settings, _chunk(1))["search"]
    events = duckdb.read_parquet(file)
    assert dict(zip(events.columns, events.types, strict=True))["event_id"] == "UUID"
    events.project("event_id").write_parquet(str(tmp_path / "ids.parquet"))
    assert pq.read_schema(tmp_path / "ids.parquet").field("event_id").type == pa.uuid()


def test_many_days_come_apart_whatever_the_queries_and_row_groups(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "QUERY_EVENTS", 1_000)
    monkeypatch.setattr(extraction, "ROW_GROUP_ROWS", 300)
    stage_searches(settings, 1, DAY, days=5, a_day=400)
    stage_searches(settings, 2, DAY, days=1, a_day=2_000)
    assert snapshots.extract(settings, _chunk(4, 2))["rows"] == 4_000
    files = snapshots.paths(settings, _chunk(4, 2))["search"]
    assert [{row["event_on"] for row in _read([f])} for f in files] == [{DAY + dt.timedelta(n)} for n in range(5)]
    assert _read(files) == _staged(settings, "search")


def test_wide_events_make_row_groups_of_fewer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "ROW_GROUP_BYTES", 10_000_000)
    stage(settings, 1, [event("search", "2026-03-01", extra=f'{{"x":"{n:0900000}"}}') for n in range(30)])
    snapshots.extract(settings, _chunk(1))
    (file,) = snapshots.paths(settings, _chunk(1))["search"]
    written = pq.read_metadata(file)
    assert written.num_rows == 30
    assert all(written.row_group(n).total_byte_size < 20_000_000 for n in range(written.num_row_groups))


def test_a_booking_of_many_days_is_settled_once_for_each_batch(settings: Settings) -> None:
    """Not for each day: a group whose items are cancelled one by one is many sales times many days."""
    items = [f"{n}" for n in range(40)]
    days = [DAY + dt.timedelta(n) for n, _ in enumerate(items)]
    sold = [event("booking", "2026-02-01", item_id=item) for item in items]
    cancelled = [event("cancellation", f"{day}", item_id=item) for day, item in zip(days, items, strict=True)]
    stage(settings, 1, [*sold, *cancelled])
    assert snapshots.extract(settings, Chunk("reversals", tuple(days), 1, "f"))["rows"] == 40
    query = text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'booking'")

    def read() -> int:
        with engine(settings.url("owner")).connect() as connection:
            return int(connection.scalar(query) or 0)

    until(lambda: read() >= 40)
    assert read() < 400


def test_a_touched_day_without_events_gets_an_empty_file(settings: Settings) -> None:
    stage(settings, 1, [event("search", "2026-03-01")])
    with engine(settings.url("owner")).begin() as connection:
        connection.execute(STAGED["search"].delete())
    assert snapshots.extract(settings, _chunk(1)) == {"files_written": 1, "files_reused": 0, "rows": 0}
    assert _read(snapshots.paths(settings, _chunk(1))["search"]) == []


def test_a_writer_that_fails_leaves_nothing(anywhere: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stage_searches(anywhere, 1, DAY, days=9, a_day=10)
    monkeypatch.setattr(extraction, "QUERY_EVENTS", 1)
    tried = list[object]()

    def refuse(*given: object) -> None:
        tried.append(given)
        time.sleep(0.05)
        raise OSError("disk full")

    monkeypatch.setattr(extraction.pq.ParquetWriter, "write_table", refuse)
    with pytest.raises(OSError, match="disk full"):
        snapshots.extract(anywhere, _chunk(9))
    assert storage.files(anywhere.storage) == {}
    assert len(tried) < 9, "nor begins on the other days"


def test_a_database_that_breaks_off_is_a_service_error(settings: Settings) -> None:
    stage(settings, 1, [event("search", "2026-03-01")])
    with engine(settings.url("owner")).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE staging.search RENAME COLUMN extra TO gone")
    with pytest.raises(ServiceError, match="extra"):
        snapshots.extract(settings, _chunk(1))


_EXTRACT = """
import datetime as dt
from snapshots.example_analyses import Demand
from wayfare import snapshots
from wayfare.analyses import registry
from wayfare.analyses.chunk import Chunk
from wayfare.settings import get_settings
registry.analyses()["demand"] = Demand()
days = tuple(dt.date(2026, 3, 1) + dt.timedelta(n) for n in range(300))
snapshots.extract(get_settings(), Chunk("demand", days, 1, "f"))
"""


def test_killed_and_run_again_it_writes_what_is_missing(settings: Settings) -> None:
    stage_searches(settings, 1, DAY, days=301, a_day=30)
    root = Path(settings.storage) / "snapshots"
    python_path = os.pathsep.join(p for p in sys.path if p)
    process = subprocess.Popen([sys.executable, "-c", _EXTRACT], env={**os.environ, "PYTHONPATH": python_path})
    while process.poll() is None and len(list(root.rglob("*.parquet"))) < 5:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*.parquet")}
    (root / "search" / "2026-03-05" / "1.parquet.0123456789ab.tmp").write_bytes(b"half a file")
    assert 5 <= len(before) < 301

    done = snapshots.extract(settings, _chunk(300))
    assert done["files_reused"] == len(before)
    assert done["files_written"] == 301 - len(before)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    files = snapshots.paths(settings, _chunk(300))["search"]
    assert sorted(map(str, root.rglob("*.parquet"))) == files
    assert _read(files) == _staged(settings, "search")
