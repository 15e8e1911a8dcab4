"""Random sales, cancellations and stock snapshots as plain rows, for the analyses that count units."""

from __future__ import annotations

import datetime as dt
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
    return {
        "event_on": on,
        "booking_id": item.get("booking_id") or "none",
        "item_kind": "booking" if is_booking else "purchase",
        "item_key": item["item_id"] if is_booking else item["purchase_id"],
        "item_product": item["product"] if is_booking else item["category"],
        "item_booked_on": item["event_on"],
        "item_resource_id": item["resource_id"],
        "item_sku": None if is_booking else item["sku"],
        "item_start_on": item["start_on"] if is_booking else item["service_on"],
        "item_currency": item.get("currency"),
        "item_customer_id": item.get("customer_id"),
        "item_units": item["units"] if is_booking else item["quantity"],
        "reversed_units": units,
        **more,
    }


@st.composite
def histories(draw: st.DrawFn, last: int = 70) -> Events:
    """Bookings, purchases, cancellations and snapshots on days 0 to `last` for service days around them.

    Some cancellations are partial, some are dated before what they cancel, some name a sale that is not an input.
    """
    events: Events = {"booking": [], "purchase": [], "cancellation": [], "inventory": []}
    lead = st.sampled_from([*range(22), 28, 55, 56, 57])
    service = st.builds(
        lambda week, weekday: 7 * week + weekday, st.integers(0, last // 7 + 5), st.sampled_from([0, 0, 0, 1])
    )
    sale = st.tuples(
        service,  # day of service
        lead,  # days it is sold before
        st.sampled_from(["a", "a", "b", "c", None]),  # resource
        st.sampled_from([False, False, True]),  # is an ancillary
        st.integers(1, 4),  # units
        st.lists(st.tuples(st.integers(-2, 20), st.integers(1, 4)), max_size=2),  # days until, units cancelled
        st.sampled_from([True, True, True, False]),  # is an input
    )
    for number, (served, ahead, resource, is_ancillary, units, cancelled, is_input) in enumerate(
        draw(st.lists(sale, min_size=1, max_size=30))
    ):
        sold = max(0, served - ahead)
        item: Row = {"event_on": day(sold), "resource_id": resource, "booking_id": f"k{number}"}
        if is_ancillary:
            item |= {"purchase_id": f"p{number}", "category": "meal", "sku": "m", "quantity": units}
            item["service_on"] = day(served) if ahead != 1 else None
        else:
            product = "car" if resource == "c" else "flight"
            item |= {"resource_id": resource or "a", "item_id": "1", "product": product}
            item |= {"start_on": day(served), "units": units}
        if is_input:
            events["purchase" if is_ancillary else "booking"].append(item)
        left = units
        for after, wanted in sorted(cancelled):
            events["cancellation"].append(cancellation(item, day(sold + after), min(left, wanted)))
            left -= min(left, wanted)
    snapshot = st.tuples(
        service,
        lead,
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([None, None, "m"]),
        st.sampled_from([None, "X", "Y"]),
        st.integers(0, 9),
        st.integers(0, 9),
    )
    for served, ahead, resource, sku, location, capacity, on_hand in draw(st.lists(snapshot, max_size=15)):
        row = {"event_on": day(max(0, served - ahead)), "service_on": day(served), "resource_id": resource, "sku": sku}
        row |= {"location": location, "capacity": capacity, "on_hand": on_hand}
        events["inventory"].append(row | {"product": "car" if resource == "c" else "flight"})
    return events


def changes(events: Events) -> list[tuple[tuple[str, str], str, dt.date, dt.date, dt.date, int]]:
    """What was sold and given back: (resource, sku), product, service day, day of effect, oldest day, units."""
    made = [
        ((r["resource_id"], ""), r["product"], r["start_on"], r["event_on"], r["event_on"], r["units"])
        for r in events["booking"]
    ] + [
        ((r["resource_id"], r["sku"]), r["category"], r["service_on"], r["event_on"], r["event_on"], r["quantity"])
        for r in events["purchase"]
    ]
    present = {("booking", r["booking_id"]) for r in events["booking"]}
    present |= {("purchase", r["booking_id"]) for r in events["purchase"]}
    for row in events["cancellation"]:
        if (row["item_kind"], row["booking_id"]) in present:
            both = (row["event_on"], row["item_booked_on"])
            thing = (row["item_resource_id"], row["item_sku"] or "")
            product, service = row["item_product"], row["item_start_on"]
            made.append((thing, product, service, max(both), min(both), -row["reversed_units"]))
    return [c for c in made if c[0][0] is not None and c[2] is not None]
