"""conversion_funnel: how many of those who search go on to look, to book and to buy more, and how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, count, key, measure
from wayfare.analyses.expressions import Frame, days_between, integer, median, ratio, seconds_between
from wayfare.analyses.visits import by_person, searcher
from wayfare.contracts.events import BOOKING, PURCHASE, SEARCH, VIEW

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

WITHIN_DAYS = 30
STEPS = ("search", "view", "booking", "purchase")
_ROW = ("entered_on", "channel", "product")


class ConversionFunnel(BehaviorAnalysis):
    """Where do we lose visitors?

    A closed funnel of four steps in this order, as behavioral analytics draws it (Amplitude, Mixpanel): whoever reached
    a step also reached those before it, the first event of each step counts, and conversion has a deadline.

    - Entry: the first search of a searcher (a visitor, else a customer, else the search alone) for a product on a day.
      Whoever searches on another day or for another product enters again, so entries add up over rows; channel is
      that of the search, `unknown` where it names none.
    - View: the first look at something of that product, not before the entry. Booking: the first item of that product,
      not before the view. Purchase: the first ancillary, not before the booking. At the same instant counts as
      not before.
    - All by the same visitor or customer: an event of the visitor of the entry or of its customer. Where the entry
      names only one of the two, the steps that follow name the other: a visitor who searched, signed in at the view
      and booked on another device went all the way.
    - Each within 30 days of the entry, by its day. Until those are over, later events still move people on.
    - `step_rate` is reached / previous, `overall_rate` reached / entered. Medians are over those who reached the step.
    - Automated traffic is in it: see `sessions` for who that is.
    """

    owner = "marketing"
    tags = ("conversion", "daily")
    reads = (SEARCH, VIEW, BOOKING, PURCHASE)
    window = Window(after=WITHIN_DAYS)
    mart = Mart(
        day="entered_on",
        grain={
            "entered_on": key("Day of the search, in the agency's time zone", "date"),
            "channel": key("Channel of the search; unknown where it names none"),
            "product": key("What was searched for: flight, hotel, car or package"),
            "step": key("search, view, booking or purchase; no column adds up over it"),
        },
        columns={
            "step_number": measure("Place of the step, from 1", "bigint"),
            "entered": count("Entries; the same on each of the four steps"),
            "previous": count("Entries that reached the step before; entries on the first"),
            "reached": count("Entries that reached the step"),
            "step_rate": measure("reached / previous; null where nobody reached the step before"),
            "overall_rate": measure("reached / entered"),
            "median_seconds_from_previous": measure("Seconds from the step before, median; null where nobody reached"),
            "median_seconds_from_entry": measure("Seconds from the entry, median; null where nobody reached the step"),
        },
    )
    expect_input: ClassVar = {
        name: (Expect("ExpectColumnValuesToNotBeNull", {"column": "visitor_id", "mostly": 0.5}, severity="info"),)
        for name in ("search", "view")
    }
    expect_output = (
        Expect("ExpectColumnValuesToBeInSet", {"column": "step", "value_set": list(STEPS)}),
        Expect("ExpectColumnValuesToBeBetween", {"column": "reached", "min_value": 0}),
        *(
            Expect("ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": more, "column_B": less, "or_equal": True})
            for more, less in (("entered", "previous"), ("previous", "reached"))
        ),
    )
    picture = Picture(
        "Percent of entries that reached each step, by channel.",
        """
        SELECT step_number || ' ' || step AS x, 100.0 * sum(reached) / nullif(sum(entered), 0) AS y, channel AS series
        FROM bi.conversion_funnel
        WHERE is_complete
        GROUP BY x, channel
        ORDER BY channel, x
        """,
        mark="bar",
    )

    def analyze(self, given: Inputs) -> Frame:
        """Four rows per day, channel and product with a search."""
        entered = given.keep(_entries(given))
        viewed = given.keep(_next(entered, given["view"], "product"))
        booked = given.keep(_next(viewed, given["booking"], "product"))
        bought = given.keep(_next(booked, given["purchase"]))
        went_on = nw.concat(
            [_times(frame, step) for step, frame in zip(STEPS, (entered, viewed, booked, bought), strict=True)]
        )
        entries = given.keep(entered.group_by(*_ROW).agg(entered=nw.len()))
        steps = [entries.with_columns(step=nw.lit(step), step_number=integer(n)) for n, step in enumerate(STEPS, 1)]
        before = nw.col("reached").shift(1).over(*_ROW, order_by="step_number")
        return (
            nw.concat(steps)
            .join(_reached(went_on), how="left", on=[*_ROW, "step"])
            .with_columns(nw.col("reached").fill_null(0))
            .with_columns(previous=nw.when(nw.col("step_number") == 1).then(nw.col("entered")).otherwise(before))
            .with_columns(step_rate=ratio("reached", "previous"), overall_rate=ratio("reached", "entered"))
            .select(*self.mart.all_columns)
        )

    def totals(self, given: Inputs) -> Frame:
        """Who searched for what on each day, once for every step."""
        return (
            given["search"]
            .join(given.days, how="semi", left_on="event_on", right_on="output_on")
            .select("event_on", "product", searcher=searcher())
            .unique()
            .select(entered=nw.len() * len(STEPS))
        )


def _entries(given: Inputs) -> Frame:
    """The first search of each searcher for each product on each output day: where, who, when, and the step before."""
    return (
        given["search"]
        .join(given.days, how="semi", left_on="event_on", right_on="output_on")
        .with_columns(searcher=searcher())
        .unique(subset=["searcher", "event_on", "product"], keep="first", order_by=["occurred_at", "event_id"])
        .select(
            "product",
            "visitor_id",
            "customer_id",
            entry_id="event_id",
            entered_on="event_on",
            channel=nw.col("channel").fill_null("unknown"),
            entered_at="occurred_at",
            previous_at="occurred_at",
            at="occurred_at",
        )
    )


def _next(reached: Frame, events: Frame, *alike: str) -> Frame:
    """Those who go on to the step of these events, each with the first of them: columns as of `_entries`.

    Both are laid out in order of time, so that each sees the next event whatever their number; `alike` must be equal.
    """
    by = ["person", *alike]
    met = events.select(*alike, "visitor_id", "customer_id", at="occurred_at", met_id="event_id", met_on="event_on")
    waiting, coming = by_person(reached.with_columns(turn=integer(0))), by_person(met.with_columns(turn=integer(1)))
    columns = [*by, "entry_id", "at", "turn", "met_id"]
    upcoming = nw.col("met_id").fill_null(strategy="backward").over(*by, order_by=["at", "turn", "met_id"])
    found = (
        nw.concat([waiting.join(coming, how="semi", on=by), coming], how="diagonal")
        .select(*columns)
        .with_columns(met_id=upcoming)
        .filter(nw.col("turn") == 0)
        .select("entry_id", "met_id")
        .unique()
    )
    return (
        found.join(
            met.select("met_id", "met_on", met_at="at", by_visitor="visitor_id", by_customer="customer_id"), on="met_id"
        )
        .unique(subset=["entry_id"], keep="first", order_by=["met_at", "met_id"])
        .join(reached, on="entry_id")
        .filter(days_between("entered_on", "met_on") <= WITHIN_DAYS)
        .select(
            *_ROW,
            "entry_id",
            "entered_at",
            visitor_id=nw.coalesce("visitor_id", "by_visitor"),
            customer_id=nw.coalesce("customer_id", "by_customer"),
            previous_at="at",
            at="met_at",
        )
    )


def _times(reached: Frame, step: str) -> Frame:
    """How long it took each who reached a step, in seconds."""
    return reached.select(
        *_ROW,
        step=nw.lit(step),
        from_previous=seconds_between("previous_at", "at"),
        from_entry=seconds_between("entered_at", "at"),
    )


def _reached(times: Frame) -> Frame:
    """How many reached each step, and how long it took them."""
    by = [*_ROW, "step"]
    found = times.group_by(*by).agg(reached=nw.len())
    for since in ("previous", "entry"):
        middle = median(times, by, f"from_{since}").rename({f"from_{since}": f"median_seconds_from_{since}"})
        found = found.join(middle, on=by)
    return found
