"""Additive pickup: what departures to come will still sell, from what those that are over sold at each day out.

The classical variant of Zakhary et al., J. Revenue Pricing Manag. 10 (2011): completed departures only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from wayfare.analyses.expressions import Frame, days_between, integer, plus_days, rounded, total

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

_DEPARTURE = ("resource_id", "product", "service_on")


def last_heard(given: Inputs, sold: Frame) -> Frame:
    """The last day up to its service on which a departure was sold or seen: resource_id, product, service_on, heard_on.

    `sold` has the columns of `used_units`.
    """
    seen = given["inventory"].filter(nw.col("sku").is_null()).select(*_DEPARTURE, since_on="event_on")
    return (
        nw.concat([sold.select(*_DEPARTURE, "since_on"), seen])
        .filter(nw.col("since_on") <= nw.col("service_on"))
        .group_by(*_DEPARTURE)
        .agg(heard_on=nw.col("since_on").max())
    )


def completed(sold: Frame, heard: Frame, looks: Frame, history: int) -> tuple[Frame, Frame]:
    """What departures that are over sold at each day out, and how far out the history of each of them reaches.

    As looked at on each `as_of_on` of `looks`, with `history` days before it. `sold` has the columns of `used_units`,
    `heard` those of `last_heard`. A departure is over from the day after its service, and known while a sale or
    snapshot of it is in the history.

    Returns
    -------
    tuple
        Sales (as_of_on, resource_id, product, service_on, at: days out, units) and departures (as_of_on, resource_id,
        product, service_on, reach: days out).
    """
    looks = looks.with_columns(opens_on=plus_days("as_of_on", -history))
    is_over = nw.col("as_of_on") > nw.col("service_on")
    sales = (
        sold.filter(nw.col("changed_on") <= nw.col("service_on"))
        .join(looks, how="cross")
        .filter(is_over, nw.col("opens_on") <= nw.col("since_on"))
        .with_columns(at=days_between("changed_on", "service_on"))
        .group_by("as_of_on", *_DEPARTURE, "at")
        .agg(units=total("units"))
    )
    over = (
        heard.join(looks, how="cross")
        .filter(is_over, nw.col("opens_on") <= nw.col("heard_on"))
        .with_columns(reach=days_between("opens_on", "service_on"))
        .filter(nw.col("reach") >= 0)
    )
    return sales, over


def pickup(sales: Frame, over: Frame, departures: Frame, by: str) -> Frame:
    """Pickup over the days out below each `days_out` of `departures`, from `completed` departures of the same `by`.

    By resource, a departure sold as several products is one; by product, it is one of each. One pass over days out,
    ascending: a departure leaves the comparables after the day out its history reaches; mean and variance of the days
    out add up, which takes them as independent.

    Returns
    -------
    Frame
        as_of_on, the column `by`, days_out, and prefixed with `by`: n (departures that reach as far out), mean and
        variance of the units picked up.
    """
    departure = ["as_of_on", *dict.fromkeys((by, "resource_id")), "service_on"]
    sales = sales.group_by(*departure, "at").agg(total("units"))
    over = over.select(*departure, "reach").unique()
    rows = nw.concat(
        [
            sales.with_columns(square=nw.col("units") * nw.col("units"))
            .group_by("as_of_on", by, "at")
            .agg(total("units", "square"))
            .with_columns(turn=integer(0), leaving=integer(0)),
            departures.group_by("as_of_on", by, "days_out")
            .agg(units=nw.len())
            .select("as_of_on", by, at=nw.col("days_out") - 1, units=integer(0), square=integer(0), turn=integer(1))
            .with_columns(leaving=integer(0)),
            over.group_by("as_of_on", by, "reach")
            .agg(leaving=nw.len().cast(nw.Int64()))
            .select(
                "as_of_on", by, at="reach", units=integer(0), square=integer(0), turn=integer(2), leaving="leaving"
            ),
        ]
    )
    group, order = ["as_of_on", by], ["at", "turn"]
    n, units, square = nw.col("n"), nw.col("units"), nw.col("square")
    gone = nw.col("leaving").cum_sum().over(*group, order_by=order)
    mean = nw.when(n > 0).then(units / n).otherwise(nw.lit(0.0))
    variance = nw.when(n > 1).then((n * square - units * units) / (n * (n - 1))).otherwise(nw.lit(0.0))
    return (
        rows.with_columns(n=(nw.col("leaving").sum().over(*group) - gone).cast(nw.Int64()))
        .with_columns(mean=mean, variance=variance)
        .with_columns(
            *(rounded(nw.col(c).cum_sum().over(*group, order_by=order), 9).alias(c) for c in ("mean", "variance"))
        )
        .filter(nw.col("turn") == 1)
        .select(*group, days_out=nw.col("at") + 1, **{f"{by}_{c}": nw.col(c) for c in ("n", "mean", "variance")})
    )
