"""customer_behavior: what each customer did in the year up to a day, and what is unusual about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, key, measure, stock
from wayfare.analyses.bookings import booking_changes, bookings, known_on
from wayfare.analyses.expressions import (
    UNUSUAL,
    Frame,
    converted,
    days_between,
    integer,
    plus_days,
    robust_z,
    sum_if_complete,
    total,
    when_or_zero,
    with_rate,
)
from wayfare.analyses.searches import SEARCHED_DAYS, searches_before_sales
from wayfare.contracts.events import BOOKING, CANCELLATION, OFFER, PURCHASE, REFUND, SEARCH

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

BEFORE = 365
REGULAR_BOOKINGS = 2
LEAST_EARLIER_BOOKINGS = 5
"""Net bookings without which the latest one is not judged."""
_CUSTOMER = ("as_of_on", "customer_id")


class CustomerBehavior(BehaviorAnalysis):
    """How do regular customers behave?

    For every as-of day, each known customer with a booking in the 365 days before it or on it (366 days in all).
    Everything is as known at the end of the as-of day and within those days: a cancellation or refund of something
    sold before them is left out.

    - A booking is all items sold to the customer under one booking_id, on the day of the first; it is net while any
      unit of it is left. Its trip (start, end, product) is as booked. Several products in one are a package.
    - Regular: at least 2 net bookings. Frequency: net bookings x 365 / 366, that is per 365 days.
    - Days between bookings: the days from the first net booking to the as-of day over the net bookings after the
      first. The open interval since the last one counts as exposure: the maximum-likelihood mean of exponential gaps
      under right censoring (Lawless, Statistical Models and Methods for Lifetime Data, 2003, ch. 4.1).
    - Searches before a booking: those of the same customer from 30 days before the day of an item up to the instant it
      was sold, of the item with the most; mean over the net bookings of which those 30 days are in the window.
    - Usual product and market: those of most net bookings; ties go to the first in alphabetical order.
    - Spend: bookings and ancillaries sold in the window less what cancellations and refunds give back, penalties kept,
      each converted at the last rate published up to the day of the sale; null where one has none.
    - Unusual against the customer's own history: robust z = 0.6745 (x - median) / MAD above 3.5 (Iglewicz & Hoaglin,
      How to Detect and Handle Outliers, 1993), for x the price of the latest net booking and the days since the one
      before it, against at least 5 earlier ones. Without that history or with a MAD of 0 there is no z and no flag.
    """

    owner = "marketing"
    tags = ("customers", "daily")
    reads = (SEARCH, OFFER, BOOKING, PURCHASE, CANCELLATION, REFUND)
    window = Window(before=BEFORE)
    mart = Mart(
        day="as_of_on",
        vintage=True,
        grain={
            "as_of_on": key("Day at whose end this was known, in the agency's time zone", "date"),
            "customer_id": key("Known customer"),
        },
        columns={
            "is_regular": measure("At least 2 net bookings in the window", "boolean"),
            "bookings": stock("Bookings made in the window, cancelled or not"),
            "net_bookings": stock("Bookings of the window not wholly cancelled"),
            "net_units": stock("Seats, rooms and vehicles booked in the window less cancelled"),
            "frequency": measure("Net bookings per 365 days"),
            "mean_days_between_bookings": measure("Days between net bookings, right-censored; null below 2"),
            "mean_lead_time_days": measure("Days from booking to start, mean over net bookings"),
            "mean_trip_nights": measure("Nights from start to end, mean over net bookings that say an end"),
            "searches_before_booking": measure("Searches in the 30 days before a net booking, mean"),
            "destinations_searched_before_booking": measure("Distinct destinations of those searches, mean"),
            "offers_exposed": stock("Offers shown in the window"),
            "offers_redeemed": stock("Offers redeemed in the window"),
            "usual_product": measure("Product of most net bookings: flight, hotel, car, package", "text"),
            "usual_market": measure("Point of sale of most net bookings, ISO 3166-1 alpha-2", "text"),
            "spend_minor": stock("Net spend, reporting currency's minor units; null where an amount has no rate"),
            "latest_value_z": measure("Robust z of the price of the latest net booking"),
            "is_latest_value_unusual": measure("latest_value_z is above 3.5", "boolean"),
            "latest_gap_z": measure("Robust z of the days between the latest two net bookings"),
            "is_latest_gap_unusual": measure("latest_gap_z is above 3.5", "boolean"),
        },
    )
    expect_input: ClassVar = {
        "booking": (
            Expect("ExpectColumnValuesToNotBeNull", {"column": "customer_id", "mostly": 0.2}, severity="info"),
        ),
    }
    expect_output = (
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": least})
            for column, least in (
                ("bookings", 1),
                ("net_bookings", 0),
                ("net_units", 0),
                ("mean_days_between_bookings", 0),
            )
        ),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "spend_minor", "mostly": 0.95}, severity="warning"),
    )
    picture = Picture(
        "Customers of the last day by how long before the trip they book on average, percent of each group.",
        """
        SELECT least(floor(mean_lead_time_days / 7), 12)::int * 7 AS x,
          100.0 * count(*) / sum(count(*)) OVER (PARTITION BY is_regular) AS y,
          CASE WHEN is_regular THEN 'regular' ELSE 'not regular' END AS series
        FROM bi.customer_behavior
        WHERE as_of_on = (SELECT max(as_of_on) FROM bi.customer_behavior) AND mean_lead_time_days IS NOT NULL
        GROUP BY x, is_regular
        ORDER BY x, series
        """,
        mark="bar",
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per as-of day and customer with a booking in its window."""
        known = given.keep(nw.concat([_sales(given), _searches(given), _offers(given)], how="diagonal"))
        return given.by_days(lambda few: self._behavior(few, known))

    def _behavior(self, given: Inputs, known: Frame) -> Frame:
        made = given.keep(_bookings(given, known))
        net = made.filter(nw.col("is_net"))
        customers = given.keep(_customers(made))
        history = _history(net, customers)
        rows = customers
        for part in (_usual(net, "product"), _usual(net, "market"), _z(history, "value"), _z(history, "gap")):
            rows = rows.join(part, how="left", on=list(_CUSTOMER))
        return rows.with_columns(
            is_latest_value_unusual=(nw.col("latest_value_z") > UNUSUAL).fill_null(value=False),
            is_latest_gap_unusual=(nw.col("latest_gap_z") > UNUSUAL).fill_null(value=False),
        ).select(*self.mart.all_columns)

    def totals(self, given: Inputs) -> Frame:
        """Bookings made by known customers in the windows."""
        age = days_between("event_on", "output_on")
        return (
            given["booking"]
            .filter(~nw.col("customer_id").is_null())
            .select("customer_id", "booking_id", "event_on")
            .join(given.days, how="cross")
            .filter(age >= 0, age <= BEFORE)
            .group_by("output_on", "customer_id", "booking_id")
            .agg(items=nw.len())
            .select(bookings=nw.len())
        )


def _bookings(given: Inputs, known: Frame) -> Frame:
    """What each as-of day knows of each customer's bookings; offers and loose ancillaries have a row without items."""
    days = given.days.select(as_of_on="output_on").with_columns(whole_on=plus_days("as_of_on", SEARCHED_DAYS - BEFORE))
    is_searched = nw.col("booked_on") >= nw.col("whole_on")
    one_product = nw.col("first_product") == nw.col("last_product")
    return bookings(
        known_on(known, days, BEFORE),
        _CUSTOMER,
        *(nw.col(c).min() for c in ("start_on", "market")),
        total("exposed", "redeemed"),
        *(sum_if_complete(c) for c in ("price", "spend")),
        *(nw.when(is_searched).then(nw.col(c)).max().alias(c) for c in ("searches", "destinations")),
        nw.col("end_on").max(),
        nw.col("product").min().alias("first_product"),
        nw.col("product").max().alias("last_product"),
    ).with_columns(product=nw.when(one_product).then(nw.col("first_product")).otherwise(nw.lit("package")))


def _sales(given: Inputs) -> Frame:
    """What known customers bought and gave back, in the reporting currency."""
    changes = booking_changes(given).filter(~nw.col("customer_id").is_null())
    return (
        with_rate(changes, given.rates, "rate_on")
        .with_columns(
            price=when_or_zero(nw.col("items") > 0, converted(nw.col("price"))),
            spend=converted(nw.col("net")),
            searches=integer(0),
            destinations=integer(0),
        )
        .drop("rate_on", "currency", "net", "margin", "to_reporting")
    )


def _searches(given: Inputs) -> Frame:
    """What the customer searched for in the days before each item sold."""
    return searches_before_sales(given).with_columns(
        changed_on="booked_on", since_on="booked_on", price=integer(0), spend=integer(0)
    )


def _offers(given: Inputs) -> Frame:
    """Offers that known customers were shown or redeemed, by day."""
    is_shown = nw.col("action") == "exposed"
    return (
        given["offer"]
        .filter(~nw.col("customer_id").is_null())
        .with_columns(exposed=when_or_zero(is_shown, integer(1)), redeemed=when_or_zero(~is_shown, integer(1)))
        .group_by("customer_id", "event_on")
        .agg(nw.col("exposed", "redeemed").sum())
        .select("customer_id", "exposed", "redeemed", changed_on="event_on", since_on="event_on")
        .with_columns(price=integer(0), spend=integer(0))
    )


def _customers(made: Frame) -> Frame:
    """What adds up or averages over a customer's bookings."""
    is_booking, net = nw.col("items") > 0, nw.col("net_bookings")

    def of_net(value: nw.Expr) -> nw.Expr:
        return nw.when(nw.col("is_net")).then(value)

    return (
        made.group_by(*_CUSTOMER)
        .agg(
            bookings=when_or_zero(is_booking, integer(1)).sum(),
            net_bookings=nw.col("is_net").cast(nw.Int64()).sum(),
            net_units=when_or_zero(is_booking, nw.col("units")).sum(),
            first_net_on=of_net(nw.col("booked_on")).min(),
            mean_lead_time_days=of_net(days_between("booked_on", "start_on")).mean(),
            mean_trip_nights=of_net(days_between("start_on", "end_on")).mean(),
            searches_before_booking=of_net(nw.col("searches")).mean(),
            destinations_searched_before_booking=of_net(nw.col("destinations")).mean(),
            offers_exposed=nw.col("exposed").sum(),
            offers_redeemed=nw.col("redeemed").sum(),
            spend_minor=sum_if_complete("spend"),
        )
        .filter(nw.col("bookings") > 0)
        .with_columns(
            is_regular=net >= REGULAR_BOOKINGS,
            frequency=net * BEFORE / (BEFORE + 1),
            mean_days_between_bookings=nw.when(net > 1).then(days_between("first_net_on", "as_of_on") / (net - 1)),
        )
    )


def _usual(net: Frame, column: str) -> Frame:
    """The value most of a customer's net bookings have."""
    return (
        net.filter(~nw.col(column).is_null())
        .group_by(*_CUSTOMER, column)
        .agg(n=nw.len())
        .with_columns(fewer=-nw.col("n"))
        .unique(subset=list(_CUSTOMER), keep="first", order_by=["fewer", column])
        .select(*_CUSTOMER, nw.col(column).alias(f"usual_{column}"))
    )


def _history(net: Frame, customers: Frame) -> Frame:
    """Net bookings in order, with price and days since the one before, of customers with enough of them to judge."""
    enough = customers.filter(nw.col("net_bookings") > LEAST_EARLIER_BOOKINGS).select(*_CUSTOMER, "net_bookings")
    order = ["booked_at", "booking_id"]
    return (
        net.join(enough, on=list(_CUSTOMER))
        .with_columns(number=integer(1))
        .with_columns(
            number=nw.col("number").cum_sum().over(*_CUSTOMER, order_by=order),
            previous_on=nw.col("booked_on").shift(1).over(*_CUSTOMER, order_by=order),
        )
        .select(
            *_CUSTOMER,
            is_latest=nw.col("number") == nw.col("net_bookings"),
            value="price",
            gap=days_between("previous_on", "booked_on"),
        )
    )


def _z(history: Frame, x: str) -> Frame:
    return robust_z(history, list(_CUSTOMER), x, least=LEAST_EARLIER_BOOKINGS).select(
        *_CUSTOMER, nw.col("z").alias(f"latest_{x}_z")
    )
