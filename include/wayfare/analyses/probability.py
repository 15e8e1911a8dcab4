"""The normal distribution and what stock and capacity make of it, as expressions.

The examples run as tests, as those of `expressions` do.
"""

from __future__ import annotations

import math

import narwhals as nw


def normal_density(z: nw.Expr) -> nw.Expr:
    """Density of the standard normal distribution at z.

    >>> rows(frame("SELECT 0.0::DOUBLE AS z").select(p=normal_density(nw.col("z")).round(4)))
    [(0.3989,)]
    """
    return (z * z * -0.5).exp() / math.sqrt(2 * math.pi)


def normal_cdf(z: nw.Expr) -> nw.Expr:
    """P(Z <= z) of the standard normal distribution, within 7.5e-8 (Abramowitz & Stegun 1964, 26.2.17).

    >>> rows(frame("SELECT unnest([-1.96, 0, 1.96])::DOUBLE AS z").select(p=normal_cdf(nw.col("z")).round(4)))
    [(0.025,), (0.5,), (0.975,)]
    """
    t = 1 / (z.abs() * 0.2316419 + 1)
    series = t * 1.330274429 - 1.821255978
    for coefficient in (1.781477937, -0.356563782, 0.319381530):
        series = series * t + coefficient
    tail = normal_density(z) * series * t
    return nw.when(z < 0).then(tail).otherwise(1 - tail)


def spread(mean: nw.Expr, variance: nw.Expr) -> nw.Expr:
    """Standard deviation of units still to be sold: never less than that of a Poisson count of the same mean.

    Few comparable days may agree by chance; sales are counts, whose variance is at least their mean (Silver, Pyke &
    Thomas 2017, ch. 7). An absent variance is no evidence of more.

    >>> sold = frame("SELECT 4.0::DOUBLE AS m, unnest([NULL, 1, 9])::DOUBLE AS v")
    >>> rows(sold.select(s=spread(nw.col("m"), nw.col("v"))))
    [(2.0,), (2.0,), (3.0,)]
    """
    return nw.when(~mean.is_null()).then(nw.max_horizontal(mean, variance, nw.lit(0.0)).sqrt())


def shortfall(level: nw.Expr, mean: nw.Expr, deviation: nw.Expr) -> nw.Expr:
    """P(X >= level) of a normal X; where the deviation is 0, X is its mean.

    >>> sold = frame("SELECT 4.0::DOUBLE AS m, unnest([0, 1])::DOUBLE AS s")
    >>> rows(sold.select(p=shortfall(nw.lit(4.0), nw.col("m"), nw.col("s")).round(6)))
    [(0.5,), (1.0,)]
    """
    certain = (mean >= level).cast(nw.Int64()).cast(nw.Float64())
    return nw.when(deviation > 0).then(1 - normal_cdf((level - mean) / deviation)).otherwise(certain)
