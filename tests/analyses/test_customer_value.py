"""customer_value against a plain walk over the same events, and against models fitted in another way."""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

from analyses.selling import cancellation, day
from wayfare.analyses.customer_value import CustomerValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyses.conftest import Runner
    from analyses.selling import Events, Row

ANALYSIS = CustomerValue()
RATES = [(currency, day(n), rate) for n in range(-10, 1001) for currency, rate in (("EUR", 1.0), ("USD", 0.5))]
EXPECTED = ("alive_probability", "expected_purchases", "expected_purchase_margin_minor", "expected_margin_minor")
HOLDOUT = [name for name in ANALYSIS.mart.columns if name.startswith("holdout_")]


def _booked(on: int, customer: str | None = "c", price: int = 100, **more: Any) -> Row:
    item = {"event_on": day(on), "customer_id": customer, "booking_id": f"{customer}{on}", "item_id": "1", "units": 2}
    item |= {"product": "flight", "resource_id": "f", "start_on": day(on + 9), "price": price, "cost": 80}
    return item | {"currency": "EUR", **more}


def test_purchases_are_days_and_their_margin_is_what_is_left_of_them(runner: Runner) -> None:
    lost = _booked(25, price=500)
    partly = _booked(30, booking_id="p")
    events = {
        "booking": [_booked(0), _booked(20, booking_id="x"), _booked(20, booking_id="y", price=90), lost, partly],
        "purchase": [{"event_on": day(50), "customer_id": "c", "booking_id": "y", "price": 30, "cost": 10}],
        "cancellation": [
            cancellation(lost, day(26), 2, given_back=450, reversed_cost=80),
            cancellation(partly, day(31), 1, given_back=50, reversed_cost=40),
        ],
    }
    (row,) = runner.analyze(ANALYSIS, events, [day(60)], rates=RATES)
    assert (row["bookings"], row["net_bookings"], row["repeat_purchases"]) == (5, 4, 2)
    assert (row["recency_days"], row["first_to_last_days"], row["first_to_now_days"]) == (30, 30, 60)
    assert row["net_minor"] == 100 + 100 + 90 + 30 + 50 + 50
    assert row["margin_minor"] == 20 + 20 + 10 + 20 + 50 + 10
    assert (row["repeat_margin_minor"], row["mean_repeat_margin_minor"]) == (20 + 10 + 20 + 10, 30)


def test_of_what_is_canceled_nothing_is_left_whatever_the_rate_has_become(runner: Runner) -> None:
    item = _booked(0, currency="USD")
    meal = {"event_on": day(0), "customer_id": "c", "booking_id": "c0", "purchase_id": "p", "category": "meal"}
    meal |= {"sku": "m", "resource_id": None, "service_on": None, "quantity": 1, "price": 30, "cost": 10}
    meal |= {"currency": "USD"}
    gone = [
        cancellation(item, day(4), 2, given_back=100, reversed_cost=80),
        cancellation(meal, day(4), 1, given_back=30, reversed_cost=10),
    ]
    rates = [("USD", day(n), 0.5 if n < 4 else 1.0) for n in range(6)]
    events = {"booking": [item], "purchase": [meal], "cancellation": gone}
    (row,) = runner.analyze(ANALYSIS, events, [day(5)], rates=rates)
    assert (row["net_minor"], row["margin_minor"]) == (0, 0)


def test_equals_score_equally_and_one_time_buyers_are_not_spread_over_all_scores(runner: Runner) -> None:
    events = {"booking": [_booked(9, name) for name in "abcdefgh"] + [_booked(9, "i"), _booked(10, "i", 900)]}
    rows = runner.analyze(ANALYSIS, events, [day(10)], rates=RATES)
    assert [r["frequency_score"] for r in rows] == [1] * 8 + [5]
    assert [r["monetary_score"] for r in rows] == [1] * 8 + [5]
    assert [r["recency_score"] for r in rows] == [1] * 8 + [5]


def test_what_was_sold_to_nobody_known_is_one_row(runner: Runner) -> None:
    item = _booked(3, None)
    events = {"booking": [_booked(0, "(unknown)"), item, _booked(5)]}
    events["cancellation"] = [cancellation(item, day(4), 1, given_back=50, reversed_cost=40)]
    unknown, known = runner.analyze(ANALYSIS, events, [day(5)], rates=RATES)
    assert (unknown["customer_id"], unknown["net_minor"], unknown["margin_minor"]) == ("(unknown)", 150, 30)
    assert [unknown[c] for c in ("bookings", "recency_score", "repeat_purchases", *EXPECTED)] == [None] * 7
    assert (known["net_minor"], known["frequency_score"]) == (100, 1)
    assert runner.totals(ANALYSIS, events, [day(5)], rates=RATES)["bookings"] == 1


def test_an_amount_without_a_rate_makes_the_sums_null_and_leaves_the_counts(runner: Runner) -> None:
    events = {"booking": [_booked(0), _booked(5, currency="XXX"), _booked(5, "d")]}
    row, other = runner.analyze(ANALYSIS, events, [day(9)], rates=RATES)
    assert (row["net_minor"], row["repeat_margin_minor"], row["monetary_score"]) == (None, None, None)
    assert (row["repeat_purchases"], row["frequency_score"], other["monetary_score"]) == (1, 3, 1)


@st.composite
def lives(draw: st.DrawFn) -> Events:
    """Almost three years of a few customers: bookings of one or two items, some cancelled, refunded or not an input."""
    events: Events = {name: [] for name in ("booking", "purchase", "cancellation", "refund")}
    on = st.one_of(st.integers(0, 30), st.integers(0, 900), st.sampled_from([29, 30, 31, 730, 731, 760, 761]))
    who = st.sampled_from([*"aabbccdefghij", None])
    currency = st.sampled_from([*["EUR"] * 25, *["USD"] * 5, "XXX"])
    sale = st.tuples(on, who, currency, st.integers(0, 400), st.integers(0, 9))
    for number, (sold, customer, money, late, odd) in enumerate(draw(st.lists(sale, min_size=50, max_size=100))):
        item = _booked(sold, customer, 60 + late, currency=money, booking_id=f"k{number}", event_id=2 * number + 1)
        again = {"item_id": "12"[odd % 2], "event_on": day(sold + late), "event_id": 2 * number + 2}
        items = [item] if odd < 7 else [item, item | again]
        events["booking"] += items if odd != 4 else []
        for thing in items[: (0, 0, 1, 2)[late % 4]]:
            undone = cancellation(thing, day(sold + late - 3), 1 + odd % 2, given_back=late, reversed_cost=40)
            events["cancellation"].append(undone | {"currency": "CHF"})
            paid = {k: v for k, v in undone.items() if k.startswith("item_") or k == "booking_id"}
            paid |= {"event_on": day(sold + late), "given_back": odd, "currency": money}
            events["refund"].append(paid)
        if odd % 3 == 0:
            meal = {"event_on": day(sold + late // 2), "customer_id": customer, "price": late, "cost": 9}
            meal |= {"currency": money, "booking_id": f"k{number}"}
            events["purchase"].append(meal)
    return events


def _converted(amount: int, currency: str) -> int | None:
    rounded = int(abs(amount) / 2 + 0.5)
    return {"EUR": amount, "USD": rounded if amount > 0 else -rounded}.get(currency)


def _total(amounts: list[int | None]) -> int | None:
    return None if None in amounts else sum(a for a in amounts if a is not None)


def _oracle(events: Events, as_of: dt.date) -> dict[str, Row]:
    """The rows of one as-of day by customer, without what the models expect, from the definitions."""
    opens = as_of - dt.timedelta(730)
    sales = {r["event_id"] for r in events["booking"]}
    values: dict[str | None, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    sold: dict[tuple[str | None, str], list[Row]] = defaultdict(list)
    units: dict[tuple[str | None, str], int] = defaultdict(int)

    def note(customer: str | None, booking: str, currency: str, net: int, margin: int) -> None:
        values[customer][booking].append((_converted(net, currency), _converted(margin, currency)))

    for r in events["booking"] + events["purchase"]:
        if opens <= r["event_on"] <= as_of:
            note(r["customer_id"], r["booking_id"], r["currency"], r["price"], r["price"] - r["cost"])
            if "item_id" in r:
                sold[r["customer_id"], r["booking_id"]].append(r)
                units[r["customer_id"], r["booking_id"]] += r["units"]
    for r in [r | {"currency": r["item_currency"]} for r in events["cancellation"]] + events["refund"]:
        is_seen = all(opens <= on <= as_of for on in (r["event_on"], r["item_booked_on"]))
        if is_seen and r["item_event_id"] in sales:
            cost = r.get("reversed_cost", 0)
            note(r["item_customer_id"], r["booking_id"], r["currency"], -r["given_back"], cost - r["given_back"])
            units[r["item_customer_id"], r["booking_id"]] -= r.get("reversed_units", 0)
    rows: dict[str, Row] = {}
    for customer, bookings in values.items():
        both = [pair for pairs in bookings.values() for pair in pairs]
        row: Row = {"net_minor": _total([n for n, _ in both]), "margin_minor": _total([m for _, m in both])}
        rows[customer or "(unknown)"] = row
        if customer:
            net = [b for b in bookings if sold[customer, b] and units[customer, b] > 0]
            row |= {"bookings": sum(bool(sold[customer, b]) for b in bookings), "net_bookings": len(net)}
            made = {b: min(r["event_on"] for r in sold[customer, b]) for b in net}
            days = sorted(set(made.values()))
            repeats = [m for b in net for _, m in bookings[b] if made[b] != days[0]]
            first = [m for b in net for _, m in bookings[b] if made[b] == days[0]]
            margin = None if None in first else _total(repeats)
            row |= {"repeat_purchases": len(days) - 1, "recency_days": (as_of - days[-1]).days} if days else {}
            row |= {"repeat_margin_minor": margin, "first_to_now_days": (as_of - days[0]).days} if days else {}
            row |= {"first_to_last_days": (days[-1] - days[0]).days} if days else {}
    _score(list(rows.values()))
    return rows


def _score(rows: list[Row]) -> None:
    bought = [r for r in rows if "recency_days" in r]
    for name, column, sign in (
        ("recency", "recency_days", -1),
        ("frequency", "net_bookings", 1),
        ("monetary", "net_minor", 1),
    ):
        known = [sign * r[column] for r in bought if r[column] is not None]
        for r in bought:
            if r[column] is not None:
                r[f"{name}_score"] = 1 + 5 * sum(v < sign * r[column] for v in known) // len(known)


@settings(max_examples=3, deadline=None)
@given(lives(), st.sampled_from([30, 731, 900]))
def test_equals_a_walk_over_the_events_together_and_alone(runner: Runner, events: Events, one: int) -> None:
    output = [day(n) for n in (0, 30, 60, 730, 731, 761, 900)]
    got = runner.analyze(ANALYSIS, events, output, rates=RATES)
    expected = {(on, name): row for on in output for name, row in _oracle(events, on).items()}
    assert [(g["as_of_on"], g["customer_id"]) for g in got] == sorted(expected)
    for g in got:
        row = expected[g["as_of_on"], g["customer_id"]]
        compared = set(g) - {"as_of_on", "customer_id", "mean_repeat_margin_minor", *EXPECTED, *HOLDOUT}
        assert {name: g[name] for name in compared} == {name: row.get(name) for name in compared}
        assert [g[name] for name in EXPECTED] == [None] * 4
    totals = runner.totals(ANALYSIS, events, output, rates=RATES)
    assert {name: value or 0 for name, value in totals.items()} == {n: sum(g[n] or 0 for g in got) for n in totals}
    alone = runner.analyze(ANALYSIS, events, [day(one)], rates=RATES)
    assert alone == [g for g in got if g["as_of_on"] == day(one)]


def _agency(customers: int = 160, last: int = 400) -> Events:
    """Customers who buy at rates of their own until they are gone, each spending on a scale of their own."""
    chance = random.Random(5)
    items = []
    for name in range(customers):
        pace, drop, scale = chance.gammavariate(1, 70), chance.betavariate(1, 3), chance.gammavariate(4, 25)
        at = float(chance.randrange(last))
        while at <= last:
            price = 80 + int(scale * chance.gammavariate(6, 1))
            items.append(_booked(int(at), f"c{name:03}", price, booking_id=f"k{len(items)}"))
            at += 1 + chance.expovariate(1 / (5 + pace)) if chance.random() >= drop else last
    return {"booking": items}


def test_what_is_expected_equals_models_fitted_in_another_way(runner: Runner) -> None:
    """By Nelder-Mead, on the likelihoods as the papers write them, and 2F1 as it stands."""
    rows = runner.analyze(ANALYSIS, _agency(), [day(400)], rates=RATES)
    assert len(rows) == 160
    history = [
        np.array([r[c] for r in rows], float)
        for c in ("repeat_purchases", "first_to_last_days", "first_to_now_days", "repeat_margin_minor")
    ]
    alive, purchases, margin = _forecast(*history, ahead=365)
    assert [r["alive_probability"] for r in rows] == pytest.approx(alive, abs=0.002)
    assert [r["expected_purchases"] for r in rows] == pytest.approx(purchases, rel=0.005, abs=0.002)
    assert [r["expected_purchase_margin_minor"] for r in rows] == pytest.approx(margin, rel=0.005)
    for r in rows:
        both = r["expected_purchases"] * r["expected_purchase_margin_minor"]
        assert r["expected_margin_minor"] == pytest.approx(both, abs=0.5)


def test_the_holdout_is_what_the_days_before_it_expect_of_it(runner: Runner) -> None:
    events = _agency()
    first = min(r["event_on"] for r in events["booking"])
    length = -((first - day(400)).days // 3)
    rows = runner.analyze(ANALYSIS, events, [day(400)], rates=RATES)
    split = day(400) - dt.timedelta(length)
    purchases: dict[str, list[tuple[dt.date, int]]] = defaultdict(list)
    for item in sorted(events["booking"], key=lambda r: r["event_on"]):
        purchases[item["customer_id"]].append((item["event_on"], item["price"] - 80))
    known = [p for p in purchases.values() if p[0][0] <= split]
    before = [[q for q in p if q[0] <= split] for p in known]
    came = [[q for q in p if q[0] > split] for p in known]
    history = [
        np.array([len(p) - 1 for p in before], float),
        np.array([(p[-1][0] - p[0][0]).days for p in before], float),
        np.array([(split - p[0][0]).days for p in before], float),
        np.array([sum(m for _, m in p[1:]) for p in before], float),
    ]
    _, expected, margin = _forecast(*history, ahead=length)
    actual = np.array([len(c) for c in came])
    held = {name: rows[0][name] for name in HOLDOUT}
    assert all({name: r[name] for name in HOLDOUT} == held for r in rows)
    assert (held["holdout_days"], held["holdout_purchases"]) == (length, actual.sum())
    assert held["holdout_expected_purchases"] == pytest.approx(expected.sum(), rel=0.005)
    assert held["holdout_mean_absolute_error"] == pytest.approx(np.abs(expected - actual).mean(), rel=0.005)
    assert held["holdout_margin_minor"] == sum(m for c in came for _, m in c)
    assert held["holdout_expected_margin_minor"] == pytest.approx((expected * margin).sum(), rel=0.005)
    assert held["holdout_purchases"] == pytest.approx(held["holdout_expected_purchases"], rel=0.5)


def test_nothing_is_expected_where_the_holdout_could_not_be_tried(runner: Runner) -> None:
    """Forty customers who bought twice, most of them within the last third: too few to try it on."""
    twice = [(on, f"c{number}") for number in range(40) for on in (0, 20 if number < 29 else 80)]
    events = {"booking": [_booked(on, name, 100 + len(name) * on) for on, name in twice]}
    for row in runner.analyze(ANALYSIS, events, [day(90)], rates=RATES):
        assert (row["repeat_purchases"], row["holdout_days"], row["holdout_purchases"]) == (1, 30, None)
        assert [row[name] for name in EXPECTED] == [None] * 4
    events["booking"].append(_booked(30, "c35"))
    assert all(row["expected_purchases"] > 0 for row in runner.analyze(ANALYSIS, events, [day(90)], rates=RATES))


def _forecast(x: Any, t_x: Any, age: Any, spent: Any, ahead: float) -> tuple[Any, Any, Any]:
    def purchases(r: float, alpha: float, a: float, b: float) -> Any:
        live = betaln(a, b + x) - (r + x) * np.log(alpha + age)
        dead = betaln(a + 1, np.maximum(b + x - 1, 1e-9)) - (r + x) * np.log(alpha + t_x)
        both = np.where(x > 0, np.logaddexp(live, dead), live)
        return gammaln(r + x) - gammaln(r) + r * np.log(alpha) + both - betaln(a, b)

    r, alpha, a, b = _most_likely(purchases, [0.0, 4.0, 0.0, 0.0])
    odds = np.where(x > 0, a / np.maximum(b + x - 1, 1e-9) * ((alpha + age) / (alpha + t_x)) ** (r + x), 0.0)
    left = (alpha + age) / (alpha + age + ahead)
    grown = left ** (r + x) * hyp2f1(r + x, b + x, a + b + x - 1, 1 - left)
    to_come = (a + b + x - 1) / (a - 1) * (1 - grown) / (1 + odds)
    n, total = x[x > 0], spent[x > 0]
    mean = total / n

    def values(p: float, q: float, gamma: float) -> Any:
        logs = gammaln(p * n + q) - gammaln(p * n) - gammaln(q) + q * np.log(gamma)
        return logs + (p * n - 1) * np.log(mean) + p * n * np.log(n) - (p * n + q) * np.log(gamma + total)

    p, q, gamma = _most_likely(values, [0.0, 0.0, 4.0])
    return 1 / (1 + odds), to_come, p * (gamma + spent) / (p * x + q - 1)


def _most_likely(likelihood: Callable[..., Any], start: list[float]) -> list[float]:
    options = {"maxiter": 8000, "maxfev": 8000, "xatol": 1e-6, "fatol": 1e-8}
    found = minimize(lambda logs: -likelihood(*np.exp(logs)).sum(), start, method="Nelder-Mead", options=options)
    return [float(value) for value in np.exp(found.x)]
