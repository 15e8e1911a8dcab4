"""customer_behavior against worked examples and a plain walk over the same events."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.selling import cancellation, day
from wayfare.analyses.customer_behavior import CustomerBehavior

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyses.conftest import Runner
    from analyses.selling import Events, Row

ANALYSIS = CustomerBehavior()
RATES = [(currency, day(n), rate) for n in range(-10, 501) for currency, rate in (("EUR", 1.0), ("USD", 0.5))]


def _at(number: float) -> dt.datetime:
    return dt.datetime.combine(day(0), dt.time(), dt.UTC) + dt.timedelta(days=number)


def _booked(on: int, price: int = 100, **more: Any) -> Row:
    item = {
        "event_on": day(on),
        "occurred_at": _at(on + 0.5),
        "customer_id": "c",
        "booking_id": f"k{on}",
        "item_id": "1",
    }
    item |= {"product": "flight", "resource_id": "f", "start_on": day(on + 10), "end_on": day(on + 13), "units": 2}
    return item | {"price": price, "currency": "EUR", "point_of_sale": "PT", **more}


def test_a_regular_customer(runner: Runner) -> None:
    lost = _booked(40, 900)
    events = {
        "booking": [_booked(0), _booked(20, product="hotel"), lost],
        "cancellation": [cancellation(lost, day(41), 2, given_back=850)],
        "purchase": [{"event_on": day(21), "customer_id": "c", "price": 30, "currency": "USD"}],
        "search": [{"occurred_at": _at(19 + n / 10), "customer_id": "c", "destination": "LIS"} for n in range(3)],
        "offer": [{"event_on": day(1), "customer_id": "c", "action": a} for a in ("exposed", "exposed", "redeemed")],
    }
    (row,) = runner.analyze(ANALYSIS, events, [day(60)], rates=RATES)
    assert row["is_regular"]
    assert (row["bookings"], row["net_bookings"], row["net_units"]) == (3, 2, 4)
    assert row["mean_days_between_bookings"] == 60.0
    assert (row["mean_lead_time_days"], row["mean_trip_nights"]) == (10.0, 3.0)
    assert (row["searches_before_booking"], row["destinations_searched_before_booking"]) == (1.5, 0.5)
    assert (row["offers_exposed"], row["offers_redeemed"]) == (2, 1)
    assert (row["usual_product"], row["usual_market"]) == ("flight", "PT")
    assert row["spend_minor"] == 100 + 100 + 900 - 850 + 15


def test_searches_count_when_their_thirty_days_are_in_the_window(runner: Runner) -> None:
    """Booked on day 40: its searches go back to day 10, which the window of day 375 still sees and that of 376 not."""
    searches = [{"occurred_at": _at(on), "customer_id": "c"} for on in (9.9, 10, 40, 40.5)]
    events = {"booking": [_booked(40)], "search": searches}
    before, whole, broken = runner.analyze(ANALYSIS, events, [day(40), day(375), day(376)], rates=RATES)
    assert (before["searches_before_booking"], whole["searches_before_booking"]) == (2.0, 2.0)
    assert broken["searches_before_booking"] is None


def test_a_customer_id_that_everybody_shares_costs_no_pairs(runner: Runner) -> None:
    """Twenty thousand bookings of "guest" after two hundred thousand searches: pairs of them would not end in hours."""
    one = {"booking": [_booked(20)], "search": [{"occurred_at": _at(19), "customer_id": "c"}]}
    inputs = runner.inputs(ANALYSIS, one, [day(60)], rates=RATES)
    later = "occurred_at + to_milliseconds(n) AS occurred_at"
    sold = f"SELECT e.* REPLACE ('k' || n AS booking_id, {later}) FROM e, range(20_000) numbers (n)"
    asked = f"SELECT e.* REPLACE ({later}) FROM e, range(200_000) numbers (n)"
    many = {n: nw.to_native(inputs[n]).query("e", sql) for n, sql in (("booking", sold), ("search", asked))}
    inputs = replace(inputs, events={**inputs.events, **{n: nw.from_native(r).lazy() for n, r in many.items()}})
    (row,) = ANALYSIS.analyze(inputs).collect("pyarrow").to_native().to_pylist()
    assert (row["bookings"], row["searches_before_booking"]) == (20_000, 200_000.0)
    assert row["destinations_searched_before_booking"] == 1.0


def test_the_latest_booking_is_unusual_against_the_ones_before(runner: Runner) -> None:
    prices = [100, 110, 90, 105, 95, 100, 400]
    events = {"booking": [_booked(n * n, price) for n, price in enumerate(prices)]}
    events["booking"][-1] |= {"event_on": day(150), "occurred_at": _at(150)}
    (row,) = runner.analyze(ANALYSIS, events, [day(160)], rates=RATES)
    assert row["latest_value_z"] == pytest.approx(0.6745 * 300 / 5)
    assert row["latest_gap_z"] == pytest.approx(0.6745 * 120 / 2)
    assert row["is_latest_value_unusual"]
    assert row["is_latest_gap_unusual"]
    events["booking"] = events["booking"][:5]
    (row,) = runner.analyze(ANALYSIS, events, [day(160)], rates=RATES)
    assert row["latest_value_z"] is None
    assert row["is_latest_value_unusual"] is False


def test_what_is_cheaper_and_sooner_than_ever_is_not_unusual(runner: Runner) -> None:
    prices, on = [100, 110, 90, 105, 95, 100, 1], [0, 50, 110, 165, 235, 300, 301]
    events = {"booking": [_booked(n, price) for n, price in zip(on, prices, strict=True)]}
    (row,) = runner.analyze(ANALYSIS, events, [day(310)], rates=RATES)
    assert row["latest_value_z"] == pytest.approx(0.6745 * -99 / 5)
    assert row["latest_gap_z"] == pytest.approx(0.6745 * -59 / 5)
    assert (row["is_latest_value_unusual"], row["is_latest_gap_unusual"]) == (False, False)


@st.composite
def lives(draw: st.DrawFn) -> Events:
    """Two years of a few customers: bookings of one or two items, some cancelled, refunded or not an input."""
    events: Events = {name: [] for name in ("booking", "purchase", "cancellation", "refund", "search", "offer")}
    on = st.one_of(st.integers(0, 30), st.integers(0, 500), st.sampled_from([29, 30, 31, 365, 366, 395, 396, 397]))
    who = st.sampled_from([*"aaabbbcccdef", None])
    currency = st.sampled_from([*["EUR"] * 25, *["USD"] * 5, "XXX"])
    sale = st.tuples(on, who, currency, st.integers(-5, 60), st.integers(0, 400), st.integers(0, 9))
    for number, (sold, customer, money, lead, late, odd) in enumerate(draw(st.lists(sale, min_size=45, max_size=90))):
        item = _booked(sold, 100 + late, booking_id=f"k{number}", customer_id=customer, currency=money)
        item |= {"event_id": 2 * number + 1, "start_on": day(sold + lead), "point_of_sale": ("PT", "US", None)[odd % 3]}
        item |= {"product": ("flight", "hotel")[odd % 2], "end_on": None if odd == 5 else day(sold + lead + odd)}
        again = {"event_id": 2 * number + 2, "item_id": "12"[odd % 2], "product": "car", "event_on": day(sold + late)}
        items = [item] if odd < 7 else [item, item | again]
        items[-1]["occurred_at"] = _at((items[-1]["event_on"] - day(0)).days + odd / 10)
        events["booking"] += items if odd != 4 else []
        for thing in items[: (0, 0, 1, 2)[late % 4]]:
            undone = cancellation(thing, day(sold + late - 3), 1 + odd % 2, given_back=late)
            events["cancellation"].append(undone | {"currency": "CHF"})
            paid = {k: v for k, v in undone.items() if k.startswith("item_") or k == "booking_id"}
            events["refund"].append(
                paid | {"event_on": day(sold + late), "given_back": odd, "currency": ("USD", money)[odd % 2]}
            )
    for searched, customer, money, price, _, odd in draw(st.lists(sale, min_size=30, max_size=60)):
        at = _at(searched + odd / 10)
        place = ("LIS", "OPO", "FAO")[odd % 3]
        events["search"].append({"occurred_at": at, "customer_id": customer, "destination": place})
        action = ("exposed", "redeemed")[odd % 2]
        events["offer"].append({"event_on": day(searched), "customer_id": customer, "action": action})
        if odd > 6:
            bought = {"event_on": day(searched), "customer_id": customer, "price": abs(price), "currency": money}
            events["purchase"].append(bought)
    return events


def _converted(amount: int, currency: str) -> int | None:
    return {"EUR": amount, "USD": int(amount / 2 + 0.5)}.get(currency)


def _expected(events: Events, customer: str, as_of: dt.date) -> Row | None:
    """The row of one customer on one day, from the definitions."""
    opens = as_of - dt.timedelta(365)
    mine = {n: [r for r in rows if r.get("customer_id") == customer] for n, rows in events.items()}
    mine = {n: [r for r in rows if opens <= _on(r) <= as_of] for n, rows in mine.items()}
    bookings: dict[str, list[Row]] = {}
    for item in mine["booking"]:
        bookings.setdefault(item["booking_id"], []).append(item)
    if not bookings:
        return None
    undone = [r | {"currency": r["item_currency"]} for r in events["cancellation"]] + events["refund"]
    undone = [r for r in undone if r["item_customer_id"] == customer]
    undone = [r for r in undone if opens <= r["event_on"] <= as_of and opens <= r["item_booked_on"] <= as_of]
    sales = {r["event_id"] for r in events["booking"]}
    undone = [r for r in undone if r["item_event_id"] in sales]
    left = {k: sum(i["units"] for i in rows) for k, rows in bookings.items()}
    for r in undone:
        if r["booking_id"] in left:
            left[r["booking_id"]] -= r.get("reversed_units", 0)
    net = [rows for k, rows in bookings.items() if left[k] > 0]
    net.sort(key=lambda rows: (min(i["occurred_at"] for i in rows), rows[0]["booking_id"]))
    spend = [_converted(r["price"], r["currency"]) for r in (*mine["booking"], *mine["purchase"])]
    for r in undone:
        back = _converted(r["given_back"], r["currency"])
        spend.append(None if back is None else -back)
    row = {"bookings": len(bookings), "net_bookings": len(net), "net_units": sum(left.values())}
    row["spend_minor"] = None if None in spend else sum(s for s in spend if s is not None)
    row["offers_exposed"] = sum(r["action"] == "exposed" for r in mine["offer"])
    row["offers_redeemed"] = sum(r["action"] == "redeemed" for r in mine["offer"])
    return row | _of_net(net, as_of, [r for r in events["search"] if r["customer_id"] == customer])


def _on(row: Row) -> dt.date:
    return row["event_on"] if "event_on" in row else row["occurred_at"].date()


def _mean(values: Sequence[int | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _of_net(net: list[list[Row]], as_of: dt.date, searches: list[Row]) -> Row:
    booked = [min(i["event_on"] for i in rows) for rows in net]
    starts = [min(i["start_on"] for i in rows) for rows in net]
    ends = [max((i["end_on"] for i in rows if i["end_on"]), default=None) for rows in net]
    row: Row = {"is_regular": len(net) >= 2, "frequency": len(net) * 365 / 366}
    row["mean_days_between_bookings"] = (as_of - min(booked)).days / (len(net) - 1) if len(net) >= 2 else None
    row["mean_lead_time_days"] = _mean([(s - b).days for s, b in zip(starts, booked, strict=True)])
    row["mean_trip_nights"] = _mean([(e - s).days if e else None for s, e in zip(starts, ends, strict=True)])
    before = [_searched([i for i in rows if (as_of - i["event_on"]).days <= 335], searches) for rows in net]
    row["searches_before_booking"] = _mean([b and b[0] for b in before])
    row["destinations_searched_before_booking"] = _mean([b and b[1] for b in before])
    products = [{i["product"] for i in rows} for rows in net]
    row["usual_product"] = _usual(["package" if len(p) > 1 else min(p) for p in products])
    markets = [min((i["point_of_sale"] for i in rows if i["point_of_sale"]), default=None) for rows in net]
    row["usual_market"] = _usual([m for m in markets if m])
    prices = [[_converted(i["price"], i["currency"]) for i in rows] for rows in net]
    values = [None if None in p else sum(v for v in p if v is not None) for p in prices]
    gaps = [(b - a).days for a, b in itertools.pairwise(booked)]
    for name, series in (("value", values), ("gap", gaps)):
        z = _robust_z(series) if len(net) > 5 else None
        row |= {f"latest_{name}_z": z, f"is_latest_{name}_unusual": z is not None and z > 3.5}
    return row


def _searched(items: list[Row], searches: list[Row]) -> tuple[int, int] | None:
    found = []
    for item in items:
        first = item["event_on"] - dt.timedelta(30)
        places = [s["destination"] for s in searches if _on(s) >= first and s["occurred_at"] < item["occurred_at"]]
        found.append((len(places), len(set(places))))
    return (max(f[0] for f in found), max(f[1] for f in found)) if found else None


def _usual(values: list[str]) -> str | None:
    counts = Counter(values)
    return min(counts, key=lambda v: (-counts[v], v)) if counts else None


def _robust_z(series: Sequence[int | None]) -> float | None:
    past = [v for v in series[:-1] if v is not None]
    if len(past) < 5 or series[-1] is None:
        return None
    deviation = median(abs(v - median(past)) for v in past)
    return 0.6745 * (series[-1] - median(past)) / deviation if deviation else None


@settings(max_examples=3, deadline=None)
@given(lives(), st.sampled_from([30, 366, 395, 396]))
def test_equals_a_walk_over_the_events_together_and_alone(runner: Runner, events: Events, one: int) -> None:
    output = [day(n) for n in (0, 15, 30, 60, 365, 366, 380, 395, 396, 430, 500)]
    got = runner.analyze(ANALYSIS, events, output, rates=RATES)
    expected = {(d, c): _expected(events, c, d) for d in output for c in "abcdef"}
    expected = {k: r for k, r in expected.items() if r is not None}
    assert [(g["as_of_on"], g["customer_id"]) for g in got] == sorted(expected)
    for g in got:
        row = expected[g["as_of_on"], g["customer_id"]]
        assert {k: v for k, v in g.items() if k in row} == pytest.approx(row)
        assert set(g) == {"as_of_on", "customer_id", *row}
    assert runner.totals(ANALYSIS, events, output) == {"bookings": sum(g["bookings"] for g in got)}
    alone = runner.analyze(ANALYSIS, events, [day(one)], rates=RATES)
    assert alone == [g for g in got if g["as_of_on"] == day(one)]
