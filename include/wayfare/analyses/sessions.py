"""sessions: what visitors do in one go, from the first event to the pause that ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, count, distinct, key, measure, minor
from wayfare.analyses.expressions import (
    Frame,
    converted,
    count_distinct,
    integer,
    plus_days,
    seconds_between,
    sum_if_complete,
    when_or_zero,
    with_rate,
)
from wayfare.analyses.visits import AUTOMATED_EVENTS, AUTOMATED_SECONDS, activity, sessionized, with_start
from wayfare.contracts.events import BOOKING, OFFER, PURCHASE, SEARCH, VIEW

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

_COUNTED = {"searches": "search", "views": "view", "offers": "offer", "items": "booking", "purchases": "purchase"}
_OF_FIRST = (
    "event_id",
    "event_type",
    "channel",
    "campaign_source",
    "campaign_medium",
    "campaign_name",
    "point_of_sale",
)
_SOLD = ("booking", "purchase")


class Sessions(BehaviorAnalysis):
    """What happens in a visit?

    A session is what one searcher (a visitor, else a customer; an event with neither is a session of its own) does
    without a pause of more than 30 minutes: searches, views, offers, bookings and ancillaries bought.

    - It counts as a whole on the day of its first event, whose id is its `session_id`; midnight does not split it (the
      30 minutes of inactivity of web analytics; Google Analytics splits at midnight, which cuts evening visits in two).
    - A searcher who has been active without a pause since before yesterday starts a new session every midnight: a
      crawler that never rests has a row on each of its days, and no session reaches further than the day after its
      start. So every event belongs to one session.
    - Automated: more than 24 hours, more than 5,000 events, or such a continuation (`is_continued`). Flagged, not left
      out; `traffic_anomalies` looks at the rhythm as well.
    - Channel, campaign and market are those of the first event. A session of a single event is a bounce.
    - Spend is the price of items and ancillaries bought in the session, converted at the last rate published up to
      their day; what is cancelled later is not taken off.
    - An event that arrives late can start a session earlier, or join two: then the second one's row goes.
    """

    owner = "marketing"
    tags = ("traffic", "daily")
    reads = (SEARCH, VIEW, OFFER, BOOKING, PURCHASE)
    window = Window(before=2, after=1)
    mart = Mart(
        day="started_on",
        grain={
            "started_on": key("Day of the first event, in the agency's time zone", "date"),
            "session_id": key("event_id of the first event"),
        },
        columns={
            "searcher": measure("v: and the visitor, c: and the customer, or e: and the event", "text"),
            "customer_id": measure("Customer known in the session; of several the last in alphabetical order", "text"),
            "channel": measure("Channel of the first event", "text"),
            "campaign_source": measure("Campaign source of the first event", "text"),
            "campaign_medium": measure("Campaign medium of the first event", "text"),
            "campaign_name": measure("Campaign name of the first event", "text"),
            "point_of_sale": measure("Market of the first event, ISO 3166-1 alpha-2", "text"),
            "first_event_type": measure("What it begins with: search, view, offer, booking or purchase", "text"),
            "started_at": measure("Instant of the first event", "timestamptz"),
            "ended_at": measure("Instant of the last event", "timestamptz"),
            "duration_seconds": count("Seconds from the first event to the last, cut to whole ones"),
            "events": count("Events of the session"),
            "events_after_midnight": count("Events on the day after its start"),
            "searches": count("Searches"),
            "views": count("Items and results looked at"),
            "offers": count("Offers shown or redeemed"),
            "items": count("Items booked"),
            "bookings": distinct("Distinct bookings of those items"),
            "purchases": count("Ancillaries bought"),
            "spend_minor": minor(
                "Price of items and ancillaries bought, reporting currency's minor units; null where one has no rate",
                nullable=True,
            ),
            "is_bounce": measure("A single event", "boolean"),
            "is_continued": measure("Begun at midnight, without a pause through all of the day before", "boolean"),
            "is_automated": measure("Over 24 hours, over 5,000 events, or is_continued", "boolean"),
        },
    )
    expect_input: ClassVar = {
        "search": (Expect("ExpectColumnValuesToNotBeNull", {"column": "visitor_id", "mostly": 0.5}, severity="info"),),
    }
    expect_output = (
        Expect("ExpectColumnValuesToBeBetween", {"column": "events", "min_value": 1}),
        Expect("ExpectColumnValuesToBeBetween", {"column": "duration_seconds", "min_value": 0, "max_value": 49 * 3600}),
        Expect(
            "ExpectColumnPairValuesAToBeGreaterThanB",
            {"column_A": "events", "column_B": "events_after_midnight", "or_equal": False},
        ),
        Expect(
            "ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": "items", "column_B": "bookings", "or_equal": True}
        ),
        Expect(
            "ExpectColumnValuesToBeInSet",
            {"column": "is_automated", "value_set": [False], "mostly": 0.9},
            severity="warning",
        ),
    )
    picture = Picture(
        "Sessions by the minutes they last (60: an hour and more, crawlers), percent of those with a booking or not.",
        """
        SELECT least(duration_seconds / 300, 12) * 5 AS x,
          100.0 * count(*) / sum(count(*)) OVER (PARTITION BY bookings > 0) AS y,
          CASE WHEN bookings > 0 THEN 'with a booking' ELSE 'without a booking' END AS series
        FROM bi.sessions
        WHERE NOT is_automated AND NOT is_bounce
        GROUP BY x, bookings > 0
        ORDER BY series, x
        """,
        mark="bar",
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per session that starts on one of the days."""
        events = with_rate(activity(given, *self.reads), given.rates, "event_on").with_columns(
            spend=nw.when(nw.col("event_type").is_in(_SOLD)).then(converted(nw.col("price"))).otherwise(integer(0)),
            booked_id=nw.when(nw.col("event_type") == "booking").then(nw.col("booking_id")),
        )
        is_long = nw.col("duration_seconds") > AUTOMATED_SECONDS
        return (
            sessionized(events)
            .group_by("started_on", "searcher", "session")
            .agg(
                *(nw.when(nw.col("is_first")).then(nw.col(name)).max().alias(name) for name in _OF_FIRST),
                *_counts(),
                started_at=nw.col("occurred_at").min(),
                ended_at=nw.col("occurred_at").max(),
                customer_id=nw.col("customer_id").max(),
                events_after_midnight=when_or_zero(nw.col("event_on") > nw.col("started_on"), integer(1)).sum(),
                bookings=count_distinct("booked_id"),
                spend_minor=sum_if_complete("spend"),
                is_continued=nw.col("is_continued").any(),
            )
            .with_columns(
                session_id=nw.col("event_id").cast(nw.String()),
                first_event_type="event_type",
                duration_seconds=seconds_between("started_at", "ended_at"),
                is_bounce=nw.col("events") == 1,
            )
            .with_columns(is_automated=is_long | (nw.col("events") > AUTOMATED_EVENTS) | nw.col("is_continued"))
            .select(*self.mart.all_columns)
        )

    def totals(self, given: Inputs) -> Frame:
        """Events by type: a day's own, save those before its first start that go on from a start of the day before."""
        events = activity(given, *self.reads)
        starts = (
            with_start(events.select("searcher", "event_on", "occurred_at", "event_id"), ["searcher"])
            .filter(nw.col("starts") == 1)
            .group_by("searcher", "event_on")
            .agg(from_at=nw.col("occurred_at").min())
        )
        day_before = starts.select("searcher", event_on=plus_days("event_on", 1), before_at="from_at")
        is_own = (nw.col("occurred_at") >= nw.col("from_at")) | nw.col("before_at").is_null()
        return (
            events.join(starts, how="left", on=["searcher", "event_on"])
            .join(day_before, how="left", on=["searcher", "event_on"])
            .with_columns(output_on=nw.when(is_own).then(nw.col("event_on")).otherwise(plus_days("event_on", -1)))
            .join(given.days, how="semi", on="output_on")
            .select(*_counts())
        )


def _counts() -> list[nw.Expr]:
    """Events, in all and by type."""
    return [
        nw.len().alias("events"),
        *(
            when_or_zero(nw.col("event_type") == event_type, integer(1)).sum().alias(name)
            for name, event_type in _COUNTED.items()
        ),
    ]
