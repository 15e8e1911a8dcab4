"""booking_curve: how the book of a departure fills up to its day of service."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, count, key, measure
from wayfare.analyses.expressions import Frame, days_between, integer, ratio, total, when_or_zero
from wayfare.analyses.sales import LONGEST_LEAD, SOLD_IN_TIME, sold_in_markets
from wayfare.contracts.events import BOOKING, CANCELLATION

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

POINTS = (0, 1, 3, 5, 7, 14, 21, 28, 42, 56, 84, 112, 140, 182, 273, 364)
"""Data collection points, days before service: close together where most is sold, whole weeks further out."""
YEAR = 364
LATE = 7
"""Days after service in which its book still changes."""
MOST_COMPARABLES, LEAST_COMPARABLES = 8, 3
_FURTHEST = (POINTS[-1] + LATE) // 7 * 7 + 7 * MOST_COMPARABLES
"""Days from the earliest comparable departure to the one it is compared with."""
_DEPARTURE = ("service_on", "product", "market")
_DAY_0 = dt.date(1970, 1, 1)


class BookingCurve(BehaviorAnalysis):
    """How fast do departures fill?

    For every service day, product and market with anything sold, at 0, 1, 3, 5, 7, 14, 21, 28, 42, 56, 84, 112, 140,
    182, 273 and 364 days before service (data collection points, as in Talluri & van Ryzin, The Theory and Practice of
    Revenue Management, 2004, ch. 9). Points that the last day of events has not reached have no row.

    - An item counts on its `start_on`: a stay of several nights once. A market is a point of sale, ZZ where unknown.
    - On the books at d are the units booked up to the end of the d-th day before service, less those cancelled by then.
      At 0 it is the final: what is booked or cancelled in the 7 days after service counts there too. The finals
      therefore equal units less cancelled_units of the same departures in `economic_results`, but for what is sold
      more than 740 days ahead or changes later than that week.
    - Pickup is the final less what is on the books, net of cancellations: it can be negative. Pickup, final and share
      are null until the service day is reached.
    - The same time last year is the departure 364 days before, on the same weekday, at as many days out; null where
      nothing was sold for that day.
    - The forecast of the final is the classical additive pickup (Zakhary et al., J. Revenue Pricing Manag. 10, 2011):
      on the books plus the mean pickup from d on of the comparable departures: same product, market and weekday, of
      the last 8 weeks whose book was closed before the day looked from (service + 7 days earlier than d days before
      service). It uses only what was known that day, for past departures too: compared with the final it shows how
      good it was. Null below 3 comparable departures.
    """

    owner = "operations"
    tags = ("capacity", "forecast", "daily")
    reads = (BOOKING, CANCELLATION)
    window = Window(before=LONGEST_LEAD + max(_FURTHEST, YEAR), after=LATE)
    mart = Mart(
        day="service_on",
        ahead=True,
        grain={
            "service_on": key("Local day of service: departure, first night or rental", "date"),
            "product": key("What was sold: flight, hotel, car or package"),
            "market": key("Point of sale, ISO 3166-1 alpha-2; ZZ where unknown"),
            "days_out": key("Days before service; no column adds up over it", "bigint"),
        },
        columns={
            "on_the_books": count("Units booked less cancelled by the end of the day so many days before service"),
            "final_units": count("Units on the books at 0 days out; null while service is ahead", nullable=True),
            "pickup_units": count("final_units - on_the_books; null while service is ahead", nullable=True),
            "share_of_final": measure(
                "on_the_books / final_units, above 1 where more was cancelled than booked since; null while service is"
                " ahead, or where nothing is left"
            ),
            "last_year_on_the_books": count(
                "on_the_books of the departure 364 days before; null without one", nullable=True
            ),
            "last_year_final_units": count(
                "final_units of the departure 364 days before; null without one", nullable=True
            ),
            "comparables": measure("Departures that the forecast is estimated from, at most 8", "bigint"),
            "expected_pickup": measure("Their mean pickup from as many days out, units; null below 3"),
            "forecast_units": measure("on_the_books + expected_pickup: the final as forecast that day"),
        },
    )
    expect_input: ClassVar = {"booking": (SOLD_IN_TIME,)}
    expect_output = (
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0})
            for column in ("on_the_books", "final_units", "last_year_on_the_books")
        ),
        Expect(
            "ExpectColumnValuesToBeBetween", {"column": "comparables", "min_value": 0, "max_value": MOST_COMPARABLES}
        ),
        Expect("ExpectColumnValuesToBeInSet", {"column": "days_out", "value_set": list(POINTS)}),
    )
    picture = Picture(
        "Share of the final units on the books by weeks before service, percent, of departures that are over.",
        """
        SELECT -days_out / 7.0 AS x, 100.0 * sum(on_the_books) / nullif(sum(final_units), 0) AS y, product AS series
        FROM bi.booking_curve
        WHERE final_units IS NOT NULL AND days_out <= 84
        GROUP BY days_out, product
        ORDER BY series, x
        """,
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per service day, product, market and point reached."""
        curve = given.keep(_curve(given))
        by, horizon_n = ["product", "market", "days_out", "service_n"], (given.horizon - _DAY_0).days
        last_year = curve.select(
            *by[:-1],
            service_n=nw.col("service_n") + YEAR,
            last_year_on_the_books="on_the_books",
            last_year_final_units="final_units",
        )
        is_over, pickup = nw.col("service_n") <= horizon_n, nw.col("final_units") - nw.col("on_the_books")
        return (
            curve.join(given.days, how="semi", left_on="service_on", right_on="output_on")
            .filter(nw.col("service_n") - nw.col("days_out") <= horizon_n)
            .with_columns(final_units=nw.when(is_over).then(nw.col("final_units")))
            .join(last_year, how="left", on=by)
            .join(_expected(curve), how="left", on=by)
            .with_columns(
                nw.col("comparables").fill_null(0),
                pickup_units=pickup,
                share_of_final=ratio("on_the_books", "final_units"),
                forecast_units=nw.col("on_the_books") + nw.col("expected_pickup"),
            )
            .select(*self.mart.all_columns)
        )

    def totals(self, given: Inputs) -> Frame:
        """Each unit sold or given back, at the points it is on the books of: reached, and no further out than it."""
        changes = (
            _changes(given)
            .join(given.days, how="semi", left_on="service_on", right_on="output_on")
            .with_columns(ahead=nw.col("service_n") - (given.horizon - _DAY_0).days)
        )
        reached = [(nw.col("ahead") <= d) & (nw.col("at") >= d) for d in POINTS]
        finals = when_or_zero(nw.col("ahead") <= 0, nw.col("units")) * len(POINTS)
        return changes.select(
            on_the_books=nw.sum_horizontal(*(when_or_zero(is_in, nw.col("units")) for is_in in reached)).sum(),
            final_units=finals.sum(),
        )


def _changes(given: Inputs) -> Frame:
    """What was sold and given back within each departure's window; `at` days before service, 0 from then on."""
    since, at = days_between("since_on", "service_on"), days_between("changed_on", "service_on")
    return (
        sold_in_markets(given)
        .filter(since <= LONGEST_LEAD, at >= -LATE)
        .with_columns(at=nw.max_horizontal(at, integer(0)), day_0=nw.lit(_DAY_0))
        .with_columns(service_n=days_between("day_0", "service_on"))
    )


def _curve(given: Inputs) -> Frame:
    """Every departure at every point: on_the_books and final_units, as if all of its events were known."""
    books = {f"at_{d}": when_or_zero(nw.col("at") >= d, nw.col("units")).sum().cast(nw.Int64()) for d in POINTS}
    departures = given.keep(_changes(given).group_by(*_DEPARTURE, "service_n").agg(**books))
    return nw.concat(
        [
            departures.select(
                *_DEPARTURE, "service_n", days_out=integer(d), on_the_books=f"at_{d}", final_units=f"at_{POINTS[0]}"
            )
            for d in POINTS
        ]
    )


def _expected(curve: Frame) -> Frame:
    """Mean pickup of the departures that each service day is compared with: each serves eight, a week apart.

    The first is the earliest whose day d days before service comes after the departure's book is closed.
    """
    first_n = nw.col("service_n") + (nw.col("days_out") + LATE) // 7 * 7 + 7
    pickup = nw.col("final_units") - nw.col("on_the_books")
    served = [
        curve.select("product", "market", "days_out", service_n=first_n + 7 * week, pickup=pickup)
        for week in range(MOST_COMPARABLES)
    ]
    n = nw.col("comparables")
    return (
        nw.concat(served)
        .group_by("product", "market", "days_out", "service_n")
        .agg(comparables=nw.len().cast(nw.Int64()), picked_up=total("pickup"))
        .with_columns(expected_pickup=nw.when(n >= LEAST_COMPARABLES).then(nw.col("picked_up") / n))
    )
