"""economic_results against a walk through the events in plain Python, and the cases its definition names."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayfare.analyses.economic_results import EconomicResults

if TYPE_CHECKING:
    from analyses.conftest import Row, Runner

ANALYSIS = EconomicResults()
DAY = dt.date(2026, 3, 1)
DAYS = [DAY + dt.timedelta(n) for n in range(3)]
RATES = [("EUR", day, 1.0) for day in DAYS] + [("USD", DAYS[0], 0.5), ("USD", DAYS[1], 0.75), ("USD", DAYS[2], 0.8125)]
RATE = {(currency, day): Fraction(rate) for currency, day, rate in RATES}
REPORTING = ("gross_reporting_minor", "net_reporting_minor", "margin_reporting_minor")


def _rounded(value: Fraction) -> int:
    sign = -1 if value < 0 else 1
    return sign * int(abs(value) + Fraction(1, 2))


def _absent(row: Row, name: str, otherwise: Any) -> Any:
    value = row.get(name)
    return otherwise if value is None else value


class Ledger:
    """The mart's rows, added up one event at a time."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(lambda: dict.fromkeys(ANALYSIS.mart.columns, 0))
        self.bookings: dict[tuple[Any, ...], set[str]] = defaultdict(set)
        self.unrated: set[tuple[Any, ...]] = set()

    def post(self, key: tuple[Any, ...], rate_on: dt.date, gross: int, net: int, cost: int, **sums: int) -> None:
        row = self.rows[key]
        sums |= {"gross_before_cancellations_minor": gross, "net_minor": net}
        sums |= {"cost_minor": cost, "margin_minor": net - cost}
        for name, amount in sums.items():
            row[name] += amount
        rate = RATE.get((key[3], rate_on))
        if rate is None:
            self.unrated.add(key)
            return
        for name, amount in zip(REPORTING, (gross, net, net - cost), strict=True):
            row[name] += _rounded(amount * rate)

    def sell(self, e: Row, line: str, product: str, **sums: int) -> None:
        key = (e["event_on"], line, product, e["currency"], _absent(e, "point_of_sale", "ZZ"))
        self.bookings[key] |= {e["booking_id"]} - {None}
        self.post(key, e["event_on"], e["price"], e["price"], _absent(e, "cost", 0), items=1, **sums)

    def book(self, e: Row) -> None:
        nights = (e["end_on"] - e["start_on"]).days if e["product"] == "hotel" and e["end_on"] else 0
        self.sell(
            e,
            "product",
            e["product"],
            units=e["units"],
            passengers=sum(_absent(e, who, 0) for who in ("adults", "children", "infants")),
            lead_time_days=(e["start_on"] - e["event_on"]).days,
            nights=nights,
            price_per_night_minor=_rounded(Fraction(e["price"], nights * e["units"])) if nights else 0,
            commission_minor=_absent(e, "commission", 0),
            fee_minor=_absent(e, "fee", 0),
        )

    def refer(self, e: Row, currency: str | None, back: int = 0, cost: int = 0, **sums: int) -> None:
        market = e["item_point_of_sale"] if e["item_kind"] else e["point_of_sale"]
        line = "ancillary" if e["item_kind"] == "purchase" else "product"
        key = (e["event_on"], line, e["item_product"] or "unknown", currency or "XXX", market or "ZZ")
        self.post(key, e["item_booked_on"] or e["event_on"], 0, -back, cost, **sums)

    def cancel(self, e: Row) -> None:
        self.refer(
            e,
            e["item_currency"] or e["currency"],
            e["given_back"],
            -e["reversed_cost"],
            cancellations_minor=e["given_back"],
            penalties_minor=e["kept_penalty"],
            commission_minor=-e["reversed_commission"],
            fee_minor=-e["reversed_fee"],
            cancelled_items=_counts(e),
            cancelled_units=e["reversed_units"],
        )

    def refund(self, e: Row) -> None:
        amounts = {"refunds_minor": e["given_back"], "refunded_minor": e["reversed_price"]}
        self.refer(e, e["currency"], e["given_back"], **amounts)

    def travel(self, e: Row) -> None:
        completed = {"completed_items": _counts(e), "completed_minor": e["reversed_price"]}
        self.refer(
            e, e["item_currency"], **(completed if e["outcome"] == "completed" else {"no_show_items": _counts(e)})
        )

    def made(self) -> list[Row]:
        for key, row in self.rows.items():
            row["bookings"] = len(self.bookings[key])
            row.update(dict.fromkeys(REPORTING) if key in self.unrated else {})
        return [dict(zip(ANALYSIS.mart.grain, key, strict=True)) | self.rows[key] for key in sorted(self.rows)]


def _counts(e: Row) -> int:
    return int(e["item_kind"] is None or e["reversed_units"] > 0)


def oracle(events: dict[str, list[Row]]) -> list[Row]:
    ledger = Ledger()
    for e in events["booking"]:
        ledger.book(e)
    for e in events["purchase"]:
        ledger.sell(e, "ancillary", e["category"], units=e["quantity"])
    for kind, post in (("cancellation", ledger.cancel), ("refund", ledger.refund), ("travel", ledger.travel)):
        for e in events[kind]:
            post(e)
    return ledger.made()


money = st.integers(0, 9_999)
maybe_money = st.none() | money
day = st.sampled_from(DAYS)
currency = st.sampled_from(["EUR", "USD", "JPY"])
market = st.sampled_from([None, "US", "PT"])
people = st.none() | st.integers(0, 3)
sale = {"event_on": day, "currency": currency, "point_of_sale": market, "cost": maybe_money}
bookings = st.fixed_dictionaries(
    sale
    | {
        "booking_id": st.sampled_from(["b1", "b2"]),
        "product": st.sampled_from(["hotel", "flight"]),
        "price": st.integers(-500, 9_999),
        "units": st.integers(1, 3),
        "start_on": st.sampled_from([DAY, DAY + dt.timedelta(40)]),
        "end_on": st.sampled_from([None, DAY + dt.timedelta(40), DAY + dt.timedelta(47)]),
        "adults": people,
        "children": people,
        "infants": people,
        "commission": maybe_money,
        "fee": maybe_money,
    }
).filter(lambda e: e["end_on"] is None or e["end_on"] >= e["start_on"])
purchases = st.fixed_dictionaries(
    sale
    | {
        "booking_id": st.sampled_from([None, "b1", "b2"]),
        "category": st.sampled_from(["meal", "car"]),
        "price": money,
        "quantity": st.integers(1, 3),
    }
)
known_item = {
    "item_kind": st.sampled_from(["booking", "purchase"]),
    "item_product": st.sampled_from(["hotel", "car"]),
    "item_currency": currency,
    "item_point_of_sale": market,
    "item_booked_on": st.sampled_from([*DAYS, DAY - dt.timedelta(400)]),
    "reversed_units": st.integers(0, 2),
    "reversed_price": money,
    "reversed_cost": money,
    "reversed_commission": money,
    "reversed_fee": money,
    "kept_penalty": money,
    "given_back": money,
}
unknown_item = {n: st.none() if n.startswith("item_") else st.just(0) for n in known_item}


def _reversals(**own: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Row]]:
    envelope = {"event_on": day, "point_of_sale": market} | own
    rows = st.fixed_dictionaries(envelope | known_item) | st.fixed_dictionaries(envelope | unknown_item)
    return st.lists(rows, min_size=8, max_size=30)


everything = st.fixed_dictionaries(
    {
        "booking": st.lists(bookings, min_size=12, max_size=40),
        "purchase": st.lists(purchases, min_size=8, max_size=30),
        "cancellation": _reversals(currency=st.none() | currency),
        "refund": _reversals(currency=currency),
        "travel": _reversals(outcome=st.sampled_from(["completed", "no_show"])),
    }
)


@settings(max_examples=4, deadline=None)
@given(everything, st.sampled_from(DAYS))
def test_it_equals_the_oracle_and_reconciles_whatever_the_order_and_the_chunks(
    runner: Runner, events: dict[str, list[Row]], one: dt.date
) -> None:
    got = runner.analyze(ANALYSIS, events, DAYS, rates=RATES)
    assert got == oracle(events)
    for column, total in runner.totals(ANALYSIS, events, DAYS, rates=RATES).items():
        assert total == sum(row[column] for row in got), column
    other_order = {name: rows[::-1] for name, rows in events.items()}
    alone = runner.analyze(ANALYSIS, other_order, [one], rates=RATES)
    assert alone == [row for row in got if row["booked_on"] == one]


def test_no_events_give_no_rows_and_totals_of_zero(runner: Runner) -> None:
    assert runner.analyze(ANALYSIS, {}, DAYS) == []
    assert set(runner.totals(ANALYSIS, {}, DAYS).values()) == {0}


def test_a_refund_that_settles_a_cancellation_on_another_day_is_not_taken_off_twice(runner: Runner) -> None:
    item = {
        "item_kind": "booking",
        "item_product": "hotel",
        "item_currency": "USD",
        "item_point_of_sale": "US",
        "item_booked_on": DAYS[0],
    }
    sold = {"event_on": DAYS[0], "product": "hotel", "price": 1_000, "currency": "USD", "point_of_sale": "US"}
    half_back = {"event_on": DAYS[1], "reversed_units": 1, "reversed_price": 500, "reversed_cost": 400}
    events = {
        "booking": [sold | {"cost": 800, "units": 2}],
        "cancellation": [item | half_back | {"kept_penalty": 100, "given_back": 400}],
        "refund": [item | {"event_on": DAYS[2], "currency": "USD", "reversed_price": 450, "given_back": 50}],
    }
    sale, cancelled, refunded = runner.analyze(ANALYSIS, events, DAYS, rates=RATES)
    assert [r["net_minor"] for r in (sale, cancelled, refunded)] == [1_000, -400, -50]
    assert [r["margin_minor"] for r in (sale, cancelled, refunded)] == [200, 0, -50]
    assert [r["net_reporting_minor"] for r in (sale, cancelled, refunded)] == [500, -200, -25], "rate of the sale's day"
    assert (cancelled["penalties_minor"], cancelled["cancelled_units"], cancelled["cancelled_items"]) == (100, 1, 1)
    assert (refunded["refunded_minor"], refunded["refunds_minor"]) == (450, 50)


@pytest.mark.parametrize("last_night", [None, DAY])
def test_a_hotel_stay_of_unknown_or_no_nights_has_no_price_per_night(
    runner: Runner, last_night: dt.date | None
) -> None:
    stay = {"product": "hotel", "start_on": DAY, "end_on": last_night, "price": 500}
    (row,) = runner.analyze(ANALYSIS, {"booking": [stay]}, [DAY])
    assert (row["nights"], row["price_per_night_minor"]) == (0, 0)


def test_one_event_without_a_rate_makes_the_converted_sums_of_its_row_null(runner: Runner) -> None:
    events = {"booking": [{"event_on": DAY, "currency": "JPY", "price": 5}, {"event_on": DAY, "price": 7}]}
    rows = runner.analyze(ANALYSIS, events, [DAY], rates=RATES)
    assert {row["currency"]: row["gross_reporting_minor"] for row in rows} == {"EUR": 7, "JPY": None}
