"""channel_attribution: what each channel and campaign is credited with, under four models side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import Additivity, BehaviorAnalysis, Column, Expect, Mart, Picture, Window, count, key, minor
from wayfare.analyses.expressions import (
    Frame,
    converted,
    integer,
    plus_days,
    share_of,
    sum_if_complete,
    total,
    with_rate,
)
from wayfare.analyses.sales import LONGEST_LEAD, SOLD_IN_TIME
from wayfare.analyses.visits import activity
from wayfare.contracts.events import BOOKING, CANCELLATION, OFFER, REFUND, SEARCH, VIEW

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

TOUCHED_DAYS = 30
MODELS = ("first_touch", "last_touch", "linear", "position_based")
UNTIED, UNNAMED = "(none)", "(unknown)"
WHOLE = 1_000_000
"""Parts of a booking that credit is counted in, so that credits add up exactly."""
_SALE = ("booking_id", "sold_on")
_CHANNEL = ("channel", "campaign_source", "campaign_medium", "campaign_name")
_WHO = {"visitor_id": "visitor", "customer_id": "customer"}
"""Columns of the one who buys, and what they are called of the one who was touched."""


def _bookings(doc: str) -> Column:
    return Column(doc, "double precision", Additivity.ADDITIVE, nullable=False)


_CREDITED = {
    "first_touch": "credited to the first touch",
    "last_touch": "credited to the last touch",
    "linear": "credited to all touches alike",
    "position_based": "credited 40 % to the first touch, 40 % to the last, 20 % to those between",
}
_IN_EACH = "once for each currency of a booking"

MART = Mart(
    day="booked_on",
    grain={
        "booked_on": key("Day of the sale, or of the cancellation or refund, in the agency's time zone", "date"),
        "channel": key(f"Channel of the touch; {UNTIED} where no touch is known, {UNNAMED} where it names no channel"),
        "campaign_source": key("Campaign source of the touch; empty where it names none"),
        "campaign_medium": key("Campaign medium of the touch; empty where it names none"),
        "campaign_name": key("Campaign name of the touch; empty where it names none"),
        "currency": key("ISO 4217 code of the native amounts"),
    },
    columns={
        "touches": count(f"Touches of this channel and campaign before the bookings made this day, {_IN_EACH}"),
        **{f"{m}_bookings": _bookings(f"Bookings made this day, {how}, {_IN_EACH}") for m, how in _CREDITED.items()},
        **{f"{m}_minor": minor(f"Sales less what was given back this day, {how}") for m, how in _CREDITED.items()},
        **{
            f"{m}_reporting_minor": minor(
                f"{m}_minor in the reporting currency's minor units, at the last rate published up to the day of the"
                " sale; null without one",
                nullable=True,
            )
            for m in MODELS
        },
    },
)


class ChannelAttribution(BehaviorAnalysis):
    """Which channel brings bookings, and what are they worth?

    - A booking is the items sold under one booking_id on one day, made when the first of them was sold. Its touches
      are the searches, views and offers of the same visitor or customer from 30 days before that day up to that
      instant.
    - A touch belongs to the channel and campaign it names. First and last touch give one touch all the credit. Linear
      gives each the same. Position-based gives 40 % to the first, 40 % to the last and 20 % to those between, in equal
      parts; of two touches, half to each; a single touch takes it all. Touches of one instant are in the order of
      channel and campaign.
    - Value is what was paid for the items (ancillaries are not credited). What a cancellation or refund gives back
      posts on its own day, as in `economic_results`, and is taken from the touches that the sale was credited to. So a
      published day stands, over time the credit of a booking is its net value, and each day every model adds up to
      the net of the products in `economic_results`.
    - Each amount is split into whole minor units by running totals, in the order of each channel's first touch: what
      is credited adds up to the amount. What is given back as a whole, on one day, leaves 0 to every channel; in parts
      over several days it may leave one channel a minor unit too much and another one too little.
    - What no touch is known for is credited to the channel (none): a booking without touches, and what is given back
      of a sale that is unknown, more than 740 days before, or, by a clock that is off, on a later day.
    - Bookings are counted when they are made, whatever becomes of them, once for each currency they are paid in.
    """

    owner = "marketing"
    tags = ("attribution", "daily")
    reads = (BOOKING, SEARCH, VIEW, OFFER, CANCELLATION, REFUND)
    window = Window(before=LONGEST_LEAD + TOUCHED_DAYS)
    mart = MART
    expect_input: ClassVar = {
        "booking": (
            SOLD_IN_TIME,
            Expect("ExpectColumnValuesToNotBeNull", {"column": "visitor_id", "mostly": 0.5}, severity="info"),
        ),
        "search": (Expect("ExpectColumnValuesToNotBeNull", {"column": "channel", "mostly": 0.5}, severity="info"),),
        "cancellation": (
            Expect("ExpectColumnValuesToNotBeNull", {"column": "item_kind", "mostly": 0.99}, severity="warning"),
        ),
    }
    expect_output = (
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0})
            for column in ("touches", *(f"{m}_bookings" for m in MODELS))
        ),
        *(
            Expect("ExpectColumnValuesToNotBeNull", {"column": f"{m}_reporting_minor", "mostly": 0.95}, "warning")
            for m in MODELS
        ),
    )
    picture = Picture(
        "Net value credited to each channel, by model, in minor units of the reporting currency (cents of EUR, yen of"
        " JPY).",
        """
        SELECT channel AS x, sum(credit.minor) AS y, credit.model AS series
        FROM bi.channel_attribution, LATERAL (VALUES
          ('first touch', first_touch_reporting_minor), ('last touch', last_touch_reporting_minor),
          ('linear', linear_reporting_minor), ('position-based', position_based_reporting_minor)
        ) AS credit (model, minor)
        GROUP BY x, series
        ORDER BY x, series
        """,
        mark="bar",
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per day, channel, campaign and currency with a credit."""
        changes = given.keep(_changes(given))
        sales = given.keep(_sales(given, changes))
        tied = changes.join(_weights(_touches(given, sales)), how="left", on=list(_SALE))
        untied = tied.with_columns(
            nw.col("channel").fill_null(UNTIED),
            *(nw.col(c).fill_null("") for c in _CHANNEL[1:]),
            *(nw.col(f"{m}_{part}").fill_null(1) for m in MODELS for part in ("weight", "upto", "whole")),
            touches=nw.col("touches").fill_null(0) * nw.col("bookings"),
        )
        return _credited(untied).select(*self.mart.all_columns)

    def totals(self, given: Inputs) -> Frame:
        """Net value of the items and bookings made, straight from the events: the same in every model."""
        on = {"left_on": "event_on", "right_on": "output_on"}
        sold = given["booking"].join(given.days, how="semi", **on)
        back = nw.concat([given[name].select("event_on", "item_kind", "given_back") for name in _GIVES_BACK])
        back = back.filter(nw.col("item_kind") == "booking").join(given.days, how="semi", **on)
        made = sold.select("booking_id", "event_on", "currency").unique().select(made=nw.len())
        net = (
            sold.select(price=nw.col("price").sum())
            .join(back.select(given_back=nw.col("given_back").sum()), how="cross")
            .select(net=nw.col("price").fill_null(0) - nw.col("given_back").fill_null(0))
        )
        return net.join(made, how="cross").select(
            **{f"{m}_minor": nw.col("net") for m in MODELS}, **{f"{m}_bookings": nw.col("made") for m in MODELS}
        )


_GIVES_BACK = ("cancellation", "refund")


def _changes(given: Inputs) -> Frame:
    """What was sold and given back on the output days, by sale and currency.

    Columns: booking_id, sold_on (null where the sale is beyond reach), booked_on, currency, amount, reporting (null
    without a rate), bookings (1 for a booking made).
    """
    sold = given["booking"].select(
        "booking_id", "currency", rate_on="event_on", booked_on="event_on", amount="price", bookings=integer(1)
    )
    back = [
        given[name]
        .filter(nw.col("item_kind") == "booking")
        .select(
            "booking_id",
            currency="item_currency",
            rate_on="item_booked_on",
            booked_on="event_on",
            amount=-nw.col("given_back"),
            bookings=integer(0),
        )
        for name in _GIVES_BACK
    ]
    is_reached = nw.col("rate_on").is_between(plus_days("booked_on", -LONGEST_LEAD), nw.col("booked_on"))
    posted = nw.concat([sold, *back]).join(given.days, how="semi", left_on="booked_on", right_on="output_on")
    return (
        with_rate(posted, given.rates, "rate_on")
        .with_columns(reporting=converted(nw.col("amount")), sold_on=nw.when(is_reached).then(nw.col("rate_on")))
        .group_by(*_SALE, "booked_on", "currency")
        .agg(total("amount"), nw.col("bookings").max(), sum_if_complete("reporting"))
    )


def _sales(given: Inputs, changes: Frame) -> Frame:
    """Who made the bookings that changed, and when: booking_id, sold_on, sold_at, visitor_id, customer_id."""
    return (
        given["booking"]
        .select("booking_id", "visitor_id", "customer_id", "occurred_at", sold_on="event_on")
        .join(changes, how="semi", on=list(_SALE))
        .group_by(*_SALE)
        .agg(nw.col("visitor_id", "customer_id").max(), sold_at=nw.col("occurred_at").min())
    )


def _touches(given: Inputs, sales: Frame) -> Frame:
    """How often each channel and campaign touched each sale, and its first and last touch.

    Days before that of the sale are joined as sums by day: a desk that books all day for everybody would otherwise
    pair each of its bookings with each of its searches. Within the day of the sale it still does: the cost of a
    visitor_id or customer_id that everybody shares grows with its bookings times its touches of one day, and that of
    such a customer_id also with its bookings times the visitors it has each day.
    """
    at = nw.col("occurred_at")
    touches = given.keep(_touches_of_buyers(given, sales))
    daily = touches.group_by(*_WHO.values(), "event_on", *_CHANNEL)
    by_day = given.keep(daily.agg(touches=nw.len().cast(nw.Int64()), first_at=at.min(), last_at=at.max()))
    each = touches.with_columns(touches=integer(1), first_at=at, last_at=at)
    is_before = (nw.col("event_on") < nw.col("sold_on")) & (nw.col("event_on") >= plus_days("sold_on", -TOUCHED_DAYS))
    is_other = (nw.col("visitor") != nw.col("visitor_id")).fill_null(value=True)
    found = []
    for buyer, toucher in _WHO.items():
        earlier = sales.join(by_day, left_on=buyer, right_on=toucher).filter(is_before)
        same_day = sales.join(each, left_on=[buyer, "sold_on"], right_on=[toucher, "event_on"])
        for touched in (earlier, same_day.filter(at <= nw.col("sold_at"))):
            once = touched.filter(is_other) if toucher == "customer" else touched
            found.append(once.select(*_SALE, *_CHANNEL, "touches", "first_at", "last_at"))
    n, first_at, last_at = total("touches"), nw.col("first_at").min(), nw.col("last_at").max()
    return nw.concat(found).group_by(*_SALE, *_CHANNEL).agg(touches=n, first_at=first_at, last_at=last_at)


def _touches_of_buyers(given: Inputs, sales: Frame) -> Frame:
    """Touches of the visitors and customers of the sales."""
    touches = activity(given, SEARCH, VIEW, OFFER).select(
        "event_on",
        "occurred_at",
        nw.col("channel").fill_null(UNNAMED),
        *(nw.col(c).fill_null("") for c in _CHANNEL[1:]),
        **{toucher: nw.col(buyer) for buyer, toucher in _WHO.items()},
    )
    for buyer, toucher in _WHO.items():
        bought = sales.select(nw.col(buyer).alias(toucher)).unique().with_columns(integer(1).alias(f"{toucher}_bought"))
        touches = touches.join(bought, how="left", on=toucher)
    return touches.filter(~nw.coalesce(*(f"{toucher}_bought" for toucher in _WHO.values())).is_null())


def _weights(touched: Frame) -> Frame:
    """Each channel's weight in each model, the running total of weights, and their sum, for each sale.

    A weight of all or nothing is its own running total.
    """
    by_first, by_last = (["first_at", *_CHANNEL], ["last_at", *_CHANNEL])
    ends, n = nw.col("first_touch_weight") + nw.col("last_touch_weight"), nw.col("all_touches")
    between = nw.col("touches") - ends
    return (
        touched.with_columns(one=integer(1))
        .with_columns(
            place=nw.col("one").cum_sum().over(*_SALE, order_by=by_first),
            place_of_last=nw.col("one").cum_sum().over(*_SALE, order_by=by_last),
            channels=nw.col("one").sum().over(*_SALE),
            all_touches=nw.col("touches").sum().over(*_SALE).cast(nw.Int64()),
        )
        .with_columns(
            first_touch_weight=(nw.col("place") == 1).cast(nw.Int64()),
            last_touch_weight=(nw.col("place_of_last") == nw.col("channels")).cast(nw.Int64()),
        )
        .with_columns(
            linear_weight=nw.col("touches"),
            position_based_weight=nw.when(n > 2).then(ends * (n - 2) * 2 + between).otherwise(ends),
        )
        .with_columns(
            *(nw.col(f"{m}_weight").alias(f"{m}_upto") for m in MODELS[:2]),
            *(
                nw.col(f"{m}_weight").cum_sum().over(*_SALE, order_by=by_first).cast(nw.Int64()).alias(f"{m}_upto")
                for m in MODELS[2:]
            ),
            *(integer(1).alias(f"{m}_whole") for m in MODELS[:2]),
            linear_whole=n,
            position_based_whole=nw.when(n > 2).then((n - 2) * 5).otherwise(integer(2)),
        )
    )


def _credited(tied: Frame) -> Frame:
    """Every change split over the channels of its sale, added up to the mart's rows."""

    def credit(amount: nw.Expr, model: str) -> nw.Expr:
        return share_of(amount, *(nw.col(f"{model}_{part}") for part in ("weight", "upto", "whole")))

    return (
        tied.with_columns(
            **{f"{m}_bookings": credit(nw.col("bookings") * WHOLE, m) for m in MODELS},
            **{f"{m}_minor": credit(nw.col("amount"), m) for m in MODELS},
            **{f"{m}_reporting_minor": credit(nw.col("reporting"), m) for m in MODELS},
        )
        .group_by(*MART.grain)
        .agg(
            total("touches", *(f"{m}_{kind}" for m in MODELS for kind in ("bookings", "minor"))),
            *(sum_if_complete(f"{m}_reporting_minor") for m in MODELS),
        )
        .with_columns(nw.col(f"{m}_bookings") / WHOLE for m in MODELS)
    )
