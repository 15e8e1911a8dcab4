"""retention_cohorts against a plain walk over the bookings, and the cases its definition names."""

from __future__ import annotations

import calendar
import datetime as dt
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.selling import cancellation
from wayfare.analyses.retention_cohorts import RetentionCohorts

if TYPE_CHECKING:
    from analyses.conftest import Runner
    from analyses.selling import Events, Row

ANALYSIS = RetentionCohorts()
FIRST = dt.date(2025, 11, 1)


def _booked(on: dt.date, booking_id: str, customer: str | None = "c", **more: Any) -> Row:
    item = {"event_on": on, "booking_id": booking_id, "customer_id": customer, "item_id": "1", "units": 2}
    return item | {"product": "flight", "resource_id": "f", "start_on": on, **more}


def _months(events: Events, horizon: dt.date) -> list[dt.date]:
    """The output days: every month from the first event to the last."""
    first = min((r["event_on"] for rows in events.values() for r in rows), default=horizon)
    numbers = range(first.year * 12 + first.month - 1, horizon.year * 12 + horizon.month)
    return [dt.date(n // 12, n % 12 + 1, 1) for n in numbers]


def _oracle(events: Events, horizon: dt.date) -> list[Row]:
    """The rows, customer by customer and month by month."""
    items: dict[tuple[str | None, str], list[Row]] = defaultdict(list)
    for row in events["booking"]:
        items[row["customer_id"], row["booking_id"]].append(row)
    sold = {r["event_id"] for r in events["booking"]}
    made: dict[str | None, list[tuple[dt.date, bool]]] = defaultdict(list)
    for (customer, booking), rows in items.items():
        left = sum(r["units"] for r in rows) - sum(
            r["reversed_units"]
            for r in events["cancellation"]
            if (r["booking_id"], r["item_customer_id"]) == (booking, customer) and r["item_event_id"] in sold
        )
        made[customer].append((min(r["event_on"] for r in rows).replace(day=1), left > 0))
    unknown = [month for month, _ in made.pop(None, [])]
    cohorts = {customer: min(month for month, _ in rows) for customer, rows in made.items()}
    net = {customer: {month for month, is_net in rows if is_net} for customer, rows in made.items()}
    booked = {*unknown, *(month for rows in made.values() for month, _ in rows)}
    expected = []
    for cohort in sorted(booked):
        people = [c for c in cohorts if cohorts[c] == cohort]
        for since, month in enumerate(m for m in _months(events, horizon) if m >= cohort):
            is_over = month.replace(day=calendar.monthrange(month.year, month.month)[1]) < horizon
            returned = sum(month in net[c] for c in people) if is_over else None
            later = sum(any(m >= month for m in net[c]) for c in people) if is_over else None
            row = {"cohort_on": cohort, "months_since": since, "cohort_size": len(people)}
            row |= {
                "first_bookings": 0 if since else len(people),
                "unknown_bookings": 0 if since else unknown.count(cohort),
            }
            row |= {"returned": returned, "returned_or_later": later}
            for name in ("returned", "returned_or_later"):
                counted = row[name]
                row[f"{name}_rate"] = counted / len(people) if people and counted is not None else None
            expected.append(row)
    return expected


@st.composite
def histories(draw: st.DrawFn) -> Events:
    """Half a year of a few customers: bookings of one or two items, at ends of months too, some taken back."""
    day = st.one_of(st.integers(0, 200), st.sampled_from([0, 29, 30, 31, 60, 61, 62, 91, 92]))
    sale = st.tuples(day, st.sampled_from([*"abcdefghijkl", None]), st.integers(0, 9), st.integers(0, 40))
    events: Events = {"booking": [], "cancellation": []}
    for number, (on, customer, odd, late) in enumerate(draw(st.lists(sale, min_size=20, max_size=60))):
        booking, then = f"k{number // (1 + odd % 2)}", FIRST + dt.timedelta(on + late)
        item = _booked(FIRST + dt.timedelta(on), booking, customer, item_id=f"{number}", event_id=2 * number + 1)
        again = {"item_id": ("x", item["item_id"])[odd % 2], "event_on": then, "event_id": 2 * number + 2}
        events["booking"] += [item, item | again][: 1 + odd // 7]
        if odd % 5 > 2:
            events["cancellation"].append(cancellation(item, then, odd % 5 - 2))
    return events


@settings(max_examples=5, deadline=None)
@given(histories(), st.integers(0, 31), st.integers(0, 11))
def test_equals_a_walk_over_the_bookings_together_and_alone(
    runner: Runner, events: Events, quiet: int, number: int
) -> None:
    last = max(r["event_on"] for rows in events.values() for r in rows) + dt.timedelta(quiet)
    output = _months(events, last)
    got = runner.analyze(ANALYSIS, events, output, horizon=last)
    assert got == _oracle(events, last)
    sums = {name: sum(row[name] for row in got) for name in ("first_bookings", "unknown_bookings")}
    assert runner.totals(ANALYSIS, events, output) == sums
    customers = {r["customer_id"] for r in events["booking"]} - {None}
    assert sums["first_bookings"] == len(customers)
    one = output[number % len(output)]
    alone = runner.analyze(ANALYSIS, events, [one], horizon=last)
    assert alone == [row for row in got if row["cohort_on"] == one]
    first_bookings = runner.totals(ANALYSIS, events, [one])["first_bookings"] or 0
    assert first_bookings == sum(row["first_bookings"] for row in alone)


def test_a_month_that_is_not_over_is_null_and_a_month_skipped_is_0(runner: Runner) -> None:
    events = {"booking": [_booked(dt.date(2025, 11, 5), "1"), _booked(dt.date(2026, 1, 9), "2")]}
    first = [dt.date(2025, 11, 1)]
    rows = runner.analyze(ANALYSIS, events, first, horizon=dt.date(2026, 1, 31))
    assert [(r["months_since"], r["returned"], r["returned_or_later"]) for r in rows] == [
        (0, 1, 1),
        (1, 0, 1),
        (2, None, None),
    ]
    (*_, last, _) = runner.analyze(ANALYSIS, events, first, horizon=dt.date(2026, 2, 1))
    assert (last["returned"], last["returned_rate"]) == (1, 1.0)


def test_a_cancelled_first_booking_makes_the_cohort_and_no_return(runner: Runner) -> None:
    lost = _booked(dt.date(2025, 11, 30), "1")
    events = {"booking": [lost, _booked(dt.date(2025, 12, 31), "2")]}
    events["cancellation"] = [cancellation(lost, dt.date(2026, 2, 1), 2)]
    rows = runner.analyze(ANALYSIS, events, _months(events, dt.date(2026, 2, 1)))
    assert [(r["cohort_on"].month, r["months_since"], r["cohort_size"], r["returned"]) for r in rows] == [
        (11, 0, 1, 0),
        (11, 1, 1, 1),
        (11, 2, 1, 0),
        (11, 3, 1, None),
        (12, 0, 0, 0),
        (12, 1, 0, 0),
        (12, 2, 0, None),
    ]


def test_the_month_is_that_of_the_agency_and_a_partial_cancellation_takes_nobody_away(runner: Runner) -> None:
    at = dt.datetime(2025, 12, 1, 2, tzinfo=dt.UTC)
    item = _booked(dt.date(2025, 11, 30), "1", occurred_at=at)
    events = {"booking": [item], "cancellation": [cancellation(item, dt.date(2025, 12, 31), 1)]}
    rows = runner.analyze(ANALYSIS, events, [dt.date(2025, 11, 1)])
    assert [(r["months_since"], r["returned"]) for r in rows] == [(0, 1), (1, None)]


def test_bookings_of_nobody_known_are_counted_beside_the_cohorts(runner: Runner) -> None:
    items = [_booked(dt.date(2025, 11, n), f"{n // 2}", None, item_id=f"{n}") for n in (2, 3, 4)]
    (row,) = runner.analyze(ANALYSIS, {"booking": items}, [dt.date(2025, 11, 1)], horizon=dt.date(2025, 11, 30))
    assert (row["unknown_bookings"], row["cohort_size"], row["returned_rate"]) == (2, 0, None)
