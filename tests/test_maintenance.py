"""Pruning removes what nothing needs any more, and only that."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

import stores
from wayfare import maintenance, storage
from wayfare.analyses.chunk import Chunk
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import ConfigurationError, ServiceError
from wayfare.snapshots import references

if TYPE_CHECKING:
    from wayfare.settings import Settings


def _file(settings: Settings, path: str, *, age_days: float) -> str:
    stores.write(f"{settings.storage}/{path}", b"x", age_days=age_days)
    return f"{settings.storage}/{path}"


def test_day_files_go_once_their_successor_is_old(anywhere: Settings) -> None:
    superseded = _file(anywhere, "snapshots/search/2026-03-01/9-64a0b.parquet", age_days=5)
    just_superseded = _file(anywhere, "snapshots/search/2026-03-01/10-64a0a.parquet", age_days=4)
    current = _file(anywhere, "snapshots/search/2026-03-01/11-64a0d.parquet", age_days=2)
    written_again = _file(anywhere, "snapshots/search/2026-03-03/9-64a0b.parquet", age_days=1)
    its_successor = _file(anywhere, "snapshots/search/2026-03-03/10-64a0c.parquet", age_days=40)
    never_superseded = _file(anywhere, "snapshots/search/2026-03-02/9.parquet", age_days=400)

    assert maintenance.prune(anywhere, keep_days=30)["files"] == 1

    assert not storage.exists(superseded)
    kept = (just_superseded, current, written_again, its_successor, never_superseded)
    assert all(map(storage.exists, kept))


def test_of_one_batch_the_file_written_last_is_the_successor(anywhere: Settings) -> None:
    """A release that finds sales in another way writes the day files of reversals again, under another name."""
    now = _file(anywhere, "snapshots/refund/2026-03-01/9-64a0b.0123abcd.parquet", age_days=40)
    before = _file(anywhere, "snapshots/refund/2026-03-01/9-64a0b.4567abcd.parquet", age_days=50)

    assert maintenance.prune(anywhere, keep_days=30)["files"] == 1

    assert storage.exists(now)
    assert not storage.exists(before)


def test_day_files_of_a_database_that_was_restored_do_not_succeed_its_own(anywhere: Settings) -> None:
    former = [
        _file(anywhere, "snapshots/search/2026-03-01/8.parquet", age_days=70),
        _file(anywhere, "snapshots/search/2026-03-01/9-64a0b.parquet", age_days=60),
    ]
    beyond = _file(anywhere, "snapshots/search/2026-03-01/12-64a0c.parquet", age_days=50)
    current = _file(anywhere, "snapshots/search/2026-03-01/9-64a0d.parquet", age_days=40)

    assert maintenance.prune(anywhere, keep_days=30)["files"] == 2

    assert not any(map(storage.exists, former))
    assert all(map(storage.exists, (beyond, current)))


def test_the_current_file_of_a_day_stays_whatever_a_database_that_is_gone_has_left(anywhere: Settings) -> None:
    landed_at = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
    with psycopg.connect(anywhere.url("owner")) as connection:
        connection.execute("INSERT INTO control.batch VALUES (8, %s, 'f', 1, 0, 0, 0)", (landed_at,))
        for name in ("search", "refund"):
            connection.execute("INSERT INTO control.change VALUES (%s, '2026-03-01', 8, 1)", (name,))
    now = f"8-{int(landed_at.timestamp()) * 1_000_000:x}"
    searched = _file(anywhere, f"snapshots/search/2026-03-01/{now}.parquet", age_days=60)
    refunded = _file(
        anywhere, f"snapshots/refund/2026-03-01/{now}.{references.version(EVENT_TYPES['refund'])}.parquet", age_days=60
    )
    former = _file(anywhere, f"snapshots/refund/2026-03-01/{now}.4567abcd.parquet", age_days=70)
    for name in ("search/2026-03-01/9-64a0b", "refund/2026-03-01/9-64a0b.4567abcd"):
        _file(anywhere, f"snapshots/{name}.parquet", age_days=50)

    assert maintenance.prune(anywhere, keep_days=30)["files"] == 1

    assert not storage.exists(former)
    assert all(map(storage.exists, (searched, refunded)))


def test_work_folders_go_as_a_whole(anywhere: Settings) -> None:
    names = ("quarantine.parquet", "result.parquet", "result.parquet.0a1b.parts/2c3d/part-0.parquet")
    done, other = _folder("sessions", batch=7), _folder("sessions", batch=6)
    old = [_file(anywhere, f"{done}/{name}", age_days=31) for name in names]
    under_way = [
        _file(anywhere, f"{other}/quarantine.parquet", age_days=31),
        _file(anywhere, f"{other}/result.parquet", age_days=1),
    ]

    assert maintenance.prune(anywhere, keep_days=30)["files"] == 3

    assert not any(map(storage.exists, old))
    assert all(map(storage.exists, under_way))


def test_work_of_a_run_that_a_later_one_has_superseded_goes_after_three_days(settings: Settings) -> None:
    superseded = _file(settings, f"{_folder('sessions', batch=9)}/result.parquet", age_days=4)
    last, young, others = (
        _file(settings, f"{_folder(analysis, batch=batch)}/result.parquet", age_days=age)
        for analysis, batch, age in (("sessions", 10, 20), ("sessions", 8, 2), ("customer_value", 9, 20))
    )

    assert maintenance.prune(settings, keep_days=30)["files"] == 1

    assert not storage.exists(superseded)
    assert all(map(storage.exists, (last, young, others)))


def _folder(analysis: str, *, batch: int) -> str:
    return Chunk(analysis, (dt.date(2026, 3, 1),), batch, "0123abcd").folder(".").removeprefix("./")


def test_old_xcoms_go(anywhere: Settings) -> None:
    old = _file(anywhere, "xcom/sessions/manual__2026-01-01/plan/a.gz", age_days=31)
    young = _file(anywhere, "xcom/sessions/manual__2026-02-01/plan/b.gz", age_days=29)

    assert maintenance.prune(anywhere, keep_days=30)["files"] == 1

    assert not storage.exists(old)
    assert storage.exists(young)


def test_what_is_gone_by_then_is_passed_over(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow removes an XCom's file itself when its task runs again."""
    gone = [
        _file(settings, "xcom/sessions/manual__2026-01-01/plan/a.gz", age_days=31),
        _file(settings, "snapshots/search/2026-03-01/9-64a0b.parquet", age_days=50),
    ]
    _file(settings, "snapshots/search/2026-03-01/10-64a0c.parquet", age_days=40)

    def removed_meanwhile(url: str, ending: str = "") -> dict[str, dt.datetime]:
        found = storage.files(url, ending)
        for file in found.keys() & gone:
            Path(file).unlink()
        return found

    monkeypatch.setattr(maintenance, "files", removed_meanwhile)

    assert maintenance.prune(settings, keep_days=30)["files"] == 0


def test_leftovers_of_killed_writers_go(anywhere: Settings) -> None:
    leftover = _file(anywhere, "snapshots/search/2026-03-01/9.parquet.0a1b.tmp", age_days=3)
    being_written = _file(anywhere, "snapshots/search/2026-03-01/9.parquet.2c3d.tmp", age_days=0)

    assert maintenance.prune(anywhere, keep_days=30)["files"] == 1

    assert not storage.exists(leftover)
    assert storage.exists(being_written)


def test_old_verdicts_go_but_the_last_of_each_gate(settings: Settings) -> None:
    now = dt.datetime.now(dt.UTC)
    judged = [("input", 300), ("input", 31), ("input", 29), ("input", 10), ("output", 40), ("output", 32)]
    with psycopg.connect(settings.url("owner")) as connection:
        for gate, age in (("output", -900), *judged):  # the first while the clock was ahead
            connection.execute(
                "INSERT INTO control.validation (analysis, gate, chunk, asset, expectation, severity, success, message,"
                " judged_at) VALUES ('a', %s, %s, 'search', 'E', 'info', true, 'm', %s)",
                (gate, f"chunk{age}", now - dt.timedelta(days=age)),
            )

    assert maintenance.prune(settings, keep_days=30) == {"files": 0, "verdicts": 3, "changes": 0}
    assert maintenance.prune(settings, keep_days=30) == {"files": 0, "verdicts": 0, "changes": 0}

    with psycopg.connect(settings.url("owner")) as connection:
        left = connection.execute("SELECT gate, chunk FROM control.validation ORDER BY 1, 2").fetchall()
    assert left == [("input", "chunk10"), ("input", "chunk29"), ("output", "chunk-900"), ("output", "chunk32")]


@pytest.mark.parametrize(("keep_days", "left"), [(30, [3, 4, 5]), (1, [4, 5])])
def test_the_change_log_is_folded_up_to_three_days_ago(keep_days: int, left: list[int], settings: Settings) -> None:
    now = dt.datetime.now(dt.UTC)
    with psycopg.connect(settings.url("owner")) as connection:
        for batch, age in enumerate((9, 5, 4, 2, 0.5), 1):
            landed_at = now - dt.timedelta(days=age)
            connection.execute("INSERT INTO control.batch VALUES (%s, %s, 'f', 1, 0, 0, 0)", (batch, landed_at))
            connection.execute("INSERT INTO control.change VALUES ('search', '2026-03-01', %s, 1)", (batch,))

    assert maintenance.prune(settings, keep_days=keep_days)["changes"] == 5 - len(left)

    with psycopg.connect(settings.url("owner")) as connection:
        assert [n for (n,) in connection.execute("SELECT batch_id FROM control.change ORDER BY 1")] == left


def test_an_empty_installation_has_nothing_to_prune(anywhere: Settings) -> None:
    assert maintenance.prune(anywhere, keep_days=1) == {"files": 0, "verdicts": 0, "changes": 0}


def test_running_chunks_keep_their_files(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="keep at least 1 day"):
        maintenance.prune(settings, keep_days=0)


def test_a_database_that_is_not_there_is_a_service_error(settings: Settings) -> None:
    gone = settings.model_copy(update={"database_url": type(settings.database_url)("postgresql://x:y@127.0.0.1:1/z")})
    with pytest.raises(ServiceError, match="does not answer"):
        maintenance.prune(gone, keep_days=1)
