"""Folding the change log: one row for each day of what is old, and nobody reads another day for it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from landing.sample_events import query
from marts import tiny
from marts.tiny import day
from wayfare.analyses.chunk import Chunk
from wayfare.errors import DataError
from wayfare.snapshots import day_files
from wayfare.staging.database import engine
from wayfare.staging.folding import fold

if TYPE_CHECKING:
    from wayfare.settings import Settings

NOON = dt.datetime(2026, 3, 9, 12, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.install(monkeypatch, tiny.Sales())


def land(settings: Settings, batch_id: int, rows: dict[int, int], *, hours: int) -> None:
    """Commit a batch so many hours after noon."""
    tiny.touch(settings, batch_id, rows)
    with engine(settings.url("owner")).begin() as connection:
        at = {"b": batch_id, "at": NOON + dt.timedelta(hours=hours)}
        connection.execute(text("UPDATE control.batch SET landed_at = :at WHERE batch_id = :b"), at)


def test_what_is_old_becomes_one_row_for_each_day(settings: Settings) -> None:
    tiny.touch(settings, 1, {0: 7}, event_type="search")
    land(settings, 1, {0: 5, 1: 1}, hours=-3)
    land(settings, 2, {0: 2}, hours=-2)
    land(settings, 3, {0: 0}, hours=-1)
    land(settings, 4, {0: 4}, hours=1)
    land(settings, 5, {1: 3}, hours=-2)
    log = "SELECT event_type, event_on, batch_id, rows, first_batch_id FROM control.change ORDER BY 1, 2, 3"
    assert fold(settings.url("pipeline"), NOON) == 2
    folded = [
        ("booking", day(0), 3, 7, 1), ("booking", day(0), 4, 4, None), ("booking", day(1), 1, 1, None),
        ("booking", day(1), 5, 3, None), ("search", day(0), 1, 7, None),
    ]  # fmt: skip
    assert query(settings, log) == folded
    assert fold(settings.url("pipeline"), NOON) == 0
    assert query(settings, log) == folded
    assert fold(settings.url("pipeline"), NOON + dt.timedelta(hours=2)) == 2
    assert query(settings, log) == [("booking", day(0), 4, 11, 1), ("booking", day(1), 5, 4, 1), folded[-1]]


def test_a_batch_dated_in_the_future_holds_up_none_after_it(settings: Settings) -> None:
    ahead = 24 * 365 * 100
    land(settings, 1, {0: 1}, hours=-4)
    land(settings, 2, {0: 2}, hours=ahead)
    land(settings, 3, {0: 4}, hours=-3)
    land(settings, 4, {0: 8}, hours=ahead)
    log = "SELECT batch_id, rows, first_batch_id FROM control.change ORDER BY 1"
    assert fold(settings.url("pipeline"), NOON) == 2
    assert query(settings, log) == [(3, 7, 1), (4, 8, None)]  # nothing tells how old the last one is
    land(settings, 5, {0: 16}, hours=1)
    assert fold(settings.url("pipeline"), NOON) == 0
    assert fold(settings.url("pipeline"), NOON + dt.timedelta(hours=2)) == 2
    assert query(settings, log) == [(5, 31, 1)]


def test_a_chunk_of_before_is_refused_where_it_cannot_know_its_events(settings: Settings) -> None:
    land(settings, 1, {0: 5, 6: 1}, hours=-3)
    land(settings, 2, {0: 2}, hours=-2)
    chunks = {n: Chunk("sales", (day(n),), through_batch=1, fingerprint="f") for n in (0, 6)}
    before = {n: day_files(settings, chunk) for n, chunk in chunks.items()}
    assert [file.events for file in before[0]] == [5]
    fold(settings.url("pipeline"), NOON)
    with pytest.raises(DataError, match="planned through batch 1, and what booking was on 2026-03-01 by then is no"):
        day_files(settings, chunks[0])
    assert day_files(settings, chunks[6]) == before[6]
