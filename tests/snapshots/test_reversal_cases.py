"""The rules by which a reversal finds its sale and what it takes back, one case each."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from snapshots.example_analyses import Reversals
from snapshots.staged_events import event, stage
from wayfare import snapshots
from wayfare.analyses import registry
from wayfare.analyses.chunk import Chunk

if TYPE_CHECKING:
    from snapshots.staged_events import Event
    from wayfare.settings import Settings

DAY = dt.date(2026, 3, 1)
CHUNK = Chunk("reversals", (DAY,), 1, "f")
Taken = tuple[str | None, int, int, int, int]
TAKEN = ("item_key", "reversed_units", "reversed_price", "kept_penalty", "given_back")


def _booking(item_id: str = "1", units: int = 1, price: int = 100, day: int = 1, **more: Any) -> Event:
    return event("booking", f"2026-03-0{day}", item_id=item_id, units=units, price=price, **more)


def _purchase(purchase_id: str = "P", item_id: str | None = None, **more: Any) -> Event:
    return event("purchase", "2026-03-01", purchase_id=purchase_id, item_id=item_id, **more)


def _late_purchase(day: int) -> Event:
    return event("purchase", f"2026-03-0{day}", purchase_id="L")


def _cancellation(day: int, units: int = 1, **more: Any) -> Event:
    return event("cancellation", f"2026-03-0{day}", units=units, **more)


def _refund(day: int, amount: int, **more: Any) -> Event:
    return event("refund", f"2026-03-0{day}", amount=amount, **more)


def _travel(day: int, **more: Any) -> Event:
    return event("travel", f"2026-03-0{day}", **more)


CASES: dict[str, tuple[list[Event], list[Taken]]] = {
    "part of the units takes its share, the last part the rest": (
        [_booking(units=3, price=100), *(_cancellation(d) for d in (2, 3, 4))],
        [("1", 1, 33, 0, 33), ("1", 1, 33, 0, 33), ("1", 1, 34, 0, 34)],
    ),
    "the second cancellation of all takes nothing": (
        [_booking(units=2), _cancellation(2, 2), _cancellation(3, 2)],
        [("1", 2, 100, 0, 100), ("1", 0, 0, 0, 0)],
    ),
    "without item_id a booking of several items goes whole, with its purchases": (
        [_booking("1", 2), _booking("2"), _purchase("P", "2"), _purchase("Q"), _cancellation(2)],
        [("1", 2, 100, 0, 100), ("2", 1, 100, 0, 100), ("P", 1, 10, 0, 10), ("Q", 1, 10, 0, 10)],
    ),
    "what is sold after a cancellation of the whole stays": (
        [
            _booking("1"),
            _cancellation(2),
            *(_booking(item, day=5) for item in ("2", "3")),
            _purchase("P"),
            _late_purchase(6),
        ],
        [("1", 1, 100, 0, 100), ("P", 1, 10, 0, 10)],
    ),
    "part of a booking's only item stays a part when another is added": (
        [_booking("1", 4), _cancellation(2), _booking("2", day=5), _cancellation(6, item_id="1", units=3)],
        [("1", 1, 25, 0, 25), ("1", 3, 75, 0, 75)],
    ),
    "the next cancellation of the whole takes what was added": (
        [_booking("1"), _cancellation(2), _booking("2", day=5), _cancellation(6)],
        [("1", 1, 100, 0, 100), ("1", 0, 0, 0, 0), ("2", 1, 100, 0, 100)],
    ),
    "what is named is cancelled whenever it was sold": (
        [
            _booking("1"),
            _booking("2", day=5),
            _late_purchase(6),
            _cancellation(2, item_id="2"),
            _cancellation(3, purchase_id="L"),
        ],
        [("2", 1, 100, 0, 100), ("L", 1, 10, 0, 10)],
    ),
    "a cancellation said to be before everything is of what was sold first": (
        [_booking("1", day=5), _booking("2", day=6), _cancellation(4)],
        [("1", 1, 100, 0, 100)],
    ),
    "an only item's purchases go with its last unit": (
        [_booking(units=2), _purchase("P"), _cancellation(2), _cancellation(3)],
        [("1", 1, 50, 0, 50), ("1", 1, 50, 0, 50), ("P", 1, 10, 0, 10)],
    ),
    "an item takes its own purchases with it and leaves the booking's": (
        [
            *(_booking("1"), _booking("2"), _purchase("P", "1"), _purchase("Q"), _purchase("R", "2")),
            _cancellation(2, item_id="1"),
        ],
        [("1", 1, 100, 0, 100), ("P", 1, 10, 0, 10)],
    ),
    "a purchase is cancelled by its own id, in part": (
        [_booking(), _purchase("P", quantity=2), _cancellation(2, purchase_id="P", item_id="1")],
        [("P", 1, 5, 0, 5)],
    ),
    "a purchase cancelled before does not go again with its item": (
        [_booking(), _purchase("P"), _cancellation(2, purchase_id="P"), _cancellation(3)],
        [("P", 1, 10, 0, 10), ("1", 1, 100, 0, 100), ("P", 0, 0, 0, 0)],
    ),
    "a penalty is kept up to what is taken back, across rows": (
        [_booking("1"), _booking("2"), _cancellation(2, penalty=130, currency="EUR")],
        [("1", 1, 100, 100, 0), ("2", 1, 100, 30, 70)],
    ),
    "a penalty in another currency is not kept": (
        [_booking(), _cancellation(2, penalty=30, currency="USD")],
        [("1", 1, 100, 0, 100)],
    ),
    "a refund that settles a cancellation gives nothing back again": (
        [_booking(), _cancellation(2, penalty=20, currency="EUR"), _refund(3, 80), _refund(4, 15)],
        [("1", 1, 100, 20, 80), ("1", 0, 80, 0, 0), ("1", 0, 15, 0, 15)],
    ),
    "a refund ahead of its cancellation counts, the cancellation adds the rest": (
        [_booking(), _refund(2, 60), _cancellation(3)],
        [("1", 0, 60, 0, 60), ("1", 1, 100, 0, 40)],
    ),
    "of one instant, a refund settles its cancellation whatever their ids": (
        [_booking(), _refund(2, 100), _cancellation(2)],
        [("1", 0, 100, 0, 0), ("1", 1, 100, 0, 100)],
    ),
    "of one instant, what is cancelled does not travel whatever the ids": (
        [_booking(), _travel(2), _cancellation(2)],
        [("1", 0, 0, 0, 0), ("1", 1, 100, 0, 100)],
    ),
    "refunds never exceed what was paid": (
        [_booking(), _purchase(), _refund(2, 90), _refund(3, 90), _refund(4, 90)],
        [("1", 0, 90, 0, 90), ("1", 0, 20, 0, 20), ("1", 0, 0, 0, 0)],
    ),
    "a refund goes to the sale it names, else to the first item in its currency": (
        [
            *(_booking("1", currency="USD"), _booking("2"), _booking("3"), _purchase("P")),
            *(_refund(2, 1), _refund(3, 1, item_id="3"), _refund(4, 1, purchase_id="P"), _refund(5, 1, item_id="9")),
        ],
        [("2", 0, 1, 0, 1), ("3", 0, 1, 0, 1), ("P", 0, 1, 0, 1), ("2", 0, 1, 0, 1)],
    ),
    "a credit that is cancelled gives the credit back": (
        [_booking(price=-50), _cancellation(2)],
        [("1", 1, -50, 0, -50)],
    ),
    "tests settle among themselves": (
        [_booking(), _cancellation(2, is_test=True), _cancellation(3)],
        [("1", 1, 100, 0, 100), ("1", 1, 100, 0, 100)],
    ),
    "a refund that names nothing is not of a test beside real sales": (
        [_booking("1", is_test=True), _booking("2"), _refund(2, 100)],
        [("2", 0, 100, 0, 100)],
    ),
    "a booking's penalty is not kept on a test beside real sales": (
        [_booking("1", is_test=True), _booking("2"), _cancellation(2, penalty=50, currency="EUR")],
        [("2", 1, 100, 50, 50)],
    ),
    "a test beside it leaves an item the only one": (
        [_booking("1", units=3), _booking("2", is_test=True), _purchase(is_test=True), _cancellation(2)],
        [("1", 1, 33, 0, 33)],
    ),
    "what names a test beside real sales is about it and settles nothing else": (
        [
            *(_booking("1", 2, 200, is_test=True), _booking("2"), _purchase("P")),
            *(_cancellation(2, item_id="1"), _refund(3, 60, item_id="1"), _travel(4, item_id="1"), _refund(5, 110)),
        ],
        [("1", 1, 100, 0, 100), ("1", 0, 60, 0, 0), ("1", 1, 100, 0, 0), ("2", 0, 110, 0, 110)],
    ),
    "a refund of a test sold twice beside real sales is one row": (
        [*(_booking("1", is_test=True) for _ in range(2)), _booking("2"), _refund(2, 150, item_id="1")],
        [("1", 0, 150, 0, 150)],
    ),
    "a test under the key of a real sale is nothing": (
        [_booking(price=7, is_test=True), _booking(price=100), _cancellation(2), _cancellation(3)],
        [("1", 1, 100, 0, 100), ("1", 0, 0, 0, 0)],
    ),
    "an item is cancelled, sold again and cancelled again": (
        [_booking(), _cancellation(2, 9, item_id="1"), _booking(day=3, price=300), _cancellation(4, item_id="1")],
        [("1", 1, 100, 0, 100), ("1", 0, 0, 0, 0), ("1", 1, 300, 0, 300)],
    ),
    "an item sold twice is cancelled as it was sold, and wholly with its booking": (
        [
            *(_booking(units=2), _booking(day=2, units=2, price=300), _booking("2", price=50)),
            *(_cancellation(3, 3, item_id="1"), _cancellation(4)),
        ],
        [
            *(("1", 2, 100, 0, 100), ("1", 1, 150, 0, 150)),
            *(("1", 0, 0, 0, 0), ("1", 1, 150, 0, 150), ("2", 1, 50, 0, 50)),
        ],
    ),
    "what was asked for in vain is not taken of what is sold later": (
        [_booking(), *(_cancellation(2) for _ in range(3)), _booking(day=3, units=3, price=30), _cancellation(4)],
        [("1", 1, 100, 0, 100), *[("1", 0, 0, 0, 0)] * 3, ("1", 1, 10, 0, 10)],
    ),
    "travel is of the item as it was sold last by then": (
        [_booking(), _cancellation(2), _booking(day=3, price=300), _travel(4), _booking(day=5, price=500)],
        [("1", 1, 100, 0, 100), ("1", 1, 300, 0, 0)],
    ),
    "what names no known sale takes nothing": (
        [_booking(), _cancellation(2, item_id="9"), _cancellation(3, purchase_id="9")],
        [(None, 0, 0, 0, 0), (None, 0, 0, 0, 0)],
    ),
    "a booking never seen takes nothing": (
        [_cancellation(2, penalty=5, currency="EUR"), _refund(3, 10), _travel(4)],
        [(None, 0, 0, 0, 0), (None, 0, 0, 0, 0), (None, 0, 0, 0, 0)],
    ),
    "travel holds for all units unless it says how many, and once": (
        [_booking("1", 3), _booking("2", 3)]
        + [
            event("travel", f"2026-03-0{d}", item_id=i, units=u)
            for d, i, u in ((2, "1", None), (3, "2", 2), (4, "2", 9))
        ],
        [("1", 3, 100, 0, 0), ("2", 2, 66, 0, 0), ("2", 0, 0, 0, 0)],
    ),
    "travel holds for what cancellations before it have left, and for the rest of the price": (
        [_booking(units=3), _cancellation(2), _cancellation(2, 2, is_test=True), _travel(3), _cancellation(4)],
        [("1", 1, 33, 0, 33), ("1", 2, 66, 0, 66), ("1", 2, 67, 0, 0), ("1", 1, 33, 0, 33)],
    ),
    "what was wholly cancelled does not travel, nor more than is left of it": (
        [
            *(_booking("1"), _booking("2", 2)),
            *(_cancellation(2, item_id="1"), _cancellation(2, item_id="2")),
            *(_travel(3, item_id="1"), _travel(3, item_id="2", units=2)),
        ],
        [("1", 1, 100, 0, 100), ("2", 1, 50, 0, 50), ("1", 0, 0, 0, 0), ("2", 1, 50, 0, 0)],
    ),
    "a hostile amount overflows nothing": (
        [_booking(units=2**31 - 1, price=2**53), _cancellation(2, 2**31 - 2)],
        [("1", 2**31 - 2, 2**53 - 4_194_305, 0, 2**53 - 4_194_305)],
    ),
}


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.analyses(), "reversals", Reversals())


@pytest.mark.usefixtures("_registered")
def test_every_case(settings: Settings) -> None:
    """All cases at once, each a booking of its own."""
    staged = [(kind, {**row, "booking_id": name}) for name, (events, _) in CASES.items() for kind, row in events]
    stage(settings, 1, staged)
    snapshots.extract(settings, CHUNK)
    found: dict[str, list[tuple[Any, Taken]]] = {}
    for files in snapshots.paths(settings, CHUNK).values():
        for row in (r for file in files for r in pq.read_table(file).to_pylist()):
            taken = (
                row["item_key"],
                row["reversed_units"],
                row["reversed_price"],
                row["kept_penalty"],
                row["given_back"],
            )
            order = (row["occurred_at"], row["event_id"], row["item_rank"])
            found.setdefault(row["booking_id"], []).append((order, taken))
    got = {name: [taken for _, taken in sorted(rows)] for name, rows in found.items()}
    assert got == {name: expected for name, (_, expected) in CASES.items()}


@pytest.mark.usefixtures("_registered")
def test_the_sales_own_columns_come_with_it(settings: Settings) -> None:
    sold_at = dt.datetime(2026, 2, 3, 4, 5, tzinfo=dt.UTC)
    sale = {"units": 2, "cost": 70, "fee": 8, "commission": 5, "customer_id": "c", "point_of_sale": "PT"}
    trip = {"product": "hotel", "resource_id": "hotel:1", "destination": "LIS"}
    dates = {"start_on": dt.date(2026, 3, 4), "end_on": dt.date(2026, 3, 6)}
    ancillary = {"category": "meal", "sku": "meal/veg", "quantity": 3, "cost": 6, "service_on": dt.date(2026, 3, 4)}
    booking = event("booking", sold_at, **sale, **trip, **dates)
    purchase = event("purchase", sold_at, **ancillary, item_id="1", resource_id="flight:1", point_of_sale="ES")
    stage(settings, 1, [booking, purchase, event("cancellation", "2026-03-01", units=2)])
    snapshots.extract(settings, CHUNK)
    (file,) = snapshots.paths(settings, CHUNK)["cancellation"]
    rows = [{k: v for k, v in row.items() if k.startswith(("item_", "rev"))} for row in pq.read_table(file).to_pylist()]
    common = {
        "item_booked_at": sold_at,
        "item_booked_on": sold_at.date(),
        "item_currency": "EUR",
        "item_is_test": False,
    }
    item = {"item_id": None, "item_rank": 1, "item_kind": "booking", "item_key": "1", "item_units": 2, "item_sku": None}
    item |= {f"item_{k}": v for k, v in {**trip, **dates}.items()}
    item |= {"item_customer_id": "c", "item_point_of_sale": "PT"}
    item |= {
        "reversed_units": 2,
        "reversed_price": 100,
        "reversed_cost": 70,
        "reversed_commission": 5,
        "reversed_fee": 8,
    }
    meal = {"item_id": None, "item_rank": 2, "item_kind": "purchase", "item_key": "P", "item_units": 3}
    meal |= {"item_product": "meal", "item_sku": "meal/veg", "item_resource_id": "flight:1", "item_destination": None}
    meal |= {"item_start_on": dt.date(2026, 3, 4), "item_end_on": None, "item_customer_id": None}
    meal |= {"item_point_of_sale": "ES", "reversed_units": 3, "reversed_price": 10, "reversed_cost": 6}
    meal |= {"reversed_commission": 0, "reversed_fee": 0}
    item["item_event_id"], meal["item_event_id"] = (row["event_id"] for _, row in (booking, purchase))
    assert rows == [common | item, common | meal]
