"""ancillary_affinity: what is bought with a trip, and which of it together."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Every, Expect, Mart, Picture, Window, count, key, measure
from wayfare.analyses.expressions import Frame, integer, or_zero, period_of, plus_days, ratio, total, when_or_zero
from wayfare.analyses.sales import LONGEST_LEAD, SOLD_IN_TIME, reversals
from wayfare.contracts.events import BOOKING, CANCELLATION, PURCHASE

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs

LEAST_ITEMS = 30
OTHER = "other"
_MONTH = ("service_month", "product")
_ITEM = (*_MONTH, "booking_id", "item_id")


class AncillaryAffinity(BehaviorAnalysis):
    """What sells with what?

    For the items that start in each month (a flight, a stay, a rental, a package) and of which any unit is left, by
    product: how often each ancillary is bought with them, and each two of them together. Everything is as known at the
    end of the day after the month, from the 740 days before it on.

    - An ancillary is its category; one of category `other`, which says nothing, is its article (other:parking-space).
    - It goes with the item it names, or else with the first item sold under its booking_id, and counts in the month
      that item starts. Without a booking, or with one of which no unit is left, it goes with nothing and is left out;
      what it earned is in `economic_results`.
    - Attach rate is units bought less cancelled, per passenger-item: the passengers of each item added up, as booked.
      An item that says no passengers has as many as units; one sold again has those of each sale with a unit left.
    - With n items of a product and month, A of them with the one ancillary, B with the other and AB with both (any
      unit left): support = AB / n, confidence = AB / A or AB / B, lift = (AB / n) / (A / n x B / n). A lift above 1
      says that they are bought together more often than by chance (Agrawal, Imielinski & Swami, SIGMOD 1993; Brin,
      Motwani, Ullman & Tsur, SIGMOD 1997).
    - Support, confidence and lift are null where fewer than 30 items have both: chance would speak, not the customers.
    - Each pair has one row, in the order of the alphabet; an ancillary alone has a row with `ancillary_b` empty. What
      was never bought together has no row.
    """

    owner = "marketing"
    tags = ("ancillaries", "monthly")
    reads = (BOOKING, PURCHASE, CANCELLATION)
    window = Window(before=LONGEST_LEAD, after=1)
    mart = Mart(
        day="service_month",
        every=Every.MONTH,
        ahead=True,
        grain={
            "service_month": key("First day of the month in which the items start", "date"),
            "product": key("What the ancillaries are bought with: flight, hotel, car or package"),
            "ancillary_a": key("Category of the ancillary; of category other, other: and its article"),
            "ancillary_b": key("The other ancillary of the pair; empty for ancillary_a alone"),
        },
        columns={
            "items": measure("n: items of the product that start this month, less those wholly cancelled", "bigint"),
            "passenger_items": measure("Passengers of those items, added up", "bigint"),
            "units": count(
                "Units of ancillary_a bought with those items, less cancelled; null for a pair", nullable=True
            ),
            "attach_rate": measure("units / passenger_items; null for a pair"),
            "items_with_a": measure("A: items with ancillary_a", "bigint"),
            "items_with_b": measure("B: items with ancillary_b; null for ancillary_a alone", "bigint"),
            "items_with_both": measure("AB: items with both; null for ancillary_a alone", "bigint"),
            "support": measure("Share of the items that have both, or ancillary_a alone; null below 30 such items"),
            "confidence_a_to_b": measure("Share of the items with ancillary_a that have both; null below 30"),
            "confidence_b_to_a": measure("Share of the items with ancillary_b that have both; null below 30"),
            "lift": measure("Support over what it would be by chance; null below 30 items with both"),
        },
    )
    expect_input: ClassVar = {
        "booking": (SOLD_IN_TIME,),
        "purchase": (
            Expect("ExpectColumnValuesToNotBeNull", {"column": "booking_id", "mostly": 0.9}, severity="warning"),
        ),
    }
    expect_output = (
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": least})
            for column, least in (("items", 1), ("passenger_items", 0), ("units", 0), ("items_with_both", 1))
        ),
        *(
            Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0, "max_value": 1})
            for column in ("support", "confidence_a_to_b", "confidence_b_to_a")
        ),
        *(
            Expect("ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": more, "column_B": less, "or_equal": True})
            for more, less in (("items", "items_with_a"), ("items_with_a", "items_with_both"))
        ),
    )
    picture = Picture(
        "Lift of each pair of ancillaries bought with flights: 1 is what chance would bring together.",
        """
        SELECT ancillary_a || ' + ' || ancillary_b AS x,
          sum(items_with_both) * sum(items) / (sum(items_with_a) * sum(items_with_b)) AS y
        FROM bi.ancillary_affinity
        WHERE product = 'flight' AND ancillary_b <> ''
        GROUP BY x
        HAVING sum(items_with_both) >= 30
        ORDER BY y DESC, x
        """,
        mark="bar",
    )

    def analyze(self, given: Inputs) -> Frame:
        """One row per month, product and ancillary or pair bought with any item."""
        items = given.keep(_items(given))
        bought = given.keep(_bought(given, items))
        size = items.group_by(*_MONTH).agg(items=nw.len().cast(nw.Int64()), passenger_items=total("passengers"))
        rows = nw.concat([_alone(bought), _pairs(bought.filter(nw.col("units") > 0))], how="diagonal")
        a, b, both = nw.col("items_with_a"), nw.col("items_with_b"), nw.col("items_with_both")
        have = nw.coalesce("items_with_both", "items_with_a")
        is_enough, is_pair = have >= LEAST_ITEMS, nw.col("ancillary_b") != ""
        return (
            rows.join(size, on=list(_MONTH))
            .with_columns(
                attach_rate=ratio("units", "passenger_items"),
                support=nw.when(is_enough).then(have / nw.col("items")),
                confidence_a_to_b=nw.when(is_enough & is_pair).then(both / a),
                confidence_b_to_a=nw.when(is_enough & is_pair).then(both / b),
                lift=nw.when(is_enough & is_pair).then(both * nw.col("items") / (a * b)),
            )
            .select(*self.mart.all_columns)
        )

    def totals(self, given: Inputs) -> Frame:
        """Units of what is bought with the items, less what is given back of it."""
        return _changes(given, _items(given)).select(units=nw.col("units").sum())


def _within(frame: Frame) -> Frame:
    """Changes within the window of their month: `service_month` .. the day after it."""
    closes_on = nw.col("service_month").dt.offset_by("1mo").cast(nw.Date())
    return frame.filter(
        nw.col("since_on") >= plus_days("service_month", -LONGEST_LEAD), nw.col("changed_on") <= closes_on
    )


def _items(given: Inputs) -> Frame:
    """Items that start in the months asked for and of which any unit is left, with the passengers of its sales."""
    party = ("adults", "children", "infants")
    is_silent = nw.all_horizontal(*(nw.col(c).is_null() for c in party), ignore_nulls=True)
    stated = nw.sum_horizontal(*(or_zero(c) for c in party))
    sold = given["booking"].select(
        "booking_id",
        "item_id",
        "product",
        sale_id="event_id",
        service_month=period_of("start_on", Every.MONTH),
        changed_on="event_on",
        since_on="event_on",
        units=or_zero("units"),
        passengers=nw.when(is_silent).then(or_zero("units")).otherwise(stated).cast(nw.Int64()),
    )
    gone = reversals(given, "cancellation", "booking").select(
        "booking_id",
        item_id="item_key",
        product="item_product",
        sale_id="item_event_id",
        service_month=period_of("item_start_on", Every.MONTH),
        changed_on="changed_on",
        since_on="since_on",
        units=-or_zero("reversed_units"),
        passengers=integer(0),
    )
    return (
        _within(nw.concat([sold, gone]).join(given.days, how="semi", left_on="service_month", right_on="output_on"))
        .group_by(*_ITEM, "sale_id")
        .agg(total("units", "passengers"))
        .filter(nw.col("units") > 0)
        .group_by(*_ITEM)
        .agg(total("passengers"))
    )


def _bought(given: Inputs, items: Frame) -> Frame:
    """Units of each ancillary of each item, less cancelled."""
    return _changes(given, items).group_by(*_ITEM, "ancillary").agg(total("units"))


def _changes(given: Inputs, items: Frame) -> Frame:
    """Ancillaries of the items bought and given back: the item, `ancillary` and units."""
    article = nw.concat_str(nw.lit(f"{OTHER}:"), nw.col("sku"))
    bought = _within(
        _of_items(given, items).select(
            *_ITEM,
            sale_id="event_id",
            changed_on="event_on",
            since_on="event_on",
            units=or_zero("quantity"),
            ancillary=nw.when(nw.col("category") == OTHER).then(article).otherwise(nw.col("category")),
        )
    )
    gone = _within(
        reversals(given, "cancellation", "purchase")
        .select("changed_on", "since_on", sale_id="item_event_id", units=-or_zero("reversed_units"))
        .join(bought.select(*_ITEM, "sale_id", "ancillary"), on="sale_id")
    )
    columns = (*_ITEM, "ancillary", "units")
    return nw.concat([bought.select(*columns), gone.select(*columns)])


def _of_items(given: Inputs, items: Frame) -> Frame:
    """Purchases with each of the items that they go with; the first item is that of a month's window."""
    purchases, month = given["purchase"], ["booking_id", "service_month"]
    columns = ("event_id", "category", "sku", "quantity", "event_on")
    is_nameless = nw.col("item_id").is_null()
    nameless = purchases.filter(is_nameless).select("booking_id", *columns)
    first = (
        items.join(nameless, how="semi", on="booking_id")
        .select(*month)
        .unique()
        .join(given["booking"].select("booking_id", "item_id", "occurred_at", "event_id", "event_on"), on="booking_id")
        .filter(nw.col("event_on") >= plus_days("service_month", -LONGEST_LEAD))
        .unique(subset=month, keep="first", order_by=["occurred_at", "event_id"])
    )
    named = purchases.filter(~is_nameless).join(items, on=["booking_id", "item_id"])
    of_first = nameless.join(items.join(first, how="semi", on=[*month, "item_id"]), on="booking_id")
    return nw.concat([frame.select(*_ITEM, *columns) for frame in (named, of_first)])


def _alone(bought: Frame) -> Frame:
    """Items with each ancillary, and its units."""
    return (
        bought.group_by(*_MONTH, "ancillary")
        .agg(
            total("units"),
            items_with_a=when_or_zero(nw.col("units") > 0, integer(1)).sum().cast(nw.Int64()),
        )
        .filter(nw.col("items_with_a") > 0)
        .rename({"ancillary": "ancillary_a"})
        .with_columns(ancillary_b=nw.lit(""))
    )


def _pairs(bought: Frame) -> Frame:
    """Items with each two ancillaries, and with either."""
    a, b = (bought.select(*_ITEM, nw.col("ancillary").alias(f"ancillary_{side}")) for side in "ab")
    counted = (
        a.join(b, on=list(_ITEM))
        .filter(nw.col("ancillary_a") < nw.col("ancillary_b"))
        .group_by(*_MONTH, "ancillary_a", "ancillary_b")
        .agg(items_with_both=nw.len().cast(nw.Int64()))
    )
    for side in "ab":
        alone = _alone(bought).select(
            *_MONTH,
            nw.col("ancillary_a").alias(f"ancillary_{side}"),
            nw.col("items_with_a").alias(f"items_with_{side}"),
        )
        counted = counted.join(alone, on=[*_MONTH, f"ancillary_{side}"])
    return counted
