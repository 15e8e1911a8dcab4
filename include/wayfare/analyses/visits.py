"""What visitors do: events of several types as one frame, whose they are, and the sessions they form.

The examples run as tests, as those of `expressions` do.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import narwhals as nw

from wayfare.analyses.expressions import Frame, days_between, integer, when_or_zero

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs
    from wayfare.contracts import EventType

AUTOMATED_SECONDS, AUTOMATED_EVENTS = 24 * 60 * 60, 5_000
"""No person goes on for longer, or does more in one go."""
PAUSE = "30m"
"""A longer time without an event ends a session."""
_TEXTS = (
    "visitor_id",
    "customer_id",
    "channel",
    "point_of_sale",
    "campaign_source",
    "campaign_medium",
    "campaign_name",
    "booking_id",
    "currency",
)


def activity(given: Inputs, *event_types: EventType) -> Frame:
    """Every event of those types as one row.

    Returns
    -------
    Frame
        event_type, event_id, occurred_at, event_on, searcher; visitor_id, customer_id, channel, point_of_sale,
        campaign_source, campaign_medium, campaign_name; booking_id, currency and price (minor units), null where the
        type lacks them.
    """
    return nw.concat([_rows(given, event_type) for event_type in event_types])


def _rows(given: Inputs, event_type: EventType) -> Frame:
    def known(name: str, kind: type[nw.String | nw.Int64]) -> nw.Expr:
        return (nw.col(name).cast(kind) if name in event_type.by_name else nw.lit(None, kind)).alias(name)

    return given[event_type.name].select(
        "event_id",
        "occurred_at",
        "event_on",
        *(known(name, nw.String) for name in _TEXTS),
        known("price", nw.Int64),
        event_type=nw.lit(event_type.type),
        searcher=searcher(),
    )


def searcher() -> nw.Expr:
    """Who is behind an event: the visitor, else the customer, else the event on its own; never null.

    The visitor comes first because a visitor who signs in halfway is still one. The prefix keeps a visitor and a
    customer of the same id apart.

    >>> events = "SELECT 'v' AS visitor_id, 'c' AS customer_id, 1 AS event_id UNION SELECT NULL, 'c', 2 "
    >>> rows(frame(events + "UNION SELECT NULL, NULL, 3").select(searcher=searcher()))
    [('c:c',), ('e:3',), ('v:v',)]
    """
    return nw.coalesce(
        nw.concat_str(nw.lit("v:"), nw.col("visitor_id")),
        nw.concat_str(nw.lit("c:"), nw.col("customer_id")),
        nw.concat_str(nw.lit("e:"), nw.col("event_id").cast(nw.String())),
    )


def with_start(frame: Frame, by: list[str]) -> Frame:
    """The frame with `starts`: 1 for the first event of its `by` and one after a pause of over 30 minutes, else 0.

    Null is a value like any other in `by`. Events are in order of `occurred_at`, then `event_id`.

    >>> at = "('2026-03-01 ' || unnest(['10:00', '10:30', '11:01']))::TIMESTAMP AS occurred_at"
    >>> visits = frame(f"SELECT 'v' AS visitor_id, {at}, unnest([1, 2, 3]) AS event_id")
    >>> rows(with_start(visits, ["visitor_id"]).select("event_id", "starts"))
    [(1, 1), (2, 0), (3, 1)]
    """
    previous = nw.col("occurred_at").shift(1).over(*by, order_by=["occurred_at", "event_id"])
    is_pause = nw.col("occurred_at") > nw.col("previous_at").dt.offset_by(PAUSE)
    return (
        frame.with_columns(previous_at=previous)
        .with_columns(starts=when_or_zero(nw.col("previous_at").is_null() | is_pause, integer(1)))
        .drop("previous_at")
    )


def with_session(frame: Frame, by: list[str]) -> Frame:
    """The frame with `session`, counting up from 1 within each value of `by`; `with_start` says where one starts.

    >>> at = "('2026-03-01 ' || unnest(['10:00', '10:30', '11:01']))::TIMESTAMP AS occurred_at"
    >>> visits = frame(f"SELECT 'v' AS visitor_id, {at}, unnest([1, 2, 3]) AS event_id")
    >>> rows(with_session(visits, ["visitor_id"]).select("event_id", "session"))
    [(1, 1), (2, 1), (3, 2)]
    """
    number = nw.col("starts").cum_sum().over(*by, order_by=["occurred_at", "event_id"])
    return with_start(frame, by).with_columns(session=number.cast(nw.Int64())).drop("starts")


def by_person(frame: Frame) -> Frame:
    """The rows once for each known visitor or customer behind them, as `person`; without one, never.

    Two events are of the same visitor or customer where a `person` of one is a `person` of the other: a visitor who
    signs in has both, and what a customer did elsewhere is found through the customer.

    >>> rows(by_person(frame("SELECT 'v' AS visitor_id, 'c' AS customer_id UNION SELECT NULL, NULL")).select("person"))
    [('c:c',), ('v:v',)]
    """
    return nw.concat(
        [
            frame.filter(~nw.col(column).is_null()).with_columns(
                person=nw.concat_str(nw.lit(prefix), nw.col(column).cast(nw.String()))
            )
            for prefix, column in (("v:", "visitor_id"), ("c:", "customer_id"))
        ]
    )


def sessionized(frame: Frame) -> Frame:
    """The frame with the session that each event of a `searcher` belongs to; 30 minutes without an event end a session.

    Midnight does not, save for one: whoever has been active without a pause since before yesterday, and through all of
    yesterday, starts a new session every day. So a session reaches into the day after its start at most, and which
    sessions start on a day depends on that day and the two before it only.

    Adds `started_on` and `session` (with the searcher they name the session), `is_first` (the event that starts it) and
    `is_continued` (it started at a midnight, without a pause).

    >>> at = "('2026-03-0' || unnest(['1 23:50', '2 00:20', '2 00:51']))::TIMESTAMP AS occurred_at"
    >>> clicks = frame(f"SELECT 's' AS searcher, {at}, occurred_at::DATE AS event_on, unnest([1, 2, 3]) AS event_id")
    >>> rows(sessionized(clicks).select("event_id", nw.col("started_on").dt.day(), "is_first"))
    [(1, 1, True), (2, 1, False), (3, 2, True)]
    """
    order = ["occurred_at", "event_id"]
    starts = nw.col("starts") == 1
    begun_on = nw.when(starts).then(nw.col("event_on")).otherwise(nw.lit(dt.date.min))
    is_continued = days_between("unbroken_since", "event_on") > 1
    return (
        with_start(frame, ["searcher"])
        .with_columns(
            session=nw.col("starts").cum_sum().over("searcher", order_by=order).cast(nw.Int64()),
            unbroken_since=begun_on.cum_max().over("searcher", order_by=order),
            previous_on=nw.col("event_on").shift(1).over("searcher", order_by=order),
        )
        .with_columns(
            started_on=nw.when(is_continued).then(nw.col("event_on")).otherwise(nw.col("unbroken_since")),
            is_first=starts | (is_continued & (nw.col("event_on") > nw.col("previous_on"))),
            is_continued=is_continued,
        )
        .drop("starts", "unbroken_since", "previous_on")
    )
