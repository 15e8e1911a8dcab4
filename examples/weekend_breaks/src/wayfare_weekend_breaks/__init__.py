"""weekend_breaks: how much of what is sold is a short trip over a weekend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, count, key, measure
from wayfare.analyses.expressions import UNKNOWN_COUNTRY, Frame, days_between, integer, ratio, when_or_zero
from wayfare.contracts.events import BOOKING

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

LONGEST_NIGHTS = 3
THURSDAY, SATURDAY = 4, 6


class WeekendBreaks(BehaviorAnalysis):
    """How many of the trips sold are weekend breaks?

    An item that begins on a Thursday, Friday or Saturday and ends one to three nights later is a weekend break. It
    posts to the day it was booked, in the market it was sold in; what is cancelled later stays counted. Items that do
    not say when they end are trips, but not breaks.
    """

    owner = "marketing"
    tags = ("trips", "daily")
    reads = (BOOKING,)
    window = Window()
    mart = Mart(
        day="booked_on",
        grain={
            "booked_on": key("Day of the booking, in the agency's time zone", "date"),
            "point_of_sale": key("Market it was sold in, ISO 3166-1 alpha-2; ZZ where unknown"),
        },
        columns={
            "trips": count("Items sold"),
            "weekend_breaks": count("Items from Thursday, Friday or Saturday, of 1 to 3 nights"),
            "weekend_share": measure("weekend_breaks / trips"),
        },
    )
    expect_output = (
        Expect(
            "ExpectColumnPairValuesAToBeGreaterThanB",
            {"column_A": "trips", "column_B": "weekend_breaks", "or_equal": True},
        ),
    )
    picture = Picture(
        "Weekend breaks among the trips sold, by week, percent.",
        """
        SELECT date_trunc('week', booked_on)::date AS x, 100.0 * sum(weekend_breaks) / sum(trips) AS y
        FROM bi.weekend_breaks
        GROUP BY x
        ORDER BY x
        """,
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per day and market with anything sold."""
        nights = days_between("start_on", "end_on")
        is_break = nw.col("start_on").dt.weekday().is_between(THURSDAY, SATURDAY) & nights.is_between(1, LONGEST_NIGHTS)
        return (
            given["booking"]
            .with_columns(
                booked_on=nw.col("event_on"),
                point_of_sale=nw.col("point_of_sale").fill_null(UNKNOWN_COUNTRY),
                is_break=when_or_zero(is_break, integer(1)),
            )
            .group_by("booked_on", "point_of_sale")
            .agg(trips=nw.len(), weekend_breaks=nw.col("is_break").sum())
            .with_columns(weekend_share=ratio("weekend_breaks", "trips"))
        )

    def totals(self, given: Inputs) -> Frame:
        """Items of the days asked for, straight from the events."""
        asked = given["booking"].join(given.days, how="semi", left_on="event_on", right_on="output_on")
        return asked.select(trips=nw.len())
