"""traffic_anomalies against a walk through the events in plain Python, and the cases its definition names."""

from __future__ import annotations

import datetime as dt
import random
import statistics
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayfare.analyses.traffic_anomalies import AUTOMATED, SERIES, TrafficAnomalies

if TYPE_CHECKING:
    from analyses.conftest import Row, Runner

ANALYSIS = TrafficAnomalies()
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
DAY = START.date()
LAST = 70
DAYS = [DAY + dt.timedelta(n) for n in range(LAST + 1)]
RATES = [(currency, day, rate) for day in DAYS for currency, rate in (("EUR", 1.0), ("USD", 0.5))]

Events = dict[str, list["Row"]]


def _history(seed: int, density: float) -> Events:
    """Searches and sales over ten weeks, dense on one weekday, some days without anything."""
    chance = random.Random(seed)
    events: Events = {"search": [], "booking": [], "purchase": []}
    for number in range(chance.choice([0, 0, 20]), LAST + 1):
        busy = density if number % 7 == LAST % 7 else density / 6
        at = {"event_on": DAYS[number]}
        for _ in range(chance.randint(0, int(6 * busy))):
            events["search"].append(at | {"result_count": chance.randint(0, 2), "visitor_id": None})
        for kind in ("booking", "purchase"):
            for _ in range(chance.randint(0, int(3 * busy))):
                sold = {"price": chance.randint(1, 99), "currency": chance.choice(["EUR", "USD"] * 9 + ["XXX"])}
                events[kind].append(at | sold | {"booking_id": chance.choice("abc")})
    return events


def _value(events: Events, day: dt.date) -> dict[str, tuple[int | None, int | None]]:
    """Numerator and denominator of each series on a day."""
    searches, bookings, purchases = ([e for e in events[k] if e["event_on"] == day] for k in events)
    prices = [{"EUR": e["price"], "USD": (e["price"] + 1) // 2}.get(e["currency"]) for e in bookings + purchases]
    n, empty, made = (
        len(searches),
        sum(e["result_count"] == 0 for e in searches),
        len({e["booking_id"] for e in bookings}),
    )
    revenue = None if None in prices else sum(p for p in prices if p)
    return {
        "searches": (n, None),
        "bookings": (made, None),
        "revenue": (revenue, None),
        "zero_result_rate": (empty, n),
        "look_to_book": (n, made),
    }


def oracle(events: Events, day: dt.date) -> list[Row]:
    all_days = {e["event_on"] for rows in events.values() for e in rows}
    first = min((d for d in all_days if day - dt.timedelta(56) <= d <= day), default=None)
    past = [day - dt.timedelta(7 * n) for n in range(1, 9)]
    past = [d for d in past if first and d >= first]
    rows = []
    for series in sorted(SERIES):

        def number(on: dt.date, series: str = series) -> float | None:
            numerator, denominator = _value(events, on)[series]
            if denominator is None:
                return None if numerator is None else float(numerator)
            return numerator / denominator if denominator else None

        others = [v for v in map(number, past) if v is not None]
        middle = statistics.median(others) if others else None
        mad = statistics.median(abs(v - middle) for v in others) if others else None
        value = number(day)
        z = (value - middle) * 0.6745 / mad if value is not None and len(others) >= 4 and mad else None
        numerator, denominator = _value(events, day)[series]
        rows.append(
            {"observed_on": day, "series": series, "session_id": "", "value": value, "numerator": numerator}
            | {"denominator": denominator, "known_weeks": len(others), "median": middle, "mad": mad}
            | {"z": None if z is None else round(z, 9), "is_anomalous": z is not None and abs(z) > 3.5}
        )
    return rows


def _rounded(row: Row) -> Row:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.2, 1.0, 3.0]))
def test_days_equal_the_oracle_and_reconcile_together_and_alone(runner: Runner, seed: int, density: float) -> None:
    events = _history(seed, density)
    asked = [DAYS[n] for n in (27, 28, 30, 35, 42, 49, 55, 56, LAST - 7, LAST - 1, LAST)]
    expected = [row for day in asked for row in oracle(events, day)]
    together = runner.analyze(ANALYSIS, events, asked, rates=RATES)
    assert [_rounded({name: row[name] for name in expected[0]}) for row in together] == [*map(_rounded, expected)]
    assert runner.analyze(ANALYSIS, events, asked[-1:], rates=RATES) == together[-len(SERIES) :]
    total = runner.totals(ANALYSIS, events, asked, rates=RATES)["denominator"]
    assert total == sum(row["denominator"] or 0 for row in together)


def _on_sundays(counts: list[int]) -> Events:
    """Searches on successive Sundays, the last of them day 56."""
    return {"search": [{"event_on": DAYS[56 - 7 * back]} for back, n in enumerate(reversed(counts)) for _ in range(n)]}


def _of(rows: list[Row], series: str) -> Row:
    (row,) = (row for row in rows if row["series"] == series)
    return row


@pytest.mark.parametrize(
    ("counts", "z"),
    [
        ([10, 12, 14, 30], None),
        ([8, 10, 12, 14, 30], 0.6745 * 19 / 2),
        ([8, 10, 12, 14, 0], -0.6745 * 11 / 2),
        ([10, 10, 10, 10, 30], None),
        ([8, 0, 12, 14, 30], 0.6745 * 20 / 3),
        ([5_000, 8, 10, 12, 14, 8, 10, 12, 14, 30], 0.6745 * 19 / 2),
    ],
    ids=["too short", "unusual", "missing day is a zero", "no spread", "gap is a zero", "nine weeks ago is too far"],
)
def test_a_day_is_judged_against_the_same_weekday_of_eight_weeks(
    runner: Runner, counts: list[int], z: float | None
) -> None:
    row = _of(runner.analyze(ANALYSIS, _on_sundays(counts[-9:]), [DAYS[56]]), "searches")
    assert row["z"] == (None if z is None else pytest.approx(z))
    assert row["is_anomalous"] is bool(z and abs(z) > 3.5)
    assert row["known_weeks"] == min(len(counts) - 1, 8)


def _clicks(gaps: list[float], *, start: dt.datetime = START, **more: Any) -> list[Row]:
    at, clicks = start, []
    for gap in [0.0, *gaps]:
        at += dt.timedelta(seconds=gap)
        clicks.append({"visitor_id": "v", "occurred_at": at, **more})
    return clicks


def _flagged(runner: Runner, events: Events, days: list[dt.date]) -> list[tuple[dt.date, list[str]]]:
    rows = [row for row in runner.analyze(ANALYSIS, events, days) if row["series"] == AUTOMATED]
    assert all(row["is_anomalous"] for row in rows)
    reasons = [name for name in ANALYSIS.mart.columns if name.startswith("is_too_")]
    return [(row["observed_on"], [name for name in reasons if row[name]]) for row in rows]


def test_a_clock_is_too_regular_and_chance_is_not(runner: Runner) -> None:
    chance = random.Random(1)
    gaps = [[20.0] * 19, [20.0] * 18, [chance.expovariate(1 / 20) for _ in range(300)]]
    clicks = [c for n, g in enumerate(gaps) for c in _clicks(g, start=START + dt.timedelta(n))]
    assert _flagged(runner, {"search": clicks}, DAYS[:3]) == [(DAY, ["is_too_regular"])]


def test_fifty_instants_faster_than_anybody_reads_are_too_fast(runner: Runner) -> None:
    gaps = [1.0, 4.5] * 24 + [1.0]
    clicks = _clicks(gaps) + _clicks(gaps[1:], start=START + dt.timedelta(1))
    group = _clicks([0.0] * 60, start=START + dt.timedelta(2))
    flagged = _flagged(runner, {"view": clicks, "booking": group}, DAYS[:3])
    assert flagged == [(DAY, ["is_too_fast"])], "a group booking is one instant"


def test_who_never_rests_is_flagged_on_each_day_and_across_event_types(runner: Runner) -> None:
    chance = random.Random(2)
    gaps = [chance.choice([60, 1_200, 1_799]) for _ in range(300)]
    clicks = _clicks(gaps, start=START + dt.timedelta(hours=10))
    events = {"search": clicks[::2], "view": clicks[1::2]}
    days = sorted({click["occurred_at"].date() for click in clicks})
    flagged = _flagged(runner, events, days)
    assert flagged == [(day, ["is_too_long"]) for day in (days[0], *days[2:])]
    assert [f for day in days for f in _flagged(runner, events, [day])] == flagged


def test_an_evening_session_is_judged_as_a_whole_and_says_why(runner: Runner) -> None:
    clicks = _clicks([20] * 29, start=START + dt.timedelta(hours=23, minutes=55))
    (row,) = (r for r in runner.analyze(ANALYSIS, {"search": clicks}, DAYS[:2]) if r["series"] == AUTOMATED)
    assert (row["observed_on"], row["searcher"], row["value"], row["instants"]) == (DAY, "v:v", 30.0, 30)
    assert (row["duration_seconds"], row["mean_gap_seconds"], row["gap_variation"]) == (580, 20.0, 0.0)


def test_more_than_five_thousand_events_are_too_deep(runner: Runner) -> None:
    chance = random.Random(3)
    clicks = _clicks([chance.choice([0.0, 0.0, 0.0, 1.0, 30.0, 3.0]) for _ in range(5_000)])
    assert _flagged(runner, {"view": clicks}, DAYS[:1]) == [(DAY, ["is_too_deep"])]
