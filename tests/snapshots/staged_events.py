"""Events put into staging as landing would, without files to land: rows, change log and batch."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from wayfare.staging.database import engine
from wayfare.staging.tables import STAGED, batch, change

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from wayfare.settings import Settings

Event = tuple[str, dict[str, Any]]
_SETTLED = ("cancellation", "refund")
_CARRIES = dict.fromkeys(("booking", "cancellation"), (*_SETTLED, "travel"))
_CARRIES |= dict.fromkeys(("purchase", "refund"), _SETTLED) | {"travel": ("travel",)}
"""Whose rows change with an event of a type."""
_LANDED_AT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
_ids = itertools.count(1)

_DEFAULTS: dict[str, dict[str, Any]] = {
    "search": {
        "search_id": "s",
        "product": "hotel",
        "destination": "LIS",
        "start_on": dt.date(2026, 7, 1),
        "adults": 2,
        "result_count": 3,
    },
    "booking": {
        "booking_id": "B",
        "item_id": "1",
        "product": "hotel",
        "resource_id": "hotel:PT-1/double",
        "destination": "LIS",
        "start_on": dt.date(2026, 7, 1),
        "units": 1,
        "price": 100,
        "currency": "EUR",
    },
    "purchase": {
        "booking_id": "B",
        "purchase_id": "P",
        "category": "meal",
        "sku": "meal/veg",
        "quantity": 1,
        "price": 10,
        "currency": "EUR",
    },
    "cancellation": {"booking_id": "B", "cancellation_id": "c", "units": 1, "initiator": "customer"},
    "refund": {"booking_id": "B", "refund_id": "r", "amount": 10, "currency": "EUR"},
    "travel": {"booking_id": "B", "item_id": "1", "outcome": "completed"},
}


def event(event_type: str, occurred_at: str | dt.datetime, **fields: Any) -> Event:
    """A staged event with defaults for what is not said; event ids ascend in the order of calls."""
    if isinstance(occurred_at, str):
        occurred_at = dt.datetime.fromisoformat(occurred_at).replace(tzinfo=dt.UTC)
    row = {
        "event_id": uuid.UUID(int=next(_ids)),
        "schema_version": "1-0-0",
        "occurred_at": occurred_at,
        "source": "test",
        "is_test": False,
        "event_on": occurred_at.date(),
        "landed_at": _LANDED_AT,
    }
    return event_type, row | _DEFAULTS.get(event_type, {}) | fields


def stage(settings: Settings, batch_id: int, events: Iterable[Event]) -> None:
    """Stage one batch, now, touching the days of staged events that refer to the bookings it is about."""
    with engine(settings.url("owner")).begin() as connection:
        days: dict[tuple[str, dt.date], int] = {}
        bookings: dict[str, set[str]] = {}
        for event_type, row in events:
            connection.execute(STAGED[event_type].insert().values(batch_id=batch_id, **row))
            key = (event_type, row["event_on"])
            days[key] = days.get(key, 0) + 1
            for carrier in _CARRIES.get(event_type, ()):
                bookings.setdefault(carrier, set()).add(row["booking_id"])
        for key in _referring(connection, bookings):
            days.setdefault(key, 0)
        connection.execute(
            batch.insert().values(
                batch_id=batch_id,
                landed_at=dt.datetime.now(dt.UTC),
                source="test",
                landed=sum(days.values()),
                duplicates=0,
                conflicts=0,
                rejected=0,
            )
        )
        for (event_type, day), rows in days.items():
            connection.execute(
                change.insert().values(event_type=event_type, event_on=day, batch_id=batch_id, rows=rows)
            )


def _referring(connection: Connection, bookings: dict[str, set[str]]) -> Iterable[tuple[str, dt.date]]:
    for event_type, ids in bookings.items():
        table = STAGED[event_type]
        found = connection.execute(select(table.c.event_on).distinct().where(table.c.booking_id.in_(ids)))
        yield from ((event_type, day) for (day,) in found)


def stage_searches(settings: Settings, batch_id: int, first_on: dt.date, days: int, a_day: int) -> None:
    """Stage `a_day` searches on each of `days` days, in no order of days."""
    with engine(settings.url("owner")).begin() as connection:
        parameters = {"batch": batch_id, "first": first_on, "days": days, "rows": a_day}
        connection.execute(
            text("""
INSERT INTO staging.search (event_id, schema_version, occurred_at, source, is_test, search_id, product, destination,
                            start_on, adults, result_count, visitor_id, event_on, landed_at, batch_id)
SELECT gen_random_uuid(), '1-0-0', day + INTERVAL '12 hours' + n * INTERVAL '1 millisecond', 'test', false, 's' || n,
       'hotel', 'LIS', day + 30, 2, n % 7, 'v' || n, day, now(), :batch
FROM (SELECT CAST(:first AS date) + CAST(d AS int) AS day, n
      FROM generate_series(0, :days - 1) AS d, generate_series(1, :rows) AS n) AS made
ORDER BY n, day
"""),
            parameters,
        )
        connection.execute(text("INSERT INTO control.batch VALUES (:batch, now(), 'test', 0, 0, 0, 0)"), parameters)
        connection.execute(
            text("""
INSERT INTO control.change (event_type, event_on, batch_id, rows)
SELECT 'search', CAST(:first AS date) + CAST(d AS int), :batch, :rows FROM generate_series(0, :days - 1) AS d
"""),
            parameters,
        )
