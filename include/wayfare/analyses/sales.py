"""What was sold and given back, as changes that add up to what is on the books of any window.

A change takes effect on `changed_on`. A window that opens after its `since_on` does not see both the sale and its
reversal, so it leaves the reversal out: nothing bought before a window is taken off within it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from wayfare.analyses.api import Expect
from wayfare.analyses.expressions import UNKNOWN_COUNTRY, Frame, or_zero

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

LONGEST_LEAD = 740
"""Days before service from which on anything is sold, for windows that must see all sales of a departure: airlines open
about 330 days ahead, stays are booked up to 737 (Antonio, de Almeida & Nunes, Data in Brief 22, 2019)."""

SOLD_IN_TIME = Expect(
    "UnexpectedRowsExpectation",
    {
        "description": f"nothing is sold more than {LONGEST_LEAD} days ahead",
        "unexpected_rows_query": f"SELECT event_id FROM {{batch}} WHERE start_on - event_on > {LONGEST_LEAD}",  # noqa: S608 - a constant
    },
    severity="warning",
)
"""A booking that breaks it is outside of such a window."""


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
    return sold_in_markets(given).select(*_CHANGE)


def sold_in_markets(given: Inputs) -> Frame:
    """The changes of `sold_units`, with the `market` each item was sold in: its point of sale, ZZ where unknown."""
    sold = given["booking"].select(
        "resource_id",
        "product",
        sku=nw.lit(""),
        service_on="start_on",
        changed_on="event_on",
        since_on="event_on",
        units=or_zero("units"),
        market=nw.col("point_of_sale").fill_null(UNKNOWN_COUNTRY),
    )
    return nw.concat([sold.select(*_CHANGE, "market"), _given_back(given, "booking", nw.lit(""))])


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
    sold = nw.concat([sold.select(*_CHANGE), _given_back(given, "purchase", nw.col("item_sku")).select(*_CHANGE)])
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
            market=nw.col("item_point_of_sale").fill_null(UNKNOWN_COUNTRY),
        )
        .select(*_CHANGE, "market")
    )
