"""destination_demand against a walk through the events in plain Python, and the cases its definition names."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wayfare.analyses.destination_demand import DestinationDemand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyses.conftest import Row, Runner

ANALYSIS = DestinationDemand()
DAY = dt.date(2026, 3, 1)
DAYS = [DAY + dt.timedelta(n) for n in range(3)]
MIDNIGHT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
PLACES = [
    {"place": "LHR", "city": "LON", "country": "GB"},
    {"place": "LGW", "city": "LON", "country": "GB"},
    {"place": "LIS", "city": "LIS", "country": "PT"},
]
CITY = {p["place"]: p["city"] for p in PLACES}
COUNTRY = {p["place"]: p["country"] for p in PLACES}


@dataclass
class Intent:
    """Searches of one wish, the first to last."""

    searches: list[Row]

    @property
    def grain(self) -> tuple[Any, ...]:
        return _grain(self.searches[0])

    @property
    def began(self) -> tuple[dt.datetime, int]:
        return self.searches[0]["occurred_at"], min(s["event_id"] for s in self.searches)

    def person(self, column: str) -> str | None:
        return max((s[column] for s in self.searches if s[column]), default=None)


def _market(e: Row) -> str:
    return e["point_of_sale"] or COUNTRY.get(e["origin"], "ZZ")


def _grain(e: Row) -> tuple[Any, ...]:
    place = e["destination"]
    return e["event_on"], place, CITY.get(place, place), e["product"], _market(e)


def _searcher(e: Row) -> tuple[str, Any]:
    known = ((column, e[column]) for column in ("visitor_id", "customer_id") if e[column])
    return next(known, ("event_id", e["event_id"]))


def intents_of(searches: list[Row]) -> Iterator[Intent]:
    def wish(e: Row) -> tuple[Any, ...]:
        return (*_grain(e), *_searcher(e), e["origin"] or "", e["start_on"])

    last: dict[tuple[Any, ...], Intent] = {}
    for e in sorted(searches, key=lambda e: e["occurred_at"]):
        intent = last.get(wish(e))
        if intent is None or e["occurred_at"] - intent.searches[-1]["occurred_at"] > dt.timedelta(minutes=30):
            intent = last[wish(e)] = Intent([])
            yield intent
        intent.searches.append(e)


def _matured(intents: list[Intent], bookings: list[Row]) -> set[tuple[dt.datetime, int]]:
    made: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for b in bookings:
        on, _, city, product, _ = _grain(b)
        made[b["booking_id"], city, product, on].append(b)
    matured = set()
    for (_, city, product, on), items in made.items():
        people = {c: max((b[c] for b in items if b[c]), default=None) for c in ("visitor_id", "customer_id")}
        before = [
            i
            for i in intents
            if i.grain[2:4] == (city, product)
            and i.began[0] <= min(b["occurred_at"] for b in items)
            and any(who and i.person(column) == who for column, who in people.items())
        ]
        last = max(before, key=lambda i: i.began, default=None)
        if last and on - last.grain[0] <= dt.timedelta(7):
            matured.add(last.began)
    return matured


def oracle(searches: list[Row], bookings: list[Row]) -> list[Row]:
    intents = list(intents_of(searches))
    matured = _matured(intents, bookings)
    by_grain: dict[tuple[Any, ...], list[Intent]] = defaultdict(list)
    booked: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for intent in intents:
        by_grain[intent.grain].append(intent)
    for b in bookings:
        booked[_grain(b)].add(b["booking_id"])
    rows = []
    for grain in sorted({*by_grain, *booked}):
        if grain[0] not in DAYS:
            continue
        here, made = by_grain[grain], len(booked[grain])
        converted = sum(i.began in matured for i in here)
        rows.append(
            dict(zip(ANALYSIS.mart.grain, grain, strict=True))
            | {
                "searches": sum(len(i.searches) for i in here),
                "intents": len(here),
                "unique_searchers": len({_searcher(i.searches[0]) for i in here}),
                "zero_result_intents": sum(all(s["result_count"] == 0 for s in i.searches) for i in here),
                "bookings": made,
                "searches_per_booking": len(here) / made if made else None,
                "matured_bookings": converted,
                "matured_searches_per_booking": len(here) / converted if converted else None,
            }
        )
    return rows


@st.composite
def events(draw: st.DrawFn) -> dict[str, list[Row]]:
    """Few people, few wishes and instants that collide, so that every tie and overlap comes up."""
    envelope = {
        "occurred_at": st.builds(
            lambda day, minute: MIDNIGHT + dt.timedelta(days=day, minutes=minute),
            st.sampled_from([-1, 0, 0, 0, 1, 6, 7, 8, 9]),
            st.sampled_from([0, 30, 31, 60, 61, 700, 1_439]),
        ),
        "visitor_id": st.sampled_from([None, "1", "1", "1", "2", "3"]),
        "customer_id": st.sampled_from([None, None, "1", "2", "3", "4"]),
        "point_of_sale": st.sampled_from([None, None, "US"]),
        "origin": st.sampled_from([None, "LIS", "LIS", "LIS", "QQQ"]),
        "destination": st.sampled_from(["LHR", "LHR", "LGW", "QQQ"]),
        "product": st.sampled_from(["flight", "flight", "hotel"]),
    }
    searches = st.fixed_dictionaries(
        envelope
        | {"result_count": st.integers(0, 1), "start_on": st.sampled_from([DAY, DAY, DAY, DAY + dt.timedelta(9)])}
    )
    bookings = st.fixed_dictionaries(envelope | {"booking_id": st.sampled_from([f"b{n}" for n in range(20)])})
    made = {
        "search": draw(st.lists(searches, min_size=60, max_size=100)),
        "booking": draw(st.lists(bookings, min_size=15, max_size=40)),
    }
    numbers = draw(st.permutations(range(1, 141)))
    for number, row in zip(numbers, itertools.chain(*made.values()), strict=False):
        row |= {"event_id": number, "event_on": row["occurred_at"].date()}
    return made


@settings(max_examples=3, deadline=None)
@given(events(), st.sampled_from(DAYS))
def test_it_equals_the_oracle_and_reconciles_whatever_the_order_and_the_chunks(
    runner: Runner, events: dict[str, list[Row]], one: dt.date
) -> None:
    got = runner.analyze(ANALYSIS, events, DAYS, places=PLACES)
    assert got == oracle(events["search"], events["booking"])
    assert runner.totals(ANALYSIS, events, DAYS, places=PLACES) == {"searches": sum(row["searches"] for row in got)}
    other_order = {name: rows[::-1] for name, rows in events.items()}
    alone = runner.analyze(ANALYSIS, other_order, [one], places=PLACES)
    assert alone == [row for row in got if row["searched_on"] == one]


def _at(minutes: int) -> dt.datetime:
    return MIDNIGHT + dt.timedelta(minutes=minutes)


def test_repetitions_within_thirty_minutes_of_one_another_are_one_intent(runner: Runner) -> None:
    searches = [{"visitor_id": "v", "occurred_at": _at(m)} for m in (0, 30, 60, 91)]
    (row,) = runner.analyze(ANALYSIS, {"search": searches}, [DAY])
    assert (row["searches"], row["intents"], row["unique_searchers"]) == (4, 2, 1)


def test_searches_of_nobody_known_are_an_intent_and_a_searcher_each(runner: Runner) -> None:
    (row,) = runner.analyze(ANALYSIS, {"search": [{"result_count": 0}, {}, {}]}, [DAY])
    assert (row["intents"], row["unique_searchers"], row["zero_result_intents"]) == (3, 3, 1)


def test_a_booking_matures_only_the_last_intent_before_it_of_the_same_person(runner: Runner) -> None:
    searches = [
        {"visitor_id": "v", "occurred_at": _at(0)},
        {"visitor_id": "phone", "customer_id": "c", "occurred_at": _at(60)},
        {"visitor_id": "v", "occurred_at": _at(300)},
        {"visitor_id": "other", "occurred_at": _at(120)},
    ]
    booking = {"visitor_id": "v", "customer_id": "c", "occurred_at": _at(200)}
    (row,) = runner.analyze(ANALYSIS, {"search": searches, "booking": [booking, booking]}, [DAY])
    assert (row["intents"], row["matured_bookings"], row["matured_searches_per_booking"]) == (4, 1, 4.0)


def test_a_booking_on_the_eighth_day_comes_too_late(runner: Runner) -> None:
    searches = [{"visitor_id": "a", "event_on": DAY}, {"visitor_id": "b", "event_on": DAY}]
    bookings = [
        {"visitor_id": "a", "event_on": DAY + dt.timedelta(7)},
        {"visitor_id": "b", "event_on": DAY + dt.timedelta(8)},
    ]
    (row,) = runner.analyze(ANALYSIS, {"search": searches, "booking": bookings}, [DAY])
    assert row["matured_bookings"] == 1


def test_bookings_without_a_search_have_a_row(runner: Runner) -> None:
    (row,) = runner.analyze(ANALYSIS, {"booking": [{"destination": "LGW", "event_on": DAY}]}, [DAY], places=PLACES)
    assert (row["city"], row["bookings"], row["intents"], row["searches_per_booking"]) == ("LON", 1, 0, 0.0)
