"""The steps that analyses share, against a walk through the events."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wayfare.analyses import visits
from wayfare.analyses.api import BehaviorAnalysis, Mart
from wayfare.contracts.events import BOOKING, CANCELLATION, OFFER, PURCHASE, REFUND, SEARCH, TRAVEL, VIEW

if TYPE_CHECKING:
    from analyses.conftest import Row, Runner

EVERYTHING = (SEARCH, VIEW, OFFER, BOOKING, PURCHASE, CANCELLATION, REFUND, TRAVEL)
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
HALF_HOUR = dt.timedelta(minutes=30)


class Reader(BehaviorAnalysis):
    """Who reads everything?"""

    reads = EVERYTHING
    mart = Mart(day="event_on", grain={}, columns={})


def test_activity_has_an_event_of_every_type_with_what_its_type_knows(runner: Runner) -> None:
    events = {event_type.name: [{"event_on": START.date()}] for event_type in EVERYTHING}
    events["purchase"] = [{"event_on": START.date(), "price": 7, "booking_id": "b", "currency": "EUR"}]
    rows = runner.rows(visits.activity(runner.inputs(Reader(), events, [START.date()]), *EVERYTHING))
    by_type = {row["event_type"]: row for row in rows}
    assert set(by_type) == {event_type.name for event_type in EVERYTHING}
    bought, searched = by_type["purchase"], by_type["search"]
    assert (bought["price"], bought["booking_id"], bought["currency"]) == (7, "b", "EUR")
    assert (searched["price"], searched["booking_id"]) == (None, None)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([0, 1, 29, 30, 31, 60, 61, 200])), max_size=12
    )
)
def test_with_session_equals_a_walk_through_the_events(runner: Runner, clicks: list[tuple[str | None, int]]) -> None:
    table = pa.table(
        {
            "event_id": pa.array(range(len(clicks)), pa.int64()),
            "who": pa.array([who for who, _ in clicks], pa.string()),
            "occurred_at": pa.array(
                [START + minute * dt.timedelta(minutes=1) for _, minute in clicks], pa.timestamp("us", "UTC")
            ),
        }
    )
    got = {r["event_id"]: r["session"] for r in runner.rows(visits.with_session(runner.frame(table), ["who"]))}
    expected, last = {}, {}
    for number, (who, minute) in sorted(enumerate(clicks), key=lambda v: (v[1][1], v[0])):
        before, session = last.get(who, (-100, 0))
        last[who] = (minute, session + (minute - before > 30))
        expected[number] = last[who][1]
    assert got == expected


def _walk(clicks: list[Row]) -> dict[int, tuple[int, dt.date]]:
    """The first event and the start day of each event's session."""
    found: dict[int, tuple[int, dt.date]] = {}
    unbroken: Row | None = None
    first = previous = clicks[0]
    for click in clicks:
        if unbroken is None or click["occurred_at"] - previous["occurred_at"] > HALF_HOUR:
            unbroken = first = click
        elif click["event_on"] - unbroken["event_on"] > dt.timedelta(1) and click["event_on"] > previous["event_on"]:
            first = click
        found[click["event_id"]] = (first["event_id"], first["event_on"])
        previous = click
    return found


STEPS = st.lists(st.sampled_from([0, 1, 29, 30, 30, 30, 31, 600, 1_500]), min_size=20, max_size=100)


@pytest.mark.parametrize("day_begins", [dt.timedelta(0), dt.timedelta(hours=5)], ids=["utc", "new york"])
@settings(max_examples=2, deadline=None)
@given(steps=STEPS)
@example(steps=[30] * 200)
@example(steps=[600, *[29] * 200, 31, *[30] * 60])
def test_sessionized_equals_a_walk_and_a_day_is_known_from_two_before_and_one_after(
    runner: Runner, day_begins: dt.timedelta, steps: list[int]
) -> None:
    at, clicks = START, []
    for number, minutes in enumerate(steps, 1):
        at += dt.timedelta(minutes=minutes)
        clicks.append({"event_id": number, "occurred_at": at, "event_on": (at - day_begins).date(), "visitor_id": "v"})
    expected = _walk(clicks)
    days = sorted({click["event_on"] for click in clicks})
    assert _sessions(runner, clicks, days) == expected
    for day in days:
        near = [c for c in clicks if -2 <= (c["event_on"] - day).days <= 1]
        alone = {e: v for e, v in _sessions(runner, near, days).items() if v[1] == day}
        assert alone == {e: v for e, v in expected.items() if v[1] == day}


def _sessions(runner: Runner, clicks: list[Row], days: list[dt.date]) -> dict[int, tuple[int, dt.date]]:
    given = runner.inputs(Reader(), {"search": clicks}, days)
    frame = visits.sessionized(visits.activity(given, SEARCH))
    rows = runner.rows(frame.select("event_id", "session", "started_on", "is_first"))
    firsts = {(r["session"], r["started_on"]): r["event_id"].int for r in rows if r["is_first"]}
    assert len(firsts) == sum(r["is_first"] for r in rows), "a session has one first event"
    return {r["event_id"].int: (firsts[r["session"], r["started_on"]], r["started_on"]) for r in rows}
