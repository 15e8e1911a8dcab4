"""inventory_requirements: what was sold for a service day against the stock there is for it."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import (
    BehaviorAnalysis,
    Expect,
    Mart,
    Picture,
    Window,
    count,
    key,
    measure,
    stock,
)
from wayfare.analyses.expressions import Frame, days_between, integer, plus_days, rounded, share_of, total, when_or_zero
from wayfare.analyses.probability import shortfall, spread
from wayfare.analyses.sales import sold_articles, used_units
from wayfare.contracts.events import BOOKING, CANCELLATION, INVENTORY, PURCHASE

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

BEFORE = 56
_THING = ("service_on", "resource_id", "sku")


class InventoryRequirements(BehaviorAnalysis):
    """Is there enough stock for what was sold?

    For every service day, resource and article (`sku`; empty: the seats, rooms or vehicles themselves), as known on
    the as-of day: the service day itself, or the last day of events while the service day is still ahead.

    - Committed is what was bought less what was cancelled, both from 56 days before service up to the as-of day: what
      was bought earlier is outside this analysis. A stay counts on each of its nights, a rental on each day but that of
      its return, a flight or package on its `start_on`, an ancillary on its `service_on` if it names that and a
      resource. Sales name no location: where stock lies at several, committed and further demand are shared out in
      proportion to what is on hand there.
    - On hand is the latest stock snapshot in the window. Without one it is null, and so is what follows from it.
    - Further demand is the additive pickup (Zakhary et al., J. Revenue Pricing Manag. 10, 2011): as many days before
      service as remain, units bought less cancelled from then on, over the comparable service days: same weekday,
      over before the as-of day, at most 8 weeks back, with all of those days inside the window, known by a sale or a
      snapshot. This reaches up to 27 days ahead; beyond it, or without a comparable day, it is null.
    - Shortage is P(committed + further demand > on hand), normal with continuity correction (Silver, Pyke & Thomas,
      Inventory and Production Management in Supply Chains, 2017, ch. 7). The spread is that of the comparable days,
      at least Poisson's.
    - The order is the fewest units that keep the probability of shortage within 1 - the service level of the settings
      (0.98); what is short already where further demand is unknown.
    """

    owner = "operations"
    tags = ("inventory", "daily")
    reads = (BOOKING, PURCHASE, CANCELLATION, INVENTORY)
    window = Window(before=BEFORE)
    mart = Mart(
        day="service_on",
        ahead=True,
        grain={
            "service_on": key("Local day of service: departure, night, rental day or serving", "date"),
            "resource_id": key("What is used: flight, room, vehicle"),
            "sku": key("Article of ancillary stock; empty for seats, rooms and vehicles"),
            "location": key("Where the stock is; empty where no snapshot says so"),
        },
        columns={
            "as_of_on": measure("Day the row was known as of: service day or last day of events", "date"),
            "committed": count("Units bought less cancelled from 56 days before service up to the as-of day"),
            "on_hand": stock(
                "Units in the latest stock snapshot from 56 days before service up to the as-of day; null without one"
            ),
            "backorder": count("Units committed beyond what is on hand; null without a snapshot", nullable=True),
            "comparable_days": measure("Service days that further demand is estimated from", "bigint"),
            "expected_further_demand": measure("Units expected to be bought, less cancelled, until service"),
            "further_demand_deviation": measure("Standard deviation of further demand, units"),
            "shortage_probability": measure("Probability that demand until service exceeds what is on hand, 0 to 1"),
            "order_quantity": count("Units to add to reach the service level; null without a snapshot", nullable=True),
        },
    )
    expect_input: ClassVar = {
        "inventory": (
            Expect(
                "ExpectColumnPairValuesAToBeGreaterThanB",
                {"column_A": "capacity", "column_B": "on_hand", "or_equal": True, "mostly": 0.99},
                severity="warning",
            ),
        ),
    }
    expect_output = (
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0})
            for column in ("committed", "on_hand", "backorder", "order_quantity")
        ),
        Expect("ExpectColumnValuesToBeBetween", {"column": "shortage_probability", "min_value": 0, "max_value": 1}),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "on_hand", "mostly": 0.5}, severity="info"),
    )
    picture = Picture(
        "Meals committed beyond what is on hand, by week of service.",
        """
        SELECT date_trunc('week', service_on)::date AS x, sum(backorder) AS y, sku AS series
        FROM bi.inventory_requirements
        WHERE sku LIKE 'meal%' AND service_on <= (SELECT max(as_of_on) FROM bi.inventory_requirements)
        GROUP BY x, series
        ORDER BY series, x
        """,
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per service day, resource, article and location with a sale or a snapshot in the window."""
        changes, days = _changes(given), _days(given)
        committed = (
            changes.join(days, on="service_on")
            .filter(nw.col("since_on") >= nw.col("opens_on"), nw.col("changed_on") <= nw.col("as_of_on"))
            .group_by(*_THING, "as_of_on")
            .agg(committed=total("units"))
        )
        further = _further_demand(changes, days)
        things = committed.join(further, how="left", on=list(_THING))
        rows = _share_out(things.join(_on_hand(given, days), how="left", on=list(_THING)))
        return _judge(rows, given).select(*self.mart.all_columns)

    def totals(self, given: Inputs) -> Frame:
        """Units committed: bought, less given back by cancellations of what was bought in the same window."""
        changes = nw.concat([used_units(given), sold_articles(given)])
        age = days_between("since_on", "service_on")
        known = (nw.col("changed_on") <= nw.lit(given.horizon)) & (nw.col("changed_on") <= nw.col("service_on"))
        return (
            changes.filter(known, age <= BEFORE)
            .join(given.days, how="semi", left_on="service_on", right_on="output_on")
            .select(committed=nw.col("units").sum())
        )


def _days(given: Inputs) -> Frame:
    """Service days, each with its as-of day and the day its window opens."""
    return given.days.select(service_on="output_on").with_columns(
        as_of_on=nw.min_horizontal("service_on", nw.lit(given.horizon)),
        opens_on=plus_days("service_on", -BEFORE),
    )


def _changes(given: Inputs) -> Frame:
    """Sales and cancellations, and for each snapshot a change of 0 units: it makes its service day known."""
    seen = given["inventory"].select(
        "resource_id",
        "product",
        sku=nw.col("sku").fill_null(""),
        service_on="service_on",
        changed_on="event_on",
        since_on="event_on",
        units=integer(0),
    )
    return nw.concat([used_units(given), sold_articles(given), seen])


def _on_hand(given: Inputs, days: Frame) -> Frame:
    """The latest snapshot of each service day, resource, article and location."""
    return (
        given["inventory"]
        .select("service_on", "resource_id", "on_hand", "event_on", "occurred_at", "event_id", "sku", "location")
        .with_columns(nw.col("sku").fill_null(""), nw.col("location").fill_null(""))
        .join(days, on="service_on")
        .filter(nw.col("event_on") >= nw.col("opens_on"), nw.col("event_on") <= nw.col("as_of_on"))
        .unique(subset=[*_THING, "location"], keep="last", order_by=["occurred_at", "event_id"])
        .select(*_THING, "location", nw.col("on_hand").cast(nw.Int64()))
    )


def _further_demand(changes: Frame, days: Frame) -> Frame:
    """Mean and variance of what comparable days still sold when as many days remained."""
    ahead = days.filter(nw.col("service_on") > nw.col("as_of_on")).with_columns(
        remaining=days_between("as_of_on", "service_on"), weekday=nw.col("service_on").dt.weekday()
    )
    is_comparable = (nw.col("comparable_on") < nw.col("as_of_on")) & (
        days_between("opens_on", "comparable_on") >= nw.col("remaining") - 1
    )
    is_known = (nw.col("since_on") >= nw.col("opens_on")) & (nw.col("changed_on") <= nw.col("comparable_on"))
    is_pickup = days_between("changed_on", "comparable_on") < nw.col("remaining")
    n, added, squares = nw.col("comparable_days"), nw.col("pickup"), nw.col("squares")
    return (
        changes.with_columns(weekday=nw.col("service_on").dt.weekday())
        .rename({"service_on": "comparable_on"})
        .join(ahead, on="weekday")
        .filter(is_comparable, is_known)
        .with_columns(pickup=when_or_zero(is_pickup, nw.col("units")))
        .group_by(*_THING, "comparable_on")
        .agg(nw.col("pickup").sum())
        .with_columns(square=nw.col("pickup") * nw.col("pickup"))
        .group_by(*_THING)
        .agg(total("pickup"), comparable_days=nw.len().cast(nw.Int64()), squares=total("square"))
        .select(
            *_THING,
            "comparable_days",
            mean=added / n,
            variance=nw.when(n > 1).then((n * squares - added * added) / (n * (n - 1))),
        )
    )


def _share_out(rows: Frame) -> Frame:
    """Committed units and further demand over the locations; the shares add up to the whole."""
    thing = list(_THING)
    weight, upto, whole = nw.col("weight"), nw.col("upto"), nw.col("whole")
    share = weight / whole
    return (
        rows.with_columns(nw.col("location").fill_null(""), stock=nw.col("on_hand").sum().over(thing))
        .with_columns(weight=nw.when(nw.col("stock") > 0).then(nw.col("on_hand")).otherwise(integer(1)))
        .with_columns(upto=weight.cum_sum().over(thing, order_by="location"), whole=weight.sum().over(thing))
        .with_columns(
            committed=share_of(nw.col("committed"), weight, upto, whole),
            mean=nw.col("mean") * share,
            variance=nw.col("variance") * share * share,
        )
    )


def _judge(rows: Frame, given: Inputs) -> Frame:
    """Backorder, probability of shortage and order of each row."""
    committed, on_hand, demand = nw.col("committed"), nw.col("on_hand"), nw.col("demand")
    deviation, short = nw.col("further_demand_deviation"), committed - on_hand
    is_over = nw.col("service_on") <= nw.lit(given.horizon)
    reach = NormalDist().inv_cdf(given.service_level)
    needed = rounded(demand + deviation * reach - 0.5 - on_hand, 9).ceil().cast(nw.Int64())
    order = nw.when(~needed.is_null()).then(needed).otherwise(short)
    return (
        rows.with_columns(
            comparable_days=nw.col("comparable_days").fill_null(0),
            expected_further_demand=nw.when(is_over).then(nw.lit(0.0)).otherwise(nw.col("mean")),
        )
        .with_columns(
            demand=committed + nw.col("expected_further_demand"),
            further_demand_deviation=rounded(spread(nw.col("expected_further_demand"), nw.col("variance")), 9),
        )
        .with_columns(
            backorder=nw.when(short > 0).then(short).otherwise(short * 0),
            shortage_probability=rounded(shortfall(on_hand + 0.5, demand, deviation), 6),
            order_quantity=nw.when(order > 0).then(order).otherwise(short * 0),
        )
    )
