"""traffic_anomalies: days unlike those before them, and sessions unlike those of people."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, count, key, measure
from wayfare.analyses.expressions import (
    UNUSUAL,
    Frame,
    converted,
    integer,
    microseconds,
    plus_days,
    ratio,
    robust_z,
    rounded,
    seconds_between,
    total,
    when_or_zero,
    with_rate,
)
from wayfare.analyses.visits import AUTOMATED_EVENTS, AUTOMATED_SECONDS, activity, sessionized
from wayfare.contracts.events import BOOKING, OFFER, PURCHASE, SEARCH, VIEW

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

WEEKS, LEAST_WEEKS = 8, 4
SERIES = {
    "searches": ("searches", None),
    "bookings": ("bookings", None),
    "revenue": ("revenue", None),
    "zero_result_rate": ("zero_results", "searches"),
    "look_to_book": ("searches", "bookings"),
}
"""Numerator and denominator of each series of days."""
AUTOMATED = "automated_session"
REGULAR_EVENTS, REGULAR_VARIATION = 20, 0.2
FAST_EVENTS, FAST_SECONDS = 50, 3
_SESSION = ("started_on", "searcher", "session")
_FLAGS = ("is_too_long", "is_too_deep", "is_too_fast", "is_too_regular")


class TrafficAnomalies(BehaviorAnalysis):
    """Is this traffic real, and is today unusual?

    Every day has a row of each of five series: searches, bookings (distinct on the day), revenue (price of items and
    ancillaries sold, converted at the last rate published up to their day), zero_result_rate (searches without a
    result / searches) and look_to_book (searches / bookings). The revenue of a day on which anything sold has no rate
    is null, and so not among the known weeks of another.

    - A day is judged against the same weekday of the 8 weeks before it: robust z = 0.6745 (x - median) / MAD
      (Iglewicz & Hoaglin, How to Detect and Handle Outliers, 1993), anomalous beyond 3.5 on either side. The weekday
      takes the weekly season out; median and MAD keep an odd week among the eight from hiding another.
    - A day without events is a 0 of searches, bookings and revenue, and no value of a rate. What lies before the first
      search or sale of those 8 weeks is unknown. Below 4 known weeks, or with a MAD of 0, there is no z and no flag.
    - Automated traffic is in the series: that is what makes some days odd.

    Every session flagged as automated has a row too (series `automated_session`, on the day it starts, as `sessions`
    tells sessions apart), with the evidence:

    - Too long: over 24 hours, or going on without a pause since before yesterday; too deep: over 5,000 events.
    - Too fast: events at 50 instants or more, less than 3 seconds apart on average. Half of all page visits of people
      last over 10 seconds (Weinreich et al., ACM Trans. on the Web 2, 2008).
    - Too regular: at 20 instants or more, the gaps between them having a coefficient of variation below 0.2. It is 0
      for a clock, 1 for events at random and above 1 for people, who act in bursts (Goh & Barabasi, Europhysics
      Letters 81, 2008); the spread of gaps tells robots from people (Tan & Kumar, Data Mining and Knowledge Discovery
      6, 2002).
    - Events of one millisecond, such as the items of a booking, are one instant.
    """

    owner = "operations"
    tags = ("traffic", "alerts", "daily")
    reads = (SEARCH, VIEW, OFFER, BOOKING, PURCHASE)
    window = Window(before=7 * WEEKS, after=1)
    mart = Mart(
        day="observed_on",
        grain={
            "observed_on": key("Day of the value, or on which the session starts, in the agency's time zone", "date"),
            "series": key(
                "searches, bookings, revenue, zero_result_rate, look_to_book or automated_session; no column adds up"
                " over it"
            ),
            "session_id": key("event_id of the session's first event; empty for a day's value"),
        },
        columns={
            "value": measure(
                "The day's value: revenue in the reporting currency's minor units, null where a sale has no rate;"
                " events of the session"
            ),
            "numerator": count(
                "What the value counts, or its numerator; revenue as in value; a booking sold on two days is on both",
                nullable=True,
            ),
            "denominator": count(
                "Denominator of a rate: searches, or bookings, of which one sold on two days is on both", nullable=True
            ),
            "known_weeks": measure("Of the 8 weeks before, those with a value on this weekday", "bigint"),
            "median": measure("Median of those values, in their unit"),
            "mad": measure("Median of their absolute deviations from the median, in their unit"),
            "z": measure("0.6745 (value - median) / mad; null below 4 known weeks or with a mad of 0"),
            "is_anomalous": measure("z is beyond 3.5 on either side; always for a session", "boolean"),
            "searcher": measure("Whose session: v: and the visitor, c: and the customer, e: and the event", "text"),
            "duration_seconds": measure("Seconds from the session's first event to its last", "bigint"),
            "instants": measure("Instants at which something happened in the session", "bigint"),
            "mean_gap_seconds": measure("Seconds from one instant to the next, mean; null with a single one"),
            "gap_variation": measure("Coefficient of variation of those seconds: standard deviation / mean"),
            "is_too_long": measure("Over 24 hours, or going on since before yesterday", "boolean"),
            "is_too_deep": measure("Over 5,000 events", "boolean"),
            "is_too_fast": measure("50 instants or more, less than 3 seconds apart on average", "boolean"),
            "is_too_regular": measure("20 instants or more, with a gap_variation below 0.2", "boolean"),
        },
    )
    expect_input: ClassVar = {
        "search": (Expect("ExpectColumnValuesToNotBeNull", {"column": "visitor_id", "mostly": 0.5}, severity="info"),),
    }
    expect_output = (
        Expect("ExpectColumnValuesToBeInSet", {"column": "series", "value_set": [*SERIES, AUTOMATED]}),
        Expect("ExpectColumnValuesToBeBetween", {"column": "known_weeks", "min_value": 0, "max_value": WEEKS}),
        Expect("ExpectColumnValuesToBeBetween", {"column": "mad", "min_value": 0}),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "is_anomalous"}),
    )
    picture = Picture(
        "Searches of each day, and the median of the same weekday in the 8 weeks before.",
        """
        SELECT observed_on AS x, value AS y, 'searches' AS series
        FROM bi.traffic_anomalies
        WHERE series = 'searches'
        UNION ALL
        SELECT observed_on, median, 'median of the weekday'
        FROM bi.traffic_anomalies
        WHERE series = 'searches' AND known_weeks >= 4
        ORDER BY series, x
        """,
    )

    def analyze(self, given: Inputs) -> Frame:
        """Five rows per day, and one per automated session that starts on it."""
        return nw.concat([_days(given), _sessions(given)], how="diagonal").select(*self.mart.all_columns)

    def totals(self, given: Inputs) -> Frame:
        """Searches and bookings of the days: the denominators of the two rates."""
        on = {"left_on": "event_on", "right_on": "output_on"}
        searched, booked = (given[name].join(given.days, how="semi", **on) for name in ("search", "booking"))
        bookings = booked.select("event_on", "booking_id").unique().select(bookings=nw.len())
        return (
            searched.select(searches=nw.len())
            .join(bookings, how="cross")
            .select(denominator=nw.col("searches") + nw.col("bookings"))
        )


def _days(given: Inputs) -> Frame:
    """The five series of each output day, judged."""
    looks = given.keep(_looks(given))
    rows = given.keep(nw.concat([_series(looks, name, *parts) for name, parts in SERIES.items()]))
    return (
        rows.filter(nw.col("is_latest"))
        .join(robust_z(rows, ["observed_on", "series"], "value", LEAST_WEEKS), on=["observed_on", "series"])
        .with_columns(
            session_id=nw.lit(""),
            known_weeks="known",
            z=rounded(nw.col("z"), 9),
            is_anomalous=(nw.col("z").abs() > UNUSUAL).fill_null(value=False),
        )
        .drop("is_latest", "known", "latest")
    )


def _looks(given: Inputs) -> Frame:
    """What each output day and the same weekday of the weeks before it had; `is_known` where anything is known."""
    per_day = given.keep(_per_day(given))
    looks = nw.concat(
        [
            given.days.select("output_on", event_on=plus_days("output_on", -7 * back), is_latest=nw.lit(back == 0))
            for back in range(WEEKS + 1)
        ]
    )
    in_reach = (nw.col("event_on") <= nw.col("output_on")) & (nw.col("event_on") >= plus_days("output_on", -7 * WEEKS))
    first = (
        per_day.select("event_on")
        .join(given.days, how="cross")
        .filter(in_reach)
        .group_by("output_on")
        .agg(first_on=nw.col("event_on").min())
    )
    return (
        looks.join(first, how="left", on="output_on")
        .join(per_day, how="left", on="event_on")
        .with_columns(
            *(nw.col(name).fill_null(0) for name in _COUNTED),
            is_known=nw.col("is_latest") | (nw.col("event_on") >= nw.col("first_on")),
        )
        .with_columns(revenue=nw.when(nw.col("unrated") == 0).then(nw.col("revenue")))
    )


_COUNTED = ("searches", "zero_results", "bookings", "revenue", "unrated")


def _per_day(given: Inputs) -> Frame:
    """What happened on each day with a search or a sale; `unrated` sales are those without a rate."""
    sold = with_rate(activity(given, BOOKING, PURCHASE), given.rates, "event_on").with_columns(
        spend=converted(nw.col("price"))
    )
    return (
        nw.concat(
            [
                given["search"]
                .group_by("event_on")
                .agg(searches=nw.len(), zero_results=when_or_zero(nw.col("result_count") == 0, integer(1)).sum()),
                given["booking"].group_by("event_on").agg(bookings=nw.col("booking_id").n_unique()),
                sold.group_by("event_on").agg(
                    revenue=nw.col("spend").sum(), unrated=nw.col("spend").is_null().cast(nw.Int64()).sum()
                ),
            ],
            how="diagonal",
        )
        .group_by("event_on")
        .agg(total(*_COUNTED))
    )


def _series(looks: Frame, name: str, numerator: str, denominator: str | None) -> Frame:
    """One series of the output days and the weeks before them; null where nothing is known."""
    is_known = nw.col("is_known")
    rows = looks.select(
        "is_latest",
        observed_on="output_on",
        series=nw.lit(name),
        numerator=nw.when(is_known).then(nw.col(numerator)),
        denominator=nw.when(is_known).then(nw.col(denominator) if denominator else nw.lit(None, nw.Int64())),
    )
    value = ratio("numerator", "denominator") if denominator else nw.col("numerator").cast(nw.Float64())
    return rows.with_columns(value=value)


def _sessions(given: Inputs) -> Frame:
    """Sessions flagged as automated, with the evidence; only those of whoever is busy enough are looked at."""
    near = nw.concat([given.days.select(event_on=plus_days("output_on", n)) for n in (-2, -1, 0, 1)]).unique()
    events = (
        activity(given, *TrafficAnomalies.reads)
        .select("event_id", "occurred_at", "event_on", "searcher")
        .join(near, how="semi", on="event_on")
    )
    busy = events.group_by("searcher", "event_on").agg(n=nw.len()).filter(nw.col("n") >= REGULAR_EVENTS // 2)
    placed = given.keep(sessionized(events.join(given.keep(busy), how="semi", on="searcher")))
    rows = _evidence(placed)
    return rows.filter(nw.any_horizontal(*(nw.col(flag) for flag in _FLAGS), ignore_nulls=False)).with_columns(
        series=nw.lit(AUTOMATED), is_anomalous=nw.lit(value=True)
    )


def _evidence(placed: Frame) -> Frame:
    """Each session with how fast and how regular it is, from the gaps between its instants."""
    previous = nw.col("occurred_at").shift(1).over(*_SESSION, order_by=["occurred_at", "event_id"])
    instants, seconds, variation = nw.col("instants"), nw.col("mean_gap_seconds"), nw.col("gap_variation")
    gaps, total = nw.col("gaps"), nw.col("gap").cast(nw.Float64())
    return (
        placed.with_columns(previous_at=previous)
        .with_columns(gap=((microseconds("occurred_at") - microseconds("previous_at")) // 1_000).fill_null(0))
        .with_columns(gaps=when_or_zero(nw.col("gap") > 0, integer(1)), square=nw.col("gap") * nw.col("gap"))
        .group_by(*_SESSION)
        .agg(
            nw.col("gaps", "gap", "square").sum(),
            event_id=nw.when(nw.col("is_first")).then(nw.col("event_id")).max(),
            started_at=nw.col("occurred_at").min(),
            ended_at=nw.col("occurred_at").max(),
            value=nw.len(),
            is_continued=nw.col("is_continued").any(),
        )
        .with_columns(
            observed_on="started_on",
            session_id=nw.col("event_id").cast(nw.String()),
            value=nw.col("value").cast(nw.Float64()),
            instants=gaps + 1,
            duration_seconds=seconds_between("started_at", "ended_at"),
            mean_gap_seconds=nw.when(gaps > 0).then(total / gaps / 1_000),
            spread=nw.when(gaps > 0).then(gaps * nw.col("square").cast(nw.Float64()) / total / total - 1),
        )
        .with_columns(gap_variation=rounded(nw.when(gaps > 0).then(nw.max_horizontal("spread", nw.lit(0.0)).sqrt()), 9))
        .with_columns(
            is_too_long=nw.col("is_continued") | (nw.col("duration_seconds") > AUTOMATED_SECONDS),
            is_too_deep=nw.col("value") > AUTOMATED_EVENTS,
            is_too_fast=((instants >= FAST_EVENTS) & (seconds < FAST_SECONDS)).fill_null(value=False),
            is_too_regular=((instants >= REGULAR_EVENTS) & (variation < REGULAR_VARIATION)).fill_null(value=False),
        )
        .drop("spread", "gaps", "gap", "square", "is_continued", "event_id", "session", "started_on")
    )
