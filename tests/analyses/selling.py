"""Random sales, cancellations and stock snapshots as plain rows, for the analyses that count units."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

from hypothesis import strategies as st

START = dt.date(2026, 3, 1)
"""Day 0 of the histories below."""

Row = dict[str, Any]
Events = dict[str, list[Row]]


def day(number: int) -> dt.date:
    """The day `number` days after the start."""
    return START + dt.timedelta(number)


def cancellation(item: Row, on: dt.date, units: int, **more: Any) -> Row:
    """A cancellation of `units` of a booking or purchase row, with the reference columns its day file carries."""
    is_booking = "item_id" in item and "purchase_id" not in item
    sale = {"item_event_id": item["event_id"]} if "event_id" in item else {}
    return {
        **sale,
        "event_on": on,
        "booking_id": item.get("booking_id") or "none",
        "item_kind": "booking" if is_booking else "purchase",
        "item_key": item["item_id"] if is_booking else item["purchase_id"],
        "item_product": item["product"] if is_booking else item["category"],
        "item_booked_on": item["event_on"],
        "item_resource_id": item["resource_id"],
        "item_sku": None if is_booking else item["sku"],
        "item_start_on": item["start_on"] if is_booking else item["service_on"],
        "item_end_on": item.get("end_on"),
        "item_currency": item.get("currency"),
        "item_customer_id": item.get("customer_id"),
        "item_units": item["units"] if is_booking else item["quantity"],
        "reversed_units": units,
        **more,
    }


def _history(seed: int, size: int, last: int = 75) -> Events:
    """`size` sales, some of them cancelled, and as many snapshots, on days 0 to `last` for service days among them.

    Dense where it matters: few resources, service days on a weekly grid, sales close to service or a window away.
    Some cancellations are partial, some are dated before what they cancel, some name a sale that is not an input, and
    some of these are of a key that is sold again.
    """
    events: Events = {"booking": [], "purchase": [], "cancellation": [], "inventory": []}
    chance = random.Random(seed)
    for number in range(size):
        served, ahead = _service(chance, last)
        is_ancillary, resource = chance.random() < 0.3, chance.choice("aaaabbc") + chance.choice("11234")
        item: Row = {"event_on": day(served - ahead), "resource_id": resource, "event_id": number + 1}
        item["booking_id"] = f"k{number // 2 if chance.random() < 0.2 else number}"
        units = chance.randint(1, 4)
        if is_ancillary:
            item |= {"purchase_id": f"p{item['booking_id']}", "category": "meal", "sku": "m", "quantity": units}
            item |= {"service_on": chance.choice([day(served)] * 9 + [None])}
            item |= {"resource_id": chance.choice([resource] * 9 + [None])}
        else:
            product = chance.choice([_PRODUCTS[resource[0]]] * 3 + ["package"])
            item |= {"item_id": "1", "product": product, "start_on": day(served), "units": units}
            item |= {"end_on": chance.choice([None, *(day(served + nights) for nights in (1, 3, 8))])}
        if chance.random() < 0.9:
            events["purchase" if is_ancillary else "booking"].append(item)
        for after in sorted(chance.randint(-3, ahead + 3) for _ in range(chance.choice([0, 0, 1, 2]))):
            taken = min(units, chance.randint(1, 3))
            events["cancellation"].append(cancellation(item, day(max(0, served - ahead + after)), taken))
            units -= taken
    for _ in range(size):
        served, ahead = _service(chance, last)
        resource, sku = chance.choice("aaaabbc") + chance.choice("11234"), chance.choice([None, None, "m"])
        row = {"event_on": day(served - ahead), "service_on": day(served), "resource_id": resource, "sku": sku}
        row |= {"location": chance.choice([None, "X", "X", "Y"]), "product": _PRODUCTS[resource[0]]}
        events["inventory"].append(row | {"capacity": chance.randint(0, 12), "on_hand": chance.randint(0, 12)})
    return events


def _service(chance: random.Random, last: int) -> tuple[int, int]:
    """A service day and how many days before it something happens, no earlier than day 0."""
    served = 7 * chance.randint(0, last // 7) + chance.choice([0, 0, 0, 1])
    ahead = chance.choice([chance.randint(0, 10), chance.randint(0, 30), chance.choice([48, 49, 50, 55, 56, 57])])
    return served, min(ahead, served)


_PRODUCTS = {"a": "flight", "b": "flight", "c": "car"}

histories = st.builds(_history, st.integers(0, 2**32), st.integers(1, 600))
"""Histories of up to 600 sales and as many snapshots."""


def _nights(product: str, start_on: dt.date, end_on: dt.date | None) -> list[dt.date]:
    """The service days that an item takes up."""
    nights = (end_on - start_on).days if end_on and product in {"hotel", "car"} else 1
    return [start_on + dt.timedelta(n) for n in range(nights)]


def changes(events: Events) -> list[tuple[tuple[str, str], str, dt.date, dt.date, dt.date, int]]:
    """What was sold and given back: (resource, sku), product, service day, day of effect, oldest day, units."""
    made = [
        ((r["resource_id"], ""), r["product"], night, r["event_on"], r["event_on"], r["units"])
        for r in events["booking"]
        for night in _nights(r["product"], r["start_on"], r["end_on"])
    ] + [
        ((r["resource_id"], r["sku"]), r["category"], r["service_on"], r["event_on"], r["event_on"], r["quantity"])
        for r in events["purchase"]
    ]
    present = {r["event_id"] for r in events["booking"] + events["purchase"]}
    for row in events["cancellation"]:
        if row["item_event_id"] in present:
            both = (row["event_on"], row["item_booked_on"])
            thing = (row["item_resource_id"], row["item_sku"] or "")
            product, service = row["item_product"], row["item_start_on"]
            nights = _nights(product, service, row["item_end_on"]) if service else [None]
            made += [(thing, product, night, max(both), min(both), -row["reversed_units"]) for night in nights]
    return [c for c in made if c[0][0] is not None and c[2] is not None]
