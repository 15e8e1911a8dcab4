"""What was sold and given back, as changes that add up to what is on the books of any window.

The examples run as tests, as those of `expressions` do.

A change takes effect on `changed_on`. A window that opens after its `since_on` does not see both the sale and its
reversal, so it leaves the reversal out: nothing bought before a window is taken off within it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from wayfare.analyses.api import Expect
from wayfare.analyses.expressions import UNKNOWN_COUNTRY, Frame, days_between, integer, or_zero

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

LONGEST_LEAD = 740
"""Days before service from which on anything is sold, for windows that must see all sales of a departure: airlines open
about 330 days ahead, stays are booked up to 737 (Antonio, de Almeida & Nunes, Data in Brief 22, 2019)."""

MOST_NIGHTS = 366
"""Nights of one stay, or days of one rental, that are counted: a longer one is an error in a date."""

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
    """Events of a type that takes back, a row for each sale (`kind`: "booking" or "purchase") that is an input too.

    Adds `changed_on` and `since_on`.
    """
    return (
        given[event_type]
        .filter(nw.col("item_kind") == kind)
        .with_columns(
            changed_on=nw.max_horizontal("event_on", "item_booked_on"),
            since_on=nw.min_horizontal("event_on", "item_booked_on"),
        )
        .join(given[kind].select(item_event_id="event_id"), how="semi", on="item_event_id")
    )


def sold_in_markets(given: Inputs) -> Frame:
    """Changes of the seats, rooms and vehicles sold: each booked item, and each reversal of one as a negative.

    Columns: resource_id, sku (''), product, service_on (the item's start_on), changed_on, since_on, units, and the
    `market` the item was sold in: its point of sale, ZZ where unknown.
    """
    return _changed_items(given).select(*_CHANGE, "market")


def used_units(given: Inputs) -> Frame:
    """The changes of `sold_in_markets`, those of a stay or rental once for every night or day that it takes up.

    Columns: resource_id, sku (''), product, service_on (the night or day), changed_on, since_on, units.
    """
    import pyarrow as pa

    nights = given.frame(pa.table({"night": pa.array(range(MOST_NIGHTS), pa.int64())}))
    return by_night(_changed_items(given), nights).select(*_CHANGE)


def by_night(sold: Frame, nights: Frame) -> Frame:
    """Each row of a hotel or car once for every night from `service_on` to `end_on`, as its `service_on`; others as is.

    The day of departure, or of the car's return, takes up nothing: the next guest may have it. What says no end is
    there once, what is longer than 366 nights for the first 366. `nights` has them numbered from 0, as `night`.

    >>> dates = "DATE '2026-03-30' AS service_on, DATE '2026-04-02' AS end_on"
    >>> sold = frame(f"SELECT unnest(['flight', 'hotel']) AS product, {dates}")
    >>> nights = frame("SELECT unnest(range(366)) AS night")
    >>> rows(by_night(sold, nights).select("product", nw.col("service_on").dt.day()))
    [('flight', 30), ('hotel', 1), ('hotel', 30), ('hotel', 31)]
    """
    is_stay = nw.col("product").is_in(["hotel", "car"]) & (nw.col("end_on") > nw.col("service_on"))
    length = nw.min_horizontal(days_between("service_on", "end_on"), integer(MOST_NIGHTS))
    of_length = (
        nights.select(length=nw.col("night") + 1).join(nights, how="cross").filter(nw.col("night") < nw.col("length"))
    )
    return (
        sold.with_columns(length=nw.when(is_stay).then(length).otherwise(integer(1)))
        .join(of_length, on="length")
        .with_columns(service_on=nw.col("service_on") + nw.col("night").cast(nw.Int32()))
    )


def _changed_items(given: Inputs) -> Frame:
    sold = given["booking"].select(
        "resource_id",
        "product",
        sku=nw.lit(""),
        service_on="start_on",
        changed_on="event_on",
        since_on="event_on",
        units=or_zero("units"),
        end_on="end_on",
        market=nw.col("point_of_sale").fill_null(UNKNOWN_COUNTRY),
    )
    gone = _given_back(given, "booking", nw.lit(""))
    return nw.concat([frame.select(*_CHANGE, "end_on", "market") for frame in (sold, gone)])


def sold_articles(given: Inputs) -> Frame:
    """Changes of the ancillaries sold that name where and when they are served; columns as of `used_units`."""
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
    return reversals(given, "cancellation", kind).select(
        "changed_on",
        "since_on",
        resource_id="item_resource_id",
        product="item_product",
        sku=sku,
        service_on="item_start_on",
        end_on="item_end_on",
        units=-or_zero("reversed_units"),
        market=nw.col("item_point_of_sale").fill_null(UNKNOWN_COUNTRY),
    )
