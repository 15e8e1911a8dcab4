"""sessions against a walk through the events in plain Python, and the cases its definition names."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wayfare.analyses.sessions import AUTOMATED_EVENTS, Sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyses.conftest import Row, Runner

ANALYSIS = Sessions()
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
DAY = START.date()
DAYS = [DAY + dt.timedelta(n) for n in range(5)]
RATES = [("USD", day, 0.5) for day in DAYS] + [("EUR", day, 1.0) for day in DAYS]
HALF_HOUR = dt.timedelta(minutes=30)
ONE_DAY = dt.timedelta(1)
TYPES = ("search", "view", "offer", "booking", "purchase")


def _who(e: Row) -> str:
    return (e["visitor_id"] and f"v:{e['visitor_id']}") or (e["customer_id"] and f"c:{e['customer_id']}") or ""


def _walks(events: list[Row]) -> Iterator[tuple[list[Row], bool]]:
    """The events of each session, in order, and whether it continues one."""
    unknown = [e for e in events if not _who(e)]
    yield from (([e], False) for e in unknown)
    for who in {_who(e) for e in events if _who(e)}:
        session: list[Row] = []
        began = previous = None
        is_continued = False
        for e in sorted((e for e in events if _who(e) == who), key=lambda e: (e["occurred_at"], e["event_id"])):
            is_new = previous is None or e["occurred_at"] - previous["occurred_at"] > HALF_HOUR
            if is_new:
                began = e["event_on"]
            goes_on = not is_new and e["event_on"] >= began + 2 * ONE_DAY and e["event_on"] > previous["event_on"]
            if (is_new or goes_on) and session:
                yield session, is_continued
                session = []
            is_continued = goes_on if not session else is_continued
            session.append(e)
            previous = e
        yield session, is_continued


def _price(e: Row) -> int | None:
    if e["type"] not in {"booking", "purchase"}:
        return 0
    return {"EUR": e["price"], "USD": (e["price"] + 1) // 2, "XXX": None}[e["currency"]]


def oracle(events: list[Row]) -> list[Row]:
    rows = []
    for session, is_continued in _walks(events):
        first, last = session[0], session[-1]
        prices = [_price(e) for e in session]
        seconds = int((last["occurred_at"] - first["occurred_at"]).total_seconds())
        number = f"{first['event_id']:032x}"
        session_id = "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))
        rows.append(
            {"started_on": first["event_on"], "session_id": session_id, "searcher": _who(first) or f"e:{session_id}"}
            | {"customer_id": max((e["customer_id"] for e in session if e["customer_id"]), default=None)}
            | {"channel": first["channel"], "campaign_source": None, "campaign_medium": None, "campaign_name": None}
            | {"point_of_sale": None, "first_event_type": first["type"]}
            | {"started_at": first["occurred_at"], "ended_at": last["occurred_at"], "duration_seconds": seconds}
            | {"events": len(session), "events_after_midnight": sum(e["event_on"] > first["event_on"] for e in session)}
            | {
                name: sum(e["type"] == kind for e in session)
                for name, kind in zip(("searches", "views", "offers", "items"), TYPES, strict=False)
            }
            | {"bookings": len({e["booking_id"] for e in session if e["type"] == "booking"})}
            | {"purchases": sum(e["type"] == "purchase" for e in session)}
            | {"spend_minor": None if None in prices else sum(prices), "is_bounce": len(session) == 1}
            | {"is_continued": is_continued, "is_automated": is_continued or seconds > 24 * 3600}
        )
    return sorted(rows, key=lambda r: (r["started_on"], r["session_id"]))


def _by_type(events: list[Row]) -> dict[str, list[Row]]:
    made: dict[str, list[Row]] = {kind: [] for kind in TYPES}
    for e in events:
        sold = ("price", "currency", "booking_id") if e["type"] in {"booking", "purchase"} else ()
        made[e["type"]].append({k: v for k, v in e.items() if k not in {"type", "price", "currency", "booking_id"}})
        made[e["type"]][-1] |= {name: e[name] for name in sold}
    return made


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Few people; steps at the edges of a pause and of midnight, some of them a day and more without a pause."""
    step = st.fixed_dictionaries(
        {
            "steps": st.sampled_from([[0], [0], [1], [29], [30], [31], [1, 31], [400, *[30] * 48], [30] * 60]),
            "visitor_id": st.sampled_from(["1", "1", "1", "2", "2", None]),
            "customer_id": st.sampled_from([None, None, "1", "2"]),
            "type": st.sampled_from(TYPES),
            "channel": st.sampled_from([None, "ads", "mail"]),
            "price": st.integers(0, 99),
            "currency": st.sampled_from(["EUR", "USD", "USD", "XXX"]),
            "booking_id": st.sampled_from(["b1", "b2"]),
        }
    )
    at = START + dt.timedelta(minutes=draw(st.sampled_from([0, 1_380, 1_410])))
    midnight = dt.timedelta(hours=draw(st.sampled_from([0, -5])))
    events = []
    for row in draw(st.lists(step, min_size=15, max_size=40)):
        for minutes in row.pop("steps"):
            at += dt.timedelta(minutes=minutes)
            events.append({**row, "occurred_at": at, "event_on": (at + midnight).date()})
    numbers = draw(st.permutations(range(1, len(events) + 1)))
    return [e | {"event_id": n} for e, n in zip(events, numbers, strict=True)]


@settings(max_examples=3, deadline=None)
@given(histories(), st.integers(0, 2**20))
def test_it_equals_the_oracle_and_reconciles_whatever_the_chunks(
    runner: Runner, events: list[Row], chunks: int
) -> None:
    days = [DAY + dt.timedelta(n) for n in range(-1, (events[-1]["event_on"] - DAY).days + 1)]
    rates = [(currency, day, rate) for day in days for currency, rate in (("USD", 0.5), ("EUR", 1.0))]
    inputs = _by_type(events)
    got = []
    for take in (0, 1):
        chunk = [day for n, day in enumerate(days) if (chunks >> n) % 2 == take]
        if chunk:
            rows = runner.analyze(ANALYSIS, inputs, chunk, rates=rates)
            totals = runner.totals(ANALYSIS, inputs, chunk, rates=rates)
            assert {name: value or 0 for name, value in totals.items()} == {n: sum(r[n] for r in rows) for n in totals}
            got += rows
    assert sorted(got, key=lambda r: (r["started_on"], r["session_id"])) == oracle(events)
    assert sum(row["events"] for row in got) == len(events), "every event is in one session"


def _clicks(*minutes: int, **more: Any) -> list[Row]:
    return [
        {"visitor_id": "v", "occurred_at": START + dt.timedelta(minutes=m), "event_id": 1_000 + m, **more}
        for m in minutes
    ]


def test_an_evening_visit_is_one_session_of_its_first_day(runner: Runner) -> None:
    (row,) = runner.analyze(ANALYSIS, {"search": _clicks(1_420, 1_439, 1_445)}, DAYS)
    assert (row["started_on"], row["events"], row["events_after_midnight"]) == (DAY, 3, 1)
    assert (row["duration_seconds"], row["is_bounce"], row["is_automated"]) == (25 * 60, False, False)


def test_a_late_event_joins_two_sessions_and_the_first_keeps_its_id(runner: Runner) -> None:
    early, late = runner.analyze(ANALYSIS, {"search": _clicks(1_430, 1_480)}, DAYS)
    assert (early["started_on"], late["started_on"]) == (DAY, DAY + ONE_DAY)
    (joined,) = runner.analyze(ANALYSIS, {"search": _clicks(1_430, 1_455, 1_480)}, DAYS)
    assert (joined["session_id"], joined["events"]) == (early["session_id"], 3)


def test_a_late_event_can_begin_a_session_the_day_before(runner: Runner) -> None:
    (row,) = runner.analyze(ANALYSIS, {"search": _clicks(1_445)}, DAYS)
    (moved,) = runner.analyze(ANALYSIS, {"search": _clicks(1_425, 1_445)}, DAYS)
    assert (row["started_on"], moved["started_on"]) == (DAY + ONE_DAY, DAY)


def test_who_never_rests_has_a_session_a_day_and_all_are_automated(runner: Runner) -> None:
    rows = runner.analyze(ANALYSIS, {"search": _clicks(*range(600, 5 * 1_440, 30))}, DAYS)
    assert [row["started_on"] for row in rows] == [DAYS[0], *DAYS[2:]]
    assert [row["is_continued"] for row in rows] == [False, True, True, True]
    assert all(row["is_automated"] for row in rows)


def test_more_than_five_thousand_events_are_automated(runner: Runner) -> None:
    def flags(n: int) -> list[bool]:
        clicks = [{"visitor_id": "v", "occurred_at": START + dt.timedelta(seconds=s)} for s in range(n)]
        return [row["is_automated"] for row in runner.analyze(ANALYSIS, {"view": clicks}, DAYS)]

    assert flags(AUTOMATED_EVENTS) == [False]
    assert flags(AUTOMATED_EVENTS + 1) == [True]


def test_spend_is_unknown_without_a_rate_and_zero_without_a_sale(runner: Runner) -> None:
    bought = {"visitor_id": "a", "event_on": DAY, "price": 9}
    events = {
        "booking": [bought | {"currency": "USD", "booking_id": "k"}, bought | {"currency": "EUR", "booking_id": "k"}],
        "purchase": [{"visitor_id": "b", "event_on": DAY, "price": 9, "currency": "XXX"}],
        "view": [{"visitor_id": "c", "event_on": DAY, "price": 9, "currency": "XXX"}],
    }
    rows = runner.analyze(ANALYSIS, events, DAYS, rates=RATES)
    assert {row["searcher"]: row["spend_minor"] for row in rows} == {"v:a": 14, "v:b": None, "v:c": 0}
    assert {row["searcher"]: (row["items"], row["bookings"]) for row in rows}["v:a"] == (2, 1)


def test_events_of_nobody_known_are_a_bounce_each(runner: Runner) -> None:
    rows = runner.analyze(ANALYSIS, {"search": [{"event_on": DAY}, {"event_on": DAY}]}, DAYS)
    assert [row["is_bounce"] for row in rows] == [True, True]
    assert all(row["searcher"] == f"e:{row['session_id']}" for row in rows)
    assert len(set(itertools.chain(row["session_id"] for row in rows))) == 2
