"""conversion_funnel against a walk through the events in plain Python, and the cases its definition names."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wayfare.analyses.conversion_funnel import STEPS, ConversionFunnel

if TYPE_CHECKING:
    from analyses.conftest import Row, Runner

ANALYSIS = ConversionFunnel()
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
DAY = START.date()
DAYS = [DAY + dt.timedelta(n) for n in range(3)]


def _moment(e: Row) -> tuple[dt.datetime, int]:
    return e["occurred_at"], e["event_id"]


def _path(entry: Row, events: dict[str, list[Row]]) -> list[dt.datetime]:
    """Instants of the steps that an entry reached, from its own."""
    visitor, customer, path = entry["visitor_id"], entry["customer_id"], [entry["occurred_at"]]
    for step in STEPS[1:]:
        fitting = [
            e
            for e in events[step]
            if e["occurred_at"] >= path[-1]
            and (step == "purchase" or e["product"] == entry["product"])
            and ((visitor and e["visitor_id"] == visitor) or (customer and e["customer_id"] == customer))
        ]
        met = min(fitting, key=_moment, default=None)
        if met is None or (met["event_on"] - entry["event_on"]).days > 30:
            break
        visitor, customer = visitor or met["visitor_id"], customer or met["customer_id"]
        path.append(met["occurred_at"])
    return path


def oracle(events: dict[str, list[Row]]) -> list[Row]:
    entries: dict[Any, Row] = {}
    for e in sorted(events["search"], key=_moment):
        who = ("v", e["visitor_id"]) if e["visitor_id"] else ("c", e["customer_id"] or e["event_id"])
        entries.setdefault((e["event_on"], e["product"], *who, not e["visitor_id"] and not e["customer_id"]), e)
    paths: dict[Any, list[list[dt.datetime]]] = defaultdict(list)
    for e in entries.values():
        if e["event_on"] in DAYS:
            paths[e["event_on"], e["channel"] or "unknown", e["product"]].append(_path(e, events))
    rows = []
    for (on, channel, product), here in paths.items():
        for n, step in enumerate(STEPS):
            before, at = (sum(len(p) >= max(k, 1) for p in here) for k in (n, n + 1))
            waits = [int((p[n] - p[max(n - 1, 0)]).total_seconds()) for p in here if len(p) > n]
            whole = [int((p[n] - p[0]).total_seconds()) for p in here if len(p) > n]
            rows.append(
                {"entered_on": on, "channel": channel, "product": product, "step": step, "step_number": n + 1}
                | {"entered": len(here), "previous": before, "reached": at}
                | {"step_rate": at / before if before else None, "overall_rate": at / len(here)}
                | {"median_seconds_from_previous": median(waits) if waits else None}
                | {"median_seconds_from_entry": median(whole) if whole else None}
            )
    return sorted(rows, key=lambda r: [r[name] for name in ANALYSIS.mart.grain])


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[Row]]:
    """Few people, who sign in and change devices, and instants that collide, at the edges of midnight and deadline."""
    midnight = dt.timedelta(hours=draw(st.sampled_from([0, -5])))
    event = st.fixed_dictionaries(
        {
            "day": st.sampled_from([-1, 0, 0, 0, 1, 1, 2, 30, 31, 32]),
            "minute": st.sampled_from([0, 0, 1, 300, 600, 1_439]),
            "visitor_id": st.sampled_from([None, *"1122345678"]),
            "customer_id": st.sampled_from([None, None, None, *"1234567"]),
            "channel": st.sampled_from([None, "ads", "ads"]),
            "product": st.sampled_from(["flight", "flight", "hotel"]),
        }
    )
    sizes = zip(STEPS, (30, 30, 25, 15), strict=True)
    events = {step: draw(st.lists(event, min_size=size, max_size=2 * size)) for step, size in sizes}
    numbers = draw(st.permutations(range(1, 201)))
    for number, (step, row) in zip(numbers, [(s, r) for s, rows in events.items() for r in rows], strict=False):
        at = START + dt.timedelta(days=row.pop("day"), minutes=row.pop("minute"))
        row |= {"event_id": number, "occurred_at": at, "event_on": (at + midnight).date()}
        if step == "purchase":
            del row["product"]
    return events


@settings(max_examples=3, deadline=None)
@given(histories(), st.sampled_from(DAYS))
def test_it_equals_the_oracle_and_reconciles_whatever_the_order_and_the_chunks(
    runner: Runner, events: dict[str, list[Row]], one: dt.date
) -> None:
    got = runner.analyze(ANALYSIS, events, DAYS)
    assert got == oracle(events)
    assert runner.totals(ANALYSIS, events, DAYS) == {"entered": sum(row["entered"] for row in got)}
    assert all(row["reached"] <= row["previous"] <= row["entered"] for row in got)
    other_order = {name: rows[::-1] for name, rows in events.items()}
    assert runner.analyze(ANALYSIS, other_order, [one]) == [row for row in got if row["entered_on"] == one]


def _reached(runner: Runner, events: dict[str, list[Row]]) -> list[int]:
    rows = runner.analyze(ANALYSIS, events, [DAY])
    return [sum(row["reached"] for row in rows if row["step"] == step) for step in STEPS]


def _on(days: int, **who: Any) -> Row:
    return {"event_on": DAY + dt.timedelta(days), **who}


def test_steps_count_in_their_order_only(runner: Runner) -> None:
    """Of two, one books before the view."""
    when = {"search": (0, 0), "view": (2, 2), "booking": (1, 2), "purchase": (3, 3)}
    events = {step: [_on(n, visitor_id=v) for v, n in zip("vw", on, strict=True)] for step, on in when.items()}
    assert _reached(runner, events) == [2, 2, 1, 1]


def test_the_thirtieth_day_is_in_time_and_the_next_is_not(runner: Runner) -> None:
    searches = [_on(0, visitor_id="a"), _on(0, visitor_id="b")]
    assert _reached(runner, {"search": searches, "view": [_on(30, visitor_id="a"), _on(31, visitor_id="b")]})[1] == 1


def test_who_signs_in_and_books_on_another_device_goes_all_the_way(runner: Runner) -> None:
    """And who does not sign in does not."""
    events = {
        "search": [_on(0, visitor_id="phone"), _on(0, visitor_id="phone2")],
        "view": [_on(1, visitor_id="phone", customer_id="c"), _on(1, visitor_id="phone2")],
        "booking": [_on(2, visitor_id="desk", customer_id="c"), _on(2, visitor_id="desk2", customer_id="d")],
        "purchase": [_on(3, customer_id="c"), _on(3, customer_id="d")],
    }
    assert _reached(runner, events) == [2, 2, 1, 1]


def test_another_product_is_another_entry_and_no_step(runner: Runner) -> None:
    events = {
        "search": [_on(0, visitor_id="v", product=product) for product in ("flight", "flight", "hotel")],
        "view": [_on(0, visitor_id="v", product="car")],
    }
    assert _reached(runner, events) == [2, 0, 0, 0]


def test_a_late_view_moves_an_entry_on(runner: Runner) -> None:
    events = {step: [_on(on, visitor_id=v) for v in "vw"] for step, on in (("search", 0), ("booking", 2))}
    assert _reached(runner, events | {"view": [_on(1, visitor_id="v")]}) == [2, 1, 1, 0]


def test_the_time_to_a_step_is_the_median_over_those_who_reached_it(runner: Runner) -> None:
    events = {
        "search": [{"visitor_id": v, "occurred_at": START} for v in "abcd"],
        "view": [
            {"visitor_id": v, "occurred_at": START + dt.timedelta(seconds=s)}
            for v, s in zip("abc", (9, 2, 60), strict=True)
        ],
    }
    rows = runner.analyze(ANALYSIS, events, [DAY])
    assert [row["median_seconds_from_previous"] for row in rows if row["step"] == "view"] == [9.0]
