"""customer_value: what each customer brought in the two years up to a day, and is expected to bring in the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, key, measure, stock
from wayfare.analyses.bookings import booking_changes, known_on
from wayfare.analyses.expressions import Frame, converted, rounded_quotient, sum_if_complete, with_rate
from wayfare.analyses.purchases import HISTORY_COLUMNS, expected, histories
from wayfare.contracts.events import BOOKING, CANCELLATION, PURCHASE, REFUND

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

BEFORE = 730
AHEAD = 365
SCORES = 5
UNKNOWN = "(unknown)"

MART = Mart(
    day="as_of_on",
    vintage=True,
    grain={
        "as_of_on": key("Day at whose end this was known, in the agency's time zone", "date"),
        "customer_id": key("Known customer; (unknown) for all that was sold to no known customer"),
    },
    columns={
        "bookings": stock("Bookings made in the window, cancelled or not; null for (unknown)"),
        "net_bookings": stock("Bookings of the window not wholly cancelled; null for (unknown)"),
        "net_minor": stock("Sold less given back, reporting currency's minor units; null where an amount has no rate"),
        "margin_minor": stock("net less cost, reporting currency's minor units; null where an amount has no rate"),
        "recency_days": measure("Days since the latest purchase", "bigint"),
        "recency_score": measure("Quintile of recency, 5 for the most recent", "bigint"),
        "frequency_score": measure("Quintile of net bookings, 5 for the most", "bigint"),
        "monetary_score": measure("Quintile of net, 5 for the most", "bigint"),
        "repeat_purchases": stock("Days with a purchase after the first: frequency or x of the models"),
        "first_to_last_days": measure("Days from first to last purchase: recency or t_x of the models", "bigint"),
        "first_to_now_days": measure("Days from first purchase to the as-of day: T of the models", "bigint"),
        "repeat_margin_minor": stock("Net margin of the repeat purchases, reporting currency's minor units"),
        "mean_repeat_margin_minor": measure("repeat_margin / repeat_purchases, the value of the models", "bigint"),
        "alive_probability": measure("Probability that the customer will ever buy again, 0 to 1"),
        "expected_purchases": measure("Purchases expected in the next 365 days"),
        "expected_purchase_margin_minor": measure("Net margin expected of a purchase to come", "bigint"),
        "expected_margin_minor": stock("expected_purchases x expected_purchase_margin"),
        "holdout_days": measure("Length of the hold-out, the same on every row of the day", "bigint"),
        "holdout_purchases": measure("Purchases in the hold-out by customers from before it, all together", "bigint"),
        "holdout_expected_purchases": measure("What the model expected of them"),
        "holdout_mean_absolute_error": measure("Purchases by which it was off for a customer, mean"),
        "holdout_margin_minor": measure("Net margin of the purchases in the hold-out", "bigint"),
        "holdout_expected_margin_minor": measure("What the models expected of it", "bigint"),
    },
)


class CustomerValue(BehaviorAnalysis):
    """What is a customer worth?

    For every as-of day, each known customer who was sold something in the 730 days before it or on it, and one row for
    what was sold to no known customer. Everything is as known at the end of the as-of day and within those days: a
    cancellation or refund of something sold before them is left out. Amounts are converted at the last rate published
    up to the day of the sale. Discounting is left to the reader.

    - A purchase is all net bookings made by the customer on a day (a booking is made on the day of its first item, and
      net while a unit of it is left); its margin is net less cost of these bookings and of the ancillaries under them
      that name the customer.
    - Recency, frequency (net bookings) and monetary value (net) are scored 1 to 5 among the customers with a purchase:
      1 + the fifths of them that are strictly worse, so that equals score equally and a base of one-time buyers is not
      spread over all scores (quintiles: Hughes, Strategic Database Marketing, 1994; on ties: Miglautsch, J. Database
      Marketing 8, 2000).
    - Expected purchases and the probability of being alive are those of BG/NBD (Fader, Hardie & Lee, Marketing Science
      24, 2005), the margin of a purchase that of Gamma-Gamma (Fader & Hardie, 2013), fitted to all customers of the
      as-of day by maximum likelihood. The inputs are their frequency (repeat purchases, by days), recency (first to
      last) and T (first to now), on what the window shows: a purchase before it counts as none. The value is the mean
      margin of repeat purchases. BG/NBD lets nobody drop out before a repeat purchase: alive is 1 until then.
    - Hold-out: the same models fitted to the first two thirds of the days since the first booking of the window, and
      what they expect of the last third next to what came; all customers of the as-of day together. What was cancelled
      by the as-of day is out of both. With less than a year of history, 365 days is far beyond what could be tried.
    - Nothing is expected (null) with fewer than 30 customers with a repeat purchase before the hold-out (for the
      margin, 30 whose repeat purchases also earned a positive margin), where a fit does not settle or has no mean, or
      of customers whose repeat purchases lost money.
    """

    owner = "marketing"
    tags = ("customers", "daily")
    reads = (BOOKING, PURCHASE, CANCELLATION, REFUND)
    window = Window(before=BEFORE)
    mart = MART
    expect_input: ClassVar = {
        "booking": (
            Expect("ExpectColumnValuesToNotBeNull", {"column": "customer_id", "mostly": 0.2}, severity="info"),
        ),
    }
    expect_output = (
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0})
            for column in ("bookings", "net_bookings", "recency_days", "repeat_purchases", "expected_purchases")
        ),
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": f"{name}_score", "min_value": 1, "max_value": SCORES})
            for name in ("recency", "frequency", "monetary")
        ),
        Expect("ExpectColumnValuesToBeBetween", {"column": "alive_probability", "min_value": 0, "max_value": 1}),
        Expect(
            "ExpectColumnPairValuesAToBeGreaterThanB",
            {"column_A": "first_to_now_days", "column_B": "first_to_last_days", "or_equal": True},
        ),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "net_minor", "mostly": 0.95}, severity="warning"),
    )
    picture = Picture(
        "Customers of the last day in ten groups by expected margin, and the share of it each should bring.",
        """
        SELECT 10 * tenth AS x,
          100.0 * sum(expected_margin_minor) / nullif(sum(sum(expected_margin_minor)) OVER (), 0) AS y,
          'percent of the margin expected in 365 days' AS series
        FROM (
          SELECT expected_margin_minor, ntile(10) OVER (ORDER BY expected_margin_minor DESC) AS tenth
          FROM bi.customer_value
          WHERE as_of_on = (SELECT max(as_of_on) FROM bi.customer_value) AND expected_margin_minor IS NOT NULL
        ) AS customer
        GROUP BY tenth
        ORDER BY x
        """,
        mark="bar",
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per as-of day and customer who was sold something in its window, and one for no known customer."""
        changes = given.keep(_changes(given))
        return given.by_days(lambda few: self._values(few, changes))

    def _values(self, given: Inputs, changes: Frame) -> Frame:
        customers = given.keep(histories(given, changes, BEFORE))
        forecasts, holdouts = expected(customers, given, AHEAD)
        rows = _scored(customers).join(forecasts, how="left", on=list(HISTORY_COLUMNS))
        margin = nw.col("expected_purchase_margin")
        return (
            nw.concat([rows, _unknown(changes, given)], how="diagonal")
            .join(holdouts, how="left", on="as_of_on")
            .with_columns(
                net_minor="net",
                margin_minor="margin",
                recency_days="latest_days",
                mean_repeat_margin_minor=rounded_quotient(nw.col("repeat_margin_minor"), nw.col("repeat_purchases")),
                expected_purchase_margin_minor=margin.cast(nw.Int64()),
                expected_margin_minor=(nw.col("expected_purchases") * margin).round(0).cast(nw.Int64()),
            )
            .select(*self.mart.all_columns)
        )

    def totals(self, given: Inputs) -> Frame:
        """Bookings made by known customers, and net and margin of all sales, in the windows."""
        days, by = given.days.select(as_of_on="output_on"), ["as_of_on", "customer_id"]
        sold = given["booking"].filter(_IS_KNOWN)
        made = known_on(
            sold.select("customer_id", "booking_id", changed_on="event_on", since_on="event_on"), days, BEFORE
        )
        values = known_on(_changes(given), days, BEFORE).group_by(by).agg(*_sums("net", "margin"))
        return (
            made.select(*by, "booking_id")
            .unique()
            .select(bookings=nw.len())
            .join(values.select(net_minor=nw.col("net").sum(), margin_minor=nw.col("margin").sum()), how="cross")
        )


_IS_KNOWN = nw.col("customer_id") != UNKNOWN
"""Not where it is null, nor for a customer whose id is the one that stands for no known customer."""


def _sums(*columns: str) -> list[nw.Expr]:
    return [sum_if_complete(c) for c in columns]


def _changes(given: Inputs) -> Frame:
    """Changes of bookings, net and margin in the reporting currency."""
    return with_rate(booking_changes(given), given.rates, "rate_on").select(
        "booking_id",
        "changed_on",
        "since_on",
        "booked_on",
        "booked_at",
        "items",
        "units",
        customer_id=nw.when(_IS_KNOWN).then(nw.col("customer_id")),
        net=converted(nw.col("net")),
        margin=converted(nw.col("margin")),
    )


def _scored(customers: Frame) -> Frame:
    """Each customer with a purchase against the others of the day."""
    has_bought = ~nw.col("latest_days").is_null()

    def score(column: str, *, descending: bool = False) -> nw.Expr:
        value = nw.when(has_bought).then(nw.col(column))
        worse = value.rank("min", descending=descending).over("as_of_on") - 1
        return nw.when(~value.is_null()).then(worse * SCORES // value.count().over("as_of_on") + 1)

    return customers.drop("holdout_days").with_columns(
        recency_score=score("latest_days", descending=True),
        frequency_score=score("net_bookings"),
        monetary_score=score("net"),
    )


def _unknown(changes: Frame, given: Inputs) -> Frame:
    """What was sold to no known customer, by as-of day."""
    unknown = changes.filter(nw.col("customer_id").is_null())
    by_change = unknown.group_by("changed_on", "since_on").agg(*_sums("net", "margin"))
    return (
        known_on(by_change, given.days.select(as_of_on="output_on"), BEFORE)
        .group_by("as_of_on")
        .agg(*_sums("net", "margin"))
        .with_columns(customer_id=nw.lit(UNKNOWN))
    )
