"""inventory_requirements against a worked example and a plain walk over the same events."""

from __future__ import annotations

import datetime as dt
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.selling import cancellation, changes, day, histories
from wayfare.analyses.inventory_requirements import InventoryRequirements

if TYPE_CHECKING:
    from analyses.conftest import Runner
    from analyses.selling import Events, Row

ANALYSIS = InventoryRequirements()
NORMAL = NormalDist()


def test_stock_that_runs_short_is_a_backorder_and_an_order(runner: Runner) -> None:
    first = {"event_on": day(0), "booking_id": "k", "item_id": "1", "product": "flight", "resource_id": "f"}
    first |= {"start_on": day(7), "units": 5}
    events = {
        "booking": [first],
        "cancellation": [cancellation(first, day(2), 2)],
        "inventory": [{"event_on": day(1), "resource_id": "f", "service_on": day(7), "on_hand": 2}],
    }
    (row,) = runner.analyze(ANALYSIS, events, [day(7)], horizon=day(9))
    assert (row["committed"], row["on_hand"], row["backorder"], row["order_quantity"]) == (3, 2, 1, 1)
    assert (row["shortage_probability"], row["expected_further_demand"]) == (1.0, 0.0)


def test_a_stay_is_committed_on_each_of_its_nights(runner: Runner) -> None:
    stay = {"event_on": day(0), "booking_id": "k", "item_id": "1", "product": "hotel", "resource_id": "h"}
    stay |= {"start_on": day(10), "end_on": day(15), "units": 2}
    trip = stay | {"booking_id": "t", "product": "flight", "resource_id": "f"}
    events = {"booking": [stay, trip], "cancellation": [cancellation(stay, day(12), 2)]}
    rows = runner.analyze(ANALYSIS, events, [day(n) for n in range(9, 17)], horizon=day(20))
    committed = {(r["resource_id"], r["service_on"]): r["committed"] for r in rows}
    assert committed == {("f", day(10)): 2} | {("h", day(n)): 2 if n < 12 else 0 for n in range(10, 15)}


def test_further_demand_comes_from_the_same_weekday(runner: Runner) -> None:
    def booked(number: int, on: int, service: int, units: int) -> Row:
        item = {"event_on": day(on), "booking_id": f"k{number}", "item_id": "1", "product": "flight"}
        return item | {"resource_id": "f", "start_on": day(service), "units": units}

    sales = [(20, 28, 10), (27, 28, 4), (34, 35, 8), (33, 36, 99), (39, 49, 20)]
    events = {
        "booking": [booked(n, *sale) for n, sale in enumerate(sales)],
        "inventory": [{"event_on": day(40), "resource_id": "f", "service_on": day(49), "on_hand": 30}],
    }
    row, safer = (
        runner.analyze(ANALYSIS, events, [day(49)], horizon=day(46), service_level=level)[0] for level in (0.98, 0.999)
    )
    assert (row["comparable_days"], row["expected_further_demand"]) == (2, 6.0)
    assert row["further_demand_deviation"] == pytest.approx(math.sqrt(8))
    assert row["shortage_probability"] == pytest.approx(1 - NORMAL.cdf((30.5 - 26) / math.sqrt(8)), abs=1e-6)
    for ordered, level in ((row, 0.98), (safer, 0.999)):
        enough = ordered["on_hand"] + ordered["order_quantity"] + 0.5
        assert NORMAL.cdf((enough - 26) / math.sqrt(8)) >= level > NORMAL.cdf((enough - 1 - 26) / math.sqrt(8))


def _expected(events: Events, service_on: dt.date, horizon: dt.date) -> list[Row]:
    """The rows of one service day, from the definitions."""
    as_of, opens = min(service_on, horizon), service_on - dt.timedelta(56)
    known = [(t, c, at, u) for t, _, c, at, since, u in changes(events) if since >= opens]
    known += [
        ((r["resource_id"], r["sku"] or ""), r["service_on"], r["event_on"], 0)
        for r in events["inventory"]
        if r["event_on"] >= opens
    ]
    rows = []
    for thing in sorted({t for t, c, at, _ in known if c == service_on and at <= as_of}):
        committed = sum(u for t, c, at, u in known if t == thing and c == service_on and at <= as_of)
        shelves = _shelves(events, thing, service_on, opens, as_of)
        pickups = _pickups([k for k in known if k[0] == thing], service_on, as_of, opens)
        rows += _judged(thing, committed, shelves, pickups, (service_on - as_of).days)
    return rows


def _shelves(events: Events, thing: Any, service_on: dt.date, opens: dt.date, as_of: dt.date) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for row in sorted(events["inventory"], key=lambda r: r["event_on"]):
        is_seen = opens <= row["event_on"] <= as_of and row["service_on"] == service_on
        if is_seen and (row["resource_id"], row["sku"] or "") == thing:
            found[row["location"] or ""] = row["on_hand"]
    return dict(sorted(found.items())) or {"": None}


def _pickups(known: list[Any], service_on: dt.date, as_of: dt.date, opens: dt.date) -> list[int]:
    remaining, found = (service_on - as_of).days, []
    for week in range(1, 9):
        c = service_on - dt.timedelta(7 * week)
        of_day = [(at, u) for _, service, at, u in known if service == c and at <= c]
        whole = (c - dt.timedelta(remaining - 1)) >= opens
        if remaining > 0 and c < as_of and whole and of_day:
            found.append(sum(u for at, u in of_day if (c - at).days < remaining))
    return found


def _judged(
    thing: Any, committed: int, shelves: dict[str, int | None], pickups: list[int], remaining: int
) -> list[Row]:
    total, rows, before = sum(s or 0 for s in shelves.values()), [], 0
    for location, on_hand in shelves.items():
        weight = (on_hand or 0) if total else 1
        whole = total or len(shelves)
        mine = committed * (before + weight) // whole - committed * before // whole
        before += weight
        mean = variance = None
        if remaining == 0:
            mean = variance = 0.0
        elif pickups:
            mean = sum(pickups) / len(pickups) * weight / whole
            spread = sum((p - sum(pickups) / len(pickups)) ** 2 for p in pickups) / max(1, len(pickups) - 1)
            variance = max(spread * (weight / whole) ** 2, mean, 0)
        row = {"grain": (*thing, location), "committed": mine, "on_hand": on_hand, "mean": mean}
        row["deviation"] = None if variance is None else math.sqrt(variance)
        row["backorder"] = None if on_hand is None else max(0, mine - on_hand)
        rows.append(row)
    return rows


@settings(max_examples=4, deadline=None)
@given(histories, st.integers(20, 72), st.integers(0, 20), st.integers(3, 9))
def test_equals_a_walk_over_the_events_together_and_alone(
    runner: Runner, events: Events, horizon: int, first: int, one: int
) -> None:
    output = [day(n) for n in range(first, first + 70)]
    events = {name: [r for r in rows if r["event_on"] <= day(horizon)] for name, rows in events.items()}
    got = runner.analyze(ANALYSIS, events, output, horizon=day(horizon))
    expected = [(d, r) for d in output for r in _expected(events, d, day(horizon))]
    assert [(g["service_on"], g["resource_id"], g["sku"], g["location"]) for g in got] == [
        (d, *r["grain"]) for d, r in expected
    ]
    for g, (_, r) in zip(got, expected, strict=True):
        assert (g["committed"], g["on_hand"], g["backorder"]) == (r["committed"], r["on_hand"], r["backorder"])
        assert g["expected_further_demand"] == pytest.approx(r["mean"])
        assert g["further_demand_deviation"] == pytest.approx(r["deviation"], abs=1e-6)
        _check_judgement(g)
    totals = runner.totals(ANALYSIS, events, output, horizon=day(horizon))
    assert totals == {"committed": sum(g["committed"] for g in got)}
    alone = runner.analyze(ANALYSIS, events, [day(7 * one)], horizon=day(horizon))
    assert alone == [g for g in got if g["service_on"] == day(7 * one)]


def _check_judgement(row: Row) -> None:
    on_hand, deviation = row["on_hand"], row["further_demand_deviation"]
    if on_hand is None or deviation is None:
        assert row["shortage_probability"] is None
        assert row["order_quantity"] == row["backorder"]
        return
    demand = row["committed"] + row["expected_further_demand"]

    def shortage(stock: float) -> float:
        return 1 - NORMAL.cdf((stock + 0.5 - demand) / deviation) if deviation else float(demand >= stock + 0.5)

    assert row["shortage_probability"] == pytest.approx(shortage(on_hand), abs=1e-6)
    assert shortage(on_hand + row["order_quantity"]) <= 0.02 + 1e-6
    assert row["order_quantity"] == 0 or shortage(on_hand + row["order_quantity"] - 1) > 0.02 - 1e-6
