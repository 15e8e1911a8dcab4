"""What follows a sale: ancillaries, cancellations, refunds, and whether anybody came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wayfare.simulator import columns
from wayfare.simulator.stock import MEALS
from wayfare.simulator.world import FLIGHT, MARKET_CURRENCIES

if TYPE_CHECKING:
    from wayfare.simulator.buying import Items
    from wayfare.simulator.columns import Flags, Floats, Ints
    from wayfare.simulator.today import Today

_DAY = 86400
_NEVER = np.inf
RISKY_PRODUCT = "hotel"
_CANCELLED = (0.09, 0.19, 0.14, 0.07)
"""Share of sold items that are cancelled, by product."""

_ANCILLARIES = (
    # sku, category, share of items that buy it by product, euros for one
    ("bag-23kg", "baggage", (0.42, 0.0, 0.0, 0.0), 32.0),
    (MEALS[0], "meal", (0.22, 0.0, 0.0, 0.0), 11.0),
    (MEALS[1], "meal", (0.07, 0.0, 0.0, 0.0), 11.5),
    ("seat-choice", "seat", (0.25, 0.0, 0.0, 0.0), 14.0),
    ("lounge-pass", "lounge", (0.04, 0.0, 0.0, 0.0), 29.0),
    ("travel-insurance", "insurance", (0.13, 0.1, 0.0, 0.3), 24.0),
    ("collision-waiver", "insurance", (0.0, 0.0, 0.38, 0.0), 45.0),
    ("child-seat", "car", (0.0, 0.0, 0.1, 0.0), 18.0),
    ("airport-transfer", "transfer", (0.03, 0.14, 0.0, 0.1), 26.0),
    ("city-tour", "activity", (0.0, 0.1, 0.02, 0.12), 38.0),
)
PAIRED = ("baggage", "seat")
_BAG, _SEAT, _SEAT_WITH_BAG = 0, 3, 0.4
_REASONS = ("changed plans", "illness", "cheaper elsewhere", "supplier withdrew")


def follow(today: Today, items: Items) -> None:
    """Decide the fate of the day's sold items and post what becomes of them, now or later."""
    if not len(items):
        return
    gone_at, gone_units = _cancel(today, items)
    _buy_ancillaries(today, items, gone_at)
    _travel(today, items, gone_units)


@dataclass(frozen=True, slots=True)
class _Withdrawn:
    """Cancellations: when, whether of the whole booking, the units and the price of what is given back."""

    at: Floats
    whole: Flags
    units: Ints
    value: Ints


def _cancel(today: Today, items: Items) -> tuple[Floats, Ints]:
    """Post cancellations and refunds; when each item is gone for good (never: infinity) and the units given back."""
    rng, n = today.rng, len(items)
    head = np.maximum.accumulate(np.where(items.rank == 0, np.arange(n), 0))
    cancelled = rng.random(n) < np.array(_CANCELLED)[items.product]
    at = items.booked_at + (items.start_on * _DAY + 21600 - items.booked_at) * rng.random(n) ** 0.7
    whole = (cancelled & (items.rank == 0) & (rng.random(n) < 0.7))[head]
    cancelled |= whole
    at = np.where(whole, at[head], at)
    some = cancelled & ~whole & (items.units > 1) & (rng.random(n) < 0.4)
    units = np.where(some, 1, np.where(cancelled, items.units, 0))
    value = items.price * units // items.units
    sums = np.flatnonzero(items.rank == 0)
    events = np.flatnonzero(cancelled & (~whole | (items.rank == 0)))
    booking = np.searchsorted(sums, head[events])
    one = whole[events]
    withdrawn = _Withdrawn(
        at=at[events],
        whole=one,
        units=np.where(one, np.add.reduceat(units, sums)[booking], units[events]),
        value=np.where(one, np.add.reduceat(value, sums)[booking], value[events]),
    )
    _post_cancellations(today, items.take(events), withdrawn)
    back = np.flatnonzero(units > 0)
    today.stock.release_later(
        (at[back] // _DAY).astype(np.int64) + 1,
        items.resource[back],
        items.start_on[back],
        items.end_on[back],
        units[back],
    )
    return np.where(units == items.units, at, _NEVER), units


def _post_cancellations(today: Today, items: Items, withdrawn: _Withdrawn) -> None:
    rng, n, at = today.rng, len(items), withdrawn.at
    close = items.start_on * _DAY - at < 7 * _DAY
    penalty = np.where(close & (rng.random(n) < 0.4), withdrawn.value // 4, 0)
    booking_id, item_id = items.ids(today)
    item_id = columns.absent(item_id, withdrawn.whole)
    number = today.counters.cancellation + np.arange(n)
    today.counters.cancellation += n
    initiator = np.where(rng.random(n) < 0.93, 0, rng.integers(1, 3, n))
    reason = np.where(initiator == 2, 3, np.where(rng.random(n) < 0.5, rng.integers(0, 3, n), -1))
    today.mail.post(
        "cancellation",
        items.envelope,
        at,
        {
            "cancellation_id": today.ids("x", number),
            "booking_id": booking_id,
            "item_id": item_id,
            "units": columns.count(withdrawn.units),
            "initiator": columns.coded(initiator, ("customer", "agency", "supplier")),
            "penalty": columns.money(penalty, penalty > 0),
            "currency": columns.coded(np.where(penalty > 0, items.market, -1), MARKET_CURRENCIES),
            "reason": columns.coded(reason, _REASONS),
        },
    )
    paid = np.flatnonzero((rng.random(n) < 0.85) & (withdrawn.value > penalty))
    today.mail.post(
        "refund",
        items.envelope.take(pa.array(paid)),
        at[paid] + rng.uniform(1, 10, len(paid)) * _DAY,
        {
            "refund_id": today.ids("r", number[paid]),
            "booking_id": booking_id.take(pa.array(paid)),
            "item_id": item_id.take(pa.array(paid)),
            "amount": columns.money((withdrawn.value - penalty)[paid]),
            "currency": columns.coded(items.market[paid], MARKET_CURRENCIES),
        },
    )


def _buy_ancillaries(today: Today, items: Items, gone_at: Floats) -> None:
    rng = today.rng
    shares = np.array([share for _, _, share, _ in _ANCILLARIES])
    wanted = rng.random((len(items), len(_ANCILLARIES))) < shares.T[items.product]
    wanted[:, _SEAT] |= wanted[:, _BAG] & (rng.random(len(items)) < _SEAT_WITH_BAG)
    row, article = np.nonzero(wanted)
    booked, leaves = items.booked_at[row], items.start_on[row] * _DAY
    later = np.maximum(leaves - booked, 0) * rng.random(len(row)) * (rng.random(len(row)) < 0.35)
    at = booked + 30 + 5 * article + later
    kept = at < gone_at[row]
    row, article, at = row[kept], article[kept], at[kept]
    some = items.take(row)
    each = np.isin(article, [i for i, (_, c, _, _) in enumerate(_ANCILLARIES) if c in {"meal", "insurance"}])
    quantity = np.where(each, some.units, 1)
    price = np.array([euros for *_, euros in _ANCILLARIES])[article] * quantity * today.rates[some.market]
    meal = np.isin(article, (1, 2)) & np.isinf(gone_at[row])
    today.stock.serve_meals(some.resource[meal], some.start_on[meal], article[meal] - 1, quantity[meal])
    booking_id, item_id = some.ids(today)
    today.mail.post(
        "purchase",
        some.envelope,
        at,
        {
            "purchase_id": today.ids("p", today.counters.purchase + np.arange(len(row))),
            "category": columns.coded(article, [category for _, category, _, _ in _ANCILLARIES]),
            "sku": columns.coded(article, [sku for sku, *_ in _ANCILLARIES]),
            "quantity": columns.count(quantity),
            "price": columns.money(price),
            "cost": columns.money(price * 0.55),
            "currency": columns.coded(some.market, MARKET_CURRENCIES),
            "booking_id": booking_id,
            "item_id": item_id,
            "resource_id": columns.coded(some.resource, today.world.resources),
            "service_on": columns.date(some.start_on),
        },
    )
    today.counters.purchase += len(row)


def _travel(today: Today, items: Items, gone_units: Ints) -> None:
    rng = today.rng
    rows = np.flatnonzero(gone_units < items.units)
    some = items.take(rows)
    missed = rng.random(len(rows)) < 0.025
    last = np.where(missed | (some.end_on < 0) | (some.product == FLIGHT), some.start_on + 1, some.end_on)
    at = last * _DAY + 36000 + rng.random(len(rows)) * 7200
    booking_id, item_id = some.ids(today)
    envelope = some.envelope.set_column(0, "source", columns.constant("supplier-feed", len(rows)))
    today.mail.post(
        "travel",
        envelope,
        at,
        {
            "booking_id": booking_id,
            "item_id": item_id,
            "outcome": columns.coded(missed.astype(np.int64), ("completed", "no_show")),
            "units": columns.count(some.units - gone_units[rows], gone_units[rows] > 0),
        },
    )
