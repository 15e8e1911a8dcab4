"""booking_curve against a plain look at each departure, and the cases its definition names."""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.selling import cancellation, day
from wayfare.analyses.booking_curve import POINTS, BookingCurve
from wayfare.analyses.economic_results import EconomicResults

if TYPE_CHECKING:
    from analyses.conftest import Runner
    from analyses.selling import Events, Row

ANALYSIS = BookingCurve()
S = 1300
"""Number of a service day with all of its window after day 0."""


def booked(number: int, service: int, out: int, units: int = 1, **more: Any) -> Row:
    """An item sold `out` days before service."""
    item = {
        "event_on": day(service - out),
        "booking_id": f"k{number}",
        "item_id": "1",
        "product": "flight",
        "resource_id": "f",
    }
    return item | {"start_on": day(service), "units": units, "point_of_sale": "US"} | more


def given_back(item: Row, out: int, units: int) -> Row:
    """A cancellation `out` days before service."""
    on = item["start_on"] - dt.timedelta(out)
    return cancellation(item, on, units, item_point_of_sale=item["point_of_sale"])


def curve(rows: list[Row], column: str) -> dict[int, Any]:
    return {r["days_out"]: r[column] for r in rows}


def test_a_curve_rises_with_sales_and_falls_with_cancellations(runner: Runner) -> None:
    first, second = booked(1, S, 60, 4), booked(2, S, 3, 2)
    events = {"booking": [first, second], "cancellation": [given_back(first, 5, 1)]}
    rows = runner.analyze(ANALYSIS, events, [day(S)], horizon=day(S))
    assert list(curve(rows, "days_out")) == list(POINTS)
    books = curve(rows, "on_the_books")
    assert [books[d] for d in (84, 56, 7, 5, 3, 1, 0)] == [0, 4, 4, 3, 5, 5, 5]
    assert curve(rows, "pickup_units")[56] == 1
    assert curve(rows, "share_of_final")[56] == 0.8


def test_a_departure_ahead_has_the_points_reached_and_no_final(runner: Runner) -> None:
    rows = runner.analyze(ANALYSIS, {"booking": [booked(1, S, 60)]}, [day(S)], horizon=day(S - 21))
    assert min(curve(rows, "days_out")) == 21
    assert {(r["final_units"], r["pickup_units"], r["share_of_final"]) for r in rows} == {(None, None, None)}


def test_what_changes_in_the_week_after_service_counts_at_0(runner: Runner) -> None:
    kept, gone, late = booked(1, S, 9), booked(2, S, 9), booked(3, S, 9)
    events = {"booking": [kept, gone, late, booked(4, S, -1)]}
    events["cancellation"] = [given_back(gone, -7, 1), given_back(late, -8, 1)]
    rows = runner.analyze(ANALYSIS, events, [day(S)])
    assert [curve(rows, "on_the_books")[d] for d in (1, 0)] == [3, 3]


def test_what_is_wholly_cancelled_has_no_share(runner: Runner) -> None:
    item = booked(1, S, 30, point_of_sale=None)
    rows = runner.analyze(ANALYSIS, {"booking": [item], "cancellation": [given_back(item, 2, 1)]}, [day(S)])
    assert {r["market"] for r in rows} == {"ZZ"}
    assert {(r["final_units"], r["share_of_final"]) for r in rows if r["days_out"] in {0, 3}} == {(0, None)}


def test_sales_of_740_days_ahead_are_seen_and_earlier_ones_are_outside(runner: Runner) -> None:
    early = booked(1, S, 741, 7)
    events = {"booking": [early, booked(2, S, 740)], "cancellation": [given_back(early, 9, 7)]}
    rows = runner.analyze(ANALYSIS, events, [day(S - 100), day(S)])
    assert {r["on_the_books"] for r in rows} == {1}


def test_last_year_is_the_same_weekday_at_the_same_days_out(runner: Runner) -> None:
    events = {"booking": [booked(1, S, 9), booked(2, S - 364, 8, 3), booked(3, S - 364, 2), booked(4, S - 365, 9)]}
    rows = runner.analyze(ANALYSIS, events, [day(S)], horizon=day(S - 5))
    assert curve(rows, "last_year_on_the_books") == {d: 0 if d > 7 else 3 for d in POINTS if d >= 5}
    assert {r["last_year_final_units"] for r in rows} == {4}


def test_the_forecast_adds_the_mean_pickup_of_comparable_departures(runner: Runner) -> None:
    events = {"booking": [booked(0, S, 20, 2)], "cancellation": []}
    for week, pickup in ((4, 1), (3, 2), (2, 6), (1, 100)):  # the book of the last is not closed 5 days before S
        departure = S - 7 * week
        events["booking"] += [booked(week, departure, 9, 5), booked(10 + week, departure, 4, pickup)]
    events["booking"] += [booked(20, S - 28, 4, 50, product="car"), booked(21, S - 29, 4, 50)]
    rows = runner.analyze(ANALYSIS, events, [day(S)], horizon=day(S - 5))
    (row,) = [r for r in rows if r["days_out"] == 5]
    assert (row["comparables"], row["expected_pickup"], row["forecast_units"]) == (3, 3.0, 5.0)


def test_the_finals_are_the_net_units_of_economic_results(runner: Runner) -> None:
    events = _history(7, 60)
    days = [day(n) for n in range(S - 1174, S + 8)]
    sold = runner.analyze(EconomicResults(), events, days)
    rows = runner.analyze(ANALYSIS, events, days)
    finals = sum(r["on_the_books"] for r in rows if r["days_out"] == 0)
    assert finals == sum(r["units"] - r["cancelled_units"] for r in sold) > 0


def _history(seed: int, size: int) -> Events:
    """Departures a year and some weeks apart, sold and given back at days out that sit on and beside the points."""
    chance = random.Random(seed)
    events: Events = {"booking": [], "cancellation": []}
    for number in range(size):
        service = S - chance.choice([0, 0, 1, 364, 364, *range(7, 77, 7), 427, 434])
        out = chance.choice([0, 1, 2, 7, 8, 14, 364, 365, 740])
        item = booked(number, service, out, chance.randint(1, 4), point_of_sale=chance.choice(["US", "US", "PT", None]))
        item["product"] = chance.choice(["flight", "flight", "car"])
        events["booking"].append(item)
        left = item["units"]
        for _ in range(chance.choice([0, 0, 1, 2])):
            taken = min(left, chance.randint(1, 2))
            left -= taken
            events["cancellation"].append(given_back(item, chance.choice([-7, -1, 0, 1, 6, 7, 13, 370, 739]), taken))
    return events


def _expected(events: Events, service_on: dt.date, horizon: dt.date) -> list[Row]:
    """The rows of one service day, from the definitions, one departure after the other."""

    def final(departure: tuple[Any, ...], d: int) -> int | None:
        changes = _of(events, *departure)
        return sum(u for on, u in changes if d == 0 or on <= departure[0] - dt.timedelta(d)) if changes else None

    rows = []
    for product, market in sorted({(i["product"], i["point_of_sale"] or "ZZ") for i in events["booking"]}):
        for d in POINTS:
            looked_on = service_on - dt.timedelta(d)
            books = final((service_on, product, market), d)
            if looked_on > horizon or books is None:
                continue
            last_year = (service_on - dt.timedelta(364), product, market)
            weeks = [service_on - dt.timedelta(7 * n) for n in range(1, 70)]
            known = [c for c in weeks if c + dt.timedelta(7) < looked_on][:8]
            pickups = [
                final((c, product, market), 0) - p for c in known if (p := final((c, product, market), d)) is not None
            ]
            mean = sum(pickups) / len(pickups) if len(pickups) >= 3 else None
            whole = final((service_on, product, market), 0) if service_on <= horizon else None
            rows.append(
                {
                    "service_on": service_on,
                    "product": product,
                    "market": market,
                    "days_out": d,
                    "on_the_books": books,
                    "final_units": whole,
                    "pickup_units": None if whole is None else whole - books,
                    "share_of_final": books / whole if whole else None,
                    "last_year_on_the_books": final(last_year, d),
                    "last_year_final_units": final(last_year, 0),
                    "comparables": len(pickups),
                    "expected_pickup": mean,
                    "forecast_units": None if mean is None else books + mean,
                }
            )
    return rows


def _of(events: Events, service_on: dt.date, product: str, market: str) -> list[tuple[dt.date, int]]:
    """Units sold and given back of a departure, by the day they take effect."""
    items = {
        i["booking_id"]: i
        for i in events["booking"]
        if (i["start_on"], i["product"], i["point_of_sale"] or "ZZ") == (service_on, product, market)
    }
    opens, closes = service_on - dt.timedelta(740), service_on + dt.timedelta(7)
    changes = [(i["event_on"], i["units"]) for i in items.values() if opens <= i["event_on"] <= closes]
    for row in events["cancellation"]:
        item = items.get(row["booking_id"])
        if item and min(item["event_on"], row["event_on"]) >= opens and row["event_on"] <= closes:
            changes.append((max(item["event_on"], row["event_on"]), -row["reversed_units"]))
    return changes


histories = st.builds(_history, st.integers(0, 2**32), st.integers(1, 200))


@settings(max_examples=4, deadline=None)
@given(histories, st.sampled_from([0, 1, 8, 30, -30]), st.sampled_from([0, 7, 70, 364]))
def test_equals_a_look_at_each_departure_and_reconciles_together_and_alone(
    runner: Runner, events: Events, ahead: int, one: int
) -> None:
    output, horizon = [day(S - n) for n in (434, 364, 70, 8, 7, 1, 0)], day(S - ahead)
    events = {name: [r for r in rows if r["event_on"] <= horizon] for name, rows in events.items()}
    got = runner.analyze(ANALYSIS, events, output, horizon=horizon)
    expected = [row for on in output for row in _expected(events, on, horizon)]
    assert len(got) == len(expected)
    for row, wanted in zip(got, expected, strict=True):
        assert row == pytest.approx(wanted)
    totals = runner.totals(ANALYSIS, events, output, horizon=horizon)
    assert {name: n or 0 for name, n in totals.items()} == {
        name: sum(r[name] or 0 for r in got) for name in ("on_the_books", "final_units")
    }
    alone = runner.analyze(ANALYSIS, events, [day(S - one)], horizon=horizon)
    assert alone == [r for r in got if r["service_on"] == day(S - one)]


@settings(max_examples=1, deadline=None)
@given(st.builds(_history, st.integers(0, 2**32), st.just(200)))
def test_the_rows_of_what_is_over_do_not_depend_on_the_last_day_of_events(runner: Runner, events: Events) -> None:
    output = [day(S - 434), day(S)]
    rows = [runner.analyze(ANALYSIS, events, output, horizon=day(S + n)) for n in (7, 500)]
    assert rows[0] == rows[1]
