"""Named expressions that several analyses share, in operations that every engine has (DuckDB and Spark).

An expression works on columns; a function that needs another table or a window takes the frame and returns it with
columns added. The examples run as tests on DuckDB: there `frame(sql)` is the lazy frame of a query and `rows(frame)`
its sorted rows.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeAlias

import narwhals as nw

from wayfare.analyses.api import Every

Frame: TypeAlias = nw.LazyFrame[Any]

UNKNOWN_COUNTRY = "ZZ"
"""ISO 3166-1 leaves ZZ to the user: the market that is not known."""
UNKNOWN_CURRENCY = "XXX"
"""ISO 4217's code for no currency."""


def integer(value: int) -> nw.Expr:
    """The constant as int64, so that frames with a column of it can be concatenated.

    >>> rows(frame("SELECT 1 AS a").select(n=integer(0)))
    [(0,)]
    """
    return nw.lit(value, nw.Int64())


def or_zero(column: str) -> nw.Expr:
    """The column as int64, 0 where it is absent.

    >>> rows(frame("SELECT NULL::INTEGER AS children").select(n=or_zero("children")))
    [(0,)]
    """
    return nw.col(column).cast(nw.Int64()).fill_null(0)


def when_or_zero(condition: nw.Expr, value: nw.Expr) -> nw.Expr:
    """`value` where the condition holds, 0 where it does not or is unknown; int64.

    >>> rows(frame("SELECT unnest([1, 2, NULL]) AS a").select(n=when_or_zero(nw.col("a") > 1, nw.col("a"))))
    [(0,), (0,), (2,)]
    """
    return nw.when(condition).then(value.cast(nw.Int64())).otherwise(integer(0))


def days_between(start: str, end: str) -> nw.Expr:
    """Days from date `start` to date `end`, int64; negative where `end` is earlier, null where either is.

    >>> rows(frame("SELECT DATE '2026-03-01' AS a, DATE '2026-03-04' AS b").select(n=days_between("a", "b")))
    [(3,)]
    """
    return (nw.col(end) - nw.col(start)).cast(nw.Int64())


def seconds_between(start: str, end: str) -> nw.Expr:
    """Whole seconds from instant `start` to instant `end`, int64; what is less than a second is cut off.

    >>> rows(frame("SELECT TIMESTAMP '2026-03-01 23:59' AS a, TIMESTAMP '2026-03-02 00:00:01.5' AS b")
    ...     .select(n=seconds_between("a", "b")))
    [(61,)]
    """
    return (microseconds(end) - microseconds(start)) // 1_000_000


def microseconds(column: str) -> nw.Expr:
    """The instant in the column as microseconds since 1970, int64; engines agree on its parts, not on differences.

    >>> rows(frame("SELECT TIMESTAMP '1970-01-02 00:00:00.000001' AS a").select(n=microseconds("a")))
    [(86400000001,)]
    """
    at = nw.col(column).dt
    days = (at.date() - nw.lit(dt.date(1970, 1, 1))).cast(nw.Int64())
    hours, minutes, seconds = (part.cast(nw.Int64()) for part in (at.hour(), at.minute(), at.second()))
    return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000 + at.microsecond().cast(nw.Int64())


def rounded(value: nw.Expr, places: int) -> nw.Expr:
    """A double rounded to decimal places, halves away from zero; with `round` alone, engines differ on what is a half.

    >>> rows(frame("SELECT unnest([0.25, -0.25])::DOUBLE AS a").select(n=rounded(nw.col("a"), 1)))
    [(-0.3,), (0.3,)]
    """
    return (value * 10.0**places).round(0) / 10.0**places


def rounded_quotient(amount: nw.Expr, divisor: nw.Expr) -> nw.Expr:
    """`amount / divisor` to the nearest integer, halves away from zero, int64; null where the divisor is 0 or null.

    Exact for amounts below 2**50.

    >>> rows(frame("SELECT 25 AS a, 10 AS b UNION SELECT 7, 0").select(n=rounded_quotient(nw.col("a"), nw.col("b"))))
    [(3,), (None,)]
    """
    return nw.when(divisor != 0).then((amount / divisor).round(0).cast(nw.Int64()))


def share_of(amount: nw.Expr, weight: nw.Expr, upto: nw.Expr, whole: nw.Expr) -> nw.Expr:
    """What of an integer amount falls to `weight` of `whole`, int64; `upto` is the running total of the weights.

    The shares of all weights add up to the amount, and those of the negative amount are their negatives. Exact for
    amounts below 2**53: Spark divides as double. Nothing in it is larger than the amount or whole x whole.

    >>> weights = frame("SELECT unnest([1, 1, 1]) AS n, unnest([1, 2, 3]) AS upto")
    >>> rows(weights.select("upto", share=share_of(nw.lit(-10), nw.col("n"), nw.col("upto"), nw.lit(3))))
    [(1, -3), (2, -3), (3, -4)]
    >>> rows(weights.select("upto", share=share_of(nw.lit(2**62), nw.col("n"), nw.col("upto"), nw.lit(3))))
    [(1, 1537228672809129301), (2, 1537228672809129301), (3, 1537228672809129302)]
    """
    size = amount.abs()
    part, rest = size // whole, size % whole
    share = (part * weight + rest * upto // whole - rest * (upto - weight) // whole).cast(nw.Int64())
    return nw.when(amount < 0).then(-share).otherwise(share)


def ratio(numerator: str, denominator: str) -> nw.Expr:
    """Quotient of two columns as double; null where the denominator is 0.

    >>> rows(frame("SELECT 3 AS a, 2 AS b UNION SELECT 3, 0").select(r=ratio("a", "b")))
    [(1.5,), (None,)]
    """
    return nw.when(nw.col(denominator) != 0).then(nw.col(numerator) / nw.col(denominator))


def with_rate(frame: Frame, rates: Frame, on: str) -> Frame:
    """The frame with `to_reporting`, the rate of its `currency` on the date in column `on`; null without a rate.

    >>> rates = frame("SELECT 'USD' AS currency, DATE '2026-03-01' AS rate_on, 0.5::DOUBLE AS to_reporting")
    >>> sold = frame("SELECT unnest(['USD', 'XXX']) AS currency, DATE '2026-03-01' AS event_on, 99 AS price")
    >>> rows(with_rate(sold, rates, "event_on").select("currency", n=converted(nw.col("price"))))
    [('USD', 50), ('XXX', None)]
    """
    return frame.join(rates, how="left", left_on=["currency", on], right_on=["currency", "rate_on"])


def converted(amount: nw.Expr) -> nw.Expr:
    """`amount` in the reporting currency, rounded to a whole minor unit (halves away from zero), int64.

    Needs `to_reporting` (see `with_rate`); null without a rate. Convert each event, then sum: the sum is of integers,
    so it does not depend on the order of the rows.
    """
    return (amount * nw.col("to_reporting")).round(0).cast(nw.Int64())


def total(*columns: str) -> nw.Expr:
    """Sum of each integer column as int64; an engine's own sum is wider, or as narrow as its column.

    >>> rows(frame("SELECT unnest([1, 1, 2]) AS k, unnest([5, 6, 7]) AS n").group_by("k").agg(total("n")))
    [(1, 11), (2, 7)]
    """
    return nw.col(*columns).sum().cast(nw.Int64())


def sum_if_complete(column: str) -> nw.Expr:
    """Sum of the integer column as int64; null if any value is null: a sum of the rest would say too little.

    >>> sold = frame("SELECT unnest([1, 1, 2]) AS k, unnest([5, NULL, 7]) AS n")
    >>> rows(sold.group_by("k").agg(total=sum_if_complete("n")))
    [(1, None), (2, 7)]
    """
    return nw.when(~nw.col(column).is_null().any()).then(total(column)).alias(column)


def count_distinct(column: str) -> nw.Expr:
    """Number of distinct values, null not being one.

    >>> rows(frame("SELECT unnest(['a', 'b', 'a', NULL]) AS id").select(n=count_distinct("id")))
    [(2,)]
    """
    return nw.col(column).n_unique() - nw.col(column).is_null().any().cast(nw.Int64())


def with_city(frame: Frame, places: Frame) -> Frame:
    """The frame with `city`, the IATA city of its `destination`; the destination itself if unlisted.

    >>> places = frame("SELECT 'LHR' AS place, 'LON' AS city, 'GB' AS country")
    >>> rows(with_city(frame("SELECT unnest(['LHR', 'QQQ']) AS destination"), places))
    [('LHR', 'LON'), ('QQQ', 'QQQ')]
    """
    cities = places.select("city", destination="place")
    return frame.join(cities, how="left", on="destination").with_columns(city=nw.coalesce("city", "destination"))


def with_origin_market(frame: Frame, places: Frame) -> Frame:
    """The frame with `origin_market`: its point of sale, else the country of its origin, else ZZ.

    >>> places = frame("SELECT 'LHR' AS place, 'LON' AS city, 'GB' AS country")
    >>> asked = frame("SELECT unnest(['US', NULL, NULL]) AS point_of_sale, unnest(['LHR', 'LHR', NULL]) AS origin")
    >>> rows(with_origin_market(asked, places).select("origin_market"))
    [('GB',), ('US',), ('ZZ',)]
    """
    countries = places.select(origin="place", origin_country="country")
    return (
        frame.join(countries, how="left", on="origin")
        .with_columns(origin_market=nw.coalesce("point_of_sale", "origin_country", nw.lit(UNKNOWN_COUNTRY)))
        .drop("origin_country")
    )


def plus_days(column: str, days: int) -> nw.Expr:
    """The date in the column, `days` later (earlier if negative).

    >>> rows(frame("SELECT DATE '2026-03-01' AS a").select(d=plus_days("a", -1)))
    [(datetime.date(2026, 2, 28),)]
    """
    return nw.col(column).dt.offset_by(f"{days}d").cast(nw.Date())


def period_of(column: str, every: Every) -> nw.Expr:
    """First day of the week (Monday) or month that the date in the column is in; the date itself for every day.

    >>> sold = frame("SELECT DATE '2026-03-01' AS a")
    >>> rows(sold.select(week=period_of("a", Every.WEEK), month=period_of("a", Every.MONTH)))
    [(datetime.date(2026, 2, 23), datetime.date(2026, 3, 1))]
    """
    if every is Every.DAY:
        return nw.col(column)
    if every is Every.MONTH:
        return nw.col(column).dt.truncate("1mo").cast(nw.Date())
    days = (nw.col(column) - nw.lit(dt.date.min)).cast(nw.Int32())  # a Monday; Narwhals truncates to no week
    return nw.col(column) - days % 7


def median(frame: Frame, by: list[str], column: str) -> Frame:
    """`by`, and the median of a column's values as a double; null is no value, and a group without any has no row.

    By counting equal values: an engine's own median holds all values of a group in memory, and spills none.

    >>> rows(median(frame("SELECT 'a' AS k, unnest([9, 1, 4, 4, NULL, 5]) AS n UNION ALL SELECT 'b', 2"), ["k"], "n"))
    [('a', 4.0), ('b', 2.0)]
    >>> rows(median(frame("SELECT 'a' AS k, unnest([8, 1, 5, 2]) AS n"), ["k"], "n"))
    [('a', 3.5)]
    """
    counted = frame.filter(~nw.col(column).is_null()).group_by(*by, column).agg(alike=nw.len().cast(nw.Int64()))
    n, upto, alike = nw.col("all_of_group"), nw.col("upto"), nw.col("alike")
    return (
        counted.with_columns(upto=alike.cum_sum().over(*by, order_by=column), all_of_group=alike.sum().over(*by))
        .filter(upto >= (n + 1) // 2, upto - alike <= n // 2)
        .group_by(*by)
        .agg(nw.col(column).mean())
    )


UNUSUAL = 3.5
"""A robust z beyond it is unusual (Iglewicz & Hoaglin, How to Detect and Handle Outliers, 1993)."""


def robust_z(frame: Frame, by: list[str], column: str, least: int) -> Frame:
    """`by`, `latest` (of the row with `is_latest`), `known`, `median` and `mad` of the others of its group, and `z`.

    z = 0.6745 (x - median) / MAD (Iglewicz & Hoaglin 1993), MAD being the median absolute deviation from the median;
    null where fewer than `least` others are known or their MAD is 0.

    >>> paid = frame("SELECT 'c' AS who, unnest([10, 12, 14, 30]) AS n").with_columns(is_latest=nw.col("n") > 20)
    >>> rows(robust_z(paid, ["who"], "n", least=4).select("latest", "known", "median", "mad", "z"))
    [(30, 3, 12.0, 2.0, None)]
    """
    others = nw.when(~nw.col("is_latest")).then(nw.col(column))
    latest = nw.when(nw.col("is_latest")).then(nw.col(column))
    middle = frame.group_by(*by).agg(median=others.median(), known=others.count(), latest=latest.max())
    away = (others - nw.col("median")).abs()
    spread = frame.join(middle, on=by).group_by(*by).agg(mad=away.median())
    z = (nw.col("latest") - nw.col("median")) * 0.6745 / nw.col("mad")
    is_judged = (nw.col("known") >= least) & (nw.col("mad") > 0)
    return middle.join(spread, on=by).with_columns(z=nw.when(is_judged).then(z))
