"""capacity_alerts against worked examples and a plain walk over the same events."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.selling import changes, day, histories
from wayfare.analyses.capacity_alerts import CapacityAlerts

if TYPE_CHECKING:
    from analyses.conftest import Runner
    from analyses.selling import Events, Row

ANALYSIS = CapacityAlerts()
NORMAL = NormalDist()
LEVELS = ["none", "watch", "high", "full"]


def _booked(number: int, on: int, service: int, units: int) -> Row:
    item = {"event_on": day(on), "booking_id": f"k{number}", "item_id": "1", "product": "flight"}
    return item | {"resource_id": "f", "start_on": day(service), "units": units}


def _snapshot(on: int, service: int, capacity: int, on_hand: int) -> Row:
    row = {"event_on": day(on), "resource_id": "f", "product": "flight", "service_on": day(service)}
    return row | {"capacity": capacity, "on_hand": on_hand}


def test_an_alert_is_kept_until_the_lower_threshold(runner: Runner) -> None:
    """Sold out on day 10, then a bigger aircraft: full until P(full) is low enough; departures before sold nothing."""
    past = [_snapshot(n, n, 10, 10) for n in (5, 6, 7)]
    events = {
        "booking": [_booked(0, 10, 20, 10)],
        "inventory": [*past, _snapshot(9, 20, 10, 10), _snapshot(12, 20, 40, 40)],
    }
    rows = runner.analyze(ANALYSIS, events, [day(n) for n in (9, 10, 11, 12)])
    assert [r["alert_level"] for r in rows] == ["none", "full", "full", "none"]
    assert [r["previous_level"] for r in rows] == ["none", "none", "full", "full"]
    assert [r["load_factor"] for r in rows] == [0.0, 1.0, 1.0, 0.25]


def test_an_unknown_probability_keeps_the_alert(runner: Runner) -> None:
    """Sold out on day 10; from day 11 on two units are left, and no departure tells what is still to come."""
    events = {
        "booking": [_booked(0, 10, 20, 10)],
        "inventory": [_snapshot(9, 20, 10, 10), _snapshot(11, 20, 12, 12), _snapshot(13, 20, 0, 0)],
    }
    rows = runner.analyze(ANALYSIS, events, [day(n) for n in (9, 10, 11, 12, 13)])
    assert [r["full_probability"] for r in rows] == [None] * 5
    assert [r["alert_level"] for r in rows] == ["none", "full", "full", "full", "none"]


def test_a_rental_is_on_the_books_of_each_of_its_days(runner: Runner) -> None:
    """But not of the day of its return; so is a stay that began before the as-of day."""
    rental = {"event_on": day(0), "booking_id": "k", "item_id": "1", "product": "car", "resource_id": "f"}
    rental |= {"start_on": day(3), "end_on": day(6), "units": 2}
    stock = [_snapshot(1, n, 4, 4) | {"product": "car"} for n in range(2, 8)]
    rows = runner.analyze(ANALYSIS, {"booking": [rental], "inventory": stock}, [day(4)])
    assert [(r["service_on"], r["load_factor"]) for r in rows] == [
        (day(4), 0.5),
        (day(5), 0.5),
        (day(6), 0),
        (day(7), 0),
    ]


def test_pickup_of_completed_departures(runner: Runner) -> None:
    """Three departures that are over sold 4, 6 and 8 in their last two days; of another one hears only afterwards."""
    past = [_booked(0, 8, 9, 4), _booked(1, 9, 10, 6), _booked(2, 11, 11, 8), _booked(3, 4, 11, 50)]
    events = {
        "booking": [*past, _booked(4, 12, 14, 20)],
        "inventory": [_snapshot(12, 14, 100, 30), _snapshot(11, 8, 100, 100)],
    }
    (row,) = runner.analyze(ANALYSIS, events, [day(12)])
    assert (row["capacity"], row["capacity_basis"]) == (30, "own allotment")
    assert (row["expected_pickup"], row["demand_mean"], row["comparables"]) == (6.0, 26.0, 3)
    sigma = math.sqrt(_variance([4, 6, 0]) + _variance([0, 0, 8]))
    assert row["demand_deviation"] == pytest.approx(sigma)
    z = (30 - 26) / sigma
    assert row["full_probability"] == pytest.approx(1 - NORMAL.cdf(z), abs=1e-6)
    assert row["expected_spill"] == pytest.approx(sigma * NORMAL.pdf(z) - 4 * (1 - NORMAL.cdf(z)), abs=1e-5)


def test_capacity_is_that_of_all_locations(runner: Runner) -> None:
    """Each location's latest snapshot counts; what is allotted at one of them makes the whole an own allotment."""
    t1, t2 = ({"location": name} for name in ("T1", "T2"))
    stock = [_snapshot(1, 9, 10, 10) | t1, _snapshot(2, 9, 3, 3) | t2, _snapshot(3, 9, 2, 2) | t2]
    stock += [_snapshot(4, 9, 9, 4), _snapshot(5, 9, 7, 0)]
    events = {"booking": [_booked(0, 1, 9, 5)], "inventory": stock}
    rows = runner.analyze(ANALYSIS, events, [day(n) for n in (1, 2, 3, 4, 5)])
    assert [r["capacity"] for r in rows] == [10, 13, 12, 16, 19]
    assert [r["capacity_basis"] for r in rows] == ["supplied capacity"] * 3 + ["own allotment", "supplied capacity"]
    assert (rows[2]["load_factor"], rows[2]["alert_level"]) == (5 / 12, "none")


def test_a_departure_sold_as_two_products_is_one(runner: Runner) -> None:
    """Three departures, each with 2 sold as flight and 2 as package; without the first, two are no comparables."""
    past = [_booked(n, n, n, 2) for n in (9, 10, 11)]
    past += [b | {"booking_id": f"p{b['booking_id']}", "product": "package"} for b in past]
    stock = [_snapshot(12, 13, 100, 100)]
    (row,) = runner.analyze(ANALYSIS, {"booking": past, "inventory": stock}, [day(12)])
    assert (row["expected_pickup"], row["comparables"]) == (4.0, 3)
    two = [b for b in past if b["start_on"] > day(9)]
    (row,) = runner.analyze(ANALYSIS, {"booking": two, "inventory": stock}, [day(12)])
    assert (row["expected_pickup"], row["comparables"]) == (2.0, 2), "of flights alone"


def _variance(values: list[int]) -> float:
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / (len(values) - 1)


def _states(events: Events, as_of: dt.date) -> dict[tuple[str, dt.date], Row]:
    """The numbers of one day, from the definitions."""
    opens = as_of - dt.timedelta(49)
    known = [(t[0], p, c, at, since, u) for t, p, c, at, since, u in changes(events) if t[1] == ""]
    known = [k for k in known if k[4] >= opens]
    snapshots = [r for r in events["inventory"] if r["sku"] is None and opens <= r["event_on"] <= as_of]
    over: dict[tuple[str, str, dt.date], dict[int, int]] = {}
    for resource, product, c, at, since, units in known:
        if c < as_of and since <= c:
            sold = over.setdefault((product, resource, c), {})
            if at <= c:
                sold[(c - at).days] = sold.get((c - at).days, 0) + units
    for r in snapshots:
        if r["service_on"] < as_of and r["event_on"] <= r["service_on"]:
            over.setdefault((r["product"], r["resource_id"], r["service_on"]), {})
    over = {k: v for k, v in over.items() if k[2] >= opens}
    ahead: dict[tuple[str, dt.date], dict[str, Row]] = {}
    for r in sorted(snapshots, key=lambda r: r["event_on"]):
        if r["service_on"] >= as_of:
            places = ahead.setdefault((r["resource_id"], r["service_on"]), {})
            places.pop(r["location"] or "", None)
            places[r["location"] or ""] = r
    states = {}
    for departure, places in ahead.items():
        books = sum(k[5] for k in known if (k[0], k[2]) == departure and k[3] <= as_of)
        states[departure] = _state(list(places.values()), books, over, as_of)
    return states


def _state(snapshots: list[Row], books: int, over: Any, as_of: dt.date) -> Row:
    snapshot = snapshots[-1]
    out, opens = (snapshot["service_on"] - as_of).days, as_of - dt.timedelta(49)
    allotted = [0 < s["on_hand"] < s["capacity"] for s in snapshots]
    capacity = sum(s["on_hand" if own else "capacity"] for s, own in zip(snapshots, allotted, strict=True))
    row = {"on_the_books": books, "capacity": capacity, "days_out": out, "pickup": None, "sigma": None}
    row["basis"] = "own allotment" if any(allotted) else "supplied capacity"
    for place, name, least in ((1, snapshot["resource_id"], 3), (0, snapshot["product"], 1)):
        history: dict[tuple[str, dt.date], Counter[int]] = {}
        for key, sold in over.items():
            if key[place] == name:
                history.setdefault(key[1:], Counter()).update(sold)
        reaching = sum((k[1] - opens).days >= out - 1 for k in history)
        row["comparables"] = reaching
        if reaching >= least:
            break
    row["pickup"] = 0.0 if out == 0 else None
    if row["comparables"] >= 1 and out > 0:
        columns = [[v.get(d, 0) for k, v in history.items() if (k[1] - opens).days >= d] for d in range(out)]
        row["pickup"] = sum(sum(c) / len(c) for c in columns)
    if row["pickup"] is not None:
        mu = books + row["pickup"]
        row["sigma"] = max(0.0, 0.3 * mu)
        if row["comparables"] >= 3 or out == 0:
            spread = sum(_variance(c) for c in columns if len(c) > 1) if out else 0.0
            row["sigma"] = math.sqrt(max(spread, row["pickup"], 0.0))
    return row


def _walk(days: list[Row | None]) -> str:
    """Hysteresis, day by day."""
    level = 0
    for row in days:
        if row is not None:
            p, is_sold_out = row["full_probability"], (row["load_factor"] or 0) >= 1
            raised = 3 if is_sold_out else sum(p is not None and p >= t for t in (0.5, 0.8, 0.95))
            kept = 3 if is_sold_out else sum(p is not None and p >= t for t in (0.4, 0.7, 0.9))
            if p is None and row["capacity"] > 0:
                kept = level
            level = max(raised, min(level, kept))
    return LEVELS[level]


@settings(max_examples=3, deadline=None)
@given(histories, st.sampled_from([5, 34, 49, 62]))
def test_equals_a_walk_over_the_events_together_and_alone(runner: Runner, events: Events, one: int) -> None:
    output = [day(n) for n in (0, 5, 20, 21, 22, 34, 48, 49, 50, 56, 62, 70)]
    got = runner.analyze(ANALYSIS, events, output)
    expected = {(d, *k): r for d in output for k, r in _states(events, d).items()}
    assert [(g["as_of_on"], g["resource_id"], g["service_on"]) for g in got] == sorted(expected)
    for g in got:
        r = expected[g["as_of_on"], g["resource_id"], g["service_on"]]
        assert (g["on_the_books"], g["capacity"], g["capacity_basis"]) == (r["on_the_books"], r["capacity"], r["basis"])
        assert (g["days_out"], g["comparables"]) == (r["days_out"], r["comparables"])
        assert g["expected_pickup"] == pytest.approx(r["pickup"], abs=1e-6)
        assert g["demand_deviation"] == pytest.approx(r["sigma"], abs=1e-4)
        _check_demand(g)
    totals = runner.totals(ANALYSIS, events, output)
    assert totals == {"on_the_books": sum(g["on_the_books"] for g in got)}
    assert runner.analyze(ANALYSIS, events, [day(one)]) == [g for g in got if g["as_of_on"] == day(one)]


def _check_demand(row: Row) -> None:
    if row["capacity"] == 0 or row["demand_mean"] is None:
        assert row["full_probability"] is None
        assert row["expected_spill"] is None
        return
    capacity, mu, sigma = row["capacity"], row["demand_mean"], row["demand_deviation"]
    z = (capacity - mu) / sigma if sigma else math.copysign(1e3, capacity - mu - 1e-12)
    assert row["full_probability"] == pytest.approx(1 - NORMAL.cdf(z), abs=1e-6)
    spill = sigma * NORMAL.pdf(z) - (capacity - mu) * (1 - NORMAL.cdf(z))
    assert row["expected_spill"] == pytest.approx(max(spill, 0.0), abs=1e-5)


@settings(max_examples=2, deadline=None)
@given(histories)
def test_levels_remember_the_seven_days_before(runner: Runner, events: Events) -> None:
    output = [day(n) for n in range(13, 30)]
    got = {(g["as_of_on"], g["resource_id"], g["service_on"]): g for g in runner.analyze(ANALYSIS, events, output)}
    for (on, *departure), row in got.items():
        if on >= day(20):
            seen = [got.get((on - dt.timedelta(back), *departure)) for back in range(7, -1, -1)]
            assert (row["previous_level"], row["alert_level"]) == (_walk(seen[:-1]), _walk(seen))
