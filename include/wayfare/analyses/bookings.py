"""The bookings of customers: what each bought and gave back, added up to one row per booking as of any day.

Changes are those of `wayfare.analyses.sales`: one takes effect on `changed_on`, and a window that opens after its
`since_on` leaves it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from wayfare.analyses.expressions import Frame, integer, or_zero, plus_days, total, when_or_zero
from wayfare.analyses.sales import reversals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wayfare.analyses.api import Inputs


def booking_changes(given: Inputs) -> Frame:
    """Changes of bookings, from the types that are inputs: each item and ancillary sold, each reversal as a negative.

    Columns: customer_id (null where nobody says), booking_id, changed_on, since_on, items and units (of ancillaries
    0), net (price less what is given back) and margin (net less cost) in minor units of `currency`, `rate_on` (day of
    the sale). Rows of items also have booked_on, booked_at, price, product, market, start_on and end_on.
    """
    changes = [_items(given)]
    if "purchase" in given.events:
        changes.append(_ancillaries(given))
    for kind in ("booking", "purchase"):
        if kind in given.events:
            changes += [_given_back(given, t, kind) for t in ("cancellation", "refund") if t in given.events]
    return nw.concat(changes, how="diagonal")


def known_on(changes: Frame, days: Frame, before: int) -> Frame:
    """The changes once for every `as_of_on` of `days` that knows of them, with `before` days of history.

    >>> sold = frame("SELECT 'b' AS booking_id, DATE '2026-03-02' AS changed_on, DATE '2026-03-02' AS since_on")
    >>> days = frame("SELECT unnest([DATE '2026-03-01', '2026-03-02', '2026-03-03', '2026-03-04']) AS as_of_on")
    >>> rows(known_on(sold, days, before=1).select("as_of_on"))
    [(datetime.date(2026, 3, 2),), (datetime.date(2026, 3, 3),)]
    """
    is_known = (nw.col("as_of_on") >= nw.col("changed_on")) & (nw.col("as_of_on") <= nw.col("until_on"))
    return changes.with_columns(until_on=plus_days("since_on", before)).join(days, how="cross").filter(is_known)


def bookings(changes: Frame, by: Sequence[str], *more: nw.Expr) -> Frame:
    """One row per booking_id within `by`: all that was sold under it, on the day of its first item.

    Adds booked_on, booked_at, items, units (left) and `is_net`: whether any unit is left. `more` are aggregates to add.

    >>> sold = "SELECT 'b' AS booking_id, DATE '2026-03-02' AS booked_on, NULL AS booked_at, 1 AS items, 2 AS units"
    >>> gone = "SELECT unnest(['b', 'b']), NULL, NULL, 0, -1"
    >>> rows(bookings(frame(sold), ["booking_id"]).select("booked_on", "items", "units", "is_net"))
    [(datetime.date(2026, 3, 2), 1, 2, True)]
    >>> rows(bookings(frame(f"{sold} UNION ALL {gone}"), ["booking_id"]).select("items", "units", "is_net"))
    [(1, 0, False)]
    """
    return (
        changes.group_by(*dict.fromkeys((*by, "booking_id")))
        .agg(
            *(nw.col(c).min() for c in ("booked_on", "booked_at")),
            total("items", "units"),
            *more,
        )
        .with_columns(is_net=(nw.col("items") > 0) & (nw.col("units") > 0))
    )


def _items(given: Inputs) -> Frame:
    return given["booking"].select(
        "customer_id",
        "booking_id",
        "product",
        "start_on",
        "end_on",
        "currency",
        "price",
        changed_on="event_on",
        since_on="event_on",
        rate_on="event_on",
        booked_on="event_on",
        booked_at="occurred_at",
        market="point_of_sale",
        items=integer(1),
        units=or_zero("units"),
        net=or_zero("price"),
        margin=or_zero("price") - or_zero("cost"),
    )


def _ancillaries(given: Inputs) -> Frame:
    return given["purchase"].select(
        "customer_id",
        "booking_id",
        "currency",
        changed_on="event_on",
        since_on="event_on",
        rate_on="event_on",
        items=integer(0),
        units=integer(0),
        net=or_zero("price"),
        margin=or_zero("price") - or_zero("cost"),
    )


def _given_back(given: Inputs, event_type: str, kind: str) -> Frame:
    return reversals(given, event_type, kind).select(
        "booking_id",
        "changed_on",
        "since_on",
        customer_id="item_customer_id",
        currency="item_currency" if event_type == "cancellation" else "currency",
        rate_on="item_booked_on",
        items=integer(0),
        units=when_or_zero(nw.lit(kind == "booking"), -nw.col("reversed_units")),
        net=-or_zero("given_back"),
        margin=or_zero("reversed_cost") - or_zero("given_back"),
    )
