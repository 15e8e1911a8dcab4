"""channel_attribution against a walk over every single touch in plain Python, and the cases its definition names."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayfare.analyses.channel_attribution import MODELS, ChannelAttribution
from wayfare.analyses.sales import LONGEST_LEAD
from wayfare.contracts.sizes import PLAUSIBLE_MINOR

if TYPE_CHECKING:
    from analyses.conftest import Row, Runner

ANALYSIS = ChannelAttribution()
DAY = dt.date(2026, 3, 1)
DAYS = [DAY + dt.timedelta(n) for n in range(3)]
MIDNIGHT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
TOUCHES = ("search", "view", "offer")
RATES = [("EUR", DAY + dt.timedelta(n), 1.0) for n in range(-800, 9)]
RATES += [("USD", DAY + dt.timedelta(n), 0.5) for n in range(-800, 2)]

Events = dict[str, list["Row"]]
Channel = tuple[str, str, str, str]


def _weights(n: int) -> dict[str, list[Fraction]]:
    """The share of each of `n` touches, in order."""
    first = [Fraction(k == 0) for k in range(n)]
    middle = Fraction(1, 5 * (n - 2)) if n > 2 else Fraction(0)
    ends = Fraction(2, 5) if n > 2 else Fraction(1, 2)
    return {
        "first_touch": first,
        "last_touch": first[::-1],
        "linear": [Fraction(1, n)] * n,
        "position_based": [Fraction(1)] if n == 1 else [ends, *[middle] * (n - 2), ends],
    }


def _split(amount: int, shares: dict[Channel, Fraction]) -> dict[Channel, int]:
    """Whole units by running totals, in the order of the shares."""
    split, upto = {}, Fraction(0)
    for channel, share in shares.items():
        split[channel] = math.floor(abs(amount) * (upto + share)) - math.floor(abs(amount) * upto)
        split[channel] *= 1 if amount >= 0 else -1
        upto += share
    return split


def _channel(e: Row) -> Channel:
    return (e["channel"] or "(unknown)", *(e[f"campaign_{c}"] or "" for c in ("source", "medium", "name")))


def _touches(events: Events, items: list[Row]) -> list[Channel]:
    """The channel of every touch of a sale, first to last."""
    sold_on, sold_at = items[0]["event_on"], min(i["occurred_at"] for i in items)
    people = [(c, max((i[c] for i in items if i[c]), default=None)) for c in ("visitor_id", "customer_id")]
    found = [
        (e["occurred_at"], _channel(e))
        for e in itertools.chain(*(events[name] for name in TOUCHES))
        if any(who and e[column] == who for column, who in people)
        and sold_on - dt.timedelta(30) <= e["event_on"]
        and e["occurred_at"] <= sold_at
    ]
    return [channel for _, channel in sorted(found)]


def _changes(events: Events, sales: Any) -> dict[tuple[Any, ...], tuple[int, int, int | None]]:
    """Amount, bookings made and amount in the reporting currency, by sale, day and currency."""
    made: dict[tuple[Any, ...], list[tuple[int, int, int | None]]] = defaultdict(list)
    rates = {(currency, on): rate for currency, on, rate in RATES}

    def post(sale: Any, on: dt.date, currency: str, amount: int, bookings: int, rate_on: dt.date) -> None:
        rate = rates.get((currency, rate_on))
        reporting = rate and int(math.copysign(math.floor(abs(amount) * rate + 0.5), amount))
        made[sale, on, currency].append((amount, bookings, reporting))

    for b in events["booking"]:
        post((b["booking_id"], b["event_on"]), b["event_on"], b["currency"], b["price"], 1, b["event_on"])
    for c in itertools.chain(events["cancellation"], events["refund"]):
        if c["item_kind"] == "booking":
            sale = (c["booking_id"], c["item_booked_on"])
            is_known = sale in sales and 0 <= (c["event_on"] - sale[1]).days <= LONGEST_LEAD
            amount = (c["item_currency"], -c["given_back"], 0, c["item_booked_on"])
            post(sale if is_known else None, c["event_on"], *amount)
    return {
        key: (
            sum(a for a, _, _ in rows),
            max(b for _, b, _ in rows),
            None if any(r is None for _, _, r in rows) else sum(r or 0 for _, _, r in rows),
        )
        for key, rows in made.items()
    }


def oracle(events: Events) -> list[Row]:
    sales: dict[tuple[str, dt.date], list[Row]] = defaultdict(list)
    for b in events["booking"]:
        sales[b["booking_id"], b["event_on"]].append(b)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for (sale, on, currency), (amount, bookings, reporting) in _changes(events, sales).items():
        touches = _touches(events, sales[sale]) if sale else []
        weights = _weights(len(touches) or 1)
        for channel in dict.fromkeys(touches or [("(none)", "", "", "")]):
            row = rows.setdefault((on, *channel, currency), defaultdict(int))
            row["touches"] += touches.count(channel) * bookings
        for model in MODELS:
            shares: dict[Channel, Fraction] = defaultdict(Fraction)
            for channel, weight in zip(touches or [("(none)", "", "", "")], weights[model], strict=True):
                shares[channel] += weight
            for name, whole in (("bookings", bookings * 1_000_000), ("minor", amount), ("reporting_minor", reporting)):
                for channel, part in _split(whole or 0, shares).items():
                    row, column = rows[(on, *channel, currency)], f"{model}_{name}"
                    row[column] = None if whole is None or row[column] is None else row[column] + part
    made = []
    for grain, row in sorted(rows.items()):
        values = {name: row[name] for name in ANALYSIS.mart.columns}
        values |= {f"{m}_bookings": row[f"{m}_bookings"] / 1_000_000 for m in MODELS}
        if grain[0] in DAYS:
            made.append(dict(zip(ANALYSIS.mart.grain, grain, strict=True)) | values)
    return made


_WHEN = st.builds(
    lambda day, minute: MIDNIGHT + dt.timedelta(days=day, minutes=minute),
    st.sampled_from([-31, -30, -29, -1, 0, 0, 0, 1, 2]),
    st.sampled_from([0, 1, 700, 1_439]),
)
_ENVELOPE = {
    "occurred_at": _WHEN,
    "visitor_id": st.sampled_from([None, "1", "1", "2", "3", "4"]),
    "customer_id": st.sampled_from([None, None, "1", "2", "3", "4"]),
}
_TOUCH = st.fixed_dictionaries(
    _ENVELOPE
    | {
        "channel": st.sampled_from([None, "email", "email", "social", "search"]),
        "campaign_source": st.sampled_from([None, None, "google"]),
        "campaign_medium": st.just(None),
        "campaign_name": st.sampled_from([None, None, "may"]),
    }
)
_BOOKING = st.fixed_dictionaries(
    _ENVELOPE
    | {
        "booking_id": st.sampled_from([f"b{n}" for n in range(24)]),
        "price": st.sampled_from([0, 1, 99, 100, 101, -638, 123_457]),
        "currency": st.sampled_from(["EUR", "EUR", "USD"]),
    }
)


@st.composite
def events(draw: st.DrawFn) -> Events:
    """Few people and bookings, days at the edges of the window, instants that collide; item days off the clock's."""
    made: Events = {name: draw(st.lists(_TOUCH, min_size=15, max_size=30)) for name in TOUCHES}
    made["booking"] = draw(st.lists(_BOOKING, min_size=20, max_size=40))
    made |= {"cancellation": [], "refund": []}
    for booking in draw(st.lists(st.sampled_from(made["booking"]), min_size=8, max_size=24)):
        row = {"occurred_at": draw(_WHEN), "booking_id": booking["booking_id"], "item_kind": "booking"}
        row |= {"item_booked_on": booking["occurred_at"].date(), "item_currency": booking["currency"]}
        row |= draw(st.sampled_from([{}, {}, {}, {"booking_id": "gone"}, {"item_kind": "purchase"}]))
        row |= {"given_back": draw(st.sampled_from([booking["price"], booking["price"] // 3, 7]))}
        made[draw(st.sampled_from(["cancellation", "refund"]))].append(row)
    numbers = draw(st.permutations(range(1, 200)))
    for number, row in zip(numbers, itertools.chain(*made.values()), strict=False):
        row |= {"event_id": number, "event_on": row["occurred_at"].date()}
    return made


@settings(max_examples=3, deadline=None)
@given(events(), st.sampled_from(DAYS))
def test_it_equals_the_oracle_and_reconciles_whatever_the_order_and_the_chunks(
    runner: Runner, events: Events, one: dt.date
) -> None:
    got = runner.analyze(ANALYSIS, events, DAYS, rates=RATES)
    assert got == oracle(events)
    totals = runner.totals(ANALYSIS, events, DAYS, rates=RATES)
    assert set(totals) == {f"{m}_{what}" for m in MODELS for what in ("minor", "bookings")}
    for name, total in totals.items():
        assert sum(row[name] for row in got) == pytest.approx(total, abs=1e-9)
    other_order = {name: rows[::-1] for name, rows in events.items()}
    alone = runner.analyze(ANALYSIS, other_order, [one], rates=RATES)
    assert alone == [row for row in got if row["booked_on"] == one]


def _at(day: int, minutes: int = 0) -> dt.datetime:
    return MIDNIGHT + dt.timedelta(days=day, minutes=minutes)


def _credits(rows: list[Row], column: str) -> dict[str, Any]:
    return {row["channel"]: row[column] for row in rows}


def test_the_models_share_one_booking(runner: Runner) -> None:
    touches = [
        {"visitor_id": "v", "channel": channel, "occurred_at": _at(-1, n)}
        for n, channel in enumerate(["email", "social", "search", "social"])
    ]
    booking = {"visitor_id": "v", "occurred_at": _at(0, 9), "price": 1_001}
    rows = runner.analyze(ANALYSIS, {"view": touches, "booking": [booking]}, [DAY], rates=RATES)
    assert _credits(rows, "first_touch_minor") == {"email": 1_001, "search": 0, "social": 0}
    assert _credits(rows, "last_touch_minor") == {"email": 0, "search": 0, "social": 1_001}
    assert _credits(rows, "linear_minor") == {"email": 250, "social": 500, "search": 251}
    assert _credits(rows, "position_based_bookings") == {"email": 0.4, "search": 0.1, "social": 0.5}
    assert _credits(rows, "touches") == {"email": 1, "search": 1, "social": 2}


def test_the_largest_amount_is_shared_among_many_touches_in_a_currency_of_many_units(runner: Runner) -> None:
    touches = [{"visitor_id": "v", "channel": str(n % 3), "occurred_at": _at(-1, n)} for n in range(300)]
    booking = {"visitor_id": "v", "occurred_at": _at(0, 9), "price": PLAUSIBLE_MINOR}
    rows = runner.analyze(ANALYSIS, {"view": touches, "booking": [booking]}, [DAY], rates=[("EUR", DAY, 24_000.0)])
    assert sum(_credits(rows, "position_based_reporting_minor").values()) == PLAUSIBLE_MINOR * 24_000


def test_a_touch_of_both_the_visitor_and_the_customer_counts_once(runner: Runner) -> None:
    who = {"visitor_id": "v", "customer_id": "c"}
    elsewhere = {"visitor_id": "phone", "customer_id": "c", "channel": "app", "occurred_at": _at(0, 1)}
    events = {
        "search": [who | {"channel": "email", "occurred_at": _at(0, 0)}, elsewhere],
        "offer": [{"visitor_id": "c", "channel": "stranger", "occurred_at": _at(0, 2)}],
        "booking": [who | {"occurred_at": _at(0, 9)}],
    }
    rows = runner.analyze(ANALYSIS, events, [DAY], rates=RATES)
    assert _credits(rows, "touches") == {"email": 1, "app": 1}


def test_a_touch_counts_from_thirty_days_before_up_to_the_instant_of_the_sale(runner: Runner) -> None:
    touches = [
        {"visitor_id": "v", "channel": str(n), "occurred_at": at}
        for n, at in enumerate([_at(-31, 1_439), _at(-30), _at(0, 9), _at(0, 10)])
    ]
    booking = {"visitor_id": "v", "occurred_at": _at(0, 9)}
    rows = runner.analyze(ANALYSIS, {"search": touches, "booking": [booking]}, [DAY], rates=RATES)
    assert _credits(rows, "touches") == {"1": 1, "2": 1}


def _sold_and_cancelled(*cancelled: int) -> Events:
    """Bookings of day 0, each of three channels and wholly cancelled on another day."""
    events: Events = {"search": [], "booking": [], "cancellation": []}
    for on in cancelled:
        who, back = {"visitor_id": f"v{on}"}, {"item_booked_on": DAY, "item_currency": "EUR", "given_back": 100}
        events["search"] += [who | {"channel": f"{c}{on}", "occurred_at": _at(-30, n)} for n, c in enumerate("abc")]
        events["booking"].append(who | {"booking_id": f"b{on}", "occurred_at": _at(0, 9), "price": 100})
        back |= {"booking_id": f"b{on}", "item_kind": "booking", "occurred_at": _at(on)}
        events["cancellation"].append(back)
    return events


def test_what_is_cancelled_is_taken_from_the_channels_it_was_credited_to(runner: Runner) -> None:
    cancelled = (0, 60, LONGEST_LEAD)
    events = _sold_and_cancelled(*cancelled)
    alone = [runner.analyze(ANALYSIS, events, [DAY + dt.timedelta(on)], rates=RATES) for on in cancelled]
    net: dict[str, int] = defaultdict(int)
    for row in itertools.chain(*alone):
        net[row["channel"]] += row["linear_minor"]
    assert dict(net) == {f"{c}{on}": 0 for on in cancelled for c in "abc"}
    assert sum(row["linear_bookings"] for row in itertools.chain(*alone)) == len(cancelled)


def test_what_is_given_back_of_a_sale_out_of_reach_is_untied(runner: Runner) -> None:
    cancelled = (-1, LONGEST_LEAD + 1)
    days = [DAY + dt.timedelta(on) for on in cancelled]
    rows = runner.analyze(ANALYSIS, _sold_and_cancelled(*cancelled), days, rates=RATES)
    untied = [(row["booked_on"], row["channel"], row["linear_minor"], row["first_touch_bookings"]) for row in rows]
    assert untied == [(day, "(none)", -100, 0) for day in days]


def test_a_desk_that_serves_everybody_is_not_paired_booking_by_touch(runner: Runner) -> None:
    touches = [{"visitor_id": "desk", "channel": "agency", "occurred_at": _at(-1 - n % 30)} for n in range(3_000)]
    bookings = [{"visitor_id": "desk", "price": 3, "occurred_at": _at(0, n % 600)} for n in range(3_000)]
    (row,) = runner.analyze(ANALYSIS, {"search": touches, "booking": bookings}, [DAY], rates=RATES)
    assert (row["touches"], row["linear_minor"], row["linear_bookings"]) == (9_000_000, 9_000, 3_000)
