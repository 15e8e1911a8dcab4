"""What cancellations, refunds and travel events take back, said again in plain Python: the judge of the SQL."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

Row = dict[str, Any]
Key = tuple[str, str]
AMOUNTS = ("price", "cost", "commission", "fee")


def _when(event: Row) -> tuple[Any, Any]:
    return event["occurred_at"], event["event_id"]


def _share(sale: Row, amount: str, units: int) -> int:
    whole = (sale.get(amount) or 0) * units
    size = abs(whole) // sale["units"]
    return size if whole >= 0 else -size


def _sales(bookings: list[Row], purchases: list[Row]) -> list[Row]:
    """Sales by kind and key, those of one key in time; tests under the key of a real one are none."""
    events = [{**e, "kind": "booking", "key": e["item_id"]} for e in bookings]
    events += [{**e, "kind": "purchase", "key": e["purchase_id"], "units": e["quantity"]} for e in purchases]
    real = {_key(e) for e in events if not e["is_test"]}
    kept = [e for e in events if not e["is_test"] or _key(e) not in real]
    return sorted(kept, key=lambda e: (_key(e), *_when(e)))


def _key(sale: Row) -> Key:
    return sale["kind"], sale["key"]


def _targets(event: Row, reach: dict[Key, list[Row]], sold: set[Key], gone: Any) -> list[tuple[Key, int]]:
    """Keys that a cancellation is about, with the units it asks for; `sold` are those sold by then."""
    named = _named(event)
    hit = [named] if named in reach else []
    if event["purchase_id"]:
        return [(key, event["units"]) for key in hit]
    items = [key for key in reach if key in sold and key[0] == "booking"]
    purchases = [key for key in reach if key in sold and key[0] == "purchase"]
    alone = len(items) == 1
    if event["item_id"]:
        asked = [(key, event["units"]) for key in hit]
        of_item = {key: reach[key][0]["item_id"] for key in purchases}
        own = [k for k in purchases if of_item[k] == event["item_id"] or (alone and of_item[k] is None)]
    else:
        hit = items
        asked = [(key, event["units"] if alone else _size(reach[key])) for key in items]
        own = purchases
    takes_all = all(gone(key, n) for key, n in asked) and (hit or not event["item_id"])
    return asked + ([(key, _size(reach[key])) for key in own] if takes_all else [])


def _size(sales: list[Row]) -> int:
    return sum(s["units"] for s in sales)


def _cancel(event: Row, sales: list[Row], gone: dict[Any, int]) -> list[Row]:
    at = sorted(s["occurred_at"] for s in sales if s["kind"] == "booking") or sorted(s["occurred_at"] for s in sales)
    sold_by = max([event["occurred_at"], *at[:1]])
    reach: dict[Key, list[Row]] = {}
    for sale in sales:
        if _key(sale) not in reach or sale["occurred_at"] <= sold_by:
            reach.setdefault(_key(sale), []).append(sale)
    sold = {key for key, of_key in reach.items() if of_key[0]["occurred_at"] <= sold_by}
    test = event["is_test"]
    rows = []
    penalty = event["penalty"] or 0
    for key, asks in _targets(event, reach, sold, lambda k, n: gone[k, test] + n >= _size(reach[k])):
        left = min(asks, _size(reach[key]) - gone[key, test])
        skip = gone[key, test]
        gone[key, test] += left
        for sale in reach[key]:
            before = min(sale["units"], skip)
            after = min(sale["units"], before + left)
            skip, left = skip - before, left - (after - before)
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
        key=lambda s: (s["currency"] != event["currency"], _key(s) != _named(event), _key(s), *_when(s)),
    )
    return {
        "sale": choice[0] if choice else None,
        "reversed_price": min(captured, paid[key]) - before,
        "paid_currency": event["currency"],
    }


def _travel(event: Row, sales: list[Row], gone: dict[Any, int], seen: set[Any]) -> Row:
    of_item = [s for s in sales if _key(s) == _named(event)]
    by_then = of_item[:1] + [s for s in of_item[1:] if s["occurred_at"] <= event["occurred_at"]]
    if not by_then:
        return {"sale": None}
    *earlier, sale = by_then
    once = (sale["event_id"], event["is_test"])
    taken = min(sale["units"], max(0, gone[_key(sale), event["is_test"]] - _size(earlier)))
    left = 0 if once in seen else sale["units"] - taken
    held = left if event["units"] is None else min(event["units"], left)
    seen.add(once)
    shares = {f"reversed_{a}": _share(sale, a, taken + held) - _share(sale, a, taken) for a in AMOUNTS}
    return {"sale": sale, "reversed_units": held, **shares}


def reversals(
    bookings: list[Row], purchases: list[Row], cancellations: list[Row], refunds: list[Row]
) -> dict[Any, list[Row]]:
    """Rows by event_id, in order, of one booking's cancellations and refunds; tests beside real sales are apart."""
    return _apart(_sales(bookings, purchases), cancellations + refunds)


def travels(bookings: list[Row], cancellations: list[Row], events: list[Row]) -> dict[Any, list[Row]]:
    """Rows by event_id of one booking's travel events; its purchases do not matter to its items."""
    found = _apart(_sales(bookings, []), cancellations + events)
    return {e["event_id"]: found[e["event_id"]] for e in events}


def _apart(sales: list[Row], events: list[Row]) -> dict[Any, list[Row]]:
    tests = [s for s in sales if s["is_test"]]
    if len(tests) == len(sales):
        return _settled(sales, events)
    keys = {_key(s) for s in tests}
    apart = [e for e in events if _named(e) in keys]
    found = _settled([s for s in sales if not s["is_test"]], [e for e in events if e not in apart])
    return found | _settled(tests, apart)


def _named(event: Row) -> Key:
    return ("purchase", event["purchase_id"]) if event.get("purchase_id") else ("booking", event["item_id"])


def _settled(sales: list[Row], events: list[Row]) -> dict[Any, list[Row]]:
    gone: dict[Any, int] = defaultdict(int)
    paid: dict[Any, int] = defaultdict(int)
    cancelled: dict[Any, int] = defaultdict(int)
    refunded: dict[Any, int] = defaultdict(int)
    given: dict[Any, int] = defaultdict(int)
    traveled: set[Any] = set()
    found: dict[Any, list[Row]] = {}
    for event in sorted(events, key=lambda e: (e["occurred_at"], "penalty" not in e, e["event_id"])):
        if "outcome" in event:
            found[event["event_id"]] = [_travel(event, sales, gone, traveled)]
            continue
        is_refund = "amount" in event
        rows = [_refund(event, sales, paid)] if is_refund else _cancel(event, sales, gone)
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
