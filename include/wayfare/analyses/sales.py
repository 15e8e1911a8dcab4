"""What was sold and given back, as changes that add up to what is on the books of any window.

A change takes effect on `changed_on`. A window that opens after its `since_on` does not see both the sale and its
reversal, so it leaves the reversal out: nothing bought before a window is taken off within it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from wayfare.analyses.expressions import Frame, or_zero

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs


def reversals(given: Inputs, event_type: str, kind: str) -> Frame:
    """Events of a type that takes back, a row for each item ("booking") or ancillary ("purchase") that is an input too.

    Adds `changed_on` and `since_on`.
    """
    rows = (
        given[event_type]
        .filter(nw.col("item_kind") == kind)
        .with_columns(
            changed_on=nw.max_horizontal("event_on", "item_booked_on"),
            since_on=nw.min_horizontal("event_on", "item_booked_on"),
        )
    )
    if kind == "booking":
        items = given["booking"].select("booking_id", item_key="item_id")
        return rows.join(items, how="semi", on=["booking_id", "item_key"])
    return rows.join(given["purchase"].select(item_key="purchase_id"), how="semi", on="item_key")


def sold_units(given: Inputs) -> Frame:
    """Changes of the seats, rooms and vehicles sold: each booked item, and each reversal of one as a negative.

    Columns: resource_id, sku (''), product, service_on, changed_on, since_on, units.
    """
    sold = given["booking"].select(
        "resource_id",
        "product",
        sku=nw.lit(""),
        service_on="start_on",
        changed_on="event_on",
        since_on="event_on",
        units=or_zero("units"),
    )
    return nw.concat([sold, _given_back(given, "booking", nw.lit(""))])


def sold_articles(given: Inputs) -> Frame:
    """Changes of the ancillaries sold that name where and when they are served; columns as of `sold_units`."""
    sold = given["purchase"].select(
        "resource_id",
        "sku",
        product="category",
        service_on="service_on",
        changed_on="event_on",
        since_on="event_on",
        units=or_zero("quantity"),
    )
    sold = nw.concat([sold.select(*_CHANGE), _given_back(given, "purchase", nw.col("item_sku"))])
    return sold.filter(~nw.col("resource_id").is_null(), ~nw.col("service_on").is_null())


_CHANGE = ("resource_id", "product", "sku", "service_on", "changed_on", "since_on", "units")


def _given_back(given: Inputs, kind: str, sku: nw.Expr) -> Frame:
    return (
        reversals(given, "cancellation", kind)
        .select(
            "changed_on",
            "since_on",
            resource_id="item_resource_id",
            product="item_product",
            sku=sku,
            service_on="item_start_on",
            units=-or_zero("reversed_units"),
        )
        .select(*_CHANGE)
    )
