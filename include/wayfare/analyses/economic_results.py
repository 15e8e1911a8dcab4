"""economic_results: sales, what was given back, and what is left, by the day it happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Picture, Window, count, distinct, key, minor
from wayfare.analyses.expressions import (
    UNKNOWN_COUNTRY,
    UNKNOWN_CURRENCY,
    Frame,
    converted,
    count_distinct,
    days_between,
    integer,
    or_zero,
    rounded_quotient,
    when_or_zero,
    with_rate,
)
from wayfare.contracts.events import BOOKING, CANCELLATION, PURCHASE, REFUND, TRAVEL

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

_CONVERTED = (
    "in the reporting currency's minor units, at the last rate published up to the day of the sale; null without one"
)

MART = Mart(
    day="booked_on",
    grain={
        "booked_on": key("Day the event happened, in the agency's time zone", "date"),
        "line": key("product or ancillary"),
        "product": key("Product or ancillary category; unknown where the sale has not been landed"),
        "currency": key("ISO 4217 code of the native amounts; XXX where unknown"),
        "point_of_sale": key("Market it was sold in, ISO 3166-1 alpha-2; ZZ where unknown"),
    },
    columns={
        "bookings": distinct("Distinct bookings with an item or ancillary sold in this row"),
        "items": count("Items or ancillaries sold"),
        "units": count("Units sold: seats, rooms, vehicles or pieces, before cancellations"),
        "passengers": count("Adults, children and infants on the items sold; an item each time it is sold"),
        "lead_time_days": count("Days from sale to start, summed over items; divide by items for the mean"),
        "nights": count("Nights of the hotel items sold, summed over items, not over rooms"),
        "price_per_night_minor": minor("Price per night and room, summed over hotel items; 0 where nights are unknown"),
        "gross_before_cancellations_minor": minor("Price of what was sold this day, tax and fee included"),
        "cancellations_minor": minor("What this day's cancellations take off revenue, penalties kept"),
        "refunds_minor": minor("What this day's refunds take off revenue beyond cancellations they settle"),
        "net_minor": minor("gross_before_cancellations - cancellations - refunds"),
        "penalties_minor": minor("Penalties kept on this day's cancellations"),
        "refunded_minor": minor("Cash paid back this day, whether or not it settles a cancellation"),
        "cost_minor": minor("Net due to suppliers, less that of units cancelled this day"),
        "commission_minor": minor("Commission due from suppliers, less that of units cancelled this day"),
        "fee_minor": minor("The agency's fees within the price, less those of units cancelled this day"),
        "margin_minor": minor("net - cost"),
        "cancelled_items": count("Cancellations of an item this day that gave back units, and those of unknown items"),
        "cancelled_units": count("Units given back this day"),
        "completed_items": count("Items that traveled, by the travel's own day, and unknown ones"),
        "completed_minor": minor("Price of the units that traveled"),
        "no_show_items": count("Items whose travelers never came, and unknown ones"),
        "gross_reporting_minor": minor(f"gross_before_cancellations {_CONVERTED}", nullable=True),
        "net_reporting_minor": minor(f"net {_CONVERTED}", nullable=True),
        "margin_reporting_minor": minor(f"margin {_CONVERTED}", nullable=True),
    },
)
_REPORTING = ("gross_reporting_minor", "net_reporting_minor", "margin_reporting_minor")
_COMPUTED = ("bookings", *_REPORTING)
_CURRENCIES = {"column_A": "currency", "column_B": "item_currency", "ignore_row_if": "either_value_is_missing"}
_DEAR = Expect("ExpectColumnValuesToBeBetween", {"column": "price", "max_value": 10**12}, severity="warning")
"""Only a warning: in minor units of some currencies that is an ordinary sale."""
_SUMS = tuple(name for name in MART.columns if name not in {"net_minor", "margin_minor", *_COMPUTED})


class EconomicResults(BehaviorAnalysis):
    """How is the business doing?

    Every event counts on its own day: a sale on the day it was booked, a cancellation, refund or travel on its own
    day, in the row of the product, currency and market of the item it refers to (a refund in its own currency). So a
    published day changes only when events of that day arrive late, or those that a cancellation, refund or travel of
    that day looks back at: its sale, and what was given back of that booking before. And `net` can be negative.

    - `net = gross_before_cancellations - cancellations - refunds`. A refund that pays out a cancellation of its
      booking, of whichever item, takes nothing off a second time; `refunded` is the cash that left, whatever the
      reason. A refund in a currency that nothing of its booking was sold in counts nothing, and the input gate warns.
    - `margin = net - cost`; cost, commission and fee of cancelled units are taken back on the day of the cancellation.
    - Travel holds for the units that cancellations before it have left: an item of which none is left is neither
      completed nor a no-show.
    - Ancillaries have rows of their own (`line` = ancillary, `product` = category).
    - An event whose sale has not been landed yet counts as one item of product `unknown`, with amounts of 0, until the
      sale arrives.
    - The reporting columns convert each event at the last rate published up to the day of the sale, however old, round
      it to a minor unit, then add up. They are null where any event of the row has no rate.
    """

    owner = "finance"
    tags = ("economics", "daily")
    reads = (BOOKING, PURCHASE, CANCELLATION, REFUND, TRAVEL)
    window = Window()
    mart = MART
    expect_input: ClassVar = {
        "booking": (
            _DEAR,
            Expect(
                "ExpectColumnValuesToBeBetween", {"column": "price", "min_value": 0, "mostly": 0.99}, severity="warning"
            ),
            Expect(
                "ExpectColumnValuesToBeBetween", {"column": "units", "max_value": 500, "mostly": 0.999}, severity="info"
            ),
        ),
        "purchase": (_DEAR,),
        "cancellation": (
            Expect("ExpectColumnValuesToNotBeNull", {"column": "item_kind", "mostly": 0.99}, severity="warning"),
        ),
        "refund": (Expect("ExpectColumnPairValuesToBeEqual", _CURRENCIES, severity="warning"),),
    }
    expect_output = (
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0})
            for column in ("bookings", "items", "units", "passengers", "cancelled_units")
        ),
        Expect("ExpectColumnValuesToBeInSet", {"column": "line", "value_set": ["product", "ancillary"]}),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "net_reporting_minor", "mostly": 0.95}, severity="warning"),
    )
    picture = Picture(
        "Net revenue by week and product, in minor units of the reporting currency (cents of EUR, yen of JPY).",
        """
        SELECT date_trunc('week', booked_on)::date AS x, sum(net_reporting_minor) AS y, product AS series
        FROM bi.economic_results
        WHERE line = 'product' AND product <> 'unknown'
        GROUP BY x, series
        ORDER BY series, x
        """,
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per day, line, product, currency and market with anything sold, given back or traveled."""
        sources = (_bookings, _purchases, _cancellations, _refunds, _travels)
        added = (
            nw.concat([source(given) for source in sources])
            .group_by(*MART.grain)
            .agg(*(nw.col(name).sum() for name in (*_SUMS, *_COMPUTED)), rated=nw.col("rated").all())
        )
        net = nw.col("gross_before_cancellations_minor") - nw.col("cancellations_minor") - nw.col("refunds_minor")
        return added.with_columns(
            *(nw.when(nw.col("rated")).then(nw.col(name)).alias(name) for name in _REPORTING),
            net_minor=net,
            margin_minor=net - nw.col("cost_minor"),
        ).select(*MART.all_columns)

    def totals(self, given: Inputs) -> Frame:
        """Sold, given back and paid back, straight from the events."""
        on = {"left_on": "event_on", "right_on": "output_on"}
        sold = nw.concat(
            [
                given["booking"].select("event_on", "price", units="units"),
                given["purchase"].select("event_on", "price", units="quantity"),
            ]
        ).join(given.days, how="semi", **on)
        cancelled, refunded = (given[name].join(given.days, how="semi", **on) for name in ("cancellation", "refund"))
        return (
            sold.select(
                items=nw.len(), units=nw.col("units").sum(), gross_before_cancellations_minor=nw.col("price").sum()
            )
            .join(
                cancelled.select(
                    cancelled_units=nw.col("reversed_units").sum(), cancellations_minor=nw.col("given_back").sum()
                ),
                how="cross",
            )
            .join(
                refunded.select(
                    refunded_minor=nw.col("reversed_price").sum(), refunds_minor=nw.col("given_back").sum()
                ),
                how="cross",
            )
        )


def _bookings(given: Inputs) -> Frame:
    nights = days_between("start_on", "end_on")
    is_hotel = nw.col("product") == "hotel"
    return _added_up(
        given,
        given["booking"],
        keys=_row_of_sale("product", "product"),
        gross_before_cancellations_minor=nw.col("price"),
        cost_minor=or_zero("cost"),
        items=integer(1),
        units=nw.col("units"),
        passengers=or_zero("adults") + or_zero("children") + or_zero("infants"),
        lead_time_days=days_between("event_on", "start_on"),
        nights=when_or_zero(is_hotel, nights),
        price_per_night_minor=when_or_zero(is_hotel, rounded_quotient(nw.col("price"), nights * nw.col("units"))),
        commission_minor=or_zero("commission"),
        fee_minor=or_zero("fee"),
    )


def _purchases(given: Inputs) -> Frame:
    return _added_up(
        given,
        given["purchase"],
        keys=_row_of_sale("ancillary", "category"),
        gross_before_cancellations_minor=nw.col("price"),
        cost_minor=or_zero("cost"),
        items=integer(1),
        units=nw.col("quantity"),
    )


def _cancellations(given: Inputs) -> Frame:
    return _added_up(
        given,
        given["cancellation"],
        keys=_row_of_item(nw.coalesce("item_currency", "currency", nw.lit(UNKNOWN_CURRENCY))),
        cancellations_minor=nw.col("given_back"),
        penalties_minor=nw.col("kept_penalty"),
        cost_minor=-nw.col("reversed_cost"),
        commission_minor=-nw.col("reversed_commission"),
        fee_minor=-nw.col("reversed_fee"),
        cancelled_items=_IT_COUNTS,
        cancelled_units=nw.col("reversed_units"),
    )


def _refunds(given: Inputs) -> Frame:
    return _added_up(
        given,
        given["refund"],
        keys=_row_of_item(nw.col("currency")),
        refunds_minor=nw.col("given_back"),
        refunded_minor=nw.col("reversed_price"),
    )


def _travels(given: Inputs) -> Frame:
    completed = nw.col("outcome") == "completed"
    return _added_up(
        given,
        given["travel"],
        keys=_row_of_item(nw.coalesce("item_currency", nw.lit(UNKNOWN_CURRENCY))),
        completed_items=when_or_zero(completed, _IT_COUNTS),
        completed_minor=when_or_zero(completed, nw.col("reversed_price")),
        no_show_items=when_or_zero(~completed, _IT_COUNTS),
    )


_IT_COUNTS = when_or_zero((nw.col("reversed_units") > 0) | nw.col("item_kind").is_null(), integer(1))
"""1 where the event did something to its item: a second cancellation of the same units does not count."""


def _row_of_sale(line: str, product: str) -> dict[str, nw.Expr]:
    return {
        "booked_on": nw.col("event_on"),
        "line": nw.lit(line),
        "product": nw.col(product),
        "currency": nw.col("currency"),
        "point_of_sale": nw.coalesce("point_of_sale", nw.lit(UNKNOWN_COUNTRY)),
        "rate_on": nw.col("event_on"),
        "sold_booking_id": nw.col("booking_id"),
    }


def _row_of_item(currency: nw.Expr) -> dict[str, nw.Expr]:
    is_known = ~nw.col("item_kind").is_null()
    market = nw.when(is_known).then(nw.col("item_point_of_sale")).otherwise(nw.col("point_of_sale"))
    return {
        "booked_on": nw.col("event_on"),
        "line": nw.when(nw.col("item_kind") == "purchase").then(nw.lit("ancillary")).otherwise(nw.lit("product")),
        "product": nw.coalesce("item_product", nw.lit("unknown")),
        "currency": currency,
        "point_of_sale": market.fill_null(UNKNOWN_COUNTRY),
        "rate_on": nw.coalesce("item_booked_on", "event_on"),
        "sold_booking_id": nw.lit(None, nw.String()),
    }


def _added_up(given: Inputs, events: Frame, keys: dict[str, nw.Expr], **amounts: nw.Expr) -> Frame:
    """One source's amounts by row of the mart, as they are and converted; what it has no amount for is 0."""
    rest = {name: integer(0) for name in _SUMS if name not in amounts}
    gross, cost = nw.col("gross_before_cancellations_minor"), nw.col("cost_minor")
    net = gross - nw.col("cancellations_minor") - nw.col("refunds_minor")
    reporting = {"gross_reporting_minor": gross, "net_reporting_minor": net, "margin_reporting_minor": net - cost}
    return (
        with_rate(events.select(**keys, **amounts, **rest), given.rates, "rate_on")
        .group_by(*MART.grain)
        .agg(
            *(nw.col(name).sum() for name in amounts),
            *(converted(amount).sum().alias(name) for name, amount in reporting.items()),
            bookings=count_distinct("sold_booking_id"),
            rated=~nw.col("to_reporting").is_null().any(),
        )
        .with_columns(**rest)
        .select(*MART.grain, "rated", *(nw.col(name).cast(nw.Int64()) for name in (*_SUMS, *_COMPUTED)))
    )
