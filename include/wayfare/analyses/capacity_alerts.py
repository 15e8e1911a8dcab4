"""capacity_alerts: departures that fill up, while more capacity can still be found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.alerts import LEVELS, alert_levels
from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, key, measure, stock
from wayfare.analyses.expressions import Frame, days_between, plus_days, rounded, total
from wayfare.analyses.pickup import completed, last_heard, pickup
from wayfare.analyses.probability import normal_cdf, normal_density, shortfall, spread
from wayfare.analyses.sales import used_units
from wayfare.contracts.events import BOOKING, CANCELLATION, INVENTORY

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

HISTORY_DAYS, REBUILT_DAYS = 49, 7
"""Days of sales behind the numbers of one day, and days before it that its alert level remembers."""
LEAST_COMPARABLES = 3
ASSUMED_K = 0.3
_DEPARTURE = ("as_of_on", "resource_id", "service_on")


class CapacityAlerts(BehaviorAnalysis):
    """Which departures call for more capacity?

    For every as-of day and every departure still to come (a resource on a service day) of which a capacity snapshot is
    known. Everything is as known at the end of the as-of day, from the 49 days up to it: what was sold earlier is
    outside this analysis.

    - On the books are units booked less cancelled; a stay is on those of each of its nights, a rental on those of each
      day but that of its return. Capacity is the agency's own allotment where the latest snapshot says one (0 < on
      hand < capacity), else the capacity supplied; of a departure with several locations, the sum over the latest
      snapshot of each; the basis is own allotment where that of any of them is.
    - Expected pickup until service is the classical additive pickup (Zakhary et al., J. Revenue Pricing Manag. 10,
      2011): for each day out still to come, the mean of what departures of the resource that are over sold at that day
      out, summed. Where fewer than 3 of them reach as far out, it is that of the product; null without any.
    - Demand is normal with mean mu = on the books + pickup and sigma = k mu, k fitted: the spread of the pickups, at
      least Poisson's, over mu; 0.3 where fewer than 3 departures reach as far out. Sales are taken for demand: what
      closed departures turned away is not added back.
    - With z = (C - mu) / sigma, P(full) = P(demand >= C) = 1 - Phi(z), and the spill, the units expected to be turned
      away, is sigma phi(z) - (C - mu) (1 - Phi(z)) (Belobaba & Farkas, Transportation Science 33, 1999; Swan, J. Air
      Transport Management 8, 2002).
    - The alert is raised to watch, high and full at P(full) of 0.5, 0.8 and 0.95, to full also at a load factor of 1,
      and drops only below 0.4, 0.7 and 0.9, or with a capacity of 0. What it remembers is rebuilt from the 7 days
      before the as-of day; a day without a known capacity or probability leaves it as it was. An alert sent is never
      rewritten: a revision is appended.
    """

    owner = "operations"
    tags = ("capacity", "alerts", "daily")
    reads = (BOOKING, CANCELLATION, INVENTORY)
    window = Window(before=HISTORY_DAYS + REBUILT_DAYS)
    mart = Mart(
        day="as_of_on",
        vintage=True,
        grain={
            "as_of_on": key("Day at whose end this was known, in the agency's time zone", "date"),
            "resource_id": key("What fills up: flight, room, vehicle"),
            "service_on": key("Local day of service: departure, night, rental day", "date"),
        },
        columns={
            "product": measure("What the resource is sold as, by its latest snapshot", "text"),
            "days_out": measure("Days from the as-of day to service", "bigint"),
            "on_the_books": stock("Units booked less cancelled in the 49 days up to the as-of day"),
            "capacity": stock(
                "Units that can be sold, by each location's latest snapshot of the 49 days up to the as-of day"
            ),
            "capacity_basis": measure("own allotment (of at least one location) or supplied capacity", "text"),
            "load_factor": measure("on_the_books / capacity; null where capacity is 0"),
            "expected_pickup": measure("Units expected to be booked, less cancelled, until service"),
            "comparables": measure(
                "Departures that the pickup is estimated from, of the resource or its product", "bigint"
            ),
            "demand_mean": measure("mu: units on the books and expected pickup"),
            "demand_deviation": measure("sigma: standard deviation of demand, units"),
            "demand_k": measure("k: sigma / mu; null where mu is not above 0"),
            "full_probability": measure("Probability that demand reaches capacity, 0 to 1; null where capacity is 0"),
            "expected_spill": measure("Units of demand expected to be turned away; null where capacity is 0"),
            "alert_level": measure("none, watch, high or full", "text"),
            "previous_level": measure("The level as rebuilt up to the day before the as-of day", "text"),
        },
    )
    expect_input: ClassVar = {
        "inventory": (
            Expect(
                "ExpectColumnValuesToBeBetween", {"column": "capacity", "min_value": 1, "mostly": 0.9}, severity="info"
            ),
        ),
    }
    expect_output = (
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0})
            for column in ("days_out", "on_the_books", "capacity", "demand_deviation", "expected_spill")
        ),
        Expect("ExpectColumnValuesToBeBetween", {"column": "full_probability", "min_value": 0, "max_value": 1}),
        Expect("ExpectColumnValuesToBeInSet", {"column": "alert_level", "value_set": list(LEVELS)}),
        Expect(
            "ExpectColumnValuesToBeInSet",
            {"column": "alert_level", "value_set": ["none", "watch"], "mostly": 0.5},
            severity="info",
        ),
    )
    picture = Picture(
        "Mean load factor by days before departure, of the fullest flight and of all others.",
        """
        WITH fullest AS (
          SELECT resource_id
          FROM bi.capacity_alerts
          WHERE product = 'flight' AND days_out = 1
          GROUP BY resource_id
          ORDER BY avg(load_factor) DESC, resource_id
          LIMIT 1
        )
        SELECT -days_out AS x, avg(load_factor) AS y,
          CASE WHEN resource_id IN (SELECT resource_id FROM fullest) THEN resource_id ELSE 'other flights' END AS series
        FROM bi.capacity_alerts
        WHERE product = 'flight' AND days_out <= 10
        GROUP BY x, series
        ORDER BY series, x
        """,
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per as-of day and departure to come."""
        looks = nw.concat(
            [given.days.select(output_on=plus_days("output_on", -back)) for back in range(REBUILT_DAYS + 1)]
        ).unique()
        sold = given.keep(_sold(given))
        snapshots, heard = given.keep(_snapshots(given)), given.keep(last_heard(given, sold))
        states = replace(given, days=looks).by_days(lambda some: _states(some, sold, snapshots, heard))
        levels = alert_levels(states, given.days, REBUILT_DAYS)
        return states.join(levels, on=list(_DEPARTURE)).select(*self.mart.all_columns)

    def totals(self, given: Inputs) -> Frame:
        """Units on the books of departures to come that have a snapshot."""
        days = given.days.with_columns(opens_on=plus_days("output_on", -HISTORY_DAYS))
        is_ahead = nw.col("service_on") >= nw.col("output_on")
        departures = (
            given["inventory"]
            .filter(nw.col("sku").is_null())
            .join(days, how="cross")
            .filter(is_ahead, nw.col("event_on") >= nw.col("opens_on"), nw.col("event_on") <= nw.col("output_on"))
        )
        return (
            used_units(given)
            .join(days, how="cross")
            .filter(is_ahead, nw.col("since_on") >= nw.col("opens_on"), nw.col("changed_on") <= nw.col("output_on"))
            .join(departures, how="semi", on=["output_on", "resource_id", "service_on"])
            .select(on_the_books=nw.col("units").sum())
        )


def _sold(given: Inputs) -> Frame:
    """Changes of what is on the books of a departure, a row for each day."""
    return (
        used_units(given).group_by("resource_id", "product", "service_on", "changed_on", "since_on").agg(total("units"))
    )


def _states(given: Inputs, sold: Frame, snapshots: Frame, heard: Frame) -> Frame:
    """Every departure to come on each day looked from: what is sold, what is expected, and how likely it fills up."""
    looks = given.days.select(as_of_on="output_on")
    booked = (
        sold.with_columns(until_on=nw.min_horizontal(plus_days("since_on", HISTORY_DAYS), "service_on"))
        .join(looks, how="cross")
        .filter(nw.col("as_of_on") >= nw.col("changed_on"), nw.col("as_of_on") <= nw.col("until_on"))
        .group_by(*_DEPARTURE)
        .agg(on_the_books=total("units"))
    )
    departures = (
        _capacities(snapshots, looks)
        .join(booked, how="left", on=list(_DEPARTURE))
        .with_columns(nw.col("on_the_books").fill_null(0), days_out=days_between("as_of_on", "service_on"))
    )
    departures = given.keep(departures)
    sales, over = (given.keep(frame) for frame in completed(sold, heard, looks, HISTORY_DAYS))
    for by in ("resource_id", "product"):
        departures = departures.join(pickup(sales, over, departures, by), how="left", on=["as_of_on", by, "days_out"])
    return _demand(departures)


def _snapshots(given: Inputs) -> Frame:
    """Capacity and the days on which it was the latest known: a snapshot holds until the next one of its location."""
    following, latest = nw.col("event_on").shift(-1), ["occurred_at", "event_id"]
    is_allotted = (nw.col("on_hand") > 0) & (nw.col("on_hand") < nw.col("capacity"))
    return (
        given["inventory"]
        .filter(nw.col("sku").is_null())
        .select("resource_id", "service_on", "location", "product", "capacity", "on_hand", "event_on", *latest)
        .with_columns(nw.col("location").fill_null(""))
        .with_columns(
            next_on=following.over("resource_id", "service_on", "location", order_by=latest),
            revised_on=following.over("resource_id", "service_on", order_by=latest),
        )
        .select(
            "resource_id",
            "service_on",
            "product",
            "event_on",
            "revised_on",
            until_on=nw.min_horizontal(plus_days("next_on", -1), plus_days("event_on", HISTORY_DAYS), "service_on"),
            capacity=nw.when(is_allotted).then(nw.col("on_hand")).otherwise(nw.col("capacity")),
            allotted=is_allotted.cast(nw.Int64()),
        )
    )


def _capacities(snapshots: Frame, looks: Frame) -> Frame:
    """The capacity in force on each day looked from, over all locations."""
    is_newest = nw.col("revised_on").is_null() | (nw.col("as_of_on") < nw.col("revised_on"))
    basis = nw.when(nw.col("allotted") > 0).then(nw.lit("own allotment")).otherwise(nw.lit("supplied capacity"))
    return (
        snapshots.join(looks, how="cross")
        .filter(nw.col("as_of_on") >= nw.col("event_on"), nw.col("as_of_on") <= nw.col("until_on"))
        .group_by(*_DEPARTURE)
        .agg(
            total("capacity"),
            nw.col("allotted").max(),
            product=nw.when(is_newest).then(nw.col("product")).max(),
        )
        .select(*_DEPARTURE, "product", "capacity", capacity_basis=basis)
    )


def _demand(departures: Frame) -> Frame:
    """Demand until service against capacity."""
    is_own, is_last_day = nw.col("resource_id_n") >= LEAST_COMPARABLES, nw.col("days_out") == 0
    is_known = (nw.col("product_n") > 0) | is_own
    capacity, mu, sigma = nw.col("capacity"), nw.col("demand_mean"), nw.col("demand_deviation")
    z, sells = (capacity - mu) / sigma, capacity > 0
    lost = sigma * normal_density(z) - (capacity - mu) * (1 - normal_cdf(z))
    certain = nw.when(mu > capacity).then(mu - capacity).otherwise(mu * 0.0)
    fitted = spread(nw.col("expected_pickup"), nw.col("variance"))
    return (
        departures.with_columns(
            (nw.when(is_own).then(nw.col(f"resource_id_{c}")).otherwise(nw.col(f"product_{c}"))).alias(c)
            for c in ("n", "mean", "variance")
        )
        .with_columns(
            comparables=nw.col("n").fill_null(0),
            expected_pickup=nw.when(is_last_day).then(nw.lit(0.0)).otherwise(nw.when(is_known).then(nw.col("mean"))),
        )
        .with_columns(demand_mean=rounded(nw.col("on_the_books") + nw.col("expected_pickup"), 9))
        .with_columns(
            demand_deviation=rounded(
                nw.when((nw.col("comparables") >= LEAST_COMPARABLES) | is_last_day)
                .then(fitted)
                .otherwise(nw.when(~mu.is_null()).then(nw.max_horizontal(mu * ASSUMED_K, nw.lit(0.0)))),
                9,
            )
        )
        .with_columns(
            load_factor=nw.when(sells).then(nw.col("on_the_books") / capacity),
            demand_k=rounded(nw.when(mu > 0).then(sigma / mu), 9),
            full_probability=rounded(nw.when(sells).then(shortfall(capacity, mu, sigma)), 6),
            expected_spill=rounded(nw.when(sells).then(nw.when(sigma > 0).then(lost).otherwise(certain)), 6),
        )
    )
