"""ancillary_affinity against baskets filled one by one in plain Python, and the cases its definition names."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.selling import cancellation
from wayfare.analyses.ancillary_affinity import AncillaryAffinity

if TYPE_CHECKING:
    from analyses.conftest import Runner
    from analyses.selling import Events, Row

ANALYSIS = AncillaryAffinity()
MONTHS = [dt.date(2026, 2, 1), dt.date(2026, 3, 1), dt.date(2026, 4, 1)]
MARCH = MONTHS[1]
SOLD = dt.date(2026, 2, 20)


def _month(day: dt.date) -> dt.date:
    return day.replace(day=1)


def _is_seen(month: dt.date, *dates: dt.date) -> bool:
    after = (month + dt.timedelta(31)).replace(day=1)
    return min(dates) >= month - dt.timedelta(740) and max(dates) <= after


def _left(events: Events, sale: Row, month: dt.date) -> int:
    """Units of a sale that nobody gave back within the window of the month."""
    taken = [
        c["reversed_units"]
        for c in events["cancellation"]
        if c["item_event_id"] == sale["event_id"] and _is_seen(month, c["event_on"], c["item_booked_on"])
    ]
    return int(sale["quantity" if "quantity" in sale else "units"]) - sum(taken)


def _item_of(events: Events, purchase: Row, month: dt.date) -> tuple[str, str] | None:
    """The item a purchase goes with, as the month's window shows the booking."""
    of_booking = [
        b for b in events["booking"] if b["booking_id"] == purchase["booking_id"] and _is_seen(month, b["event_on"])
    ]
    if purchase["booking_id"] is None or not of_booking:
        return None
    first = min(of_booking, key=lambda b: (b["occurred_at"], b["event_id"]))
    return purchase["booking_id"], purchase["item_id"] or first["item_id"]


def oracle(events: Events) -> list[Row]:
    rows = []
    for month in MONTHS:
        baskets: dict[str, dict[tuple[str, str], dict[str, int]]] = defaultdict(dict)
        heads: dict[str, int] = defaultdict(int)
        for b in events["booking"]:
            is_here = _month(b["start_on"]) == month and _is_seen(month, b["event_on"])
            if is_here and _left(events, b, month) > 0:
                party = [b[c] for c in ("adults", "children", "infants") if b[c] is not None]
                heads[b["product"]] += sum(party) if party else b["units"]
                baskets[b["product"]][b["booking_id"], b["item_id"]] = defaultdict(int)
        for p in events["purchase"]:
            item, name = _item_of(events, p, month), p["category"]
            name = f"other:{p['sku']}" if name == "other" else name
            for of_product in baskets.values():
                if item in of_product and _is_seen(month, p["event_on"]):
                    of_product[item][name] += _left(events, p, month)
        for product, of_product in baskets.items():
            rows += _rows(month, product, list(of_product.values()), heads[product])
    return sorted(rows, key=lambda r: [r[k] for k in ANALYSIS.mart.grain])


def _rows(month: dt.date, product: str, baskets: list[dict[str, int]], heads: int) -> list[Row]:
    names = sorted({name for basket in baskets for name, units in basket.items() if units > 0})

    def having(*wanted: str) -> int:
        return sum(all(basket.get(name, 0) > 0 for name in wanted) for basket in baskets)

    made, n = [], len(baskets)
    for name in names:
        units = sum(basket.get(name, 0) for basket in baskets)
        row = _row(month, product, name, "") | {"items": n, "passenger_items": heads, "units": units}
        row |= {"attach_rate": units / heads if heads else None, "items_with_a": having(name)}
        made.append(row | ({"support": having(name) / n} if having(name) >= 30 else {}))
    for a, b in itertools.combinations(names, 2):
        both, with_a, with_b = having(a, b), having(a), having(b)
        if both:
            row = _row(month, product, a, b) | {"items": n, "passenger_items": heads, "items_with_a": with_a}
            row |= {"items_with_b": with_b, "items_with_both": both}
            if both >= 30:
                row |= {"support": both / n, "confidence_a_to_b": both / with_a, "confidence_b_to_a": both / with_b}
                row |= {"lift": pytest.approx((both / n) / (with_a / n * with_b / n))}
            made.append(row)
    return made


def _row(month: dt.date, product: str, a: str, b: str) -> Row:
    keys = {"service_month": month, "product": product, "ancillary_a": a, "ancillary_b": b}
    return keys | dict.fromkeys(ANALYSIS.mart.columns)


def _history(seed: int, size: int) -> Events:
    """`size` items, most in March, with ancillaries and cancellations; sold at the edges of the windows, too.

    Some are the booking's other item sold again, for another month or at the same instant, and so with ancillaries.
    """
    chance = random.Random(seed)
    events: Events = {"booking": [], "purchase": [], "cancellation": []}
    for number in range(size):
        start = chance.choice([MARCH] * 6 + [dt.date(2026, 3, 31), *MONTHS]) + dt.timedelta(chance.randint(0, 9))
        first = _month(start)
        edges = [first - dt.timedelta(n) for n in (740, 741)] + [start + dt.timedelta(1)]
        sold = chance.choice([start - dt.timedelta(chance.randint(0, 40))] * 12 + edges)
        key = chance.choice([number, number, number // 2 * 2])
        item: Row = {"booking_id": f"b{number // 2 * 2}", "item_id": f"i{key}", "start_on": start}
        item |= {"product": chance.choice(["flight"] * 5 + ["hotel"]), "resource_id": "r", "event_on": sold}
        item |= {"event_id": number + 1, "occurred_at": dt.datetime.combine(sold, dt.time(12), dt.UTC)}
        item |= {"units": chance.randint(1, 3), "adults": chance.choice([None, 0, 1, 2])}
        item |= {"children": chance.choice([None, 1]), "infants": None}
        events["booking"].append(item)
        sales = [(item, item["units"])] if chance.random() < 0.3 else []
        for turn in range(chance.choice([0, 1, 2, 3])):
            bought = sold + dt.timedelta(chance.choice([0, 0, 0, 0, 20, 60]))
            row: Row = {"booking_id": item["booking_id"], "item_id": chance.choice([item["item_id"]] * 4 + [None])}
            row |= chance.choice([{}] * 30 + [{"booking_id": None}, {"item_id": "nowhere"}])
            row |= {"purchase_id": f"p{key}-{chance.choice([turn, 0])}", "event_id": 3 * number + turn + 1_000}
            row |= {"event_on": bought, "quantity": chance.randint(1, 2)}
            row |= {"category": chance.choice(["meal", "baggage", "other"]), "sku": chance.choice("xy")}
            events["purchase"].append(row | {"resource_id": None, "service_on": None})
            if chance.random() < 0.2:
                sales.append((events["purchase"][-1], row["quantity"]))
        for sale, units in sales:
            on = sale["event_on"] + dt.timedelta(chance.choice([-1, 0, 1, 5, 45]))
            events["cancellation"].append(cancellation(sale, on, chance.randint(1, units)))
    return events


@settings(max_examples=3, deadline=None)
@given(st.builds(_history, st.integers(0, 2**32), st.sampled_from([2, 250, 300])), st.sampled_from(MONTHS))
def test_it_equals_the_oracle_and_reconciles_whatever_the_order_and_the_chunks(
    runner: Runner, events: Events, one: dt.date
) -> None:
    got = runner.analyze(ANALYSIS, events, MONTHS)
    assert got == oracle(events)
    assert (runner.totals(ANALYSIS, events, MONTHS)["units"] or 0) == sum(row["units"] or 0 for row in got)
    other_order = {name: rows[::-1] for name, rows in events.items()}
    assert runner.analyze(ANALYSIS, other_order, [one]) == [row for row in got if row["service_month"] == one]


def _item(number: int, **more: Any) -> Row:
    item = {"booking_id": f"b{number}", "item_id": "1", "event_on": SOLD, "start_on": MARCH, "adults": 1}
    return item | {"product": "flight", "resource_id": "f", "units": 1} | more


def _bag(number: int, **more: Any) -> Row:
    bag = {"booking_id": f"b{number}", "item_id": "1", "purchase_id": f"p{number}", "event_on": SOLD}
    return bag | {"category": "baggage", "sku": "bag", "quantity": 1, "resource_id": None, "service_on": None} | more


def test_a_pair_is_judged_from_thirty_items_on(runner: Runner) -> None:
    items = [_item(n) for n in range(100)]
    bags = [_bag(n) for n in range(40)]

    def lift(together: int) -> float | None:
        seats = [_bag(n, purchase_id=f"s{n}", category="seat") for n in range(40 - together, 90 - together)]
        rows = runner.analyze(ANALYSIS, {"booking": items, "purchase": bags + seats}, [MARCH])
        (pair,) = [r for r in rows if r["ancillary_b"]]
        assert (pair["items"], pair["items_with_a"], pair["items_with_both"]) == (100, 40, together)
        return pair["lift"]

    assert lift(29) is None
    assert lift(30) == pytest.approx(0.3 / (0.4 * 0.5))


def test_the_attach_rate_is_per_passenger_and_net_of_what_is_cancelled(runner: Runner) -> None:
    items = [_item(0, adults=2, children=1), _item(1, adults=None, units=4), _item(2)]
    bags = [_bag(0, quantity=3), _bag(2)]
    gone = [cancellation(bags[0], SOLD, 1), cancellation(items[2], SOLD, 1)]
    (row,) = runner.analyze(ANALYSIS, {"booking": items, "purchase": bags, "cancellation": gone}, [MARCH])
    assert (row["items"], row["passenger_items"], row["units"], row["attach_rate"]) == (2, 7, 2, 2 / 7)


def test_what_is_sold_twice_under_one_key_is_two_sales(runner: Runner) -> None:
    items = [_item(0, event_id=1, adults=3), _item(0, event_id=2, adults=2)]
    bought = [_bag(0, event_id=3, category="meal", quantity=2), _bag(0, event_id=4)]
    gone = [cancellation(items[0], SOLD, 1), cancellation(bought[0], SOLD, 2)]
    (row,) = runner.analyze(ANALYSIS, {"booking": items, "purchase": bought, "cancellation": gone}, [MARCH])
    assert (row["ancillary_a"], row["units"], row["items"], row["passenger_items"]) == ("baggage", 1, 1, 2)


def test_an_ancillary_that_names_no_item_goes_with_the_first_of_its_booking(runner: Runner) -> None:
    at = dt.datetime.combine(SOLD, dt.time(8), dt.UTC)
    hotel = _item(0, item_id="2", product="hotel", occurred_at=at + dt.timedelta(hours=1))
    bag = _bag(0, item_id=None)
    alone = _bag(7, booking_id=None)
    items = [_item(0, occurred_at=at), hotel]
    (row,) = runner.analyze(ANALYSIS, {"booking": items, "purchase": [bag, alone]}, [MARCH])
    assert (row["product"], row["units"], row["items"]) == ("flight", 1, 1)


def test_what_changes_later_than_the_day_after_the_month_does_not_count(runner: Runner) -> None:
    bags = [_bag(0), _bag(1, event_on=dt.date(2026, 4, 1)), _bag(2, event_on=dt.date(2026, 4, 2))]
    gone = [cancellation(bags[0], dt.date(2026, 4, 2), 1)]
    items = [_item(n) for n in range(3)]
    (row,) = runner.analyze(ANALYSIS, {"booking": items, "purchase": bags, "cancellation": gone}, [MARCH])
    assert row["units"] == 2
