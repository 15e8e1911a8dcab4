"""Which day files a chunk reads."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from snapshots.example_analyses import Demand
from snapshots.staged_events import event, stage
from wayfare import snapshots
from wayfare.analyses import registry
from wayfare.analyses.api import Window
from wayfare.analyses.chunk import Chunk, spans
from wayfare.contracts import EVENT_TYPES
from wayfare.snapshots import settlement
from wayfare.staging.database import engine
from wayfare.staging.tables import batch

if TYPE_CHECKING:
    from wayfare.settings import Settings

DAY = dt.date(2026, 3, 1)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.analyses(), "demand", Demand())


def _days(n: int) -> dt.date:
    return DAY + dt.timedelta(n)


@given(st.sets(st.integers(-40, 40), min_size=1), st.integers(0, 5), st.integers(0, 5))
def test_spans_hold_every_input_day_once(offsets: set[int], before: int, after: int) -> None:
    analysis = Demand()
    analysis.window = Window(before, after)  # type: ignore[misc]  # of this one instance
    found = spans(map(analysis.reads_of, sorted(map(_days, offsets))))
    held = [first + dt.timedelta(n) for first, last in found for n in range((last - first).days + 1)]
    assert held == sorted({_days(o + n) for o in offsets for n in range(-before, after + 1)})
    assert all(right[0] - left[1] > dt.timedelta(1) for left, right in itertools.pairwise(found))


def test_a_day_file_is_named_after_the_last_batch_that_touched_its_day(settings: Settings) -> None:
    stage(settings, 1, [event("search", "2026-03-01"), event("search", "2026-03-02"), event("search", "2026-03-03")])
    stage(settings, 2, [event("search", "2026-03-02"), event("booking", "2026-03-01")])
    stage(settings, 3, [event("search", "2026-03-01")])
    as_of_two = snapshots.paths(settings, Chunk("demand", (DAY,), 2, "f"))
    root = f"{settings.storage}/snapshots"
    with engine(settings.url("owner")).connect() as connection:
        landed = [at for (at,) in connection.execute(select(batch.c.landed_at).order_by(batch.c.batch_id))]
    first, second, third = (f"{n}-{round(at.timestamp() * 1e6):x}" for n, at in enumerate(landed, start=1))
    assert as_of_two == {
        "search": [f"{root}/search/2026-03-01/{first}.parquet", f"{root}/search/2026-03-02/{second}.parquet"],
        "booking": [f"{root}/booking/2026-03-01/{second}.parquet"],
    }
    as_of_three = snapshots.paths(settings, Chunk("demand", (DAY,), 3, "f"))
    assert as_of_three["search"][0] == f"{root}/search/2026-03-01/{third}.parquet"


def test_files_made_by_other_sql_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a type that refers to sales has such SQL: cancellations and refunds one, travel another."""
    files = [snapshots.DayFile(name, DAY, 7, 0, 1) for name in ("search", "cancellation", "refund", "travel")]
    before = [file.url("r") for file in files]
    monkeypatch.setattr(settlement, "_LEDGER", f"{settlement._LEDGER} ")
    after = [file.url("r") for file in files]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False, True]


def test_a_type_without_events_has_no_files(settings: Settings) -> None:
    assert snapshots.paths(settings, Chunk("demand", (DAY,), 9, "f")) == {"search": [], "booking": []}


def test_every_type_has_its_reference_columns_last_and_once() -> None:
    names = [c.name for c in snapshots.REFERENCE_COLUMNS]
    for event_type in EVENT_TYPES.values():
        columns = snapshots.schema(event_type).names
        assert len(set(columns)) == len(columns)
        assert (columns[-len(names) :] == names) is event_type.refers
