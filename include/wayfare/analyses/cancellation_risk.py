"""cancellation_risk: what becomes of what was sold, week by week after the sale."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import (
    BehaviorAnalysis,
    Every,
    Expect,
    Mart,
    Picture,
    Window,
    count,
    key,
    measure,
    minor,
)
from wayfare.analyses.expressions import (
    Frame,
    converted,
    days_between,
    integer,
    period_of,
    plus_days,
    rounded,
    total,
    when_or_zero,
    with_rate,
)
from wayfare.analyses.sales import LONGEST_LEAD, SOLD_IN_TIME
from wayfare.contracts.events import BOOKING, CANCELLATION, TRAVEL

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

EARLY_DAYS, LATE_DAYS = 1, 30
"""Days before its sale that a cancellation may be dated, and days after the last possible service that are seen."""
AGES = LONGEST_LEAD // 7 + 1
_COHORT = ("booked_week_on", "product")
_CAUSES = ("cancelled", "no_shows", "censored", "still_ahead")
"""How an item leaves what is at risk."""
_LEAVING = (*_CAUSES, *(f"{cause}_minor" for cause in _CAUSES))
_RISKS = {"cancellation": "cancelled", "no_show": "no_shows"}
_REPORTING = "reporting currency's minor units; null where an item of the week has no rate"


class CancellationRisk(BehaviorAnalysis):
    """How much of what was sold will not travel?

    The items sold in a week (from Monday), by product, in the weeks of their age: age 0 is the first seven days from
    an item's own day of sale. All that becomes of an item is in the rows of its booking week.

    - At risk at an age are the items that reach it: neither cancelled nor at their service day in an earlier week.
    - An item is cancelled when all of its units are, in the week of the last of these cancellations; a cancellation
      after the service day counts in the week of service. A no-show is one in the week of its service day. Every other
      item leaves there as censored: it can no longer be cancelled. An item that is both cancelled and a no-show is
      cancelled.
    - Items whose service day lies after the last day of events are still ahead, at the age they have reached. Rates of
      an age that any of them has not lived through are null, not too low.
    - Cancellation and no-show are competing risks, each with its own rate: of the items at risk, the share that it
      takes in the week. Survival is Kaplan-Meier against both; the cumulative incidence of one is the sum of survival
      up to the week before times its rate (Aalen-Johansen in discrete time: Kalbfleisch & Prentice, The Statistical
      Analysis of Failure Time Data, 2002, ch. 8; Putter, Fiocco & Geskus, Statistics in Medicine 26, 2007): the share
      that is cancelled by that age while no-shows are no-shows. Censored items count as at risk in their last week.
    - By value the same of the price paid: part of an item's units cancelled takes its part of the price at its own
      age, and the rest stays at risk. Prices are converted at the last rate published up to the day of the sale; a
      credit, whose price is negative, has no value.
    - Seen are the 740 days from each sale, and what happens up to 30 days later; a cancellation dated before its sale
      counts at the sale, one dated more than a day before it does not.
    """

    owner = "operations"
    tags = ("cancellations", "risk", "weekly")
    reads = (BOOKING, CANCELLATION, TRAVEL)
    window = Window(before=EARLY_DAYS, after=LONGEST_LEAD + LATE_DAYS)
    mart = Mart(
        day="booked_week_on",
        every=Every.WEEK,
        grain={
            "booked_week_on": key("Monday of the week of the sale, in the agency's time zone", "date"),
            "product": key("What was sold: flight, hotel, car or package"),
            "age_weeks": key("Whole weeks since the sale: 0 is the first seven days", "bigint"),
        },
        columns={
            "at_risk": count("Items that reach this age; at age 0 all items sold; adds up over weeks, not over ages"),
            "cancelled": count("Items of which the last unit was cancelled at this age"),
            "no_shows": count("Items whose service day came at this age and whose travelers did not"),
            "censored": count("Items whose service day came at this age, neither cancelled nor no-show"),
            "still_ahead": count("Items of this age on the last day of events, service still ahead"),
            "at_risk_minor": minor(
                f"Price of what reaches this age, less what was cancelled of it, {_REPORTING}; adds up over weeks, not"
                " over ages",
                nullable=True,
            ),
            "cancelled_minor": minor(f"Price of the units cancelled at this age, {_REPORTING}", nullable=True),
            "no_shows_minor": minor(f"Price of the units of no_shows, {_REPORTING}", nullable=True),
            "cancellation_rate": measure("cancelled / at_risk; null before all items have lived through the age"),
            "no_show_rate": measure("no_shows / at_risk; null before all items have lived through the age"),
            "survival": measure("Kaplan-Meier share neither cancelled nor no-show by the end of this age"),
            "cancellation_incidence": measure("Cumulative incidence of cancellation by the end of this age, 0 to 1"),
            "no_show_incidence": measure("Cumulative incidence of no-show by the end of this age, 0 to 1"),
            "cancellation_rate_by_value": measure("cancelled_minor / at_risk_minor"),
            "no_show_rate_by_value": measure("no_shows_minor / at_risk_minor"),
            "cancellation_incidence_by_value": measure("Cumulative incidence of cancellation by value"),
            "no_show_incidence_by_value": measure("Cumulative incidence of no-show by value"),
        },
    )
    expect_input: ClassVar = {"booking": (SOLD_IN_TIME,)}
    expect_output = (
        Expect("ExpectColumnValuesToBeBetween", {"column": "at_risk", "min_value": 1}),
        Expect("ExpectColumnValuesToBeBetween", {"column": "age_weeks", "min_value": 0, "max_value": AGES - 1}),
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0, "max_value": 1})
            for column in ("survival", "cancellation_incidence", "no_show_incidence")
        ),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "at_risk_minor", "mostly": 0.95}, severity="warning"),
    )
    picture = Picture(
        "Items cancelled, percent of those still at risk, by week since the sale.",
        """
        SELECT age_weeks AS x, 100.0 * sum(cancelled) / nullif(sum(at_risk), 0) AS y, product AS series
        FROM bi.cancellation_risk
        WHERE cancellation_rate IS NOT NULL AND age_weeks <= 26
        GROUP BY age_weeks, product
        ORDER BY series, x
        """,
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per booking week, product and age that any of its items has reached."""
        sold = given.keep(_sold(given))
        taken = given.keep(_taken(given, sold))
        rows = _at_every_age(given, _leaving(given, _items(given, sold, taken), taken))
        rows = _with_incidence(_with_incidence(rows, unit="", by=""), unit="_minor", by="_by_value")
        return rows.select(*self.mart.all_columns)

    def totals(self, given: Inputs) -> Frame:
        """Items wholly cancelled, and no-shows that are not, of service days reached."""
        sold = _sold(given)
        gone = _returned(_of_items(given["cancellation"])).filter(nw.col("is_gone"))
        over = sold.filter(nw.col("over_on") <= nw.lit(given.horizon))
        missed = over.join(_no_shows(given), how="semi", on="sale_id").join(gone, how="anti", on="sale_id")
        cancelled = sold.join(gone, how="semi", on="sale_id").select(cancelled=nw.len())
        return cancelled.join(missed.select(no_shows=nw.len()), how="cross")


def _sold(given: Inputs) -> Frame:
    """Items sold in the weeks asked for, with their value and the day from which they cannot be cancelled."""
    booked = given["booking"].with_columns(
        booked_week_on=period_of("event_on", Every.WEEK), seen_to=plus_days("event_on", LONGEST_LEAD)
    )
    asked = booked.join(given.days, how="semi", left_on="booked_week_on", right_on="output_on")
    return with_rate(asked, given.rates, "event_on").select(
        *_COHORT,
        sale_id="event_id",
        booked_on="event_on",
        over_on=nw.max_horizontal("event_on", nw.min_horizontal("start_on", "seen_to")),
        value=_value("price"),
    )


def _value(price: str) -> nw.Expr:
    return converted(when_or_zero(nw.col(price) > 0, nw.col(price)))


def _of_items(events: Frame) -> Frame:
    """Events that do something to an item and are dated in the time it is seen, with the id of its sale."""
    after, does = days_between("item_booked_on", "event_on"), nw.col("reversed_units") > 0
    return events.filter(
        nw.col("item_kind") == "booking", does, after >= -EARLY_DAYS, after <= LONGEST_LEAD + LATE_DAYS
    ).with_columns(sale_id="item_event_id")


def _taken(given: Inputs, sold: Frame) -> Frame:
    """Units and value that each cancellation takes of an item sold, and the item's age then."""
    cancelled = _of_items(given["cancellation"]).with_columns(currency="item_currency")
    return (
        with_rate(cancelled, given.rates, "item_booked_on")
        .select("sale_id", "event_on", "reversed_units", "item_units", taken=_value("reversed_price"))
        .join(sold, on="sale_id")
        .with_columns(left_on=nw.max_horizontal("booked_on", nw.min_horizontal("event_on", "over_on")))
        .with_columns(age_weeks=days_between("booked_on", "left_on") // 7)
    )


def _returned(events: Frame, **more: nw.Expr) -> Frame:
    """Items of which units were cancelled, and whether no unit is left."""
    units = {"units_gone": nw.col("reversed_units").sum(), "units_sold": nw.col("item_units").max()}
    return (
        events.group_by("sale_id")
        .agg(**units, **more)
        .with_columns(is_gone=nw.col("units_gone") >= nw.col("units_sold"))
    )


def _no_shows(given: Inputs) -> Frame:
    return _of_items(given["travel"].filter(nw.col("outcome") == "no_show")).select("sale_id").unique()


def _items(given: Inputs, sold: Frame, taken: Frame) -> Frame:
    """Each item with the cause it leaves by (1 in one of the columns), its age then and the value it leaves with.

    `lived` is the number of ages that an item still ahead has lived through; null for others.
    """
    returned = _returned(taken, gone_on=nw.col("left_on").max(), taken=nw.col("taken").sum())
    missed = _no_shows(given).with_columns(is_missed=nw.lit(value=True))
    is_gone, is_missed = (nw.col(name).fill_null(value=False) for name in ("is_gone", "is_missed"))
    is_ahead, horizon = nw.col("leaves_on") > nw.col("horizon"), nw.lit(given.horizon)
    leaves_on = nw.when(is_gone).then(nw.col("gone_on")).otherwise(nw.col("over_on"))
    return (
        sold.join(returned, how="left", on="sale_id")
        .join(missed, how="left", on="sale_id")
        .with_columns(leaves_on=leaves_on, horizon=horizon)
        .with_columns(last_on=nw.min_horizontal("leaves_on", "horizon"))
        .select(
            *_COHORT,
            age_weeks=days_between("booked_on", "last_on") // 7,
            lived=nw.when(is_ahead).then((days_between("booked_on", "horizon") + 1) // 7),
            cancelled=when_or_zero(is_gone, integer(1)),
            no_shows=when_or_zero(~is_gone & ~is_ahead & is_missed, integer(1)),
            censored=when_or_zero(~is_gone & ~is_ahead & ~is_missed, integer(1)),
            still_ahead=when_or_zero(~is_gone & is_ahead, integer(1)),
            rest=nw.col("value") - nw.col("taken").fill_null(0),
        )
    )


def _leaving(given: Inputs, items: Frame, taken: Frame) -> Frame:
    """Items and value that leave each cohort at an age, by cause, and the items without a rate."""
    whole = items.with_columns(
        *((nw.col(cause) * nw.col("rest")).alias(f"{cause}_minor") for cause in _CAUSES),
        unrated=nw.col("rest").is_null().cast(nw.Int64()),
    )
    part = taken.select(*_COHORT, "age_weeks", cancelled_minor="taken")
    return given.keep(
        nw.concat([whole, part], how="diagonal")
        .group_by(*_COHORT, "age_weeks")
        .agg(total(*_LEAVING, "unrated"), nw.col("lived").min())
    )


def _at_every_age(given: Inputs, leaving: Frame) -> Frame:
    """Every age that any item of a cohort has reached: what is at risk, what leaves, and whether rates are known.

    What is at risk at an age is what leaves at it or later.
    """
    import pyarrow as pa

    ages = given.frame(pa.table({"age_weeks": pa.array(range(AGES), pa.int64())}))
    cohorts = leaving.group_by(*_COHORT).agg(
        nw.col("lived").min(), last_age=nw.col("age_weeks").max(), unrated=nw.col("unrated").sum()
    )
    rows = (
        cohorts.join(ages, how="cross")
        .filter(nw.col("age_weeks") <= nw.col("last_age"))
        .join(leaving.drop("lived", "unrated"), how="left", on=[*_COHORT, "age_weeks"])
        .with_columns(nw.col(*_LEAVING).fill_null(0))
        .with_columns(is_lived=nw.col("lived").is_null() | (nw.col("age_weeks") < nw.col("lived")))
    )
    is_rated, later = nw.col("unrated") == 0, {"order_by": "age_weeks"}
    for unit in ("", "_minor"):
        at_risk = nw.sum_horizontal(*(f"{cause}{unit}" for cause in _CAUSES)).cum_sum(reverse=True)
        rows = rows.with_columns(at_risk.over(*_COHORT, **later).cast(nw.Int64()).alias(f"at_risk{unit}"))
    minors = ("at_risk_minor", "cancelled_minor", "no_shows_minor")
    return rows.with_columns(nw.when(is_rated).then(nw.col(name)).alias(name) for name in minors)


def _with_incidence(rows: Frame, unit: str, by: str) -> Frame:
    """Rates, survival and cumulative incidence of both risks, of items or their value; null where not known."""
    at_risk = nw.col(f"at_risk{unit}")
    rates = {f"{risk}_rate{by}": nw.col(f"{cause}{unit}") / at_risk for risk, cause in _RISKS.items()}
    sums = {f"{risk}_incidence{by}": nw.col(f"{risk}_rate{by}") * nw.col("before") for risk in _RISKS}
    survival, known = f"survival{by}", nw.col("is_lived") & (at_risk > 0)

    def to_this_age(expression: nw.Expr) -> nw.Expr:
        return expression.over(*_COHORT, order_by="age_weeks")

    return (
        rows.with_columns(nw.when(at_risk > 0).then(rate).otherwise(nw.lit(0.0)).alias(n) for n, rate in rates.items())
        .with_columns(to_this_age((1 - nw.sum_horizontal(*rates)).cum_prod()).alias(survival))
        .with_columns(before=to_this_age(nw.col(survival).shift(1)).fill_null(1.0))
        .with_columns(to_this_age(gain.cum_sum()).alias(name) for name, gain in sums.items())
        .with_columns(rounded(nw.when(known).then(nw.col(name)), 9).alias(name) for name in (*rates, *sums, survival))
    )
