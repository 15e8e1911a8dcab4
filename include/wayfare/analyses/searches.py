"""Searches of a customer before each sale, counted along the customer's timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from wayfare.analyses.expressions import Frame, days_between, integer, plus_days, total, when_or_zero

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

SEARCHED_DAYS = 30
"""Days before a booking whose searches are counted for it."""


def searches_before_sales(given: Inputs) -> Frame:
    """Each item sold that its customer searched before: the booking's ids and day, `searches` and `destinations`.

    Counted are the customer's searches from `SEARCHED_DAYS` before the day of the sale up to its instant.

    Searches and sales of a customer are laid out in order of time, so that running totals at a sale and at the start
    of its days say what is between: where many people go by one customer_id, pairs would be too many. Searches for a
    destination that are no more than those days apart are a spell, which the first opens and the last closes: the
    destinations are the spells opened before the sale less those closed before its days.
    """
    item = ["customer_id", "booked_on", "booked_at"]
    sold = given["booking"].select("customer_id", "booking_id", booked_on="event_on", booked_at="occurred_at")
    marks = given.keep(
        sold.filter(~nw.col("customer_id").is_null())
        .select(*item, on=plus_days("booked_on", -SEARCHED_DAYS))
        .unique()
        .with_columns(step=integer(0), searches=integer(0), opened=integer(0), closed=integer(0))
    )
    reach = marks.group_by("customer_id").agg(nw.col("on").min(), nw.col("booked_on").max())
    near = given["search"].join(reach, on="customer_id").filter(nw.col("event_on").is_between("on", "booked_on"))
    sales = marks.with_columns(on="booked_on", at="booked_at")
    order = ["on", "at", "step"]  # without an instant, the start of the days is before all of its first day
    is_start = nw.col("at").is_null()
    counted = (
        nw.concat([_spells(near), marks, sales], how="diagonal")
        .with_columns(nw.col("searches", "opened", "closed").cum_sum().over("customer_id", order_by=order))
        .filter(nw.col("step") == 0)
        .with_columns(
            searches=nw.when(is_start).then(-nw.col("searches")).otherwise(nw.col("searches")),
            destinations=nw.when(is_start).then(-nw.col("closed")).otherwise(nw.col("opened")),
        )
        .group_by(*item)
        .agg(total("searches", "destinations"))
        .filter(nw.col("searches") > 0)
    )
    return sold.join(counted, on=item).drop("booked_at")


def _spells(searches: Frame) -> Frame:
    """Each search on its customer's timeline, and whether it opens or closes a spell of its destination."""
    by, order = ("customer_id", "destination"), ["event_on", "occurred_at"]

    def is_apart(earlier: str, later: str) -> nw.Expr:
        return 1 - when_or_zero(days_between(earlier, later) <= SEARCHED_DAYS, integer(1))

    return searches.with_columns(
        previous_on=nw.col("event_on").shift(1).over(*by, order_by=order),
        next_on=nw.col("event_on").shift(-1).over(*by, order_by=order),
    ).select(
        "customer_id",
        opened=is_apart("previous_on", "event_on"),
        closed=is_apart("event_on", "next_on"),
        on="event_on",
        at="occurred_at",
        step=integer(1),
        searches=integer(1),
    )
