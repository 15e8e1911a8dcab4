"""What cancellations, refunds and travel events take back, said again in plain Python: the judge of the SQL."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

Row = dict[str, Any]
AMOUNTS = ("price", "cost", "commission", "fee")


def _in_time(events: list[Row]) -> list[Row]:
    return sorted(events, key=lambda e: (e["occurred_at"], e["event_id"]))


def _share(sale: Row, amount: str, units: int) -> int:
    whole = (sale.get(amount) or 0) * units
    size = abs(whole) // sale["units"]
    return size if whole >= 0 else -size


def _sales(bookings: list[Row], purchases: list[Row]) -> list[Row]:
    first: dict[tuple[str, str], Row] = {}
    for kind, key, units, events in (
        ("booking", "item_id", "units", bookings),
        ("purchase", "purchase_id", "quantity", purchases),
    ):
        for e in sorted(_in_time(events), key=lambda e: e["is_test"]):
            first.setdefault((kind, e[key]), {**e, "kind": kind, "key": e[key], "units": e[units]})
    return [first[k] for k in sorted(first)]


def _targets(event: Row, hit: list[Row], items: list[Row], purchases: list[Row], gone: Any) -> list[tuple[Row, int]]:
    """Sales that a cancellation is about, with the units it asks for: `hit` it names, the others were sold by then."""
    if event["purchase_id"]:
        return [(p, event["units"]) for p in hit]
    alone = len(items) == 1
    if event["item_id"]:
        asked = [(i, event["units"]) for i in hit]
        own = [p for p in purchases if p["item_id"] == event["item_id"] or (alone and p["item_id"] is None)]
    else:
        hit = items
        asked = [(i, event["units"] if alone else i["units"]) for i in items]
        own = purchases
    takes_all = all(gone(i, n) for i, n in asked) and (hit or not event["item_id"])
    return asked + ([(p, p["units"]) for p in own] if takes_all else [])


def _cancel(event: Row, sales: list[Row], asked: dict[Any, int]) -> list[Row]:
    def id_of(sale: Row) -> Any:
        return sale["kind"], sale["key"], event["is_test"]

    items = [s for s in sales if s["kind"] == "booking"]
    purchases = [s for s in sales if s["kind"] == "purchase"]
    named = [s for s in sales if (s["kind"], s["key"]) == _named(event)]
    sold_by = max([event["occurred_at"], *sorted(s["occurred_at"] for s in items or purchases)[:1]])
    items, purchases = ([s for s in of if s["occurred_at"] <= sold_by] for of in (items, purchases))
    rows = []
    penalty = event["penalty"] or 0
    for sale, units in _targets(event, named, items, purchases, lambda s, n: asked[id_of(s)] + n >= s["units"]):
        before = min(sale["units"], asked[id_of(sale)])
        asked[id_of(sale)] += units
        after = min(sale["units"], asked[id_of(sale)])
        row = {"sale": sale, "reversed_units": after - before, "kept_penalty": 0}
        for amount in AMOUNTS:
            row[f"reversed_{amount}"] = _share(sale, amount, after) - _share(sale, amount, before)
        if event["currency"] == sale["currency"]:
            row["kept_penalty"] = min(penalty, max(row["reversed_price"], 0))
            penalty -= row["kept_penalty"]
        rows.append(row)
    return rows


def _refund(event: Row, sales: list[Row], paid: dict[Any, int]) -> Row:
    captured = max(0, sum(s["price"] for s in sales if s["currency"] == event["currency"]))
    key = (event["currency"], event["is_test"])
    before = min(captured, paid[key])
    paid[key] += event["amount"]
    choice = sorted(
        sales,
        key=lambda s: (s["currency"] != event["currency"], (s["kind"], s["key"]) != _named(event), s["kind"], s["key"]),
    )
    return {
        "sale": choice[0] if choice else None,
        "reversed_price": min(captured, paid[key]) - before,
        "paid_currency": event["currency"],
    }


def reversals(
    bookings: list[Row], purchases: list[Row], cancellations: list[Row], refunds: list[Row]
) -> dict[Any, list[Row]]:
    """Rows by event_id, in order, of one booking's cancellations and refunds; tests beside real sales are apart."""
    sales, events = _sales(bookings, purchases), cancellations + refunds
    tests = [s for s in sales if s["is_test"]]
    if len(tests) == len(sales):
        return _settled(sales, events)
    keys = {(s["kind"], s["key"]) for s in tests}
    apart = [e for e in events if _named(e) in keys]
    found = _settled([s for s in sales if not s["is_test"]], [e for e in events if e not in apart])
    return found | _settled(tests, apart)


def _named(event: Row) -> tuple[str, str]:
    return ("purchase", event["purchase_id"]) if event["purchase_id"] else ("booking", event["item_id"])


def _settled(sales: list[Row], events: list[Row]) -> dict[Any, list[Row]]:
    asked: dict[Any, int] = defaultdict(int)
    paid: dict[Any, int] = defaultdict(int)
    cancelled: dict[Any, int] = defaultdict(int)
    refunded: dict[Any, int] = defaultdict(int)
    given: dict[Any, int] = defaultdict(int)
    found: dict[Any, list[Row]] = {}
    for event in _in_time(events):
        is_refund = "amount" in event
        rows = [_refund(event, sales, paid)] if is_refund else _cancel(event, sales, asked)
        for row in rows:
            account = (row.get("paid_currency") or row["sale"]["currency"], event["is_test"])
            if is_refund:
                refunded[account] += row["reversed_price"]
            else:
                cancelled[account] += row["reversed_price"] - row["kept_penalty"]
            total = cancelled[account]
            if refunded[account]:
                total = max(total, refunded[account])
            row["given_back"] = total - given[account]
            given[account] = total
        found[event["event_id"]] = rows or [{"sale": None}]
    return found


def travels(bookings: list[Row], events: list[Row]) -> dict[Any, list[Row]]:
    """Rows by event_id of one booking's travel events."""
    sales = {s["key"]: s for s in _sales(bookings, [])}
    seen = set()
    found: dict[Any, list[Row]] = {}
    for event in _in_time(events):
        sale = sales.get(event["item_id"])
        row: Row = {"sale": sale}
        if sale and (event["item_id"], event["is_test"]) not in seen:
            units = sale["units"] if event["units"] is None else min(event["units"], sale["units"])
            row["reversed_units"] = units
            row |= {f"reversed_{a}": _share(sale, a, units) for a in AMOUNTS}
        seen.add((event["item_id"], event["is_test"]))
        found[event["event_id"]] = [row]
    return found
