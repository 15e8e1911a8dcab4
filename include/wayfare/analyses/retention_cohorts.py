"""retention_cohorts: of the customers who first booked in a month, how many book again, month by month."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import (
    EVER,
    BehaviorAnalysis,
    Every,
    Expect,
    Mart,
    Picture,
    Window,
    count,
    distinct,
    key,
    measure,
)
from wayfare.analyses.bookings import booking_changes, bookings
from wayfare.analyses.expressions import Frame, integer, or_zero, period_of, ratio, when_or_zero
from wayfare.contracts.events import BOOKING, CANCELLATION

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs


class RetentionCohorts(BehaviorAnalysis):
    """Do customers come back, and after how many months?

    For every month with a booking, and every month from it to that of the last day of events.

    - A cohort is the customers whose first booking was made in the month, whether or not it was cancelled later: the
      month a customer is acquired in never changes with what comes after (Fader & Hardie, J. Interactive Marketing 23,
      2009). A booking is made on the day of its first item.
    - Returned are those of the cohort with a net booking made in exactly that month, one of which a unit is left;
      in month 0 the first booking itself counts. Returned or later are those with one in that month or any after it,
      as far as is known: who skips a month is not lost yet (the rolling retention of product analytics).
    - A month that is not over before the last day of events has a row, whose returned customers and rates are null.
    - Bookings without a customer belong to no cohort. They are counted in month 0 of the month they were made in; so
      customers and these bookings together are all that was booked.
    """

    owner = "marketing"
    tags = ("customers", "monthly")
    reads = (BOOKING, CANCELLATION)
    window = Window(before=EVER, after=EVER)
    mart = Mart(
        day="cohort_on",
        every=Every.MONTH,
        grain={
            "cohort_on": key("First day of the month of the first booking, in the agency's time zone", "date"),
            "months_since": key("Months from that month to the one looked at; 0 is the month itself", "integer"),
        },
        columns={
            "first_bookings": count("Customers who booked for the first time; 0 but in month 0, so that it sums"),
            "unknown_bookings": count("Bookings of the month by no known customer; 0 but in month 0"),
            "cohort_size": distinct("Customers of the cohort, the same in each of its months"),
            "returned": distinct(
                "Customers of the cohort with a net booking made in this month; null until it is over"
            ),
            "returned_or_later": distinct("Those with one in this month or later, so far; null until it is over"),
            "returned_rate": measure("returned / cohort_size; null without a cohort"),
            "returned_or_later_rate": measure("returned_or_later / cohort_size; null without a cohort"),
        },
    )
    expect_input: ClassVar = {
        "booking": (
            Expect("ExpectColumnValuesToNotBeNull", {"column": "customer_id", "mostly": 0.2}, severity="info"),
        ),
    }
    expect_output = (
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0})
            for column in ("months_since", "first_bookings", "unknown_bookings")
        ),
        *(
            Expect("ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": more, "column_B": less, "or_equal": True})
            for more, less in (("cohort_size", "returned_or_later"), ("returned_or_later", "returned"))
        ),
    )
    picture = Picture(
        "Customers who book again, by months since their first booking, percent of all cohorts that are old enough.",
        """
        SELECT months_since AS x, 100.0 * sum(said.customers) / sum(cohort_size) AS y, said.series
        FROM bi.retention_cohorts,
          LATERAL (VALUES ('in this month', returned), ('in this month or later', returned_or_later))
            AS said (series, customers)
        WHERE months_since > 0 AND said.customers IS NOT NULL
        GROUP BY months_since, said.series
        HAVING sum(cohort_size) > 0
        ORDER BY x, series
        """,
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per month with a booking and month since, up to the last day of events."""
        made = given.keep(_made(given))
        known = made.filter(~nw.col("customer_id").is_null())
        is_first, is_over = nw.col("months_since") == 0, nw.col("is_over")
        cohort = ["cohort_on"]
        sizes = known.group_by(cohort).agg(cohort_size=nw.col("customer_id").n_unique())
        unknown = made.filter(nw.col("customer_id").is_null()).group_by(cohort).agg(unknown=nw.len())
        later = or_zero("last_seen").cum_sum().over(cohort, order_by="months_left")
        return (
            _cells(made, given)
            .join(sizes, how="left", on=cohort)
            .join(unknown, how="left", on=cohort)
            .join(_returned(known), how="left", on=["cohort_on", "month_on"])
            .with_columns(
                cohort_size=or_zero("cohort_size"),
                first_bookings=when_or_zero(is_first, or_zero("cohort_size")),
                unknown_bookings=when_or_zero(is_first, or_zero("unknown")),
                returned=nw.when(is_over).then(or_zero("returned")),
                returned_or_later=nw.when(is_over).then(later),
            )
            .with_columns(
                returned_rate=ratio("returned", "cohort_size"),
                returned_or_later_rate=ratio("returned_or_later", "cohort_size"),
            )
            .select(*self.mart.all_columns)
        )

    def totals(self, given: Inputs) -> Frame:
        """Distinct customers, and bookings of no known customer, whose first item was booked in the months."""

        def begun(items: Frame, what: str) -> Frame:
            return (
                items.group_by(what)
                .agg(booked_on=nw.col("event_on").min())
                .select(output_on=period_of("booked_on", Every.MONTH))
                .join(given.days, how="semi", on="output_on")
            )

        is_unknown = nw.col("customer_id").is_null()
        customers = begun(given["booking"].filter(~is_unknown), "customer_id").select(first_bookings=nw.len())
        unknown = begun(given["booking"].filter(is_unknown), "booking_id").select(unknown_bookings=nw.len())
        return customers.join(unknown, how="cross")


def _made(given: Inputs) -> Frame:
    """Bookings with the month they were made in, whether they are net, and the month of the customer's first.

    The cohort of bookings without a customer is the month they were made in.
    """
    is_known = ~nw.col("customer_id").is_null()
    return (
        bookings(booking_changes(given), ["customer_id"])
        .filter(nw.col("items") > 0)
        .select("customer_id", "is_net", month_on=period_of("booked_on", Every.MONTH))
        .with_columns(first_on=nw.col("month_on").min().over("customer_id"))
        .with_columns(cohort_on=nw.when(is_known).then(nw.col("first_on")).otherwise(nw.col("month_on")))
    )


def _returned(known: Frame) -> Frame:
    """By cohort and month: customers with a net booking in it, and those of them who had none later."""
    cell = ["cohort_on", "month_on"]
    active = known.filter(nw.col("is_net")).select(*cell, "customer_id").unique()
    last_on = nw.col("month_on").max().over("customer_id")
    return (
        active.with_columns(is_last=nw.col("month_on") == last_on)
        .group_by(cell)
        .agg(returned=nw.len(), last_seen=when_or_zero(nw.col("is_last"), integer(1)).sum())
    )


def _cells(made: Frame, given: Inputs) -> Frame:
    """Every month with a booking, with each month from it to that of the last day of events."""
    import pyarrow as pa

    month = Every.MONTH
    months = [month.first(given.first_on)]
    while (following := month.last(months[-1]) + dt.timedelta(1)) <= given.horizon:
        months.append(following)
    calendar = given.frame(
        pa.table(
            {
                "month_on": pa.array(months, pa.date32()),
                "place": pa.array(range(len(months)), pa.int64()),
                "months_left": pa.array(range(len(months), 0, -1), pa.int64()),
                "is_over": pa.array([month.last(m) < given.horizon for m in months], pa.bool_()),
            }
        )
    )
    first = calendar.select(cohort_on="month_on", first="place")
    return (
        made.select(cohort_on="month_on")
        .unique()
        .join(first, on="cohort_on")
        .join(calendar, how="cross")
        .filter(nw.col("place") >= nw.col("first"))
        .with_columns(months_since=nw.col("place") - nw.col("first"))
    )
