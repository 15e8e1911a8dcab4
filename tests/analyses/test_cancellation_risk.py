"""cancellation_risk against a plain look at each item, age by age, and the cases its definition names."""

from __future__ import annotations

import datetime as dt
import random
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.selling import cancellation
from wayfare.analyses.cancellation_risk import CancellationRisk

if TYPE_CHECKING:
    from analyses.conftest import Runner
    from analyses.selling import Events, Row

ANALYSIS = CancellationRisk()
MONDAY = dt.date(2026, 3, 2)
WEEKS = [MONDAY + dt.timedelta(7 * n) for n in range(3)]
RATES = [(c, MONDAY + dt.timedelta(n), r) for c, r in (("EUR", 1.0), ("USD", 0.5)) for n in range(-7, 28)]


def booked(number: int, on: int = 0, ahead: int = 30, units: int = 1, **more: Any) -> Row:
    """An item sold `on` days after the first Monday for a service day `ahead` days after the sale; 101 a unit."""
    sold_on = MONDAY + dt.timedelta(on)
    item = {"event_on": sold_on, "booking_id": f"k{number}", "item_id": "1", "product": "hotel", "resource_id": "r"}
    item |= {"start_on": sold_on + dt.timedelta(ahead), "units": units, "price": 101 * units, "currency": "EUR"}
    return item | {"occurred_at": dt.datetime.combine(sold_on, dt.time(12), dt.UTC)} | more


def given_back(item: Row, after: int, units: int = 1) -> Row:
    """A cancellation of a sale so many days after it."""
    on = item["event_on"] + dt.timedelta(after)
    return cancellation(item, on, units, item_booked_at=item["occurred_at"], reversed_price=101 * units)


def no_show(item: Row, after: int) -> Row:
    """What was told of an item so many days after its sale."""
    return given_back(item, after) | {"outcome": "no_show", "item_id": item["item_id"]}


def test_cancellation_and_no_show_compete(runner: Runner) -> None:
    items = [booked(n, ahead=10) for n in range(4)]
    events = {"booking": items, "cancellation": [given_back(items[0], 6)], "travel": [no_show(items[1], 11)]}
    first, second = runner.analyze(ANALYSIS, events, WEEKS[:1], rates=RATES, horizon=MONDAY + dt.timedelta(60))
    assert [first[c] for c in ("at_risk", "cancelled", "no_shows", "censored", "still_ahead")] == [4, 1, 0, 0, 0]
    assert [second[c] for c in ("at_risk", "cancelled", "no_shows", "censored", "still_ahead")] == [3, 0, 1, 2, 0]
    assert (first["survival"], second["survival"]) == (0.75, 0.5)
    assert (second["cancellation_incidence"], second["no_show_incidence"]) == (0.25, 0.25)
    assert (first["at_risk_minor"], first["cancelled_minor"], second["no_shows_minor"]) == (404, 101, 101)
    assert (first["cancellation_rate_by_value"], second["no_show_incidence_by_value"]) == (0.25, 0.25)


def test_a_credit_has_no_value(runner: Runner) -> None:
    items = [booked(1), booked(2, price=-90)]
    events = {"booking": items, "cancellation": [given_back(items[0], 1)]}
    (first, *_) = runner.analyze(ANALYSIS, events, WEEKS[:1], rates=RATES, horizon=MONDAY + dt.timedelta(60))
    assert (first["at_risk"], first["cancelled"], first["at_risk_minor"], first["cancelled_minor"]) == (2, 1, 101, 101)
    assert (first["cancellation_rate"], first["cancellation_rate_by_value"]) == (0.5, 1.0)


def test_part_of_an_item_is_cancelled_by_value_and_all_of_it_by_items(runner: Runner) -> None:
    item = booked(1, units=4)
    events = {"booking": [item], "cancellation": [given_back(item, 1, 1), given_back(item, 15, 3)]}
    rows = runner.analyze(ANALYSIS, events, WEEKS[:1], rates=RATES, horizon=MONDAY + dt.timedelta(20))
    assert [r["cancelled"] for r in rows] == [0, 0, 1]
    assert [r["at_risk_minor"] for r in rows] == [404, 303, 303]
    assert [r["cancelled_minor"] for r in rows] == [101, 0, 303]


def test_rates_are_unknown_until_every_item_has_lived_through_the_age(runner: Runner) -> None:
    items = [booked(1, on=0), booked(2, on=6), booked(3, on=6)]
    events = {"booking": items, "cancellation": [given_back(items[2], 0)]}
    for today, known in ((11, 0), (12, 1), (18, 1), (19, 2)):
        rows = runner.analyze(ANALYSIS, events, WEEKS[:1], rates=RATES, horizon=MONDAY + dt.timedelta(today))
        assert [r["cancellation_rate"] is not None for r in rows] == [n < known for n in range(len(rows))]
    assert [(r["at_risk"], r["still_ahead"]) for r in rows] == [(3, 0), (2, 1), (1, 1)]


def test_what_is_dated_around_sale_and_service_counts_at_them(runner: Runner) -> None:
    early, too_early, late = booked(1, ahead=8), booked(2, ahead=8), booked(3, ahead=8)
    gone = [given_back(early, -1), given_back(too_early, -2), given_back(late, 200)]
    events = {"booking": [early, too_early, late], "cancellation": gone, "travel": [no_show(late, 9)]}
    rows = runner.analyze(ANALYSIS, events, WEEKS[:1], rates=RATES)
    assert [(r["cancelled"], r["no_shows"], r["censored"]) for r in rows] == [(1, 0, 0), (1, 0, 1)]


def test_a_week_with_an_amount_without_a_rate_has_no_value(runner: Runner) -> None:
    events = {"booking": [booked(1), booked(2, currency="XXX"), booked(3, product="car")]}
    rows = runner.analyze(ANALYSIS, events, WEEKS[:1], rates=RATES)
    assert {(r["product"], r["at_risk_minor"]) for r in rows if r["age_weeks"] == 0} == {("hotel", None), ("car", 101)}
    assert {r["cancellation_incidence_by_value"] for r in rows if r["product"] == "hotel"} == {None}


def test_a_sale_more_than_740_days_ahead_is_seen_for_740_days(runner: Runner) -> None:
    item = booked(1, ahead=2000)
    events = {"booking": [item], "cancellation": [given_back(item, 900)]}
    rows = runner.analyze(ANALYSIS, events, WEEKS[:1], rates=RATES)
    assert (rows[-1]["age_weeks"], rows[-1]["censored"], rows[-1]["survival"]) == (105, 1, 1.0)


def _history(seed: int, size: int) -> Events:
    """Sales of three weeks, with what becomes of them on days that sit on and beside the edges of weeks."""
    chance = random.Random(seed)
    events: Events = {"booking": [], "cancellation": [], "travel": []}
    for number in range(size):
        ahead = chance.choice([-1, 0, 6, 7, 8, 20, 21, 41, 739, 741])
        item = booked(number, chance.choice([-1, 0, 1, 6, 7, 13, 14]), ahead, chance.randint(1, 3))
        item |= {"event_id": number + 1, "product": chance.choice(["hotel", "hotel", "car"])}
        item["currency"] = chance.choice(["EUR", "USD"] * 60 + ["XXX"])
        item["booking_id"] = f"k{chance.choice([number, number, number // 2])}"
        events["booking"].append(item)
        left = item["units"]
        for _ in range(chance.choice([0, 1, 1, 2])):
            taken = min(left, chance.randint(1, 3))
            left -= taken
            events["cancellation"].append(
                given_back(item, chance.choice([-2, -1, 0, 6, 7, 20, 21, 48, 745, 771]), taken)
            )
        if left and chance.random() < 0.7:
            told = no_show(item, max(0, ahead + chance.choice([-20, 0, 3, 40])))
            events["travel"].append(told | {"outcome": chance.choice(["no_show", "completed"])})
    return events


def _fate(item: Row, events: Events, horizon: dt.date) -> dict[str, Any]:
    """When an item leaves and why, its value and what of it was taken when."""

    def seen(name: str) -> list[Row]:
        mine = [e for e in events[name] if e["item_event_id"] == item["event_id"] and e["reversed_units"]]
        return [e for e in mine if -1 <= (e["event_on"] - item["event_on"]).days <= 770]

    def value(amount: int) -> int | None:
        rate = {"EUR": Fraction(1), "USD": Fraction(1, 2)}.get(item["currency"])
        return None if rate is None else int(amount * rate + Fraction(1, 2))

    sold_on = item["event_on"]
    over_on = max(sold_on, min(item["start_on"], sold_on + dt.timedelta(740)))
    taken = [(min(max(c["event_on"], sold_on), over_on), c["reversed_units"]) for c in seen("cancellation")]
    is_gone = sum(units for _, units in taken) == item["units"]
    leaves_on = max(on for on, _ in taken) if is_gone else over_on
    missed = any(t["outcome"] == "no_show" for t in seen("travel"))
    cause = "cancelled" if is_gone else "no_shows" if missed else "censored"
    return {
        "sold_on": sold_on,
        "leaves_on": leaves_on,
        "cause": cause if leaves_on <= horizon else "still_ahead",
        "value": value(item["price"]),
        "taken": [(on, value(101 * units)) for on, units in taken],
    }


def _age(fate: dict[str, Any], on: dt.date) -> int:
    return (on - fate["sold_on"]).days // 7


def _expected(items: list[dict[str, Any]], horizon: dt.date) -> list[Row]:
    """The rows of one booking week and product."""
    rows, survival, incidence = [], {"": Fraction(1), "_by_value": Fraction(1)}, {}
    is_rated = all(f["value"] is not None for f in items)
    for age in range(107):
        reached = [f for f in items if _age(f, min(f["leaves_on"], horizon)) >= age]
        if not reached:
            return rows
        here = [f for f in reached if _age(f, min(f["leaves_on"], horizon)) == age]
        row: Row = {"age_weeks": age, "at_risk": len(reached)}
        row |= {c: sum(f["cause"] == c for f in here) for c in ("cancelled", "no_shows", "censored", "still_ahead")}
        row |= dict.fromkeys(("at_risk_minor", "cancelled_minor", "no_shows_minor"))
        if is_rated:
            row["at_risk_minor"] = sum(
                f["value"] - sum(v for on, v in f["taken"] if _age(f, on) < age) for f in reached
            )
            row["cancelled_minor"] = sum(v for f in items for on, v in f["taken"] if _age(f, on) == age)
            rest = {id(f): f["value"] - sum(v for _, v in f["taken"]) for f in here}
            row["cancelled_minor"] += sum(rest[id(f)] for f in here if f["cause"] == "cancelled")
            row["no_shows_minor"] = sum(rest[id(f)] for f in here if f["cause"] == "no_shows")
        lived = all(f["leaves_on"] <= horizon or f["sold_on"] + dt.timedelta(7 * age + 6) <= horizon for f in items)
        for unit, by in (("", ""), ("_minor", "_by_value")):
            at_risk, before = row[f"at_risk{unit}"], survival[by]
            for risk, cause in (("cancellation", "cancelled"), ("no_show", "no_shows")):
                rate = Fraction(row[f"{cause}{unit}"], at_risk) if at_risk else Fraction(0)
                survival[by] -= before * rate
                incidence[risk, by] = incidence.get((risk, by), 0) + before * rate
                row[f"{risk}_rate{by}"] = float(rate) if lived and at_risk else None
                row[f"{risk}_incidence{by}"] = float(incidence[risk, by]) if lived and at_risk else None
        row["survival"] = float(survival[""]) if lived else None
        rows.append(row)
    return rows


histories = st.builds(_history, st.integers(0, 2**32), st.integers(1, 300))


@settings(max_examples=4, deadline=None)
@given(histories, st.sampled_from([13, 20, 27, 41, 800]), st.sampled_from(WEEKS))
def test_equals_a_look_at_each_item_and_reconciles_together_and_alone(
    runner: Runner, events: Events, today: int, one: dt.date
) -> None:
    horizon = MONDAY + dt.timedelta(today)
    events = {name: [r for r in rows if r["event_on"] <= horizon] for name, rows in events.items()}
    got = runner.analyze(ANALYSIS, events, WEEKS, rates=RATES, horizon=horizon)
    cohorts: dict[tuple[dt.date, str], list[dict[str, Any]]] = {}
    for item in events["booking"]:
        week = item["event_on"] - dt.timedelta(item["event_on"].weekday())
        cohorts.setdefault((week, item["product"]), []).append(_fate(item, events, horizon))
    expected = [
        {"booked_week_on": week, "product": product} | row
        for week, product in sorted(cohorts)
        if week in WEEKS
        for row in _expected(cohorts[week, product], horizon)
    ]
    assert len(got) == len(expected)
    for row, wanted in zip(got, expected, strict=True):
        assert row == pytest.approx(wanted, abs=2e-9)
    totals = runner.totals(ANALYSIS, events, WEEKS, rates=RATES, horizon=horizon)
    assert totals == {name: sum(r[name] for r in got) for name in ("cancelled", "no_shows")}
    alone = runner.analyze(ANALYSIS, events, [one], rates=RATES, horizon=horizon)
    assert alone == [r for r in got if r["booked_week_on"] == one]


@settings(max_examples=1, deadline=None)
@given(st.builds(_history, st.integers(0, 2**32), st.just(300)))
def test_weeks_whose_window_is_past_do_not_depend_on_the_last_day_of_events(runner: Runner, events: Events) -> None:
    past = [WEEKS[-1] + dt.timedelta(6 + ANALYSIS.window.after + n) for n in (0, 500)]
    one, other = (runner.analyze(ANALYSIS, events, WEEKS, rates=RATES, horizon=horizon) for horizon in past)
    assert one == other
