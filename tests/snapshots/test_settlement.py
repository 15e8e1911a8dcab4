"""Reference columns against an oracle in plain Python, over whatever a booking may go through."""

from __future__ import annotations

import datetime as dt
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text

from snapshots import oracle
from snapshots.example_analyses import Reversals
from snapshots.staged_events import event, stage
from wayfare import snapshots
from wayfare.analyses import registry
from wayfare.analyses.chunk import Chunk
from wayfare.contracts import EVENT_TYPES
from wayfare.staging.database import engine
from wayfare.staging.tables import STAGED

if TYPE_CHECKING:
    from snapshots.staged_events import Event
    from wayfare.settings import Settings

DAY = dt.date(2026, 3, 1)
TAKEN = ("units", "price", "cost", "commission", "fee")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.analyses(), "reversals", Reversals())


def _rows(settings: Settings, through: int) -> dict[str, list[dict[str, Any]]]:
    chunk = Chunk("reversals", (DAY,), through, "f")
    snapshots.extract(settings, chunk)
    return {
        event_type: [row for file in files for row in pq.read_table(file).to_pylist()]
        for event_type, files in snapshots.paths(settings, chunk).items()
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    short = {"rank": row["item_rank"], "kind": row["item_kind"], "key": row["item_key"], "sale": row["item_event_id"]}
    short |= {"back": row["given_back"]}
    short |= {name: row[f"reversed_{name}"] for name in TAKEN} | {"kept": row["kept_penalty"]}
    return short


def _expected(row: dict[str, Any], rank: int) -> dict[str, Any]:
    sale = row["sale"] or {"kind": None, "key": None, "event_id": None}
    short = {"rank": rank, "kind": sale["kind"], "key": sale["key"], "sale": sale["event_id"]}
    short |= {"back": row.get("given_back", 0)}
    short |= {name: row.get(f"reversed_{name}", 0) for name in TAKEN} | {"kept": row.get("kept_penalty", 0)}
    return short


def _judge(staged: list[Event]) -> dict[Any, list[dict[str, Any]]]:
    """Oracle's rows by event_id."""
    by_type: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for event_type, row in staged:
        full = dict.fromkeys(EVENT_TYPES[event_type].by_name) | row
        by_type.setdefault(row["booking_id"], {}).setdefault(event_type, []).append(full)
    found: dict[Any, list[dict[str, Any]]] = {}
    for events in by_type.values():
        bookings, purchases, cancellations, refunds, travels = (
            events.get(name, []) for name in ("booking", "purchase", "cancellation", "refund", "travel")
        )
        found |= oracle.reversals(bookings, purchases, cancellations, refunds)
        found |= oracle.travels(bookings, cancellations, travels)
    return {e: [_expected(row, n) for n, row in enumerate(rows, 1)] for e, rows in found.items()}


_when = st.integers(0, 5).map(lambda n: dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC) + dt.timedelta(hours=n * 11))
_test = st.sampled_from([False, False, False, True])
_currency = st.sampled_from(["EUR", "EUR", "EUR", "USD"])
_item = st.sampled_from(["1", "2"])
_maybe_item = st.sampled_from([None, "1", "2", "9"])
_purchase = st.sampled_from(["P", "Q"])
_maybe_purchase = st.sampled_from([None, None, None, "P", "Q"])


@st.composite
def _histories(draw: st.DrawFn) -> list[tuple[int, Event]]:
    """Events of a few bookings, each with the batch (1 or 2) it lands in."""
    events: list[tuple[int, Event]] = []

    def add(event_type: str, **fields: Any) -> None:
        batch_id = draw(st.integers(1, 2))
        events.append((batch_id, event(event_type, draw(_when), is_test=draw(_test), **fields)))

    def amount(top: int, low: int = 0) -> int:
        return draw(st.integers(low, top))

    for booking in ("A", "B", "C", "D", "E"):
        for _ in range(amount(3)):
            units = draw(st.sampled_from([1, 2, 3, 3]))
            price = draw(st.sampled_from([100, 101, 0, -50]))
            costs = {"cost": draw(st.none() | st.just(71)), "commission": 7, "fee": draw(st.none() | st.just(5))}
            add(
                "booking",
                booking_id=booking,
                item_id=draw(_item),
                units=units,
                price=price,
                currency=draw(_currency),
                **costs,
            )
        for _ in range(amount(2)):
            item_id = draw(_maybe_item)
            add(
                "purchase",
                purchase_id=draw(_purchase),
                item_id=item_id,
                quantity=amount(2, 1),
                price=21,
                cost=amount(9),
            )
        for _ in range(amount(4)):
            penalty, currency = draw(st.none() | st.sampled_from([5, 80, 500])), draw(_currency)
            target = {"item_id": draw(_maybe_item), "purchase_id": draw(_maybe_purchase)}
            add("cancellation", booking_id=booking, units=amount(3, 1), penalty=penalty, currency=currency, **target)
        for _ in range(amount(3)):
            target = {"item_id": draw(_maybe_item), "purchase_id": draw(_maybe_purchase)}
            add(
                "refund",
                booking_id=booking,
                amount=draw(st.sampled_from([0, 30, 90, 400])),
                currency=draw(_currency),
                **target,
            )
        for _ in range(amount(2)):
            add("travel", booking_id=booking, item_id=draw(_item), units=draw(st.none() | st.integers(0, 4)))
    return events


@given(_histories())
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_history_is_settled_as_the_oracle_settles_it(
    settings: Settings, history: list[tuple[int, Event]]
) -> None:
    with engine(settings.url("owner")).begin() as connection:
        names = ", ".join(f"staging.{t.name}" for t in STAGED.values())
        connection.execute(text(f"TRUNCATE {names}, control.batch, control.change"))
    fresh = settings.model_copy(update={"storage_url": str(settings.home / f"s{id(history)}")})
    for through in (1, 2):
        stage(settings, through, [e for batch_id, e in history if batch_id == through])
        rows = [row for found in _rows(fresh, through).values() for row in found]
        got: dict[Any, list[dict[str, Any]]] = {}
        for row in sorted(rows, key=lambda r: r["item_rank"]):
            got.setdefault(row["event_id"], []).append(_short(row))
        assert got == _judge([e for batch_id, e in history if batch_id <= through])
    shutil.rmtree(fresh.storage, ignore_errors=True)
