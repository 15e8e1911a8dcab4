"""Histories of customers' purchases, and what the models of `wayfare.analyses.models.btyd` expect to follow.

A purchase is all net bookings that a customer made on a day; its margin is that of these bookings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from wayfare.analyses.bookings import bookings, known_on
from wayfare.analyses.expressions import Frame, days_between, integer, sum_if_complete, when_or_zero

if TYPE_CHECKING:
    import datetime as dt

    import pandas as pd
    import pyarrow as pa

    from wayfare.analyses.api import Inputs

HISTORY_COLUMNS = ("as_of_on", "repeat_purchases", "first_to_last_days", "first_to_now_days", "repeat_margin")
HOLDOUT_COLUMNS = (
    "holdout_days",
    "holdout_purchases",
    "holdout_expected_purchases",
    "holdout_mean_absolute_error",
    "holdout_margin_minor",
    "holdout_expected_margin_minor",
)
_CUSTOMER = ("as_of_on", "customer_id")
_HELD_OUT_COLUMNS = (
    "purchases_before",
    "first_to_last_before",
    "repeat_margin_before",
    "holdout_days",
    "purchases_after",
)


def histories(given: Inputs, changes: Frame, before: int) -> Frame:
    """One row per as-of day and known customer of `changes`: what was sold, and the history of purchases.

    `changes` are those of `wayfare.analyses.bookings`, in one currency. The hold-out of an as-of day is the last third
    of the days since the first booking of its window.

    Returns
    -------
    Frame
        as_of_on, customer_id; bookings, net_bookings, net, margin; and, null without a purchase: repeat_purchases,
        latest_days (since the latest), first_to_last_days, first_to_now_days, repeat_margin_minor (null where an
        amount has no rate), repeat_margin (then 0); the same before the hold-out, and what came in it.
    """
    known = changes.filter(~nw.col("customer_id").is_null())
    days = _with_holdout(known, given.days.select(as_of_on="output_on"), before)
    purchases = _purchases(known_on(known, days.select("as_of_on"), before)).join(days, on="as_of_on")
    of_any = nw.col("purchases") > 0
    return _added_up(purchases).with_columns(
        repeat_purchases=nw.when(of_any).then(nw.col("purchases") - 1),
        repeat_margin_minor=nw.when(of_any).then(nw.col("spent") - nw.col("first_spent")),
        first_to_last_days=nw.col("first_to_now_days") - nw.col("latest_days"),
        first_to_last_before=nw.col("first_to_now_days") - nw.col("latest_before"),
        repeat_margin=(nw.col("spent") - nw.col("first_spent")).fill_null(0),
        repeat_margin_before=(nw.col("spent_before") - nw.col("first_spent")).fill_null(0),
        purchases_after=nw.col("purchases") - nw.col("purchases_before"),
        margin_after=nw.col("spent") - nw.col("spent_before"),
    )


def expected(customers: Frame, given: Inputs, ahead: int) -> tuple[Frame, Frame]:
    """What the models expect of each of the `histories` in `ahead` days, and how they did on the hold-out of each day.

    Fitted per as-of day, whose histories are laid out in memory, each once with its number of customers.
    Of a day whose hold-out could not be tried nothing is expected.

    Returns
    -------
    tuple
        Histories (`HISTORY_COLUMNS`) with alive_probability, expected_purchases and expected_purchase_margin; as-of
        days with `HOLDOUT_COLUMNS`, of all customers together who had bought before the hold-out.
    """
    import pyarrow as pa

    seen = given.keep(
        customers.filter(~nw.col("repeat_purchases").is_null())
        .group_by(*HISTORY_COLUMNS, *_HELD_OUT_COLUMNS)
        .agg(sum_if_complete("margin_after"), n=nw.len())
    )
    fitted = [_fitted(_of_day(seen, day), day, ahead) for day in given.output_days()]
    forecasts, holdouts = (pa.concat_tables(tables) for tables in zip(*fitted, strict=True))
    return given.frame(forecasts), given.frame(holdouts)


def _of_day(seen: Frame, day: dt.date) -> pd.DataFrame:
    """The histories of an as-of day, in order: sums of floats depend on it."""
    rows: pa.Table = seen.filter(nw.col("as_of_on") == nw.lit(day)).collect(backend="pyarrow").to_native()
    frame: pd.DataFrame = rows.drop_columns("as_of_on").to_pandas()
    return frame.sort_values([*HISTORY_COLUMNS[1:], *_HELD_OUT_COLUMNS])


def _with_holdout(known: Frame, days: Frame, before: int) -> Frame:
    """As-of days with the length of their hold-out in days, 0 before the first booking."""
    booked = known.filter(nw.col("items") > 0).select("changed_on", "since_on").unique()
    first = known_on(booked, days, before).group_by("as_of_on").agg(first_on=nw.col("changed_on").min())
    seen = days_between("first_on", "as_of_on")
    return days.join(first, how="left", on="as_of_on").select("as_of_on", holdout_days=((seen + 2) // 3).fill_null(0))


def _purchases(known: Frame) -> Frame:
    """What each customer was sold by `ago`, the age of the purchase in days; -1 for what is not a purchase.

    That is: cancelled bookings, and ancillaries whose booking the window does not show.
    """
    ago = nw.when(nw.col("is_net")).then(days_between("booked_on", "as_of_on")).otherwise(integer(-1))
    amounts = [sum_if_complete(c) for c in ("net", "margin")]
    return (
        bookings(known, _CUSTOMER, *amounts)
        .with_columns(ago=ago, made=when_or_zero(nw.col("items") > 0, integer(1)))
        .group_by(*_CUSTOMER, "ago")
        .agg(*amounts, bookings=nw.col("made").sum(), net_bookings=nw.col("is_net").cast(nw.Int64()).sum())
    )


def _added_up(purchases: Frame) -> Frame:
    """One row per as-of day and customer: sums, purchases and their ages, of all of them and of those before."""
    is_purchase, is_before = nw.col("ago") >= 0, nw.col("ago") >= nw.col("holdout_days")
    return (
        purchases.with_columns(spent=when_or_zero(is_purchase, nw.col("margin")))
        .with_columns(spent_before=when_or_zero(is_before, nw.col("spent")))
        .group_by(*_CUSTOMER, "holdout_days")
        .agg(
            *(nw.col(c).sum() for c in ("bookings", "net_bookings")),
            *(sum_if_complete(c) for c in ("net", "margin", "spent", "spent_before")),
            purchases=is_purchase.cast(nw.Int64()).sum(),
            purchases_before=is_before.cast(nw.Int64()).sum(),
            first_to_now_days=nw.when(is_purchase).then(nw.col("ago")).max(),
            latest_days=nw.when(is_purchase).then(nw.col("ago")).min(),
            latest_before=nw.when(is_before).then(nw.col("ago")).min(),
            first=nw.struct("ago", "spent").max(),  # the earliest; Spark takes no first or last of a group
        )
        .with_columns(first_spent=nw.col("first").struct.field("spent"))
        .drop("first")
    )


def _fitted(seen: pd.DataFrame, day: dt.date, ahead: int) -> tuple[pa.Table, pa.Table]:
    """The two tables of `expected` for an as-of day, from each of its histories with its number of customers."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from wayfare.analyses.models import btyd

    on, keys = ("as_of_on", pa.date32()), [(name, pa.int64()) for name in HISTORY_COLUMNS[1:]]
    forecasts = pa.schema([on, *keys, *((name, pa.float64()) for name in btyd.FORECAST)])
    holdouts = pa.schema([on, *((name, pa.float64()) for name in HOLDOUT_COLUMNS)])
    if seen.empty:
        return forecasts.empty_table(), holdouts.empty_table()
    outcome = _held_out(seen)
    found: dict[str, Any] = dict.fromkeys(btyd.FORECAST, np.nan)
    if np.isfinite(outcome["holdout_expected_purchases"]):
        history = btyd.Histories(*(seen[name].to_numpy(float) for name in (*HISTORY_COLUMNS[1:], "n")))
        found = btyd.forecast(history, ahead)
    forecast = seen[list(HISTORY_COLUMNS[1:])].assign(as_of_on=day, **found).drop_duplicates(list(HISTORY_COLUMNS[1:]))
    return (
        pa.Table.from_pandas(forecast, forecasts, preserve_index=False),
        pa.Table.from_pandas(pd.DataFrame([{"as_of_on": day, **outcome}]), holdouts, preserve_index=False),
    )


def _held_out(day: pd.DataFrame) -> dict[str, float]:
    """The hold-out of one as-of day: what was expected of those who had bought before it, and what came."""
    import numpy as np

    from wayfare.analyses.models import btyd

    known = day[day["purchases_before"] > 0].astype(float)
    length, n, came = float(day["holdout_days"].iloc[0]), known["n"], known["purchases_after"]
    history = btyd.Histories(
        x=known["purchases_before"].to_numpy() - 1,
        t_x=known["first_to_last_before"].to_numpy(),
        age=known["first_to_now_days"].to_numpy() - length,
        spent=known["repeat_margin_before"].to_numpy(),
        n=n.to_numpy(),
    )
    found = btyd.forecast(history, length)
    purchases, margin = found["expected_purchases"], found["expected_purchase_margin"]
    outcome = dict.fromkeys(HOLDOUT_COLUMNS, np.nan) | {"holdout_days": length}
    if len(known) and np.isfinite(purchases).all():
        outcome["holdout_purchases"] = (n * came).sum()
        outcome["holdout_expected_purchases"] = round((n * purchases).sum(), 2)
        outcome["holdout_mean_absolute_error"] = round((n * (came - purchases).abs()).sum() / n.sum(), 4)
        is_valued = np.isfinite(margin)
        if is_valued.any():
            outcome["holdout_margin_minor"] = known["margin_after"][is_valued].sum(skipna=False)
            outcome["holdout_expected_margin_minor"] = round((n * purchases * margin)[is_valued].sum())
    return outcome
