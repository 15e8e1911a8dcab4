"""What the gates record, by several at once."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import psycopg
import pyarrow as pa
import pytest

from quality.selling import DAY, chunk_of, rows
from waiting import until
from wayfare.analyses.api import Expect
from wayfare.analyses.economic_results import EconomicResults
from wayfare.errors import ServiceError
from wayfare.quality.events import register
from wayfare.quality.judge import Verdict
from wayfare.quality.records import record_quarantine, record_verdicts
from wayfare.snapshots import DayFile
from wayfare.staging import locks

if TYPE_CHECKING:
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings

FILES = [DayFile("booking", DAY, 1, 0, 4)]


def set_aside(settings: Settings, chunk: Chunk, files: list[DayFile], *numbers: int) -> None:
    """Record events of the day as set aside."""
    n = len(numbers)
    table = pa.table(
        {
            "analysis": pa.array([chunk.analysis] * n, pa.string()),
            "event_type": pa.array(["booking"] * n, pa.string()),
            "event_on": pa.array([DAY] * n, pa.date32()),
            "event_id": pa.array([uuid.UUID(int=i).bytes for i in numbers], pa.binary()),
            "rule": pa.array(["r"] * n, pa.string()),
            "through_batch": pa.array([chunk.through_batch] * n, pa.int64()),
        }
    )
    record_quarantine(settings, chunk, files, table.to_reader())


def test_chunks_recording_the_same_day_at_once_leave_it_once(settings: Settings) -> None:
    at_once = threading.Barrier(4)
    verdicts = [Verdict("booking", Expect("ExpectSomething", {"n": n}), True, 0, None) for n in range(100)]

    def record() -> None:
        at_once.wait()
        record_verdicts(settings, chunk_of(), "input", verdicts, {"booking": 3})
        set_aside(settings, chunk_of(), FILES, 1, 2, 3)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(record) for _ in range(4)]:
            done.result()
    assert sorted(rows(settings, "SELECT event_id FROM control.quarantine")) == [(uuid.UUID(int=n),) for n in (1, 2, 3)]
    assert rows(settings, "SELECT count(*) FROM control.validation") == [(100,)]


def test_who_keeps_a_recording_waiting_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", "50ms")
    with ThreadPoolExecutor() as pool, psycopg.connect(settings.url("owner"), application_name="report") as holding:
        keys = (locks.QUARANTINE_LOCK, chunk_of().analysis)
        holding.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", keys)
        recording = pool.submit(set_aside, settings, chunk_of(), FILES, 1)
        until(lambda: "application report" in caplog.text)
        holding.rollback()
        recording.result()
    assert len(rows(settings, "SELECT * FROM control.quarantine")) == 1


def test_the_verdicts_of_a_chunk_are_found_among_those_of_others(settings: Settings) -> None:
    """Each gate of each chunk replaces its own; an analysis has half a million after a month of steady landing."""
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute(
            "INSERT INTO control.validation (analysis, gate, chunk, asset, expectation, severity, success, message)"
            " SELECT 'sold', 'input', n / 10, 'booking', 'E', 'info', true, 'm' FROM generate_series(1, 20000) AS n"
        )
        connection.execute("ANALYZE control.validation")
        explained = connection.execute(
            "EXPLAIN DELETE FROM control.validation WHERE analysis = 'sold' AND gate = 'input' AND chunk = '7'"
        )
        assert "validation_chunk" in str(explained.fetchall())


def test_days_that_were_not_judged_stay(settings: Settings) -> None:
    set_aside(settings, replace(chunk_of(), analysis="other"), FILES, 1)
    set_aside(settings, chunk_of(), FILES, 1)
    set_aside(settings, chunk_of(), [DayFile("search", DAY, 1, 0, 1)])
    assert len(rows(settings, "SELECT * FROM control.quarantine")) == 2
    set_aside(settings, chunk_of(), FILES)
    assert rows(settings, "SELECT analysis FROM control.quarantine") == [("other",)]


def test_what_a_later_batch_s_run_set_aside_stays(settings: Settings) -> None:
    set_aside(settings, chunk_of(through=2), FILES, 1, 2)
    set_aside(settings, chunk_of(through=1), FILES, 1)
    kept = rows(settings, "SELECT event_id, through_batch FROM control.quarantine ORDER BY event_id")
    assert kept == [(uuid.UUID(int=1), 2), (uuid.UUID(int=2), 2)]
    set_aside(settings, chunk_of(through=3), FILES, 1)
    assert rows(settings, "SELECT event_id, through_batch FROM control.quarantine") == [(uuid.UUID(int=1), 3)]


def test_recording_visits_each_event_a_few_times(settings: Settings) -> None:
    """However many of one day: those allowed of a million are fifty thousand."""
    for through in (2, 1):
        set_aside(settings, chunk_of(through=through), FILES, *range(1_000))
    query = "SELECT n_tup_ins, seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'quarantine'"
    until(lambda: rows(settings, query)[0][0] == 2_000)
    assert rows(settings, query)[0][1] < 20_000


def test_a_database_that_is_not_there_is_a_service_error(settings: Settings) -> None:
    gone = settings.model_copy(update={"database_url": type(settings.database_url)("postgresql://x:y@127.0.0.1:1/z")})
    with pytest.raises(ServiceError, match="does not answer"):
        set_aside(gone, chunk_of(), FILES, 1)
    with duckdb.connect() as connection, pytest.raises(ServiceError, match="does not answer"):
        register(connection, gone, EconomicResults(), chunk_of(), [])
