"""destination_demand: what people search for, and how much of it ends in a booking."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, count, distinct, key, measure
from wayfare.analyses.expressions import (
    Frame,
    days_between,
    integer,
    ratio,
    when_or_zero,
    with_city,
    with_origin_market,
)
from wayfare.analyses.visits import by_person, searcher, with_session
from wayfare.contracts.events import BOOKING, SEARCH

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

MATURES_AFTER_DAYS = 7

MART = Mart(
    day="searched_on",
    grain={
        "searched_on": key("Day of the search, in the agency's time zone", "date"),
        "destination": key("IATA airport or city as it was searched for"),
        "city": key("IATA city of the destination"),
        "product": key("What was searched for: flight, hotel, car or package"),
        "origin_market": key("Point of sale, else the country of the origin, ISO 3166-1 alpha-2; ZZ where unknown"),
    },
    columns={
        "searches": count("Searches as they came"),
        "intents": count("Search intents: repetitions of a search within 30 minutes of one another are one"),
        "unique_searchers": distinct("Distinct visitors, or customers where the visitor is unknown"),
        "zero_result_intents": count("Intents all of whose searches found nothing: unmet demand"),
        "bookings": distinct("Distinct bookings made this day for this destination, product and market"),
        "searches_per_booking": measure("intents / bookings of the same day; null without bookings"),
        "matured_bookings": count(f"Intents that led to a booking within {MATURES_AFTER_DAYS} days"),
        "matured_searches_per_booking": measure("intents / matured_bookings; null where none matured"),
    },
)
_SUMS = ("searches", "intents", "unique_searchers", "zero_result_intents", "bookings", "matured_bookings")
_WHO_WANTS_WHERE = ["person", "city", "product"]


class DestinationDemand(BehaviorAnalysis):
    """Where do people want to go, and how many of the searches end in a booking?

    - An intent is one searcher's wish: searches for the same product, origin, destination and dates in the same
      market, each within 30 minutes of the one before and on the same day. A searcher is a visitor, else a customer; a
      search with neither is an intent and a searcher of its own.
    - `bookings` are those of the same day for the same destination, product and market, whoever made them.
    - An intent has matured if the same visitor or customer booked the same city and product within 7 days. A booking
      counts for one intent only: the last that began before it.
    - A destination with bookings and no searches has a row of its own, with 0 intents.
    """

    owner = "marketing"
    tags = ("demand", "daily")
    reads = (SEARCH, BOOKING)
    window = Window(after=MATURES_AFTER_DAYS)
    mart = MART
    expect_input: ClassVar = {
        "search": (
            Expect(
                "ExpectColumnValuesToBeBetween", {"column": "result_count", "max_value": 100_000}, severity="warning"
            ),
            Expect("ExpectColumnValuesToNotBeNull", {"column": "visitor_id", "mostly": 0.5}, severity="info"),
        ),
    }
    expect_output = (
        *(Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0}) for column in _SUMS),
        *(
            Expect("ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": more, "column_B": less, "or_equal": True})
            for more, less in (
                ("searches", "intents"),
                ("intents", "zero_result_intents"),
                ("intents", "matured_bookings"),
            )
        ),
    )
    picture = Picture(
        "Share of search intents by week, the five cities most searched for in the last one, percent.",
        """
        WITH weeks AS (
          SELECT date_trunc('week', searched_on)::date AS week, city, sum(intents) AS intents
          FROM bi.destination_demand
          GROUP BY week, city
        ), shares AS (
          SELECT week, city, 100 * intents / nullif(sum(intents) OVER (PARTITION BY week), 0) AS share,
            rank() OVER (PARTITION BY week ORDER BY intents DESC, city) AS place
          FROM weeks
        )
        SELECT week AS x, share AS y, city AS series
        FROM shares
        WHERE city IN (SELECT city FROM shares WHERE week = (SELECT max(week) FROM weeks) AND place <= 5)
        ORDER BY series, x
        """,
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per day, destination, product and market with a search or a booking."""
        searches, bookings = _searches(given), _bookings(given)
        intents = given.keep(_intents(searches, given))
        searched = (
            intents.join(_matured(intents, bookings), how="left", on="intent_id")
            .group_by(*MART.grain)
            .agg(
                searches=nw.col("searches").sum(),
                intents=nw.len(),
                unique_searchers=nw.col("searcher").n_unique(),
                zero_result_intents=when_or_zero(nw.col("most_results") == 0, integer(1)).sum(),
                matured_bookings=nw.col("matured").sum(),
            )
        )
        booked = bookings.group_by(*MART.grain).agg(bookings=nw.col("booking_id").n_unique())
        return (
            nw.concat([searched, booked], how="diagonal")
            .group_by(*MART.grain)
            .agg(*(nw.col(name).sum() for name in _SUMS))
            .with_columns(
                searches_per_booking=ratio("intents", "bookings"),
                matured_searches_per_booking=ratio("intents", "matured_bookings"),
            )
            .select(*MART.all_columns)
        )

    def totals(self, given: Inputs) -> Frame:
        """Searches, straight from the events."""
        return (
            given["search"]
            .join(given.days, how="semi", left_on="event_on", right_on="output_on")
            .select(searches=nw.len())
        )


def _searches(given: Inputs) -> Frame:
    asked = given["search"].select(
        "visitor_id",
        "customer_id",
        "occurred_at",
        "event_id",
        "product",
        "point_of_sale",
        "origin",
        "destination",
        "start_on",
        "end_on",
        "result_count",
        searched_on="event_on",
        searcher=searcher(),
    )
    return with_origin_market(asked, given.places)


def _bookings(given: Inputs) -> Frame:
    """One row per item: the grain (the day being its own), `booking_id`, who and `occurred_at`."""
    return with_city(with_origin_market(given["booking"], given.places), given.places).select(
        "booking_id",
        "visitor_id",
        "customer_id",
        "occurred_at",
        *(n for n in MART.grain if n != MART.day),
        searched_on="event_on",
    )


def _intents(searches: Frame, given: Inputs) -> Frame:
    """One row per intent: the grain, `intent_id`, who, `started_at`, `searches` and the most results it saw."""
    wish = ["searched_on", "searcher", "product", "origin_market", "origin", "destination", "start_on", "end_on"]
    intents = (
        with_session(searches, wish)
        .group_by(*wish, "session")
        .agg(
            intent_id=nw.col("event_id").min(),
            started_at=nw.col("occurred_at").min(),
            visitor_id=nw.col("visitor_id").max(),
            customer_id=nw.col("customer_id").max(),
            searches=nw.len(),
            most_results=nw.col("result_count").max(),
        )
    )
    return with_city(intents, given.places).drop("origin", "start_on", "end_on", "session")


def _matured(intents: Frame, bookings: Frame) -> Frame:
    """`intent_id` of each intent that a booking counts for, and `matured` = 1.

    Intents and bookings of a person are laid out in order of time, so that each booking sees the last intent before it
    whatever their number; of a visitor's and a customer's last intent the later one counts.
    """
    begun = by_person(intents.with_columns(step=integer(0), at="started_at")).select(
        *_WHO_WANTS_WHERE, "step", "at", "intent_id", "searched_on", "started_at"
    )
    booking = ["booking_id", "city", "product", "booked_on"]
    made = by_person(
        bookings.with_columns(booked_on="searched_on")
        .group_by(*booking)
        .agg(nw.col("visitor_id", "customer_id").max(), at=nw.col("occurred_at").min())
        .with_columns(step=integer(1))
    ).select(*_WHO_WANTS_WHERE, "step", "at", "booking_id", "booked_on")
    order = ["at", "step", "intent_id"]
    last_intent = nw.col("intent_id", "searched_on", "started_at").fill_null(strategy="forward")
    return (
        nw.concat([begun.join(made, how="semi", on=_WHO_WANTS_WHERE), made], how="diagonal")
        .with_columns(last_intent.over(*_WHO_WANTS_WHERE, order_by=order))
        .filter(nw.col("step") == 1, days_between("searched_on", "booked_on") <= MATURES_AFTER_DAYS)
        .unique(subset=booking, keep="last", order_by=["started_at", "intent_id"])
        .select("intent_id")
        .unique()
        .with_columns(matured=integer(1))
    )
